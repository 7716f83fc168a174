//! The clock of leases.

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
        let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
        let rest = u64::try_from(time.tv_nsec).unwrap_or(0);
        Boottime(seconds.saturating_mul(1_000_000_000).saturating_add(rest))
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
