//! Idle connections to servers, per thread. A connection that the server closed
//! or spoke on out of turn is known without a system call, never taken, and closed at
//! once ([`watch`]): a server that serves one connection at a time waits for that. A
//! thread that has none asks the others ([`super::neighbours`]).

use super::neighbours::{self, Marked};
use super::secured::{Secured, Wanted};
use super::shared::SharedConnections;
use super::{Mark, ServerConnection};
use model::config::{Proxy, Server, ServerOptions};
use model::state::{ServerState, Way};
use model::thread::here;
use model::transaction::Stream;
use mux::ServerMux;
use mux::link::Link;
use reactor::{self, Instant, pool_box};
use std::cell::{RefCell, RefMut};
use std::future::poll_fn;
use std::os::fd::AsRawFd;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Poll, Wake, Waker};
use std::time::Duration;
use tls::transport::Transport;

/// How often idle connections are looked through.
const PURGE_EVERY: Duration = Duration::from_secs(1);
/// Idle connections that are closed in one go, and pools that are looked at.
const CLOSED_AT_ONCE: usize = 16;
const POOLS_AT_ONCE: usize = 256;

/// A connection that carries nothing.
pub(super) struct Idle {
    pub(super) transport: Transport,
    pub(super) tls: Option<Rc<Secured>>,
    pub(super) mark: Mark,
    pub(super) streams: u32,
    pub(super) since: Instant,
    pub(super) way: Way,
    /// It is counted by its mark.
    pub(super) marked: Option<Marked>,
}

/// Wakes [`watch`] for a server, on the thread of its pool. It is the waker of all idle
/// connections of that pool, so that none of them needs memory or a task of its own.
struct Stirred {
    server_uid: u32,
}

impl Wake for Stirred {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        pools().stirred.push(self.server_uid);
    }
}

/// The servers of whose idle connections something was heard, each once.
#[derive(Default)]
struct StirredServers {
    uids: RefCell<Vec<u32>>,
    waiting: RefCell<Option<Waker>>,
}

impl StirredServers {
    fn push(&self, server_uid: u32) {
        let mut uids = self.uids.borrow_mut();
        if !uids.contains(&server_uid) {
            uids.push(server_uid);
        }
        drop(uids);
        let waiting = self.waiting.take();
        if let Some(waker) = waiting {
            waker.wake();
        }
    }

    async fn next(&self) -> u32 {
        poll_fn(|context| match self.uids.borrow_mut().pop() {
            Some(server_uid) => Poll::Ready(server_uid),
            None => {
                self.waiting.replace(Some(context.waker().clone()));
                Poll::Pending
            }
        })
        .await
    }
}

impl Idle {
    /// Bytes without a request, or the end: no stream can use it.
    fn is_spoiled(&self) -> bool {
        self.transport.is_peer_closed() || self.transport.is_readable()
    }
}

struct Pool {
    server: Arc<ServerState>,
    /// Of each of its connections.
    waker: Waker,
    idle: Vec<Idle>,
    /// Most connections in use at once in this second and in the one before.
    peaks: [u32; 2],
}

impl Pool {
    /// So many are no longer in it.
    fn dropped(&self, n: usize) {
        self.server
            .idle
            .count
            .fetch_sub(n as u32, Ordering::Relaxed);
        if n > 0 && self.idle.is_empty() {
            self.server.has_idle(here().thread(), false);
        }
    }

    fn remove(&mut self, at: usize) -> Idle {
        let idle = self.idle.remove(at);
        idle.transport.socket().unwatch();
        self.dropped(1);
        idle
    }

    fn keep(&mut self, mut idle: Idle) {
        self.server.idle.count.fetch_add(1, Ordering::Relaxed);
        if self.idle.is_empty() {
            self.server.has_idle(here().thread(), true);
        }
        idle.marked = Marked::new(&self.server, &idle.mark);
        idle.transport.socket().watch(&self.waker);
        self.idle.push(idle);
    }

    /// Whether the oldest was one that its server has closed: then it is gone. That no
    /// stream could use it does not make the others too many.
    fn drops_ended(&mut self) -> bool {
        let ended = |idle: &Idle| idle.transport.socket().has_ended();
        let drops = self.idle.first().is_some_and(ended);
        if drops {
            self.remove(0);
        }
        drops
    }

    /// Takes out the connection that was used last, is still good and has carried
    /// at least so many streams.
    fn find(&mut self, wanted: &Wanted, streams_min: u32) -> Option<Idle> {
        let way = self.server.way();
        while let Some(at) = self.idle.iter().rposition(|idle| {
            idle.streams >= streams_min && wanted.is_of(idle.tls.as_ref(), &idle.mark)
        }) {
            let idle = self.remove(at);
            if idle.way == way && !idle.is_spoiled() {
                return Some(idle);
            }
        }
        None
    }
}

thread_local! {
    static POOLS: &'static Pools = Box::leak(Box::default());
}

/// This thread's pools.
pub fn pools() -> &'static Pools {
    POOLS.with(|pools| *pools)
}

