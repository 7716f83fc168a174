//! Claims: resources of this machine that an instance of the program uses exclusively. They are
//! listed in the runtime directory, so that another instance sees them before it starts anything,
//! also if only a role of the first one runs.
//!
//! A node of a cluster claims the whole machine, because the version that it serves changes at run
//! time. Other instances claim single resources, such as a guest. HAProxy may be started several
//! times with the same listeners, so its listeners exclude no other instance.

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

/// Returns whether a command has files that stay the same when they are read again; a pipe does
/// not.
fn lasting(command: &StartParameters) -> bool {
    let paths = &command.paths;
    !paths.is_empty() && paths.iter().all(|path| directory::is_lasting(path))
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
            membership: match (self.is_member(), self.is_arbiter()) {
                (_, true) => Membership::Arbiter,
                (true, false) => Membership::Node,
                (false, false) => Membership::None,
            },
            resources: resources(self.versions.last_good.as_ref()),
        }
    }

    /// Enters a starting supervisor, unless another instance excludes it.
    pub(super) fn claim(&mut self) -> bool {
        let (command, claims) = (&self.command, self.claims());
        // HAProxy's name may be started twice; a takeover starts beside the other process.
        let many = command.form() != Form::Own || command.before != Before::default();
        let program = command.form().program();
        let claimed = directory::exclusively(|directory, all| {
            let same = |one: &Instance| {
                let starts = one.is(SocketOwner::Starting) || one.is(SocketOwner::Supervisor);
                starts && one.pid != std::process::id() && one.is_of(program, &command.paths)
            };
            if !many && lasting(command) && all.iter().any(same) {
                return Ok(Err(ClaimError::SameFiles));
            }
            if let Some(error) = conflict(command, &claims, &all) {
                return Ok(Err(error));
            }
            let kind = SocketOwner::Starting;
            directory::enter_locked(directory, kind, program, &command.paths, &claims).map(Ok)
        });
        match claimed {
            Ok(Ok(claim)) => self.interfaces.claim = Some(claim),
            Ok(Err(error)) => {
                self.fail(error);
                return false;
            }
            // Without the directory other instances are unknown; this is reported when the control
            // socket cannot be opened there.
            Err(_) => {}
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
        let claimed = directory::exclusively(|_, all| {
            if held.membership == Membership::None
                && let Some(error) = conflict(command, &new, &all)
            {
                return Ok(Err(error));
            }
            self.list(&both);
            Ok(Ok(()))
        });
        // Without the directory other instances are unknown.
        claimed.unwrap_or(Ok(()))
    }

    /// Lists the current claims after a change of the version.
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
            // A removed entry is restored by the next reload by signal.
            let _ = entry.write(self.command.form().program(), &self.command.paths, claims);
        }
    }

    /// Returns whether no other supervisor runs for this cluster member; locks its state directory.
    /// The socket of the other one may have been removed, and with two supervisors, roles that must
    /// be unique would end each other's guests.
    pub(super) fn claim_member(&mut self) -> bool {
        let Some(start) = &self.command.cluster else {
            return true;
        };
        let path = start.directory.clone();
        match directory::lock(&path) {
            Ok(Some(lock)) => self.interfaces.member = Some(lock),
            Ok(None) => {
                self.fail(format_args!(
                    "another supervisor runs with the state in {}. If no command reaches it, its socket in {} was \
                     removed: end that process (`evenkeel run` in the list of processes) and start again, its roles and \
                     guests go on meanwhile",
                    path.display(),
                    directory::path().display()
                ));
                return false;
            }
            // The control role reports what is wrong with the directory.
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
        let (program, claims) = (command.form().program(), Claims::default());
        let claimed = directory::exclusively(|directory, all| {
            if let Some(error) = conflict(&command, &claims, &all) {
                return Ok(Err(error));
            }
            let kind = SocketOwner::Process;
            directory::enter_locked(directory, kind, program, paths, &claims).map(Ok)
        });
        match claimed {
            Ok(Ok((entry, socket))) => Ok(Some(ProcessClaim {
                entry,
                _socket: socket,
                program,
                paths: paths.to_vec(),
            })),
            Ok(Err(error)) => Err(error),
            Err(_) => Ok(None),
        }
    }

    /// Leaves the entry to the background process that this one has started.
    pub fn leave(self) {
        std::mem::forget(self);
    }

    /// Makes the entry that of this process, which continues in the background.
    pub fn move_to_this_process(&mut self) {
        self.entry.move_to_this_process();
        // Otherwise the entry would show the process id of the parent.
        let _ = self
            .entry
            .write(self.program, &self.paths, &Claims::default());
    }
}
