//! Waits with a timeout, and sleeps in tests of time itself.

use std::thread;
use std::time::{Duration, Instant};

/// Minimum interval between two checks of a condition.
pub(crate) const POLL: Duration = Duration::from_millis(5);
/// Factor of a check's duration that is waited before the next check, because other tests run at
/// the same time, and some checks start a program.
const REST: u32 = 3;
const REST_MAX: Duration = Duration::from_millis(100);

/// Polls until the condition is true, and returns false if it is not true before the timeout. The
/// condition is checked once more after the timeout, so that a machine that stalls does not fail a
/// test.
#[must_use]
pub fn eventually(timeout: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + timeout;
    while Instant::now() < end {
        let begins = Instant::now();
        if condition() {
            return true;
        }
        let rest = begins.elapsed().saturating_mul(REST).min(REST_MAX);
        thread::sleep(rest.max(POLL));
    }
    condition()
}

/// Sleeps in a test of time itself: of a lifetime, of a load, or of the absence of an event. `_why`
/// is the reason. To wait for an event, tests use [`eventually`]; `cargo xtask tidy` refuses every
/// other long sleep of a test.
pub fn sleep_in_test(time: Duration, _why: &str) {
    thread::sleep(time);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn true_condition_ends_the_wait() {
        let mut looks = 0;
        assert!(eventually(Duration::from_secs(5), || {
            looks += 1;
            looks == 3
        }));
        assert_eq!(looks, 3);
    }

    #[test]
    fn false_condition_times_out() {
        let start = Instant::now();
        assert!(!eventually(Duration::from_millis(20), || false));
        assert!(start.elapsed() >= Duration::from_millis(20));
    }
}
