//! Implements load balancing: chooses the server of a stream. The caller's [`Taker`] takes a slot
//! of the chosen server in the same step, or reports that the server is full.
//!
//! Round robin and least connections cost O(log n) per choice. Servers are in a heap, and their
//! changes (state, weight, a slot released by a full server) arrive as a list of servers to update.
//! The other algorithms use a table that is rebuilt when the set of servers changes.

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

/// Builds the balancing state of a new configuration from that of the previous one, so that no
/// stream has to wait for it. Must be called after the states are installed and before the
/// configuration serves, on a thread that serves no clients.
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
    pub fn place_of(&self, uid: u32) -> Option<ServerIndex> {
        let number = |servers: &[Server]| {
            let uids = servers.iter().map(|server| server.state.uid);
            uids.zip(0..).collect()
        };
        let places: &HashMap<u32, u32> = self.line.places.get_or_init(|| number(&self.servers));
        places.get(&uid).copied().map(ServerIndex)
    }
}

/// Properties of a stream that needs a server.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// Server on which the previous attempt of the stream failed; chosen only if there is no other.
    pub avoid: Option<ServerIndex>,
    /// Hash key of the stream; None uses round robin.
    pub key: Option<u32>,
    /// False: takes no slot and only returns the server to wait for.
    pub look: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Take {
    Taken,
    Full,
    /// The server has free slots, but another stream waits for them.
    Busy,
}

/// Result of [`choose`]. None: no server is usable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Choice {
    Taken(ServerIndex),
    /// No slot was taken. The stream must wait for this server, or for any server of the backend if
    /// this is None.
    Full(Option<ServerIndex>),
    None,
}

/// Callback that tries to take a slot of a server and returns whether it succeeded, or why not.
pub type Taker<'t> = &'t mut dyn FnMut(&Arc<ServerState>) -> Take;

/// Chooses a server by the backend's algorithm. Backups are only used if no other server is usable.
/// The first backup then takes all streams, unless `option allbackups` balances between them.
pub fn choose(proxy: &Proxy, request: &Request, take: Taker<'_>) -> Choice {
    let line = &proxy.line;
    let mut inner = line.inner();
    inner.fit(proxy);
    if line.has_changes.load(Ordering::SeqCst) {
        let news = proxy.state.backend.balance.take_changes(&line.has_changes);
        inner.refresh(proxy, &news);
    }
    inner.choose(proxy, request, take)
}
