//! Restores the entries of this instance in the runtime directory. A cleaner may remove the
//! directory while the roles run: without its entry no command finds this process, no other
//! supervisor can adopt the roles, and a second instance would start beside a node of a cluster.

use crate::control::ControlSocket;
use crate::directory;
use crate::state::Supervisor;
use part::role::Manner;
use std::time::{Duration, Instant};

/// Timeout for the control role to end before it is killed.
const END_LIMIT: Duration = Duration::from_secs(5);

impl Supervisor {
    pub(super) fn check_entries(&mut self, now: Instant) {
        let is_open = self.interfaces.control.is_some();
        let is_stopping = self.service.stop.is_some();
        if !(self.interfaces.entries).is_due(is_open, is_stopping, now) {
            return;
        }
        self.restore_entries();
        self.interfaces.entries.schedule(now);
        let is_idle = self.cluster.is_idle();
        let slot = &mut self.slots.governing;
        if self.interfaces.entries.take_lost_control_socket(is_idle)
            && let Some(role) = &mut slot.running
        {
            self.voice
                .notice("restarting the control role, whose socket was removed");
            role.process
                .stop(Manner::Soft, rustix::process::Signal::TERM);
            slot.stop_until = slot.stop_until.or(Some(now + END_LIMIT));
        }
    }

    pub(super) fn restore_entries(&mut self) {
        let exists = match &self.interfaces.control {
            Some(control) => control.entry().exists(),
            None => !self.interfaces.entries.is_lost(),
        };
        if exists {
            return;
        }
        let was_removed = is_removed(self.interfaces.control.as_ref());
        // Keeps the old entries while the directory cannot be created.
        if directory::place("").is_err() {
            return;
        }
        // Dropped before the new entries are made, because a later drop would remove new files of
        // the same name.
        self.interfaces.control = None;
        self.slots.all_mut().for_each(|slot| slot.guard = None);
        self.open_control();
        let is_open = self.interfaces.control.is_some();
        if !self.interfaces.entries.note_attempt(is_open) {
            return;
        }
        self.slots.serving.send_adoption_socket();
        self.keep_version();
        self.guard_parts();
        if was_removed {
            (self.interfaces.entries).note_removed_directory(&self.slots);
        }
        if !is_open {
            return;
        }
        self.voice.warning(
            "the missing entry in the runtime directory was restored: `evenkeel reload` finds this process again",
        );
        if let Some(words) = self.interfaces.entries.lost_files(&self.slots) {
            self.voice.warning(words);
        }
    }
}

/// Returns whether the runtime directory, or all that it had, was removed, and not only the entry of
/// this process.
fn is_removed(control: Option<&ControlSocket>) -> bool {
    let folder = control.and_then(|control| control.entry().socket().parent());
    let Some(files) = folder.and_then(|folder| std::fs::read_dir(folder).ok()) else {
        return true;
    };
    files.flatten().next().is_none()
}
