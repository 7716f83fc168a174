//! The entries of this instance in the runtime directory. A cleaner may remove the directory while the
//! roles run: without its entry no command finds this process, no other supervisor can adopt the
//! roles, and a second instance would start beside a node of a cluster.

use crate::directory;
use crate::state::Supervisor;
use part::role::Manner;
use part::row;
use std::time::{Duration, Instant};

/// Interval of the checks.
const CHECK_EVERY: Duration = Duration::from_secs(1);
/// Timeout for the control role to end before it is killed.
const END_LIMIT: Duration = Duration::from_secs(5);

impl Supervisor {
    /// Restores removed entries, if a check is due.
    pub(super) fn check_entries(&mut self, now: Instant) {
        if self.interfaces.control.is_none() || self.service.stop.is_some() {
            self.interfaces.entries_due = None;
            return;
        }
        if *self.interfaces.entries_due.get_or_insert(now) > now {
            return;
        }
        self.interfaces.entries_due = Some(now + CHECK_EVERY);
        self.restore_entries();
        self.replace_control_socket(now);
    }

    /// Restores the entries in the runtime directory if they were removed.
    pub(super) fn restore_entries(&mut self) {
        let control = self.interfaces.control.as_ref();
        let exists = control.is_none_or(|control| control.entry().exists());
        // Without a directory the old entries stay until there is one again.
        if exists || directory::place("").is_err() {
            return;
        }
        // Dropping the old entries later would remove new ones of the same name.
        self.interfaces.control = None;
        self.slots.all_mut().for_each(|slot| slot.guard = None);
        self.open_control();
        self.slots.serving.send_adoption_socket();
        self.keep_version();
        self.guard_parts();
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
        self.voice.warning(
            "the entry in the runtime directory was gone and is there again: `evenkeel reload` finds this process",
        );
        if let Some(words) = self.lost_files() {
            self.voice.warning(words);
        }
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
            role.process.stop(Manner::Soft, rustix::process::Signal::TERM);
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