/// The pools of a thread, by the servers' unique numbers.
#[derive(Default)]
pub struct Pools {
    by_server: RefCell<Vec<Option<Pool>>>,
    stirred: StirredServers,
    pub(super) shared: SharedConnections,
}

impl Pools {
    /// A stream of an HTTP/2 connection that carries those of others, or of an
    /// idle one that has carried at least so many.
    pub fn join(
        &self,
        server: &Server,
        wanted: &Wanted,
        streams_min: Option<u32>,
    ) -> Option<ServerConnection> {
        self.shared.join(server, wanted, streams_min)
    }

    /// Takes an HTTP/2 connection away from those that clients share.
    pub(super) fn withdraw(&self, server: &ServerState, mux: &ServerMux) {
        self.shared.withdraw(server, mux);
    }

    /// The same of one that is being made, for which it waits.
    pub async fn join_begun(
        &self,
        stream: &Stream,
        backend: &Proxy,
        server: &Server,
    ) -> Option<ServerConnection> {
        self.shared.join_begun(stream, backend, server).await
    }

    /// Takes the connection that was used last, is still good and has carried
    /// at least so many streams.
    pub fn take(
        &self,
        described: &Server,
        wanted: &Wanted,
        streams_min: u32,
    ) -> Option<ServerConnection> {
        let server = &described.state;
        let mut pools = self.by_server.borrow_mut();
        let pool = pools.get_mut(server.uid as usize)?.as_mut()?;
        let way = server.way();
        if way.of_file(described.way) != way {
            // What is kept goes the newest way, the stream another.
            return None;
        }
        Some(pool.find(wanted, streams_min)?.used_for(server, way))
    }

    /// The same from another thread's pool; None where that would have none.
    pub async fn take_from_neighbours(
        &self,
        described: &Server,
        wanted: &Wanted,
        streams_min: u32,
    ) -> Option<ServerConnection> {
        let threads = neighbours::with_idle(described, wanted);
        if threads == 0 || !here().shares_idle() {
            return None;
        }
        pool_box(neighbours::ask(described, wanted, streams_min, threads)).await
    }

    /// Gives an idle connection to another thread.
    pub(super) fn give(
        &self,
        server: &ServerState,
        wanted: &Wanted,
        streams_min: u32,
    ) -> Option<Idle> {
        let mut pools = self.by_server.borrow_mut();
        let pool = pools.get_mut(server.uid as usize).and_then(Option::as_mut);
        let Some(pool) = pool.filter(|pool| !pool.idle.is_empty()) else {
            // One was announced that was not kept.
            server.has_idle(here().thread(), false);
            return None;
        };
        pool.find(wanted, streams_min)
    }

    /// Keeps an idle connection that its stream did not wait for.
    pub(super) fn put_back(&self, server: &Arc<ServerState>, idle: Idle) {
        if here().keeps_nothing() || idle.way != server.way() {
            return reset(&idle.transport);
        }
        self.pool(server).keep(idle);
    }

