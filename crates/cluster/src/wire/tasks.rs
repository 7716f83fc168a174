//! Keeps the tasks of the wire, and ends all of them when the wire stops.

use part::lock;
use std::future::Future;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::task::{AbortHandle, JoinSet};

/// Tasks that end together. A task that is spawned after [`TaskGroup::stop`] is aborted.
#[derive(Debug, Default)]
pub(super) struct TaskGroup {
    tasks: Mutex<JoinSet<()>>,
    is_stopped: AtomicBool,
}

impl TaskGroup {
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
        let mut tasks = lock(&self.tasks);
        while tasks.try_join_next().is_some() {}
        let task = tasks.spawn(task);
        if self.is_stopped() {
            task.abort();
        }
        task
    }

    pub(super) fn stop(&self) {
        self.is_stopped.store(true, Ordering::Relaxed);
        lock(&self.tasks).abort_all();
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.is_stopped.load(Ordering::Relaxed)
    }
}
