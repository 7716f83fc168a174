//! Forwards received syslog messages to the targets of a `log-forward` section. `message` and
//! `framing` parse without IO; `serving` has the sockets, on the side thread. Messages are sent
//! like log lines of the proxy itself: those for a full queue are dropped.

mod framing;
mod message;
mod serving;

pub use serving::{LogReceivers, LogSocket};

use message::{SyslogMessage, SyslogMessageFormat};
use model::config::{Config, ForwardedHost, LogForward, LogTarget, LogTargetAddress};
use model::log::{SyslogFormat, append_syslog_date, iso_date, sampled, servers, year};
use std::borrow::Cow;
use std::io::Write;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

/// Host name in a format that requires one, if none is known.
const NO_HOST: &[u8] = b"localhost";
/// Length of an RFC 5424 date up to the day, bytes.
const DAY_BYTES: usize = 10;
const SECONDS_BYTES: usize = 19;

static RECEIVED: AtomicU64 = AtomicU64::new(0);

/// Returns the number of messages that `log-forward` sections have received since the start.
pub fn received() -> u64 {
    RECEIVED.load(Ordering::Relaxed)
}

pub fn pass_on(config: &Config, section: &LogForward, bytes: &[u8], sender: Option<IpAddr>) {
    RECEIVED.fetch_add(1, Ordering::Relaxed);
    let message = if section.opaque {
        SyslogMessage::opaque(bytes)
    } else {
        SyslogMessage::read(bytes)
    };
    let host = host(&message, section.host, sender);
    let now = SystemTime::now();
    let level = (message.priority.unwrap_or(0) & 7) as u8;
    for target in section.logs.iter().filter(|t| level <= t.level_max) {
        if !sampled(target) {
            continue;
        }
        let mut line = Vec::with_capacity(bytes.len() + 64);
        write(&mut line, target, &message, host.as_deref(), now);
        servers::send(config, &target.address, line, message.text);
    }
}

fn host<'a>(
    message: &SyslogMessage<'a>,
    wanted: ForwardedHost,
    sender: Option<IpAddr>,
) -> Option<Cow<'a, [u8]>> {
    let told = message.host.map(Cow::Borrowed);
    let Some(sender) = sender.map(|ip| ip.to_canonical().to_string().into_bytes()) else {
        return told;
    };
    match (wanted, told) {
        (ForwardedHost::Keep, told) => told,
        (ForwardedHost::Fill, Some(told)) => Some(told),
        (ForwardedHost::Append, Some(told)) => Some([&told[..], b",", &sender].concat().into()),
        (_, _) => Some(sender.into()),
    }
}

/// Returns the format in which a target gets the message: the format that the target sets,
/// otherwise that of the message.
fn form_of(target: &LogTarget, message: &SyslogMessage<'_>) -> SyslogFormat {
    match message.form {
        _ if target.format_said => target.format,
        SyslogMessageFormat::Bsd => SyslogFormat::Rfc3164,
        SyslogMessageFormat::Ietf => SyslogFormat::Rfc5424,
        SyslogMessageFormat::Plain if message.priority.is_some() => SyslogFormat::Priority,
        SyslogMessageFormat::Plain => SyslogFormat::Raw,
    }
}

