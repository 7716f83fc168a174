//! Adds and removes servers at run time (`add server`, `del server`). A server is built from the
//! arguments of the command as from a `server` line. No file is read and no name is resolved.
//! Added servers survive a reload, a restart of the proxy process and an upgrade of the program.

use keyword::load::one_server;
use model::config::{
    Balance, Config, HashMethod, HttpProtocol, Mode, Proxy, ProxyIndex, Server, ServerIndex,
    ServerName,
};
use model::log::{self, Level};
use std::sync::Arc;

/// Reason why an operator's order was refused, as it is printed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OrderRefusal(pub String);

fn refused(why: impl std::fmt::Display) -> OrderRefusal {
    OrderRefusal(format!("{why}\n"))
}

/// A server that could not be added again, and the reason.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lost {
    backend: Box<str>,
    server: Box<str>,
    why: String,
}

const SERVERS_MAX: usize = 1 << 16;

pub(crate) fn index(config: &Config, proxy: &Proxy) -> ProxyIndex {
    let at = config
        .proxies
        .iter()
        .position(|one| std::ptr::eq(one, proxy));
    ProxyIndex(at.unwrap_or(0) as u32)
}

fn is_dynamic(proxy: &Proxy) -> bool {
    match &proxy.balance {
        Balance::StaticRoundRobin => false,
        balance if balance.is_by_key() => proxy.hash.method == HashMethod::Consistent,
        _ => true,
    }
}

/// Adds a server to a configuration that does not serve yet. The first argument is the server's
/// name.
pub(crate) fn add(
    config: &mut Config,
    backend: ProxyIndex,
    words: Arc<[Box<str>]>,
) -> Result<(), OrderRefusal> {
    let proxy = config.proxy(backend);
    if !is_dynamic(proxy) {
        // HAProxy's wording up to 3.3, then that of 3.4.
        return Err(refused(format!(
            "Backend must use a dynamic load balancing to support dynamic servers: backend '{}' uses a non dynamic load \
             balancing method.",
            proxy.name
        )));
    }
    if proxy.servers.len() >= SERVERS_MAX {
        return Err(refused("The backend has too many servers."));
    }
    let mut server = one_server::build(config, backend, &words).map_err(refused)?;
    let proxy = config.proxy(backend);
    if server.options.protocol == Some(HttpProtocol::Http2) && proxy.mode == Mode::Tcp {
        return Err(refused("MUX protocol is not usable for server."));
    }
    if server.options.protocol == Some(HttpProtocol::FastCgi) && proxy.fcgi_app.is_none() {
        return Err(refused("The backend uses no FastCGI application."));
    }
    if proxy.servers.iter().any(|other| other.name == server.name) {
        return Err(refused(
            "Already exists a server with the same name in backend.",
        ));
    }
    let taken = |id| proxy.servers.iter().find(|other| other.id == id);
    if let Some(other) = taken(server.id).filter(|_| server.id != 0) {
        let why = format!(
            "'id' : custom id {} already used ('server {}').",
            server.id, other.name
        );
        return Err(refused(why));
    }
    if server.id == 0 {
        server.id = free_id(proxy);
    }
    track(config, backend, &mut server)?;
    server.added = Some(words);
    // The checks start only with `enable health` and `enable agent`.
    server.state.stop_checks(server.options.check);
    server.state.stop_agent(server.options.agent.check);
    let proxy = &mut config.proxies[backend.0 as usize];
    proxy.cookie_places = Default::default();
    proxy.servers.push(server);
    Ok(())
}

fn free_id(proxy: &Proxy) -> u32 {
    let taken: std::collections::HashSet<u32> = proxy.servers.iter().map(|one| one.id).collect();
    (1..=u32::MAX).find(|id| !taken.contains(id)).unwrap_or(0)
}

/// Resolves `track`: finds the server whose state the new one follows.
fn track(config: &Config, backend: ProxyIndex, server: &mut Server) -> Result<(), OrderRefusal> {
    let Some((_, name)) = &server.options.track else {
        return Ok(());
    };
    if server.options.check {
        return Err(refused(
            "unable to enable checks and tracking at the same time!",
        ));
    }
    let (proxy, wanted) = match name.split_once('/') {
        None => (backend, &**name),
        Some((proxy, wanted)) => match config.backend(proxy) {
            Some(found) => (found, wanted),
            None => {
                let why = format!("unable to find required proxy '{proxy}' for tracking.");
                return Err(refused(why));
            }
        },
    };
    let servers = &config.proxy(proxy).servers;
    let Some(at) = servers.iter().position(|one| *one.name == *wanted) else {
        let why = format!("unable to find required server '{wanted}' for tracking.");
        return Err(refused(why));
    };
    let full = format!("{}/{wanted}", config.proxy(proxy).name);
    let tracked = &servers[at];
    if tracked.added.is_some() {
        let why = format!("unable to use {full} for tracking as it is a dynamic server.");
        return Err(refused(why));
    }
    let checked = tracked.options.check || tracked.options.agent.check;
    server.tracks = match tracked.tracks {
        Some(end) => Some(end),
        None if checked => Some((proxy, ServerIndex(at as u32))),
        None => {
            let why = format!(
                "unable to use {full} for tracking as it does not have any check nor agent enabled."
            );
            return Err(refused(why));
        }
    };
    Ok(())
}

