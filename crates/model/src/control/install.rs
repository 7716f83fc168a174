//! Installs a new configuration: finds the states that the previous configuration used, by name,
//! and applies the settings of the new configuration file to them.

use super::renamed::FoundDown;
use crate::cache::Cache;
use crate::config::target::target;
use crate::config::{
    Bind, BindAddress, Config, Proxy, ProxyIndex, ProxyOption, Rare, Server, SourceWays, Tune,
};
use crate::state::{HealthState, ProxyState, ServerState};
use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// Connects a new configuration with the run-time states. An object whose name `old` contains
/// keeps its state, so that counters, health, queues and weights that an operator set continue.
/// Removed servers are retired. Must be called once for each configuration, before its first
/// stream, also without an older configuration.
pub fn install(config: &mut Config, old: Option<&Config>, now_ms: u64) {
    adopt(config, old, now_ms).end(now_ms);
}

/// Changes to servers of the older configuration that must wait until the new one serves, because
/// they would affect streams of the older one.
#[derive(Debug, Default)]
#[must_use]
pub struct Outdated {
    /// Servers that the new configuration no longer contains.
    gone: Vec<Arc<ServerState>>,
    /// Servers whose address in the file changed, which takes precedence over one set by
    /// an operator.
    moved: Vec<Arc<ServerState>>,
    /// Servers whose checks query another address now, and whether checks had found that address
    /// down.
    checked_elsewhere: Vec<(Arc<ServerState>, HealthState)>,
}

impl Outdated {
    /// Prevents further use of idle connections to removed servers.
    pub fn close_ways(&self) {
        self.gone.iter().for_each(|server| server.close_way());
    }

    /// Applies the changes after the new configuration began to serve.
    pub fn end(self, now_ms: u64) {
        for server in self.moved {
            server.set_address(None, now_ms);
        }
        for (server, health) in self.checked_elsewhere {
            server.restart_checks(health, now_ms);
        }
        for server in self.gone {
            server.retire(now_ms);
        }
    }
}

/// Variant of [`install`] that returns the changes that must wait until the configuration serves.
pub fn adopt(config: &mut Config, old: Option<&Config>, now_ms: u64) -> Outdated {
    let (mut moved, mut checked_elsewhere) = (Vec::new(), Vec::new());
    config.version = old.map_or(0, |old| old.version) + 1;
    if let Some(old) = old {
        config.lists.adopt(&old.lists);
        adopt_caches(config, old);
    }
    adopt_peers(config, old);
    config.tables.adopt(old.map(|old| &old.tables));
    config.frontends = config
        .iter()
        .filter(|(_, proxy)| proxy.kind.is_frontend())
        .map(|(index, proxy)| (proxy.name.clone(), index))
        .collect();
    let fullconn = default_fullconn(config);
    let before = old.map(by_name).unwrap_or_default();
    let same_tune = old.is_some_and(|old| same_sockets(&old.global.tune, &config.global.tune));
    let found_down = old
        .map(|old| FoundDown::of(old, config))
        .unwrap_or_default();
    let mut begun: HashMap<Box<str>, Arc<ProxyState>> = HashMap::new();
    for (at, proxy) in config.proxies.iter_mut().enumerate() {
        let known = before.get(&*proxy.name);
        let state = known.map(|known| known.state);
        give_state(proxy, state, &mut begun, now_ms);
        if let Some(known) = known.filter(|_| proxy.kind.is_frontend()) {
            renumber_listeners(proxy, known);
        }
        if !proxy.kind.is_backend() {
            continue;
        }
        proxy
            .state
            .backend
            .all_backups
            .store(proxy.options.has(ProxyOption::AllBackups), Relaxed);
        let full = proxy.fullconn.unwrap_or(fullconn[at]);
        let limits_move = proxy.state.backend.fullconn.swap(full, Relaxed) != full;
        let settings = Settings::of(proxy);
        let mut servers = std::mem::take(&mut proxy.servers);
        for (index, server) in servers.iter_mut().enumerate() {
            let described = known.and_then(|known| known.servers.get(&*server.name));
            if let (Some(described), Some(known)) = (described, known) {
                let alike = known.settings.as_ref() == Some(&settings) && same_tune;
                let is_moved = go_on(server, described, alike);
                if is_moved {
                    moved.push(Arc::clone(&server.state));
                }
                if server.options.check && (is_moved || is_checked_elsewhere(server, described)) {
                    let health = if !is_moved && found_down.has(proxy, server) {
                        HealthState::Down
                    } else {
                        HealthState::Up
                    };
                    checked_elsewhere.push((Arc::clone(&server.state), health));
                }
            } else if !Arc::ptr_eq(&server.state.backend, &proxy.state) {
                server.state = Arc::new(ServerState::new(&server.name, Arc::clone(&proxy.state)));
            }
            if described.is_none() && found_down.has(proxy, server) {
                server.state.begin_down(now_ms);
            }
            server.state.set_way(server.way);
            server
                .state
                .in_balance
                .index_hint
                .store(index as u32, Relaxed);
            server.state.configure(server, now_ms);
            if limits_move {
                crate::queue::flow(&server.state);
            }
        }
        proxy.servers = servers;
    }
    track(config, now_ms);
    let gone = old.map(|old| missing(config, old)).unwrap_or_default();
    Outdated {
        gone,
        moved,
        checked_elsewhere,
    }
}

