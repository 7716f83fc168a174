//! Runs the side thread: a Tokio runtime beside the data plane, for work that may wait. The thread
//! runs health checks, name resolution, peers and the operations sockets, and frees configurations
//! that nothing uses any more. So a busy thread of the data plane never marks a server down.

use super::spare;
use model::config::Config;
use model::log;
use part::voice::MessagePrinter;
use proxy::operations::{self, OperationsSocket, StatisticsSockets};
use proxy::runtime::Runtime;
use proxy::{health, peers, resolvers, vitals};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::timeout;

const FORGET_EVERY: Duration = Duration::from_secs(1);

pub fn report_losses(voice: &MessagePrinter) -> log::LossReporter {
    let mut voice = voice.clone();
    Box::new(move |text| voice.warning(text))
}

/// Handle of the side thread; dropping it ends the thread.
#[derive(Debug)]
pub struct SideThreadHandle {
    /// Notifies the thread of a change by a new count; dropping the sender ends the thread.
    changes: Option<watch::Sender<u64>>,
    thread: Option<JoinHandle<()>>,
    sockets: StatisticsSockets,
    /// The successor process uses this process's name among peers now.
    left: Arc<AtomicBool>,
}

impl SideThreadHandle {
    /// Starts the thread for an installed configuration. `notice` receives the results of checks;
    /// `sockets` are served for operators.
    ///
    /// # Errors
    /// Fails if the thread cannot be started.
    pub fn start(
        shared: &'static Runtime,
        notice: health::Notice,
        sockets: Vec<OperationsSocket>,
    ) -> io::Result<SideThreadHandle> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let sockets = operations::start(shared, sockets, runtime.handle())?;
        let (changes, mut changed) = watch::channel(0);
        let left = Arc::new(AtomicBool::new(false));
        let gone = Arc::clone(&left);
        let thread = std::thread::Builder::new()
            .name("side".into())
            .spawn(move || {
                runtime.block_on(async move {
                    let names = resolvers::start(shared, Arc::clone(&notice));
                    let checks = health::start(&shared.config(), notice);
                    let watching = vitals::start(shared);
                    let mut peers = Some(peers::start(&shared.config()));
                    let mut memory = spare::MemoryTrimmer::default();
                    loop {
                        // Waits for another configuration, or for servers that an operator adds.
                        let next = async {
                            tokio::select! {
                                changed = changed.changed() => changed,
                                () = shared.edited.notified() => Ok(()),
                            }
                        };
                        let next = timeout(FORGET_EVERY, next).await;
                        if gone.load(Ordering::Acquire) {
                            drop(peers.take());
                        }
                        shared.measure();
                        // Frees the expired entries of stick tables.
                        shared.config().tables.sweep();
                        match next {
                            Ok(Ok(())) => {
                                let config = shared.config();
                                checks.change(&config);
                                names.change(&config);
                                if let Some(peers) = &mut peers {
                                    peers.change(&config);
                                }
                            }
                            Ok(Err(_)) => break,
                            // Frees configuration versions whose last connection has ended.
                            Err(_) if shared.has_unused() => spare::free_unused_versions(shared),
                            Err(_) => memory.poll_process(shared),
                        }
                    }
                    drop(names);
                    drop(watching);
                    checks.stop();
                });
            })?;
        Ok(SideThreadHandle {
            changes: Some(changes),
            thread: Some(thread),
            sockets,
            left,
        })
    }

    /// Applies the runtime's newest configuration; checks keep their intervals. The call returns at
    /// once, and the side thread merges several quick changes into one. The caller changes the
    /// sockets ([`SideThreadHandle::sockets`]), since it has their descriptors.
    pub fn change(&self) {
        if let Some(changes) = &self.changes {
            changes.send_modify(|count| *count = count.wrapping_add(1));
        }
    }

    /// Stops accepting on statistics sockets and for peers sections, because the successor accepts
    /// there. Existing connections continue, except those of peers.
    pub fn leave_sockets(&self) {
        // Ignores errors, which only a new socket can cause.
        let _ = self.sockets.change(Vec::new());
        self.left.store(true, Ordering::Release);
        self.change();
    }

    pub fn sockets(&self) -> &StatisticsSockets {
        &self.sockets
    }
}

/// Returns a function that logs the results of checks to the log targets of the proxy concerned.
pub fn to_logs(_: &Arc<Config>) -> health::Notice {
    Arc::new(|config, proxy, level, text| log::notice(config, proxy, level_of(level), text))
}

fn level_of(level: health::Level) -> log::Level {
    match level {
        health::Level::Emergency => log::Level::Emergency,
        health::Level::Alert => log::Level::Alert,
        health::Level::Notice => log::Level::Notice,
    }
}

impl Drop for SideThreadHandle {
    fn drop(&mut self) {
        drop(self.changes.take());
        if let Some(thread) = self.thread.take() {
            // Ignores a panic, which the panic hook has printed.
            let _ = thread.join();
        }
    }
}
