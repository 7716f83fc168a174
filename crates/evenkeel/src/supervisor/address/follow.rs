//! A role that follows another one without a gap, and the taking over of one whose
//! supervisor was killed.
//!
//! The one that follows begins with the state that was kept while the one before
//! still announces; only when it is ready the one before leaves, with everything in
//! place. What two of one machine announce is the same, so no neighbour is misled.

use super::super::adopt::{AdoptError, first_words};
use super::super::directory::{self, DirectoryError, Entry, Kind};
use super::super::route::ADDRESS;
use super::super::run::Supervisor;
use super::super::slot::Running;
use super::super::upgrade::{Resumed, number};
use super::keep::Keep;
use super::{Run, role, tell};
use crate::roles::Shared;
use crate::roles::channel::Channel;
use crate::roles::spawn::{ADDRESS_ENTRY, OWN_PROGRAM, Started};
use part::role::{Decoded, HandedExtra, Message};
use rustix::net::sockopt;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What is handed from one image of the program to the next, by name.
const CHANNEL: &str = "address channel";
const PROCESS: &str = "address process";
const GUARD: &str = "address guard";
const KEEP: &str = "address state";
const VITALS: &str = "vitals";

/// Opens the socket where another supervisor would find the role.
pub fn open_guard(program: &str, paths: &[PathBuf]) -> Result<(Entry, Shared), DirectoryError> {
    let (entry, listener) = directory::enter(Kind::Address, program, paths)?;
    Ok((entry, Arc::new(listener)))
}

impl Supervisor {
    /// Takes over the role of these files whose supervisor has gone; whether there
    /// is one. It is told what it is to run as of a change.
    pub(super) fn adopt_addresses(&mut self, run: &Run) -> bool {
        let (process, before) = match self.find_address_role() {
            Ok(Some(found)) => found,
            Ok(None) => return false,
            Err(error) => {
                self.voice.warning(format_args!(
                    "an address role with these files has no supervisor, but {error}"
                ));
                return false;
            }
        };
        let mut found = Running::adopted(process);
        tell::address_role_adopted(&mut self.voice, found.process.number(), before);
        let guard = self.slots[ADDRESS].guard.as_ref();
        let told = guard.map_or(Ok(()), |(_, listener)| found.process.guard(Some(listener)));
        let given = told.and_then(|()| role::give(&mut found, run, &self.command));
        self.slots[ADDRESS].served = true;
        if !run.plan.alone {
            // The memory that proxy and role share went with the supervisor before.
            self.give_vitals();
            found.process.share(self.addresses.vitals.as_ref());
        }
        self.slots[ADDRESS].running = Some(found);
        match given {
            Ok(()) => self.addresses.taking = Some(run.clone()),
            Err(error) => self.addresses_refused(&error.to_string()),
        }
        self.write_address_pid();
        if self.is_alone() {
            self.proxy_ready();
        }
        true
    }

    fn find_address_role(&self) -> Result<Option<(Started, u32)>, AdoptError> {
        let paths = &self.command.paths;
        if !paths.iter().all(|path| directory::is_lasting(path)) {
            return Ok(None);
        }
        let network = directory::network();
        let program = super::super::adopt::program(self.voice.form());
        let (Ok(roles), Ok(supervisors)) = (directory::address_roles(), directory::instances())
        else {
            return Ok(None);
        };
        let own = std::process::id();
        let alone = |one: &&directory::Instance| {
            let lives = supervisors.iter().any(|other| other.pid == one.pid);
            let ours = one.program == program && one.network == network && one.paths == *paths;
            ours && !lives && one.pid != own
        };
        for role in roles.iter().filter(alone) {
            if let Some(process) = reach(&role.socket)? {
                // It listens at another place from now on.
                directory::remove(&role.socket);
                return Ok(Some((process, role.pid)));
            }
        }
        Ok(None)
    }

