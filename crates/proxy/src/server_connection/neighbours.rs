//! Idle connections of other threads. A stream whose own thread has none for it asks the
//! threads that keep one to its server, one after the other, before it makes another.
//!
//! Question and connection travel between the loops: only the thread that owns a pool
//! touches it, so that nothing is locked, and a stream that finds a connection at home
//! pays nothing. A connection that arrives when its stream has gone is kept where it
//! arrived, or where it came from.

use super::pool::Idle;
use super::pool::pools;
use super::{Authentication, Mark, Secured, ServerConnection, Wanted};
use model::config::Server;
use model::state::{ServerState, Way};
use model::thread::here;
use mux::link::Link;
use reactor::{self, Instant, inject, with_deadline};
use rustls::pki_types::ServerName;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;
use tls::transport::{Parts, Transport};
use tokio::sync::oneshot;

/// How long a stream waits for its neighbours. Their turns last about a millisecond;
/// the rest is for a machine that runs other processes first.
const WAIT_MAX: Duration = Duration::from_millis(100);
/// Buckets of the counts of marked connections; a power of two.
const BUCKETS: usize = 1024;

/// Idle connections with a mark, counted by it. Marks are many (a client's address, a
/// name), and asking every thread for one that no thread has would be in vain.
static MARKED: [AtomicU32; BUCKETS] = [const { AtomicU32::new(0) }; BUCKETS];

/// Threads that let a stream wait in vain, a bit each. Nobody asks them until they have
/// looked at that question: one that is held up does not hold up the others.
static LATE: AtomicU64 = AtomicU64::new(0);

/// An idle connection with a mark, counted for as long as this lives.
pub(super) struct Marked(&'static AtomicU32);

impl Marked {
    /// Counts a connection; None where its mark is none.
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

/// Whether some thread may have an idle connection with this mark.
fn exists(server: &ServerState, mark: &Mark) -> bool {
    let counted = |count: &AtomicU32| count.load(Ordering::Relaxed) > 0;
    mark.is_none() || bucket(server, mark).is_some_and(counted)
}

fn bit(thread: usize) -> u64 {
    1_u64.checked_shl(thread as u32).unwrap_or(0)
}

/// A connection between two loops: it belongs to neither.
pub(super) struct Travelling {
    parts: Parts,
    secured: Option<(ServerName<'static>, tls::Info)>,
    mark: Mark,
    streams: u32,
    since: Instant,
    way: Way,
}

impl Travelling {
    /// Takes an idle connection out of this thread's loop.
    fn depart(idle: Idle) -> io::Result<Travelling> {
        Ok(Travelling {
            parts: idle.transport.into_parts()?,
            // Who logs the stream before may still look at the original.
            secured: idle.tls.as_deref().map(Secured::duplicate),
            mark: idle.mark,
            streams: idle.streams,
            since: idle.since,
            way: idle.way,
        })
    }

    /// Joins it to this thread's loop.
    fn arrive(self) -> io::Result<Idle> {
        Ok(Idle {
            transport: Transport::from_parts(self.parts)?,
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
struct Asked {
    server: Arc<ServerState>,
    coming: oneshot::Receiver<Option<Travelling>>,
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.coming.close();
        if let Ok(Some(travelling)) = self.coming.try_recv()
            && let Ok(idle) = travelling.arrive()
        {
            pools().put_back(&self.server, idle);
        }
    }
}

/// Which threads have an idle connection that a stream of this one might use: a bit each.
pub(super) fn with_idle(server: &Server, wanted: &Wanted) -> u64 {
    let state = &server.state;
    let others = state.idle_threads() & !bit(here().thread()) & !LATE.load(Ordering::Relaxed);
    let few = server
        .options
        .pool_low
        .is_some_and(|least| state.idle.count.load(Ordering::Relaxed) < least);
    let exists = |mark: &Mark| exists(state, mark);
    match others != 0 && !few && wanted.mark().is_some_and(exists) {
        true => others,
        false => 0,
    }
}

/// Asks these threads for an idle connection that has carried at least so many streams.
pub(super) async fn ask(
    server: &Server,
    wanted: &Wanted,
    streams_min: u32,
    threads: u64,
) -> Option<ServerConnection> {
    let state = &server.state;
    let deadline = Some(reactor::now() + WAIT_MAX);
    let way = state.way();
    if way.of_file(server.way) != way {
        return None;
    }
    // Each begins with its successor, so that not all ask the same one.
    let here = here().thread() as u32;
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

/// Sends a question; None where that thread takes none.
fn question(
    thread: usize,
    server: &Arc<ServerState>,
    wanted: &Wanted,
    streams_min: u32,
) -> Option<Asked> {
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
    Some(Asked { server, coming })
}

impl Idle {
    /// The connection for another stream.
    pub(super) fn used_for(self, server: &Arc<ServerState>, way: Way) -> ServerConnection {
        ServerConnection {
            link: Link::Http1(self.transport),
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
