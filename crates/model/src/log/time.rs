//! Formats dates in logs. Each thread caches the date of the current second, since thousands of
//! lines share it.

use jiff::Timestamp;
use jiff::tz::{Offset, TimeZone};
use std::cell::RefCell;
use std::sync::LazyLock;
use std::time::{SystemTime, UNIX_EPOCH};

/// Second, broken down in the time zone of the process.
#[derive(Clone, Copy)]
struct Second {
    unix: i64,
    year: i16,
    month: i8,
    day: i8,
    hour: i8,
    minute: i8,
    second: i8,
    offset: Offset,
}

thread_local! {
    static LAST: RefCell<Option<Second>> = const { RefCell::new(None) };
}

/// Time zone of the process. Read once, because a process that has changed its root directory or
/// given up its files cannot read it later.
static ZONE: LazyLock<TimeZone> = LazyLock::new(TimeZone::system);

/// Returns the time zone of the process. The first call reads it from the system, so it must happen
/// while the process can still read the zone files.
pub fn time_zone() -> &'static TimeZone {
    &ZONE
}

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

fn broken_down(at: SystemTime) -> (Second, u32) {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    let unix = i64::try_from(since.as_secs()).unwrap_or(0);
    let millis = since.subsec_millis();
    let kept = LAST.with_borrow(|last| last.filter(|second| second.unix == unix));
    let second = kept.unwrap_or_else(|| {
        let zoned = Timestamp::from_second(unix)
            .unwrap_or(Timestamp::UNIX_EPOCH)
            .to_zoned(time_zone().clone());
        let second = Second {
            unix,
            year: zoned.year(),
            month: zoned.month(),
            day: zoned.day(),
            hour: zoned.hour(),
            minute: zoned.minute(),
            second: zoned.second(),
            offset: zoned.offset(),
        };
        LAST.set(Some(second));
        second
    });
    (second, millis)
}

fn month(second: &Second) -> &'static str {
    MONTHS[(second.month.clamp(1, 12) - 1) as usize]
}

/// Returns the year in the time zone of the process.
pub fn year(at: SystemTime) -> i16 {
    broken_down(at).0.year
}

/// Appends `Nov  1 09:05:37` (RFC 3164).
pub fn append_syslog_date(out: &mut Vec<u8>, at: SystemTime) {
    let (s, _) = broken_down(at);
    let two = |n: i8, zero: u8| {
        let tens = if n < 10 { zero } else { b'0' + (n / 10) as u8 };
        [tens, b'0' + (n % 10) as u8]
    };
    out.extend_from_slice(month(&s).as_bytes());
    out.push(b' ');
    out.extend_from_slice(&two(s.day, b' '));
    for (part, before) in [(s.hour, b' '), (s.minute, b':'), (s.second, b':')] {
        out.push(before);
        out.extend_from_slice(&two(part, b'0'));
    }
}

/// Returns `2026-11-01T09:05:37.123000+00:00` (RFC 5424, ISO 8601). The precision is a millisecond.
pub fn iso_date(at: SystemTime) -> String {
    let (s, millis) = broken_down(at);
    let offset = s.offset.seconds();
    let (sign, offset) = if offset < 0 {
        ('-', -offset)
    } else {
        ('+', offset)
    };
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{millis:03}000{sign}{:02}:{:02}",
        s.year,
        s.month,
        s.day,
        s.hour,
        s.minute,
        s.second,
        offset / 3600,
        offset % 3600 / 60
    )
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DateStyle {
    /// `01/Nov/2026:09:05:37.123`, local time.
    Millis,
    /// `01/Nov/2026:09:05:37 +0100`, local time.
    Local,
    /// `01/Nov/2026:08:05:37 +0000`, in UTC.
    Gmt,
}

/// Appends a date without allocating.
pub fn append_date(out: &mut Vec<u8>, at: SystemTime, style: DateStyle) {
    let (s, millis) = match style {
        DateStyle::Gmt => (utc(at), 0),
        _ => broken_down(at),
    };
    let two = |n: i8| [b'0' + (n / 10) as u8, b'0' + (n % 10) as u8];
    let year = u16::try_from(s.year).unwrap_or(0);
    out.extend_from_slice(&two(s.day));
    out.push(b'/');
    out.extend_from_slice(month(&s).as_bytes());
    out.push(b'/');
    out.extend_from_slice(&two((year / 100 % 100) as i8));
    out.extend_from_slice(&two((year % 100) as i8));
    for part in [s.hour, s.minute, s.second] {
        out.push(b':');
        out.extend_from_slice(&two(part));
    }
    if style == DateStyle::Millis {
        let digit = |n: u32| b'0' + (n % 10) as u8;
        return out.extend_from_slice(&[
            b'.',
            digit(millis / 100),
            digit(millis / 10),
            digit(millis),
        ]);
    }
    let minutes = s.offset.seconds() / 60;
    out.extend_from_slice(if minutes < 0 { b" -" } else { b" +" });
    let minutes = minutes.unsigned_abs();
    out.extend_from_slice(&two((minutes / 60) as i8));
    out.extend_from_slice(&two((minutes % 60) as i8));
}

fn utc(at: SystemTime) -> Second {
    let unix =
        i64::try_from(at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()).unwrap_or(0);
    let date =
        Offset::UTC.to_datetime(Timestamp::from_second(unix).unwrap_or(Timestamp::UNIX_EPOCH));
    Second {
        unix,
        year: date.year(),
        month: date.month(),
        day: date.day(),
        hour: date.hour(),
        minute: date.minute(),
        second: date.second(),
        offset: Offset::UTC,
    }
}

/// Returns `01/Nov/2026:09:05:37.123`, the accept date of request lines.
pub fn clf_date(at: SystemTime) -> String {
    let (s, millis) = broken_down(at);
    format!(
        "{:02}/{}/{:04}:{:02}:{:02}:{:02}.{millis:03}",
        s.day,
        month(&s),
        s.year,
        s.hour,
        s.minute,
        s.second
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_date_of_syslog_has_a_space_before_one_digit() {
        for seconds in [0, 86_400 * 9 + 3_661, 86_400 * 20 + 86_399] {
            let at = UNIX_EPOCH + Duration::from_secs(seconds);
            let mut out = Vec::new();
            append_syslog_date(&mut out, at);
            let (s, _) = broken_down(at);
            let (month, day) = (month(&s), s.day);
            let wanted = format!(
                "{month} {day:2} {:02}:{:02}:{:02}",
                s.hour, s.minute, s.second
            );
            assert_eq!(String::from_utf8_lossy(&out), wanted);
        }
    }
}
