//! The form of a line for its target (manual, `log … format`; RFC 3164, RFC 5424).

use super::Head;
use super::time::{iso_date, syslog_date};
use crate::config::LogTarget;
use std::io::Write;
use std::sync::OnceLock;

/// `format` of a `log` line.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum SyslogFormat {
    /// RFC 3164 without the host's name.
    #[default]
    Local,
    /// RFC 3164.
    Rfc3164,
    /// RFC 5424.
    Rfc5424,
    /// Only the priority before the message.
    Priority,
    /// Only the level before the message: for a journal that reads a pipe.
    Short,
    /// The level and a time before the message.
    Timed,
    /// A time in ISO 8601 before the message.
    Iso,
    /// Only the message.
    Raw,
}

fn pid() -> u32 {
    std::process::id()
}

/// The host's name, asked for once.
pub fn hostname() -> &'static [u8] {
    static HOST: OnceLock<Vec<u8>> = OnceLock::new();
    HOST.get_or_init(|| rustix::system::uname().nodename().to_bytes().to_vec())
}

/// Appends a whole line, cut to the target's `len`.
pub(super) fn write(
    out: &mut Vec<u8>,
    target: &LogTarget,
    level: u8,
    head: &Head<'_>,
    message: &[u8],
) {
    let priority = u16::from(target.facility) * 8 + u16::from(level);
    let hostname = match head.hostname {
        Some([]) | None => self::hostname(),
        Some(name) => name,
    };
    // Writing to a Vec cannot fail.
    let _ = match target.format {
        SyslogFormat::Local => {
            let _ = write!(out, "<{priority}>{} ", syslog_date(head.now));
            if head.hostname.is_some() {
                out.extend_from_slice(hostname);
                out.push(b' ');
            }
            out.extend_from_slice(head.tag);
            write!(out, "[{}]: ", pid())
        }
        SyslogFormat::Rfc3164 => {
            let _ = write!(out, "<{priority}>{} ", syslog_date(head.now));
            out.extend_from_slice(hostname);
            out.push(b' ');
            out.extend_from_slice(head.tag);
            write!(out, "[{}]: ", pid())
        }
        SyslogFormat::Rfc5424 => {
            let _ = write!(out, "<{priority}>1 {} ", iso_date(head.now));
            out.extend_from_slice(hostname);
            out.push(b' ');
            out.extend_from_slice(head.tag);
            let _ = write!(out, " {} - ", pid());
            out.extend_from_slice(if head.structured.is_empty() {
                b"-"
            } else {
                head.structured
            });
            out.push(b' ');
            Ok(())
        }
        SyslogFormat::Priority => write!(out, "<{priority}>"),
        SyslogFormat::Short => write!(out, "<{level}>"),
        SyslogFormat::Timed => write!(out, "<{level}>{} ", iso_date(head.now)),
        SyslogFormat::Iso => write!(out, "{} ", iso_date(head.now)),
        SyslogFormat::Raw => Ok(()),
    };
    out.extend(message.iter().map(|b| if *b == b'\n' { b' ' } else { *b }));
    out.truncate(target.length_max);
    out.push(b'\n');
}
