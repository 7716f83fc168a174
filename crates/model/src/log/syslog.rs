//! Formats a log line for its target (`log … format`; RFC 3164, RFC 5424).

use super::LogHeader;
use super::time::{append_syslog_date, iso_date};
use crate::config::LogTarget;
use crate::setting::SyslogFormat;
use std::io::Write;
use std::sync::OnceLock;
use std::time::SystemTime;

/// Process ID, cached because `getpid` is a system call. Set once the process has forked.
static PID: OnceLock<u32> = OnceLock::new();

/// Caches the process ID. The process must not fork after this call.
pub(super) fn settle_pid() {
    let _ = PID.get_or_init(std::process::id);
}

fn pid() -> u32 {
    PID.get().copied().unwrap_or_else(std::process::id)
}

/// Appends a number. Avoids the formatting machinery, which costs more than the digits.
fn number(out: &mut Vec<u8>, mut n: u32) {
    let mut digits = [0; 10];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (n % 10) as u8;
        n /= 10;
        if n == 0 {
            return out.extend_from_slice(&digits[at..]);
        }
    }
}

/// Appends the priority and the date: `<134>Nov  1 09:05:37 `.
fn begin(out: &mut Vec<u8>, priority: u16, now: SystemTime) {
    out.push(b'<');
    number(out, priority.into());
    out.push(b'>');
    append_syslog_date(out, now);
    out.push(b' ');
}

/// Appends the tag: `haproxy[42]: `.
fn tag(out: &mut Vec<u8>, tag: &[u8]) {
    out.extend_from_slice(tag);
    out.push(b'[');
    number(out, pid());
    out.extend_from_slice(b"]: ");
}

/// Returns the host name, which is read once.
pub fn hostname() -> &'static [u8] {
    static HOST: OnceLock<Vec<u8>> = OnceLock::new();
    HOST.get_or_init(|| rustix::system::uname().nodename().to_bytes().to_vec())
}

/// Appends a complete line, truncated to the target's `len`.
pub(super) fn write(
    out: &mut Vec<u8>,
    target: &LogTarget,
    level: u8,
    head: &LogHeader<'_>,
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
            begin(out, priority, head.now);
            if head.hostname.is_some() {
                out.extend_from_slice(hostname);
                out.push(b' ');
            }
            tag(out, head.tag);
            Ok(())
        }
        SyslogFormat::Rfc3164 => {
            begin(out, priority, head.now);
            out.extend_from_slice(hostname);
            out.push(b' ');
            tag(out, head.tag);
            Ok(())
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
