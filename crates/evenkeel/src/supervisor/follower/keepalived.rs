//! What the name `keepalived` brings: its signals, and the file of the address
//! role's process id.

use super::super::route::ADDRESS;
use super::super::run::Supervisor;
use super::super::signals::{CLEAR_STATISTICS, Caught, JSON};
use crate::process::{open_pid_file, write_pid_of};
use crate::voice::Form;
use address::message::{Dump, Message as OfAddress};
use nix::sys::signal::Signal;
use part::role::Message;
use std::path::Path;

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
    pub(super) fn write_role_pid(&mut self, part: &str) {
        let path = self.command.role_pid_file.as_ref();
        let (Some(path), Some(pid)) = (path.filter(|_| part == ADDRESS), self.slots[part].pid())
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
    fn remove_pid_files(&self, parent: Option<&Path>) {
        for path in parent
            .into_iter()
            .chain(self.command.role_pid_file.as_deref())
        {
            // Somebody else may have done it.
            let _ = std::fs::remove_file(path);
        }
    }

    /// The files of process ids go with the processes, under keepalived's name.
    pub(in super::super) fn tidy_up_as_keepalived(&self, pid_file: Option<&Path>) {
        if self.voice.form() == Form::Keepalived {
            self.remove_pid_files(pid_file);
        }
    }
}
