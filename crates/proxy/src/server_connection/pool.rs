//! Keeps idle connections to servers, per thread. When the server closes one of them or sends
//! unexpected data, the pool notices that without a system call, never reuses the connection, and
//! closes it at once ([`watch`]), because a server that serves one connection at a time waits for
//! that. A thread without an idle connection requests one from other threads
//! ([`super::neighbours`]).

use super::neighbours::{self, Marked};
use super::secured::{ConnectionRequirements, Secured};
use super::shared::SharedConnections;
use super::{Mark, ServerConnection};
use model::config::{Proxy, Server, ServerOptions};
use model::state::{ServerState, Way};
use model::thread::current_thread_data;
use model::transaction::ProxyStream;
use mux::ServerMux;
use mux::link::PeerConnection;
use reactor::{self, Instant, pool_box};
use std::cell::{RefCell, RefMut};
use std::future::poll_fn;
use std::os::fd::AsRawFd;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Poll, Wake, Waker};
use std::time::Duration;
use tls::transport::ConnectionTransport;

const PURGE_EVERY: Duration = Duration::from_secs(1);
/// Maximum number of idle connections closed in one step.
const CLOSED_AT_ONCE: usize = 16;
const POOLS_AT_ONCE: usize = 256;

/// A connection that carries no stream.
pub(super) struct Idle {
    pub(super) transport: ConnectionTransport,
    pub(super) tls: Option<Rc<Secured>>,
    pub(super) mark: Mark,
    pub(super) streams: u32,
    pub(super) since: Instant,
    pub(super) way: Way,
    pub(super) marked: Option<Marked>,
}

/// Waker of the idle connections to one server in a thread's pool: wakes [`watch`]. All these
/// connections share it, so that none needs memory or a task of its own.
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

/// Servers whose idle connections had an event, each listed once.
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
    /// Returns whether the server closed the connection or sent unexpected data, so that no
    /// stream can use it.
    fn is_spoiled(&self) -> bool {
        self.transport.is_peer_closed() || self.transport.is_readable()
    }
}

struct Pool {
    server: Arc<ServerState>,
    waker: Waker,
    idle: Vec<Idle>,
    /// Highest number of connections in use at once: in the current second and in the previous
    /// one.
    peaks: [u32; 2],
}

impl Pool {
    fn dropped(&self, n: usize) {
        self.server
            .idle
            .count
            .fetch_sub(n as u32, Ordering::Relaxed);
        if n > 0 && self.idle.is_empty() {
            self.server.has_idle(current_thread_data().thread(), false);
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
            self.server.has_idle(current_thread_data().thread(), true);
        }
        idle.marked = Marked::new(&self.server, &idle.mark);
        idle.transport.socket().watch(&self.waker);
        self.idle.push(idle);
    }

    /// Drops the oldest connection if its server has closed it, so that a connection that no stream
    /// can use does not count against the limit. Returns whether it was dropped.
    fn drops_ended(&mut self) -> bool {
        let ended = |idle: &Idle| idle.transport.socket().has_peer_closed();
        let drops = self.idle.first().is_some_and(ended);
        if drops {
            self.remove(0);
        }
        drops
    }

    /// Takes the most recently used connection that is usable and has carried at least this many
    /// streams.
    fn find(&mut self, wanted: &ConnectionRequirements, streams_min: u32) -> Option<Idle> {
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

pub fn pools() -> &'static Pools {
    POOLS.with(|pools| *pools)
}

/// Pools of a thread, by the unique numbers of the servers.
#[derive(Default)]
pub struct Pools {
    by_server: RefCell<Vec<Option<Pool>>>,
    stirred: StirredServers,
    pub(super) shared: SharedConnections,
}

impl Pools {
    /// Opens a stream on an HTTP/2 connection that carries streams of other clients, or on an
    /// idle one that has carried at least this many.
    pub fn join(
        &self,
        server: &Server,
        wanted: &ConnectionRequirements,
        streams_min: Option<u32>,
    ) -> Option<ServerConnection> {
        self.shared.join(server, wanted, streams_min)
    }

