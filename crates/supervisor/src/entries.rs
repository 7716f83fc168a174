//! The entries of this instance in the runtime directory. A cleaner may remove the directory while the
//! roles run: without its entry no command finds this process, no other supervisor can adopt the
//! roles, and a second instance would start beside a node of a cluster.

use crate::control::ControlSocket;
use crate::directory;
use crate::state::Supervisor;
use part::role::Manner;
use part::row;
use std::time::{Duration, Instant};

/// Interval at which the supervisor checks that its entries still exist.
const CHECK_EVERY: Duration = Duration::from_secs(1);
/// Interval of the attempts to restore an entry after one that failed, which is logged.
const RETRY_EVERY: Duration = Duration::from_secs(30);
/// Timeout for the control role to end before it is killed.
const END_LIMIT: Duration = Duration::from_secs(5);

impl Supervisor {
    pub(super) fn check_entries(&mut self, now: Instant) {
        let interfaces = &self.interfaces;
        let has_entry = interfaces.control.is_some() || interfaces.is_entry_lost;
        if !has_entry || self.service.stop.is_some() {
            self.interfaces.entries_due = None;
            return;
        }
        if *self.interfaces.entries_due.get_or_insert(now) > now {
            return;
        }
        self.restore_entries();
        let pause = if self.interfaces.is_entry_lost {
            RETRY_EVERY
        } else {
            CHECK_EVERY
        };
        self.interfaces.entries_due = Some(now + pause);
        self.replace_control_socket(now);
    }

    pub(super) fn restore_entries(&mut self) {
        let exists = match &self.interfaces.control {
            Some(control) => control.entry().exists(),
            None => !self.interfaces.is_entry_lost,
        };
        if exists {
            return;
        }
        let was_removed = is_removed(self.interfaces.control.as_ref());
        // Without a directory the old entries stay until there is one again.
        if directory::place("").is_err() {
            return;
        }
        // Dropping the old entries later would remove new ones of the same name.
        self.interfaces.control = None;
        self.slots.all_mut().for_each(|slot| slot.guard = None);
        self.open_control();
        let was_lost = self.interfaces.is_entry_lost;
        self.interfaces.is_entry_lost = self.interfaces.control.is_none();
        if was_lost && self.interfaces.is_entry_lost {
            return;
        }
        self.slots.serving.send_adoption_socket();
        self.keep_version();
        self.guard_parts();
        if was_removed {
            self.note_lost_files();
        }
        if self.interfaces.is_entry_lost {
            return;
        }
        self.voice.warning(
            "the missing entry in the runtime directory was restored: `evenkeel reload` finds this process again",
        );
        if let Some(words) = self.lost_files() {
            self.voice.warning(words);
        }
    }

    /// Notes the roles that run without their files, because the whole directory was removed.
    fn note_lost_files(&mut self) {
        self.interfaces.is_control_socket_lost = self.slots.governing.running.is_some();
        let slots = self.slots.all();
        let with_files = slots.filter(|slot| {
            let sidecar = slot.row.sidecar();
            sidecar.is_some_and(|sidecar| sidecar.has_runtime_files)
        });
        self.interfaces.roles_without_files = with_files
            .filter_map(|slot| {
                let running = slot.running.as_ref()?;
                Some((slot.row.part, running.process.number()))
            })
            .collect();
    }

    /// Restarts the control role, which opens its socket only at its start. A candidate is decided
    /// first.
    fn replace_control_socket(&mut self, now: Instant) {
        let cluster = &self.cluster;
        let is_idle = cluster.trial.is_none()
            && cluster.first.is_none()
            && cluster.serving.is_none()
            && cluster.checking.is_none();
        if !self.interfaces.is_control_socket_lost || !is_idle {
            return;
        }
        self.interfaces.is_control_socket_lost = false;
        let slot = &mut self.slots.governing;
        if let Some(role) = &mut slot.running {
            self.voice
                .notice("restarting the control role, whose socket was removed");
            role.process
                .stop(Manner::Soft, rustix::process::Signal::TERM);
            slot.stop_until = slot.stop_until.or(Some(now + END_LIMIT));
        }
    }

    /// Returns what does not work because files of running roles were removed; `None` if everything
    /// works.
    pub(super) fn lost_files(&self) -> Option<String> {
        let lost = &self.interfaces.roles_without_files;
        let is_lost = |part: &'static str| {
            let running = self.slots[part].running.as_ref();
            running.is_some_and(|running| lost.contains(&(part, running.process.number())))
        };
        let nouns = row::all().iter().filter_map(|row| {
            let sidecar = row.sidecar().filter(|one| one.has_runtime_files)?;
            is_lost(row.part).then_some(sidecar.configured_noun)
        });
        let nouns: Vec<&str> = nouns.collect();
        (!nouns.is_empty()).then(|| {
            format!(
                "the runtime directory was removed while this machine served {}: no guest can start here or move \
                 here. Move the guests of this machine to another node, stop Evenkeel here, and start it again",
                nouns.join(" and ")
            )
        })
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
