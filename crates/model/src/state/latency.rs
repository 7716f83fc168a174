//! Keeps a histogram of the durations of the last requests, from which percentiles are computed.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// Durations below this number of milliseconds have a bucket of their own.
const EXACT: u64 = 8;
/// Number of buckets for each power of two from [`EXACT`] on. A percentile is thus at most a
/// quarter too high.
const OF_OCTAVE: usize = 4;
/// Exponent of the first power of two that is divided into buckets.
const FIRST: u32 = 3;
/// Number of powers of two that are divided into buckets: up to 17 minutes.
const OCTAVES: usize = 17;
const BUCKETS: usize = EXACT as usize + OCTAVES * OF_OCTAVE;
/// Number of samples at which all counts are halved, so that older samples lose weight.
const FULL: u32 = 2_048;

fn bucket(ms: u64) -> usize {
    if ms < EXACT {
        return ms as usize;
    }
    let power = u64::BITS - 1 - ms.leading_zeros();
    let quarter = (ms >> (power - 2)) as usize & (OF_OCTAVE - 1);
    let at = EXACT as usize + (power - FIRST) as usize * OF_OCTAVE + quarter;
    at.min(BUCKETS - 1)
}

fn longest(bucket: usize) -> u64 {
    match bucket.checked_sub(EXACT as usize) {
        None => bucket as u64,
        Some(above) => {
            let power = above / OF_OCTAVE;
            let quarter = (above % OF_OCTAVE + OF_OCTAVE + 1) as u64;
            (quarter << (power + FIRST as usize - 2)) - 1
        }
    }
}

/// The part of a histogram that one thread writes: its last 1,024 to 2,048 requests.
#[derive(Debug)]
pub(super) struct Latency {
    counts: [AtomicU32; BUCKETS],
    all: AtomicU32,
}

impl Default for Latency {
    fn default() -> Self {
        Latency {
            counts: [const { AtomicU32::new(0) }; BUCKETS],
            all: AtomicU32::new(0),
        }
    }
}

impl Latency {
    /// Adds a duration; `change` updates a cell.
    pub(super) fn take(&self, ms: u64, change: impl Fn(&AtomicU32, &dyn Fn(u32) -> u32)) {
        change(&self.counts[bucket(ms)], &|count| count.saturating_add(1));
        change(&self.all, &|all| all.saturating_add(1));
        if self.all.load(Relaxed) >= FULL {
            for cell in &self.counts {
                change(cell, &|count| count / 2);
            }
            // Computes the sum again, because halving rounds odd counts down.
            let all = self.counts.iter().map(|cell| cell.load(Relaxed)).sum();
            self.all.store(all, Relaxed);
        }
    }

    pub(super) fn clear(&self) {
        for cell in self.counts.iter().chain([&self.all]) {
            cell.store(0, Relaxed);
        }
    }
}

/// Percentiles of the last requests, milliseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Percentiles {
    pub samples: u64,
    pub p50_ms: u64,
    pub p95_ms: u64,
    pub p99_ms: u64,
}

/// Computes the percentiles over all threads.
pub(super) fn percentiles<'l>(of: impl Iterator<Item = &'l Latency>) -> Percentiles {
    let mut sums = [0_u64; BUCKETS];
    for latency in of {
        for (sum, cell) in sums.iter_mut().zip(&latency.counts) {
            *sum += u64::from(cell.load(Relaxed));
        }
    }
    let samples: u64 = sums.iter().sum();
    let at = |percent: u64| {
        let wanted = (samples * percent).div_ceil(100);
        let mut below = 0;
        let found = sums.iter().position(|sum| {
            below += sum;
            below >= wanted
        });
        found.map_or(0, longest)
    };
    match samples {
        0 => Percentiles::default(),
        samples => Percentiles {
            samples,
            p50_ms: at(50),
            p95_ms: at(95),
            p99_ms: at(99),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::super::Counters;
    use super::*;

    #[test]
    fn every_time_is_in_a_bucket_that_is_at_most_a_quarter_longer() {
        let mut last = 0;
        for ms in (0..5_000).chain([1 << 19, (1 << 20) - 1]) {
            let at = bucket(ms);
            assert!(at >= last && at < BUCKETS, "{ms}");
            last = at;
            let longest = longest(at);
            assert!(ms <= longest && longest <= ms + ms / 4, "{ms}: {longest}");
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
        assert_eq!(longest(BUCKETS - 1), (1 << 20) - 1);
    }

    #[test]
    fn percentiles_are_of_the_last_requests_of_all_threads() {
        let counters = Counters::default();
        assert_eq!(counters.percentiles(), Percentiles::default());
        let take = |number: usize, ms| {
            (0..number).for_each(|_| counters.current_shard().took(ms));
        };
        take(94, 2);
        std::thread::scope(|scope| {
            scope.spawn(|| take(4, 5));
        });
        take(2, 1_000_000);
        let found = counters.percentiles();
        assert_eq!((found.samples, found.p50_ms, found.p95_ms), (100, 2, 5));
        assert!((1_000_000..1_250_000).contains(&found.p99_ms), "{found:?}");
        // Old durations lose their weight.
        take(60_000, 3);
        let found = counters.percentiles();
        assert!(found.samples <= u64::from(2 * FULL), "{found:?}");
        assert_eq!((found.p50_ms, found.p99_ms), (3, 3));
        counters.clear();
        assert_eq!(counters.percentiles().samples, 0);
    }
}
