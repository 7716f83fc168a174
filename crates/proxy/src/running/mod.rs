//! Starts and stops the threads that serve clients. `change` installs another configuration;
//! `servers` installs a copy of the newest one that an operator has edited.

mod change;
mod servers;

pub use change::Changed;

use crate::listener::{self, Listening, OpenListeners};
use crate::runtime::{Runtime, lock};
use crate::{vitals, worker};
use model::balance;
use model::config::Config;
use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;

/// The threads that serve traffic, as started by [`serve`]. All methods may be called on any
/// thread.
///
/// Dropping the value stops nothing. [`DataPlane::soft_stop`] ends the accept loops and lets
/// connections finish, [`DataPlane::stop`] ends them, and [`DataPlane::wait`] returns when all
/// threads have ended.
#[derive(Debug)]
pub struct DataPlane {
    pub runtime: &'static Runtime,
    threads: Mutex<Vec<JoinHandle<io::Result<()>>>>,
}

#[derive(Clone, Debug)]
pub struct ServeOptions {
    /// Number of threads that serve clients, 1 to [`reactor::THREADS_MAX`].
    pub threads: usize,
    pub connections_max: u32,
}

/// Starts the threads and begins to serve.
///
/// # Errors
/// Fails if a thread cannot be spawned, or as [`reactor::run`] if its event loop cannot start.
/// Threads that have started are stopped.
pub fn serve(
    config: Arc<Config>,
    listening: Vec<Listening>,
    options: &ServeOptions,
) -> io::Result<DataPlane> {
    let threads = options.threads.clamp(1, reactor::THREADS_MAX);
    // Raises the buffer size if necessary, because a buffer must hold any head that `tune.bufsize`
    // allows.
    let tune = &config.global.tune;
    let head_max = tune.bufsize.saturating_sub(tune.maxrewrite);
    reactor::set_buffer_size(reactor::buffer_size().max(head_max));
    reactor::set_pipes_max(config.global.pipes_max.unwrap_or(reactor::PIPES_MAX));
    reactor::set_shards(threads);
    tls::resume::set_limits(&config.global.tls);
    balance::prepare(&config, None);
    model::rules::set_up_process(&config);
    listener::apply_frontend_states(&config, &listening);
    listener::note_unopened(&config, &listening);
    let runtime = Runtime::leak(config, threads, options.connections_max);
    *lock(&runtime.listening) = Arc::new(OpenListeners::following(
        listening,
        &OpenListeners::default(),
    ));
    let running = DataPlane {
        runtime,
        threads: Mutex::default(),
    };
    running
        .start_threads(threads)
        .inspect_err(|_| running.stop())?;
    Ok(running)
}

impl DataPlane {
    /// Starts further threads up to this number, and waits until each runs its event loop. If one
    /// cannot start, those already started stay idle.
    fn start_threads(&self, threads: usize) -> io::Result<()> {
        let runtime = self.runtime;
        for thread in runtime.started_threads.load(Ordering::Relaxed)..threads {
            let (ready, started) = mpsc::channel();
            let builder = std::thread::Builder::new().name(format!("proxy/{thread}"));
            let handle = builder.spawn(move || {
                reactor::set_shard(thread);
                reactor::run(thread, || {
                    worker::begin(runtime, thread);
                    // Ignores a failure, which means that the start was abandoned.
                    let _ = ready.send(());
                })
            })?;
            if started.recv().is_err() {
                // Returns the error of the thread, which ended before its event loop began.
                let ended = handle.join().unwrap_or(Ok(()));
                return Err(ended.err().unwrap_or_else(|| io::ErrorKind::Other.into()));
            }
            lock(&self.threads).push(handle);
            runtime.started_threads.store(thread + 1, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Stops accepting connections; existing ones finish. [`DataPlane::wait`] returns when the last
    /// one has ended.
    pub fn soft_stop(&self) {
        let now_ms = self.runtime.now_ms();
        self.runtime
            .ending
            .stopping_at_ms
            .store(now_ms, Ordering::Relaxed);
        self.runtime.ending.stopping.store(true, Ordering::Release);
        vitals::rest(self.runtime);
        // Waits for a configuration change in progress, so that threads that it starts are
        // included.
        let _one = lock(&self.runtime.changing);
        // Drops the sockets here; they are closed with the last accept loop.
        *lock(&self.runtime.listening) = Arc::default();
        for thread in 0..self.runtime.started_threads.load(Ordering::Relaxed) {
            // Wakes waiting tasks, which check then whether the process is stopping.
            reactor::wake_all(thread);
        }
    }

    /// Lets another process with the same listeners accept new connections (`leave`), or accepts
    /// them again. Connections that have already woken this process are accepted here.
    pub fn leave_listeners(&self, leave: bool) {
        self.runtime
            .ending
            .has_successor
            .store(leave, Ordering::Relaxed);
        if !leave {
            // Claims the shared memory, which another process may have claimed meanwhile.
            vitals::claim(self.runtime);
            // Applies the states of the frontends, because the other process may have changed the
            // sockets.
            self.runtime.apply_frontend_states();
        }
        for thread in 0..self.runtime.started_threads.load(Ordering::Relaxed) {
            // Wakes the accept tasks, so that they stop listening or listen again. Otherwise the
            // kernel would wake a sleeping task, and no other process, for connections that the
            // task does not accept.
            reactor::wake_all(thread);
        }
    }

    /// Ends the threads immediately, with all their connections.
    pub fn stop(&self) {
        for thread in 0..self.runtime.started_threads.load(Ordering::Relaxed) {
            reactor::stop(thread);
        }
    }

    /// Waits until all threads have ended. Only one caller waits; others may still request the
    /// end. A second caller finds nothing to wait for.
    ///
    /// # Errors
    /// Returns the error of an event loop that failed, or reports a thread that panicked. Of
    /// several errors one is returned, after all threads have ended.
    pub fn wait(&self) -> io::Result<()> {
        let mut result = Ok(());
        loop {
            // Looks for threads again after each one that ended, because a configuration change may
            // start more meanwhile.
            let Some(thread) = lock(&self.threads).pop() else {
                return result;
            };
            match thread.join() {
                Ok(Ok(())) => {}
                Ok(Err(error)) => result = Err(error),
                Err(_) => result = Err(io::Error::other("a thread of the data plane panicked")),
            }
        }
    }
}
