//! Claims: what an instance of the program uses alone on this machine. They are lines of its
//! entries in the runtime directory, so that another instance sees them before it starts
//! anything, also where only a role of the first one lives.
//!
//! A node of a cluster claims the machine: it serves what the cluster accepted, and what that
//! is changes while it runs. Other instances claim single resources, such as a guest. HAProxy
//! may be started several times with the same listeners, so its listeners stop nobody.

use crate::command::Command;
use crate::conflict::{ClaimError, conflict};
use crate::directory::{self, Claims, Entry, Instance, Kind, Membership};
use crate::state::Supervisor;
use crate::version::Version;
use part::before::Before;
use part::role::{Plan, Resource};
use part::voice::Form;
use std::collections::BTreeSet;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

/// The files of a command that are the same ones each time; a pipe is not.
fn lasting(command: &Command) -> bool {
    let paths = &command.paths;
    !paths.is_empty() && paths.iter().all(|path| directory::is_lasting(path))
}

fn resources(version: Option<&Version>) -> BTreeSet<Resource> {
    let all = version.map(|version| version.plan().resources.iter());
    all.into_iter().flatten().cloned().collect()
}

impl Supervisor {
    /// Claims of the version that is served, and of this machine where it is a node of a cluster.
    pub(super) fn claims(&self) -> Claims {
        Claims {
            membership: match (self.is_member(), self.is_arbiter()) {
                (_, true) => Membership::Arbiter,
                (true, false) => Membership::Node,
                (false, false) => Membership::None,
            },
            resources: resources(self.versions.kept.as_ref()),
        }
    }

    /// Enters a supervisor that starts, unless another instance excludes it.
    pub(super) fn claim(&mut self) -> bool {
        let (command, claims) = (&self.command, self.claims());
        // HAProxy's name may be started twice; a takeover starts beside the other process.
        let many = command.form() != Form::Own || command.before != Before::default();
        let program = command.form().program();
        let claimed = directory::exclusively(|directory, all| {
            let same = |one: &Instance| {
                let starts = one.is(Kind::Starting) || one.is(Kind::Supervisor);
                starts && one.pid != std::process::id() && one.is_of(program, &command.paths)
            };
            if !many && lasting(command) && all.iter().any(same) {
                return Ok(Err(ClaimError::SameFiles));
            }
            if let Some(error) = conflict(command, &claims, &all) {
                return Ok(Err(error));
            }
            let kind = Kind::Starting;
            directory::enter_locked(directory, kind, program, &command.paths, &claims).map(Ok)
        });
        match claimed {
            Ok(Ok(claim)) => self.doors.claim = Some(claim),
            Ok(Err(error)) => {
                self.fail(error);
                return false;
            }
            // Without the directory nothing is known of others; it is reported once this
            // supervisor cannot be reached there.
            Err(_) => {}
        }
        true
    }

    /// Claims what a version uses besides what is served, before any role starts to use it.
    /// A node of a cluster has the machine already.
    pub(super) fn claim_version(&mut self, plan: &Plan) -> Result<(), ClaimError> {
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
        // Without the directory nothing is known of others.
        claimed.unwrap_or(Ok(()))
    }

    /// Lists what is claimed now, after a change of the version.
    pub(super) fn list_claims(&self) {
        self.list(&self.claims());
    }

    fn list(&self, claims: &Claims) {
        let starting = self.doors.claim.iter().map(|(entry, _)| entry);
        let control = self.doors.control.iter().map(|control| control.entry());
        let guards = self.slots.all().filter_map(|slot| slot.guard.as_ref());
        let guards = guards.map(|(entry, _)| entry);
        for entry in starting.chain(control).chain(guards) {
            // One that is gone is entered again by the next reload by signal.
            let _ = entry.write(self.command.form().program(), &self.command.paths, claims);
        }
    }

    /// Whether no other supervisor runs for this member of a cluster. Its socket may be gone: with two of
    /// them, roles that there may be one of would end each other's guests.
    pub(super) fn claim_member(&mut self) -> bool {
        let Some(start) = &self.command.cluster else {
            return true;
        };
        let path = start.directory.clone();
        match directory::lock(&path) {
            Ok(Some(lock)) => self.doors.member = Some(lock),
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
            // Its control role says what is wrong with it.
            Err(_) => {}
        }
        true
    }
}

/// The entry of a process that serves without a supervisor; it ends with the value.
#[derive(Debug)]
pub struct ProcessClaim {
    entry: Entry,
    _socket: OwnedFd,
    program: &'static str,
    paths: Vec<PathBuf>,
}

impl ProcessClaim {
    /// Enters this process under HAProxy's name. None where the runtime directory cannot be
    /// used: then nothing is known of others.
    ///
    /// # Errors
    /// This machine is a node of a cluster.
    pub fn enter(before: &Before, paths: &[PathBuf]) -> Result<Option<ProcessClaim>, ClaimError> {
        let command = Command {
            personality: Form::Haproxy,
            before: before.clone(),
            paths: paths.to_vec(),
            ..Command::default()
        };
        let (program, claims) = (command.form().program(), Claims::default());
        let claimed = directory::exclusively(|directory, all| {
            if let Some(error) = conflict(&command, &claims, &all) {
                return Ok(Err(error));
            }
            let kind = Kind::Process;
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

    /// Leaves the entry to the process in the background that this one has started.
    pub fn leave(self) {
        std::mem::forget(self);
    }

    /// The entry becomes that of this process, which continues in the background.
    pub fn move_to_this_process(&mut self) {
        self.entry.move_to_this_process();
        // It is found with the number of the process that was started, otherwise.
        let _ = self
            .entry
            .write(self.program, &self.paths, &Claims::default());
    }
}
