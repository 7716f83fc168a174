//! Replacement of a sidecar role without a gap, and adoption of a role whose supervisor was killed.
//!
//! If two processes of a role may overlap, the successor starts with the stored state while the
//! predecessor still works. Once the successor is ready, the predecessor ends and leaves everything
//! in place. Otherwise the predecessor ends first.

use super::{LEAVE_LIMIT, send_sidecar_version};
use crate::handed::socket;
use crate::orphan::{AdoptError, find_beside};
use crate::program::is_of_another_program;
use crate::resumed::{ResumeError, Resumed};
use crate::slot::{RunningRole, SidecarConfiguration};
use crate::state::Supervisor;
use crate::state_file::Keep;
use crate::tell;
use part::role::HandedPart;
use part::row;
use part::spawn::Started;
use rustix::process::{Pid, Signal};
use std::sync::Arc;
use std::time::Instant;

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
                    self.end_foreign(what, role.0, given.is_some());
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
        let options = self.command.options_of(part);
        let given_it = told.and_then(|()| match given {
            Some(given) => send_sidecar_version(&mut found, given, options),
            None => Ok(()),
        });
        self.slots[part].served = true;
        if self.beside(part).shares_heartbeats {
            // The memory that proxy and role shared was lost with the previous supervisor.
            self.send_heartbeat_memory();
            let memory = self.pulses.file().filter(|_| !self.is_without_proxy());
            found.process.share(memory);
        }
        self.slots[part].running = Some(found);
        // Other roles may have sent messages before this one was found. A role that started while
        // they did not run has received none.
        self.send_stored_messages(part);
        match given_it {
            Ok(()) => self.slots[part].taking = given.cloned(),
            Err(error) => self.part_refused(part, &error.to_string()),
        }
        self.write_role_pid(part);
        if self.decides(part) {
            self.proxy_ready();
        }
        let running = self.slots[part].running.as_ref();
        if running.is_some_and(|role| is_of_another_program(role.process.number())) {
            self.replace_part(part);
        }
        true
    }

    /// Ends a role that does not support this program's messages, because two roles would do the
    /// same work. If it has a successor, it is killed, so that its objects in the system stay for
    /// the successor.
    fn end_foreign(&mut self, what: &str, mut role: Started, is_followed: bool) {
        let number = role.number();
        let until = if is_followed {
            Instant::now()
        } else {
            role.signal(Signal::TERM);
            Instant::now() + LEAVE_LIMIT
        };
        role.wait_for_end(until);
        self.voice.notice(format_args!(
            "ended the {what} of another program (process {number})"
        ));
    }

    /// Opens the sockets on which another supervisor would adopt the roles, and sends them.
    pub(in super::super) fn guard_parts(&mut self) {
        for part in row::sidecar_parts() {
            if self.slots[part].running.is_some() {
                // Without a guard socket no supervisor can adopt the role.
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
            // The version that the new program loaded has nothing for the part.
            if !kept.has(part) {
                self.end_sidecar(part);
            }
            return;
        };
        let slot = &mut self.slots[part];
        slot.taking = None;
        slot.wanted = Some(given.clone());
        if !self.beside(part).can_overlap {
            return match &mut self.slots[part].running {
                Some(role) => role.ask_to_leave(Instant::now() + LEAVE_LIMIT),
                None => self.start_part(part),
            };
        }
        let renewed = self.slots[part].keep.as_ref().map(Keep::renew);
        if let Some(Ok(keep)) = renewed {
            self.slots[part].keep = Some(keep);
        }
        self.prepare_part(part);
        match self.new_role(part, &given) {
            Ok(role) => {
                let slot = &mut self.slots[part];
                slot.predecessor = slot.running.replace(role);
                self.write_role_pid(part);
            }
            Err(error) => self.part_refused(part, &error.to_string()),
        }
    }

    pub(in super::super) fn hand_parts_over(&self) -> Vec<HandedPart> {
        let handed = self.slots.sidecars().map(|slot| HandedPart {
            part: slot.row.part.to_owned(),
            role: slot.running.as_ref().map(|role| role.handed(None)),
            guard: (slot.guard.as_ref()).map(|(entry, fd)| socket(&**fd, entry.socket())),
            keep: (slot.keep.as_ref()).map(|keep| socket(&**keep.file(), keep.path())),
        });
        handed.collect()
    }

    pub(in super::super) fn resume_part(
        &mut self,
        handed: &HandedPart,
        left: &mut Resumed,
    ) -> Result<(), ResumeError> {
        let Some(part) = row::sidecar_parts().find(|one| *one == handed.part) else {
            // The new program does not have the part any longer.
            return Ok(());
        };
        let slot = &mut self.slots[part];
        if let Some(role) = &handed.role {
            slot.running = Some(left.role(role, slot.row.entry)?);
            slot.served = true;
        }
        if let Some(guard) = &handed.guard {
            let (entry, listener) = left.socket(guard)?;
            slot.guard = Some((entry, Arc::new(listener)));
        }
        if let Some(keep) = &handed.keep {
            slot.keep = Some(Keep::kept(keep.path(), left.take(keep.descriptor)?));
        }
        Ok(())
    }

    pub(in super::super) fn part_processes(&self) -> Vec<Pid> {
        let running = self
            .slots
            .sidecars()
            .filter_map(|slot| slot.running.as_ref());
        running.map(|role| role.process.pid()).collect()
    }
}
