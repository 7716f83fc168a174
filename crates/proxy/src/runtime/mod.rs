//! What the process shares: the newest configuration and its own counters. `versions`
//! keeps the configurations that are alive; [`crate::running`] starts the threads and puts
//! another configuration in.

mod measured;
mod versions;

pub use measured::Measured;
pub use versions::VersionReport;

use crate::config::{Config, Proxy};
use crate::listener::{Listening, Open};
use crate::state::Counters;
use crate::vitals;
use reactor::{self, Instant};
use reactor::{Gauge, Rate};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::{Duration, SystemTime};
use versions::Versions;

/// The newest configuration and its listeners: they change together.
#[derive(Clone, Debug)]
pub(crate) struct Newest {
    config: Arc<Config>,
    pub(crate) listening: Arc<Open>,
}

/// What the process shares. It lives as long as the process does.
#[derive(Debug)]
pub struct Runtime {
    pub(crate) newest: Mutex<Newest>,
    /// Held by who edits lists, and while another configuration becomes the newest.
    lists: Mutex<()>,
    /// Held while a configuration is replaced: one change at a time.
    pub(crate) changing: Mutex<()>,
    /// What is measured over a second.
    samples: Mutex<measured::Samples>,
    /// Notified when an operator has added or removed servers.
    pub edited: tokio::sync::Notify,
    generation: AtomicU64,
    versions: Versions,
    /// Whom to wake on each thread when there is a newer configuration.
    followers: Vec<Mutex<Option<Waker>>>,
    /// When it began to serve.
    pub started: Instant,
    /// The same by the wall clock.
    pub started_at: SystemTime,
    pub(crate) threads: AtomicUsize,
    /// Threads that were ever started: those beyond `threads` rest.
    pub(crate) started_threads: AtomicUsize,
    /// Files that the process may have open.
    pub files_max: u64,
    /// Processors that the process may use.
    pub(crate) cpus: Vec<u32>,
    /// Clients' connections now, and the most there were.
    pub connections: Gauge,
    /// Most connections of clients at one time.
    pub connections_max: AtomicU32,
    /// The same as the file has it, which an operator may have changed since.
    connections_max_of_file: AtomicU32,
    /// Counters of the process.
    pub counters: Counters,
    /// Connections a second.
    pub connection_rate: Rate,
    /// Sessions a second.
    pub session_rate: Rate,
    stream_ids: AtomicU64,
    pub(crate) stopping: AtomicBool,
    /// Another process accepts from the same listeners.
    pub(crate) elsewhere: AtomicBool,
    /// When that began, as [`Runtime::now_ms`] counts.
    pub(crate) stopping_at_ms: AtomicU64,
    /// Names of hosts that are asked for while it serves.
    pub names: crate::resolvers::Names,
    /// What is shared with whoever moves virtual addresses.
    pub(crate) vitals: vitals::Shared,
}

