//! Thread that accepts replication connections of other nodes on behalf of all volumes.

use crate::link::dial::{Registry, ReplicationLink, listen};
use rustix::event::{EventfdFlags, eventfd};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::thread::JoinHandle;

/// Replication listener, which runs until this value is dropped.
#[derive(Debug)]
pub(super) struct ReplicationListener {
    cable: ReplicationLink,
    stop: Arc<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl ReplicationListener {
    /// Starts the listener. Returns None if the system has no thread or descriptor for it.
    pub(super) fn start(
        cable: &ReplicationLink,
        registry: &Arc<Registry>,
    ) -> Option<ReplicationListener> {
        let stop = Arc::new(eventfd(0, EventfdFlags::CLOEXEC).ok()?);
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
        // The write fails only if the descriptor is readable already.
        let _ = rustix::io::write(&*self.stop, &1_u64.to_ne_bytes());
        if let Some(thread) = self.thread.take() {
            // The thread returns from its poll at once.
            let _ = thread.join();
        }
    }
}
