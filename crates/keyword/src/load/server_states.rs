//! Reads server states of an earlier process from files, in the format of `show servers state`
//! (version 1). The files are read once, at the end of loading. Problems are only warnings, because
//! a start must not depend on these files.

use super::{DefaultPath, Loader, codes};
use language::{ConfigWord, Diagnostic, Span};
use model::config::{InitAddress, Server, ServerAddress, StateSource};
use model::state::{AdminState, CheckResult, CheckStatus, HealthState, Kept, Verdict, WEIGHT_MAX};
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// Minimum and maximum number of fields of a line.
const FIELDS: std::ops::RangeInclusive<usize> = 20..=25;
/// Maximum accepted age of a state, in seconds: ten years.
const AGE_MAX_S: u64 = 10 * 365 * 24 * 3600;
/// Bit of an administrative state: maintenance set by an operator.
const MAINTENANCE: u32 = 1;
/// Bit of an administrative state: `disabled` in the configuration of that process.
const DISABLED: u32 = 4;
/// Bit of an administrative state: drain set by an operator.
const DRAIN: u32 = 8;
const ADMIN_BITS: u32 = 0x7f;
const CHECK_BITS: u32 = 0x1f;

/// Lines of a file by the names of their backends, each with its fields.
type ServerStateLines<'t> = HashMap<&'t str, Vec<Vec<&'t str>>>;

impl Loader {
    pub(super) fn load_server_states(&mut self) {
        let wants = |source: StateSource| {
            move |loader: &Loader, at: usize| {
                let proxy = &loader.config.proxies[at];
                let span = proxy.state_source.filter(|(s, _)| *s == source)?.1;
                (proxy.kind.is_backend() && !proxy.disabled).then_some((at, span))
            }
        };
        let all = 0..self.config.proxies.len();
        let local: Vec<(usize, Span)> = all
            .clone()
            .filter_map(|at| wants(StateSource::Local)(self, at))
            .collect();
        let global: Vec<(usize, Span)> = all
            .filter_map(|at| wants(StateSource::Global)(self, at))
            .collect();
        // State files are never relative to `default-path`.
        let base = std::mem::replace(&mut self.base, DefaultPath::Current);
        for (at, span) in local {
            let proxy = &self.config.proxies[at];
            let name = proxy.state_file_name.clone();
            let name = name.unwrap_or_else(|| proxy.name.as_bytes().into());
            self.apply_state_file(&name, &[(at, span)]);
        }
        if let Some((_, span)) = global.first() {
            match self.config.global.server_state_file.clone() {
                Some(name) => self.apply_state_file(&name, &global),
                None => self.warn_states(
                    *span,
                    "no 'server-state-file' in `global` names the file".to_owned(),
                ),
            }
        }
        self.base = base;
    }

    fn warn_states(&mut self, span: Span, told: String) {
        self.report(
            Diagnostic::warning(&codes::SERVER_STATES, span, told)
                .label("server states are requested here"),
        );
    }

    fn apply_state_file(&mut self, name: &[u8], proxies: &[(usize, Span)]) {
        let Some((_, span)) = proxies.first().copied() else {
            return;
        };
        let path = match &self.config.global.server_state_base {
            Some(base) if !name.starts_with(b"/") => [base, &b"/"[..], name].concat(),
            _ => name.to_vec(),
        };
        let shown = String::from_utf8_lossy(&path).into_owned();
        let word = ConfigWord { bytes: path, span };
        let resolved = self.path(&word);
        // Marks the file as local: the state of an earlier process of this machine is not part of a
        // configuration version.
        self.context.outside.mark_as_local(&resolved);
        self.state_files.insert(resolved);
        let bytes = match self.read_file(&word) {
            Ok(bytes) => bytes,
            Err(diagnostic) => return self.warn_states(span, diagnostic.message.clone()),
        };
        let text = String::from_utf8_lossy(&bytes);
        let lines = match lines(&text) {
            Ok(lines) => lines,
            Err(wrong) => return self.warn_states(span, wrong.describe_problem(&shown)),
        };
        let mut told = Vec::new();
        for (at, span) in proxies {
            let proxy = &mut self.config.proxies[*at];
            let Some(lines) = lines.get(&*proxy.name) else {
                continue;
            };
            let mut by_name: HashMap<&str, &Vec<&str>> = HashMap::new();
            for fields in lines {
                by_name.entry(fields[3]).or_insert(fields);
            }
            for server in &mut proxy.servers {
                match by_name.get(&*server.name).map(|f| parse_state(f, server)) {
                    Some(Ok(kept)) => server.options.saved = Some(Arc::new(kept)),
                    Some(Err(field)) => {
                        told.push((*span, proxy.name.clone(), server.name.clone(), field))
                    }
                    None => {}
                }
            }
        }
        for (span, proxy, server, field) in told {
            let told = format!(
                "the state of server '{proxy}/{server}' in '{shown}' is not applied: invalid {} '{}'",
                field.name, field.value
            );
            self.warn_states(span, told);
        }
    }
}

