//! A stream of HTTP/2 as rules ask for it: its number, its connection's streams,
//! whether its peer gave it up. It holds neither the stream nor the connection, and
//! knows how the stream ended when its place has another one.

use super::shared::ConnectionState;
use super::slot::Seen;
use super::stream::MuxStream;
use std::cell::Cell;
use std::rc::{Rc, Weak};

/// A handle that only queries the stream.
#[derive(Clone)]
pub struct StreamWatch {
    shared: Weak<ConnectionState>,
    slot: u32,
    last: Rc<Cell<Option<Seen>>>,
}

impl MuxStream {
    /// A weak handle of the stream, for queries only.
    pub fn watch(&self) -> StreamWatch {
        let (shared, slot) = self.place();
        let last = Rc::default();
        shared.inner.borrow_mut().slot(slot).watched = Some(Rc::downgrade(&last));
        StreamWatch {
            shared: Rc::downgrade(shared),
            slot,
            last,
        }
    }
}

impl StreamWatch {
    fn seen(&self) -> Option<Seen> {
        self.last.get().or_else(|| {
            let shared = self.shared.upgrade()?;
            let mut inner = shared.inner.borrow_mut();
            Some(Seen::of(inner.slot(self.slot)))
        })
    }

    /// Its number; 0 of one to a server that has sent nothing yet.
    pub fn id(&self) -> u32 {
        self.seen().map_or(0, |seen| seen.id)
    }

    /// Whether its peer gave it up, or the connection was lost.
    pub fn is_aborted(&self) -> bool {
        self.seen().is_none_or(|seen| seen.aborted)
    }

    /// The code by which its peer reset it.
    pub fn reset_code(&self) -> Option<u32> {
        self.seen()?.reset
    }

    /// Streams that its connection has now; None when that is closed.
    pub fn streams(&self) -> Option<u32> {
        Some(self.shared.upgrade()?.inner.borrow().streams.open)
    }

    /// Faults of the peer that ended streams of its connection; None when that is closed.
    pub fn glitches(&self) -> Option<u32> {
        Some(self.shared.upgrade()?.inner.borrow().glitches)
    }

    /// How many the peer takes at once, where it has said so.
    pub fn streams_max_of_peer(&self) -> Option<u32> {
        let shared = self.shared.upgrade()?;
        let inner = shared.inner.borrow();
        inner.connection.peer_settings().concurrent_streams_max
    }
}

impl std::fmt::Debug for StreamWatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("StreamWatch").field(&self.seen()).finish()
    }
}
