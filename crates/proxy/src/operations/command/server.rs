//! Implements the commands that change one server.

use super::{CommandReply, Context, Session, Severity, agent, find_server};
use crate::health::orders::{set_admin, set_health, set_weight as put_weight};
use model::config::{Config, Proxy, Server, ServerAddress};
use model::state::{AdminState, HealthState, HostNow, Shutdown, WEIGHT_MAX, now_ms};
use std::net::{IpAddr, SocketAddr};

const USAGE: &str = "usage: set server <backend>/<server> addr | agent | agent-addr | agent-port | agent-send | \
                     check-addr | check-port | fqdn | health | ssl | state | weight\n";
const STATES: &str = "'set server <srv> state' expects 'ready', 'drain' and 'maint'.\n";
const HEALTHS: &str = "'set server <srv> health' expects 'up', 'stopping', or 'down'.\n";

/// Finds the server that a word names and applies a change to it.
pub(super) fn with(
    context: &Context,
    name: Option<&&str>,
    run: impl FnOnce(&Config, &Proxy, &Server) -> String,
) -> String {
    let config = context.runtime.config();
    match find_server(&config, name) {
        Ok((proxy, server)) => run(&config, proxy, server),
        Err(text) => text,
    }
}

pub fn disable(context: &Context, _: &mut Session, words: &[&str]) -> String {
    with(context, words.get(2), |config, proxy, server| {
        set_admin(config, proxy, server, AdminState::Maintenance);
        String::new()
    })
}

pub fn enable(context: &Context, _: &mut Session, words: &[&str]) -> String {
    with(context, words.get(2), |config, proxy, server| {
        set_admin(config, proxy, server, AdminState::Ready);
        String::new()
    })
}

pub fn disable_health(context: &Context, _: &mut Session, words: &[&str]) -> String {
    with(context, words.get(2), |_, _, server| {
        server.state.stop_checks(true);
        String::new()
    })
}

pub fn enable_health(context: &Context, _: &mut Session, words: &[&str]) -> String {
    with(context, words.get(2), |_, _, server| {
        if !server.options.check {
            return "Health check was not configured on this server, cannot enable.\n".into();
        }
        server.state.stop_checks(false);
        String::new()
    })
}

pub fn get_weight(context: &Context, _: &mut Session, words: &[&str]) -> CommandReply {
    let config = context.runtime.config();
    let found = find_server(&config, words.get(2));
    let weight = found.map(|(_, server)| {
        let (weight, initial) = server.state.user_weight();
        format!("{weight} (initial {initial})\n")
    });
    weight.into()
}

pub fn set_weight(context: &Context, _: &mut Session, words: &[&str]) -> String {
    with(context, words.get(2), |config, proxy, server| {
        weight(config, proxy, server, words.get(3))
    })
}

/// Sets the weight; `50%` is relative to the configured weight.
fn weight(config: &Config, proxy: &Proxy, server: &Server, word: Option<&&str>) -> String {
    let Some(word) = word.filter(|word| !word.is_empty()) else {
        return "Require <weight> or <weight%>.\n".into();
    };
    let (digits, percent) = match word.strip_suffix('%') {
        Some(digits) => (digits, true),
        None => (*word, false),
    };
    let Ok(number) = digits.parse::<u64>() else {
        return format!("Invalid weight '{word}': a number or a percentage is expected.\n");
    };
    let initial = u64::from(server.state.user_weight().1);
    let wanted = if percent {
        initial.saturating_mul(number) / 100
    } else {
        number
    };
    match u32::try_from(wanted) {
        Ok(wanted) if wanted <= WEIGHT_MAX => put_weight(config, proxy, server, wanted),
        _ if percent => put_weight(config, proxy, server, WEIGHT_MAX),
        _ => return format!("Absolute weight can only be between 0 and {WEIGHT_MAX} inclusive.\n"),
    }
    String::new()
}

pub fn shut_down(context: &Context, _: &mut Session, words: &[&str]) -> String {
    with(context, words.get(3), |_, _, server| {
        server.state.shut_sessions_down(Shutdown::Killed);
        String::new()
    })
}

