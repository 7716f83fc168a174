//! Implements the counters of one object, such as a proxy or server. See [`super`] for the
//! threads that write them.

use super::latency::{self, Latency, Percentiles};
use reactor::{shard_count, shard_here};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

/// Counted events; the same list for frontends, backends, servers and listeners. `proxy::stats`
/// maps them to HAProxy's statistics columns.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(usize)]
pub enum Tally {
    /// `stot` of frontends (streams), backends and servers.
    Sessions,
    Connections,
    BytesIn,
    BytesOut,
    Requests,
    /// `dreq`: requests denied by rules.
    DeniedRequests,
    /// `dresp`: responses denied by rules.
    DeniedResponses,
    /// `dcon`: connections rejected by `tcp-request connection`.
    DeniedConnections,
    /// `dses`: sessions rejected by `tcp-request session`.
    DeniedSessions,
    RequestErrors,
    ConnectErrors,
    ResponseErrors,
    Retries,
    Redispatches,
    Status1xx,
    Status2xx,
    Status3xx,
    Status4xx,
    Status5xx,
    StatusOther,
    ClientAborts,
    ServerAborts,
    /// `lbtot`: number of times that balancing chose the server.
    Chosen,
    /// Requests to which the proxy itself responded (`intercepted`).
    Intercepted,
    /// `connect`: connection attempts to servers.
    Connects,
    /// `reuse`: requests sent over an idle connection.
    Reuses,
    CheckFailures,
    WentDown,
    /// Failures that `observe` found in the traffic of clients (`hanafail`).
    HealthAnalyseFailures,
    RewriteFailures,
    InternalErrors,
    TlsSessions,
    TlsResumed,
    TlsFailed,
    /// Bytes before compression (`comp_in`).
    CompressedIn,
    /// Bytes after compression (`comp_out`).
    CompressedOut,
    /// Bytes that bypassed compression (`comp_byp`).
    CompressionBypassed,
    CompressedAnswers,
    CacheLookups,
    CacheHits,
    /// HTTP/2 connections of clients (`h2_total_connections`).
    Http2Connections,
    /// Requests on HTTP/2 connections (`h2_backend_total_streams`).
    Http2Streams,
}

pub const TALLIES: usize = Tally::Http2Streams as usize + 1;

/// A time whose sliding average over the last [`AVERAGE_WINDOW`] streams is computed for each
/// thread.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(usize)]
pub enum Average {
    Queue,
    Connect,
    /// Time until the head of the response.
    Response,
    Total,
}

pub const AVERAGES: usize = 4;
/// Number of streams of a thread in the window of the averages.
pub const AVERAGE_WINDOW: u64 = 1024;

/// The part of an object's [`Counters`] that one thread writes.
#[repr(align(128))]
pub struct Shard {
    tallies: [AtomicU64; TALLIES],
    sums: [AtomicU64; AVERAGES],
    highest: [AtomicU64; AVERAGES],
    samples: AtomicU64,
    /// Durations of requests, allocated at the first one.
    latency: OnceLock<Box<Latency>>,
    /// True if several threads write this part.
    shared: bool,
}

impl Default for Shard {
    fn default() -> Self {
        Shard {
            tallies: [const { AtomicU64::new(0) }; TALLIES],
            sums: [const { AtomicU64::new(0) }; AVERAGES],
            highest: [const { AtomicU64::new(0) }; AVERAGES],
            samples: AtomicU64::new(0),
            latency: OnceLock::new(),
            shared: false,
        }
    }
}

impl Shard {
    /// Adds to a counter. Only the thread to which this part belongs may call this, unless the
    /// part is shared.
    pub fn add(&self, tally: Tally, n: u64) {
        self.change(&self.tallies[tally as usize], |value| value.wrapping_add(n));
    }

    /// Changes a cell, without a locked instruction if only this thread writes it.
    #[inline]
    fn change(&self, cell: &AtomicU64, change: impl Fn(u64) -> u64) {
        if self.shared {
            // The closure never returns None, so the update cannot fail.
            let _ = cell.fetch_update(Relaxed, Relaxed, |value| Some(change(value)));
        } else {
            cell.store(change(cell.load(Relaxed)), Relaxed);
        }
    }

    pub fn count(&self, tally: Tally) {
        self.add(tally, 1);
    }

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

    /// Adds the times of a stream in milliseconds, in the order of [`Average`].
    pub fn times(&self, times_ms: [u64; AVERAGES]) {
        // Removes an average sample from the sum only once the window is full.
        let is_full = self.samples.load(Relaxed) >= AVERAGE_WINDOW;
        self.change(&self.samples, |samples| samples + 1);
        for (n, ms) in times_ms.into_iter().enumerate() {
            self.change(&self.sums[n], |sum| {
                if is_full {
                    sum - sum / AVERAGE_WINDOW + ms
                } else {
                    sum + ms
                }
            });
            if ms > self.highest[n].load(Relaxed) {
                self.change(&self.highest[n], |highest| highest.max(ms));
            }
        }
        self.took(times_ms[Average::Total as usize]);
    }

