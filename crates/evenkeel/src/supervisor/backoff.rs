//! How long to wait before a role that died is started again: at once, unless
//! it dies again and again.

use std::time::{Duration, Instant};

/// A role that lived for so long died for a new reason.
const LONG_LIFE: Duration = Duration::from_secs(10);
/// The waits, one after the other; the last one stays.
const WAITS_MS: [u64; 6] = [0, 100, 500, 1_000, 2_000, 5_000];

/// Counts deaths.
#[derive(Clone, Copy, Debug, Default)]
pub struct Backoff {
    deaths: usize,
}

impl Backoff {
    /// A role that was started at `born` died now.
    pub fn died(&mut self, born: Instant, now: Instant) -> Duration {
        if now.saturating_duration_since(born) >= LONG_LIFE {
            self.deaths = 0;
        }
        let wait = WAITS_MS[self.deaths.min(WAITS_MS.len() - 1)];
        self.deaths = self.deaths.saturating_add(1);
        Duration::from_millis(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_death_costs_no_wait_and_those_behind_it_ever_more() {
        let (mut backoff, born) = (Backoff::default(), Instant::now());
        let waits: Vec<u128> = (0..8)
            .map(|_| backoff.died(born, born).as_millis())
            .collect();
        assert_eq!(waits, [0, 100, 500, 1_000, 2_000, 5_000, 5_000, 5_000]);
    }

    #[test]
    fn who_lived_long_is_started_at_once_again() {
        let (mut backoff, born) = (Backoff::default(), Instant::now());
        for _ in 0..4 {
            backoff.died(born, born);
        }
        assert_eq!(backoff.died(born, born + LONG_LIFE), Duration::ZERO);
        assert_eq!(backoff.died(born, born).as_millis(), 100);
    }
}
