//! Claims the resources of this machine that an instance of the program uses exclusively. Claims
//! are listed in the runtime directory, so that another instance sees them before it starts
//! anything, also if only a role of the first one runs.
//!
//! A node of a cluster claims the whole machine, because the version that it serves changes at run
//! time. Other instances claim single resources, such as a guest. HAProxy may be started several
//! times with the same listeners, so under its name listeners exclude no other instance.

use crate::command::StartParameters;
use crate::conflict::{ClaimError, conflict};
use crate::directory::{self, Claims, Entry, Instance, Membership, SocketOwner};
use crate::state::Supervisor;
use crate::version::LoadedVersion;
use part::before::Before;
use part::role::{Resource, VersionPlan};
use part::voice::Form;
use std::collections::BTreeSet;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

/// Returns whether a command has files, and all of them can be read again with the same result; a
/// pipe cannot.
fn lasting(command: &StartParameters) -> bool {
    let paths = &command.paths;
    !paths.is_empty() && paths.iter().all(|path| directory::is_lasting(path))
}

/// Enters an instance in the runtime directory, unless another one on this machine excludes it.
/// Returns None if the directory cannot be used; the instances in it are unknown then, so only
/// those in other directories can exclude this one.
fn enter(
    command: &StartParameters,
    kind: SocketOwner<'_>,
    claims: &Claims,
    is_allowed: impl FnOnce(&[Instance]) -> Result<(), ClaimError>,
) -> Result<Option<(Entry, OwnedFd)>, ClaimError> {
    let conflict = |all: &[Instance]| conflict(command, claims, all).map_or(Ok(()), Err);
    let entered = directory::exclusively(|directory, all| {
        if let Err(error) = is_allowed(&all).and_then(|()| conflict(&all)) {
            return Ok(Err(error));
        }
        let program = command.form().program();
        directory::enter_locked(directory, kind, program, &command.paths, claims).map(Ok)
    });
    // Continues without the directory, although other instances in it are unknown then. The error
    // is reported when the control socket cannot be opened there.
    let is_own_read = entered.is_ok();
    let entered = entered.ok().transpose()?;
    // Other directories are checked after the entry was made: of two instances that start at once
    // with two directories, at least one finds the other.
    conflict(&directory::elsewhere(is_own_read))?;
    Ok(entered)
}

fn resources(version: Option<&LoadedVersion>) -> BTreeSet<Resource> {
    let all = version.map(|version| version.plan().resources.iter());
    all.into_iter().flatten().cloned().collect()
}

impl Supervisor {
    /// Returns the claims of the version in service, and of the machine if it is a node of a
    /// cluster.
    pub(super) fn claims(&self) -> Claims {
        Claims {
            membership: match (self.cluster.is_member(), self.cluster.is_arbiter()) {
                (_, true) => Membership::Arbiter,
                (true, false) => Membership::Node,
                (false, false) => Membership::None,
            },
            resources: resources(self.versions.last_good.as_ref()),
        }
    }

    /// Enters a starting supervisor. Returns false, and fails the start, if another instance
    /// excludes it.
    pub(super) fn claim(&mut self) -> bool {
        let (command, claims) = (&self.command, self.claims());
        // Allows a second supervisor of the same files under HAProxy's name, and for a takeover,
        // which starts beside the other process.
        let many = command.form() != Form::Own || command.before != Before::default();
        let program = command.form().program();
        let is_allowed = |all: &[Instance]| {
            let same = |one: &Instance| {
                let starts = one.is(SocketOwner::Starting) || one.is(SocketOwner::Supervisor);
                starts && one.pid != std::process::id() && one.is_of(program, &command.paths)
            };
            if !many && lasting(command) && all.iter().any(same) {
                return Err(ClaimError::SameFiles);
            }
            Ok(())
        };
        match enter(command, SocketOwner::Starting, &claims, is_allowed) {
            Ok(claim) => self.interfaces.claim = claim,
            Err(error) => {
                self.fail(error);
                return false;
            }
        }
        true
    }

