//! The role's clock: CLOCK_BOOTTIME, which never decreases and includes suspend. The wall
//! clock is for display only.

use protocol::vrrp::Time;
use rustix::time::{ClockId, Timespec, clock_gettime};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const NS_PER_SECOND: u64 = 1_000_000_000;
const NS_PER_MS: u64 = 1_000_000;

/// Now.
pub fn now() -> Time {
    let t = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(t.tv_sec).unwrap_or(0);
    let ns = u64::try_from(t.tv_nsec).unwrap_or(0);
    Time(seconds.saturating_mul(NS_PER_SECOND).saturating_add(ns))
}

/// In milliseconds.
pub fn as_ms(time: Time) -> u64 {
    time.0 / NS_PER_MS
}

/// The time of day now, for people.
pub fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
}

/// The time of day when the clock of the role stood at `then`, for people.
pub fn unix_ms_of(then: Time) -> u64 {
    unix_ms().saturating_sub(as_ms(now()).saturating_sub(as_ms(then)))
}

/// How long `poll` may sleep.
pub fn until(now: Time, deadline: Option<Time>) -> Option<Timespec> {
    let wait = deadline?.since(now);
    Some(timespec(wait))
}

/// A duration for the kernel.
pub fn timespec(wait: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(wait.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(wait.subsec_nanos()),
    }
}
