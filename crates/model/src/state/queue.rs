//! Defines the data structures of the queues in which streams wait for a slot of a server.
//! `crate::queue` works on them.

use super::ServerState;
use crate::setting::{ProxyIndex, ServerIndex};
use reactor::Gauge;
use std::any::Any;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

/// Position of a stream in a queue: by priority class, then by time of arrival (shifted by the
/// priority offset), then by number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct QueuePosition {
    pub(crate) class: i16,
    pub(crate) at_ms: i64,
    pub(crate) number: u64,
}

/// A queue of a server or of a backend.
#[derive(Debug, Default)]
pub struct Queue {
    /// Number of waiting streams (`qcur`, `qmax`).
    pub waiting: Gauge,
    pub(crate) list: Mutex<BTreeMap<QueuePosition, Arc<Waiter>>>,
}

impl Queue {
    pub(crate) fn list(&self) -> MutexGuard<'_, BTreeMap<QueuePosition, Arc<Waiter>>> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Right to one session of a server. When dropped, the next waiting stream gets the slot.
#[derive(Debug)]
pub struct ServerSlot {
    pub(crate) server: Arc<ServerState>,
    /// The value of [`super::ServerState::shutdown_mark`] when the slot was granted.
    pub(crate) mark: u32,
    /// Index of the stream in its thread's list of active streams.
    pub listed: u32,
}

/// A server's slot that a waiting stream received.
#[derive(Debug)]
pub struct Granted {
    /// Index of the server in the stream's configuration.
    pub server: ServerIndex,
    pub slot: ServerSlot,
}

/// A waiting stream, as seen by threads that may give it a slot.
#[derive(Debug)]
pub(crate) struct Waiter {
    /// Configuration to which the indices of the stream refer. `crate::queue` sets it and knows
    /// its type, which cannot be named here, because a configuration contains states.
    pub(crate) config: Arc<dyn Any + Send + Sync>,
    pub(crate) backend: ProxyIndex,
    pub(crate) avoid: Option<ServerIndex>,
    pub(crate) hand: Mutex<Hand>,
}

#[derive(Debug)]
pub(crate) enum Hand {
    /// No slot was granted yet. Contains the waker of the waiting stream.
    Empty(Option<Waker>),
    /// A granted slot that the stream has not taken yet.
    Full(Granted),
    /// The stream left the queue or took its slot.
    Gone,
}
