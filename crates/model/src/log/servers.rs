//! Which server of a backend in `mode log` gets a line.

use super::sink;
use crate::balance::{self, Choice, Request, Take, of_message};
use crate::config::{
    Config, ListenerIndex, LogServers, LogTargetAddress, Proxy, ProxyIndex, ServerIndex,
};
use crate::transaction::{Endpoint, Session, Stream, of_check};
use std::rc::Rc;
use std::sync::Arc;

thread_local! {
    /// The stream that the converters of `balance log-hash` see: messages have none.
    static NOBODY: Stream = nobody();
}

/// A stream of no client, in a configuration of its own.
fn nobody() -> Stream {
    let config = Config {
        proxies: vec![Proxy::default()],
        ..Config::default()
    };
    // No listener has this number.
    let place = ListenerIndex {
        frontend: ProxyIndex(0),
        bind: u32::MAX,
    };
    let session = Session::new(Arc::new(config), place, Endpoint::Unix, Endpoint::Unix);
    of_check(Rc::new(session), false)
}

/// Puts the line of a message into the queue for its target. Where that is a backend
/// without a usable server, nobody gets it, and it is counted.
pub fn send(config: &Config, target: &LogTargetAddress, line: Vec<u8>, message: &[u8]) {
    let LogTargetAddress::Backend(name) = target else {
        return sink::send(target, line);
    };
    let backend = config.backend(name).map(|index| config.proxy(index));
    let server = backend.and_then(|proxy| {
        let servers = proxy.log_servers.as_deref()?;
        let chosen = choose(proxy, servers, message)?;
        servers.addresses.get(chosen.0 as usize)
    });
    match server {
        Some(address) => sink::send(address, line),
        None => sink::count_dropped(),
    }
}

/// Returns the server of a log backend that gets `message`.
pub fn choose(proxy: &Proxy, servers: &LogServers, message: &[u8]) -> Option<ServerIndex> {
    if servers.sticky {
        return longest_usable(proxy);
    }
    let key = proxy.balance.is_by_key().then(|| {
        let of = |nobody: &Stream| of_message(message, proxy, nobody);
        NOBODY.with(of)
    });
    next(proxy, key.flatten())
}

/// The server that has been usable for longest, so that one which comes back changes
/// nothing; a backup where there is no other.
fn longest_usable(proxy: &Proxy) -> Option<ServerIndex> {
    let servers = proxy.servers.iter().map(|server| &server.state);
    let usable = servers.enumerate().filter(|(_, state)| state.usable());
    let longest = usable.min_by_key(|(_, state)| (state.backup(), state.rank()));
    longest.map(|(at, _)| ServerIndex(at as u32))
}

fn next(proxy: &Proxy, key: Option<u32>) -> Option<ServerIndex> {
    let request = Request {
        avoid: None,
        key,
        look: true,
    };
    // A line takes no place at a server.
    match balance::choose(proxy, &request, &mut |_| Take::Taken) {
        Choice::Taken(server) => Some(server),
        Choice::Full(_) | Choice::None => None,
    }
}