/// Gives states to a configuration that is a copy of `old`, except for the servers of at most one
/// backend.
pub fn succeed(
    config: &mut Config,
    old: &Config,
    backend: Option<ProxyIndex>,
    now_ms: u64,
) -> Outdated {
    config.version = old.version + 1;
    let changed = backend.and_then(|at| config.proxies.get_mut(at.0 as usize));
    if let Some(proxy) = changed {
        proxy.rare = Rare::of(proxy);
        for (index, server) in proxy.servers.iter().enumerate() {
            server.state.set_way(server.way);
            server
                .state
                .in_balance
                .index_hint
                .store(index as u32, Relaxed);
            server.state.configure(server, now_ms);
        }
    }
    track(config, now_ms);
    Outdated {
        gone: missing(config, old),
        ..Outdated::default()
    }
}

/// Gives a proxy its state: that of the older proxy of the same name, otherwise that of the
/// frontend or backend of the same name in this configuration, otherwise a new one.
fn give_state(
    proxy: &mut Proxy,
    known: Option<&Arc<ProxyState>>,
    begun: &mut HashMap<Box<str>, Arc<ProxyState>>,
    now_ms: u64,
) {
    if let Some(known) = known {
        proxy.state = Arc::clone(known);
        proxy.state.open_again();
    } else if let Some(state) = begun.get(&proxy.name) {
        proxy.state = Arc::clone(state);
    } else {
        proxy.state.begin(now_ms);
        begun.insert(proxy.name.clone(), Arc::clone(&proxy.state));
    }
}

/// Keeps the content of caches whose settings stay the same.
fn adopt_caches(config: &mut Config, old: &Config) {
    for cache in &mut config.caches {
        let same = |other: &&Arc<Cache>| other.settings == cache.settings;
        if let Some(stored) = old.caches.iter().find(same) {
            *cache = Arc::clone(stored);
        }
    }
}

/// Keeps the connections with peers under the next configuration.
fn adopt_peers(config: &mut Config, old: Option<&Config>) {
    for peers in &mut config.peers {
        let before = old.into_iter().flat_map(|old| &old.peers);
        if let Some(before) = before.into_iter().find(|before| before.name == peers.name) {
            peers.state = Arc::clone(&before.state);
        }
    }
}

/// Connects each server that tracks another one (`track`) with the state of that server.
fn track(config: &Config, now_ms: u64) {
    for server in config.proxies.iter().flat_map(|proxy| &proxy.servers) {
        let tracked = server.tracks.and_then(|(proxy, at)| {
            let servers = &config.proxies.get(proxy.0 as usize)?.servers;
            Some(&servers.get(at.0 as usize)?.state)
        });
        server.state.track(tracked, now_ms);
    }
}

/// Gives a server its state under the older configuration. `alike`: the backend's settings for
/// connections stay the same. Returns whether the address in the file must replace one that an
/// operator set.
fn go_on(server: &mut Server, described: &Server, alike: bool) -> bool {
    server.state = Arc::clone(&described.state);
    server.way = if alike && same_way(described, server) {
        described.way
    } else {
        server.state.next_way()
    };
    let same_name = described.host.as_ref().map(|host| &host.text)
        == server.host.as_ref().map(|host| &host.text);
    if !same_name {
        server.state.set_host(None);
    } else if server.is_followed() && described.is_followed() {
        // Keeps the address in the state: it was resolved later than the address found at loading.
        return false;
    }
    described.address != server.address && server.state.address_override().is_some()
}

/// Returns whether checks query another address than before. Their previous results are then
/// meaningless.
fn is_checked_elsewhere(server: &Server, described: &Server) -> bool {
    let is_followed = server.is_followed() && described.is_followed();
    !is_followed && target(server) != target(described)
}

