//! The leases of guests that this node had: what it has given up, and what the role before this one may
//! still use.

use super::{Agreement, Local, OWN, PREFIX};
use std::collections::{BTreeMap, BTreeSet};

/// Until when a lease is held, nanoseconds of CLOCK_BOOTTIME, by the name of its guest.
pub type Held = BTreeMap<String, u64>;

/// The leases.
#[derive(Debug, Default)]
pub(super) struct Mine {
    /// Guests whose lease this node had and has given up.
    given_up: BTreeSet<String>,
    /// What the role before this one held.
    before: Held,
}

impl Mine {
    pub(super) fn learn(&mut self, is_holder: impl Fn(&str) -> bool) {
        self.given_up.retain(|name| is_holder(name));
    }

    /// How much this node wants a lease that it holds; none of it where it gives it up.
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

    /// Whether a guest that was found here may go on without news of its lease: the promise to the
    /// role before holds, since a lease is given up only after its guest has left.
    pub(super) fn may_go_on(&self, name: &str, local: &Local, now_ns: u64) -> bool {
        let until = self.before.get(name).copied().unwrap_or_default();
        now_ns < until && local.epoch.is_some() && !local.has_moved
    }

    /// When the next such right ends, milliseconds.
    pub(super) fn deadline_ms(&self, now_ns: u64) -> Option<u64> {
        let left = self.before.values().filter(|until| **until > now_ns);
        left.map(|until| until.div_ceil(1_000_000)).min()
    }
}

impl Agreement {
    /// With what the role before this one held.
    #[must_use]
    pub fn after(mut self, held: Held) -> Agreement {
        self.mine.before = held;
        self
    }

    /// The leases of guests that are held, for the next role.
    pub fn holds(&self, now_ns: u64) -> Held {
        let held = { self.leases.values() }.filter(|lease| lease.until_ns > now_ns);
        let of_guest = |name: &str| Some(name.strip_prefix(PREFIX)?.to_owned());
        held.filter_map(|lease| Some((of_guest(&lease.name)?, lease.until_ns)))
            .filter(|(name, _)| !name.starts_with('@') && !self.mine.has_given_up(name))
            .collect()
    }
}
