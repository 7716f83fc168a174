//! Defines the points in time that the VRRP state machine uses.

use std::time::Duration;

/// A point in time: nanoseconds of a clock that never decreases and counts while the machine is
/// suspended (CLOCK_BOOTTIME). Only differences are meaningful.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Time(pub u64);

impl Time {
    /// Returns the time `wait` later; saturates.
    pub fn after(self, wait: Duration) -> Time {
        let ns = u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX);
        Time(self.0.saturating_add(ns))
    }

    /// Returns the time since `earlier`; zero if that is in the future.
    pub fn since(self, earlier: Time) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}