pub fn maxconn(context: &Context, _: &mut Session, words: &[&str]) -> String {
    with(context, words.get(3), |_, _, server| {
        match words.get(4).map(|word| word.parse()) {
            None => "Require <maxconn>.\n".into(),
            Some(Ok(limit)) => {
                server.state.set_maxconn(limit);
                String::new()
            }
            Some(Err(_)) => "<maxconn> must be a number; 0 means no limit.\n".into(),
        }
    })
}

pub fn set(context: &Context, _: &mut Session, words: &[&str]) -> CommandReply {
    let mut done = None;
    let text = with(context, words.get(2), |config, proxy, server| {
        let value = words.get(4);
        match words.get(3).copied().unwrap_or_default() {
            "weight" => weight(config, proxy, server, value),
            "state" => admin(config, proxy, server, value),
            "health" => health(config, proxy, server, value),
            "addr" => keep(address(server, &words[4..]), &mut done),
            "agent" => agent::health(config, proxy, server, value),
            "agent-addr" => agent::address(server, &words[4..]),
            "agent-port" => agent::port(server, value),
            "agent-send" => agent::send(server, value),
            "ssl" => keep(tls(server, value), &mut done),
            "check-addr" => check_address(server, &words[4..]),
            "check-port" => check_port(server, value),
            "fqdn" => keep(name(context, proxy, server, value), &mut done),
            _ => USAGE.into(),
        }
    });
    match done {
        Some(text) => CommandReply::message(Severity::Warning, text),
        None => CommandReply::error(text),
    }
}

/// Stores the description of a change in `done`, and passes on the reason of a failure.
fn keep(result: Result<String, String>, done: &mut Option<String>) -> String {
    match result {
        Ok(text) => {
            *done = Some(text);
            String::new()
        }
        Err(text) => text,
    }
}

const NO_CHECKS: &str = "health checks are not enabled on this server\n";

fn check_address(server: &Server, words: &[&str]) -> String {
    let Some(text) = words.first() else {
        return "set server <b>/<s> check-addr requires an address and optionally a port.\n".into();
    };
    if !server.options.check {
        return NO_CHECKS.into();
    }
    let Ok(ip) = text.parse::<IpAddr>() else {
        return format!("invalid addr '{text}'\n");
    };
    let port = match port_behind(words) {
        Ok(port) => port,
        Err(text) => return text,
    };
    server.state.set_check(Some(ip), port);
    String::new()
}

fn check_port(server: &Server, word: Option<&&str>) -> String {
    let Some(word) = word else {
        return "set server <b>/<s> check-port requires a port.\n".into();
    };
    if !server.options.check {
        return NO_CHECKS.into();
    }
    match port_of(word) {
        Ok(port) => server.state.set_check(None, Some(port)),
        Err(text) => return text,
    }
    String::new()
}

/// Parses the optional port after an address: `<ip> [port <port>]`.
pub(super) fn port_behind(words: &[&str]) -> Result<Option<u16>, String> {
    match words.get(1..) {
        Some(["port", port]) => port_of(port).map(Some),
        _ => Ok(None),
    }
}

pub(super) fn port_of(text: &str) -> Result<u16, String> {
    let Ok(number) = text.parse::<i64>() else {
        return Err("provided port is not an integer\n".into());
    };
    match u16::try_from(number) {
        Ok(port) if port > 0 => Ok(port),
        _ => Err("provided port is not valid\n".into()),
    }
}

