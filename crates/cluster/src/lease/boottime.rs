//! The clock of leases.

use serde::{Deserialize, Serialize};

/// A time by CLOCK_BOOTTIME of one machine, nanoseconds. Those of two machines have
/// nothing to do with each other.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Boottime(pub u64);

impl Boottime {
    /// Now. Only drivers ask; values are told.
    pub fn now() -> Boottime {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
        let rest = u64::try_from(time.tv_nsec).unwrap_or(0);
        Boottime(seconds.saturating_mul(1_000_000_000).saturating_add(rest))
    }

    /// Returns the time that many nanoseconds later.
    #[must_use]
    pub fn after_ns(self, ns: u64) -> Boottime {
        Boottime(self.0.saturating_add(ns))
    }

    /// Nanoseconds since an earlier time; zero since a later one.
    pub fn since(self, earlier: Boottime) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}
