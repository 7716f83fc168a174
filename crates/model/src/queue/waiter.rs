//! Lets a stream wait in a queue, and transfers a slot to it from another thread.

use crate::config::{Config, Proxy, ProxyIndex, Server, ServerIndex};
use crate::state::queue::{Granted, Hand, QueuePosition, ServerSlot, Waiter};
use crate::state::{ProxyState, ServerState};
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

impl Waiter {
    pub(super) fn new(
        config: Arc<Config>,
        backend: ProxyIndex,
        avoid: Option<ServerIndex>,
    ) -> Self {
        Waiter {
            config,
            backend,
            avoid,
            hand: Mutex::new(Hand::Empty(None)),
        }
    }

    pub(super) fn backend(&self) -> &Proxy {
        let config: &Config = self
            .config
            .downcast_ref()
            .expect("a waiter is made with a configuration");
        config.proxy(self.backend)
    }

    /// Returns the server's index in this stream's configuration.
    pub(super) fn index_of(&self, server: &Arc<ServerState>) -> Option<ServerIndex> {
        let servers = &self.backend().servers;
        let is = |at: &ServerIndex| {
            servers
                .get(at.0 as usize)
                .is_some_and(|s| Arc::ptr_eq(&s.state, server))
        };
        // Tries the index in the newest configuration first, because it is usually the same in the
        // configuration of this stream.
        let hint = ServerIndex(server.in_balance.index_hint.load(Relaxed));
        Some(hint)
            .filter(is)
            .or_else(|| self.backend().place_of(server.uid).filter(is))
    }

    pub(super) fn accepts(&self, index: ServerIndex) -> bool {
        self.avoid != Some(index) || self.backend().state.usable_servers() <= 1
    }

    /// Transfers a slot that is already counted. Returns false if the stream has left the queue;
    /// the caller then keeps the slot.
    pub(super) fn transfer_slot(&self, index: ServerIndex, server: &Arc<ServerState>) -> bool {
        let waker = {
            let mut hand = self.hand();
            match &mut *hand {
                Hand::Empty(waker) => {
                    let waker = waker.take();
                    *hand = Hand::Full(Granted {
                        server: index,
                        slot: ServerSlot::counted(server),
                    });
                    waker
                }
                Hand::Full(..) | Hand::Gone => return false,
            }
        };
        if let Some(waker) = waker {
            waker.wake();
        }
        true
    }

    fn hand(&self) -> MutexGuard<'_, Hand> {
        self.hand.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn leave(&self) -> Option<Granted> {
        match std::mem::replace(&mut *self.hand(), Hand::Gone) {
            Hand::Full(granted) => Some(granted),
            Hand::Empty(_) | Hand::Gone => None,
        }
    }

    fn fetch(&self) -> Option<Granted> {
        let mut hand = self.hand();
        if !matches!(*hand, Hand::Full(..)) {
            return None;
        }
        match std::mem::replace(&mut *hand, Hand::Gone) {
            Hand::Full(granted) => Some(granted),
            _ => None,
        }
    }
}

/// A position in a queue. Resolves to a server and its slot. Dropping the ticket leaves the queue,
/// and the next waiter gets a slot that was transferred meanwhile.
#[derive(Debug)]
pub struct Ticket {
    waiter: Arc<Waiter>,
    position: QueuePosition,
    server: Option<Arc<ServerState>>,
    backend: Arc<ProxyState>,
    fetched: bool,
}

impl Ticket {
    pub(super) fn new(
        waiter: Arc<Waiter>,
        turn: QueuePosition,
        server: Option<Arc<ServerState>>,
        backend: Arc<ProxyState>,
    ) -> Self {
        Ticket {
            waiter,
            position: turn,
            server,
            backend,
            fetched: false,
        }
    }

    /// Returns the server in whose queue the stream waits; None for the backend's queue.
    pub fn server(&self, backend: &Proxy) -> Option<ServerIndex> {
        let waits_at = self.server.as_ref()?;
        let at = |server: &Server| Arc::ptr_eq(&server.state, waits_at);
        let at = backend.servers.iter().position(at)?;
        u32::try_from(at).ok().map(ServerIndex)
    }

    /// Returns the slot if it was already granted.
    pub fn granted(&mut self) -> Option<Granted> {
        let fetched = self.waiter.fetch();
        self.fetched |= fetched.is_some();
        fetched
    }
}

impl Future for Ticket {
    type Output = Granted;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        {
            let mut hand = self.waiter.hand();
            if let Hand::Empty(waker) = &mut *hand {
                match waker {
                    Some(waker) => waker.clone_from(context.waker()),
                    None => *waker = Some(context.waker().clone()),
                }
                return Poll::Pending;
            }
        }
        match self.granted() {
            Some(granted) => Poll::Ready(granted),
            // Remains pending if it is polled again after completion.
            None => Poll::Pending,
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.fetched {
            return;
        }
        let mut left = None;
        {
            // Takes the server's lock before the backend's, as everywhere, to avoid a deadlock.
            let mut own = self
                .server
                .as_ref()
                .map(|server| (server, server.queue.list()));
            let mut any = self.backend.backend.queue.list();
            if let Some((server, own)) = &mut own
                && own.remove(&self.position).is_some()
            {
                server.queue.waiting.decrement();
                left = Some(Arc::clone(server));
            } else if any.remove(&self.position).is_some() {
                self.backend.backend.queue.waiting.decrement();
            }
        }
        if let Some(server) = left {
            server.relieved();
        }
        // Drops a slot that was transferred meanwhile, without the locks, because the drop may
        // serve the next waiter.
        drop(self.waiter.leave());
    }
}
