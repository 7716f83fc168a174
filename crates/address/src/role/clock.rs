//! Provides the role's clock: CLOCK_BOOTTIME, which never decreases and includes suspend. The wall
//! clock is for display only.

pub use part::channel::timespec;
pub use part::clock::unix_ms;
use protocol::vrrp::Time;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

const NS_PER_MS: u64 = 1_000_000;

pub fn now() -> Time {
    Time(part::clock::boottime_ns())
}

pub fn as_ms(time: Time) -> u64 {
    time.0 / NS_PER_MS
}

/// Returns the wall-clock time at which the role's clock showed `then`, for display.
pub fn unix_ms_of(then: Time) -> u64 {
    unix_ms().saturating_sub(as_ms(now()).saturating_sub(as_ms(then)))
}

/// Returns how long `poll` may sleep; None: without limit.
pub fn until(now: Time, deadline: Option<Time>) -> Option<Timespec> {
    let wait = deadline?.since(now);
    Some(timespec(wait))
}

/// A timer of the role's clock. `poll` does not count the time for which the machine is suspended;
/// this timer has expired when the machine resumes.
#[derive(Debug)]
pub struct Timer(OwnedFd);

impl Timer {
    pub fn new() -> io::Result<Timer> {
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        Ok(Timer(timerfd_create(TimerfdClockId::Boottime, flags)?))
    }

    /// Sets the time at which the timer becomes readable; None: never.
    pub fn set(&self, deadline: Option<Time>) {
        // Replaces zero, which would disarm the timer.
        let at = deadline.map_or(Duration::ZERO, |at| Duration::from_nanos(at.0.max(1)));
        let new = Itimerspec {
            it_interval: timespec(Duration::ZERO),
            it_value: timespec(at),
        };
        // Ignores a failed call, because the timeout of `poll` is the same deadline.
        let _ = timerfd_settime(&self.0, TimerfdTimerFlags::ABSTIME, &new);
    }
}

impl AsFd for Timer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
