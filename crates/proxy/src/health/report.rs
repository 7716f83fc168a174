//! Formats the log messages about checks and about servers that go up or down, in HAProxy's
//! wording, because scripts parse them.

use super::outbox::INFO;
use model::config::{Proxy, ProxyOption, Server};
use model::state::{
    AgentResult, ByTracked, CheckResult, CheckStatus, HealthState, ServerChange, ServerReport,
    Verdict,
};
use std::borrow::Cow;
use std::fmt::Write;

/// Severity of a message, as a syslog number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum Level {
    Emergency = 0,
    Alert = 1,
    Notice = 5,
}

/// Message for the logs of a backend.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogLine {
    pub level: Level,
    pub text: String,
    /// Severity of the mail (`email-alert`), as a syslog number; None: no mail is sent.
    pub mail: Option<u8>,
}

/// Returns the messages about a finished check. `told`: the result differs from the previous one.
pub fn lines(
    proxy: &Proxy,
    server: &Server,
    result: &CheckResult,
    change: &ServerChange,
    told: bool,
    report: &ServerReport,
) -> Vec<LogLine> {
    let reason = reason(result);
    let checked = told.then(|| check_line(proxy, server, result, &reason, report));
    checked_lines(proxy, server, change, report, &reason, checked)
}

/// Returns the message about the check itself (`option log-health-checks`), and those about
/// the resulting changes.
fn checked_lines(
    proxy: &Proxy,
    server: &Server,
    change: &ServerChange,
    report: &ServerReport,
    reason: &str,
    checked: Option<String>,
) -> Vec<LogLine> {
    let mut lines = Vec::new();
    let log_checks = proxy.has(ProxyOption::LogHealthChecks);
    if let Some(text) = checked.filter(|_| log_checks) {
        lines.push(LogLine {
            level: Level::Notice,
            text,
            mail: Some(INFO),
        });
    }
    if change.happened() {
        // Omits the reason if every check is logged, because the message about the check contains
        // it.
        let reason = if log_checks { "" } else { reason };
        lines.push(state_line(proxy, server, change, reason, report));
    }
    no_server(proxy, change, &mut lines);
    lines
}

/// Returns the messages about an agent's response. `told`: it differs from the previous one.
pub fn agent_lines(
    proxy: &Proxy,
    server: &Server,
    result: &AgentResult,
    change: &ServerChange,
    told: bool,
    report: &ServerReport,
) -> Vec<LogLine> {
    let code = match result.status {
        Some(status) if status.has_code() => ", code: 0",
        _ => "",
    };
    let reason = format!(
        ", reason: {}{code}, info: \"{}\", check duration: {}ms",
        result.text(),
        result.info,
        result.duration_ms
    );
    let checked = told.then(|| {
        let kind = kind(server);
        let down = report.agent.as_ref().is_some_and(|agent| agent.down);
        let (outcome, status) = if down {
            ("failed", "0/1 DOWN")
        } else {
            ("succeeded", "1/1 UP")
        };
        format!(
            "Agent check for {kind} {}/{} {outcome}{reason}, status: {status}.",
            proxy.name, server.name
        )
    });
    checked_lines(proxy, server, change, report, &reason, checked)
}

/// Returns the messages about a server whose state changed with the server that it tracks.
pub fn tracked_lines(
    proxy: &Proxy,
    server: &Server,
    told: &ByTracked,
    report: &ServerReport,
) -> Vec<LogLine> {
    let mut lines = Vec::new();
    let change = &told.change;
    let via = report.tracked.as_deref().unwrap_or_default();
    let name = state_name(proxy, server);
    let mut push = |level, text| {
        lines.push(LogLine {
            level,
            text,
            mail: Some(INFO),
        });
    };
    match (told.was_maintained, report.tracked_maintenance) {
        // Reports nothing if the server itself is in maintenance, which takes precedence.
        _ if server.state.in_maintenance() => {}
        (false, true) if change.was_up => {
            let text = format!(
                "{name} is going DOWN for maintenance via {via}. {} active and {} backup servers left. {} \
                 sessions active, {} requeued, {} remaining in queue.",
                change.lineup.active,
                change.lineup.backup,
                server.state.traffic.sessions.current(),
                change.requeued,
                server.state.queue.waiting.current()
            );
            // Lowers the severity for a server that was already draining or stopping.
            let level = if change.was_usable {
                Level::Alert
            } else {
                Level::Notice
            };
            push(level, text);
        }
        (false, true) => push(
            Level::Notice,
            format!("{name} was DOWN and now enters maintenance via {via}."),
        ),
        (true, false) => {
            let up = if change.is_up { "UP" } else { "DOWN" };
            push(
                Level::Notice,
                format!("{name} is {up}/READY (leaving maintenance)."),
            );
        }
        (true, true) => {}
        (false, false) if change.happened() => {
            let via = format!(" via {via}");
            lines.push(state_line(proxy, server, change, &via, report));
        }
        (false, false) => {}
    }
    no_server(proxy, change, &mut lines);
    lines
}

