//! Counters, gauges and rates. See the head of [`super`] for who writes what.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst};

static SHARDS: AtomicUsize = AtomicUsize::new(2);

thread_local! {
    /// Whoever was not told counts in the last one, which is shared.
    static SHARD: std::cell::Cell<usize> = const { std::cell::Cell::new(usize::MAX) };
}

/// Says how many threads the data plane has: what begins to count from now on
/// has a shard for each, and a last one that all others share (the side thread,
/// and threads that came later than the counter).
pub fn set_shards(threads: usize) {
    SHARDS.fetch_max(threads + 1, Relaxed);
}

/// Says which shard this thread writes: the data plane's threads their index.
pub fn set_shard(index: usize) {
    SHARD.set(index);
}

/// How many shards something new has.
pub(super) fn shard_count() -> usize {
    SHARDS.load(Relaxed).max(1)
}

/// Which of so many shards this thread writes.
pub(super) fn shard_here(shards: usize) -> usize {
    SHARD.get().min(shards - 1)
}

/// What is counted; the same list for frontends, backends, servers and listeners.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(usize)]
pub enum Tally {
    /// `stot` of a frontend's streams and of backends and servers.
    Sessions,
    /// Connections accepted (`conn_tot`).
    Connections,
    /// `bin`.
    BytesIn,
    /// `bout`.
    BytesOut,
    /// `req_tot`.
    Requests,
    /// `dreq`: requests refused by rules.
    DeniedRequests,
    /// `dresp`: answers refused by rules.
    DeniedResponses,
    /// `dcon`: connections refused by `tcp-request connection`.
    DeniedConnections,
    /// `dses`: sessions refused by `tcp-request session`.
    DeniedSessions,
    /// `ereq`.
    RequestErrors,
    /// `econ`.
    ConnectErrors,
    /// `eresp`.
    ResponseErrors,
    /// `wretr`.
    Retries,
    /// `wredis`.
    Redispatches,
    /// `hrsp_1xx`.
    Status1xx,
    /// `hrsp_2xx`.
    Status2xx,
    /// `hrsp_3xx`.
    Status3xx,
    /// `hrsp_4xx`.
    Status4xx,
    /// `hrsp_5xx`.
    Status5xx,
    /// `hrsp_other`.
    StatusOther,
    /// `cli_abrt`.
    ClientAborts,
    /// `srv_abrt`.
    ServerAborts,
    /// `lbtot`: times chosen by balancing.
    Chosen,
    /// `intercepted`.
    Intercepted,
    /// `connect`: connections to servers that were begun.
    Connects,
    /// `reuse`: requests sent over an idle connection.
    Reuses,
    /// `chkfail`.
    CheckFailures,
    /// `chkdown`.
    WentDown,
    /// `hanafail`.
    HealthAnalyseFailures,
    /// Failed header rewrites (`wrew`).
    RewriteFailures,
    /// Internal errors (`eint`).
    InternalErrors,
    /// TLS handshakes that began a session (`ssl_sess`).
    TlsSessions,
    /// Those that went on with one (`ssl_reused_sess`).
    TlsResumed,
    /// Those that failed (`ssl_failed_handshake`).
    TlsFailed,
    /// Bytes given to compression (`comp_in`).
    CompressedIn,
    /// Bytes that it made (`comp_out`).
    CompressedOut,
    /// Bytes that it had to let through (`comp_byp`).
    CompressionBypassed,
    /// Compressed answers (`comp_rsp`).
    CompressedAnswers,
    /// Requests that looked into a cache (`cache_lookups`).
    CacheLookups,
    /// Those that it answered (`cache_hits`).
    CacheHits,
    /// Connections of clients that speak HTTP/2 (`h2_total_connections`).
    Http2Connections,
    /// Requests over them (`h2_backend_total_streams`).
    Http2Streams,
}

/// How many tallies there are.
pub const TALLIES: usize = Tally::Http2Streams as usize + 1;

