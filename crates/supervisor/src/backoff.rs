//! How long to wait before a role that died is started again. One that served is followed
//! at once, and after some deaths in a row almost at once: a restart takes a tenth of a
//! second, and each wait is an outage. Only one that dies before it serves waits longer
//! and longer.

use std::time::{Duration, Instant};

/// A role that lived for so long died for a new reason.
const LONG_LIFE: Duration = Duration::from_secs(10);
/// Deaths in a row of roles that served until each restart waits.
const QUICK_MAX: usize = 5;
/// The wait from then on: what kills the role all the time gets no whole processor.
const SERVED_WAIT: Duration = Duration::from_millis(100);
/// The waits of roles that died before they served, one after the other; the last one
/// stays.
const WAITS_MS: [u64; 6] = [0, 100, 500, 1_000, 2_000, 5_000];

/// Counts deaths.
#[derive(Clone, Copy, Debug, Default)]
pub struct Backoff {
    /// In a row, of roles that had served.
    served: usize,
    /// In a row, of roles that had not.
    useless: usize,
}

impl Backoff {
    /// A role that was started at `born` died now; whether it had served.
    pub fn died(&mut self, born: Instant, now: Instant, served: bool) -> Duration {
        if now.saturating_duration_since(born) >= LONG_LIFE {
            *self = Backoff::default();
        }
        if served {
            self.useless = 0;
            self.served = self.served.saturating_add(1);
            return match self.served > QUICK_MAX {
                true => SERVED_WAIT,
                false => Duration::ZERO,
            };
        }
        let wait = WAITS_MS[self.useless.min(WAITS_MS.len() - 1)];
        self.useless = self.useless.saturating_add(1);
        Duration::from_millis(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits(backoff: &mut Backoff, served: bool, deaths: usize) -> Vec<u128> {
        let born = Instant::now();
        let died = |_| backoff.died(born, born, served).as_millis();
        (0..deaths).map(died).collect()
    }

    #[test]
    fn roles_that_never_served_wait_ever_longer() {
        let waits = waits(&mut Backoff::default(), false, 8);
        assert_eq!(waits, [0, 100, 500, 1_000, 2_000, 5_000, 5_000, 5_000]);
    }

    #[test]
    fn roles_that_served_are_followed_at_once_and_later_almost_at_once() {
        let mut backoff = Backoff::default();
        assert_eq!(waits(&mut backoff, true, 7), [0, 0, 0, 0, 0, 100, 100]);
        assert_eq!(waits(&mut backoff, false, 2), [0, 100]);
        // It serves again: that another one did not is over.
        assert_eq!(waits(&mut backoff, true, 1), [100]);
        assert_eq!(waits(&mut backoff, false, 1), [0]);
    }

    #[test]
    fn who_lived_long_is_started_at_once_again() {
        let (mut backoff, born) = (Backoff::default(), Instant::now());
        for served in [true, false] {
            waits(&mut backoff, served, 7);
            let wait = backoff.died(born, born + LONG_LIFE, served);
            assert_eq!(wait, Duration::ZERO);
        }
    }
}
