//! Puts a tree into service: gives it the states of the tree before it, by
//! name, and tells the states what the new file says.

use super::ServerState;
use crate::config::{Config, Proxy, ProxyOption, Server, Tune};
use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// Gives a tree that is about to serve its states: those of `old` where the
/// names are the same, so that counters, health, weights that an operator set
/// and queues go on. Servers that are no more are retired. To be called once
/// for each tree, before its first stream, also without an older tree.
pub fn install(config: &mut Config, old: Option<&Config>, now_ms: u64) {
    adopt(config, old, now_ms);
    for gone in old.map(|old| missing(config, old)).unwrap_or_default() {
        gone.retire(now_ms);
    }
}

/// The same, but for those that are no more: while the older tree still serves,
/// its streams would be told of each.
pub(crate) fn adopt(config: &mut Config, old: Option<&Config>, now_ms: u64) {
    config.version = old.map_or(0, |old| old.version) + 1;
    if let Some(old) = old {
        config.lists.adopt(&old.lists);
    }
    config.frontends = config
        .iter()
        .filter(|(_, proxy)| proxy.kind.is_frontend())
        .map(|(index, proxy)| (proxy.name.clone(), index))
        .collect();
    let fullconn = default_fullconn(config);
    let before = old.map(by_name).unwrap_or_default();
    let tune = old.map(|old| &old.global.tune);
    for (at, proxy) in config.proxies.iter_mut().enumerate() {
        // A backend and a frontend may share a name.
        let name: (&str, bool) = (&proxy.name, proxy.kind.is_frontend());
        let known = before.get(&name);
        if let Some(known) = known {
            proxy.state = Arc::clone(&known.proxy.state);
            proxy.state.open_again();
        } else {
            proxy.state.begin(now_ms);
        }
        proxy
            .state
            .all_backups
            .store(proxy.options.has(ProxyOption::AllBackups), Relaxed);
        let full = proxy.fullconn.unwrap_or(fullconn[at]);
        let limits_move = proxy.state.fullconn.swap(full, Relaxed) != full;
        let settings = Settings::of(proxy);
        for (index, server) in proxy.servers.iter_mut().enumerate() {
            let described = known.and_then(|known| known.servers.get(&*server.name));
            if let (Some(described), Some(known)) = (described, known) {
                server.state = Arc::clone(&described.state);
                let same = tune.is_some_and(|tune| same_sockets(tune, &config.global.tune))
                    && Settings::of(known.proxy) == settings
                    && same_way(described, server);
                server.way = if same {
                    described.way
                } else {
                    server.state.next_way()
                };
            } else if !Arc::ptr_eq(&server.state.backend, &proxy.state) {
                server.state = Arc::new(ServerState::new(&server.name, Arc::clone(&proxy.state)));
            }
            server.state.set_way(server.way);
            server.state.index_hint.store(index as u32, Relaxed);
            server.state.configure(server, now_ms);
            if limits_move {
                crate::queue::flow(&server.state);
            }
        }
    }
}

/// The servers of `old` that a tree has no more.
pub(crate) fn missing(config: &Config, old: &Config) -> Vec<Arc<ServerState>> {
    let servers = |config: &'_ Config| -> Vec<Arc<ServerState>> {
        let all = config.proxies.iter().flat_map(|proxy| &proxy.servers);
        all.map(|server| Arc::clone(&server.state)).collect()
    };
    let kept: HashSet<u32> = servers(config).iter().map(|state| state.uid).collect();
    let mut gone = servers(old);
    gone.retain(|state| !kept.contains(&state.uid));
    gone
}

/// What of a backend decides how connections to its servers are made.
#[derive(PartialEq, Eq)]
struct Settings {
    source: Option<SocketAddr>,
    keep_alive: bool,
}

impl Settings {
    fn of(proxy: &Proxy) -> Settings {
        Settings {
            source: proxy.source,
            keep_alive: proxy.has(ProxyOption::ServerTcpKeepAlive),
        }
    }
}

/// The same of the whole configuration.
fn same_sockets(one: &Tune, other: &Tune) -> bool {
    one.rcvbuf_server == other.rcvbuf_server && one.sndbuf_server == other.sndbuf_server
}

/// Whether connections to a server of two trees are made alike.
fn same_way(one: &Server, other: &Server) -> bool {
    let of = |server: &Server| {
        let options = &server.options;
        (
            options.send_proxy,
            options.source,
            options.tcp_user_timeout_ms,
            options.tcp_fast_open,
        )
    };
    one.address == other.address
        && of(one) == of(other)
        && one.options.interface == other.options.interface
}

/// One proxy of the tree before.
struct Known<'c> {
    proxy: &'c Proxy,
    servers: HashMap<&'c str, &'c Server>,
}

fn by_name(config: &Config) -> HashMap<(&str, bool), Known<'_>> {
    let known = |proxy| {
        let proxy: &Proxy = proxy;
        let servers = proxy
            .servers
            .iter()
            .map(|server| (&*server.name, server))
            .collect();
        Known { proxy, servers }
    };
    config
        .proxies
        .iter()
        .map(|proxy| ((&*proxy.name, proxy.kind.is_frontend()), known(proxy)))
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
