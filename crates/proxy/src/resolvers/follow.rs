//! Applies DNS results to the servers that are configured by name: sets a new address, or a new
//! host and port, or puts a server into maintenance until its name resolves. Logs these changes
//! in HAProxy's wording, because scripts parse it.

use super::assign::{self, ResolvedServer};
use crate::health::{Level, Notice};
use model::config::{Config, NamedPort, Proxy, Server, ServerAddress};
use model::names::{Key, RecordKind, ResolutionResult, ResolutionStatus};
use model::state::{AdminReport, HostNow, ServerChange, now_ms};
use protocol::dns::Service;
use std::net::{IpAddr, SocketAddr};

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Effect {
    pub changed: bool,
    /// The services have other hosts now, so the names of the hosts must be resolved.
    pub hosts_changed: bool,
}

pub(super) fn apply(
    config: &Config,
    key: &Key,
    found: &ResolutionResult,
    notice: &Notice,
) -> Effect {
    let mut outcome = Effect::default();
    if found.status == ResolutionStatus::Unknown {
        return outcome;
    }
    // Splits the servers by backend: they are in configuration order, so those of a backend are
    // adjacent.
    for group in found.followers.chunk_by(|one, other| one.0 == other.0) {
        let Some(proxy) = config.proxies.get(group[0].0.0 as usize) else {
            continue;
        };
        let servers: Vec<&Server> = group
            .iter()
            .filter_map(|(_, at)| proxy.servers.get(at.0 as usize))
            .collect();
        let mut applying = Applying {
            config,
            proxy,
            notice,
            outcome: &mut outcome,
        };
        match key.record_kind {
            RecordKind::Addresses(_) => applying.addresses(&servers, found),
            RecordKind::Services => applying.services(&servers, found),
        }
    }
    outcome
}

/// The servers of one backend, to which a result is being applied.
struct Applying<'a> {
    config: &'a Config,
    proxy: &'a Proxy,
    notice: &'a Notice,
    outcome: &'a mut Effect,
}

fn address_of(server: &Server) -> Option<IpAddr> {
    let set = server.state.address_override();
    match set.as_ref().unwrap_or(&server.address) {
        ServerAddress::Inet(address) => Some(address.ip()),
        ServerAddress::SamePort(ip, _) => Some(*ip),
        _ => None,
    }
}

/// Returns an address with the port of the server line or, for a service, of the SRV record.
fn with_port(server: &Server, ip: IpAddr) -> ServerAddress {
    let record = server.state.host().filter(|host| host.by_record);
    let port = match (&server.host, record) {
        (_, Some(record)) => NamedPort::Fixed(record.port),
        (Some(host), None) => host.port,
        (None, None) => NamedPort::Offset(0),
    };
    match port {
        NamedPort::Fixed(port) => ServerAddress::Inet(SocketAddr::new(ip, port)),
        NamedPort::Offset(offset) => ServerAddress::SamePort(ip, offset),
    }
}

fn name_of(server: &Server) -> String {
    match (server.state.host(), &server.host) {
        (Some(now), _) => now.text.to_string(),
        (None, Some(host)) => host.text.to_string(),
        (None, None) => String::new(),
    }
}

