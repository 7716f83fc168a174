//! Waiting with an end.

use std::thread;
use std::time::{Duration, Instant};

/// How often a condition is looked at.
pub(crate) const POLL: Duration = Duration::from_millis(5);
/// How many times as long as it is looked at it is waited, and how long at most: tests run beside
/// others, and some looks start a program.
const REST: u32 = 3;
const REST_MAX: Duration = Duration::from_millis(100);

/// Looks again and again until the condition holds. False when it still did
/// not at the end; it is looked at once more then, so that a machine that
/// stalls does not fail a test.
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

/// Lets time pass in a test, where time itself is what is tested: a lifetime, a load, or
/// that something does not happen. `_why` says which; for an event there is
/// [`eventually`]. `cargo xtask tidy` refuses every other long sleep of
/// a test.
pub fn let_pass(time: Duration, _why: &str) {
    thread::sleep(time);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_that_comes_true_ends_the_waiting() {
        let mut looks = 0;
        assert!(eventually(Duration::from_secs(5), || {
            looks += 1;
            looks == 3
        }));
        assert_eq!(looks, 3);
    }

    #[test]
    fn a_condition_that_stays_false_is_waited_for_no_longer_than_said() {
        let start = Instant::now();
        assert!(!eventually(Duration::from_millis(20), || false));
        assert!(start.elapsed() >= Duration::from_millis(20));
    }
}
