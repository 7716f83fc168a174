//! Adopts the primary role of a supervisor that was killed, with its version and its sockets,
//! instead of starting a second one. The files may have changed since the role started, so a reload
//! follows.
//!
//! A role with a running supervisor is never adopted: the role itself reports whether it has one.
//! Its process id comes from the kernel, because the role runs as another user and its messages may
//! be wrong. For the same reason its version comes from the file that the previous supervisor left
//! ([`keep`]). If that file does not match, a loader creates the version from the configuration and
//! reuses the role's sockets as far as the files still need them.

use crate::directory::{self, DirectoryError, SocketOwner};
use crate::orphan::{AdoptError, Orphan, OrphanVersion, find};
use crate::slot::RunningRole;
use crate::state::{Supervisor, Unsettled};
use crate::{first, keep, tell};
use part::role::VersionPlan;
use part::voice::Form;
use std::sync::Arc;

/// Highest version number that is accepted from a role.
const NUMBER_MAX: u64 = u32::MAX as u64;

impl Supervisor {
    /// Adopts an orphaned role that serves these files. Returns true if the start needs no other
    /// step: a role was adopted, or the start failed because another supervisor serves the files.
    pub(super) fn adopt(&mut self) -> bool {
        match find(self.slots.serving.row, &self.command) {
            Ok(None) => false,
            Ok(Some(orphan)) => {
                self.take_in(orphan);
                true
            }
            // Fails the start: of two supervisors with the same files, one must end. HAProxy's name
            // may be started twice.
            Err(AdoptError::Supervised) if self.voice.form() == Form::Own => {
                self.fail("another supervisor already serves these files");
                true
            }
            Err(AdoptError::Supervised) => false,
            Err(error) => {
                tell::not_adopted(&mut self.voice, &error);
                if let AdoptError::Foreign(_, Some(process)) = error {
                    // Keeps a role that cannot be adopted: it shares its addresses with the new
                    // one, and finishes its connections once the new one serves.
                    let foreign = RunningRole::foreign(process.0);
                    self.service.draining.keep_foreign(foreign);
                }
                false
            }
        }
    }

    fn take_in(&mut self, orphan: Orphan) {
        let pid = orphan.process.pid();
        self.versions.last = orphan.number.min(NUMBER_MAX);
        self.carried.expect_others_than(&[pid]);
        tell::adopted(
            &mut self.voice,
            "proxy",
            pid.as_raw_nonzero().get(),
            orphan.before,
        );
        tracing::info!(
            role = self.slots.serving.row.part,
            process = pid.as_raw_nonzero().get(),
            version = orphan.number,
            "role adopted"
        );
        self.slots.serving.running = Some(RunningRole::adopted(orphan.process));
        self.service.served = true;
        let entry = Some(orphan.socket);
        match orphan.version {
            OrphanVersion::Version(version) => {
                let sockets = Vec::new();
                self.versions.unsettled = Some(Unsettled { sockets, entry });
                self.settle_in(Some(version.plan()));
                self.versions.last_good = Some(*version);
                self.versions.unsettled = None;
                self.keep_version();
                self.follow_version();
            }
            OrphanVersion::Sockets(sockets, error) => {
                tell::not_known(&mut self.voice, &error);
                self.versions.unsettled = Some(Unsettled { sockets, entry });
            }
        }
        // Requests a reload, because the files may have changed since the role started.
        self.changing.requests.ask(None);
    }

    /// Makes this process the one that is found and notified, once there is a plan or none can be
    /// loaded: it moves into the background if the plan says so, and writes its PID file.
    pub(super) fn settle_in(&mut self, plan: Option<&VersionPlan>) {
        let entry = self
            .versions
            .unsettled
            .as_mut()
            .and_then(|one| one.entry.take());
        let Some(entry) = entry else {
            return;
        };
        if let Some(plan) = plan {
            self.voice.quiet |= plan.quiet;
            let file = first::PidFile::open(plan);
            if plan.daemon {
                match first::into_background() {
                    Ok(ready) => self.process.ready = Some(ready),
                    // Continues in the foreground: the role serves already, and only its supervisor
                    // changes.
                    Err(error) => self.voice.warning(error),
                }
                self.voice.pid = std::process::id();
            }
            // Only warns about the PID file, because the role serves already.
            let written = file.and_then(|file| file.map_or(Ok(()), first::PidFile::write));
            if let Err(error) = written {
                self.voice.warning(error);
            }
        }
        if self.interfaces.control.is_none() {
            self.open_control();
        }
        self.slots.serving.send_adoption_socket();
        // Removes the previous supervisor's entry: from now on the role listens on the new socket.
        directory::remove(&entry);
        self.carried.take_over(&mut self.slots.serving);
        self.report_ready();
    }

    /// Opens the socket on which a new supervisor would adopt the role of a part.
    pub(super) fn open_guard(&mut self, part: &str) -> Result<(), DirectoryError> {
        let program = self.voice.form().program();
        let (entry, listener) = directory::enter(
            SocketOwner::of_part(part),
            program,
            &self.command.paths,
            &self.claims(),
        )?;
        self.slots[part].guard = Some((entry, Arc::new(listener)));
        Ok(())
    }

    /// Removes the stored version, because nothing is served that a successor could adopt.
    pub(super) fn forget_version(&self) {
        if let Some((entry, _)) = &self.slots.serving.guard {
            let (path, _) = directory::kept_of(entry.socket());
            let _ = std::fs::remove_file(path);
        }
    }

    pub(super) fn keep_version(&mut self) {
        self.list_claims();
        let (Some((entry, _)), Some(kept)) = (&self.slots.serving.guard, &self.versions.last_good)
        else {
            return;
        };
        // Printed only under our own name: scripts for HAProxy do not expect a message about a file
        // that HAProxy does not have.
        if let Err(error) = keep::write(entry.socket(), kept)
            && self.voice.form() == Form::Own
        {
            self.voice.warning(format_args!(
                "cannot store the version in {} ({error}); a supervisor that adopts this proxy will read the files \
                 again",
                entry.socket().display()
            ));
        }
    }
}