impl Runtime {
    /// What a process shares that begins to serve now.
    pub(crate) fn leak(
        config: Arc<Config>,
        threads: usize,
        connections_max: u32,
    ) -> &'static Runtime {
        let versions = Versions::default();
        versions.add(Arc::clone(&config));
        Box::leak(Box::new(Runtime {
            generation: AtomicU64::new(config.version),
            newest: Mutex::new(Newest {
                config,
                listening: Arc::default(),
            }),
            lists: Mutex::default(),
            changing: Mutex::default(),
            samples: Mutex::default(),
            edited: tokio::sync::Notify::new(),
            versions,
            followers: (0..reactor::THREADS_MAX)
                .map(|_| Mutex::default())
                .collect(),
            started: Instant::now(),
            started_at: SystemTime::now(),
            threads: AtomicUsize::new(threads),
            started_threads: AtomicUsize::new(0),
            files_max: files_max(),
            cpus: cpus(),
            connections: Gauge::default(),
            connections_max: AtomicU32::new(connections_max),
            connections_max_of_file: AtomicU32::new(connections_max),
            counters: Counters::default(),
            connection_rate: Rate::default(),
            session_rate: Rate::default(),
            stream_ids: AtomicU64::new(0),
            stopping: AtomicBool::new(false),
            elsewhere: AtomicBool::new(false),
            stopping_at_ms: AtomicU64::new(0),
            names: Default::default(),
            vitals: Default::default(),
        }))
    }

    /// The newest configuration.
    pub fn config(&self) -> Arc<Config> {
        Arc::clone(&lock(&self.newest).config)
    }

    /// The listeners that are served, with their descriptors; none while the
    /// process is stopping.
    pub fn listeners(&self) -> Vec<Listening> {
        let open = self.listening();
        open.iter()
            .map(|(_, listening)| listening.clone())
            .collect()
    }

    /// The same, by their sockets.
    pub(crate) fn listening(&self) -> Arc<Open> {
        Arc::clone(&lock(&self.newest).listening)
    }

    /// While this is held no other configuration becomes the newest: for who
    /// edits the lists of the newest one, on a thread that may take its time.
    pub(crate) fn hold_lists(&self) -> MutexGuard<'_, ()> {
        lock(&self.lists)
    }

    /// The newest configuration and its listeners.
    pub(crate) fn newest(&self) -> (Arc<Config>, Arc<Open>) {
        let newest = lock(&self.newest).clone();
        (newest.config, newest.listening)
    }

    /// From now on this is the newest; the threads are told.
    pub(crate) fn publish(&self, config: Arc<Config>, listening: Arc<Open>) {
        self.versions.add(Arc::clone(&config));
        let version = config.version;
        let newest = Newest { config, listening };
        let before = {
            let mut now = lock(&self.newest);
            // Whoever finds the newest one there must not take it for an older.
            self.generation.store(version, Ordering::Release);
            std::mem::replace(&mut *now, newest)
        };
        for follower in &self.followers {
            if let Some(waker) = &*lock(follower) {
                waker.wake_by_ref();
            }
        }
        drop(before);
    }

    /// Remembers whom to wake on a thread when there is a newer configuration.
    pub(crate) fn follow(&self, thread: usize, waker: &Waker) {
        if let Some(follower) = self.followers.get(thread) {
            *lock(follower) = Some(waker.clone());
        }
    }

    /// Threads of the data plane that take connections.
    pub fn threads(&self) -> usize {
        self.threads.load(Ordering::Relaxed)
    }

    /// Waits until every thread has ended what it was about, so that what a client has
    /// the end of is also counted; but not for a thread that hangs.
    pub(crate) async fn turn(&self) {
        let (under_way, mut ended) = tokio::sync::mpsc::channel::<()>(1);
        for thread in 0..self.started_threads.load(Ordering::Relaxed) {
            let under_way = under_way.clone();
            // One that takes no more jobs is not waited for.
            let _ = reactor::inject(thread, move || drop(under_way));
        }
        drop(under_way);
        let _ = tokio::time::timeout(TURN_MAX, ended.recv()).await;
    }

    /// The configurations that are alive, the newest last.
    pub fn versions(&self) -> Vec<VersionReport> {
        self.versions.report()
    }

    /// Whether there are configurations to forget.
    pub fn has_unused(&self) -> bool {
        self.versions.has_unused()
    }

    /// Frees the configurations that nobody holds any more, on this thread,
    /// which is none that serves. Says how many they were.
    pub fn forget_unused(&self) -> usize {
        self.versions.forget_unused()
    }

    /// The file's limit of connections. What an operator set since the last
    /// file stays where this one says what that one said.
    pub(crate) fn set_connections_max(&self, of_file: u32) {
        if self
            .connections_max_of_file
            .swap(of_file, Ordering::Relaxed)
            != of_file
        {
            self.connections_max.store(of_file, Ordering::Relaxed);
        }
    }

    /// The limit of connections as the newest file and the system have it.
    pub fn connections_max_of_file(&self) -> u32 {
        self.connections_max_of_file.load(Ordering::Relaxed)
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
        self.stopping.load(Ordering::Relaxed)
    }

    /// Whether listeners are left to another process that has them, too.
    pub fn elsewhere(&self) -> bool {
        self.elsewhere.load(Ordering::Relaxed)
    }

    /// Since when, as [`Runtime::now_ms`] counts.
    pub fn stopping_since_ms(&self) -> Option<u64> {
        let stopping = self.stopping.load(Ordering::Acquire);
        stopping.then(|| self.stopping_at_ms.load(Ordering::Relaxed))
    }

    /// Milliseconds since it began to serve: the time of [`Rate`]s.
    pub fn now_ms(&self) -> u64 {
        Instant::now()
            .saturating_duration_since(self.started)
            .as_millis() as u64
    }

    /// Whether a frontend takes new sessions.
    pub fn takes(&self, frontend: &Proxy) -> bool {
        !frontend.state.paused.load(Ordering::Relaxed)
            && !frontend.state.is_shut_down()
            && frontend.state.frontend_sessions.current() < maxconn(frontend)
            && self.connections.current() < self.connections_max.load(Ordering::Relaxed)
    }
}

/// A lock of something that is whole also after a panic.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How long a thread may take to end what it is about.
const TURN_MAX: Duration = Duration::from_secs(1);

/// Ids that a thread takes at once.
pub(crate) const STREAM_ID_BLOCK: u64 = 1 << 16;

/// `maxconn` of a frontend as it stands.
pub fn maxconn(frontend: &Proxy) -> u32 {
    match frontend.state.maxconn_set.load(Ordering::Relaxed) {
        0 => frontend.maxconn.unwrap_or(u32::MAX),
        set => set,
    }
}

/// Files that the process may have open; no limit where that cannot be known.
fn files_max() -> u64 {
    rustix::process::getrlimit(rustix::process::Resource::Nofile)
        .current
        .unwrap_or(u64::MAX)
}

/// The processors that this thread, and so those that it starts, may use.
fn cpus() -> Vec<u32> {
    use rustix::thread::{CpuSet, sched_getaffinity};
    let allowed = sched_getaffinity(None).unwrap_or_else(|_| CpuSet::new());
    (0..CpuSet::MAX_CPU as u32)
        .filter(|cpu| allowed.is_set(*cpu as usize))
        .collect()
}

/// `cpu-map`: keeps this thread to some processors. Those that the machine does
/// not have are passed over; with none left it runs where the system wants.
pub(crate) fn keep_to(cpus: &[u32]) {
    use rustix::thread::{CpuSet, sched_setaffinity};
    let mut set = CpuSet::new();
    for cpu in cpus
        .iter()
        .map(|cpu| *cpu as usize)
        .filter(|cpu| *cpu < CpuSet::MAX_CPU)
    {
        set.set(cpu);
    }
    // Refused when the machine has none of them, which was told at the start.
    let _ = sched_setaffinity(None, &set);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_has_the_newest_configuration_finds_it_to_be_that() {
        let numbered = |version| {
            Arc::new(Config {
                version,
                ..Config::default()
            })
        };
        let runtime = Runtime::leak(numbered(1), 1, 10);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for version in 2..20_000 {
                    runtime.publish(numbered(version), Arc::default());
                    runtime.forget_unused();
                }
            });
            let mut last = 1;
            while last < 19_999 {
                let (config, _) = runtime.newest();
                assert!(runtime.generation() >= config.version);
                last = config.version;
            }
        });
    }
}
