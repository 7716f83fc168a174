//! Counts the results of the checks of a guest, and derives its health. Does no I/O and reads no
//! clock. All times are milliseconds of one clock.
//!
//! `rise` and `fall` have the meaning of HAProxy: successes in a row until a guest that is down is
//! up, and failures in a row until one that is up is down. An opposite result restarts the count.

use crate::config::Check;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HealthState {
    Starting,
    Up,
    Down,
}

/// Intervals and thresholds of a check, as in its [`Check`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CheckTiming {
    /// Interval from the start of a check to the start of the next one, milliseconds.
    pub inter_ms: u64,
    pub timeout_ms: u64,
    pub rise: u32,
    pub fall: u32,
    pub grace_ms: u64,
}

impl CheckTiming {
    pub fn of(check: &Check) -> CheckTiming {
        CheckTiming {
            inter_ms: check.inter_ms,
            timeout_ms: check.timeout_ms,
            rise: check.rise,
            fall: check.fall,
            grace_ms: check.grace_ms,
        }
    }
}

/// Counters and state of the checks of one guest.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Health {
    pace: CheckTiming,
    state: HealthState,
    good: u32,
    /// Failures in a row, except those in the grace period.
    bad: u32,
    started: u64,
    since: u64,
    well_ms: u64,
    next: u64,
    expires: Option<u64>,
    why: String,
}

impl Health {
    pub fn new(pace: CheckTiming, now: u64) -> Health {
        Health {
            pace,
            state: HealthState::Starting,
            good: 0,
            bad: 0,
            started: now,
            since: now,
            well_ms: 0,
            next: now,
            expires: None,
            why: String::new(),
        }
    }

    /// Applies other intervals and thresholds. The counters are kept.
    pub fn set_pace(&mut self, pace: CheckTiming) {
        self.pace = pace;
    }

    pub fn state(&self) -> HealthState {
        self.state
    }

    pub fn since(&self) -> u64 {
        self.since
    }

    /// Returns the reason of the last failed check; empty: it succeeded, or there was none.
    pub fn why(&self) -> &str {
        &self.why
    }

    /// Returns for how long the guest was up before it went down, milliseconds; zero: it was never
    /// up.
    pub fn well_ms(&self) -> u64 {
        self.well_ms
    }

    pub fn begins(&mut self, now: u64) -> bool {
        let is_due = self.expires.is_none() && now >= self.next;
        if is_due {
            self.next = now.saturating_add(self.pace.inter_ms);
            self.expires = Some(now.saturating_add(self.pace.timeout_ms));
        }
        is_due
    }

    pub fn is_late(&self, now: u64) -> bool {
        self.expires.is_some_and(|at| now >= at)
    }

    /// Abandons the running check and resets the counts of results in a row, because the guest is
    /// paused. The next check starts when the guest runs again.
    pub fn abandon_check(&mut self) {
        self.expires = None;
        (self.good, self.bad) = (0, 0);
    }

    pub fn apply_result(&mut self, result: Result<(), String>, now: u64) -> bool {
        if self.expires.take().is_none() {
            return false;
        }
        let before = self.state;
        match result {
            Ok(()) => self.succeed(now),
            Err(why) => self.fail(why, now),
        }
        self.state != before
    }

    fn succeed(&mut self, now: u64) {
        self.why.clear();
        self.bad = 0;
        self.good = self.good.saturating_add(1);
        if self.state != HealthState::Up && self.good >= self.pace.rise {
            self.state = HealthState::Up;
            self.since = now;
        }
    }

    fn fail(&mut self, why: String, now: u64) {
        self.why = why;
        self.good = 0;
        if now < self.started.saturating_add(self.pace.grace_ms) {
            return;
        }
        self.bad = self.bad.saturating_add(1);
        if self.state != HealthState::Down && self.bad >= self.pace.fall {
            let was_up = self.state == HealthState::Up;
            self.well_ms = if was_up {
                now.saturating_sub(self.since)
            } else {
                0
            };
            self.state = HealthState::Down;
            self.since = now;
        }
    }

