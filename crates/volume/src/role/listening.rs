//! Accepts replication connections of other nodes, on a thread for all volumes.

use crate::link::dial::{Registry, ReplicationLink, listen};
use part::wake::WakeEvent;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::thread::JoinHandle;

/// Replication listener, which runs until this value is dropped.
#[derive(Debug)]
pub(super) struct ReplicationListener {
    cable: ReplicationLink,
    stop: Arc<WakeEvent>,
    thread: Option<JoinHandle<()>>,
}

impl ReplicationListener {
    /// Starts the listener. Returns None if the system has no thread or descriptor for it.
    pub(super) fn start(
        cable: &ReplicationLink,
        registry: &Arc<Registry>,
    ) -> Option<ReplicationListener> {
        let stop = Arc::new(WakeEvent::new().ok()?);
        let (own, at, registry) = (stop.clone(), cable.clone(), registry.clone());
        let builder = std::thread::Builder::new().name("volume/link".to_owned());
        let thread = builder.spawn(move || listen(&at, &registry, own.as_fd()));
        Some(ReplicationListener {
            cable: cable.clone(),
            stop,
            thread: Some(thread.ok()?),
        })
    }

    pub(super) fn cable(&self) -> &ReplicationLink {
        &self.cable
    }
}

impl Drop for ReplicationListener {
    fn drop(&mut self) {
        self.stop.wake();
        if let Some(thread) = self.thread.take() {
            // Joins the thread, which returns from its poll at once.
            let _ = thread.join();
        }
    }
}
