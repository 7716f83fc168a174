//! Holds the state that all threads of the process share: the state for streams
//! ([`ProcessState`]), and the listeners of the newest configuration. `versions` keeps the
//! configurations still in use. [`crate::running`] starts the threads and installs new
//! configurations.

mod measured;
mod seat;
mod versions;
mod vitals;

pub use measured::Measured;
pub use seat::ClientPermit;
pub use versions::VersionReport;
pub(crate) use vitals::{Drain, VitalsMemory};

use crate::listener::{Listening, OpenListeners};
use crate::orders::OperatorOverrides;
use model::config::{Config, Proxy};
use model::thread::ProcessState;
pub(crate) use model::thread::lock;
use std::cell::OnceCell;
use std::ops::Deref;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Waker;
use std::time::Duration;
use versions::Versions;

/// State shared by the whole process, for its lifetime.
#[derive(Debug)]
pub struct Runtime {
    process: ProcessState,
    /// Listeners of the newest configuration. The lock is held while the configuration and its
    /// listeners are replaced, so that they change together.
    pub(crate) listening: Mutex<Arc<OpenListeners>>,
    /// Locked while an operator edits lists, and while a new configuration is installed.
    lists: Mutex<()>,
    /// Locked while a configuration is replaced, so that there is one replacement at a time.
    pub(crate) changing: Mutex<()>,
    pub(crate) orders: Mutex<OperatorOverrides>,
    samples: Mutex<measured::Samples>,
    /// Notified when an operator has added or removed servers.
    pub edited: tokio::sync::Notify,
    versions: Versions,
    followers: Vec<Mutex<Option<Waker>>>,
    /// Number of threads ever started; those beyond the configured number are idle.
    pub(crate) started_threads: AtomicUsize,
    pub(crate) cpus: Vec<u32>,
    /// Connection limit of the file; an operator may have set another one.
    connections_max_of_file: AtomicU32,
    pub(crate) vitals: VitalsMemory,
}

impl Deref for Runtime {
    type Target = ProcessState;

    fn deref(&self) -> &ProcessState {
        &self.process
    }
}

thread_local! {
    static RUNTIME: OnceCell<&'static Runtime> = const { OnceCell::new() };
}

pub(crate) fn begin(runtime: &'static Runtime) {
    RUNTIME.with(|cell| {
        // Ignores a second call, because a thread begins once.
        let _ = cell.set(runtime);
    });
}

/// Returns the runtime of this thread.
///
/// # Panics
///
/// On a thread outside the data plane; only tasks of the data plane call this.
pub(crate) fn of_thread() -> &'static Runtime {
    RUNTIME.with(|cell| {
        *cell
            .get()
            .expect("tasks of the data plane run on its threads")
    })
}

