//! Puts a tree into service: gives it the states of the tree before it, by
//! name, and tells the states what the new file says.

use super::{ProxyState, ServerState};
use crate::config::{Config, ProxyOption};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// Gives a tree that is about to serve its states: those of `old` where the
/// names are the same, so that counters, health, weights that an operator set
/// and queues go on. Servers that are no more are retired. To be called once
/// for each tree, before its first stream, also without an older tree.
pub fn install(config: &mut Config, old: Option<&Config>, now_ms: u64) {
    let fullconn = default_fullconn(config);
    let before = old.map(by_name).unwrap_or_default();
    let mut kept = std::collections::HashSet::new();
    for (at, proxy) in config.proxies.iter_mut().enumerate() {
        // A backend and a frontend may share a name.
        let name: (&str, bool) = (&proxy.name, proxy.kind.is_frontend());
        let known = before.get(&name);
        if let Some(known) = known {
            proxy.state = Arc::clone(known.state);
        } else {
            proxy.state.begin(now_ms);
        }
        proxy
            .state
            .all_backups
            .store(proxy.options.has(ProxyOption::AllBackups), Relaxed);
        proxy
            .state
            .fullconn
            .store(proxy.fullconn.unwrap_or(fullconn[at]), Relaxed);
        for (index, server) in proxy.servers.iter_mut().enumerate() {
            let state = known.and_then(|known| known.servers.get(&*server.name));
            if let Some(state) = state {
                server.state = Arc::clone(state);
            } else if !Arc::ptr_eq(&server.state.backend, &proxy.state) {
                server.state = Arc::new(ServerState::new(&server.name, Arc::clone(&proxy.state)));
            }
            kept.insert(server.state.uid);
            server.state.index_hint.store(index as u32, Relaxed);
            server.state.configure(server, now_ms);
        }
    }
    for server in old
        .into_iter()
        .flat_map(|old| &old.proxies)
        .flat_map(|proxy| &proxy.servers)
    {
        if !kept.contains(&server.state.uid) {
            server.state.retire(now_ms);
        }
    }
}

/// The states of one proxy.
struct Known<'c> {
    state: &'c Arc<ProxyState>,
    servers: HashMap<&'c str, &'c Arc<ServerState>>,
}

fn by_name(config: &Config) -> HashMap<(&str, bool), Known<'_>> {
    let known = |proxy| {
        let proxy: &crate::config::Proxy = proxy;
        let servers = proxy
            .servers
            .iter()
            .map(|server| (&*server.name, &server.state))
            .collect();
        Known {
            state: &proxy.state,
            servers,
        }
    };
    let name = |proxy: &crate::config::Proxy| proxy.kind.is_frontend();
    config
        .proxies
        .iter()
        .map(|proxy| ((&*proxy.name, name(proxy)), known(proxy)))
        .collect()
}

/// `fullconn` where the file gives none: a tenth, rounded up, of what the frontends
/// that may lead to the backend can hold together, at least 1.
fn default_fullconn(config: &Config) -> Vec<u32> {
    let mut sums = vec![0u64; config.proxies.len()];
    for (at, proxy) in config.proxies.iter().enumerate() {
        let room = u64::from(
            proxy
                .maxconn
                .or(config.global.maxconn)
                .unwrap_or(FRONTEND_ROOM),
        );
        let mut targets: Vec<usize> = Vec::new();
        if proxy.kind.is_backend() && proxy.kind.is_frontend() {
            targets.push(at);
        }
        let switched = proxy
            .use_backend
            .iter()
            .filter_map(|rule| match &rule.target {
                crate::config::SwitchTarget::Static(reference) => Some(reference),
                crate::config::SwitchTarget::Dynamic(_) => None,
            });
        targets.extend(
            switched
                .chain(&proxy.default_backend)
                .filter_map(|reference| reference.index)
                .map(|index| index.0 as usize),
        );
        targets.sort_unstable();
        targets.dedup();
        for target in targets {
            if let Some(sum) = sums.get_mut(target) {
                *sum += room;
            }
        }
    }
    sums.into_iter()
        .map(|sum| sum.div_ceil(10).clamp(1, u64::from(u32::MAX)) as u32)
        .collect()
}

/// What a frontend is taken to hold where no `maxconn` says so.
const FRONTEND_ROOM: u32 = 2000;
