//! The threads of the data plane, from their start to their end. `change` puts another
//! configuration in, `servers` a copy of the newest that an operator has edited.

mod change;
mod servers;

pub use change::Changed;

use crate::listener::{self, Listening, Open};
use crate::runtime::{Runtime, lock};
use crate::{vitals, worker};
use model::balance;
use model::config::Config;
use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;

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
    reactor::set_pipes_max(config.global.pipes_max.unwrap_or(reactor::PIPES_MAX));
    reactor::set_shards(threads);
    tls::resume::set_limits(&config.global.tls);
    balance::prepare(&config, None);
    model::rules::set_up_process(&config);
    listener::apply_frontend_states(&config, &listening);
    listener::note_unopened(&config, &listening);
    let runtime = Runtime::leak(config, threads, options.connections_max);
    *lock(&runtime.listening) = Arc::new(Open::following(listening, &Open::default()));
    let running = Running {
        runtime,
        threads: Mutex::default(),
    };
    running
        .start_threads(threads)
        .inspect_err(|_| running.stop())?;
    Ok(running)
}

impl Running {
    /// Starts threads until there are so many, and waits until each runs its
    /// loop. Those that were started before one that could not be only rest.
    fn start_threads(&self, threads: usize) -> io::Result<()> {
        let runtime = self.runtime;
        for thread in runtime.started_threads.load(Ordering::Relaxed)..threads {
            let (ready, started) = mpsc::channel();
            let builder = std::thread::Builder::new().name(format!("proxy/{thread}"));
            let handle = builder.spawn(move || {
                reactor::set_shard(thread);
                reactor::run(thread, || {
                    worker::begin(runtime, thread);
                    // Nobody listens only where the start was given up.
                    let _ = ready.send(());
                })
            })?;
            if started.recv().is_err() {
                // It ended before its loop began, and says why.
                let ended = handle.join().unwrap_or(Ok(()));
                return Err(ended.err().unwrap_or_else(|| io::ErrorKind::Other.into()));
            }
            lock(&self.threads).push(handle);
            runtime.started_threads.store(thread + 1, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Takes no new connections; what is there finishes. [`Running::wait`]
    /// returns when the last one ended.
    pub fn soft_stop(&self) {
        let now_ms = self.runtime.now_ms();
        self.runtime
            .ending
            .stopping_at_ms
            .store(now_ms, Ordering::Relaxed);
        self.runtime.ending.stopping.store(true, Ordering::Release);
        vitals::rest(self.runtime);
        // A change that is under way has started its threads.
        let _one = lock(&self.runtime.changing);
        // Closed with the last accept loop.
        *lock(&self.runtime.listening) = Arc::default();
        for thread in 0..self.runtime.started_threads.load(Ordering::Relaxed) {
            // Waiting tasks check whether the process is stopping.
            reactor::wake_all(thread);
        }
    }

    /// Leaves new connections to another process that has the same listeners, or
    /// accepts them again. What the kernel has woken this process for is taken.
    pub fn leave_listeners(&self, leave: bool) {
        self.runtime
            .ending
            .elsewhere
            .store(leave, Ordering::Relaxed);
        if !leave {
            // Another one may have said meanwhile that it serves.
            vitals::claim(self.runtime);
            // The end of the pause enables frontends that an operator disabled, too.
            self.runtime.apply_frontend_states();
        }
        for thread in 0..self.runtime.started_threads.load(Ordering::Relaxed) {
            // A loop that sleeps would be woken for connections that it does
            // not take, and nobody else would be.
            reactor::wake_all(thread);
        }
    }

    /// Ends the threads now, with all their connections.
    pub fn stop(&self) {
        for thread in 0..self.runtime.started_threads.load(Ordering::Relaxed) {
            reactor::stop(thread);
        }
    }

    /// Waits until all threads have ended. One waits, while others may still
    /// ask for the end; who comes second finds nothing to wait for.
    pub fn wait(&self) -> io::Result<()> {
        let mut result = Ok(());
        loop {
            // A change may start more meanwhile.
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
