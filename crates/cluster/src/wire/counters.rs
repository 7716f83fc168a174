//! Defines the counters of the connections between members.

use std::sync::atomic::{AtomicU64, Ordering};

#[derive(Debug, Default)]
pub(crate) struct WireCounters {
    /// Connections that were closed immediately because no slot was free.
    pub(crate) crowded: AtomicU64,
    pub(crate) handshakes_failed: AtomicU64,
    /// Failed TLS handshakes because one side rejected the other one's certificate.
    pub(crate) foreign: AtomicU64,
    /// Refused peers that are no longer members, or are not the member that they claim to
    /// be.
    pub(crate) refused: AtomicU64,
    pub(crate) sent_again: AtomicU64,
    pub(crate) repeated: AtomicU64,
    pub(crate) overloaded: AtomicU64,
    pub(crate) broken_rules: AtomicU64,
    pub(crate) accept_failed: AtomicU64,
    pub(crate) tunnels: AtomicU64,
    pub(crate) joins: AtomicU64,
}

pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