/// A time whose sliding average over the last [`AVERAGE_WINDOW`] streams is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(usize)]
pub enum Average {
    /// In queues.
    Queue,
    /// Connecting.
    Connect,
    /// Until the answer's head.
    Response,
    /// Whole.
    Total,
}

/// How many averages there are.
pub(super) const AVERAGES: usize = 4;
/// Streams over which averages slide.
pub const AVERAGE_WINDOW: u64 = 1024;

/// One thread's share of some [`Counters`].
#[repr(align(128))]
pub struct Shard {
    tallies: [AtomicU64; TALLIES],
    sums: [AtomicU64; AVERAGES],
    highest: [AtomicU64; AVERAGES],
    samples: AtomicU64,
    /// Several threads write it.
    shared: bool,
}

impl Default for Shard {
    fn default() -> Self {
        Shard {
            tallies: [const { AtomicU64::new(0) }; TALLIES],
            sums: [const { AtomicU64::new(0) }; AVERAGES],
            highest: [const { AtomicU64::new(0) }; AVERAGES],
            samples: AtomicU64::new(0),
            shared: false,
        }
    }
}

impl Shard {
    /// Adds to a tally. Only the shard's own thread may, unless it is shared.
    pub fn add(&self, tally: Tally, n: u64) {
        self.change(&self.tallies[tally as usize], |value| value.wrapping_add(n));
    }

    /// Changes a cell: without a locked instruction where only this thread writes.
    #[inline]
    fn change(&self, cell: &AtomicU64, change: impl Fn(u64) -> u64) {
        if self.shared {
            // The closure never refuses.
            let _ = cell.fetch_update(Relaxed, Relaxed, |value| Some(change(value)));
        } else {
            cell.store(change(cell.load(Relaxed)), Relaxed);
        }
    }

    /// Counts one.
    pub fn count(&self, tally: Tally) {
        self.add(tally, 1);
    }

    /// Counts an answer's status.
    pub fn status(&self, status: u16) {
        self.count(match status / 100 {
            1 => Tally::Status1xx,
            2 => Tally::Status2xx,
            3 => Tally::Status3xx,
            4 => Tally::Status4xx,
            5 => Tally::Status5xx,
            _ => Tally::StatusOther,
        });
    }

    /// Takes a stream's times in, milliseconds, in the order of [`Average`].
    pub fn times(&self, times_ms: [u64; AVERAGES]) {
        self.change(&self.samples, |samples| samples + 1);
        for (n, ms) in times_ms.into_iter().enumerate() {
            self.change(&self.sums[n], |sum| sum - sum / AVERAGE_WINDOW + ms);
            if ms > self.highest[n].load(Relaxed) {
                self.change(&self.highest[n], |highest| highest.max(ms));
            }
        }
    }
}

/// A set of tallies of one thing (a frontend, a server, …).
#[derive(Default)]
pub struct Counters {
    shards: OnceLock<Box<[Shard]>>,
    /// What another process counted before this one (see [`super::carry`]); any
    /// thread may add to it.
    carried: OnceLock<Box<Shard>>,
}

impl std::fmt::Debug for Counters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Counters")
    }
}

impl Counters {
    fn shards(&self) -> &[Shard] {
        self.shards.get_or_init(|| {
            let mut shards: Box<[Shard]> = (0..shard_count()).map(|_| Shard::default()).collect();
            if let Some(last) = shards.last_mut() {
                last.shared = true;
            }
            shards
        })
    }

    /// This thread's shard.
    pub fn here(&self) -> &Shard {
        let shards = self.shards();
        &shards[shard_here(shards.len())]
    }

    /// Every shard that there is, the carried one included.
    fn all(&self) -> impl Iterator<Item = &Shard> {
        let own = self.shards.get().map_or(&[][..], |shards| shards);
        own.iter().chain(self.carried.get().map(|shard| &**shard))
    }

