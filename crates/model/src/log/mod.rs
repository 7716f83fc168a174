//! Writes the logs: one line for each stream or connection, and notices about servers. The
//! stream's thread formats the line; a separate thread delivers it ([`sink`]). A slow log target
//! therefore never delays traffic, and the lines that it cannot accept are counted.

pub mod ring;
pub mod servers;
mod sink;
mod syslog;
mod time;

pub use crate::setting::SyslogFormat;
pub use sink::{LossReporter, Sink, change, drain, dropped, start};
pub use syslog::hostname;
pub use time::{DateStyle, append_date, clf_date, iso_date, time_zone};
pub use time::{append_syslog_date, year};

use crate::compiled::Format;
use crate::config::{
    Config, LogProfile, LogStep, LogTarget, LogTargetAddress, Proxy, ProxyOption, StreamLogStep,
};
use crate::thread::{current_thread_data, new_stream};
use crate::transaction::{Endpoint, ProxyStream, Session, StreamPhase, Termination};
use std::rc::Rc;
use std::sync::Arc;
use std::time::SystemTime;

/// Severity of a line, numbered as in syslog.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum Level {
    Emergency,
    Alert,
    Critical,
    Error,
    Warning,
    Notice,
    Info,
    Debug,
}

/// Names of the levels in configuration files, ordered by severity number.
pub const LEVEL_NAMES: [&str; 8] = [
    "emerg", "alert", "crit", "err", "warning", "notice", "info", "debug",
];

/// Parts of a log line that come before the message.
pub struct LogHeader<'a> {
    tag: &'a [u8],
    hostname: Option<&'a [u8]>,
    now: SystemTime,
    /// Structured data (RFC 5424); empty if there is none.
    structured: &'a [u8],
}

impl<'a> LogHeader<'a> {
    /// Returns the line head for `proxy`, or for the process if that is None.
    pub fn of(config: &'a Config, proxy: Option<&'a Proxy>, structured: &'a [u8]) -> LogHeader<'a> {
        let tag = proxy
            .and_then(|p| p.log_tag.as_deref())
            .or(config.global.log_tag.as_deref());
        LogHeader {
            tag: tag.unwrap_or(b"haproxy"),
            hostname: config.global.log_hostname.as_deref(),
            now: SystemTime::now(),
            structured,
        }
    }
}

/// Returns all log targets of a configuration without duplicates, in the order in which their
/// descriptors are passed to another process.
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

/// `option logasap`: logs a stream when its response begins, instead of at its end. Values that
/// still grow (time, bytes to the client) then have a plus sign. With `log-steps`, logs the step
/// `response` of an HTTP stream if it is listed, and ignores the option.
pub fn stream_answered(stream: &mut ProxyStream) {
    let step = if stream.http {
        StreamLogStep::Response
    } else {
        StreamLogStep::Connect
    };
    if stream.frontend().log_steps.is_some() {
        if stream.http {
            stream_reached(stream, StreamLogStep::Response);
        }
    } else if stream.frontend().has(ProxyOption::LogAsap) {
        stream_logged(stream, step);
        stream.log.done = true;
    }
}

/// Logs the start of a stream once, if `log-steps` names that step.
#[inline]
pub fn stream_began(stream: &ProxyStream) {
    if stream.log.step.get().is_none() {
        stream_reached(stream, StreamLogStep::Accept);
    }
}

/// Logs a stream at a step, if `log-steps` names it.
#[inline]
pub fn stream_reached(stream: &ProxyStream, step: StreamLogStep) {
    let steps = stream.frontend().log_steps;
    if steps.is_some_and(|steps| steps.has(step)) {
        stream_step(stream, step);
    }
}

pub(crate) fn is_hidden(stream: &ProxyStream) -> bool {
    let is_silent = matches!(stream.log.level, Some(None));
    is_silent || (stream.frontend().has(ProxyOption::DontLogNull) && is_null(stream))
}

/// Returns whether a connection carried nothing. A refused invalid request counts as data.
fn is_null(stream: &ProxyStream) -> bool {
    if stream.http {
        let refused = stream.outcome.termination == Termination::Proxy;
        stream.transfer.bytes_in == 0 && stream.request.method().is_empty() && !refused
    } else {
        stream.transfer.bytes_in == 0 && stream.transfer.bytes_out == 0
    }
}

/// Logs a stream that has ended, according to the options of its frontend.
pub fn stream_ended(stream: &ProxyStream) {
    let steps = stream.frontend().log_steps;
    if steps.is_none_or(|steps| steps.has(StreamLogStep::Close)) {
        stream_logged(stream, StreamLogStep::Close);
    }
}

fn stream_logged(stream: &ProxyStream, step: StreamLogStep) {
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
    let step = if failed { StreamLogStep::Error } else { step };
    let mut message = reactor::scratch();
    lines(stream, level, step, &mut message);
}

/// Logs the current state of a stream at a step of `log-steps`, or for a `do-log` rule. Logs
/// nothing if a rule made the stream silent, or the frontend has no log target.
pub fn stream_step(stream: &ProxyStream, step: StreamLogStep) {
    let level = match stream.log.level {
        Some(None) => return,
        Some(Some(level)) => level,
        None => Level::Info as u8,
    };
    if !stream.frontend().logs.is_empty() {
        // Formats the line in a new buffer, because the rule may run while its caller uses the
        // scratch buffer.
        lines(stream, level, step, &mut Vec::new());
    }
}

fn lines(stream: &ProxyStream, level: u8, step: StreamLogStep, message: &mut Vec<u8>) {
    stream.log.step.set(Some(step));
    let frontend = stream.frontend();
    // Uses the error format only for input that became no request. As in HAProxy, a failed request
    // gets the ordinary line, which has its URI, status and termination state.
    let failed = step == StreamLogStep::Error && stream.http && !stream.request.is_request();
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
        message,
        &structured,
        Some((stream, step)),
    );
    frontend
        .state
        .frontend
        .log_lines
        .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
}