    pub(super) fn withdraw(&self, server: &ServerState, mux: &ServerMux) {
        self.shared.withdraw(server, mux);
    }

    /// Waits for an HTTP/2 connection that is being established, and opens a stream on it.
    pub async fn join_begun(
        &self,
        stream: &ProxyStream,
        backend: &Proxy,
        server: &Server,
    ) -> Option<ServerConnection> {
        self.shared.join_begun(stream, backend, server).await
    }

    /// Takes the most recently used connection that is usable and has carried at least this many
    /// streams.
    pub fn take(
        &self,
        described: &Server,
        wanted: &ConnectionRequirements,
        streams_min: u32,
    ) -> Option<ServerConnection> {
        let server = &described.state;
        let mut pools = self.by_server.borrow_mut();
        let pool = pools.get_mut(server.uid as usize)?.as_mut()?;
        let way = server.way();
        if way.of_file(described.way) != way {
            // Takes none if the stream uses an older address or older options: pooled connections
            // have the newest ones.
            return None;
        }
        Some(pool.find(wanted, streams_min)?.used_for(server, way))
    }

    /// Takes a connection from another thread's pool; None if no thread has one for this stream.
    pub async fn take_from_neighbours(
        &self,
        described: &Server,
        wanted: &ConnectionRequirements,
        streams_min: u32,
    ) -> Option<ServerConnection> {
        let threads = neighbours::with_idle(described, wanted);
        if threads == 0 || !current_thread_data().shares_idle() {
            return None;
        }
        pool_box(neighbours::request_idle_connection(
            described,
            wanted,
            streams_min,
            threads,
        ))
        .await
    }

    pub(super) fn give(
        &self,
        server: &ServerState,
        wanted: &ConnectionRequirements,
        streams_min: u32,
    ) -> Option<Idle> {
        let mut pools = self.by_server.borrow_mut();
        let pool = pools.get_mut(server.uid as usize).and_then(Option::as_mut);
        let Some(pool) = pool.filter(|pool| !pool.idle.is_empty()) else {
            // Withdraws the announcement of a stream that its connection would become idle, because
            // the connection was not kept.
            server.has_idle(current_thread_data().thread(), false);
            return None;
        };
        pool.find(wanted, streams_min)
    }

    /// Keeps a connection that arrived from another thread after its stream had stopped waiting.
    pub(super) fn put_back(&self, server: &Arc<ServerState>, idle: Idle) {
        if current_thread_data().keeps_nothing() || idle.way != server.way() {
            return reset(&idle.transport);
        }
        self.pool(server).keep(idle);
    }

    /// Returns the pool of a server; creates it if necessary.
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

    pub fn holds(&self, server: &ServerState) -> bool {
        let pools = self.by_server.borrow();
        pools
            .get(server.uid as usize)
            .and_then(Option::as_ref)
            .is_some_and(|pool| !pool.idle.is_empty())
            || self.shared.holds(server)
    }

    /// Keeps a connection for the next stream, if the server's options allow it.
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
            (PeerConnection::Http1(transport), _) => transport,
            (PeerConnection::Http2(stream), mux) => {
                drop(stream);
                if let Some(mux) = mux {
                    self.shared.released(&state, &mux, options);
                }
                return;
            }
        };
        let leftover = input.is_some_and(|i| !i.is_empty());
        let spoiled = leftover || transport.is_peer_closed() || transport.is_readable();
        if private || spoiled || current_thread_data().keeps_nothing() || way != state.way() {
            return;
        }
        let spent = options.reuse_max.is_some_and(|most| streams > most);
        let full = options
            .pool_max
            .is_some_and(|most| state.idle.count.load(Ordering::Relaxed) >= most);
        let low = current_thread_data().pool_low_fd_ratio();
        if spent || full || files_above(&transport, low) {
            return reset(&transport);
        }
        let mut pool = self.pool(&state);
        let used = pool.server.traffic.sessions.current().saturating_add(1);
        pool.peaks[0] = pool.peaks[0].max(used);
        // Closes the connection if there are already as many idle ones as were recently in use at
        // once. Otherwise clients that send one request each would fill the process with idle
        // connections.
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

