//! Limits the rates of a virtual router: log messages, announcements in contests, restored
//! addresses, accepted stops, and preemptions. Nothing here ever delays the takeover of a silent
//! owner's addresses.

use super::Time;
use std::time::Duration;

/// Number of preemptions within [`FLAP_WINDOW`] that need not wait.
const FREE_PREEMPTIONS: u32 = 3;
/// Period in which preemptions are counted.
const FLAP_WINDOW: Duration = Duration::from_secs(60);
const FLAP_MEMORY: usize = 10;
/// Delay of the first preemption beyond the free ones; doubled for each further one.
const FIRST_HOLD: Duration = Duration::from_secs(1);
const LONGEST_HOLD: Duration = Duration::from_secs(60);

/// A rate limit: a number of events at once, then one per interval.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    burst: u32,
    pause: Duration,
    used: u32,
    refilled: Time,
}

impl Pace {
    pub(super) const fn new(burst: u32, pause: Duration) -> Pace {
        Pace {
            burst,
            pause,
            used: 0,
            refilled: Time(0),
        }
    }

    /// Returns whether one more event is allowed now, and counts it.
    pub(super) fn allows(&mut self, now: Time) -> bool {
        self.refill(now);
        if self.used >= self.burst {
            return false;
        }
        self.used += 1;
        true
    }

    pub(super) fn next(&self) -> Time {
        self.refilled.after(self.pause)
    }

    fn refill(&mut self, now: Time) {
        if self.used == 0 {
            self.refilled = now;
            return;
        }
        let pause = self.pause.as_nanos().max(1);
        let passed = now.since(self.refilled).as_nanos() / pause;
        if passed > 0 {
            let back = u32::try_from(passed).unwrap_or(u32::MAX);
            self.used = self.used.saturating_sub(back);
            self.refilled = if self.used == 0 {
                now
            } else {
                self.refilled.after(self.pause.saturating_mul(back))
            };
        }
    }
}

/// Delays frequent preemptions: from the fourth within the period on, each delay is twice as long.
#[derive(Clone, Debug, Default)]
pub(super) struct Damper {
    times: [Option<Time>; FLAP_MEMORY],
    place: usize,
    until: Option<Time>,
}

impl Damper {
    /// Records a preemption; returns how long the next one will have to wait.
    pub(super) fn record(&mut self, now: Time) -> Option<Duration> {
        if let Some(slot) = self.times.get_mut(self.place) {
            *slot = Some(now);
        }
        self.place = (self.place + 1) % FLAP_MEMORY;
        let recent = self
            .times
            .iter()
            .flatten()
            .filter(|time| now.since(**time) < FLAP_WINDOW)
            .count();
        let over = u32::try_from(recent)
            .unwrap_or(u32::MAX)
            .checked_sub(FREE_PREEMPTIONS)?;
        let hold = FIRST_HOLD
            .saturating_mul(1_u32.checked_shl(over).unwrap_or(u32::MAX))
            .min(LONGEST_HOLD);
        self.until = Some(now.after(hold));
        Some(hold)
    }

    pub(super) fn holds(&self, now: Time) -> bool {
        self.until.is_some_and(|until| now < until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(n: u64) -> Time {
        Time(n * 1_000_000_000)
    }

    #[test]
    fn a_burst_is_allowed_and_then_one_in_each_pause() {
        let mut pace = Pace::new(2, Duration::from_secs(10));
        let allowed: Vec<bool> = [100, 101, 102, 109, 111, 112, 121]
            .into_iter()
            .map(|at| pace.allows(second(at)))
            .collect();
        assert_eq!(allowed, [true, true, false, false, true, false, true]);
    }

    #[test]
    fn idle_rate_limiter_refills() {
        let mut pace = Pace::new(2, Duration::from_secs(1));
        assert!(pace.allows(second(1)) && pace.allows(second(1)) && !pace.allows(second(1)));
        assert!(pace.allows(second(9)) && pace.allows(second(9)) && !pace.allows(second(9)));
    }

    #[test]
    fn the_third_preemption_in_a_minute_begins_to_hold_and_each_one_doubles_it() {
        let mut damper = Damper::default();
        let holds: Vec<Option<u64>> = (1..8)
            .map(|n| damper.record(second(n)).map(|hold| hold.as_secs()))
            .collect();
        let expected = [None, None, Some(1), Some(2), Some(4), Some(8), Some(16)];
        assert_eq!(holds, expected);
        assert!(damper.holds(second(22)) && !damper.holds(second(23)));
        for n in 8..40 {
            assert!(damper.record(second(n)).is_some_and(|h| h <= LONGEST_HOLD));
        }
    }

    #[test]
    fn preemptions_a_minute_apart_are_never_held_back() {
        let mut damper = Damper::default();
        for n in 0..50 {
            assert_eq!(damper.record(second(n * 31)), None);
        }
    }
}
