//! Requests a reload when watched files have settled.

use crate::state::Supervisor;
use part::role::{NotLoaded, Watch};
use std::time::Instant;

impl Supervisor {
    pub(super) fn look_at_files(&mut self) {
        if let Some(kept) = &self.versions.last_good
            && self.changing.watcher.version != Some(kept.take.version)
        {
            self.changing.watcher.version = Some(kept.take.version);
            let watch = kept.plan().watch.clone();
            self.changing.watcher.refused = None;
            self.changing.watcher.arm(watch, &mut self.voice);
        }
        let now = Instant::now();
        self.changing.watcher.hear(now);
        if self.changing.watcher.retry_at.is_some_and(|at| at <= now) {
            let watch = self.changing.watcher.wanted.clone();
            self.changing.watcher.arm(watch, &mut self.voice);
        }
    }

    /// Requests a reload when files have settled. Returns whether the next reload has no other
    /// requester.
    pub(super) fn ask_for_files(&mut self) -> bool {
        let due = self
            .changing
            .watcher
            .due()
            .is_some_and(|at| at <= Instant::now());
        let asked = self.changing.requests.is_asked();
        if due && !asked {
            self.changing.requests.ask(None);
        }
        if due || asked {
            self.changing.watcher.begin(asked);
        }
        self.changing.watcher.running
    }

    /// Watches the files of a load that gave no version, until they are corrected. Returns whether
    /// the failure has not been reported yet.
    pub(super) fn not_loaded(&mut self, why: NotLoaded) -> bool {
        let NotLoaded {
            unchanged,
            content,
            watch,
            ..
        } = why;
        let running = self.changing.watcher.running;
        if self.changing.watcher.wanted.is_some() {
            let mut watch = watch.or_else(|| self.changing.watcher.wanted.clone());
            if let (false, Some(watch), Some(before)) =
                (unchanged, &mut watch, &self.changing.watcher.wanted)
            {
                add(watch, before);
            }
            self.changing.watcher.arm(watch, &mut self.voice);
        }
        let before = self.changing.watcher.refused;
        self.changing.watcher.refused = (!unchanged).then_some(content);
        match (unchanged, before) {
            (true, Some(_)) => {
                self.voice
                    .notice("the watched files have returned to the served content");
                true
            }
            (true, None) => !running,
            (false, before) => !running || before != Some(content),
        }
    }
}

/// Adds directories of an earlier list that are missing in the new one: a configuration file that
/// cannot be parsed to its end names fewer files than before.
fn add(watch: &mut Watch, before: &Watch) {
    for directory in &before.directories {
        let known = watch.directories.iter_mut();
        let mut known = known.filter(|known| known.path == directory.path);
        match known.next() {
            None => watch.directories.push(directory.clone()),
            Some(known) => {
                for name in &directory.names {
                    if !known.counts(name) {
                        known.names.push(name.clone());
                    }
                }
                known.every |= directory.every;
            }
        }
    }
    // The watch is bounded, however often files are refused.
    watch.fit();
}
