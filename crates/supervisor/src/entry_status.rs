//! Decides when this instance's entries in the runtime directory are checked, and records what was
//! lost with a directory that a cleaner removed.

use crate::slot::{RoleSlot, Slots};
use std::time::{Duration, Instant};

/// Interval at which the supervisor checks that its entries still exist.
const CHECK_EVERY: Duration = Duration::from_secs(1);
/// Interval of the attempts to restore an entry after one that failed, which is logged.
const RETRY_EVERY: Duration = Duration::from_secs(30);

/// Status of the entries. The entry itself is open, or lost until it can be restored.
#[derive(Debug, Default)]
pub struct EntryStatus {
    /// Time of the next check; None while there is nothing to check.
    due: Option<Instant>,
    /// True if the entry was removed, and could not be restored yet.
    is_lost: bool,
    /// Roles whose files were removed: part and process.
    roles_without_files: Vec<(&'static str, i32)>,
    /// True if the control role must restart, because its socket was removed.
    is_control_socket_lost: bool,
}

impl EntryStatus {
    /// Returns whether the entries must be checked now.
    pub fn is_due(&mut self, is_open: bool, is_stopping: bool, now: Instant) -> bool {
        if is_stopping || !(is_open || self.is_lost) {
            self.due = None;
            return false;
        }
        *self.due.get_or_insert(now) <= now
    }

    pub fn schedule(&mut self, now: Instant) {
        let pause = if self.is_lost {
            RETRY_EVERY
        } else {
            CHECK_EVERY
        };
        self.due = Some(now + pause);
    }

    pub fn deadline(&self) -> Option<Instant> {
        self.due
    }

    pub fn is_lost(&self) -> bool {
        self.is_lost
    }

    /// Records the result of an attempt to restore the entry of this process. Returns false if it
    /// failed again.
    pub fn note_attempt(&mut self, is_open: bool) -> bool {
        let was_lost = std::mem::replace(&mut self.is_lost, !is_open);
        is_open || !was_lost
    }

    /// Records that the whole directory was removed: which roles run without their files, and that
    /// the control role must restart.
    pub fn note_removed_directory(&mut self, slots: &Slots) {
        self.is_control_socket_lost = slots.governing.running.is_some();
        let with_files = slots.sidecars().filter(|slot| has_files(slot));
        let running = with_files.filter_map(|slot| Some((slot.row.part, slot.pid()?)));
        self.roles_without_files = running.collect();
    }

    /// Returns whether the control role must restart now, because it opens its socket only at its
    /// start. A candidate is decided first.
    pub fn take_lost_control_socket(&mut self, is_cluster_idle: bool) -> bool {
        is_cluster_idle && std::mem::take(&mut self.is_control_socket_lost)
    }

    /// Returns what does not work because files of running roles were removed; `None` if everything
    /// works.
    pub fn lost_files(&self, slots: &Slots) -> Option<String> {
        let is_lost = |slot: &&RoleSlot| {
            let pid = slot.pid();
            pid.is_some_and(|pid| self.roles_without_files.contains(&(slot.row.part, pid)))
        };
        let lost = slots.sidecars().filter(is_lost);
        let nouns: Vec<&str> = lost.map(|slot| slot.properties().configured_noun).collect();
        (!nouns.is_empty()).then(|| {
            format!(
                "the runtime directory was removed while this machine served {}: no guest can start here or move \
                 here. Move the guests of this machine to another node, stop Evenkeel here, and start it again",
                nouns.join(" and ")
            )
        })
    }
}

fn has_files(slot: &RoleSlot) -> bool {
    slot.properties().has_runtime_files
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bed::{Theirs, bed};
    use crate::slot::RunningRole;
    use part::row::{Life, RoleRow, SidecarProperties};
    use part::spawn::LOADER_ENTRY;
    use std::process::ExitCode;

    static GUEST: RoleRow = RoleRow {
        life: Life::Beside(SidecarProperties {
            has_runtime_files: true,
            ..SidecarProperties::plain("guests")
        }),
        ..RoleRow::plain("guest", LOADER_ENTRY, |_| ExitCode::SUCCESS, "guests")
    };

    fn running() -> (Option<RunningRole>, Theirs) {
        let (process, theirs) = bed();
        (Some(RunningRole::adopted(process)), theirs)
    }

    #[test]
    fn entry_is_checked_often_and_restored_seldom() {
        let mut status = EntryStatus::default();
        let now = Instant::now();
        assert!(!status.is_due(false, false, now), "there is no entry yet");
        assert!(status.is_due(true, false, now));
        status.schedule(now);
        assert!(!status.is_due(true, false, now));
        assert!(status.is_due(true, false, now + CHECK_EVERY));
        assert!(status.note_attempt(false), "the first failure is reported");
        assert!(!status.note_attempt(false));
        status.schedule(now);
        assert!(!status.is_due(false, false, now + CHECK_EVERY));
        assert!(status.is_due(false, false, now + RETRY_EVERY));
        assert!(status.note_attempt(true) && !status.is_lost());
        assert!(!status.is_due(true, true, now + RETRY_EVERY));
        assert_eq!(status.deadline(), None, "nothing is restored in a stop");
    }

    #[test]
    fn files_are_lost_until_their_role_restarts() {
        let mut slots = Slots::of_test(vec![RoleSlot::of(&GUEST)]);
        let mut status = EntryStatus::default();
        status.note_removed_directory(&slots);
        assert_eq!(status.lost_files(&slots), None);
        assert!(!status.take_lost_control_socket(true));
        let (role, _theirs) = running();
        slots["guest"].running = role;
        let (control, _its) = running();
        slots.governing.running = control;
        status.note_removed_directory(&slots);
        let words = status.lost_files(&slots).expect("a reason");
        assert!(words.contains("served guests"), "{words}");
        assert!(!status.take_lost_control_socket(false), "a trial runs");
        assert!(status.take_lost_control_socket(true));
        assert!(!status.take_lost_control_socket(true), "twice");
        let (role, _other) = running();
        slots["guest"].running = role;
        assert_eq!(status.lost_files(&slots), None);
    }
}
