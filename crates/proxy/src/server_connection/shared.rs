//! Shares HTTP/2 connections to servers among the streams of many clients, per thread. A
//! connection without streams is kept under the same rules as an idle one in the pools.

use super::pool::pools;
use super::secured::{ConnectionRequirements, Secured};
use super::{Authentication, Mark, ServerConnection};
use model::config::{Proxy, Server, ServerOptions};
use model::state::{ServerState, Way};
use model::thread::current_thread_data;
use model::transaction::ProxyStream;
use mux::ServerMux;
use mux::link::PeerConnection;
use reactor::{self, with_deadline};
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Poll, Waker};
use std::time::Duration;

/// Maximum number of streams that wait for the same connection while it is being established.
/// Further streams open another connection.
const WAITING_MAX: usize = 100;

struct Entry {
    mux: ServerMux,
    tls: Option<Rc<Secured>>,
    mark: Mark,
    way: Way,
    /// The connection counts as idle for its server.
    counted: bool,
}

struct Group {
    server: Arc<ServerState>,
    entries: Vec<Entry>,
    begun: Vec<Rc<Begun>>,
}

/// A connection that is being established, for the streams that want to share it.
#[derive(Default)]
struct Begun {
    /// True: the connection is established. False: it failed. None: pending.
    made: Cell<Option<bool>>,
    waiting: RefCell<Vec<Waker>>,
}

/// Held by the stream that establishes a connection. The streams that wait for the connection are
/// woken when this is dropped.
pub(super) struct Making {
    server: u32,
    begun: Rc<Begun>,
}

impl Making {
    pub(super) fn made(self) {
        self.begun.made.set(Some(true));
    }
}

impl Drop for Making {
    fn drop(&mut self) {
        if self.begun.made.get().is_none() {
            self.begun.made.set(Some(false));
        }
        pools().shared.forget(self.server, &self.begun);
        for waker in self.begun.waiting.take() {
            waker.wake();
        }
    }
}

/// HTTP/2 connections of a thread, by the unique numbers of the servers.
#[derive(Default)]
pub(super) struct SharedConnections {
    by_server: RefCell<Vec<Option<Group>>>,
}

impl SharedConnections {
    /// Opens a stream on a connection to a server. A connection without streams is used only if it
    /// has carried at least this many streams; None excludes such connections.
    #[inline]
    pub(super) fn join(
        &self,
        described: &Server,
        wanted: &ConnectionRequirements,
        streams_min: Option<u32>,
    ) -> Option<ServerConnection> {
        // Returns early, because most servers have no HTTP/2 connection, and their streams should
        // not pay for a search.
        if self.has_group(&described.state) {
            self.find(described, wanted, streams_min)
        } else {
            None
        }
    }

    #[inline]
    fn has_group(&self, server: &ServerState) -> bool {
        let groups = self.by_server.borrow();
        groups.get(server.uid as usize).is_some_and(Option::is_some)
    }

    #[inline(never)]
    fn find(
        &self,
        described: &Server,
        wanted: &ConnectionRequirements,
        streams_min: Option<u32>,
    ) -> Option<ServerConnection> {
        let server = &described.state;
        let mut groups = self.by_server.borrow_mut();
        let group = groups.get_mut(server.uid as usize)?.as_mut()?;
        let way = server.way();
        if way.of_file(described.way) != way {
            // Uses none if the stream has an older address or older options: kept connections have
            // the newest ones.
            return None;
        }
        let most = described.options.reuse_max;
        let mut at = 0;
        while let Some(entry) = group.entries.get_mut(at) {
            let mux = &entry.mux;
            let carried = mux.opened_streams();
            if !mux.is_usable() || entry.way != way || most.is_some_and(|most| carried > most) {
                group.remove(at);
                continue;
            }
            let idle = mux.streams() == 0;
            let right = wanted.is_of(entry.tls.as_ref(), &entry.mark);
            let may = right && (!idle || streams_min.is_some_and(|least| carried >= least));
            if may && let Some(stream) = mux.open() {
                let (mux, tls, mark) = (mux.clone(), entry.tls.clone(), entry.mark.clone());
                group.count(at);
                return Some(ServerConnection {
                    link: PeerConnection::Http2(stream),
                    mux: Some(mux),
                    tls,
                    state: server.clone(),
                    input: None,
                    streams: carried,
                    way,
                    mark,
                    private: false,
                    authentication: Authentication::None,
                });
            }
            at += 1;
        }
        None
    }

    /// Waits for a connection to a server that is being established, and opens a stream on it.
    pub(super) async fn join_begun(
        &self,
        stream: &ProxyStream,
        backend: &Proxy,
        server: &Server,
    ) -> Option<ServerConnection> {
        let limit_ms = backend.timeouts.connect_ms.or(backend.timeouts.server_ms);
        let deadline = limit_ms.map(|ms| reactor::now() + Duration::from_millis(u64::from(ms)));
        debug_assert!(stream.http);
        let wanted = ConnectionRequirements::of(server, stream);
        loop {
            let begun = self.begun(server)?;
            let made = poll_fn(|context| match begun.made.get() {
                Some(made) => Poll::Ready(made),
                None => {
                    let mut waiting = begun.waiting.borrow_mut();
                    if !waiting.iter().any(|one| one.will_wake(context.waker())) {
                        waiting.push(context.waker().clone());
                    }
                    Poll::Pending
                }
            });
            match with_deadline(deadline, made).await {
                Ok(true) => {}
                Ok(false) | Err(_) => return None,
            }
            if let Some(connection) = self.join(server, &wanted, Some(0)) {
                return Some(connection);
            }
        }
    }

