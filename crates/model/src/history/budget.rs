//! Limits how many requests a thread records in the history if no `request-history` line sets a
//! number. A thread records bursts completely, and beyond them at most 10 ordinary and 200 failed
//! requests per second, so that recording costs a busy thread little time.

use crate::transaction::{ProxyStream, Termination};
use reactor::Instant;
use std::time::Duration;

/// Limits the recorded requests of one kind to a rate and a burst, by the generic cell rate
/// algorithm.
#[derive(Debug)]
struct Limit {
    /// Time that one recorded request uses up of the budget.
    interval: Duration,
    /// Maximum time by which the limit may be used up in advance: the size of a burst.
    ahead_max: Duration,
    /// Time until which the limit is used up; None before the first use.
    used_until: Option<Instant>,
}

impl Limit {
    const fn new(interval: Duration, burst: u32) -> Limit {
        Limit {
            interval,
            ahead_max: interval.saturating_mul(burst - 1),
            used_until: None,
        }
    }

    fn takes(&mut self, now: Instant) -> bool {
        let from = self.used_until.map_or(now, |until| until.max(now));
        let is_kept = from - now <= self.ahead_max;
        if is_kept {
            self.used_until = Some(from + self.interval);
        }
        is_kept
    }
}

/// Limits of a thread: one for ordinary and one for failed requests.
#[derive(Debug)]
pub(super) struct Budget {
    ordinary: Limit,
    failed: Limit,
}

/// Maximum burst of requests that did not fail.
const ORDINARY_MAX: u32 = 128;
/// Maximum burst of failed requests.
const FAILED_MAX: u32 = 256;

impl Budget {
    pub(super) const fn new() -> Budget {
        Budget {
            ordinary: Limit::new(Duration::from_millis(100), ORDINARY_MAX),
            failed: Limit::new(Duration::from_millis(5), FAILED_MAX),
        }
    }

    /// Returns whether a request that ends now is recorded, and counts it.
    pub(super) fn takes(&mut self, now: Instant, has_failed: bool) -> bool {
        if has_failed {
            self.failed.takes(now)
        } else {
            self.ordinary.takes(now)
        }
    }
}

pub(super) fn has_failed(stream: &ProxyStream) -> bool {
    let is_error = stream.http && stream.status() >= 400;
    is_error || stream.route.retries > 0 || stream.outcome.termination != Termination::Normal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bursts_are_kept_and_then_a_rate_of_each_kind() {
        let mut budget = Budget::new();
        let now = Instant::now();
        let mut kept = |ms: u64, has_failed: bool| {
            let at = now + Duration::from_millis(ms);
            (0..2_000).filter(|_| budget.takes(at, has_failed)).count()
        };
        assert_eq!(kept(0, false), ORDINARY_MAX as usize);
        assert_eq!(kept(99, false), 0);
        // Failed requests have a limit of their own.
        assert_eq!(kept(99, true), FAILED_MAX as usize);
        assert_eq!(kept(1_000, false), 10);
        assert_eq!(kept(1_099, true), 200);
        assert_eq!(kept(3_600_000, false), ORDINARY_MAX as usize);
    }
}
