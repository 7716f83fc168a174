//! Balancing: which server takes a stream. Values only; whether a server has
//! room is asked of the caller, who takes a slot in the same moment.
//!
//! Round robin and least connections cost O(log n) a choice: servers stand in
//! a heap, and what changes about them (state, weight, a slot given back to a
//! full one) comes as a list of names to look at. The other algorithms go by a
//! table that is made anew when a server comes or goes.

mod inner;
mod key;
mod room;
mod table;
#[cfg(test)]
mod tests;

use crate::config::{Config, Proxy, Server, ServerIndex};
use crate::state::ServerState;
pub use key::{of as key_of, of_message};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Puts the servers of a tree that is about to serve in line, where those of
/// the tree before it stand, so that no stream has to wait for that. To be
/// called when its states are installed, on a thread that may take its time.
pub fn prepare(config: &Config, old: Option<&Config>) {
    let before: HashMap<_, &Proxy> = old
        .into_iter()
        .flat_map(|old| &old.proxies)
        .filter(|proxy| proxy.kind.is_backend())
        .map(|proxy| (Arc::as_ptr(&proxy.state), proxy))
        .collect();
    for proxy in config.proxies.iter().filter(|p| !p.servers.is_empty()) {
        let was = before
            .get(&Arc::as_ptr(&proxy.state))
            .map(|old| old.line.inner().positions());
        proxy.place_of(0);
        proxy.line.inner().build(proxy, was.unwrap_or_default());
    }
}

impl Proxy {
    /// The place of a server of this tree by its uid.
    pub fn place_of(&self, uid: u32) -> Option<ServerIndex> {
        let number = |servers: &[Server]| {
            let uids = servers.iter().map(|server| server.state.uid);
            uids.zip(0..).collect()
        };
        let places: &HashMap<u32, u32> = self.line.places.get_or_init(|| number(&self.servers));
        places.get(&uid).copied().map(ServerIndex)
    }
}

/// What is known of the stream that wants a server.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// A server that failed the stream: taken only where there is no other.
    pub avoid: Option<ServerIndex>,
    /// What stands for the stream where a hash chooses; None takes turns.
    pub key: Option<u32>,
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
    let line = &proxy.line;
    let mut inner = line.inner();
    inner.fit(proxy);
    if line.bell.load(Ordering::SeqCst) {
        let news = proxy.state.backend.balance.news_for(&line.bell);
        inner.refresh(proxy, &news);
    }
    inner.choose(proxy, request, take)
}