    /// The pool of a server, made where there is none.
    fn pool(&self, server: &Arc<ServerState>) -> RefMut<'_, Pool> {
        let place = server.uid as usize;
        RefMut::map(self.by_server.borrow_mut(), |pools| {
            if pools.len() <= place {
                pools.resize_with(place + 1, || None);
            }
            pools[place].get_or_insert_with(|| Pool {
                server: Arc::clone(server),
                waker: Waker::from(Arc::new(Stirred {
                    server_uid: server.uid,
                })),
                idle: Vec::new(),
                peaks: [0; 2],
            })
        })
    }

    /// Whether this thread keeps a connection to a server.
    pub fn holds(&self, server: &ServerState) -> bool {
        let pools = self.by_server.borrow();
        pools
            .get(server.uid as usize)
            .and_then(Option::as_ref)
            .is_some_and(|pool| !pool.idle.is_empty())
            || self.shared.holds(server)
    }

    /// Keeps a connection for the next stream, if the server's options allow.
    pub fn put(&self, connection: ServerConnection, options: &ServerOptions) {
        let ServerConnection {
            link,
            mux,
            tls,
            state,
            input,
            streams,
            way,
            mark,
            private,
            authentication: _,
        } = connection;
        let transport = match (link, mux) {
            (Link::Http1(transport), _) => transport,
            (Link::Http2(stream), mux) => {
                drop(stream);
                if let Some(mux) = mux {
                    self.shared.released(&state, &mux, options);
                }
                return;
            }
        };
        let leftover = input.is_some_and(|i| !i.is_empty());
        let spoiled = leftover || transport.is_peer_closed() || transport.is_readable();
        if private || spoiled || here().keeps_nothing() || way != state.way() {
            return;
        }
        let spent = options.reuse_max.is_some_and(|most| streams > most);
        let full = options
            .pool_max
            .is_some_and(|most| state.idle.count.load(Ordering::Relaxed) >= most);
        let low = here().pool_low_fd_ratio();
        if spent || full || files_above(&transport, low) {
            return reset(&transport);
        }
        let mut pool = self.pool(&state);
        let used = pool.server.traffic.sessions.current().saturating_add(1);
        pool.peaks[0] = pool.peaks[0].max(used);
        // More than were in use at once lately will not be needed at once:
        // clients that come for one request each would fill the process.
        if pool.idle.len() >= pool.peaks[0].max(pool.peaks[1]) as usize && !pool.drops_ended() {
            return reset(&transport);
        }
        pool.keep(Idle {
            transport,
            tls,
            mark,
            streams,
            since: reactor::now(),
            way,
            marked: None,
        });
    }

    /// Closes the connection of this thread that has been idle for longest, if
    /// a new one finds more files in use than `tune.pool-high-fd-ratio` allows.
    pub fn make_room(&self, new: &Transport, high: Option<u32>) {
        if high.is_none() || !files_above(new, high) {
            return;
        }
        let mut pools = self.by_server.borrow_mut();
        let used = pools
            .iter_mut()
            .flatten()
            .filter(|pool| !pool.idle.is_empty());
        // The one that was idle for longest stands first in its pool.
        if let Some(pool) = used.min_by_key(|pool| pool.idle.first().map(|idle| idle.since)) {
            pool.remove(0);
        }
    }

    /// Closes all of them.
    pub fn clear(&self) {
        for pool in self.by_server.borrow_mut().iter_mut().flatten() {
            let idle = std::mem::take(&mut pool.idle);
            pool.dropped(idle.len());
        }
        self.shared.clear();
    }

    /// Closes what has been idle for the purge delay, and what leads to servers that get no
    /// streams any more, or by a way that is no more theirs; a few at a time. `second`:
    /// another one began.
    async fn look_through(&self, second: bool) {
        self.shared.purge();
        let mut next = Some(0);
        while let Some(at) = next {
            next = self.look_at_some(at, second);
            reactor::yield_now().await;
        }
    }

    /// Looks at some of the pools; says where to go on.
    fn look_at_some(&self, from: usize, second: bool) -> Option<usize> {
        let mut pools = self.by_server.borrow_mut();
        let mut left = CLOSED_AT_ONCE;
        let end = pools.len().min(from.saturating_add(POOLS_AT_ONCE));
        for at in from..end {
            let place = pools.get_mut(at)?;
            let Some(pool) = place.as_mut() else { continue };
            pool.purge(&mut left);
            if left == 0 {
                return Some(at);
            }
            if second {
                pool.peaks = [pool.server.traffic.sessions.current(), pool.peaks[0]];
            }
            // Nothing is ever kept for a server that is no more.
            if pool.idle.is_empty() && pool.server.is_retired() {
                *place = None;
            }
        }
        (end < pools.len()).then_some(end)
    }

    /// Closes the idle connections to a server that the server closed, or spoke on.
    fn close_spoiled(&self, server_uid: u32) {
        let mut pools = self.by_server.borrow_mut();
        let pool = pools.get_mut(server_uid as usize).and_then(Option::as_mut);
        if let Some(pool) = pool {
            let before = pool.idle.len();
            pool.idle.retain(|idle| !idle.is_spoiled());
            pool.dropped(before - pool.idle.len());
        }
    }

    /// After a change: closes what it left without a use.
    pub async fn tidy(&self) {
        self.look_through(false).await;
    }
}

impl Pool {
    /// Closes what is not to be kept, at most so many.
    fn purge(&mut self, left: &mut usize) {
        let now = reactor::now();
        let before = self.idle.len();
        let delay = Duration::from_millis(u64::from(self.server.purge_delay_ms()));
        let serves = self.server.usable_for_persistence() && !here().keeps_nothing();
        let way = self.server.way();
        self.idle.retain(|idle| {
            let keeps =
                serves && idle.way == way && now.saturating_duration_since(idle.since) < delay;
            if keeps || *left == 0 {
                return true;
            }
            *left -= 1;
            reset(&idle.transport);
            false
        });
        self.dropped(before - self.idle.len());
    }
}

/// Closes a connection that has nothing more to carry by a reset: an orderly
/// close would keep the port of each for a minute, and ports run out.
fn reset(transport: &Transport) {
    let _ = transport.set_linger_zero();
}

/// Whether more files are in use than so many percent of those that the process
/// may have. The system gives out the lowest free number, so that of a new
/// socket tells how many there are, or lately were.
fn files_above(socket: &Transport, percent: Option<u32>) -> bool {
    let Some(percent) = percent else { return false };
    let number = u64::try_from(socket.fd().as_raw_fd()).unwrap_or(0);
    number.saturating_mul(100) > u64::from(percent).saturating_mul(here().process.files_max)
}

/// Closes idle connections of the thread as soon as their servers close them, for as long
/// as it lives.
pub async fn watch() {
    loop {
        let server_uid = pools().stirred.next().await;
        pools().close_spoiled(server_uid);
    }
}

/// Looks through the thread's idle connections for as long as the thread lives.
pub async fn purge() {
    loop {
        reactor::sleep(PURGE_EVERY).await;
        pools().look_through(true).await;
    }
}