fn write(
    out: &mut Vec<u8>,
    target: &LogTarget,
    message: &SyslogMessage<'_>,
    host: Option<&[u8]>,
    now: SystemTime,
) {
    let own = u16::from(target.facility) << 3;
    let priority = message.priority.unwrap_or(own);
    let level = (priority & 7).max(u16::from(target.level_min));
    let priority = (priority & !7) | level;
    // Writing to a Vec cannot fail.
    let _ = match form_of(target, message) {
        SyslogFormat::Local => {
            let _ = write!(out, "<{priority}>");
            bsd_date(out, message, now);
            bsd_tag(out, message);
            Ok(())
        }
        SyslogFormat::Rfc3164 => {
            let _ = write!(out, "<{priority}>");
            bsd_date(out, message, now);
            out.extend_from_slice(host.unwrap_or(NO_HOST));
            out.push(b' ');
            bsd_tag(out, message);
            Ok(())
        }
        SyslogFormat::Rfc5424 => {
            let _ = write!(out, "<{priority}>1 ");
            match (message.form, message.date) {
                (SyslogMessageFormat::Ietf, None) => out.push(b'-'),
                _ => ietf_date(out, message, now),
            }
            let fields = [host, message.tag, message.pid, message.id];
            for field in fields.into_iter().chain([message.structured]) {
                out.push(b' ');
                out.extend_from_slice(field.unwrap_or(b"-"));
            }
            out.push(b' ');
            Ok(())
        }
        SyslogFormat::Priority => write!(out, "<{priority}>"),
        SyslogFormat::Short => write!(out, "<{level}>"),
        SyslogFormat::Timed => {
            let _ = write!(out, "<{level}>");
            ietf_date(out, message, now);
            out.push(b' ');
            Ok(())
        }
        SyslogFormat::Iso => {
            ietf_date(out, message, now);
            out.push(b' ');
            Ok(())
        }
        SyslogFormat::Raw => Ok(()),
    };
    out.extend_from_slice(message.text);
    out.truncate(target.length_max);
    // A datagram needs no terminator. In other lines, a newline that the sender put in would begin
    // another, forged message.
    if !matches!(
        target.address,
        LogTargetAddress::Udp(_) | LogTargetAddress::Unix(_)
    ) {
        let newlines = out.iter_mut().filter(|byte| **byte == b'\n');
        newlines.for_each(|byte| *byte = b' ');
    }
    out.push(b'\n');
}

/// Appends `Oct 11 22:14:15 `.
fn bsd_date(out: &mut Vec<u8>, message: &SyslogMessage<'_>, now: SystemTime) {
    let date = message.date.filter(|date| match message.form {
        SyslogMessageFormat::Ietf => append_bsd_date(out, date).is_some(),
        _ => {
            out.extend_from_slice(date);
            true
        }
    });
    if date.is_none() {
        append_syslog_date(out, now);
    }
    out.push(b' ');
}

/// Converts `2003-10-11T22:14:15.003Z` to `Oct 11 22:14:15`.
fn append_bsd_date(out: &mut Vec<u8>, date: &[u8]) -> Option<()> {
    let month = SyslogMessage::month_name(date.get(5..7)?)?;
    let (day, time) = (
        date.get(8..DAY_BYTES)?,
        date.get(DAY_BYTES + 1..SECONDS_BYTES)?,
    );
    out.extend_from_slice(month);
    out.push(b' ');
    match day {
        [b'0', digit] => out.extend_from_slice(&[b' ', *digit]),
        day => out.extend_from_slice(day),
    }
    out.push(b' ');
    out.extend_from_slice(time);
    Some(())
}

/// Appends a date of RFC 5424. An RFC 3164 date has neither year nor zone, and gets the current
/// year.
fn ietf_date(out: &mut Vec<u8>, message: &SyslogMessage<'_>, now: SystemTime) {
    let bsd = |date: &[u8]| {
        let month = SyslogMessage::bsd_month(date)? + 1;
        let (day, time) = (date.get(4..6)?, date.get(7..)?);
        let day = String::from_utf8_lossy(day).replace(' ', "0");
        let time = String::from_utf8_lossy(time);
        Some(format!("{:04}-{month:02}-{day}T{time}-00:00", year(now)))
    };
    match (message.form, message.date) {
        (SyslogMessageFormat::Ietf, Some(date)) => out.extend_from_slice(date),
        (_, date) => {
            let date = date.and_then(bsd).unwrap_or_else(|| iso_date(now));
            out.extend_from_slice(date.as_bytes());
        }
    }
}

fn bsd_tag(out: &mut Vec<u8>, message: &SyslogMessage<'_>) {
    let Some(tag) = message.tag else { return };
    out.extend_from_slice(tag);
    if let Some(pid) = message.pid {
        out.push(b'[');
        out.extend_from_slice(pid);
        out.push(b']');
    }
    out.extend_from_slice(b": ");
}

#[cfg(test)]
mod tests;
