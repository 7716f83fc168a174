//! Defines [`Boottime`], the time of leases: CLOCK_BOOTTIME of one machine, which also counts
//! suspension.

use serde::{Deserialize, Serialize};

/// Time by CLOCK_BOOTTIME of one machine, nanoseconds. Times of two machines are not
/// comparable.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Boottime(pub u64);

impl Boottime {
    /// Returns the current time. Only drivers call this; values receive the time as a
    /// parameter.
    pub fn now() -> Boottime {
        Boottime(part::clock::boottime_ns())
    }

    #[must_use]
    pub fn after_ns(self, ns: u64) -> Boottime {
        Boottime(self.0.saturating_add(ns))
    }

    /// Returns the nanoseconds since an earlier time; zero if the other time is later.
    pub fn since(self, earlier: Boottime) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}
