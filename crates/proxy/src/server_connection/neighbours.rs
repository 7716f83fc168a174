//! Moves idle server connections between threads. A stream whose own thread has no idle
//! connection to its server requests one from the threads that have, one after the other, before
//! it opens a new connection.
//!
//! Requests and connections are passed between the event loops. Only the owning thread accesses a
//! pool, so nothing is locked, and a stream that finds a connection on its own thread pays
//! nothing. If the stream ends before the connection arrives, the receiving or the sending thread
//! keeps the connection.

use super::pool::Idle;
use super::pool::pools;
use super::{Authentication, ConnectionRequirements, Mark, Secured, ServerConnection};
use model::config::Server;
use model::state::{ServerState, Way};
use model::thread::current_thread_data;
use mux::link::PeerConnection;
use reactor::{self, Instant, inject, with_deadline};
use rustls::pki_types::ServerName;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;
use tls::transport::{ConnectionTransport, Parts};
use tokio::sync::oneshot;

/// Longest wait for other threads. A turn of an event loop lasts about a millisecond; the rest is
/// for machines on which other processes run first.
const WAIT_MAX: Duration = Duration::from_millis(100);
/// Number of buckets for counting marked connections; a power of two.
const BUCKETS: usize = 1024;

/// Numbers of idle connections with special properties ([`Mark`]), by a hash of the properties.
/// There are many different ones (client addresses, names), so requests to threads for a
/// connection that none has would waste time.
static MARKED: [AtomicU32; BUCKETS] = [const { AtomicU32::new(0) }; BUCKETS];

/// Threads that did not respond in time, as bits. They get no further requests until they have
/// processed the last one, so a blocked thread does not delay the others.
static LATE: AtomicU64 = AtomicU64::new(0);

