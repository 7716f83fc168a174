//! The present, as reports have it.

use part::report::Moment;
use rustix::time::{ClockId, clock_gettime};
use std::time::SystemTime;

/// CLOCK_BOOTTIME, nanoseconds, as leases have it.
pub(crate) fn boottime_ns() -> u64 {
    let time = clock_gettime(ClockId::Boottime);
    let ns = i128::from(time.tv_sec) * 1_000_000_000 + i128::from(time.tv_nsec);
    u64::try_from(ns).unwrap_or(0)
}

/// The present, by both clocks.
pub(crate) fn now() -> Moment {
    let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let unix = unix.unwrap_or_default().as_millis();
    Moment {
        boottime_ms: boottime_ns() / 1_000_000,
        unix_ms: u64::try_from(unix).unwrap_or(u64::MAX),
    }
}
