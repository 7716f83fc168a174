//! The side thread: a Tokio runtime of its own beside the data plane, for what
//! may wait: health checks, later names and the sockets of operations. A busy
//! thread of the data plane therefore never marks a server down.

use proxy::config::Config;
use proxy::operations::{self, OperationsSocket};
use proxy::runtime::Runtime;
use proxy::{health, log};
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use tokio::sync::oneshot;

/// The side thread. Dropping it ends it.
#[derive(Debug)]
pub struct Side {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Side {
    /// Starts it for a tree that is installed. `notice` is told what checks
    /// find; `sockets` are served for operators.
    pub fn start(
        shared: &'static Runtime,
        notice: health::Notice,
        sockets: Vec<OperationsSocket>,
    ) -> io::Result<Side> {
        let config = shared.config();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        operations::start(shared, sockets, runtime.handle())?;
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("side".into())
            .spawn(move || {
                runtime.block_on(async move {
                    let checks = health::start(&config, notice);
                    // Both an order and a dropped sender end it.
                    let _ = stopped.await;
                    checks.stop();
                });
            })?;
        Ok(Side {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

/// Sends what checks find to the logs of their proxies.
pub fn to_logs(config: &Arc<Config>) -> health::Notice {
    let config = Arc::clone(config);
    Arc::new(move |proxy, level, text| log::notice(&config, proxy, level_of(level), text))
}

fn level_of(level: health::Level) -> log::Level {
    match level {
        health::Level::Emergency => log::Level::Emergency,
        health::Level::Alert => log::Level::Alert,
        health::Level::Notice => log::Level::Notice,
    }
}

impl Drop for Side {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // Its panic was printed by the panic hook already.
            let _ = thread.join();
        }
    }
}
