//! Implements gauges and rates, and assigns each thread its own slot of a counter. A rate is kept
//! per thread and written only by its thread (a load, an add and a store, all relaxed), so
//! counting needs no locked instruction; a reader adds up the values of all threads. Threads
//! without a slot of their own share the last one.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst};

static SHARDS: AtomicUsize = AtomicUsize::new(2);

thread_local! {
    /// Shard that this thread writes; by default the last one, which several threads share.
    static SHARD: std::cell::Cell<usize> = const { std::cell::Cell::new(usize::MAX) };
}

/// Sets the number of threads of the data plane. Counters created later have one shard for each of
/// them, and a last one that all others share (the side thread, and threads that started later).
pub fn set_shards(threads: usize) {
    SHARDS.fetch_max(threads + 1, Relaxed);
}

/// Sets the shard that this thread writes; for a thread of the data plane, its index.
pub fn set_shard(index: usize) {
    SHARD.set(index);
}

#[inline]
pub fn shard_count() -> usize {
    SHARDS.load(Relaxed).max(1)
}

/// Returns the shard that this thread writes, of `shards`.
#[inline]
pub fn shard_here(shards: usize) -> usize {
    SHARD.get().min(shards - 1)
}

/// A number that rises and falls, with its highest value (`scur`, `smax`). The current value is
/// sequentially consistent: slots and waiters see each other through it without a fence (free on
/// x86).
#[derive(Debug, Default)]
pub struct Gauge {
    current: AtomicU32,
    highest: AtomicU32,
}

impl Gauge {
    #[inline]
    pub fn increment(&self) -> u32 {
        let now = self.current.fetch_add(1, SeqCst) + 1;
        if now > self.highest.load(Relaxed) {
            self.highest.fetch_max(now, Relaxed);
        }
        now
    }

    /// Adds one unless the value has reached `limit` (0 is no limit). Returns whether it added.
    #[inline]
    pub fn increment_below(&self, limit: u32) -> bool {
        if limit == 0 {
            self.increment();
            return true;
        }
        let gained = self
            .current
            .fetch_update(SeqCst, SeqCst, |now| (now < limit).then_some(now + 1));
        if let Ok(before) = gained
            && before + 1 > self.highest.load(Relaxed)
        {
            self.highest.fetch_max(before + 1, Relaxed);
        }
        gained.is_ok()
    }

    #[inline]
    pub fn decrement(&self) -> u32 {
        self.current.fetch_sub(1, SeqCst) - 1
    }

    #[inline]
    pub fn current(&self) -> u32 {
        self.current.load(SeqCst)
    }

    #[inline]
    pub fn highest(&self) -> u32 {
        self.highest.load(Relaxed)
    }

    pub fn clear_highest(&self) {
        self.highest.store(self.current(), Relaxed);
    }

    /// Sets the current value to that of another process, in a process that only shows what the
    /// other one would do.
    pub fn import_current(&self, current: u32) {
        self.current.store(current, SeqCst);
        self.import_highest(current);
    }

    pub fn import_highest(&self, highest: u32) {
        self.highest.fetch_max(highest, Relaxed);
    }
}

#[derive(Debug, Default)]
#[repr(align(64))]
struct RateShard {
    second: AtomicU64,
    current: AtomicU64,
    previous: AtomicU64,
}

impl RateShard {
    /// Returns the events in the second before `second` and in `second`, as counted by this shard.
    fn at(&self, second: u64) -> (u64, u64) {
        match second.wrapping_sub(self.second.load(Relaxed)) {
            0 => (self.previous.load(Relaxed), self.current.load(Relaxed)),
            1 => (self.current.load(Relaxed), 0),
            _ => (0, 0),
        }
    }
}

/// Events per second over a sliding second, and the highest whole second recorded.
#[derive(Default)]
pub struct Rate {
    shards: OnceLock<Box<[RateShard]>>,
    /// Events that another process counted in the last seconds before this one took over.
    carried: OnceLock<Box<RateShard>>,
    highest: AtomicU64,
    /// Seconds before this one no longer count towards the highest rate.
    cleared_second: AtomicU64,
}

impl std::fmt::Debug for Rate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Rate")
    }
}

impl Rate {
    fn shards(&self) -> &[RateShard] {
        self.shards
            .get_or_init(|| (0..shard_count()).map(|_| RateShard::default()).collect())
    }

