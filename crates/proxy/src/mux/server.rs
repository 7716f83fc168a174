//! A server's HTTP/2 connection, as the pools keep it.

use super::shared::Shared;
use super::stream::MuxStream;
use crate::config::Tune;
use crate::reactor::Instant;
use crate::transport::Transport;
use std::os::fd::RawFd;
use std::rc::Rc;

/// An HTTP/2 connection to a server. Its clones are the same connection; when
/// the last is dropped and no stream is left it is closed.
pub struct ServerMux {
    shared: Rc<Shared>,
}

impl ServerMux {
    /// HTTP/2 from here on, on a transport that is connected. `secure`: the
    /// scheme of requests is `https`. Begins the task that drives it.
    pub fn start(transport: Transport, tune: &Tune, secure: bool) -> ServerMux {
        todo!()
    }

    /// A new stream; None when there is no room or the connection ends.
    pub fn open(&self) -> Option<MuxStream> {
        todo!()
    }

    /// Whether a stream can be opened now.
    pub fn has_room(&self) -> bool {
        todo!()
    }

    /// Whether streams can be opened, now or once others end: no GOAWAY came,
    /// the peer has not closed.
    pub fn is_usable(&self) -> bool {
        todo!()
    }

    /// Streams now.
    pub fn streams(&self) -> u32 {
        todo!()
    }

    /// Streams opened so far.
    pub fn carried(&self) -> u32 {
        todo!()
    }

    /// Since when there is no stream; None while there is one.
    pub fn idle_since(&self) -> Option<Instant> {
        todo!()
    }

    /// No new streams; closed when the last one ends.
    pub fn close(&self) {
        todo!()
    }

    /// The descriptor, for addresses only.
    pub fn raw_fd(&self) -> RawFd {
        todo!()
    }

    /// Whether both are the same connection.
    pub fn is(&self, other: &ServerMux) -> bool {
        Rc::ptr_eq(&self.shared, &other.shared)
    }
}

impl Clone for ServerMux {
    fn clone(&self) -> ServerMux {
        todo!()
    }
}
