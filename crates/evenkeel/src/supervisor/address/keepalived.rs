//! What the name `keepalived` brings: its signals, and the file of the address
//! role's process id.

use super::super::route::ADDRESS;
use super::super::run::Supervisor;
use super::super::signals::{CLEAR_STATISTICS, Caught, JSON};
use super::super::version::Version;
use crate::process::{open_pid_file, write_pid_of};
use address::message::{Dump, Message as OfAddress};
use nix::sys::signal::Signal;
use part::role::Message;

impl Supervisor {
    /// Does what a signal means there.
    pub(in super::super) fn obey_as_keepalived(&mut self, caught: Caught) {
        match caught {
            Caught::Signal(Signal::SIGHUP) => self.requests.ask(None),
            // Both end with 0 there.
            Caught::Signal(Signal::SIGTERM | Signal::SIGINT) => self.begin_stop(Signal::SIGTERM),
            Caught::Signal(Signal::SIGUSR1) => self.dump_addresses(Dump::Data),
            Caught::Signal(Signal::SIGUSR2) => self.dump_addresses(Dump::Statistics),
            Caught::RealTime(JSON) => self.dump_addresses(Dump::Json),
            Caught::RealTime(CLEAR_STATISTICS) => {
                self.dump_addresses(Dump::ClearStatistics);
            }
            Caught::Signal(_) | Caught::RealTime(_) => {}
        }
    }

    fn dump_addresses(&mut self, dump: Dump) {
        if let Some(role) = &mut self.slots[ADDRESS].running {
            role.process.say(
                &Message::Part(Box::new(OfAddress::Dump(dump).envelope())),
                &[],
            );
        }
    }

    /// Writes the role's process id where scripts look for it.
    pub(super) fn write_address_pid(&mut self) {
        let (Some(path), Some(pid)) = (&self.command.role_pid_file, self.slots[ADDRESS].pid())
        else {
            return;
        };
        let written = open_pid_file(path)
            .and_then(|mut file| write_pid_of(&mut file, path, pid.cast_unsigned()));
        if let Err(error) = written {
            self.voice.warning(error);
        }
    }

    /// Removes the files of process ids, as there.
    pub(super) fn remove_pid_files(&self, parent: Option<&std::path::Path>) {
        for path in parent
            .into_iter()
            .chain(self.command.role_pid_file.as_deref())
        {
            // Somebody else may have done it.
            let _ = std::fs::remove_file(path);
        }
    }

    /// Hands a further version over where there is no proxy.
    pub(in super::super) fn try_addresses(&mut self, version: &Version) -> Result<(), String> {
        let (Some(config), Some(plan)) = (version.addresses(), &version.plan().addresses) else {
            return Err("it has no virtual addresses".to_owned());
        };
        let run = super::Run {
            version: version.take.version,
            config: config.clone(),
            plan: plan.clone(),
        };
        let Some(role) = &mut self.slots[ADDRESS].running else {
            return Err("the address role died meanwhile".to_owned());
        };
        let given = super::role::give(role, &run, &self.command);
        given.map_err(|error| error.to_string())?;
        self.addresses.taking = Some(run);
        Ok(())
    }
}
