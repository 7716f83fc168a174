//! Stores an instant of the monotonic clock in one word, half the size of the standard type,
//! because every waiting task keeps several.
//!
//! The clock never goes backwards and has no relation to the date. It stops while the machine is
//! suspended, so no lease may rely on it.

use rustix::time::{ClockId, clock_gettime};
use std::ops::{Add, Sub};
use std::time::Duration;

/// A point in time, in nanoseconds of CLOCK_MONOTONIC.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Instant(u64);

impl Instant {
    /// Later than every other instant: "never".
    pub(super) const NEVER: Instant = Instant(u64::MAX);

    /// Reads the clock. On an event loop, [`super::now`] is cheaper and nearly always sufficient.
    pub fn now() -> Instant {
        let time = clock_gettime(ClockId::Monotonic);
        // Drops the sign, because the kernel's monotonic clock is never negative.
        Instant((time.tv_sec as u64).wrapping_mul(1_000_000_000) + time.tv_nsec as u64)
    }

    /// Returns the nanoseconds since the clock's origin (the start of the machine).
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    pub const fn from_nanos(nanos: u64) -> Instant {
        Instant(nanos)
    }

    pub const fn saturating_duration_since(self, earlier: Instant) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// Converts `Duration` to nanoseconds; saturates at the maximum (584 years).
fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl Add<Duration> for Instant {
    type Output = Instant;
    /// Saturates at the end of time instead of overflowing.
    fn add(self, duration: Duration) -> Instant {
        Instant(self.0.saturating_add(nanos(duration)))
    }
}

impl Sub<Duration> for Instant {
    type Output = Instant;
    /// Saturates at the clock's origin.
    fn sub(self, duration: Duration) -> Instant {
        Instant(self.0.saturating_sub(nanos(duration)))
    }
}

impl Sub for Instant {
    type Output = Duration;
    /// Returns zero when the other instant is not earlier.
    fn sub(self, earlier: Instant) -> Duration {
        self.saturating_duration_since(earlier)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates_at_both_ends() {
        let start = Instant::from_nanos(5);
        assert_eq!(start + Duration::MAX, Instant::NEVER);
        assert_eq!(start - Duration::from_secs(1), Instant::from_nanos(0));
        assert_eq!(start - Instant::from_nanos(9), Duration::ZERO);
        assert_eq!(
            (start + Duration::from_nanos(4)) - start,
            Duration::from_nanos(4)
        );
    }

    #[test]
    fn the_clock_does_not_go_backwards() {
        let first = Instant::now();
        assert!(Instant::now() >= first);
    }
}
