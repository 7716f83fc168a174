//! Balancing: which server takes a stream. Values only; whether a server has
//! room is asked of the caller, who takes a slot in the same moment.
//!
//! Round robin and least connections cost O(log n) a choice: servers stand in
//! a heap, and what changes about them (state, weight, a slot given back to a
//! full one) comes as a list of names to look at. The other algorithms go by a
//! table that is made anew when a server comes or goes.

mod heap;
mod inner;
mod table;
#[cfg(test)]
mod tests;

use crate::config::{Proxy, ServerIndex};
use crate::state::ServerState;
use inner::Inner;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// What a backend's algorithm remembers.
#[derive(Debug, Default)]
pub struct State {
    inner: Mutex<Inner>,
    /// uids of servers about which something changed. Each is on it once.
    news: Mutex<Vec<u32>>,
    has_news: AtomicBool,
}

/// What is known of the stream that wants a server.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// The client's address; a Unix socket has none.
    pub source: Option<IpAddr>,
    /// A server that failed the stream: taken only where there is no other.
    pub avoid: Option<ServerIndex>,
    /// False: only say which server would have to be waited for.
    pub look: bool,
}

/// What came of trying to take a slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Take {
    /// It is taken.
    Taken,
    /// The server has none.
    Full,
    /// Somebody waits for what it has.
    Busy,
}

/// What was chosen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Choice {
    /// This server; its slot is taken.
    Taken(ServerIndex),
    /// All are full: wait for this one, or for any.
    Full(Option<ServerIndex>),
    /// No server can be used.
    None,
}

/// Takes a slot of a server, or says why not.
pub type Taker<'t> = &'t mut dyn FnMut(&Arc<ServerState>) -> Take;

/// Chooses a server by the backend's algorithm. Servers that are no backups
/// come first; of the backups the first takes all, unless `option allbackups`
/// balances over them.
pub fn choose(proxy: &Proxy, request: &Request, take: Taker<'_>) -> Choice {
    let state = &proxy.state.balance;
    let mut inner = state.inner.lock().unwrap_or_else(PoisonError::into_inner);
    inner.fit(proxy);
    if state.has_news.load(Ordering::SeqCst) {
        state.has_news.store(false, Ordering::SeqCst);
        let news = {
            let mut news = state.news.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *news)
        };
        inner.refresh(proxy, &news);
    }
    inner.choose(proxy, request, take)
}

impl State {
    /// Puts a server on the list of those to look at.
    pub(crate) fn list(&self, uid: u32) {
        self.news
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(uid);
        self.has_news.store(true, Ordering::SeqCst);
    }
}
