//! A role that follows another one without a gap, and the taking over of one whose
//! supervisor was killed.
//!
//! Where two may run for a moment, the one that follows begins with the state that was kept
//! while the one before still works; only when it is ready the one before leaves, with
//! everything in place. Otherwise the one before leaves first.

use super::super::adopt::{AdoptError, first_words};
use super::super::directory::{self, DirectoryError, Entry, Kind};
use super::super::run::Supervisor;
use super::super::slot::{Given, Running};
use super::super::upgrade::{self, ResumeError, Resumed, handed_role, handed_socket};
use super::keep::Keep;
use super::{LEAVE_LIMIT, give, tell};
use crate::roles::spawn::Started;
use part::Shared;
use part::channel::Channel;
use part::role::{Decoded, HandedPart, Message};
use rustix::net::sockopt;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

/// Opens the socket where another supervisor would find the role of a part.
pub fn open_guard(
    part: &str,
    program: &str,
    paths: &[PathBuf],
) -> Result<(Entry, Shared), DirectoryError> {
    let (entry, listener) = directory::enter(Kind::Role(part), program, paths)?;
    Ok((entry, Arc::new(listener)))
}

impl Supervisor {
    /// Takes over the role of these files whose supervisor has gone; whether there
    /// is one. It is told what it is to run as of a change, where that is known.
    pub(super) fn adopt_part(&mut self, part: &'static str, given: Option<&Given>) -> bool {
        let what = self.slots[part].row.entry.what;
        let (process, before) = match self.find_role(part) {
            Ok(Some(found)) => found,
            Ok(None) => return false,
            Err(error) => {
                self.voice.warning(format_args!(
                    "a running {what} with these files has no supervisor, but {error}"
                ));
                return false;
            }
        };
        let mut found = Running::adopted(process);
        tell::role_adopted(&mut self.voice, what, found.process.number(), before);
        let told = match self.slots[part].listener() {
            Some(listener) => found.process.guard(Some(listener)),
            None => Ok(()),
        };
        let options = self.command.options_of(part);
        let given_it = told.and_then(|()| match given {
            Some(given) => give(&mut found, given, options),
            None => Ok(()),
        });
        self.slots[part].served = true;
        if self.beside(part).shares {
            // The memory that proxy and role share went with the supervisor before.
            self.give_vitals();
            let memory = self.pulses.file().filter(|_| !self.is_without_proxy());
            found.process.share(memory);
        }
        self.slots[part].running = Some(found);
        match given_it {
            Ok(()) => self.slots[part].taking = given.cloned(),
            Err(error) => self.part_refused(part, &error.to_string()),
        }
        self.write_role_pid(part);
        if self.decides(part) {
            self.proxy_ready();
        }
        let running = self.slots[part].running.as_ref();
        if running.is_some_and(|role| upgrade::is_of_another_program(role.process.number())) {
            self.replace_part(part);
        }
        true
    }

    fn find_role(&self, part: &str) -> Result<Option<(Started, u32)>, AdoptError> {
        let paths = &self.command.paths;
        if !paths.iter().all(|path| directory::is_lasting(path)) {
            return Ok(None);
        }
        let network = directory::network();
        let program = super::super::adopt::program(self.voice.form());
        let (Ok(roles), Ok(supervisors)) = (directory::roles(part), directory::instances()) else {
            return Ok(None);
        };
        let own = std::process::id();
        let alone = |one: &&directory::Instance| {
            let lives = supervisors.iter().any(|other| other.pid == one.pid);
            let ours = one.program == program && one.network == network && one.paths == *paths;
            ours && !lives && one.pid != own
        };
        let entry = self.slots[part].row.entry;
        for role in roles.iter().filter(alone) {
            let reached = reach(&role.socket)?;
            if let Some((pid, pidfd, channel)) = reached {
                // It listens at another place from now on.
                directory::remove(&role.socket);
                let process = Started::running(entry, pid, pidfd, channel);
                return Ok(Some((process, role.pid)));
            }
        }
        Ok(None)
    }