/// Returns whether `option log-separate-errors` and `option dontlog-normal` treat the stream as an
/// error.
pub(crate) fn is_error(stream: &ProxyStream) -> bool {
    stream.status() >= 500
        || stream.route.retries > 0
        || stream.route.redispatched
        || !matches!(
            stream.outcome.termination,
            Termination::Normal | Termination::Local
        )
        || (stream.outcome.phase != StreamPhase::Done
            && stream.outcome.termination != Termination::Local)
}

/// Writes the default log message, for frontends without a log format.
fn connect_line(stream: &ProxyStream, out: &mut Vec<u8>) {
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
    let level = if frontend.has(ProxyOption::LogSeparateErrors) {
        Level::Error
    } else {
        Level::Info
    };
    let mut message = reactor::scratch();
    let profiled = frontend.logs.iter().any(|target| target.profile.is_some());
    let stream = (profiled || frontend.error_log_format.is_some()).then(|| {
        let mut stream = new_stream(Rc::clone(session), false);
        stream.outcome.phase = StreamPhase::Request;
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
        let accepted = current_thread_data().wall_clock() - ago;
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
        &message,
        b"",
        stream
            .as_deref()
            .map(|stream| (stream, StreamLogStep::Error)),
    );
    let lines = &frontend.state.frontend.log_lines;
    lines.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
}

/// Returns the name of the listener, or its number if it has no name.
fn bind_name(session: &Session) -> String {
    let bind = session.bind();
    if bind.name.is_empty() {
        bind.id.to_string()
    } else {
        bind.name.to_string()
    }
}

/// Logs a notice about a proxy (for example, that a server went down) to its targets.
pub fn notice(config: &Config, proxy: &Proxy, level: Level, text: &str) {
    deliver(
        config,
        Some(proxy),
        &proxy.logs,
        level as u8,
        text.as_bytes(),
        b"",
        None,
    );
}

/// Logs a line that an application wrote to its standard error (`log-stderr`).
pub fn application_error(stream: &ProxyStream, targets: &[LogTarget], line: &[u8]) {
    let level = Level::Error as u8;
    deliver(
        &stream.config,
        stream.backend(),
        targets,
        level,
        line,
        b"",
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
        text.as_bytes(),
        b"",
        None,
    );
}

/// Sends a message and its structured data to the targets that accept the level. For a target with
/// a profile, the profile's format for the stream and step replaces them.
fn deliver(
    config: &Config,
    proxy: Option<&Proxy>,
    targets: &[LogTarget],
    level: u8,
    message: &[u8],
    structured: &[u8],
    of: Option<(&ProxyStream, StreamLogStep)>,
) {
    let head = LogHeader::of(config, proxy, structured);
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

/// Formats a line according to a profile. Returns None if the profile drops the line; otherwise
/// its own message, if it has a format for the step.
pub fn profiled(
    line: &mut Vec<u8>,
    profile: &LogProfile,
    target: &LogTarget,
    level: u8,
    head: &LogHeader<'_>,
    message: &[u8],
    of: Option<(&ProxyStream, StreamLogStep)>,
) -> Option<Option<Vec<u8>>> {
    let step = of.and_then(|(stream, step)| Some((stream, step_of(profile, step)?)));
    let made = |format: &Option<Arc<Format>>, stream: &ProxyStream| {
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
    let head = LogHeader {
        tag: profile.tag.as_deref().unwrap_or(head.tag),
        structured: structured.as_deref().unwrap_or(head.structured),
        ..*head
    };
    let message = own.as_deref().unwrap_or(message);
    syslog::write(line, target, level, &head, message);
    Some(own)
}

/// Returns the profile's settings for a step. A profile without settings for errors treats an error
/// as the end of the stream.
fn step_of(profile: &LogProfile, step: StreamLogStep) -> Option<&LogStep> {
    match step {
        StreamLogStep::Error if !profile.steps.contains_key(&step) => {
            profile.step(StreamLogStep::Close)
        }
        step => profile.step(step),
    }
}

/// Returns whether `sample` selects this line for the target.
pub fn sampled(target: &LogTarget) -> bool {
    use std::sync::atomic::Ordering::Relaxed;
    let Some((ranges, size)) = &target.sample else {
        return true;
    };
    let n = target.seen.fetch_add(1, Relaxed) % size.max(&1) + 1;
    ranges.iter().any(|(low, high)| (*low..=*high).contains(&n))
}
