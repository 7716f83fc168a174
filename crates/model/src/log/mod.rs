//! Logs: one line a stream (or connection), and notices about servers. Lines
//! are made on the thread of their stream and delivered by a thread of their
//! own ([`sink`]): a slow target never slows traffic, and what it could not
//! take is counted.

pub mod ring;
pub mod servers;
mod sink;
mod syslog;
mod time;

pub use crate::setting::SyslogFormat;
pub use sink::{Report, Sink, change, drain, dropped, start};
pub use syslog::hostname;
pub use time::{DateStyle, append_date, clf_date, iso_date, time_zone};
pub use time::{append_syslog_date, year};

use crate::compiled::Format;
use crate::config::{
    Config, LogProfile, LogStep, LogTarget, LogTargetAddress, Proxy, ProxyOption, Step,
};
use crate::thread::{here, new_stream};
use crate::transaction::{Endpoint, Phase, Session, Stream, Termination};
use std::rc::Rc;
use std::sync::Arc;
use std::time::SystemTime;

/// Severity of a line, as syslog numbers it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum Level {
    /// The system is unusable.
    Emergency,
    /// Act now.
    Alert,
    /// Critical.
    Critical,
    /// An error.
    Error,
    /// A warning.
    Warning,
    /// Worth a notice.
    Notice,
    /// For information.
    Info,
    /// For debugging.
    Debug,
}

/// The names of the levels in files, in their order.
pub const LEVEL_NAMES: [&str; 8] = [
    "emerg", "alert", "crit", "err", "warning", "notice", "info", "debug",
];

/// What a target's line needs besides the message.
pub struct Head<'a> {
    tag: &'a [u8],
    hostname: Option<&'a [u8]>,
    now: SystemTime,
    /// The structured data of RFC 5424; empty is none.
    structured: &'a [u8],
}