    fn begun(&self, server: &Server) -> Option<Rc<Begun>> {
        let groups = self.by_server.borrow();
        let group = groups.get(server.state.uid as usize)?.as_ref()?;
        let has_room = |begun: &&Rc<Begun>| begun.waiting.borrow().len() < WAITING_MAX;
        group.begun.iter().find(has_room).map(Rc::clone)
    }

    fn group<R>(&self, server: &Arc<ServerState>, change: impl FnOnce(&mut Group) -> R) -> R {
        let mut groups = self.by_server.borrow_mut();
        let place = server.uid as usize;
        if groups.len() <= place {
            groups.resize_with(place + 1, || None);
        }
        change(groups[place].get_or_insert_with(|| Group {
            server: Arc::clone(server),
            entries: Vec::new(),
            begun: Vec::new(),
        }))
    }

    /// Registers that a connection to a server is being established that many streams can share.
    pub(super) fn making(&self, server: &Arc<ServerState>) -> Making {
        let begun = Rc::<Begun>::default();
        self.group(server, |group| group.begun.push(Rc::clone(&begun)));
        Making {
            server: server.uid,
            begun,
        }
    }

    fn forget(&self, server: u32, begun: &Rc<Begun>) {
        let mut groups = self.by_server.borrow_mut();
        if let Some(Some(group)) = groups.get_mut(server as usize) {
            group.begun.retain(|one| !Rc::ptr_eq(one, begun));
        }
    }

    pub(super) fn add(
        &self,
        server: &Arc<ServerState>,
        mux: ServerMux,
        way: Way,
        tls: Option<Rc<Secured>>,
        mark: Mark,
    ) {
        let counted = false;
        self.group(server, |group| {
            group.entries.push(Entry {
                mux,
                tls,
                mark,
                way,
                counted,
            })
        });
    }

    /// Prevents streams of other clients from using a connection in future.
    pub(super) fn withdraw(&self, server: &ServerState, mux: &ServerMux) {
        let mut groups = self.by_server.borrow_mut();
        let Some(Some(group)) = groups.get_mut(server.uid as usize) else {
            return;
        };
        if let Some(at) = group.entries.iter().position(|entry| entry.mux.is(mux)) {
            let entry = group.entries.remove(at);
            if entry.counted {
                group.server.idle.count.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }

    /// Called when a stream of a connection ends. A connection without streams is kept if the
    /// server's options allow it.
    pub(super) fn released(&self, state: &ServerState, mux: &ServerMux, options: &ServerOptions) {
        let mut groups = self.by_server.borrow_mut();
        let Some(Some(group)) = groups.get_mut(state.uid as usize) else {
            return;
        };
        let Some(at) = group.entries.iter().position(|entry| entry.mux.is(mux)) else {
            return;
        };
        let idle = mux.streams() == 0;
        let full = options
            .pool_max
            .is_some_and(|most| state.idle.count.load(Ordering::Relaxed) >= most);
        let spent = options
            .reuse_max
            .is_some_and(|most| mux.opened_streams() > most);
        if spent || idle && (full || current_thread_data().keeps_nothing()) {
            group.remove(at);
        } else {
            group.count(at);
        }
    }

    pub(super) fn holds(&self, server: &ServerState) -> bool {
        let groups = self.by_server.borrow();
        let group = groups.get(server.uid as usize).and_then(Option::as_ref);
        group.is_some_and(|group| group.entries.iter().any(|entry| entry.mux.is_usable()))
    }

    pub(super) fn clear(&self) {
        for group in self.by_server.borrow_mut().iter_mut().flatten() {
            group.close_if(|entry| entry.mux.streams() == 0);
        }
    }

    /// Closes connections that have ended or have been idle for the purge delay, and those to
    /// servers that get no more streams or have another address or options now.
    pub(super) fn purge(&self) {
        for place in self.by_server.borrow_mut().iter_mut() {
            let Some(group) = place else { continue };
            group.purge();
            let empty = group.entries.is_empty() && group.begun.is_empty();
            if empty && group.server.is_retired() {
                *place = None;
            }
        }
    }
}

impl Group {
    /// Counts a connection as idle if it is unused.
    fn count(&mut self, at: usize) {
        let Some(entry) = self.entries.get_mut(at) else {
            return;
        };
        let idle = entry.mux.streams() == 0;
        if idle != std::mem::replace(&mut entry.counted, idle) {
            if idle {
                self.server.idle.count.fetch_add(1, Ordering::Relaxed);
            } else {
                self.server.idle.count.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }

    /// Removes a connection, which closes when its last stream ends.
    fn remove(&mut self, at: usize) {
        let entry = self.entries.remove(at);
        if entry.counted {
            self.server.idle.count.fetch_sub(1, Ordering::Relaxed);
        }
        entry.mux.close();
    }

    fn close_if(&mut self, test: impl Fn(&Entry) -> bool) {
        let mut at = 0;
        while let Some(entry) = self.entries.get(at) {
            if test(entry) {
                self.remove(at);
            } else {
                self.count(at);
                at += 1;
            }
        }
    }

    fn purge(&mut self) {
        let now = reactor::now();
        let delay = Duration::from_millis(u64::from(self.server.purge_delay_ms()));
        let serves = self.server.usable_for_persistence() && !current_thread_data().keeps_nothing();
        let way = self.server.way();
        self.close_if(|entry| {
            let old = entry
                .mux
                .idle_since()
                .is_some_and(|since| !serves || now.saturating_duration_since(since) >= delay);
            old || entry.way != way || !entry.mux.is_usable()
        });
    }
}
