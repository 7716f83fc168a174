//! What the name `keepalived` brings: its signals, and the file of the address
//! role's process id.

use crate::signals::Caught;
use crate::state::Supervisor;
use nix::sys::signal::Signal;
use part::daemon::{open_pid_file, write_pid_of};
use part::role::Message;
use part::voice::Form;
use std::path::Path;

impl Supervisor {
    /// Does what a signal means there.
    pub(in super::super) fn obey_as_keepalived(&mut self, caught: Caught) {
        match caught {
            Caught::Signal(Signal::SIGHUP) => self.changing.requests.ask(None),
            // Both end with 0 there.
            Caught::Signal(Signal::SIGTERM | Signal::SIGINT) => self.begin_stop(Signal::SIGTERM),
            other => {
                if let Some(message) = (self.command.on_signal)(other)
                    && let Some(role) = &mut self.slots[&*message.part].running
                {
                    role.say(&Message::Part(Box::new(message)));
                }
            }
        }
    }

    /// Writes the role's process id where scripts look for it.
    pub(super) fn write_role_pid(&mut self, part: &str) {
        let file = self.command.role_pid_file.as_ref();
        let file = file.filter(|(of, _)| *of == part);
        let (Some((_, path)), Some(pid)) = (file, self.slots[part].pid()) else {
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
        let role = self.command.role_pid_file.as_ref();
        for path in parent.into_iter().chain(role.map(|(_, path)| &**path)) {
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