    /// The sum over all threads.
    pub fn read(&self, tally: Tally) -> u64 {
        self.all().fold(0, |sum, s| {
            sum.wrapping_add(s.tallies[tally as usize].load(Relaxed))
        })
    }

    /// All sums, in the order of [`Tally`].
    pub(super) fn tallies(&self) -> [u64; TALLIES] {
        let mut sums = [0u64; TALLIES];
        for shard in self.all() {
            for (sum, cell) in sums.iter_mut().zip(&shard.tallies) {
                *sum = sum.wrapping_add(cell.load(Relaxed));
            }
        }
        sums
    }

    /// The highest times, in the order of [`Average`].
    pub(super) fn highest_times(&self) -> [u64; AVERAGES] {
        let mut highest = [0; AVERAGES];
        for shard in self.all() {
            for (most, cell) in highest.iter_mut().zip(&shard.highest) {
                *most = cell.load(Relaxed).max(*most);
            }
        }
        highest
    }

    /// Adds what another process counted.
    pub(super) fn carry(&self, tally: Tally, n: u64) {
        let carried = self.carried.get_or_init(Default::default);
        carried.tallies[tally as usize].fetch_add(n, Relaxed);
    }

    /// Takes in the highest times that another process saw.
    pub(super) fn carry_highest_times(&self, times_ms: [u64; AVERAGES]) {
        if times_ms == [0; AVERAGES] {
            return;
        }
        let carried = self.carried.get_or_init(Default::default);
        for (cell, ms) in carried.highest.iter().zip(times_ms) {
            cell.fetch_max(ms, Relaxed);
        }
    }

    /// The sliding average, milliseconds.
    pub fn average_ms(&self, which: Average) -> u64 {
        let (mut sum, mut samples) = (0, 0);
        for shard in self.all() {
            sum += shard.sums[which as usize].load(Relaxed);
            samples += shard.samples.load(Relaxed).min(AVERAGE_WINDOW);
        }
        if samples == 0 {
            0
        } else {
            sum.div_ceil(samples)
        }
    }

    /// The highest time seen, milliseconds.
    pub fn highest_ms(&self, which: Average) -> u64 {
        self.all()
            .map(|s| s.highest[which as usize].load(Relaxed))
            .max()
            .unwrap_or(0)
    }

    /// Forgets the highest times (`clear counters`).
    pub fn clear_highest(&self) {
        for cell in self.all().flat_map(|s| &s.highest) {
            cell.store(0, Relaxed);
        }
    }

    /// `clear counters all`. Approximate while others count.
    pub fn clear(&self) {
        for shard in self.all() {
            for cell in shard
                .tallies
                .iter()
                .chain(&shard.sums)
                .chain(&shard.highest)
            {
                cell.store(0, Relaxed);
            }
            shard.samples.store(0, Relaxed);
        }
    }
}

/// Something that goes up and down, with its highest value (`scur`, `smax`).
/// The current value is sequentially consistent: slots and waiters see each
/// other by it without a fence (on x86 that costs nothing).
#[derive(Debug, Default)]
pub struct Gauge {
    current: AtomicU32,
    highest: AtomicU32,
}

impl Gauge {
    /// One more; says how many there are now.
    pub fn up(&self) -> u32 {
        let now = self.current.fetch_add(1, SeqCst) + 1;
        if now > self.highest.load(Relaxed) {
            self.highest.fetch_max(now, Relaxed);
        }
        now
    }

