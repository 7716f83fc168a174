//! Implements `show servers …`: prints one line per server, in the columns of HAProxy's state
//! files.

use super::{CommandReply, Context, LongReply, Session, find_backend};
use crate::stats::piece::RowSource;
use model::config::{Config, NamedPort, Proxy, Server, ServerAddress};
use model::state::{self, AdminReport, CheckStatus, HealthState, ServerReport, Verdict};
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

const STATE_HEADER: &str = "1\n# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state \
srv_uweight srv_iweight srv_time_since_last_change srv_check_status srv_check_result srv_check_health \
srv_check_state srv_agent_state bk_f_forced_id srv_f_forced_id srv_fqdn srv_port srvrecord srv_use_ssl \
srv_check_port srv_check_addr srv_agent_addr srv_agent_port\n";

fn server_lines(
    config: Arc<Config>,
    name: Option<&&str>,
    header: &'static str,
    line: fn(&mut String, &Proxy, &Server),
) -> LongReply {
    let only = match name {
        Some(name) => match find_backend(&config, name) {
            Some(proxy) => Some(proxy.id),
            None => return Err(CommandReply::error("Can't find backend.\n")),
        },
        None => None,
    };
    let selects = move |proxy: &Proxy| match only {
        Some(id) => proxy.kind.is_backend() && proxy.id == id,
        None => proxy.kind.is_backend() && !proxy.disabled,
    };
    let mut header = Some(header);
    let (mut proxy_at, mut server_at) = (0, 0);
    Ok(Box::new(RowSource(move |out: &mut String| {
        out.push_str(header.take().unwrap_or_default());
        let Some(proxy) = config.proxies.get(proxy_at) else {
            return false;
        };
        match proxy.servers.get(server_at) {
            Some(server) if selects(proxy) => {
                line(out, proxy, server);
                server_at += 1;
            }
            _ => (proxy_at, server_at) = (proxy_at + 1, 0),
        }
        true
    })))
}

fn address(server: &Server) -> (String, i32) {
    let (ip, port) = last_address(server);
    if server.state.report(0).unresolved {
        // The port of the server line, or of the SRV record.
        ("-".into(), named_port(server).unwrap_or(port))
    } else {
        (ip, port)
    }
}

fn named_port(server: &Server) -> Option<i32> {
    if let Some(host) = server.state.host().filter(|host| host.by_record) {
        return Some(host.port.into());
    }
    Some(match server.host.as_ref()?.port {
        NamedPort::Fixed(port) if !server.host.as_ref()?.service => port.into(),
        NamedPort::Fixed(_) => 0,
        NamedPort::Offset(offset) => offset,
    })
}

fn names(server: &Server) -> (String, String) {
    let none = || "-".to_owned();
    let Some(host) = &server.host else {
        return (none(), none());
    };
    let now = server.state.host();
    if host.service {
        let name = now.filter(|now| now.by_record);
        let name = name.map_or_else(none, |now| now.text.to_string());
        return (name, host.text.to_string());
    }
    let set = now.filter(|now| !now.by_record);
    let name = set.map_or_else(|| host.text.to_string(), |now| now.text.to_string());
    let name = Some(name).filter(|name| !name.is_empty());
    (name.unwrap_or_else(none), none())
}

fn last_address(server: &Server) -> (String, i32) {
    let set = server.state.address_override();
    match set.as_ref().unwrap_or(&server.address) {
        ServerAddress::Inet(address) => (address.ip().to_string(), address.port().into()),
        ServerAddress::SamePort(ip, offset) => (ip.to_string(), *offset),
        ServerAddress::Unix(_) | ServerAddress::Abstract(_) | ServerAddress::Unresolved => {
            ("-".into(), 0)
        }
    }
}

pub fn states(context: &Context, _: &Session, words: &[&str]) -> LongReply {
    let config = context.runtime.config();
    server_lines(config, words.get(3), STATE_HEADER, state_line)
}

fn state_line(out: &mut String, proxy: &Proxy, server: &Server) {
    let now_ms = state::now_ms();
    let report = server.state.report(now_ms);
    let (ip, port) = address(server);
    let (name, service) = names(server);
    let since = now_ms.saturating_sub(report.last_change_ms) / 1000;
    // Writing to a string cannot fail.
    let _ = writeln!(
        out,
        "{} {} {} {} {ip} {} {} {} {} {since} {} {} {} {} {} 0 0 {name} {port} {service} {} {} {} {} {}",
        proxy.id,
        proxy.name,
        server.id,
        server.name,
        operational(&report),
        administrative(server, &report),
        report.weight,
        report.file_weight,
        check_status(report.last_check.status, &report),
        check_result(&report),
        if report.checked { report.streak } else { 0 },
        check_state(server, &report),
        agent_state(server),
        use_ssl(server),
        server
            .state
            .check_set()
            .1
            .or(server.options.check_port)
            .unwrap_or(0),
        check_host(server),
        server
            .options
            .agent
            .address
            .map_or_else(|| "-".to_owned(), |ip| ip.to_string()),
        server.options.agent.port.unwrap_or(0),
    );
}

