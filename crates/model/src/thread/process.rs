//! Holds the state that all threads share: the newest configuration and the counters of the
//! process.

use crate::config::Config;
use crate::names::NameResolver;
use crate::state::Counters;
use reactor::{Gauge, Instant, Rate};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

/// Number of stream ids that a thread allocates at once.
pub(crate) const STREAM_ID_BLOCK: u64 = 1 << 16;

/// State that the process shares with its streams. It lives until the process exits.
#[derive(Debug)]
pub struct ProcessState {
    newest: Mutex<Arc<Config>>,
    generation: AtomicU64,
    pub started: Instant,
    /// Start of service by the wall clock.
    pub started_at: SystemTime,
    pub threads: AtomicUsize,
    pub files_max: u64,
    /// Current client connections, and their maximum so far.
    pub connections: Gauge,
    pub connections_max: AtomicU32,
    pub counters: Counters,
    pub connection_rate: Rate,
    pub session_rate: Rate,
    stream_ids: AtomicU64,
    pub ending: ShutdownProgress,
    pub names: NameResolver,
}

/// Progress of the shutdown, or of passing the listeners to another process.
#[derive(Debug, Default)]
pub struct ShutdownProgress {
    pub stopping: AtomicBool,
    /// True once another process accepts from the same listeners.
    pub has_successor: AtomicBool,
    /// Start of the shutdown, in the time of [`ProcessState::now_ms`].
    pub stopping_at_ms: AtomicU64,
}

impl ProcessState {
    pub fn new(config: Arc<Config>, threads: usize, connections_max: u32) -> ProcessState {
        ProcessState {
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
            ending: ShutdownProgress::default(),
            names: NameResolver::default(),
        }
    }

    /// Installs the newest configuration. Returns the previous one.
    pub fn replace(&self, config: Arc<Config>) -> Arc<Config> {
        let mut newest = lock(&self.newest);
        // Stores the number before the configuration, so that no thread finds the new configuration
        // with the old number.
        self.generation.store(config.version, Ordering::Release);
        std::mem::replace(&mut *newest, config)
    }

    pub fn config(&self) -> Arc<Config> {
        Arc::clone(&lock(&self.newest))
    }

    /// Returns the number of threads that accept connections.
    pub fn threads(&self) -> usize {
        self.threads.load(Ordering::Relaxed)
    }

    /// Returns the number of the newest configuration, which a thread compares for each request.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    pub(crate) fn stream_id_block(&self) -> u64 {
        self.stream_ids
            .fetch_add(STREAM_ID_BLOCK, Ordering::Relaxed)
    }

    /// Returns whether the process is stopping and only finishes its sessions.
    pub fn stopping(&self) -> bool {
        self.ending.stopping.load(Ordering::Relaxed)
    }

    pub fn has_successor(&self) -> bool {
        self.ending.has_successor.load(Ordering::Relaxed)
    }

    /// Returns the start of the shutdown, as in [`ProcessState::now_ms`]; None if not stopping.
    pub fn stopping_since_ms(&self) -> Option<u64> {
        let stopping = self.ending.stopping.load(Ordering::Acquire);
        stopping.then(|| self.ending.stopping_at_ms.load(Ordering::Relaxed))
    }

    /// Returns the milliseconds since the process began to serve, the time of [`Rate`]s.
    pub fn now_ms(&self) -> u64 {
        Instant::now()
            .saturating_duration_since(self.started)
            .as_millis() as u64
    }
}

/// Locks a mutex and ignores poisoning. Only for data that is consistent even after a panic.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn files_max() -> u64 {
    rustix::process::getrlimit(rustix::process::Resource::Nofile)
        .current
        .unwrap_or(u64::MAX)
}