    /// One more unless there are `limit` already (0 is no limit).
    pub fn up_to(&self, limit: u32) -> bool {
        if limit == 0 {
            self.up();
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

    /// One less; says how many there are now.
    pub fn down(&self) -> u32 {
        self.current.fetch_sub(1, SeqCst) - 1
    }

    /// How many there are.
    pub fn current(&self) -> u32 {
        self.current.load(SeqCst)
    }

    /// How many there were at most.
    pub fn highest(&self) -> u32 {
        self.highest.load(Relaxed)
    }

    /// Forgets the highest value.
    pub fn clear_highest(&self) {
        self.highest.store(self.current(), Relaxed);
    }

    /// Takes in the highest value that another process saw.
    pub(super) fn carry_highest(&self, highest: u32) {
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
    /// Events in the second before `second` and in it, as this shard knows them.
    fn at(&self, second: u64) -> (u64, u64) {
        match second.wrapping_sub(self.second.load(Relaxed)) {
            0 => (self.previous.load(Relaxed), self.current.load(Relaxed)),
            1 => (self.current.load(Relaxed), 0),
            _ => (0, 0),
        }
    }
}

/// Events a second over a sliding second, with the highest whole second seen.
#[derive(Default)]
pub struct Rate {
    shards: OnceLock<Box<[RateShard]>>,
    /// Events of another process in the last seconds before this one took over.
    carried: OnceLock<Box<RateShard>>,
    highest: AtomicU64,
    /// Seconds before this one count no more for the highest rate.
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

    /// Counts one at a time in milliseconds since the process's epoch.
    pub fn count(&self, now_ms: u64) {
        let second = now_ms / 1000;
        let shards = self.shards();
        let here = shard_here(shards.len());
        let (shard, shared) = (&shards[here], here + 1 == shards.len());
        let seen = shard.second.load(Relaxed);
        // Of several threads that share one, the first begins the second.
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
            // Once a second and thread: the second that ended, over all threads.
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

    /// Events in the second before that of `now_ms` and in it.
    pub(super) fn seconds(&self, now_ms: u64) -> (u64, u64) {
        let own = self.shards.get().map_or(&[][..], |shards| shards);
        own.iter()
            .chain(self.carried.get().map(|shard| &**shard))
            .map(|s| s.at(now_ms / 1000))
            .fold((0, 0), |sum, at| (sum.0 + at.0, sum.1 + at.1))
    }

    /// Events a second now.
    pub fn read(&self, now_ms: u64) -> u64 {
        let (previous, current) = self.seconds(now_ms);
        current + previous * (1000 - now_ms % 1000) / 1000
    }

    /// Takes in what another process counted: in the second before that of
    /// `now_ms`, in it, and in its highest second.
    pub(super) fn carry(&self, previous: u64, current: u64, highest: u64, now_ms: u64) {
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

    /// The highest rate seen.
    pub fn highest(&self, now_ms: u64) -> u64 {
        self.highest
            .load(Relaxed)
            .max(self.read(now_ms))
            .max(self.last_seconds())
    }

    /// The higher of the last two seconds in which anything was counted: no
    /// later event has put them into `highest`.
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

    /// Forgets the highest rate.
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
    fn the_highest_rate_is_known_also_when_nothing_followed_and_can_be_cleared() {
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
        let (counters, rate) = (Counters::default(), Rate::default());
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..10_000 {
                        counters.here().count(Tally::Requests);
                        rate.count(7000);
                    }
                });
            }
        });
        assert_eq!(counters.read(Tally::Requests), 40_000);
        assert_eq!(rate.read(7999), 40_000);
    }

    #[test]
    fn a_gauge_stops_at_its_limit_and_remembers_the_highest() {
        let gauge = Gauge::default();
        assert!(gauge.up_to(2) && gauge.up_to(2));
        assert!(!gauge.up_to(2));
        gauge.down();
        assert_eq!((gauge.current(), gauge.highest()), (1, 2));
    }

    #[test]
    fn averages_are_over_what_was_seen() {
        let counters = Counters::default();
        counters.here().times([0, 10, 20, 40]);
        counters.here().times([0, 20, 40, 80]);
        assert_eq!(counters.average_ms(Average::Connect), 15);
        assert_eq!(counters.highest_ms(Average::Total), 80);
    }
}
