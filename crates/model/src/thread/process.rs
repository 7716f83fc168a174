//! What the streams of all threads share: the newest configuration and the counters of the
//! process.

use crate::config::Config;
use crate::names::Names;
use crate::state::Counters;
use reactor::{Gauge, Instant, Rate};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

/// Ids that a thread takes at once.
pub(crate) const STREAM_ID_BLOCK: u64 = 1 << 16;

/// What the process shares with its streams. It lives as long as the process does.
#[derive(Debug)]
pub struct Process {
    newest: Mutex<Arc<Config>>,
    generation: AtomicU64,
    /// When it began to serve.
    pub started: Instant,
    /// The same by the wall clock.
    pub started_at: SystemTime,
    /// Threads that serve.
    pub threads: AtomicUsize,
    /// Files that the process may have open.
    pub files_max: u64,
    /// Clients' connections now, and the most there were.
    pub connections: Gauge,
    /// Most connections of clients at one time.
    pub connections_max: AtomicU32,
    /// Counters of the process.
    pub counters: Counters,
    /// Connections a second.
    pub connection_rate: Rate,
    /// Sessions a second.
    pub session_rate: Rate,
    stream_ids: AtomicU64,
    /// The process gives up its listeners, or stops.
    pub ending: Ending,
    /// Host names that are resolved while the process serves.
    pub names: Names,
}

/// How far the process gives up what it serves.
#[derive(Debug, Default)]
pub struct Ending {
    /// The process is stopping.
    pub stopping: AtomicBool,
    /// Another process accepts from the same listeners.
    pub elsewhere: AtomicBool,
    /// When it began to stop, as [`Process::now_ms`] counts.
    pub stopping_at_ms: AtomicU64,
}

impl Process {
    /// One that begins to serve now.
    pub fn new(config: Arc<Config>, threads: usize, connections_max: u32) -> Process {
        Process {
            generation: AtomicU64::new(config.version),
            newest: Mutex::new(config),
            started: Instant::now(),
            started_at: SystemTime::now(),
            threads: AtomicUsize::new(threads),
            files_max: files_max(),
            connections: Gauge::default(),
            connections_max: AtomicU32::new(connections_max),
            counters: Counters::default(),
            connection_rate: Rate::default(),
            session_rate: Rate::default(),
            stream_ids: AtomicU64::new(0),
            ending: Ending::default(),
            names: Names::default(),
        }
    }

    /// From now on this is the newest configuration. Returns the one before.
    pub fn replace(&self, config: Arc<Config>) -> Arc<Config> {
        let mut newest = lock(&self.newest);
        // A reader that finds the newest version there must not take it for an older one.
        self.generation.store(config.version, Ordering::Release);
        std::mem::replace(&mut *newest, config)
    }

    /// The newest configuration.
    pub fn config(&self) -> Arc<Config> {
        Arc::clone(&lock(&self.newest))
    }

    /// Threads of the data plane that take connections.
    pub fn threads(&self) -> usize {
        self.threads.load(Ordering::Relaxed)
    }

    /// Which configuration is the newest; a worker compares it for each request.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// A block of stream ids for one thread.
    pub(crate) fn stream_id_block(&self) -> u64 {
        self.stream_ids
            .fetch_add(STREAM_ID_BLOCK, Ordering::Relaxed)
    }

    /// Whether it only finishes what it has.
    pub fn stopping(&self) -> bool {
        self.ending.stopping.load(Ordering::Relaxed)
    }

    /// Whether listeners are left to another process that has them, too.
    pub fn elsewhere(&self) -> bool {
        self.ending.elsewhere.load(Ordering::Relaxed)
    }

    /// Since when, as [`Process::now_ms`] counts.
    pub fn stopping_since_ms(&self) -> Option<u64> {
        let stopping = self.ending.stopping.load(Ordering::Acquire);
        stopping.then(|| self.ending.stopping_at_ms.load(Ordering::Relaxed))
    }

    /// Milliseconds since it began to serve: the time of [`Rate`]s.
    pub fn now_ms(&self) -> u64 {
        Instant::now()
            .saturating_duration_since(self.started)
            .as_millis() as u64
    }
}

/// A lock of something that is whole also after a panic.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Files that the process may have open; no limit where that cannot be known.
fn files_max() -> u64 {
    rustix::process::getrlimit(rustix::process::Resource::Nofile)
        .current
        .unwrap_or(u64::MAX)
}
