//! Builds configurations with one backend, for tests of load balancing and of the transfer of
//! states.

use crate::config::{Balance, Config, Proxy, ProxyKind, Server, ServerAddress, ServerOptions};
use crate::control::install;
use crate::state::{ProxyState, ServerState};
use std::sync::Arc;

/// Creates a server of `backend` without an address.
pub(crate) fn server(name: &str, backend: &Arc<ProxyState>, options: ServerOptions) -> Server {
    Server {
        span: Default::default(),
        id: 0,
        name: name.into(),
        address_text: "".into(),
        address: ServerAddress::Abstract(Vec::new()),
        options,
        state: Arc::new(ServerState::new(name, Arc::clone(backend))),
        way: 0,
        host: None,
        tracks: None,
        added: None,
    }
}

/// Creates a configuration with one backend, whose servers are `s0`, `s1` and so on.
pub fn tree(balance: Balance, servers: &[ServerOptions]) -> Arc<Config> {
    let state = Arc::new(ProxyState::new("back"));
    let servers = servers
        .iter()
        .enumerate()
        .map(|(n, options)| Server {
            id: n as u32 + 1,
            ..server(&format!("s{n}"), &state, options.clone())
        })
        .collect();
    let proxy = Proxy {
        name: "back".into(),
        kind: ProxyKind::Listen,
        balance,
        servers,
        state,
        ..Proxy::default()
    };
    let mut config = Config {
        proxies: vec![proxy],
        ..Config::default()
    };
    install(&mut config, None, 1);
    Arc::new(config)
}

/// Creates the next configuration with these servers, by their names and options.
pub fn following(old: &Config, balance: Balance, servers: &[(&str, ServerOptions)]) -> Arc<Config> {
    let proxy = Proxy {
        balance,
        servers: Vec::new(),
        state: Arc::new(ProxyState::new("back")),
        ..old.proxies[0].clone()
    };
    let mut config = Config {
        proxies: vec![proxy],
        ..Config::default()
    };
    let proxy = &mut config.proxies[0];
    let state = Arc::clone(&proxy.state);
    let lines = servers.iter().zip(1..).map(|((name, options), id)| Server {
        id,
        ..server(name, &state, options.clone())
    });
    proxy.servers = lines.collect();
    install(&mut config, Some(old), 9);
    crate::balance::prepare(&config, Some(old));
    Arc::new(config)
}