    /// Opens the sockets where another supervisor would find the roles, and tells them.
    pub(in super::super) fn guard_parts(&mut self) {
        let program = super::super::adopt::program(self.voice.form());
        for part in self.slots.beside() {
            let slot = &mut self.slots[part];
            if slot.running.is_none() {
                continue;
            }
            slot.guard = open_guard(part, program, &self.command.paths).ok();
            let listener = slot.guard.as_ref().map(|(_, listener)| listener);
            if let Some(role) = &mut slot.running {
                // What cannot be told is about to be seen as ended.
                let _ = role.process.guard(listener);
            }
        }
    }

    /// Roles of the program before are followed by those of this program.
    pub(in super::super) fn replace_parts(&mut self) {
        for part in self.slots.beside() {
            self.replace_part(part);
        }
    }

    pub(super) fn replace_part(&mut self, part: &'static str) {
        let given = self.kept.as_ref().and_then(|kept| kept.given(part));
        let Some(given) = given else {
            return;
        };
        let slot = &mut self.slots[part];
        slot.taking = None;
        slot.wanted = Some(given.clone());
        if !self.beside(part).overlaps {
            return match &mut self.slots[part].running {
                Some(role) => role.leave(Instant::now() + LEAVE_LIMIT),
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
                slot.before = slot.running.replace(role);
                self.write_role_pid(part);
            }
            Err(error) => self.part_refused(part, &error.to_string()),
        }
    }

    /// What the next image of this process is to have of the roles beside the proxy.
    pub(in super::super) fn hand_parts_over(&self) -> Vec<HandedPart> {
        let slots = self.slots.all().filter(|slot| slot.row.beside().is_some());
        let handed = slots.map(|slot| HandedPart {
            part: slot.row.part.to_owned(),
            role: slot.running.as_ref().map(|role| handed_role(role, None)),
            guard: (slot.guard.as_ref()).map(|(entry, fd)| handed_socket(&**fd, entry.socket())),
            keep: (slot.keep.as_ref()).map(|keep| handed_socket(&**keep.file(), keep.path())),
        });
        handed.collect()
    }

    /// Takes up what the image before had.
    pub(in super::super) fn resume_part(
        &mut self,
        handed: &HandedPart,
        left: &mut Resumed,
    ) -> Result<(), ResumeError> {
        let Some(part) = self
            .slots
            .beside()
            .into_iter()
            .find(|one| *one == handed.part)
        else {
            // This program has no such part.
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

    /// The processes of those roles.
    pub(in super::super) fn part_processes(&self) -> Vec<Pid> {
        let slots = self.slots.all().filter(|slot| slot.row.beside().is_some());
        let running = slots.filter_map(|slot| slot.running.as_ref());
        running.map(|role| role.process.pid()).collect()
    }
}

/// A connection to a role that nobody supervises: which process that is, is the
/// kernel's word.
fn reach(socket: &Path) -> Result<Option<(Pid, std::os::fd::OwnedFd, Channel)>, AdoptError> {
    let Ok(fd) = directory::connected_to_role(socket) else {
        // It has just gone.
        return Ok(None);
    };
    let (sender, first) = first_words(&fd)?;
    match first {
        Ok(Decoded::Message(Message::Alone { .. })) => {}
        Ok(Decoded::Message(Message::Supervised)) => return Err(AdoptError::Supervised),
        Ok(_) => return Err(AdoptError::Words),
        Err(error) => return Err(AdoptError::Foreign(error, None)),
    }
    sockopt::set_socket_passcred(&fd, false)?;
    let pid = sender.ok_or(AdoptError::Process(rustix::io::Errno::SRCH))?;
    let pidfd = pidfd_open(pid, PidfdFlags::empty()).map_err(AdoptError::Process)?;
    let channel = Channel::new(fd).map_err(|error| AdoptError::Channel(error.into()))?;
    Ok(Some((pid, pidfd, channel)))
}