/// Returns 1 with TLS, 0 without, -1 if the configuration disables it.
fn use_ssl(server: &Server) -> i8 {
    let tls = &server.options.tls;
    match server.state.tls_override() {
        Some(on) => on.into(),
        None if tls.ssl => 1,
        None if tls.ssl_undone => -1,
        None => 0,
    }
}

/// Returns 0 for stopped, 1 for starting (`slowstart`), 2 for running, 3 for stopping.
fn operational(report: &ServerReport) -> u32 {
    let out = matches!(
        report.admin,
        AdminReport::Maintenance | AdminReport::Unresolved
    );
    match report.health {
        _ if out => 0,
        HealthState::Down => 0,
        HealthState::Stopping => 3,
        HealthState::Up if report.throttle < 100 => 1,
        HealthState::Up => 2,
    }
}

/// Returns bits: 1 maintenance by an operator, 4 by the configuration, 8 drain, 32 no
/// address.
fn administrative(server: &Server, report: &ServerReport) -> u32 {
    match report.admin {
        AdminReport::Ready => 0,
        AdminReport::Drain => 8,
        AdminReport::Unresolved => 32,
        AdminReport::Maintenance if server.options.disabled => 1 | 4,
        AdminReport::Maintenance => 1,
    }
}

fn check_status(status: CheckStatus, report: &ServerReport) -> u32 {
    match status {
        _ if !report.checked => 1,
        CheckStatus::Initializing => 1,
        CheckStatus::Analyzed => 4,
        CheckStatus::SocketError => 5,
        CheckStatus::Layer4Ok => 6,
        CheckStatus::Layer4Timeout => 7,
        CheckStatus::Layer4Error => 8,
        CheckStatus::Layer6Ok => 9,
        CheckStatus::Layer6Timeout => 10,
        CheckStatus::Layer6Invalid => 11,
        CheckStatus::Layer7Timeout => 12,
        CheckStatus::Layer7Invalid => 13,
        CheckStatus::Layer7Ok => 15,
        CheckStatus::Layer7OkConditional => 16,
        CheckStatus::Layer7Status => 17,
        CheckStatus::ProcessError => 18,
        CheckStatus::ProcessTimeout => 19,
        CheckStatus::ProcessOk => 20,
    }
}

/// Returns 0 for unknown, 2 for failed, 3 for passed, 4 for passed conditionally.
fn check_result(report: &ServerReport) -> u32 {
    match report.last_check.verdict {
        _ if !report.checked || report.last_check_ms.is_none() => 0,
        Verdict::Failed => 2,
        Verdict::Passed => 3,
        Verdict::Conditional => 4,
    }
}

/// Returns bits: 2 configured, 4 enabled, 8 paused.
fn check_state(server: &Server, report: &ServerReport) -> u32 {
    let out = matches!(
        report.admin,
        AdminReport::Maintenance | AdminReport::Unresolved
    );
    let checked = match (report.checked, server.state.checks_stopped()) {
        (true, _) => 2 | 4,
        (false, true) if server.options.check => 2,
        (false, _) => 0,
    };
    let is_paused = out && (report.checked || server.options.disabled);
    checked | (if is_paused { 8 } else { 0 })
}

/// Returns the host that checks go to, if it is not the server itself.
fn check_host(server: &Server) -> String {
    let set = server.state.check_set().0;
    let of_file = match &server.options.check_host {
        Some(ServerAddress::Inet(address)) => Some(address.ip()),
        Some(ServerAddress::SamePort(ip, _)) => Some(*ip),
        _ => None,
    };
    set.or(of_file)
        .map_or_else(|| "-".to_owned(), |ip| ip.to_string())
}

/// Returns bits: 16 agent, 2 configured, 4 enabled.
fn agent_state(server: &Server) -> u32 {
    match server.options.agent.check {
        true if server.state.agent_stopped() => 16 | 2,
        true => 16 | 2 | 4,
        false => 0,
    }
}

const CONNECTIONS_HEADER: &str = "# bkname/svname bkid/svid addr port - purge_delay used_cur used_max \
need_est unsafe_nb safe_nb idle_lim idle_cur\n";

pub fn connections(context: &Context, _: &Session, words: &[&str]) -> LongReply {
    let config = context.runtime.config();
    server_lines(config, words.get(3), CONNECTIONS_HEADER, connections_line)
}

fn connections_line(out: &mut String, proxy: &Proxy, server: &Server) {
    let (ip, port) = address(server);
    let idle = server.state.idle.count.load(Relaxed);
    let limit = server.options.pool_max.map_or(-1, i64::from);
    let used = &server.state.traffic.sessions;
    let _ = writeln!(
        out,
        "{}/{} {}/{} {ip} {port} - {} {} {} {} {idle} 0 {limit} {idle}",
        proxy.name,
        server.name,
        proxy.id,
        server.id,
        server.options.pool_purge_delay_ms,
        used.current(),
        used.highest(),
        used.current(),
    );
}
