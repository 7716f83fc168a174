//! Delay before a dead role is restarted. A role that had served is restarted at once, and after
//! several deaths in a row almost at once: a restart takes a tenth of a second, and each delay is
//! an outage. Only a role that dies before it serves waits longer after each death.

use std::time::{Duration, Instant};

/// Lifetime of a role's process after which its death counts as the first of a series again.
const LONG_LIFE: Duration = Duration::from_secs(10);
/// Number of consecutive deaths of roles that served, after which each further restart is delayed.
const QUICK_MAX: usize = 5;
/// Delay before each restart after more than [`QUICK_MAX`] such deaths, so that a role which dies
/// repeatedly does not use a whole processor.
const SERVED_WAIT: Duration = Duration::from_millis(100);
/// Delays after consecutive deaths of roles that never served, milliseconds; the last one repeats.
const WAITS_MS: [u64; 6] = [0, 100, 500, 1_000, 2_000, 5_000];

/// Delay before the next start of a role, by its consecutive deaths.
#[derive(Clone, Copy, Debug, Default)]
pub struct Backoff {
    served: usize,
    useless: usize,
}

impl Backoff {
    /// Records the death of a role that was started at `born`. Returns the delay before the
    /// restart.
    pub fn died(&mut self, born: Instant, now: Instant, served: bool) -> Duration {
        if now.saturating_duration_since(born) >= LONG_LIFE {
            *self = Backoff::default();
        }
        if served {
            self.useless = 0;
            self.served = self.served.saturating_add(1);
            return if self.served > QUICK_MAX {
                SERVED_WAIT
            } else {
                Duration::ZERO
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
    fn roles_that_never_served_back_off() {
        let waits = waits(&mut Backoff::default(), false, 8);
        assert_eq!(waits, [0, 100, 500, 1_000, 2_000, 5_000, 5_000, 5_000]);
    }

    #[test]
    fn roles_that_served_restart_almost_at_once() {
        let mut backoff = Backoff::default();
        assert_eq!(waits(&mut backoff, true, 7), [0, 0, 0, 0, 0, 100, 100]);
        assert_eq!(waits(&mut backoff, false, 2), [0, 100]);
        // The death of a role that served resets the count of deaths before serving.
        assert_eq!(waits(&mut backoff, true, 1), [100]);
        assert_eq!(waits(&mut backoff, false, 1), [0]);
    }

    #[test]
    fn long_lived_roles_restart_at_once() {
        let (mut backoff, born) = (Backoff::default(), Instant::now());
        for served in [true, false] {
            waits(&mut backoff, served, 7);
            let wait = backoff.died(born, born + LONG_LIFE, served);
            assert_eq!(wait, Duration::ZERO);
        }
    }
}
