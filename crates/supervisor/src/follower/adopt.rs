//! Replaces a sidecar role by one of the installed program, and adopts a role whose supervisor was
//! killed.
//!
//! If two processes of a role may overlap, the successor starts with the stored state while the
//! predecessor still works. Once the successor is ready, the predecessor ends and leaves everything
//! in place. Otherwise the predecessor ends first.

use crate::orphan::{AdoptError, find_beside};
use crate::program::is_of_another_program;
use crate::slot::{RunningRole, SidecarConfiguration};
use crate::state::Supervisor;
use crate::state_file::Keep;
use crate::tell;
use part::row;
use part::spawn::Started;
use part::voice::MessagePrinter;
use rustix::process::Signal;
use std::time::{Duration, Instant};

/// Time for a role of another program to end after SIGTERM, before it is killed.
const END_LIMIT: Duration = Duration::from_secs(2);

impl Supervisor {
    /// Adopts the orphaned role of these files. Returns whether there is one. If its configuration
    /// is known, the role gets it as a change.
    pub(super) fn adopt_part(
        &mut self,
        part: &'static str,
        given: Option<&SidecarConfiguration>,
    ) -> bool {
        let what = self.slots[part].row.entry.display_name;
        let (process, before) = match find_beside(self.slots[part].row, &self.command) {
            Ok(Some(found)) => found,
            Ok(None) => return false,
            Err(error) => {
                self.voice.warning(format_args!(
                    "a running {what} with these files has no supervisor, but {error}"
                ));
                if let AdoptError::Foreign(_, Some(role)) = error {
                    end_foreign(&mut self.voice, what, role.0, given.is_some());
                }
                return false;
            }
        };
        let mut found = RunningRole::adopted(process);
        tell::adopted(&mut self.voice, what, found.process.number(), before);
        let told = match self.slots[part].listener() {
            Some(listener) => found.process.set_survives_supervisor(Some(listener)),
            None => Ok(()),
        };
        let slot = &mut self.slots[part];
        slot.served = true;
        slot.running = Some(found);
        let is_given = told.and_then(|()| match given {
            Some(given) => slot.change_sidecar(&self.command, given),
            None => Ok(()),
        });
        if slot.properties().shares_heartbeats {
            // Shares a new heartbeat memory, because the previous one was lost with the previous
            // supervisor.
            self.pulses
                .share_with(self.slots.serving.running.as_mut(), &mut self.voice);
            let has_proxy = !self.versions.is_without_proxy();
            if let Some(role) = &mut self.slots[part].running {
                role.process.share(self.pulses.file().filter(|_| has_proxy));
            }
        }
        // Sends the stored messages: other roles may have sent them before this role was adopted.
        self.between.stored.send_to(&mut self.slots[part]);
        if let Err(error) = is_given {
            self.part_refused(part, &error.to_string());
        }
        self.write_role_pid(part);
        if self.versions.decides(part) {
            self.proxy_ready();
        }
        let running = self.slots[part].running.as_ref();
        if running.is_some_and(|role| is_of_another_program(role.process.number())) {
            self.replace_part(part);
        }
        true
    }

    /// Opens the sockets on which another supervisor would adopt the roles, and sends them.
    pub(in super::super) fn guard_parts(&mut self) {
        for part in row::sidecar_parts() {
            if self.slots[part].running.is_some() {
                // Errors are ignored: without a guard socket no supervisor can adopt the role.
                let _ = self.open_guard(part);
                self.slots[part].send_adoption_socket();
            }
        }
    }

    pub(in super::super) fn replace_parts(&mut self) {
        for part in row::sidecar_parts() {
            self.replace_part(part);
        }
    }

    pub(super) fn replace_part(&mut self, part: &'static str) {
        let Some(kept) = &self.versions.last_good else {
            return;
        };
        let Some(given) = kept.given(part) else {
            // Ends the role if the version that the new program loaded has nothing for the part.
            if !kept.has(part) {
                self.end_sidecar(part);
            }
            return;
        };
        let slot = &mut self.slots[part];
        slot.taking = None;
        slot.wanted = Some(given.clone());
        if slot.running.is_none() {
            return self.start_part(part);
        }
        if !slot.properties().can_overlap {
            return slot.leave();
        }
        if let Some(Ok(keep)) = slot.keep.as_ref().map(Keep::renew) {
            slot.keep = Some(keep);
        }
        self.prepare_part(part);
        let slot = &mut self.slots[part];
        match slot.start_sidecar(&self.command, &given, self.pulses.file()) {
            Ok(role) => {
                slot.predecessor = slot.running.replace(role);
                self.write_role_pid(part);
            }
            Err(error) => self.part_refused(part, &error.to_string()),
        }
    }
}

/// Ends a role that does not support this program's messages, because two roles would do the
/// same work. If it has a successor, it is killed, so that its objects in the system stay for
/// the successor.
fn end_foreign(voice: &mut MessagePrinter, what: &str, mut role: Started, is_followed: bool) {
    let number = role.number();
    let until = if is_followed {
        Instant::now()
    } else {
        role.signal(Signal::TERM);
        Instant::now() + END_LIMIT
    };
    role.wait_for_end(until);
    voice.notice(format_args!(
        "ended the {what} of another program (process {number})"
    ));
}
