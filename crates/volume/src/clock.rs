//! Reads CLOCK_BOOTTIME, the clock by which leases of volumes expire.

use rustix::time::{ClockId, clock_gettime};

/// Current time of CLOCK_BOOTTIME, nanoseconds.
pub(crate) fn boottime_ns() -> u64 {
    let time = clock_gettime(ClockId::Boottime);
    let ns = i128::from(time.tv_sec) * 1_000_000_000 + i128::from(time.tv_nsec);
    u64::try_from(ns).unwrap_or(0)
}
