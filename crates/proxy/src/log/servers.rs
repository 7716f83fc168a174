//! Which server of a backend in `mode log` gets a line.

use super::sink;
use crate::balance::{self, Choice, Request, Take};
use crate::config::{Config, LogServers, LogTargetAddress, Proxy, ServerIndex};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// Puts a line into the queue for its target. Where that is a backend without a
/// usable server, nobody gets it, and it is counted.
pub(super) fn send(config: &Config, target: &LogTargetAddress, line: Vec<u8>) {
    let LogTargetAddress::Backend(name) = target else {
        return sink::send(target, line);
    };
    let backend = config.backend(name).map(|index| config.proxy(index));
    let server = backend.and_then(|proxy| {
        let servers = proxy.log_servers.as_deref()?;
        servers.addresses.get(choose(proxy, servers)?.0 as usize)
    });
    match server {
        Some(address) => sink::send(address, line),
        None => sink::count_dropped(),
    }
}

fn choose(proxy: &Proxy, servers: &LogServers) -> Option<ServerIndex> {
    match &servers.chosen {
        None => next(proxy),
        Some(chosen) => stay(proxy, chosen),
    }
}

/// The one of before for as long as it is usable; so a server that comes back
/// changes nothing.
fn stay(proxy: &Proxy, chosen: &AtomicU32) -> Option<ServerIndex> {
    let before = chosen.load(Relaxed).checked_sub(1);
    let server = before.and_then(|at| proxy.servers.get(at as usize));
    if let (Some(at), true) = (before, server.is_some_and(|s| s.state.usable())) {
        return Some(ServerIndex(at));
    }
    let next = next(proxy)?;
    chosen.store(next.0.saturating_add(1), Relaxed);
    Some(next)
}

fn next(proxy: &Proxy) -> Option<ServerIndex> {
    let request = Request {
        avoid: None,
        key: None,
        look: true,
    };
    // A line takes no place at a server.
    match balance::choose(proxy, &request, &mut |_| Take::Taken) {
        Choice::Taken(server) => Some(server),
        Choice::Full(_) | Choice::None => None,
    }
}