/// Counts an idle connection with special properties, as long as this value exists.
pub(super) struct Marked(&'static AtomicU32);

impl Marked {
    /// Counts a connection; None if it has no special properties.
    pub(super) fn new(server: &ServerState, mark: &Mark) -> Option<Marked> {
        if mark.is_none() {
            return None;
        }
        let count = bucket(server, mark)?;
        count.fetch_add(1, Ordering::Relaxed);
        Some(Marked(count))
    }
}

impl Drop for Marked {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn bucket(server: &ServerState, mark: &Mark) -> Option<&'static AtomicU32> {
    let mut hasher = DefaultHasher::new();
    (server.uid, mark).hash(&mut hasher);
    MARKED.get(hasher.finish() as usize & (BUCKETS - 1))
}

/// Returns whether any thread may have an idle connection with these properties.
fn exists(server: &ServerState, mark: &Mark) -> bool {
    let counted = |count: &AtomicU32| count.load(Ordering::Relaxed) > 0;
    mark.is_none() || bucket(server, mark).is_some_and(counted)
}

fn bit(thread: usize) -> u64 {
    1_u64.checked_shl(thread as u32).unwrap_or(0)
}

/// A connection that moves from one event loop to another, which belongs to neither.
pub(super) struct Travelling {
    parts: Parts,
    secured: Option<(ServerName<'static>, tls::Info)>,
    mark: Mark,
    streams: u32,
    since: Instant,
    way: Way,
}

impl Travelling {
    fn depart(idle: Idle) -> io::Result<Travelling> {
        Ok(Travelling {
            parts: idle.transport.into_parts()?,
            // Copies the TLS data, because the log of the previous stream may still need the
            // original.
            secured: idle.tls.as_deref().map(Secured::duplicate),
            mark: idle.mark,
            streams: idle.streams,
            since: idle.since,
            way: idle.way,
        })
    }

    fn arrive(self) -> io::Result<Idle> {
        Ok(Idle {
            transport: ConnectionTransport::from_parts(self.parts)?,
            tls: self.secured.map(Secured::from_parts),
            mark: self.mark,
            streams: self.streams,
            since: self.since,
            way: self.way,
            marked: None,
        })
    }
}

/// A pending request to another thread. If it is dropped before the connection is taken,
/// the connection stays with its owner.
struct PendingTransfer {
    server: Arc<ServerState>,
    coming: oneshot::Receiver<Option<Travelling>>,
}

impl Drop for PendingTransfer {
    fn drop(&mut self) {
        self.coming.close();
        if let Ok(Some(travelling)) = self.coming.try_recv()
            && let Ok(idle) = travelling.arrive()
        {
            pools().put_back(&self.server, idle);
        }
    }
}

/// Returns a bit mask of the threads with an idle connection that a stream of this thread
/// might use.
pub(super) fn with_idle(server: &Server, wanted: &ConnectionRequirements) -> u64 {
    let state = &server.state;
    let others =
        state.idle_threads() & !bit(current_thread_data().thread()) & !LATE.load(Ordering::Relaxed);
    let few = server
        .options
        .pool_low
        .is_some_and(|least| state.idle.count.load(Ordering::Relaxed) < least);
    let exists = |mark: &Mark| exists(state, mark);
    if others != 0 && !few && wanted.mark().is_some_and(exists) {
        others
    } else {
        0
    }
}

/// Requests an idle connection from these threads that has carried at least this many streams.
pub(super) async fn request_idle_connection(
    server: &Server,
    wanted: &ConnectionRequirements,
    streams_min: u32,
    threads: u64,
) -> Option<ServerConnection> {
    let state = &server.state;
    let deadline = Some(reactor::now() + WAIT_MAX);
    let way = state.way();
    if way.of_file(server.way) != way {
        return None;
    }
    // Starts with the next higher thread, so that not all threads send their requests to the same
    // one.
    let here = current_thread_data().thread() as u32;
    let mut left = threads.rotate_right(here);
    while left != 0 {
        let thread = (left.trailing_zeros() + here) % u64::BITS;
        left &= left - 1;
        let Some(mut asked) = question(thread as usize, state, wanted, streams_min) else {
            continue;
        };
        let Ok(came) = with_deadline(deadline, &mut asked.coming).await else {
            LATE.fetch_or(bit(thread as usize), Ordering::Relaxed);
            return None;
        };
        if let Ok(Some(travelling)) = came
            && travelling.way == way
            && let Ok(idle) = travelling.arrive()
        {
            return Some(idle.used_for(state, way));
        }
    }
    None
}

/// Sends a request to a thread; None if the thread accepts none.
fn question(
    thread: usize,
    server: &Arc<ServerState>,
    wanted: &ConnectionRequirements,
    streams_min: u32,
) -> Option<PendingTransfer> {
    let (reply, coming) = oneshot::channel();
    let (state, wanted) = (Arc::clone(server), wanted.clone());
    let job = move || {
        if LATE.load(Ordering::Relaxed) & bit(thread) != 0 {
            LATE.fetch_and(!bit(thread), Ordering::Relaxed);
        }
        if reply.is_closed() {
            return;
        }
        let own = pools();
        let found = own.give(&state, &wanted, streams_min);
        let travelling = found.and_then(|idle| Travelling::depart(idle).ok());
        if let Err(Some(travelling)) = reply.send(travelling)
            && let Ok(idle) = travelling.arrive()
        {
            own.put_back(&state, idle);
        }
    };
    inject(thread, job).ok()?;
    let server = Arc::clone(server);
    Some(PendingTransfer { server, coming })
}

impl Idle {
    pub(super) fn used_for(self, server: &Arc<ServerState>, way: Way) -> ServerConnection {
        ServerConnection {
            link: PeerConnection::Http1(self.transport),
            mux: None,
            tls: self.tls,
            state: Arc::clone(server),
            input: None,
            streams: self.streams,
            way,
            mark: self.mark,
            private: false,
            authentication: Authentication::None,
        }
    }
}