impl Runtime {
    pub(crate) fn leak(
        config: Arc<Config>,
        threads: usize,
        connections_max: u32,
    ) -> &'static Runtime {
        let versions = Versions::default();
        versions.add(Arc::clone(&config));
        Box::leak(Box::new(Runtime {
            process: ProcessState::new(config, threads, connections_max),
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

    /// Returns the listeners in service with their descriptors; none while the process is
    /// stopping.
    pub fn listeners(&self) -> Vec<Listening> {
        let open = self.listening();
        open.iter()
            .map(|(_, listening)| listening.clone())
            .collect()
    }

    pub(crate) fn listening(&self) -> Arc<OpenListeners> {
        Arc::clone(&lock(&self.listening))
    }

    /// Prevents the installation of a configuration while lists of the newest one are edited. For
    /// threads that may block.
    pub(crate) fn hold_lists(&self) -> MutexGuard<'_, ()> {
        lock(&self.lists)
    }

    pub(crate) fn newest(&self) -> (Arc<Config>, Arc<OpenListeners>) {
        let listening = lock(&self.listening);
        (self.config(), Arc::clone(&listening))
    }

    /// Makes the kernel refuse connections to disabled frontends, and accept those to the others.
    pub(crate) fn apply_frontend_states(&self) {
        let (config, open) = self.newest();
        crate::listener::apply_frontend_states(&config, open.iter().map(|(_, one)| one));
    }

    pub(crate) fn publish(&self, config: Arc<Config>, listening: Arc<OpenListeners>) {
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

    /// Registers the waker that is woken when a newer configuration is installed.
    pub(crate) fn follow(&self, thread: usize, waker: &Waker) {
        if let Some(follower) = self.followers.get(thread) {
            *lock(follower) = Some(waker.clone());
        }
    }

    /// Waits until every thread has finished the current turn of its event loop. What a client has
    /// received is then also counted. Does not wait for a thread that hangs.
    pub(crate) async fn turn(&self) {
        let (under_way, mut ended) = tokio::sync::mpsc::channel::<()>(1);
        for thread in 0..self.started_threads.load(Ordering::Relaxed) {
            let under_way = under_way.clone();
            // Waits for no thread that refuses the job.
            let _ = reactor::inject(thread, move || drop(under_way));
        }
        drop(under_way);
        let _ = tokio::time::timeout(TURN_MAX, ended.recv()).await;
    }

    /// Returns the configurations still in use, the newest last.
    pub fn versions(&self) -> Vec<VersionReport> {
        self.versions.report()
    }

    pub fn has_unused(&self) -> bool {
        self.versions.has_unused()
    }

    /// Frees the configurations that nothing uses any longer. The calling thread must not serve
    /// clients. Returns their number.
    pub fn forget_unused(&self) -> usize {
        self.versions.forget_unused()
    }

    /// Sets the connection limit of the file. A limit that an operator has set stays if the file's
    /// limit is unchanged.
    pub(crate) fn set_connections_max(&self, of_file: u32) {
        if self
            .connections_max_of_file
            .swap(of_file, Ordering::Relaxed)
            != of_file
        {
            self.connections_max.store(of_file, Ordering::Relaxed);
        }
    }

    /// Returns the connection limit that the file and the system allow.
    pub fn connections_max_of_file(&self) -> u32 {
        self.connections_max_of_file.load(Ordering::Relaxed)
    }

    /// Returns whether a frontend may accept a session: it is neither paused nor shut down, and
    /// neither its connection limit nor that of the process is reached.
    pub fn takes(&self, frontend: &Proxy) -> bool {
        !frontend.state.frontend.paused.load(Ordering::Relaxed)
            && !frontend.state.is_shut_down()
            && frontend.state.frontend.sessions.current() < maxconn(frontend)
            && self.connections.current() < self.connections_max.load(Ordering::Relaxed)
    }
}

/// Maximum wait for a thread to finish its current turn.
const TURN_MAX: Duration = Duration::from_secs(1);

/// Returns the effective `maxconn` of a frontend.
pub fn maxconn(frontend: &Proxy) -> u32 {
    match frontend.state.frontend.maxconn_set.load(Ordering::Relaxed) {
        0 => frontend.maxconn.unwrap_or(u32::MAX),
        set => set,
    }
}

/// Returns the CPUs that this thread, and those that it starts, may use.
fn cpus() -> Vec<u32> {
    use rustix::thread::{CpuSet, sched_getaffinity};
    let allowed = sched_getaffinity(None).unwrap_or_else(|_| CpuSet::new());
    (0..CpuSet::MAX_CPU as u32)
        .filter(|cpu| allowed.is_set(*cpu as usize))
        .collect()
}

/// Pins this thread to CPUs (`cpu-map`). CPUs that the machine does not have are ignored;
/// with none left, the thread runs on any.
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
    // Ignores a failure, which means that the machine has none of the CPUs; the start reported
    // that.
    let _ = sched_setaffinity(None, &set);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newest_configuration_is_recognised_as_newest() {
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
