//! Keeps a histogram of recent latencies with bounded size, which gives quantiles and not only an
//! average.

use std::time::{Duration, Instant};

/// Number of buckets per doubling of the latency.
const STEPS: u64 = 8;
/// Number of buckets, for latencies up to 2^40 microseconds.
const BUCKETS: usize = 38 * STEPS as usize;

/// Latencies in two windows of time. When the time of the newer window has passed, the older one is
/// dropped.
#[derive(Debug)]
pub struct Latency {
    window: Duration,
    counts: [Vec<u32>; 2],
    since: Option<Instant>,
}

impl Latency {
    /// Creates a histogram in which each latency counts for one to two windows.
    pub fn new(window: Duration) -> Latency {
        Latency {
            window,
            counts: [vec![0; BUCKETS], vec![0; BUCKETS]],
            since: None,
        }
    }

    fn turn(&mut self, now: Instant) {
        let since = *self.since.get_or_insert(now);
        let age = now.saturating_duration_since(since);
        if age < self.window {
            return;
        }
        self.counts.swap(0, 1);
        self.counts[0].fill(0);
        if age >= 2 * self.window {
            self.counts[1].fill(0);
        }
        self.since = Some(now);
    }

    pub fn add(&mut self, latency: Duration, now: Instant) {
        self.turn(now);
        let us = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        let bucket = bucket(us).min(BUCKETS - 1);
        self.counts[0][bucket] = self.counts[0][bucket].saturating_add(1);
    }

    /// Returns the latency, in microseconds, that this percentage of the operations did not exceed,
    /// rounded up by at most an eighth: 50 is the median, 100 the longest. None if there were no
    /// operations.
    pub fn quantile(&mut self, percent: u64, now: Instant) -> Option<u64> {
        self.turn(now);
        let [new, old] = &self.counts;
        let counts = || {
            new.iter()
                .zip(old)
                .map(|(new, old)| u64::from(*new) + u64::from(*old))
        };
        let total: u64 = counts().sum();
        let wanted = (total * percent).div_ceil(100);
        let mut below = 0;
        let found = counts().position(|count| {
            below += count;
            below >= wanted
        });
        found.filter(|_| total > 0).map(highest)
    }
}

/// Returns the bucket of a latency: one bucket per microsecond below [`STEPS`], then [`STEPS`]
/// buckets per doubling.
fn bucket(us: u64) -> usize {
    if us < STEPS {
        return us as usize;
    }
    let doublings = us.ilog2() - STEPS.ilog2();
    let step = (us >> doublings) - STEPS;
    ((u64::from(doublings) + 1) * STEPS + step) as usize
}

/// Returns the highest latency of a bucket, in microseconds.
fn highest(bucket: usize) -> u64 {
    let (doublings, step) = (bucket as u64 / STEPS, bucket as u64 % STEPS);
    match doublings {
        0 => step,
        _ => ((STEPS + step + 1) << (doublings - 1)) - 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bucket_limit_is_at_most_an_eighth_above_the_latency() {
        for us in (0..3_000).chain([1 << 20, (1 << 30) + 12_345]) {
            let top = highest(bucket(us));
            assert!(us <= top && top <= us + us / 8, "{us}: {top}");
        }
    }

    #[test]
    fn quantiles_ignore_old_latencies() {
        let window = Duration::from_secs(30);
        let mut latency = Latency::new(window);
        let start = Instant::now();
        assert_eq!(latency.quantile(50, start), None);
        for us in 1..=100 {
            latency.add(Duration::from_micros(us), start);
        }
        let quantiles = [50, 99, 100].map(|percent| latency.quantile(percent, start));
        assert_eq!(quantiles, [Some(51), Some(103), Some(103)]);
        latency.add(Duration::from_micros(1), start + window);
        assert_eq!(latency.quantile(99, start + window), Some(103));
        assert_eq!(latency.quantile(99, start + 3 * window), None);
    }

    #[test]
    fn latency_beyond_all_buckets_is_in_the_last() {
        let mut latency = Latency::new(Duration::from_secs(1));
        let now = Instant::now();
        latency.add(Duration::MAX, now);
        assert_eq!(latency.quantile(100, now), Some(highest(BUCKETS - 1)));
    }
}