/// Reason why a whole state file is ignored.
#[derive(PartialEq, Eq, Debug)]
enum Wrong {
    /// The file does not begin with a known version.
    Version,
    /// A line is truncated or has too few fields.
    Line(usize),
}

impl Wrong {
    fn describe_problem(&self, file: &str) -> String {
        match self {
            Wrong::Version => format!("the state file '{file}' does not begin with the version 1"),
            Wrong::Line(line) => format!("the state file '{file}' is damaged at line {line}"),
        }
    }
}

/// Returns the lines with states, by backend. A damaged file is an error: half of the states would
/// be worse than none.
fn lines(text: &str) -> Result<ServerStateLines<'_>, Wrong> {
    let mut numbered = text.split_inclusive('\n').zip(1..);
    match numbered.next() {
        Some(("1\n", _)) => {}
        _ => return Err(Wrong::Version),
    }
    let mut lines: ServerStateLines<'_> = HashMap::new();
    for (line, number) in numbered {
        let Some(line) = line.strip_suffix('\n') else {
            return Err(Wrong::Line(number));
        };
        let mut fields: Vec<&str> = line.split_ascii_whitespace().take(*FIELDS.end()).collect();
        match fields.first() {
            None => continue,
            Some(first) if first.starts_with('#') => continue,
            Some(_) if fields.len() < *FIELDS.start() => return Err(Wrong::Line(number)),
            Some(_) => {}
        }
        fields.shrink_to_fit();
        lines.entry(fields[1]).or_default().push(fields);
    }
    Ok(lines)
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct BadField {
    name: &'static str,
    value: String,
}

fn number(fields: &[&str], at: usize, name: &'static str, max: u32) -> Result<u32, BadField> {
    let value = fields.get(at).copied().unwrap_or_default();
    let parsed = value.parse::<u32>().ok().filter(|n| *n <= max);
    parsed.ok_or_else(|| BadField {
        name,
        value: value.to_owned(),
    })
}

fn parse_state(fields: &[&str], server: &Server) -> Result<Kept, BadField> {
    let options = &server.options;
    let operational = number(fields, 5, "srv_op_state", 3)?;
    let admin = admin(fields)?;
    let weight = number(fields, 7, "srv_uweight", WEIGHT_MAX)?;
    let file_weight = number(fields, 8, "srv_iweight", WEIGHT_MAX)?;
    let mut since_ms = fields[9].parse::<u64>().unwrap_or(0).min(AGE_MAX_S) * 1000;
    let last_check = check(fields)?;
    // Reads whether the traffic uses TLS, if that differs from the configuration.
    let on = match fields.get(20) {
        Some(&"1") => Some(true),
        Some(&"0") => Some(false),
        _ => None,
    };
    let tls = on.filter(|on| options.tls.connector.is_some() && *on != options.tls.ssl);
    let warms = operational == 1 && since_ms < u64::from(options.slowstart_ms);
    if warms {
        // Begins the slow start again, as HAProxy does.
        since_ms = 0;
    }
    let (rise, fall) = (options.rise.max(1), options.fall.max(1));
    let top = rise + fall - 1;
    let maintained = admin & MAINTENANCE != 0;
    let (health, streak) = match operational {
        0 if !maintained => (HealthState::Down, 0),
        1 => (HealthState::Up, rise),
        3 => {
            let told = fields[12].parse::<u32>().unwrap_or(0);
            let half_way = (rise..top).contains(&told);
            (HealthState::Stopping, if half_way { told } else { rise })
        }
        _ => (HealthState::Up, top),
    };
    let down = health == HealthState::Down || maintained;
    Ok(Kept {
        admin: match admin {
            _ if maintained => AdminState::Maintenance,
            _ if admin & DRAIN != 0 => AdminState::Drain,
            _ => AdminState::Ready,
        },
        file_disabled: admin & DISABLED != 0,
        health,
        streak,
        rise,
        fall,
        checked: options.check,
        weight,
        file_weight,
        maxconn: options.maxconn.max(options.minconn),
        file_maxconn: options.maxconn,
        warming_for_ms: warms.then_some(0),
        last_change_ago_ms: since_ms,
        down_for_ms: down.then_some(since_ms),
        last_check: last_check
            .filter(|_| options.check)
            .map(|check| (check, since_ms)),
        address: address(fields, server)?,
        tls,
        ..Kept::default()
    })
}

