//! What the process shares: the newest configuration, its own counters, and
//! the threads of the data plane.

use crate::config::{Config, Proxy};
use crate::listener::{self, Listening};
use crate::reactor::{self, Instant};
use crate::state::{self, Counters, Gauge, Rate};
use crate::takeover::Exposed;
use crate::worker;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::SystemTime;

/// What the process shares. It lives as long as the process does.
#[derive(Debug)]
pub struct Runtime {
    config: Mutex<Arc<Config>>,
    generation: AtomicU64,
    /// When it began to serve.
    pub started: Instant,
    /// The same by the wall clock.
    pub started_at: SystemTime,
    /// Threads of the data plane.
    pub threads: usize,
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
    /// The sockets that another process may be handed.
    pub exposed: Exposed,
    stream_ids: AtomicU64,
    stopping: AtomicBool,
}

impl Runtime {
    /// What a process shares that begins to serve now.
    pub(crate) fn leak(
        config: Arc<Config>,
        threads: usize,
        connections_max: u32,
    ) -> &'static Runtime {
        Box::leak(Box::new(Runtime {
            config: Mutex::new(config),
            generation: AtomicU64::new(1),
            started: Instant::now(),
            started_at: SystemTime::now(),
            threads,
            files_max: files_max(),
            connections: Gauge::default(),
            connections_max: AtomicU32::new(connections_max),
            counters: Counters::default(),
            connection_rate: Rate::default(),
            session_rate: Rate::default(),
            exposed: Exposed::default(),
            stream_ids: AtomicU64::new(0),
            stopping: AtomicBool::new(false),
        }))
    }

    /// The newest configuration.
    pub fn config(&self) -> Arc<Config> {
        self.config
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
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

    /// Milliseconds since it began to serve: the time of [`Rate`]s.
    pub fn now_ms(&self) -> u64 {
        Instant::now()
            .saturating_duration_since(self.started)
            .as_millis() as u64
    }

    /// Whether a frontend takes new sessions.
    pub fn takes(&self, frontend: &Proxy) -> bool {
        !frontend.state.paused.load(Ordering::Relaxed)
            && frontend.state.frontend_sessions.current() < maxconn(frontend)
            && self.connections.current() < self.connections_max.load(Ordering::Relaxed)
    }
}

/// Ids that a thread takes at once.
pub(crate) const STREAM_ID_BLOCK: u64 = 1 << 16;

/// `maxconn` of a frontend as it stands.
pub fn maxconn(frontend: &Proxy) -> u32 {
    match frontend.state.maxconn_set.load(Ordering::Relaxed) {
        0 => frontend.maxconn.unwrap_or(u32::MAX),
        set => set,
    }
}

/// A data plane that serves.
#[derive(Debug)]
pub struct Running {
    /// What it shares.
    pub runtime: &'static Runtime,
    threads: Mutex<Vec<JoinHandle<io::Result<()>>>>,
}

/// How to serve.
#[derive(Clone, Debug)]
pub struct ServeOptions {
    /// Threads of the data plane, 1 to [`reactor::THREADS_MAX`].
    pub threads: usize,
    /// Most connections of clients at one time.
    pub connections_max: u32,
}

/// Starts the threads and serves.
pub fn serve(
    config: Arc<Config>,
    listening: Vec<Listening>,
    options: &ServeOptions,
) -> io::Result<Running> {
    let threads = options.threads.clamp(1, reactor::THREADS_MAX);
    // A head that `tune.bufsize` allows must fit into one.
    let tune = &config.global.tune;
    let head_max = tune.bufsize.saturating_sub(tune.maxrewrite);
    reactor::set_buffer_size(reactor::buffer_size().max(head_max));
    state::set_shards(threads);
    let runtime = Runtime::leak(config, threads, options.connections_max);
    runtime.exposed.set_listeners(&listening);
    let mut handles = Vec::with_capacity(threads);
    for thread in 0..threads {
        let listening = listening.clone();
        let builder = std::thread::Builder::new().name(format!("proxy/{thread}"));
        let cpus = runtime.config().global.cpus_of_thread(thread as u32 + 1);
        handles.push(builder.spawn(move || {
            if let Some(cpus) = cpus {
                keep_to(&cpus);
            }
            state::set_shard(thread);
            reactor::run(thread, || {
                worker::begin(runtime, thread);
                for one in listening {
                    listener::listen(one);
                }
            })
        })?);
    }
    // The side thread's counters, and what the caller's thread counts.
    state::set_shard(threads);
    Ok(Running {
        runtime,
        threads: Mutex::new(handles),
    })
}

/// Files that the process may have open; no limit where that cannot be known.
fn files_max() -> u64 {
    rustix::process::getrlimit(rustix::process::Resource::Nofile)
        .current
        .unwrap_or(u64::MAX)
}

/// `cpu-map`: keeps this thread to some processors. Those that the machine does
/// not have are passed over; with none left it runs where the system wants.
fn keep_to(cpus: &[u32]) {
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

impl Running {
    /// Takes no new connections; what is there finishes. [`Running::wait`]
    /// returns when the last one ended.
    pub fn soft_stop(&self) {
        self.runtime.stopping.store(true, Ordering::Relaxed);
        for thread in 0..self.runtime.threads {
            // Where there is no room for the job, all tasks are woken all the
            // same, and look at `stopping`.
            if reactor::inject(thread, worker::soft_stop).is_err() {
                reactor::wake_all(thread);
            }
        }
    }

    /// Ends the threads now, with all their connections.
    pub fn stop(&self) {
        for thread in 0..self.runtime.threads {
            reactor::stop(thread);
        }
    }

    /// Waits until all threads have ended. One waits, while others may still
    /// ask for the end; who comes second finds nothing to wait for.
    pub fn wait(&self) -> io::Result<()> {
        let threads =
            std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        let mut result = Ok(());
        for thread in threads {
            match thread.join() {
                Ok(Ok(())) => {}
                Ok(Err(error)) => result = Err(error),
                Err(_) => result = Err(io::Error::other("a thread of the data plane panicked")),
            }
        }
        result
    }
}