    /// Adds the duration of a stream for [`Counters::percentiles`].
    pub fn took(&self, ms: u64) {
        let latency = self.latency.get_or_init(Default::default);
        latency.take(ms, |cell: &AtomicU32, change: &dyn Fn(u32) -> u32| {
            if self.shared {
                // The closure never returns None, so the update cannot fail.
                let _ = cell.fetch_update(Relaxed, Relaxed, |value| Some(change(value)));
            } else {
                cell.store(change(cell.load(Relaxed)), Relaxed);
            }
        });
    }
}

/// Tallies of one object (a frontend, a server, …).
#[derive(Default)]
pub struct Counters {
    shards: OnceLock<Box<[Shard]>>,
    /// Counts that a previous process passed on (see `proxy::carry`); any thread may add to them.
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

    pub fn current_shard(&self) -> &Shard {
        let shards = self.shards();
        &shards[shard_here(shards.len())]
    }

    /// Adds one to a tally of this thread.
    #[inline]
    pub fn count(&self, tally: Tally) {
        self.current_shard().count(tally);
    }

    fn all(&self) -> impl Iterator<Item = &Shard> {
        let own = self.shards.get().map_or(&[][..], |shards| shards);
        own.iter().chain(self.carried.get().map(|shard| &**shard))
    }

    /// Returns the sum over all threads.
    pub fn read(&self, tally: Tally) -> u64 {
        self.all().fold(0, |sum, s| {
            sum.wrapping_add(s.tallies[tally as usize].load(Relaxed))
        })
    }

    /// Returns all sums, in the order of [`Tally`].
    pub fn tallies(&self) -> [u64; TALLIES] {
        let mut sums = [0u64; TALLIES];
        for shard in self.all() {
            for (sum, cell) in sums.iter_mut().zip(&shard.tallies) {
                *sum = sum.wrapping_add(cell.load(Relaxed));
            }
        }
        sums
    }

    /// Returns the maximum times, in the order of [`Average`].
    pub fn highest_times(&self) -> [u64; AVERAGES] {
        let mut highest = [0; AVERAGES];
        for shard in self.all() {
            for (most, cell) in highest.iter_mut().zip(&shard.highest) {
                *most = cell.load(Relaxed).max(*most);
            }
        }
        highest
    }

    /// Adds a count of a previous process.
    pub fn carry(&self, tally: Tally, n: u64) {
        let carried = self.carried.get_or_init(Default::default);
        carried.tallies[tally as usize].fetch_add(n, Relaxed);
    }

    /// Merges the maximum times of a previous process.
    pub fn carry_highest_times(&self, times_ms: [u64; AVERAGES]) {
        if times_ms == [0; AVERAGES] {
            return;
        }
        let carried = self.carried.get_or_init(Default::default);
        for (cell, ms) in carried.highest.iter().zip(times_ms) {
            cell.fetch_max(ms, Relaxed);
        }
    }

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

    /// Returns the percentiles of the last streams' durations, over all threads.
    pub fn percentiles(&self) -> Percentiles {
        latency::percentiles(self.all().filter_map(|shard| Some(&**shard.latency.get()?)))
    }

    pub fn highest_ms(&self, which: Average) -> u64 {
        self.all()
            .map(|s| s.highest[which as usize].load(Relaxed))
            .max()
            .unwrap_or(0)
    }

    /// Resets the maximum times (`clear counters`).
    pub fn clear_highest(&self) {
        for cell in self.all().flat_map(|s| &s.highest) {
            cell.store(0, Relaxed);
        }
    }

    /// Resets all counters (`clear counters all`). What other threads count at the same moment may
    /// be lost or stay.
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
            if let Some(latency) = shard.latency.get() {
                latency.clear();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_that_share_a_shard_lose_nothing() {
        let counters = Counters::default();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..10_000 {
                        counters.current_shard().count(Tally::Requests);
                    }
                });
            }
        });
        assert_eq!(counters.read(Tally::Requests), 40_000);
    }

    #[test]
    fn averages_are_over_what_was_seen() {
        let counters = Counters::default();
        counters.current_shard().times([0, 10, 20, 40]);
        counters.current_shard().times([0, 20, 40, 80]);
        assert_eq!(counters.average_ms(Average::Connect), 15);
        assert_eq!(counters.highest_ms(Average::Total), 80);
    }

    #[test]
    fn an_average_is_that_of_its_times_before_the_window_is_full_and_after() {
        let counters = Counters::default();
        for streams in 1..=5 * AVERAGE_WINDOW {
            counters.current_shard().times([100; AVERAGES]);
            let average = counters.average_ms(Average::Total);
            assert!(
                (100..=101).contains(&average),
                "{average} ms after {streams}"
            );
        }
        for _ in 0..10 * AVERAGE_WINDOW {
            counters.current_shard().times([20; AVERAGES]);
        }
        assert!((20..=21).contains(&counters.average_ms(Average::Total)));
    }
}
