//! Reads the clocks of the machine: CLOCK_BOOTTIME for leases and deadlines, and the wall clock for
//! display.

use rustix::time::{ClockId, clock_gettime};
use std::time::SystemTime;

/// Returns CLOCK_BOOTTIME in nanoseconds. This clock never decreases and includes suspends; all
/// leases and deadlines between processes of a machine use it.
pub fn boottime_ns() -> u64 {
    let time = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let rest = u64::try_from(time.tv_nsec).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(rest)
}

/// Returns CLOCK_BOOTTIME in milliseconds.
pub fn boottime_ms() -> u64 {
    boottime_ns() / 1_000_000
}

/// Returns the milliseconds since 1970 by the wall clock, for display only.
pub fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    u64::try_from(since.unwrap_or_default().as_millis()).unwrap_or(u64::MAX)
}
