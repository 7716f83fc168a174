//! The time of the machines.

use std::time::Duration;

/// A moment: nanoseconds of a clock that never goes back and counts while the
/// machine sleeps (CLOCK_BOOTTIME). Only differences mean something.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Time(pub u64);

impl Time {
    /// Returns the time `wait` later; saturates.
    pub fn after(self, wait: Duration) -> Time {
        let ns = u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX);
        Time(self.0.saturating_add(ns))
    }

    /// How long ago that was; zero for what has not come yet.
    pub fn since(self, earlier: Time) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}
