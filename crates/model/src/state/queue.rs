//! Queues as values: who waits for a slot of a server. `crate::queue` serves them.

use super::ServerState;
use crate::setting::{ProxyIndex, ServerIndex};
use reactor::Gauge;
use std::any::Any;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

/// Who goes before whom, over all queues: by class, then by when they came (or
/// count as having come), then by their number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Turn {
    pub(crate) class: i16,
    pub(crate) at_ms: i64,
    pub(crate) number: u64,
}

/// A queue of a server or of a backend.
#[derive(Debug, Default)]
pub struct Queue {
    /// How many wait (`qcur`, `qmax`).
    pub waiting: Gauge,
    pub(crate) list: Mutex<BTreeMap<Turn, Arc<Waiter>>>,
}

impl Queue {
    pub(crate) fn list(&self) -> MutexGuard<'_, BTreeMap<Turn, Arc<Waiter>>> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to one session of a server. It goes to the next who waits when it
/// is dropped.
#[derive(Debug)]
pub struct Slot {
    pub(crate) server: Arc<ServerState>,
    /// The server's shutdowns when it was granted.
    pub(crate) mark: u32,
    /// The place of its stream among those that operators see.
    pub listed: u32,
}

/// What one who waited got.
#[derive(Debug)]
pub struct Granted {
    /// The server's place in the stream's tree.
    pub server: ServerIndex,
    /// Its slot.
    pub slot: Slot,
}

/// What is known of a waiting stream by those who may serve it.
#[derive(Debug)]
pub(crate) struct Waiter {
    /// The configuration of its stream, in which its indexes count. `crate::queue` puts it in
    /// and knows its type; a state cannot, because a configuration holds states.
    pub(crate) config: Arc<dyn Any + Send + Sync>,
    pub(crate) backend: ProxyIndex,
    pub(crate) avoid: Option<ServerIndex>,
    pub(crate) hand: Mutex<Hand>,
}

#[derive(Debug)]
pub(crate) enum Hand {
    /// Nothing yet; whom to wake.
    Empty(Option<Waker>),
    /// A slot that was not fetched yet.
    Full(Granted),
    /// It left, or has its slot.
    Gone,
}
