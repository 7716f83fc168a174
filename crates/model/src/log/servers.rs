//! Chooses the server that receives a log line if the log target is a backend with `mode log`.

use super::sink;
use crate::balance::{self, Choice, Request, Take, of_message};
use crate::config::{
    Config, ListenerIndex, LogServers, LogTargetAddress, Proxy, ProxyIndex, ServerIndex,
};
use crate::transaction::{Endpoint, ProxyStream, Session, of_check};
use std::rc::Rc;
use std::sync::Arc;

thread_local! {
    /// Dummy stream for the converters of `balance log-hash`, since log messages have no stream.
    static NOBODY: ProxyStream = nobody();
}

/// Creates a stream without a client, in an empty configuration.
fn nobody() -> ProxyStream {
    let config = Config {
        proxies: vec![Proxy::default()],
        ..Config::default()
    };
    // Names a listener that does not exist. No listener of this stream is ever looked up.
    let place = ListenerIndex {
        frontend: ProxyIndex(0),
        bind: u32::MAX,
    };
    let session = Session::new(Arc::new(config), place, Endpoint::Unix, Endpoint::Unix);
    of_check(Rc::new(session), false)
}

/// Queues the line of a message for its target. If the target is a backend without a usable server,
/// the line is dropped and counted.
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

pub fn choose(proxy: &Proxy, servers: &LogServers, message: &[u8]) -> Option<ServerIndex> {
    if servers.sticky {
        return longest_usable(proxy);
    }
    let key = proxy.balance.is_by_key().then(|| {
        let of = |nobody: &ProxyStream| of_message(message, proxy, nobody);
        NOBODY.with(of)
    });
    next(proxy, key.flatten())
}

/// Returns the server that has been usable for longest, so that a recovered server changes nothing.
/// Returns a backup server only if there is no other.
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
    // Reports every slot as taken, because a log line occupies no slot of the server.
    match balance::choose(proxy, &request, &mut |_| Take::Taken) {
        Choice::Taken(server) => Some(server),
        Choice::Full(_) | Choice::None => None,
    }
}
