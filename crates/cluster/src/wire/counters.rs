//! Counters.

use super::path::Counts;
use std::sync::atomic::{AtomicU64, Ordering};

/// [`Counts`], while they are counted.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) accepted: AtomicU64,
    pub(crate) crowded: AtomicU64,
    pub(crate) handshakes_failed: AtomicU64,
    pub(crate) foreign: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) sent_again: AtomicU64,
    pub(crate) repeated: AtomicU64,
    pub(crate) overloaded: AtomicU64,
    pub(crate) broken_rules: AtomicU64,
    pub(crate) accept_failed: AtomicU64,
    pub(crate) tunnels: AtomicU64,
    pub(crate) tunnels_refused: AtomicU64,
    pub(crate) joins: AtomicU64,
}

/// One more.
pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Counters {
    pub(crate) fn read(&self, clocks_wrong: u64) -> Counts {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            accepted: of(&self.accepted),
            crowded: of(&self.crowded),
            handshakes_failed: of(&self.handshakes_failed),
            foreign: of(&self.foreign),
            refused: of(&self.refused),
            clocks_wrong,
            sent_again: of(&self.sent_again),
            repeated: of(&self.repeated),
            overloaded: of(&self.overloaded),
            broken_rules: of(&self.broken_rules),
            accept_failed: of(&self.accept_failed),
            tunnels: of(&self.tunnels),
            tunnels_refused: of(&self.tunnels_refused),
            joins: of(&self.joins),
        }
    }
}