    /// Counts one event at `now_ms`, in milliseconds since the process's epoch.
    #[inline]
    pub fn count(&self, now_ms: u64) {
        let second = now_ms / 1000;
        let shards = self.shards();
        let here = shard_here(shards.len());
        let (shard, shared) = (&shards[here], here + 1 == shards.len());
        let seen = shard.second.load(Relaxed);
        // Lets the first of several threads that share a shard start the second.
        let begins = seen != second
            && (!shared
                || shard
                    .second
                    .compare_exchange(seen, second, Relaxed, Relaxed)
                    .is_ok());
        if begins {
            let ended = shard.current.swap(0, Relaxed);
            let follows = second.wrapping_sub(seen) == 1;
            shard
                .previous
                .store(if follows { ended } else { 0 }, Relaxed);
            shard.second.store(second, Relaxed);
            // Runs once per second and thread: adds up the second that ended, over all threads.
            let whole = shards.iter().map(|s| s.at(second).0).sum();
            self.highest.fetch_max(whole, Relaxed);
        }
        if shared {
            shard.current.fetch_add(1, Relaxed);
        } else {
            let current = shard.current.load(Relaxed);
            shard.current.store(current + 1, Relaxed);
        }
    }

    /// Returns the events in the second before that of `now_ms` and in that second.
    pub fn seconds(&self, now_ms: u64) -> (u64, u64) {
        let own = self.shards.get().map_or(&[][..], |shards| shards);
        own.iter()
            .chain(self.carried.get().map(|shard| &**shard))
            .map(|s| s.at(now_ms / 1000))
            .fold((0, 0), |sum, at| (sum.0 + at.0, sum.1 + at.1))
    }

    pub fn read(&self, now_ms: u64) -> u64 {
        let (previous, current) = self.seconds(now_ms);
        current + previous * (1000 - now_ms % 1000) / 1000
    }

    /// Includes the events that another process counted: in the second before that of `now_ms`, in
    /// that second, and in its highest second.
    pub fn import_counts(&self, previous: u64, current: u64, highest: u64, now_ms: u64) {
        self.highest.fetch_max(highest, Relaxed);
        if previous == 0 && current == 0 {
            return;
        }
        let carried = self.carried.get_or_init(Default::default);
        let (before, at) = carried.at(now_ms / 1000);
        carried.second.store(now_ms / 1000, Relaxed);
        carried.previous.store(before + previous, Relaxed);
        carried.current.store(at + current, Relaxed);
    }

    /// Returns the highest rate since the last [`clear_highest`](Self::clear_highest).
    pub fn highest(&self, now_ms: u64) -> u64 {
        self.highest
            .load(Relaxed)
            .max(self.read(now_ms))
            .max(self.last_seconds())
    }

    /// Returns the higher of the last two seconds in which anything was counted: no later event has
    /// recorded them in `highest`.
    fn last_seconds(&self) -> u64 {
        let shards = self.shards.get().map_or(&[][..], |shards| shards);
        let Some(last) = shards.iter().map(|s| s.second.load(Relaxed)).max() else {
            return 0;
        };
        if last < self.cleared_second.load(Relaxed) {
            return 0;
        }
        let (before, at) = shards
            .iter()
            .map(|s| s.at(last))
            .fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        before.max(at)
    }

    pub fn clear_highest(&self) {
        let shards = self.shards.get().map_or(&[][..], |shards| shards);
        let last = shards.iter().map(|s| s.second.load(Relaxed)).max();
        self.cleared_second
            .store(last.map_or(0, |last| last + 1), Relaxed);
        self.highest.store(0, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn highest_rate_survives_idleness_and_can_be_cleared() {
        let rate = Rate::default();
        for _ in 0..7 {
            rate.count(5500);
        }
        assert_eq!(rate.highest(99_000), 7);
        rate.clear_highest();
        assert_eq!(rate.highest(99_000), 0);
        rate.count(100_000);
        assert_eq!(rate.highest(200_000), 1);
    }

    #[test]
    fn a_rate_slides_over_one_second_and_keeps_its_highest() {
        let rate = Rate::default();
        for ms in 0..100 {
            rate.count(5000 + ms * 10);
        }
        assert_eq!(rate.read(5999), 100);
        assert_eq!(rate.read(6500), 50);
        assert_eq!(rate.read(8000), 0);
        rate.count(6000);
        assert_eq!(rate.highest(9000), 100);
    }

    #[test]
    fn threads_that_share_a_shard_lose_nothing() {
        let rate = Rate::default();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..10_000 {
                        rate.count(7000);
                    }
                });
            }
        });
        assert_eq!(rate.read(7999), 40_000);
    }

    #[test]
    fn a_gauge_stops_at_its_limit_and_remembers_the_highest() {
        let gauge = Gauge::default();
        assert!(gauge.increment_below(2) && gauge.increment_below(2));
        assert!(!gauge.increment_below(2));
        gauge.decrement();
        assert_eq!((gauge.current(), gauge.highest()), (1, 2));
    }
}