    /// A role of the program before is followed by one of this program.
    pub(in super::super) fn replace_addresses(&mut self) {
        let Some(run) = self.wanted_addresses() else {
            return;
        };
        self.addresses.taking = None;
        let renewed = self.addresses.keep.as_ref().map(Keep::renew);
        if let Some(Ok(keep)) = renewed {
            self.addresses.keep = Some(keep);
        }
        self.prepare_addresses();
        self.addresses.run = Some(run.clone());
        match self.new_addresses(Path::new(OWN_PROGRAM), &run) {
            Ok(role) => {
                let slot = &mut self.slots[ADDRESS];
                slot.before = slot.running.replace(role);
                self.write_address_pid();
            }
            Err(error) => self.addresses_refused(&error.to_string()),
        }
    }

    /// What the next image of this process is to have.
    pub(in super::super) fn hand_addresses_over(&self) -> Vec<HandedExtra> {
        let extra = |name: &str, descriptor: u32, bytes: &[u8]| HandedExtra {
            name: name.to_owned(),
            descriptor: Some(descriptor),
            bytes: bytes.to_vec(),
        };
        let addresses = &self.addresses;
        let mut extras = Vec::new();
        if let Some(role) = &self.slots[ADDRESS].running {
            let pid = role.process.number().to_le_bytes();
            extras.push(extra(CHANNEL, number(&role.process.channel), &[]));
            extras.push(extra(PROCESS, number(&role.process.end()), &pid));
        }
        if let Some((entry, listener)) = &self.slots[ADDRESS].guard {
            let path = entry.socket().as_os_str().as_bytes();
            extras.push(extra(GUARD, number(&**listener), path));
        }
        if let Some(keep) = &addresses.keep {
            let path = keep.path().as_os_str().as_bytes();
            extras.push(extra(KEEP, number(&**keep.file()), path));
        }
        if let Some(vitals) = &addresses.vitals {
            extras.push(extra(VITALS, number(&**vitals), &[]));
        }
        extras
    }

    /// Takes up what the image before had.
    pub(in super::super) fn resume_addresses(
        &mut self,
        extras: &[HandedExtra],
        left: &mut Resumed,
    ) {
        let mut take = |name: &str| {
            let extra = extras.iter().find(|extra| extra.name == name)?;
            Some((left.take(extra.descriptor?).ok()?, extra.bytes.clone()))
        };
        let path = |bytes: &Vec<u8>| PathBuf::from(OsStr::from_bytes(bytes));
        let (channel, process) = (take(CHANNEL), take(PROCESS));
        if let (Some((channel, _)), Some((pidfd, pid))) = (channel, process) {
            let pid = pid.try_into().ok().map(i32::from_le_bytes);
            let pid = pid.and_then(Pid::from_raw);
            if let (Some(pid), Ok(channel)) = (pid, Channel::new(channel)) {
                let process = Started::running(ADDRESS_ENTRY, pid, pidfd, channel);
                self.slots[ADDRESS].running = Some(Running::adopted(process));
                self.slots[ADDRESS].served = true;
            }
        }
        if let Some((listener, bytes)) = take(GUARD) {
            let entry = Entry::kept(path(&bytes));
            self.slots[ADDRESS].guard = Some((entry, Arc::new(listener)));
        }
        if let Some((file, bytes)) = take(KEEP) {
            self.addresses.keep = Some(Keep::kept(path(&bytes), file));
        }
        if let Some((vitals, _)) = take(VITALS) {
            self.addresses.vitals = Some(Arc::new(vitals));
        }
    }

    /// Whether an extra is one of these.
    pub(in super::super) fn is_of_addresses(name: &str) -> bool {
        [CHANNEL, PROCESS, GUARD, KEEP, VITALS].contains(&name)
    }

    /// The role's process, where there is one.
    pub(in super::super) fn address_process(&self) -> Option<Pid> {
        self.slots[ADDRESS]
            .running
            .as_ref()
            .map(|role| role.process.pid())
    }
}

/// A connection to a role that nobody supervises: which process that is, is the
/// kernel's word.
fn reach(socket: &Path) -> Result<Option<Started>, AdoptError> {
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
    Ok(Some(Started::running(ADDRESS_ENTRY, pid, pidfd, channel)))
}