fn name(
    context: &Context,
    proxy: &Proxy,
    server: &Server,
    word: Option<&&str>,
) -> Result<String, String> {
    let Some(text) = word else {
        return Err("set server <b>/<s> fqdn requires a FQDN.\n".into());
    };
    let Some(host) = server.host.as_ref().filter(|host| host.resolvers.is_some()) else {
        return Err("set server <b>/<s> fqdn failed because no resolution is configured.\n".into());
    };
    if host.service {
        return Err(
            "set server <b>/<s> fqdn failed because SRV resolution is configured.\n".into(),
        );
    }
    let full = format!("{}/{}", proxy.name, server.name);
    let Some(name) = protocol::dns::DnsName::new(text) else {
        return Err(format!(
            "could not update {full} FQDN by 'stats socket command'\n"
        ));
    };
    let now = server.state.host();
    let was = now.map_or_else(|| host.text.clone(), |now| now.text);
    if *was == *name.as_str() {
        return Ok("no need to change the FDQN by 'stats socket command'\n".into());
    }
    server.state.set_host(Some(HostNow {
        text: name.as_str().into(),
        port: 0,
        by_record: false,
        told_beside: false,
    }));
    context.runtime.names.update_followers();
    let was = match &*was {
        "" => "(null)",
        was => was,
    };
    Ok(format!(
        "{full} changed its FQDN from {was} to {name} by 'stats socket command'\n"
    ))
}

/// Enables or disables TLS to the server. The checks continue as configured.
fn tls(server: &Server, word: Option<&&str>) -> Result<String, String> {
    let on = match word {
        Some(&"on") => true,
        Some(&"off") => false,
        _ => return Err("'set server <srv> ssl' expects 'on' or 'off'.\n".into()),
    };
    if server.options.tls.connector.is_none() {
        return Err(
            "'set server <srv> ssl' cannot be set.  default-server should define ssl settings\n"
                .into(),
        );
    }
    server.state.set_tls(on);
    Ok("server ssl setting updated.\n".into())
}

fn admin(config: &Config, proxy: &Proxy, server: &Server, word: Option<&&str>) -> String {
    let admin = match word {
        Some(&"ready") => AdminState::Ready,
        Some(&"drain") => AdminState::Drain,
        Some(&"maint") => AdminState::Maintenance,
        _ => return STATES.into(),
    };
    set_admin(config, proxy, server, admin);
    String::new()
}

fn health(config: &Config, proxy: &Proxy, server: &Server, word: Option<&&str>) -> String {
    if server.tracks.is_some() {
        return "cannot change health on a tracking server.\n".into();
    }
    let health = match word {
        Some(&"up") => HealthState::Up,
        Some(&"stopping") => HealthState::Stopping,
        Some(&"down") => HealthState::Down,
        _ => return HEALTHS.into(),
    };
    set_health(config, proxy, server, health);
    String::new()
}

fn address(server: &Server, words: &[&str]) -> Result<String, String> {
    let Some(text) = words.first() else {
        return Err("set server <b>/<s> addr requires an address and optionally a port.\n".into());
    };
    let Ok(ip) = text.parse::<IpAddr>() else {
        return Err(format!("Invalid addr '{text}' by 'stats socket command'\n"));
    };
    let set = server.state.address_override();
    let ServerAddress::Inet(old) = set.as_ref().unwrap_or(&server.address) else {
        return Err(
            "The address can only be changed for a server that has an address and a port.\n".into(),
        );
    };
    let port = match words.get(1..) {
        Some(["port", port]) => match port.parse::<u16>() {
            Ok(port) if port > 0 => Some(port),
            _ => return Err(format!("Invalid port '{port}' by 'stats socket command'\n")),
        },
        Some([]) | None => None,
        Some(_) => return Err("Expected 'port <number>' after the address.\n".into()),
    };
    let mut said = Vec::new();
    if ip == old.ip() {
        said.push("no need to change the addr".to_owned());
    } else {
        said.push(format!("IP changed from '{}' to '{ip}'", old.ip()));
    }
    match port {
        Some(port) if port == old.port() => said.push("no need to change the port".into()),
        Some(port) => said.push(format!("port changed from '{}' to '{port}'", old.port())),
        None => {}
    }
    let new = SocketAddr::new(ip, port.unwrap_or(old.port()));
    if new != *old {
        server.state.set_address(Some(new), now_ms());
    }
    Ok(format!("{} by 'stats socket command'\n", said.join(", ")))
}