impl Applying<'_> {
    fn say(&self, level: Level, text: &str) {
        (self.notice)(self.config, self.proxy, level, text);
    }

    fn addresses(&mut self, servers: &[&Server], found: &ResolutionResult) {
        let reason = match found.status {
            ResolutionStatus::Valid => "No IP for server ",
            ResolutionStatus::NoSuchName => "DNS NX status",
            ResolutionStatus::Refused => "DNS refused status",
            ResolutionStatus::Timeout => "DNS timeout status",
            ResolutionStatus::Unknown | ResolutionStatus::Other => "unspecified DNS error",
        };
        let slots: Vec<ResolvedServer<'_>> = servers
            .iter()
            .map(|server| ResolvedServer {
                address: address_of(server),
                resolving: &server.options.resolving,
                only: server.host.as_ref().and_then(|host| host.family),
            })
            .collect();
        let given = assign::addresses(&slots, &found.addresses);
        // Names the cache as the source from the second server on, as HAProxy does.
        let mut by = found.by.as_str();
        for (server, given) in servers.iter().zip(given) {
            match given {
                Some(ip) => {
                    if self.move_to(server, ip, by) {
                        by = "DNS cache";
                    }
                }
                None => self.suspend(server, reason),
            }
        }
    }

    /// Sets the address of a server; returns whether it had another one.
    fn move_to(&mut self, server: &Server, ip: IpAddr, by: &str) -> bool {
        let moved = self.tell_moved(server, ip, by);
        if self.resume(server, ip) {
            let name = format!("{}/{}", self.proxy.name, server.name);
            let text = format!("Server {name} administratively READY thanks to valid DNS answer.");
            self.say(Level::Notice, &text);
        }
        moved
    }

    fn tell_moved(&self, server: &Server, ip: IpAddr, by: &str) -> bool {
        let was = address_of(server);
        if was == Some(ip) {
            return false;
        }
        let was = was.map_or("(none)".to_owned(), |ip| ip.to_string());
        let name = format!("{}/{}", self.proxy.name, server.name);
        let text = format!("{name} changed its IP from {was} to {ip} by {by}.");
        self.say(Level::Notice, &text);
        true
    }

    /// Sets the address of a server and ends its maintenance. Returns whether it had no address.
    fn resume(&mut self, server: &Server, ip: IpAddr) -> bool {
        let lost = server.state.report(now_ms()).unresolved;
        let address = with_port(server, ip);
        let set = server.state.address_override();
        if !lost && *set.as_ref().unwrap_or(&server.address) == address {
            return false;
        }
        server.state.set_resolved(Some(address), now_ms());
        self.outcome.changed = true;
        if lost {
            let name = format!("{}/{}", self.proxy.name, server.name);
            let host = name_of(server);
            let text = format!("Server {name} ('{host}') is UP/READY (resolves again).");
            self.say(Level::Notice, &text);
        }
        lost
    }

    fn suspend(&mut self, server: &Server, reason: &str) {
        let before = server.state.report(now_ms());
        if before.unresolved {
            return;
        }
        let change = server.state.set_resolved(None, now_ms());
        self.outcome.changed = true;
        // Logs nothing if an operator put the server into maintenance, because nothing changes that
        // is worth a message.
        if before.admin == AdminReport::Maintenance {
            return;
        }
        let (level, text) = self.suspended(server, reason, &change);
        self.say(level, &text);
        if change.lineup.went_down {
            let text = format!("backend {} has no server available!", self.proxy.name);
            self.say(Level::Emergency, &text);
        }
    }

    fn suspended(&self, server: &Server, reason: &str, change: &ServerChange) -> (Level, String) {
        let kind = if server.options.backup {
            "Backup Server"
        } else {
            "Server"
        };
        let name = format!("{kind} {}/{}", self.proxy.name, server.name);
        if !change.was_up {
            let text = format!("{name} was DOWN and now enters maintenance ({reason}).");
            return (Level::Notice, text);
        }
        let (active, backup) = (change.lineup.active, change.lineup.backup);
        let on_backup = if active == 0 && backup > 0 {
            " Running on backup."
        } else {
            ""
        };
        // Lowers the severity for a server that was already draining or stopping.
        let level = if change.was_usable {
            Level::Alert
        } else {
            Level::Notice
        };
        let text = format!(
            "{name} is going DOWN for maintenance ({reason}). {active} active and {backup} backup servers \
             left.{on_backup} {} sessions active, {} requeued, {} remaining in queue.",
            server.state.traffic.sessions.current(),
            change.requeued,
            server.state.queue.waiting.current()
        );
        (level, text)
    }

    fn services(&mut self, servers: &[&Server], found: &ResolutionResult) {
        let hosts: Vec<Option<HostNow>> = servers
            .iter()
            .map(|server| server.state.host().filter(|host| host.by_record))
            .collect();
        let now: Vec<Option<(&str, u16)>> = hosts
            .iter()
            .map(|host| host.as_ref().map(|host| (&*host.text, host.port)))
            .collect();
        let mut services: Vec<&Service> = found.services.iter().collect();
        // Prefers the services with the best priority, because there may be more services than
        // servers.
        services.sort_by_key(|service| service.priority);
        let given = assign::services(&now, &services);
        for ((server, host), given) in servers.iter().zip(&hosts).zip(given) {
            match given.map(|at| services[at]) {
                Some(service) => self.serve(server, host.as_ref(), service),
                None if host.is_some() => {
                    server.state.set_host(None);
                    self.outcome.hosts_changed = true;
                    self.suspend(server, "entry removed from SRV record");
                }
                None => {}
            }
        }
    }

    fn serve(&mut self, server: &Server, was: Option<&HostNow>, service: &Service) {
        let resolving = &server.options.resolving;
        let fits = |ip: &&IpAddr| {
            let only = server.host.as_ref().and_then(|host| host.family);
            only.is_none_or(|family| family.has(**ip))
        };
        let beside = service.addresses.iter().filter(fits);
        let beside = beside.max_by_key(|ip| resolving.prefer.has(**ip)).copied();
        let host = HostNow {
            text: service.host.as_str().into(),
            port: service.port,
            by_record: true,
            told_beside: beside.is_some(),
        };
        if was != Some(&host) {
            self.outcome.hosts_changed = true;
            self.outcome.changed = true;
            server.state.set_host(Some(host));
        }
        if let Some(ip) = beside {
            self.tell_moved(server, ip, "DNS additional record");
        }
        if was.is_none_or(|was| *was.text != *service.host.as_str()) {
            let was = was.map_or("(null)", |was| &was.text);
            let name = format!("{}/{}", self.proxy.name, server.name);
            let text = format!(
                "{name} changed its FQDN from {was} to {} by 'SRV record'",
                service.host
            );
            self.say(Level::Notice, &text);
        }
        let weight = assign::weight(service.weight);
        if !resolving.ignore_weight && server.state.user_weight().0 != weight {
            server.state.set_weight(weight, now_ms());
        }
        if let Some(ip) = beside {
            self.resume(server, ip);
        }
    }
}
