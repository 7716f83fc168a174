//! Answers queries of rules about an HTTP/2 stream: its id, the streams of its connection, and
//! whether its peer has reset it. A watch keeps neither the stream nor the connection alive, and
//! still knows how the stream ended after the slot of the stream was reused.

use super::shared::ConnectionState;
use super::slot::StreamStatus;
use super::stream::MuxStream;
use std::cell::Cell;
use std::rc::{Rc, Weak};

/// A handle that only queries the stream.
#[derive(Clone)]
pub struct StreamWatch {
    shared: Weak<ConnectionState>,
    slot: u32,
    last: Rc<Cell<Option<StreamStatus>>>,
}

impl MuxStream {
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
    fn seen(&self) -> Option<StreamStatus> {
        self.last.get().or_else(|| {
            let shared = self.shared.upgrade()?;
            let mut inner = shared.inner.borrow_mut();
            Some(StreamStatus::of(inner.slot(self.slot)))
        })
    }

    /// Returns the stream id. 0 for a stream to a server that has sent nothing yet.
    pub fn id(&self) -> u32 {
        self.seen().map_or(0, |seen| seen.id)
    }

    pub fn is_aborted(&self) -> bool {
        self.seen().is_none_or(|seen| seen.aborted)
    }

    pub fn reset_code(&self) -> Option<u32> {
        self.seen()?.reset
    }

    /// Returns the number of current streams of the connection. None if the connection is closed.
    pub fn streams(&self) -> Option<u32> {
        Some(self.shared.upgrade()?.inner.borrow().streams.open)
    }

    /// Returns the number of the peer's faults that ended streams of the connection. None if the
    /// connection is closed.
    pub fn stream_faults(&self) -> Option<u32> {
        Some(self.shared.upgrade()?.inner.borrow().glitches)
    }

    /// Returns the number of concurrent streams that the peer allows, if it has announced one.
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