    /// Returns the next time at which [`Health::begins`] or [`Health::is_late`] may be true,
    /// milliseconds.
    pub fn deadline(&self) -> u64 {
        self.expires.unwrap_or(self.next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lab::Random;

    const PACE: CheckTiming = CheckTiming {
        inter_ms: 2_000,
        timeout_ms: 500,
        rise: 2,
        fall: 3,
        grace_ms: 10_000,
    };

    /// Applies these results, one per `inter`: `+` succeeds, `-` fails. Returns the states as
    /// letters.
    fn states(health: &mut Health, now: &mut u64, results: &str) -> String {
        let state = |result: char| {
            assert!(health.begins(*now), "not due at {now}");
            assert!(!health.begins(*now), "two at once");
            let result = match result {
                '+' => Ok(()),
                _ => Err("connection refused".to_owned()),
            };
            health.apply_result(result, *now + 1);
            *now += PACE.inter_ms;
            match health.state() {
                HealthState::Starting => 's',
                HealthState::Up => 'u',
                HealthState::Down => 'd',
            }
        };
        results.chars().map(state).collect()
    }

    #[test]
    fn rise_and_fall_are_counted_in_a_row() {
        for (grace_ms, results, expected) in [
            (0, "++", "su"),
            (0, "+-++", "sssu"),
            (0, "---", "ssd"),
            // A success restarts the count of failures, and a failure that of successes.
            (0, "--+---", "sssssd"),
            (0, "+-+--+---", "ssssssssd"),
            (0, "++--+--+---", "suuuuuuuuud"),
            (0, "---+-++", "ssddddu"),
            (0, "---++---", "ssdduuud"),
            // Failures at 0, 2, 4, 6, and 8 s are within the grace period.
            (10_000, "--------", "sssssssd"),
            (10_000, "++------", "suuuuuud"),
            (10_000, "+-+-+-++", "sssssssu"),
        ] {
            let mut health = Health::new(CheckTiming { grace_ms, ..PACE }, 0);
            let found = states(&mut health, &mut 0, results);
            assert_eq!(found, expected, "{results} with {grace_ms} ms");
        }
    }

    #[test]
    fn a_check_without_a_response_in_time_is_late_and_the_next_one_waits_for_it() {
        let pace = CheckTiming {
            timeout_ms: 5_000,
            ..PACE
        };
        let mut health = Health::new(pace, 1_000);
        assert_eq!(health.deadline(), 1_000);
        assert!(health.begins(1_000) && !health.begins(4_000));
        assert_eq!(health.deadline(), 6_000);
        assert!(!health.is_late(5_999) && health.is_late(6_000));
        assert!(!health.apply_result(Err("no response".to_owned()), 6_000));
        assert_eq!(health.why(), "no response");
        assert!(health.begins(6_000));
        // A result without a running check is ignored.
        health.abandon_check();
        assert!(!health.apply_result(Ok(()), 6_001) && !health.is_late(20_000));
    }

    #[test]
    fn the_time_of_the_last_success_is_known() {
        let mut health = Health::new(
            CheckTiming {
                grace_ms: 0,
                ..PACE
            },
            0,
        );
        let mut now = 0;
        states(&mut health, &mut now, "---");
        assert_eq!(health.well_ms(), 0);
        states(&mut health, &mut now, "+++++---");
        assert_eq!(health.well_ms(), 6 * PACE.inter_ms);
    }

    /// Computes the state without counters, from the whole history: a reference for `rise` and
    /// `fall`.
    fn by_history(pace: CheckTiming, history: &[(u64, bool)]) -> HealthState {
        let mut state = HealthState::Starting;
        for at in 0..history.len() {
            let seen = &history[..=at];
            let good = seen.iter().rev().take_while(|(_, is_good)| *is_good);
            let bad = seen.iter().rev().take_while(|(_, is_good)| !*is_good);
            let bad = bad.filter(|(when, _)| *when >= pace.grace_ms);
            if good.count() >= pace.rise as usize {
                state = HealthState::Up;
            } else if bad.count() >= pace.fall as usize {
                state = HealthState::Down;
            }
        }
        state
    }

    #[test]
    fn the_state_follows_from_the_last_results() {
        for seed in 0..2_000 {
            let mut random = Random::new(seed);
            let pace = CheckTiming {
                rise: random.between(1, 4) as u32,
                fall: random.between(1, 4) as u32,
                grace_ms: random.below(20) * 1_000,
                ..PACE
            };
            let mut health = Health::new(pace, 0);
            let (mut now, mut history) = (0, Vec::new());
            for _ in 0..60 {
                now += pace.inter_ms;
                assert!(health.begins(now));
                let is_good = random.percent(60);
                let result = is_good.then_some(()).ok_or("refused".to_owned());
                history.push((now, is_good));
                let before = health.state();
                let has_changed = health.apply_result(result, now);
                assert_eq!(has_changed, before != health.state());
                let expected = by_history(pace, &history);
                assert_eq!(health.state(), expected, "seed {seed}: {history:?}");
            }
        }
    }
}
