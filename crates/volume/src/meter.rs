//! What a served volume has done: counted by its thread, read for reports.

use crate::disk::{Completion, Failure, Operation, Token};
use crate::export::Counters;
use rustix::io::Errno;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long the latency of an operation counts: one to two of these.
const WINDOW: Duration = Duration::from_secs(30);
/// Buckets of a doubling of the latency.
const STEPS: u64 = 8;
/// Buckets of latencies up to 2^40 microseconds.
const BUCKETS: usize = 38 * STEPS as usize;

/// Kinds of operations, as they are counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Reads.
    Read,
    /// Writes.
    Write,
    /// Flushes. One of the disk may do for several of clients.
    Flush,
    /// Ranges that are set to zero or given up.
    Trim,
}

/// All kinds that are counted.
pub const KINDS: [Kind; 4] = [Kind::Read, Kind::Write, Kind::Flush, Kind::Trim];

/// What was counted of one kind since the volume was opened.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Count {
    /// Operations that ended. A long request of a client is several of them.
    pub operations: u64,
    /// Bytes of those that succeeded.
    pub bytes: u64,
    /// Operations that failed.
    pub errors: u64,
    /// The last error, until one succeeds.
    pub trouble: Option<Failure>,
    /// When that was.
    pub failed: Option<Instant>,
    /// The median latency of the last half minute or more, microseconds.
    pub p50_us: Option<u64>,
    /// The 99th percentile of the latency, microseconds.
    pub p99_us: Option<u64>,
}

/// The numbers of a volume. Shared by its thread and those who read it.
#[derive(Debug, Default)]
pub struct Meter {
    numbers: Mutex<Numbers>,
    clients: AtomicUsize,
    accepted: AtomicU64,
    refused: AtomicU64,
}

#[derive(Debug, Default)]
struct Numbers {
    counts: [Count; KINDS.len()],
    latencies: [Latency; KINDS.len()],
}

impl Meter {
    fn lock(&self) -> MutexGuard<'_, Numbers> {
        self.numbers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns what was counted of a kind.
    pub fn count(&self, kind: Kind) -> Count {
        let mut numbers = self.lock();
        let latency = &mut numbers.latencies[kind as usize];
        latency.turn(Instant::now());
        let (p50_us, p99_us) = (latency.quantile(50), latency.quantile(99));
        Count {
            p50_us,
            p99_us,
            ..numbers.counts[kind as usize].clone()
        }
    }

    /// What failed last has a cause that is over.
    pub(crate) fn forget_troubles(&self) {
        let mut numbers = self.lock();
        numbers.counts.iter_mut().for_each(|one| one.trouble = None);
    }

    /// Connected clients.
    pub fn clients(&self) -> usize {
        self.clients.load(Ordering::Relaxed)
    }

    /// Connections that were closed because all places for clients were taken.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Connections of clients since the volume was opened.
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    pub(crate) fn set_clients(&self, clients: usize, counters: Counters) {
        self.clients.store(clients, Ordering::Relaxed);
        self.accepted.store(counters.accepted, Ordering::Relaxed);
        self.refused.store(counters.refused, Ordering::Relaxed);
    }
}

/// The operations under way of one volume, which are counted when they end.
#[derive(Debug, Default)]
pub(crate) struct Stopwatch(HashMap<Token, (Kind, u64, Instant)>);

impl Stopwatch {
    /// An operation begins.
    pub(crate) fn begin(&mut self, token: Token, operation: &Operation, now: Instant) {
        let (kind, bytes) = match operation {
            Operation::Read { buffer, .. } => (Kind::Read, buffer.len() as u64),
            Operation::Write { buffer, .. } => (Kind::Write, buffer.len() as u64),
            Operation::Flush => (Kind::Flush, 0),
            Operation::Zero { length, .. } | Operation::Discard { length, .. } => {
                (Kind::Trim, *length)
            }
            Operation::Extents { .. } => return,
        };
        self.0.insert(token, (kind, bytes, now));
    }

    /// Operations ended.
    pub(crate) fn end(&mut self, meter: &Meter, completions: &[Completion]) {
        if completions.is_empty() {
            return;
        }
        let mut numbers = meter.lock();
        let now = Instant::now();
        for completion in completions {
            let Some((kind, bytes, since)) = self.0.remove(&completion.token) else {
                continue;
            };
            let latency = &mut numbers.latencies[kind as usize];
            latency.turn(now);
            latency.add(now.saturating_duration_since(since));
            let count = &mut numbers.counts[kind as usize];
            count.operations += 1;
            match &completion.result {
                Ok(_) => {
                    count.bytes += bytes;
                    count.trouble = None;
                }
                // What the backing cannot do a client does otherwise; what it may not do says
                // nothing of the disk.
                Err(Failure::NotFast | Failure::Io(Errno::OPNOTSUPP | Errno::SHUTDOWN)) => {}
                Err(failure) => {
                    count.errors += 1;
                    count.trouble = Some(*failure);
                    count.failed = Some(now);
                }
            }
        }
    }
}

/// Latencies in two windows, of which the older one is dropped from time to time.
#[derive(Debug)]
struct Latency {
    windows: [Vec<u32>; 2],
    since: Option<Instant>,
}

impl Default for Latency {
    fn default() -> Latency {
        Latency {
            windows: [vec![0; BUCKETS], vec![0; BUCKETS]],
            since: None,
        }
    }
}

impl Latency {
    fn turn(&mut self, now: Instant) {
        let since = *self.since.get_or_insert(now);
        let age = now.saturating_duration_since(since);
        if age < WINDOW {
            return;
        }
        self.windows.swap(0, 1);
        self.windows[0].fill(0);
        if age >= 2 * WINDOW {
            self.windows[1].fill(0);
        }
        self.since = Some(now);
    }

    fn add(&mut self, latency: Duration) {
        let us = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        let bucket = bucket(us).min(BUCKETS - 1);
        self.windows[0][bucket] = self.windows[0][bucket].saturating_add(1);
    }

    /// The latency below which so many percent are, rounded up by at most an eighth.
    fn quantile(&self, percent: u64) -> Option<u64> {
        let [new, old] = &self.windows;
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

/// The bucket of a latency: its own below [`STEPS`], then that many for each doubling.
fn bucket(us: u64) -> usize {
    if us < STEPS {
        return us as usize;
    }
    let doublings = us.ilog2() - STEPS.ilog2();
    let step = (us >> doublings) - STEPS;
    ((u64::from(doublings) + 1) * STEPS + step) as usize
}

/// The highest latency of a bucket.
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
    fn each_latency_is_in_the_bucket_whose_highest_is_at_most_an_eighth_above() {
        for us in (0..3_000).chain([1 << 20, (1 << 30) + 12_345]) {
            let top = highest(bucket(us));
            assert!(us <= top && top <= us + us / 8, "{us}: {top}");
        }
    }

    #[test]
    fn quantiles_forget_what_is_old() {
        let mut latency = Latency::default();
        assert_eq!(latency.quantile(50), None);
        let start = Instant::now();
        latency.turn(start);
        for us in 1..=100 {
            latency.add(Duration::from_micros(us));
        }
        assert_eq!(
            (latency.quantile(50), latency.quantile(99)),
            (Some(51), Some(103))
        );
        latency.turn(start + WINDOW);
        latency.add(Duration::from_micros(1));
        assert_eq!(latency.quantile(99), Some(103));
        latency.turn(start + 3 * WINDOW);
        assert_eq!(latency.quantile(99), None);
    }
}
