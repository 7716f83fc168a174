//! Counters.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counters since the start, which tests look at.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Strangers that were refused before a word: too many at once.
    pub(crate) crowded: AtomicU64,
    /// Handshakes that did not end in time, or had no sense.
    pub(crate) handshakes_failed: AtomicU64,
    /// Certificates of another authority, on either side.
    pub(crate) foreign: AtomicU64,
    /// Members that are none any more, or not the one they say, refused.
    pub(crate) refused: AtomicU64,
    /// Calls that were sent again on another way.
    pub(crate) sent_again: AtomicU64,
    /// Questions that came twice and were handled once.
    pub(crate) repeated: AtomicU64,
    /// Questions that were refused: more at once than a member may ask.
    pub(crate) overloaded: AtomicU64,
    /// Connections that were ended for what came on them.
    pub(crate) broken_rules: AtomicU64,
    /// Times that the listener could not accept: descriptors ran out.
    pub(crate) accept_failed: AtomicU64,
    /// Tunnels that were carried for others.
    pub(crate) tunnels: AtomicU64,
    /// Clients that connected to join.
    pub(crate) joins: AtomicU64,
}

/// Increments the counter.
pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
