//! Manages an HTTP/2 connection to a server, for the connection pools.

use super::driver::{ConnectionHandler, Driver, Then, View};
use super::settings::{self, Limits};
use super::shared::{Accept, ConnectionState, RequestDecision};
use super::stream::MuxStream;
use protocol::http2::{Connection, ConnectionError, ErrorCode, FieldList};
use reactor::{self, Instant, WeakSocket, pool_box};
use std::convert::Infallible;
use std::os::fd::BorrowedFd;
use std::rc::Rc;
use std::time::Duration;
use tls::transport::ConnectionTransport;

/// Time during which a server may accept no output once there is no stream whose timeout would
/// apply.
const STUCK: Duration = Duration::from_secs(5);

/// An HTTP/2 connection to a server. Clones share the connection. It is closed once the last clone
/// is dropped and no stream is left.
pub struct ServerMux {
    shared: Rc<ConnectionState>,
    streams_max: u32,
}

impl ServerMux {
    /// Starts HTTP/2 on a connected transport, with a task that drives it. `secure`: the scheme of
    /// requests is `https`.
    pub fn start(transport: ConnectionTransport, limits: Limits, secure: bool) -> ServerMux {
        let transport = Rc::new(transport);
        let options = settings::server_options(&limits);
        let streams_max = options.concurrent_streams_max;
        let connection = Connection::new(options);
        let shared = ConnectionState::new(connection, Rc::downgrade(&transport), secure);
        let shared = Rc::new(shared);
        let faults_max = limits.http2.server.glitches_max;
        shared.handles.set(1);
        let driven = Rc::clone(&shared);
        reactor::spawn(pool_box(async move {
            let mut side = ServerSide {
                shared: Rc::clone(&driven),
                faults: 0,
                faults_max,
            };
            Driver::new(driven, &transport, None).run(&mut side).await;
        }));
        ServerMux {
            shared,
            streams_max,
        }
    }

    /// Opens a new stream. None if the limit is reached or the connection is ending.
    pub fn open(&self) -> Option<MuxStream> {
        if !self.has_room() {
            return None;
        }
        let slot = self.shared.inner.borrow_mut().take_slot(0);
        Some(MuxStream::new(Rc::clone(&self.shared), slot))
    }

    pub fn has_room(&self) -> bool {
        if !self.is_usable() {
            return false;
        }
        let inner = self.shared.inner.borrow();
        let most = inner.connection.peer_settings().concurrent_streams_max;
        let most = most.unwrap_or(u32::MAX).min(self.streams_max);
        inner.connection.can_open()
            && inner.connection.streams() + (inner.streams.unsent as usize) < most as usize
    }

    /// Returns whether streams can be opened, now or once others end: there was no GOAWAY, and the
    /// peer has not closed.
    pub fn is_usable(&self) -> bool {
        let inner = self.shared.inner.borrow();
        !inner.ends.closing && !inner.connection.is_going_away()
    }

    pub fn streams(&self) -> u32 {
        self.shared.inner.borrow().streams.open
    }

    pub fn opened_streams(&self) -> u32 {
        self.shared.inner.borrow().streams.carried
    }

    /// Returns the time since which there is no stream. None while there is one.
    pub fn idle_since(&self) -> Option<Instant> {
        let inner = self.shared.inner.borrow();
        (inner.streams.open == 0).then_some(inner.streams.idle_since)
    }

    /// Accepts no new streams, and closes the connection when the last one ends.
    pub fn close(&self) {
        self.shared.inner.borrow_mut().ends.closing = true;
        self.shared.wake_driver();
    }

    /// Calls a function with the descriptor, to query addresses. None if the connection is closed.
    pub fn with_fd<R>(&self, look: impl FnOnce(BorrowedFd<'_>) -> R) -> Option<R> {
        let transport = self.shared.transport.upgrade()?;
        Some(look(transport.fd()))
    }

    /// Returns a weak handle of the socket, for queries only.
    pub fn socket(&self) -> Option<WeakSocket> {
        Some(self.shared.transport.upgrade()?.socket().downgrade())
    }

    pub fn is(&self, other: &ServerMux) -> bool {
        Rc::ptr_eq(&self.shared, &other.shared)
    }
}

impl Clone for ServerMux {
    fn clone(&self) -> ServerMux {
        self.shared.handles.set(self.shared.handles.get() + 1);
        ServerMux {
            shared: Rc::clone(&self.shared),
            streams_max: self.streams_max,
        }
    }
}

impl Drop for ServerMux {
    fn drop(&mut self) {
        let left = self.shared.handles.get() - 1;
        self.shared.handles.set(left);
        if left == 0 {
            self.shared.wake_driver();
        }
    }
}

struct ServerSide {
    shared: Rc<ConnectionState>,
    faults: u32,
    faults_max: Option<u32>,
}

impl Accept for ServerSide {
    type Request = Infallible;

    fn accept(&mut self, _: &FieldList, _: bool) -> RequestDecision<Infallible> {
        // Unreachable: servers open no streams, and the connection would fail before this.
        RequestDecision::Reset(ErrorCode::RefusedStream)
    }

    fn note_malformed(&mut self) {
        self.faults = self.faults.saturating_add(1);
    }

    fn faults(&self) -> u32 {
        self.faults
    }
}

impl ConnectionHandler for ServerSide {
    fn begin(&mut self, _: MuxStream, request: Infallible) {
        match request {}
    }

    fn next_action(&mut self, view: &View) -> (Option<Instant>, Then) {
        let unused = view.open == 0 && (self.shared.handles.get() == 0 || view.closing);
        if unused {
            // Resets the connection, because an orderly close would occupy the port for a minute.
            return (Some(reactor::now()), Then::Cut);
        }
        if !view.closing && self.faults_max.is_some_and(|most| self.faults >= most) {
            let code = ErrorCode::EnhanceYourCalm;
            return (Some(reactor::now()), Then::GoAway(code));
        }
        let stuck = view.stuck_since.filter(|_| view.open == 0);
        (stuck.map(|since| since + STUCK), Then::Cut)
    }

    fn note_action_done(&mut self, _: Then) {}

    // Ignores the failure, because the streams report their own errors.
    fn note_failure(&mut self, _: &ConnectionError) {}
}