/// Parses the bits of the administrative state, and refuses maintenance together with drain.
fn admin(fields: &[&str]) -> Result<u32, BadField> {
    let admin = number(fields, 6, "srv_admin_state", ADMIN_BITS)?;
    if admin & MAINTENANCE != 0 && admin & DRAIN != 0 {
        return Err(BadField {
            name: "srv_admin_state",
            value: fields[6].to_owned(),
        });
    }
    Ok(admin)
}

/// Parses the result of the last check. Returns None if there was none, or its status is unknown
/// here.
fn check(fields: &[&str]) -> Result<Option<CheckResult>, BadField> {
    let status = number(fields, 10, "srv_check_status", u32::MAX)?;
    let Some(status) = CheckStatus::of_number(status) else {
        return Err(BadField {
            name: "srv_check_status",
            value: fields[10].to_owned(),
        });
    };
    let verdict = match number(fields, 11, "srv_check_result", 4)? {
        0 => None,
        2 => Some(Verdict::Failed),
        4 => Some(Verdict::Conditional),
        _ => Some(Verdict::Passed),
    };
    number(fields, 13, "srv_check_state", CHECK_BITS)?;
    number(fields, 14, "srv_agent_state", CHECK_BITS)?;
    Ok(status.zip(verdict).map(|(status, verdict)| CheckResult {
        verdict,
        ..CheckResult::new(status, 0)
    }))
}

/// Returns the address in a line, if it differs from the configured one. As in HAProxy, the port
/// always comes from the file, and the IP address only for a server with a host name whose
/// `init-addr` uses the state file first.
fn address(fields: &[&str], server: &Server) -> Result<Option<SocketAddr>, BadField> {
    let port = match fields[18].parse::<u32>() {
        Ok(0) | Err(_) => None,
        Ok(_) => Some(number(fields, 18, "srv_port", u32::from(u16::MAX))? as u16),
    };
    let told: Option<IpAddr> = fields[4].parse().ok();
    let takes = is_state_file_first(server) && is_name(&server.address_text);
    let told = told.filter(|_| takes);
    Ok(match (&server.address, told, port) {
        (ServerAddress::Inet(now), told, port) => {
            let then = SocketAddr::new(told.unwrap_or(now.ip()), port.unwrap_or(now.port()));
            (then != *now).then_some(then)
        }
        (ServerAddress::Unresolved, Some(ip), Some(port)) => Some(SocketAddr::new(ip, port)),
        _ => None,
    })
}

/// Returns whether `init-addr` uses a state file before the resolver, which is the default.
fn is_state_file_first(server: &Server) -> bool {
    let methods = server.options.resolving.init.as_deref();
    let first = |methods: &[InitAddress]| {
        methods
            .iter()
            .copied()
            .find(|method| *method != InitAddress::None)
    };
    methods.is_none_or(|methods| first(methods) == Some(InitAddress::Last))
}

fn is_name(text: &str) -> bool {
    let text = text
        .strip_prefix("ipv4@")
        .or_else(|| text.strip_prefix("ipv6@"))
        .unwrap_or(text);
    let host = match text.rsplit_once(':') {
        _ if text.parse::<IpAddr>().is_ok() => return false,
        Some((host, _)) => host,
        None => text,
    };
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    !bare.is_empty() && bare != "*" && !bare.contains('/') && bare.parse::<IpAddr>().is_err()
}

#[cfg(test)]
mod tests;