/// Returns the name of a server in messages, such as `Server b/s` or `Backup Server b/s`.
pub(super) fn state_name(proxy: &Proxy, server: &Server) -> String {
    let kind = if server.options.backup {
        "Backup Server"
    } else {
        "Server"
    };
    format!("{kind} {}/{}", proxy.name, server.name)
}

fn no_server(proxy: &Proxy, change: &ServerChange, lines: &mut Vec<LogLine>) {
    if change.lineup.went_down {
        let text = format!("backend {} has no server available!", proxy.name);
        lines.push(LogLine {
            level: Level::Emergency,
            text,
            mail: None,
        });
    }
}

fn kind(server: &Server) -> &'static str {
    if server.options.backup {
        "backup server"
    } else {
        "server"
    }
}

/// Formats the reason of a result: `, reason: …, code: …, info: "…", check duration: …ms`.
fn reason(result: &CheckResult) -> String {
    let mut text = format!(", reason: {}", result.status.text());
    // Writing to a string cannot fail.
    if result.status.has_code() {
        let _ = write!(text, ", code: {}", result.code);
    }
    if !result.info.is_empty() {
        let _ = write!(text, ", info: \"{}\"", visible(&result.info));
    }
    // Omits the duration of errors that were observed in traffic, which have none.
    if result.status != CheckStatus::Analyzed {
        let _ = write!(text, ", check duration: {}ms", result.duration_ms);
    }
    text
}

/// Replaces control characters in a text that came from a server, in the way of other log fields.
fn visible(text: &str) -> Cow<'_, str> {
    if !text.contains(char::is_control) {
        return text.into();
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if c.is_control() {
            let _ = write!(shown, "<{:02X}>", u32::from(c));
        } else {
            shown.push(c)
        }
    }
    shown.into()
}

fn check_line(
    proxy: &Proxy,
    server: &Server,
    result: &CheckResult,
    reason: &str,
    report: &ServerReport,
) -> String {
    let kind = kind(server);
    let outcome = match result.verdict {
        Verdict::Passed => "succeeded",
        Verdict::Conditional => "conditionally succeeded",
        Verdict::Failed => "failed",
    };
    let (done, of, word) = if report.streak >= report.rise {
        (report.streak - report.rise + 1, report.fall, "UP")
    } else {
        (report.streak, report.rise, "DOWN")
    };
    format!(
        "Health check for {kind} {}/{} {outcome}{reason}, status: {done}/{of} {word}.",
        proxy.name, server.name
    )
}

fn state_line(
    proxy: &Proxy,
    server: &Server,
    change: &ServerChange,
    reason: &str,
    report: &ServerReport,
) -> LogLine {
    let name = state_name(proxy, server);
    let (active, backup) = (change.lineup.active, change.lineup.backup);
    let on_backup = if active == 0 && backup > 0 {
        " Running on backup."
    } else {
        ""
    };
    let waiting = server.state.queue.waiting.current();
    if !change.is_up {
        let sessions = server.state.traffic.sessions.current();
        let text = format!(
            "{name} is DOWN{reason}. {active} active and {backup} backup servers left.{on_backup} \
             {sessions} sessions active, {} requeued, {waiting} remaining in queue.",
            change.requeued
        );
        return told(Level::Alert, text);
    }
    let word = if report.health == HealthState::Stopping {
        "stopping"
    } else {
        "UP"
    };
    let text = format!(
        "{name} is {word}{reason}. {active} active and {backup} backup servers online.{on_backup} \
         {} sessions requeued, {waiting} total in queue.",
        change.requeued
    );
    told(Level::Notice, text)
}

fn told(level: Level, text: String) -> LogLine {
    let mail = Some(level as u8);
    LogLine { level, text, mail }
}

/// Returns the value of `X-Haproxy-Server-State`.
pub fn send_state(proxy: &Proxy, server: &Server, node: &str, report: &ServerReport) -> String {
    let share = u64::from(server.state.weight() / model::state::WEIGHT_SCALE);
    let total: u64 = proxy
        .servers
        .iter()
        .filter(|other| other.options.backup == server.options.backup)
        .map(|other| u64::from(other.state.weight() / model::state::WEIGHT_SCALE))
        .sum();
    let address = match server
        .state
        .address_override()
        .as_ref()
        .unwrap_or(&server.address)
    {
        model::config::ServerAddress::Inet(address) => {
            format!("address={}; port={}; ", address.ip(), address.port())
        }
        _ => String::new(),
    };
    format!(
        "{}; {address}name={}/{}; node={node}; weight={share}/{total}; scur={}/{}; qcur={}",
        report.status_text(),
        proxy.name,
        server.name,
        server.state.traffic.sessions.current(),
        proxy.state.backend.sessions.current(),
        server.state.queue.waiting.current(),
    )
}