fn missing(config: &Config, old: &Config) -> Vec<Arc<ServerState>> {
    let servers = |config: &'_ Config| -> Vec<Arc<ServerState>> {
        let all = config.proxies.iter().flat_map(|proxy| &proxy.servers);
        all.map(|server| Arc::clone(&server.state)).collect()
    };
    let kept: HashSet<u32> = servers(config).iter().map(|state| state.uid).collect();
    let mut gone = servers(old);
    gone.retain(|state| !kept.contains(&state.uid));
    gone
}

/// Settings of a backend that affect connections to its servers.
#[derive(Clone, PartialEq, Eq)]
struct Settings {
    source: Option<SocketAddr>,
    source_ways: SourceWays,
    keep_alive: bool,
}

impl Settings {
    fn of(proxy: &Proxy) -> Settings {
        Settings {
            source: proxy.source,
            source_ways: proxy.source_ways.clone(),
            keep_alive: proxy.has(ProxyOption::ServerTcpKeepAlive),
        }
    }
}

fn same_sockets(one: &Tune, other: &Tune) -> bool {
    one.rcvbuf_server == other.rcvbuf_server
        && one.sndbuf_server == other.sndbuf_server
        && one.unsent_server == other.unsent_server
}

/// Returns whether connections to a server are made with the same address and options under two
/// configurations.
fn same_way(one: &Server, other: &Server) -> bool {
    let of = |server: &Server| {
        let options = &server.options;
        (
            options.send_proxy,
            options.proxy_extensions,
            options.source,
            options.tcp_user_timeout_ms,
            options.tcp_fast_open,
            options.socks4,
        )
    };
    let followed = one.is_followed()
        && other.is_followed()
        && one.address_text == other.address_text
        && other.state.address_override().is_some();
    (followed || one.address == other.address)
        && of(one) == of(other)
        && one.options.proxy_fields == other.options.proxy_fields
        && name_of(one) == name_of(other)
        && one.options.source_ways == other.options.source_ways
        && one.options.tls.for_traffic() == other.options.tls.for_traffic()
        && sni_of(one) == sni_of(other)
        && one.options.protocol == other.options.protocol
}

fn sni_of(server: &Server) -> Option<&str> {
    let sni = server.options.tls.sni.as_ref();
    sni.filter(|_| server.options.tls.for_traffic().is_some())
        .map(|(text, _)| &**text)
}

fn name_of(server: &Server) -> Option<&str> {
    server.options.pool_name.as_ref().map(|(text, _)| &**text)
}

/// State, listeners, settings and servers of the proxies in the previous configuration that have
/// one name.
struct PreviousObjects<'c> {
    state: &'c Arc<ProxyState>,
    binds: &'c [Bind],
    settings: Option<Settings>,
    servers: HashMap<&'c str, &'c Server>,
}

/// Updates the ids of the listeners of a proxy, which are their positions in the file. The same
/// address means the same listener.
fn renumber_listeners(proxy: &Proxy, known: &PreviousObjects<'_>) {
    let same = |(old, new): (&Bind, &Bind)| old.id == new.id && old.address == new.address;
    if proxy.binds.len() == known.binds.len() && known.binds.iter().zip(&proxy.binds).all(same) {
        return;
    }
    let before: HashMap<&BindAddress, u32> =
        known.binds.iter().map(|b| (&b.address, b.id)).collect();
    let ids = proxy
        .binds
        .iter()
        .filter_map(|bind| Some((*before.get(&bind.address)?, bind.id)));
    proxy.state.renumber_listeners(&ids.collect::<Vec<_>>());
}

fn by_name(config: &Config) -> HashMap<&str, PreviousObjects<'_>> {
    let mut known = HashMap::with_capacity(config.proxies.len());
    for proxy in &config.proxies {
        let one = known
            .entry(&*proxy.name)
            .or_insert_with(|| PreviousObjects {
                state: &proxy.state,
                binds: &[],
                settings: None,
                servers: HashMap::new(),
            });
        if proxy.kind.is_frontend() {
            one.binds = &proxy.binds;
        }
        if proxy.kind.is_backend() {
            one.settings = Some(Settings::of(proxy));
            one.servers = proxy
                .servers
                .iter()
                .map(|server| (&*server.name, server))
                .collect();
        }
    }
    known
}

/// Returns the default of `fullconn` for each backend: a tenth, rounded up, of the sum of `maxconn`
/// of the frontends that may use the backend, at least 1.
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

/// Assumed capacity of a frontend without `maxconn`, in connections.
const FRONTEND_ROOM: u32 = 2000;