    /// Closes this thread's longest idle connection if more files are open than
    /// `tune.pool-high-fd-ratio` allows, to make room for a new connection.
    pub fn make_room(&self, new: &ConnectionTransport, high: Option<u32>) {
        if high.is_none() || !files_above(new, high) {
            return;
        }
        let mut pools = self.by_server.borrow_mut();
        let used = pools
            .iter_mut()
            .flatten()
            .filter(|pool| !pool.idle.is_empty());
        // Compares the first connections only, because the first of a pool has been idle longest.
        if let Some(pool) = used.min_by_key(|pool| pool.idle.first().map(|idle| idle.since)) {
            pool.remove(0);
        }
    }

    pub fn clear(&self) {
        for pool in self.by_server.borrow_mut().iter_mut().flatten() {
            let idle = std::mem::take(&mut pool.idle);
            pool.dropped(idle.len());
        }
        self.shared.clear();
    }

    /// Closes connections that have been idle for the purge delay, and those to servers that get
    /// no more streams or have another address or options now; a few at a time. `second`: a new
    /// second has begun.
    async fn purge_idle(&self, second: bool) {
        self.shared.purge();
        let mut next = Some(0);
        while let Some(at) = next {
            next = self.look_at_some(at, second);
            reactor::yield_now().await;
        }
    }

    /// Checks some of the pools; returns the index at which to continue.
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
            // Drops the empty pool of a removed server, for which no connection is kept any more.
            if pool.idle.is_empty() && pool.server.is_retired() {
                *place = None;
            }
        }
        (end < pools.len()).then_some(end)
    }

    /// Closes the idle connections that a server has closed or on which it has sent unexpected
    /// data.
    fn close_spoiled(&self, server_uid: u32) {
        let mut pools = self.by_server.borrow_mut();
        let pool = pools.get_mut(server_uid as usize).and_then(Option::as_mut);
        if let Some(pool) = pool {
            let before = pool.idle.len();
            pool.idle.retain(|idle| !idle.is_spoiled());
            pool.dropped(before - pool.idle.len());
        }
    }

    pub async fn close_useless(&self) {
        self.purge_idle(false).await;
    }
}

impl Pool {
    /// Closes connections that must not be kept, up to the number in `left`.
    fn purge(&mut self, left: &mut usize) {
        let now = reactor::now();
        let before = self.idle.len();
        let delay = Duration::from_millis(u64::from(self.server.purge_delay_ms()));
        let serves = self.server.usable_for_persistence() && !current_thread_data().keeps_nothing();
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

/// Closes an unused connection by a reset. An orderly close would keep its port in TIME_WAIT
/// for a minute, and ports would run out.
fn reset(transport: &ConnectionTransport) {
    let _ = transport.set_linger_zero();
}

/// Returns whether the process has more than this percentage of its maximum number of files open.
/// The system assigns the lowest free number, so the number of a new socket shows about how many
/// files are open.
fn files_above(socket: &ConnectionTransport, percent: Option<u32>) -> bool {
    let Some(percent) = percent else { return false };
    let number = u64::try_from(socket.fd().as_raw_fd()).unwrap_or(0);
    number.saturating_mul(100)
        > u64::from(percent).saturating_mul(current_thread_data().process.files_max)
}

/// Closes idle connections of the thread as soon as their servers close them, for the
/// lifetime of the thread.
pub async fn watch() {
    loop {
        let server_uid = pools().stirred.next().await;
        pools().close_spoiled(server_uid);
    }
}

/// Checks the thread's idle connections periodically, for the lifetime of the thread.
pub async fn purge() {
    loop {
        reactor::sleep(PURGE_EVERY).await;
        pools().purge_idle(true).await;
    }
}
