//! Adoption: a supervisor that is started where another one was killed takes the
//! role that still serves, with its version and its sockets, in place of
//! starting a second one. The files may be others by now, so a change follows.
//!
//! A role of another supervisor that lives is never touched: the role itself
//! says whether it has one. Which process answers is the kernel's word, not the
//! role's: it is another user's, and what it says may be anything. So the
//! version comes from the file that the supervisor before left ([`keep`]), and
//! where that does not fit from the configuration, by a loader which uses the
//! role's sockets as far as the files still want them.

use crate::directory::{self, DirectoryError, Kind};
use crate::orphan::{AdoptError, Known, Orphan, find};
use crate::slot::Running;
use crate::state::{Supervisor, Unsettled};
use crate::{first, keep, tell};
use part::role::Plan;
use part::voice::Form;
use std::sync::Arc;

/// The highest number of a version that is taken from a role.
const NUMBER_MAX: u64 = u32::MAX as u64;

impl Supervisor {
    /// Adopts a role that serves with these files and has no supervisor; whether
    /// that settles the start.
    pub(super) fn adopt(&mut self) -> bool {
        match find(self.slots.serving.row, &self.command) {
            Ok(None) => false,
            Ok(Some(orphan)) => {
                self.take_in(orphan);
                true
            }
            // Two that were started at once: one is enough. HAProxy's name may
            // be started twice.
            Err(AdoptError::Supervised) if self.voice.form() == Form::Own => {
                self.fail("another supervisor already serves these files");
                true
            }
            Err(AdoptError::Supervised) => false,
            Err(error) => {
                tell::not_adopted(&mut self.voice, &error);
                if let AdoptError::Foreign(_, Some(process)) = error {
                    // It shares its addresses with the one that is started now,
                    // and finishes what it has when that serves.
                    self.service.foreign = Some(Running::foreign(process.0));
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
        self.slots.serving.running = Some(Running::adopted(orphan.process));
        self.service.served = true;
        let entry = Some(orphan.socket);
        match orphan.version {
            Known::Version(version) => {
                let sockets = Vec::new();
                self.versions.unsettled = Some(Unsettled { sockets, entry });
                self.settle_in(Some(version.plan()));
                self.versions.kept = Some(*version);
                self.versions.unsettled = None;
                self.keep_version();
                self.follow_version();
            }
            Known::Sockets(sockets, error) => {
                tell::not_known(&mut self.voice, &error);
                self.versions.unsettled = Some(Unsettled { sockets, entry });
            }
        }
        // The files may say something else than they did.
        self.changing.requests.ask(None);
    }

    /// This process becomes the one that is found and told: where its plan says
    /// so in the background, and with the file of its process id. Once there is
    /// a plan, or none can be had.
    pub(super) fn settle_in(&mut self, plan: Option<&Plan>) {
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
                    Ok(ready) => self.own.ready = Some(ready),
                    // The role serves; it is only supervised from elsewhere.
                    Err(error) => self.voice.warning(error),
                }
                self.voice.pid = std::process::id();
            }
            // The role serves, whatever becomes of the file.
            let written = file.and_then(|file| file.map_or(Ok(()), first::PidFile::write));
            if let Err(error) = written {
                self.voice.warning(error);
            }
        }
        if self.doors.control.is_none() {
            self.open_control();
        }
        self.slots.serving.tell_guard();
        // The role listens elsewhere from now on.
        directory::remove(&entry);
        self.take_over();
        self.tell_ready();
    }

    /// Opens the socket where a new supervisor would find the role of a part.
    pub(super) fn open_guard(&mut self, part: &str) -> Result<(), DirectoryError> {
        let program = self.voice.form().program();
        let (entry, listener) = directory::enter(
            Kind::of_part(part),
            program,
            &self.command.paths,
            &self.claims(),
        )?;
        self.slots[part].guard = Some((entry, Arc::new(listener)));
        Ok(())
    }

    /// Nothing is served that could be left to anybody.
    pub(super) fn forget_version(&self) {
        if let Some((entry, _)) = &self.slots.serving.guard {
            let (path, _) = directory::kept_of(entry.socket());
            let _ = std::fs::remove_file(path);
        }
    }

    /// Leaves the served version to the next supervisor.
    pub(super) fn keep_version(&mut self) {
        self.list_claims();
        let (Some((entry, _)), Some(kept)) = (&self.slots.serving.guard, &self.versions.kept)
        else {
            return;
        };
        // Scripts do not expect a word about what HAProxy does not have.
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
