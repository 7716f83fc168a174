//! A server's HTTP/2 connection, as the pools keep it.

use super::driver::{Driver, Side, Then, View};
use super::settings::{self, Limits};
use super::shared::{Accept, ConnectionState, Opened};
use super::stream::MuxStream;
use protocol::http2::{Connection, ConnectionError, ErrorCode, FieldList};
use reactor::{self, Instant, WeakSocket, pool_box};
use std::convert::Infallible;
use std::os::fd::BorrowedFd;
use std::rc::Rc;
use std::time::Duration;
use tls::transport::Transport;

/// How long a server may take nothing of what waits for it once no stream is
/// left to whose timeout that could matter.
const STUCK: Duration = Duration::from_secs(5);

/// An HTTP/2 connection to a server. Its clones are the same connection; when
/// the last is dropped and no stream is left it is closed.
pub struct ServerMux {
    shared: Rc<ConnectionState>,
    streams_max: u32,
}

impl ServerMux {
    /// HTTP/2 from here on, on a transport that is connected. `secure`: the
    /// scheme of requests is `https`. Begins the task that drives it.
    pub fn start(transport: Transport, limits: Limits, secure: bool) -> ServerMux {
        let transport = Rc::new(transport);
        let options = settings::of_servers(&limits);
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

    /// A new stream; None when there is no room or the connection ends.
    pub fn open(&self) -> Option<MuxStream> {
        if !self.has_room() {
            return None;
        }
        let slot = self.shared.inner.borrow_mut().take_slot(0);
        Some(MuxStream::new(Rc::clone(&self.shared), slot))
    }

    /// Whether a stream can be opened now.
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

    /// Whether streams can be opened, now or once others end: no GOAWAY came,
    /// the peer has not closed.
    pub fn is_usable(&self) -> bool {
        let inner = self.shared.inner.borrow();
        !inner.ends.closing && !inner.connection.is_going_away()
    }

    /// Streams now.
    pub fn streams(&self) -> u32 {
        self.shared.inner.borrow().streams.open
    }

    /// Streams opened so far.
    pub fn carried(&self) -> u32 {
        self.shared.inner.borrow().streams.carried
    }

    /// Since when there is no stream; None while there is one.
    pub fn idle_since(&self) -> Option<Instant> {
        let inner = self.shared.inner.borrow();
        (inner.streams.open == 0).then_some(inner.streams.idle_since)
    }

    /// No new streams; closed when the last one ends.
    pub fn close(&self) {
        self.shared.inner.borrow_mut().ends.closing = true;
        self.shared.wake_driver();
    }

    /// Looks at the descriptor, for addresses; None when it is closed.
    pub fn with_fd<R>(&self, look: impl FnOnce(BorrowedFd<'_>) -> R) -> Option<R> {
        let transport = self.shared.transport.upgrade()?;
        Some(look(transport.fd()))
    }

    /// A weak handle of its socket, for queries only.
    pub fn socket(&self) -> Option<WeakSocket> {
        Some(self.shared.transport.upgrade()?.socket().downgrade())
    }

    /// Whether both are the same connection.
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

    fn accept(&mut self, _: &FieldList, _: bool) -> Opened<Infallible> {
        // A server opens no streams: its connection fails before this.
        Opened::Reset(ErrorCode::RefusedStream)
    }

    fn malformed(&mut self) {
        self.faults = self.faults.saturating_add(1);
    }

    fn faults(&self) -> u32 {
        self.faults
    }
}

impl Side for ServerSide {
    fn begin(&mut self, _: MuxStream, request: Infallible) {
        match request {}
    }

    fn plan(&mut self, view: &View) -> (Option<Instant>, Then) {
        let unused = view.open == 0 && (self.shared.handles.get() == 0 || view.closing);
        if unused {
            // An orderly close would keep the port for a minute.
            return (Some(reactor::now()), Then::Cut);
        }
        if !view.closing && self.faults_max.is_some_and(|most| self.faults >= most) {
            let code = ErrorCode::EnhanceYourCalm;
            return (Some(reactor::now()), Then::GoAway(code));
        }
        let stuck = view.stuck_since.filter(|_| view.open == 0);
        (stuck.map(|since| since + STUCK), Then::Cut)
    }

    fn done(&mut self, _: Then) {}

    // Its streams say what became of them.
    fn failed(&mut self, _: &ConnectionError) {}
}
