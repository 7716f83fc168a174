//! Handles signals as keepalived does, if the program was started under the name `keepalived`:
//! reload, stop, or a message to the address role. Also writes the PID file of the address role,
//! and removes the PID files at the end.

use crate::signals::Caught;
use crate::state::Supervisor;
use nix::sys::signal::Signal;
use part::daemon::{open_pid_file, write_pid_of};
use part::role::SupervisorMessage;
use part::voice::Form;
use std::path::Path;

impl Supervisor {
    pub(in super::super) fn obey_as_keepalived(&mut self, caught: Caught) {
        match caught {
            Caught::Signal(Signal::SIGHUP) => self.changing.requests.ask(None),
            // Treats INT as TERM, because in keepalived both lead to exit code 0.
            Caught::Signal(Signal::SIGTERM | Signal::SIGINT) => self.begin_stop(Signal::SIGTERM),
            other => {
                if let Some(message) = (self.command.on_signal)(other)
                    && let Some(role) = &mut self.slots[&*message.part].running
                {
                    role.send_message(&SupervisorMessage::Part(Box::new(message)));
                }
            }
        }
    }

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

    pub(in super::super) fn tidy_up_as_keepalived(&self, pid_file: Option<&Path>) {
        if self.voice.form() != Form::Keepalived {
            return;
        }
        let role = self.command.role_pid_file.as_ref();
        for path in pid_file.into_iter().chain(role.map(|(_, path)| &**path)) {
            // Errors are ignored: the file may have been removed already.
            let _ = std::fs::remove_file(path);
        }
    }
}