impl<'a> Head<'a> {
    /// Returns the head of lines of `proxy`, or of the process.
    pub fn of(config: &'a Config, proxy: Option<&'a Proxy>, structured: &'a [u8]) -> Head<'a> {
        let tag = proxy
            .and_then(|p| p.log_tag.as_deref())
            .or(config.global.log_tag.as_deref());
        Head {
            tag: tag.unwrap_or(b"haproxy"),
            hostname: config.global.log_hostname.as_deref(),
            now: SystemTime::now(),
            structured,
        }
    }
}

/// Every place that log lines of a configuration go to, once, in the order in
/// which descriptors of them are passed.
pub fn targets(config: &Config) -> Vec<LogTargetAddress> {
    let of_proxies = config.proxies.iter().flat_map(|proxy| &proxy.logs);
    let of_sections = config.log_forwards.iter().flat_map(|section| &section.logs);
    let of_apps = config.fcgi_apps.iter().flat_map(|app| &app.logs);
    let of_sections = of_sections.chain(of_apps);
    let of_global = config.global.logs.iter();
    let lines = of_global.chain(of_proxies).chain(of_sections);
    let lines = lines.map(|target| &target.address);
    let backends = config.proxies.iter().filter_map(|p| p.log_servers.as_ref());
    let servers = backends.flat_map(|servers| &servers.addresses);
    let mut addresses: Vec<LogTargetAddress> = Vec::new();
    for address in lines.chain(servers) {
        let is_backend = matches!(address, LogTargetAddress::Backend(_));
        if !is_backend && !addresses.contains(address) {
            addresses.push(address.clone());
        }
    }
    addresses
}

/// `option logasap`: logs a stream whose answer begins, in place of its end.
/// What goes on meanwhile (time, bytes to the client) has a plus sign then.
pub fn stream_answered(stream: &mut Stream) {
    let step = if stream.http {
        Step::Response
    } else {
        Step::Connect
    };
    if stream.frontend().log_steps.is_some() {
        if stream.http {
            stream_reached(stream, Step::Response);
        }
    } else if stream.frontend().has(ProxyOption::LogAsap) {
        stream_logged(stream, step);
        stream.log.done = true;
    }
}

/// Logs a stream that begins, once, where `log-steps` names that.
#[inline]
pub fn stream_began(stream: &Stream) {
    if stream.log.step.get().is_none() {
        stream_reached(stream, Step::Accept);
    }
}

/// Logs a stream at a moment that `log-steps` names.
#[inline]
pub fn stream_reached(stream: &Stream, step: Step) {
    let steps = stream.frontend().log_steps;
    if steps.is_some_and(|steps| steps.has(step)) {
        stream_step(stream, step);
    }
}

/// Whether the options of its frontend say that a stream is of no interest: its level is `silent`,
/// or it carried nothing (`option dontlognull`).
pub(crate) fn is_hidden(stream: &Stream) -> bool {
    let is_silent = matches!(stream.log.level, Some(None));
    is_silent || (stream.frontend().has(ProxyOption::DontLogNull) && is_null(stream))
}

/// Whether a connection carried nothing. What was refused as no request did.
fn is_null(stream: &Stream) -> bool {
    if stream.http {
        let refused = stream.outcome.termination == Termination::Proxy;
        stream.transfer.bytes_in == 0 && stream.request.method().is_empty() && !refused
    } else {
        stream.transfer.bytes_in == 0 && stream.transfer.bytes_out == 0
    }
}

/// Logs a stream that has ended, as its frontend wants.
pub fn stream_ended(stream: &Stream) {
    let steps = stream.frontend().log_steps;
    if steps.is_none_or(|steps| steps.has(Step::Close)) {
        stream_logged(stream, Step::Close);
    }
}

fn stream_logged(stream: &Stream, step: Step) {
    let frontend = stream.frontend();
    if frontend.logs.is_empty() || stream.log.done {
        return;
    }
    let failed = is_error(stream);
    if frontend.has(ProxyOption::DontLogNull) && is_null(stream) {
        return;
    }
    if frontend.has(ProxyOption::DontLogNormal) && !failed {
        return;
    }
    let level = match stream.log.level {
        Some(None) => return,
        Some(Some(level)) => level,
        None if failed && frontend.has(ProxyOption::LogSeparateErrors) => Level::Error as u8,
        None => Level::Info as u8,
    };
    let step = if failed { Step::Error } else { step };
    let mut message = reactor::scratch();
    lines(stream, failed, level, step, &mut message);
}

/// Logs a stream as it is at a rule `do-log`.
pub fn stream_step(stream: &Stream, step: Step) {
    let level = match stream.log.level {
        Some(None) => return,
        Some(Some(level)) => level,
        None => Level::Info as u8,
    };
    if !stream.frontend().logs.is_empty() {
        // A rule may stand in the middle of what uses the scratch space.
        lines(stream, false, level, step, &mut Vec::new());
    }
}

/// Makes the line of a stream and sends it.
fn lines(stream: &Stream, failed: bool, level: u8, step: Step, message: &mut Vec<u8>) {
    stream.log.step.set(Some(step));
    let frontend = stream.frontend();
    let format = frontend
        .error_log_format
        .as_ref()
        .filter(|_| failed)
        .or(frontend.log_format.as_ref());
    match format {
        Some(format) => format.append(stream, message),
        None => connect_line(stream, message),
    }
    let mut structured = Vec::new();
    if let Some(format) = &frontend.log_format_sd {
        format.append(stream, &mut structured);
    }
    deliver(
        &stream.config,
        Some(frontend),
        &frontend.logs,
        level,
        (message, &structured),
        Some((stream, step)),
    );
    frontend
        .state
        .frontend
        .log_lines
        .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
}

/// Whether `option log-separate-errors` and `option dontlog-normal` take it for
/// an error.
pub(crate) fn is_error(stream: &Stream) -> bool {
    stream.status() >= 500
        || stream.route.retries > 0
        || stream.route.redispatched
        || !matches!(
            stream.outcome.termination,
            Termination::Normal | Termination::Local
        )
        || (stream.outcome.phase != Phase::Done && stream.outcome.termination != Termination::Local)
}

/// What is logged where no format is set.
fn connect_line(stream: &Stream, out: &mut Vec<u8>) {
    use crate::transaction::Endpoint;
    use std::io::Write;
    let mut end = |word: &str, endpoint: Endpoint| {
        // Writing to a Vec cannot fail.
        let _ = match endpoint {
            Endpoint::Inet(a) => write!(out, "{word} {}:{} ", a.ip().to_canonical(), a.port()),
            Endpoint::Unix => write!(out, "{word} unix:1 "),
        };
    };
    end("Connect from", stream.source());
    end("to", stream.destination());
    let frontend = stream.frontend();
    let mode = if stream.http { "HTTP" } else { "TCP" };
    let _ = write!(out, "({}/{mode})", frontend.name);
}

/// Logs a client connection that ended before its session began, with the reason. With
/// `option dontlognull`, connections with `carried_nothing` are not logged.
pub fn connection_failed(session: &Rc<Session>, why: &str, carried_nothing: bool) {
    use std::io::Write;
    let frontend = session.frontend();
    if frontend.logs.is_empty() || (carried_nothing && frontend.has(ProxyOption::DontLogNull)) {
        return;
    }
    let level = match frontend.has(ProxyOption::LogSeparateErrors) {
        true => Level::Error,
        false => Level::Info,
    };
    let mut message = reactor::scratch();
    let profiled = frontend.logs.iter().any(|target| target.profile.is_some());
    let stream = (profiled || frontend.error_log_format.is_some()).then(|| {
        let mut stream = new_stream(Rc::clone(session), false);
        stream.outcome.phase = Phase::Request;
        stream.outcome.termination = Termination::Proxy;
        stream
    });
    if let (Some(format), Some(stream)) = (&frontend.error_log_format, &stream) {
        format.append(stream, &mut message);
    } else {
        // Writing to a Vec cannot fail.
        let _ = match session.source {
            Endpoint::Inet(a) => write!(&mut *message, "{}:{} [", a.ip().to_canonical(), a.port()),
            Endpoint::Unix => write!(&mut *message, "unix:{} [", session.bind().id),
        };
        let ago = reactor::now().saturating_duration_since(session.accepted);
        let accepted = here().wall_clock() - ago;
        time::append_date(&mut message, accepted, DateStyle::Millis);
        let _ = write!(
            &mut *message,
            "] {}/{}: {why}",
            frontend.name,
            bind_name(session)
        );
    }
    deliver(
        &session.config,
        Some(frontend),
        &frontend.logs,
        level as u8,
        (&message, b""),
        stream.as_deref().map(|stream| (stream, Step::Error)),
    );
    let lines = &frontend.state.frontend.log_lines;
    lines.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
}

/// A listener by its name, else by its number.
fn bind_name(session: &Session) -> String {
    let bind = session.bind();
    match bind.name.is_empty() {
        true => bind.id.to_string(),
        false => bind.name.to_string(),
    }
}

/// Logs a notice about a proxy (a server that went down) to its targets.
pub fn notice(config: &Config, proxy: &Proxy, level: Level, text: &str) {
    deliver(
        config,
        Some(proxy),
        &proxy.logs,
        level as u8,
        (text.as_bytes(), b""),
        None,
    );
}

/// Logs a line that an application wrote to its standard error (`log-stderr`).
pub fn application_error(stream: &Stream, targets: &[LogTarget], line: &[u8]) {
    let level = Level::Error as u8;
    deliver(
        &stream.config,
        stream.backend(),
        targets,
        level,
        (line, b""),
        None,
    );
}

/// Logs a notice about the process to the global targets.
pub fn process_notice(config: &Config, level: Level, text: &str) {
    deliver(
        config,
        None,
        &config.global.logs,
        level as u8,
        (text.as_bytes(), b""),
        None,
    );
}

/// Sends a message, and its structured data, to those targets that want the level. A
/// target with a profile gets what that says of the stream and step instead.
fn deliver(
    config: &Config,
    proxy: Option<&Proxy>,
    targets: &[LogTarget],
    level: u8,
    (message, structured): (&[u8], &[u8]),
    of: Option<(&Stream, Step)>,
) {
    let head = Head::of(config, proxy, structured);
    for target in targets.iter().filter(|target| level <= target.level_max) {
        if !sampled(target) {
            continue;
        }
        let profile = target.profile.as_ref();
        let mut line = Vec::with_capacity(message.len() + 64);
        let level = level.max(target.level_min);
        let mut own = None;
        match profile.and_then(|named| named.profile.as_deref()) {
            None => syslog::write(&mut line, target, level, &head, message),
            Some(profile) => {
                match profiled(&mut line, profile, target, level, &head, message, of) {
                    Some(made) => own = made,
                    None => continue,
                }
            }
        }
        let message = own.as_deref().unwrap_or(message);
        servers::send(config, &target.address, line, message);
    }
}

/// Makes a line as a profile has it, and returns the message where it is the profile's
/// own. None: there is no line.
pub fn profiled(
    line: &mut Vec<u8>,
    profile: &LogProfile,
    target: &LogTarget,
    level: u8,
    head: &Head<'_>,
    message: &[u8],
    of: Option<(&Stream, Step)>,
) -> Option<Option<Vec<u8>>> {
    let step = of.and_then(|(stream, step)| Some((stream, step_of(profile, step)?)));
    let made = |format: &Option<Arc<Format>>, stream: &Stream| {
        format.as_ref().map(|format| {
            let mut text = Vec::new();
            format.append(stream, &mut text);
            text
        })
    };
    let (mut own, mut structured) = (None, None);
    if let Some((stream, step)) = step {
        if step.dropped {
            return None;
        }
        (own, structured) = (made(&step.format, stream), made(&step.structured, stream));
    }
    let head = Head {
        tag: profile.tag.as_deref().unwrap_or(head.tag),
        structured: structured.as_deref().unwrap_or(head.structured),
        ..*head
    };
    let message = own.as_deref().unwrap_or(message);
    syslog::write(line, target, level, &head, message);
    Some(own)
}

/// What a profile says of a step: a failure that it does not name is an end.
fn step_of(profile: &LogProfile, step: Step) -> Option<&LogStep> {
    match step {
        Step::Error if !profile.steps.contains_key(&step) => profile.step(Step::Close),
        step => profile.step(step),
    }
}

/// Whether `sample` lets this line through.
pub fn sampled(target: &LogTarget) -> bool {
    use std::sync::atomic::Ordering::Relaxed;
    let Some((ranges, size)) = &target.sample else {
        return true;
    };
    let n = target.seen.fetch_add(1, Relaxed) % size.max(&1) + 1;
    ranges.iter().any(|(low, high)| (*low..=*high).contains(&n))
}