    /// Claims the resources of a version in addition to those of the version in service, before any
    /// role uses them. A node of a cluster has claimed the machine already.
    pub(super) fn claim_version(&mut self, plan: &VersionPlan) -> Result<(), ClaimError> {
        let (command, held) = (&self.command, self.claims());
        let wanted: BTreeSet<Resource> = plan.resources.iter().cloned().collect();
        let new = Claims {
            membership: held.membership,
            resources: wanted.difference(&held.resources).cloned().collect(),
        };
        if new.resources.is_empty() {
            return Ok(());
        }
        let both = Claims {
            membership: held.membership,
            resources: &held.resources | &wanted,
        };
        let conflict = |all: &[Instance]| match held.membership {
            Membership::None => conflict(command, &new, all).map_or(Ok(()), Err),
            Membership::Node | Membership::Arbiter => Ok(()),
        };
        let claimed = directory::exclusively(|_, all| {
            let is_free = conflict(&all);
            if is_free.is_ok() {
                self.list(&both);
            }
            Ok(is_free)
        });
        // Continues without the directory, although other instances in it are unknown then. The
        // claims are listed before other directories are checked, as in `enter`.
        let is_own_read = claimed.is_ok();
        let is_free = claimed.unwrap_or(Ok(()));
        let is_free = is_free.and_then(|()| conflict(&directory::elsewhere(is_own_read)));
        if is_free.is_err() {
            self.list(&held);
        }
        is_free
    }

    pub(super) fn list_claims(&self) {
        self.list(&self.claims());
    }

    fn list(&self, claims: &Claims) {
        let starting = self.interfaces.claim.iter().map(|(entry, _)| entry);
        let control = self
            .interfaces
            .control
            .iter()
            .map(|control| control.entry());
        let guards = self.slots.all().filter_map(|slot| slot.guard.as_ref());
        let guards = guards.map(|(entry, _)| entry);
        for entry in starting.chain(control).chain(guards) {
            // Ignored: an entry that was removed is restored by a periodic check.
            let _ = entry.write(self.command.form().program(), &self.command.paths, claims);
        }
    }

    /// Locks the state directory of a cluster member. Returns false, and fails the start, if
    /// another supervisor holds the lock. The socket of that supervisor may have been removed, and
    /// with two supervisors, roles that must be unique would end each other's guests.
    pub(super) fn claim_member(&mut self) -> bool {
        let Some(start) = &self.command.cluster else {
            return true;
        };
        if self.interfaces.member.is_some() {
            return true;
        }
        let path = start.directory.clone();
        match directory::lock(&path) {
            Ok(Some(lock)) => self.interfaces.member = Some(lock),
            Ok(None) => {
                self.fail(format_args!(
                    "another supervisor runs with the state in {}. If no command reaches it, its socket in {} was \
                     removed: end that process (`evenkeel run` in the list of processes) and start again. \
                     Its roles and guests continue to run meanwhile",
                    path.display(),
                    directory::path().display()
                ));
                return false;
            }
            // Continues without a lock: the control role reports what is wrong with the directory.
            Err(_) => {}
        }
        true
    }
}

/// The entry of a process that serves without a supervisor; dropping the value removes it.
#[derive(Debug)]
pub struct ProcessClaim {
    entry: Entry,
    _socket: OwnedFd,
    program: &'static str,
    paths: Vec<PathBuf>,
}

impl ProcessClaim {
    /// Enters this process under HAProxy's name. None if the runtime directory cannot be used;
    /// other instances are unknown then.
    ///
    /// # Errors
    /// This machine is a node of a cluster.
    pub fn enter(before: &Before, paths: &[PathBuf]) -> Result<Option<ProcessClaim>, ClaimError> {
        let command = StartParameters {
            personality: Form::Haproxy,
            before: before.clone(),
            paths: paths.to_vec(),
            ..StartParameters::default()
        };
        let kind = SocketOwner::Process;
        let entered = enter(&command, kind, &Claims::default(), |_| Ok(()))?;
        Ok(entered.map(|(entry, socket)| ProcessClaim {
            entry,
            _socket: socket,
            program: command.form().program(),
            paths: command.paths,
        }))
    }

    /// Leaves the entry to the background process that this one has started.
    pub fn leave(self) {
        std::mem::forget(self);
    }

    /// Makes the entry name this process as its owner, after the process has moved into the
    /// background.
    pub fn move_to_this_process(&mut self) {
        self.entry.move_to_this_process();
        // Writes the entry again, which would otherwise show the process id of the parent.
        let _ = self
            .entry
            .write(self.program, &self.paths, &Claims::default());
    }
}