pub(crate) fn removable(
    config: &Config,
    backend: ProxyIndex,
    name: &str,
) -> Result<ServerIndex, OrderRefusal> {
    let proxy = config.proxy(backend);
    let Some(at) = proxy.servers.iter().position(|one| *one.name == *name) else {
        return Err(refused("No such server."));
    };
    let server = &proxy.servers[at];
    if is_named(config, backend, ServerIndex(at as u32)) {
        return Err(refused(
            "This server cannot be removed at runtime due to other configuration elements pointing to it.",
        ));
    }
    if !server.state.is_maintained() {
        return Err(refused("Only servers in maintenance mode can be deleted."));
    }
    if server.state.traffic.sessions.current() > 0 || server.state.queue.waiting.current() > 0 {
        return Err(refused(
            "Server still has connections attached to it, cannot remove it.",
        ));
    }
    Ok(ServerIndex(at as u32))
}

fn is_named(config: &Config, backend: ProxyIndex, at: ServerIndex) -> bool {
    let proxy = config.proxy(backend);
    let server = &proxy.servers[at.0 as usize];
    let of_rule =
        |target: &ServerName| matches!(target, ServerName::Static(_, Some(i)) if *i == at);
    let by_rule = proxy.use_server.iter().any(|rule| of_rule(&rule.server));
    let by_expression = config
        .named_servers
        .iter()
        .any(|(of, name)| *of == proxy.name && *name == server.name);
    let full = format!("{}/{}", proxy.name, server.name);
    let tracked = config.iter().any(|(index, other)| {
        other.servers.iter().any(|one| {
            let by_name = one.options.track.as_ref().is_some_and(|(_, name)| {
                **name == full || (index == backend && *name == server.name)
            });
            by_name || one.tracks == Some((backend, at))
        })
    });
    by_rule || by_expression || tracked || proxy.dispatch_server == Some(at)
}

/// Removes a server from a configuration that does not serve yet.
pub(crate) fn remove(config: &mut Config, backend: ProxyIndex, at: ServerIndex) {
    let later = |index: &mut ServerIndex| {
        if index.0 > at.0 {
            index.0 -= 1;
        }
    };
    let proxy = &mut config.proxies[backend.0 as usize];
    let server = proxy.servers.remove(at.0 as usize);
    if let Some(connector) = &server.options.tls.connector {
        connector.release_files();
    }
    if server.added.is_none() {
        proxy.removed.push(server.name);
    }
    proxy.cookie_places = Default::default();
    for rule in &mut proxy.use_server {
        if let ServerName::Static(_, Some(index)) = &mut rule.server {
            later(index);
        }
    }
    proxy.dispatch_server.iter_mut().for_each(later);
    for other in config
        .proxies
        .iter_mut()
        .flat_map(|proxy| &mut proxy.servers)
    {
        if let Some((_, index)) = other.tracks.as_mut().filter(|(of, _)| *of == backend) {
            later(index);
        }
    }
}

/// Adds the servers that operators added to the previous configuration to a new one, which does not
/// serve yet. A server in the file takes precedence over an added one with the same name. Returns
/// each server that could not be added, with the reason.
pub(crate) fn keep(config: &mut Config, old: &Config) -> Vec<Lost> {
    let mut lost = Vec::new();
    for before in old.proxies.iter().filter(|proxy| proxy.kind.is_backend()) {
        for words in before
            .servers
            .iter()
            .filter_map(|server| server.added.as_ref())
        {
            lost.extend(keep_one(config, &before.name, words));
        }
    }
    lost
}

/// Adds a server again, unless the backend has one with this name. Returns the server with the
/// reason if that is impossible.
pub(crate) fn keep_one(
    config: &mut Config,
    backend: &str,
    words: &Arc<[Box<str>]>,
) -> Option<Lost> {
    let name = words.first()?;
    let lost = |why: &str| {
        Some(Lost {
            backend: backend.into(),
            server: name.clone(),
            why: why.trim_end().to_owned(),
        })
    };
    let Some(index) = config.backend(backend) else {
        return lost("its backend no longer exists");
    };
    if config
        .proxy(index)
        .servers
        .iter()
        .any(|one| one.name == *name)
    {
        return None;
    }
    match add(config, index, Arc::clone(words)) {
        Ok(()) => None,
        Err(OrderRefusal(why)) => lost(&why),
    }
}

/// Removes a server of the file again that an operator had removed before, unless the
/// configuration refers to it now.
pub(crate) fn remove_again(config: &mut Config, backend: &str, name: &[u8]) {
    let Some(index) = config.backend(backend) else {
        return;
    };
    let mut servers = config.proxy(index).servers.iter();
    let Some(at) = servers.position(|one| one.name.as_bytes() == name) else {
        return;
    };
    let at = ServerIndex(at as u32);
    if !is_named(config, index, at) {
        remove(config, index, at);
    }
}

pub fn log_lost(config: &Config, lost: &[Lost]) {
    for one in lost {
        let text = format!(
            "Server {}/{}, added at run time, was dropped: {}.",
            one.backend,
            one.server,
            one.why.trim_end_matches('.')
        );
        let index = config.backend(&one.backend);
        if let Some(proxy) = index
            .map(|index| config.proxy(index))
            .or(config.proxies.first())
        {
            log::notice(config, proxy, Level::Alert, &text);
        }
    }
}
