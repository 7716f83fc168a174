//! Remembers which leases of guests this node has released, and which ones the previous guest role
//! process held that are still valid, so that their guests may continue.

use super::{Agreement, LocalState, OWN, PREFIX};
use std::collections::{BTreeMap, BTreeSet};

/// End of each held lease, nanoseconds of CLOCK_BOOTTIME, by the name of its guest.
pub type LeaseEnds = BTreeMap<String, u64>;

/// Leases of guests that this node has released, and those that the previous role process held.
#[derive(Debug, Default)]
pub(super) struct LocalLeases {
    given_up: BTreeSet<String>,
    before: LeaseEnds,
}

impl LocalLeases {
    pub(super) fn retain_held_leases(&mut self, is_holder: impl Fn(&str) -> bool) {
        self.given_up.retain(|name| is_holder(name));
    }

    /// Returns the rank with which this node requests the lease of a guest that it holds; zero
    /// releases the lease.
    pub(super) fn rank(&mut self, name: &str, gives_up: bool) -> u32 {
        if !gives_up {
            return OWN;
        }
        self.before.remove(name);
        self.given_up.insert(name.to_owned());
        0
    }

    pub(super) fn has_given_up(&self, name: &str) -> bool {
        self.given_up.contains(name)
    }

    /// Returns whether a guest that was found running may continue before the cluster has reported
    /// its lease. The lease that the previous role process held is still valid, since a lease is
    /// released only after its guest has left.
    pub(super) fn may_go_on(&self, name: &str, local: &LocalState, now_ns: u64) -> bool {
        let until = self.before.get(name).copied().unwrap_or_default();
        now_ns < until && local.epoch.is_some() && !local.has_moved
    }

    pub(super) fn deadline_ms(&self, now_ns: u64) -> Option<u64> {
        let left = self.before.values().filter(|until| **until > now_ns);
        left.map(|until| until.div_ceil(1_000_000)).min()
    }
}

impl Agreement {
    #[must_use]
    pub fn after(mut self, held: LeaseEnds) -> Agreement {
        self.mine.before = held;
        self
    }

    pub fn holds(&self, now_ns: u64) -> LeaseEnds {
        let held = self.leases.values().filter(|lease| lease.until_ns > now_ns);
        let of_guest = |name: &str| Some(name.strip_prefix(PREFIX)?.to_owned());
        held.filter_map(|lease| Some((of_guest(&lease.name)?, lease.until_ns)))
            .filter(|(name, _)| !name.starts_with('@') && !self.mine.has_given_up(name))
            .collect()
    }
}
