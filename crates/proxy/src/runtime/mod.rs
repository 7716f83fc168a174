//! What the process shares: what its streams share ([`Process`]), and the listeners of the
//! newest configuration. `versions`
//! keeps the configurations that are alive; [`crate::running`] starts the threads and puts
//! another configuration in.

mod measured;
mod seat;
mod versions;
mod vitals;

pub use measured::Measured;
pub use seat::Seat;
pub use versions::VersionReport;
pub(crate) use vitals::{Drain, VitalsMemory};

use crate::listener::{Listening, Open};
use crate::orders::Orders;
use model::config::{Config, Proxy};
use model::thread::Process;
pub(crate) use model::thread::lock;
use std::cell::OnceCell;
use std::ops::Deref;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Waker;
use std::time::Duration;
use versions::Versions;

/// What the process shares. It lives as long as the process does.
#[derive(Debug)]
pub struct Runtime {
    /// What its streams share.
    process: Process,
    /// The listeners of the newest configuration: they change together, while this is held.
    pub(crate) listening: Mutex<Arc<Open>>,
    /// Held by who edits lists, and while another configuration becomes the newest.
    lists: Mutex<()>,
    /// Held while a configuration is replaced: one change at a time.
    pub(crate) changing: Mutex<()>,
    /// Orders of operators that replace values of the file.
    pub(crate) orders: Mutex<Orders>,
    /// What is measured over a second.
    samples: Mutex<measured::Samples>,
    /// Notified when an operator has added or removed servers.
    pub edited: tokio::sync::Notify,
    versions: Versions,
    /// Whom to wake on each thread when there is a newer configuration.
    followers: Vec<Mutex<Option<Waker>>>,
    /// Threads that were ever started: those beyond `threads` rest.
    pub(crate) started_threads: AtomicUsize,
    /// Processors that the process may use.
    pub(crate) cpus: Vec<u32>,
    /// The same as the file has it, which an operator may have changed since.
    connections_max_of_file: AtomicU32,
    /// The memory shared with the role that moves virtual addresses.
    pub(crate) vitals: VitalsMemory,
}

impl Deref for Runtime {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.process
    }
}

thread_local! {
    static RUNTIME: OnceCell<&'static Runtime> = const { OnceCell::new() };
}

/// This thread serves for it from now on.
pub(crate) fn begin(runtime: &'static Runtime) {
    RUNTIME.with(|cell| {
        // A thread begins once; a second call changes nothing.
        let _ = cell.set(runtime);
    });
}

/// The one that this thread serves for.
///
/// # Panics
/// On a thread that is not of the data plane; only its tasks call this.
pub(crate) fn of_thread() -> &'static Runtime {
    RUNTIME.with(|cell| {
        *cell
            .get()
            .expect("tasks of the data plane run on its threads")
    })
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
            process: Process::new(config, threads, connections_max),
            listening: Mutex::default(),
            lists: Mutex::default(),
            changing: Mutex::default(),
            orders: Mutex::default(),
            samples: Mutex::default(),
            edited: tokio::sync::Notify::new(),
            versions,
            followers: (0..reactor::THREADS_MAX)
                .map(|_| Mutex::default())
                .collect(),
            started_threads: AtomicUsize::new(0),
            cpus: cpus(),
            connections_max_of_file: AtomicU32::new(connections_max),
            vitals: Default::default(),
        }))
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
        Arc::clone(&lock(&self.listening))
    }

    /// While this is held no other configuration becomes the newest: for who
    /// edits the lists of the newest one, on a thread that may take its time.
    pub(crate) fn hold_lists(&self) -> MutexGuard<'_, ()> {
        lock(&self.lists)
    }

    /// The newest configuration and its listeners.
    pub(crate) fn newest(&self) -> (Arc<Config>, Arc<Open>) {
        let listening = lock(&self.listening);
        (self.config(), Arc::clone(&listening))
    }

    /// Makes the kernel refuse clients of disabled frontends, and accept those of the others.
    pub(crate) fn apply_frontend_states(&self) {
        let (config, open) = self.newest();
        crate::listener::apply_frontend_states(&config, open.iter().map(|(_, one)| one));
    }

    /// From now on this is the newest; the threads are told.
    pub(crate) fn publish(&self, config: Arc<Config>, listening: Arc<Open>) {
        self.versions.add(Arc::clone(&config));
        let before = {
            let mut now = lock(&self.listening);
            let config = self.process.replace(config);
            (config, std::mem::replace(&mut *now, listening))
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

    /// Whether a frontend takes new sessions.
    pub fn takes(&self, frontend: &Proxy) -> bool {
        !frontend.state.frontend.paused.load(Ordering::Relaxed)
            && !frontend.state.is_shut_down()
            && frontend.state.frontend.sessions.current() < maxconn(frontend)
            && self.connections.current() < self.connections_max.load(Ordering::Relaxed)
    }
}

/// How long a thread may take to end what it is about.
const TURN_MAX: Duration = Duration::from_secs(1);

/// `maxconn` of a frontend as it stands.
pub fn maxconn(frontend: &Proxy) -> u32 {
    match frontend.state.frontend.maxconn_set.load(Ordering::Relaxed) {
        0 => frontend.maxconn.unwrap_or(u32::MAX),
        set => set,
    }
}

/// The processors that this thread, and so those that it starts, may use.
fn cpus() -> Vec<u32> {
    use rustix::thread::{CpuSet, sched_getaffinity};
    let allowed = sched_getaffinity(None).unwrap_or_else(|_| CpuSet::new());
    (0..CpuSet::MAX_CPU as u32)
        .filter(|cpu| allowed.is_set(*cpu as usize))
        .collect()
}

/// `cpu-map`: pins this thread to processors. Those that the machine does not have are
/// ignored; with none left, the thread runs on any.
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
