//! Formats numbers, times and names.

use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use language::render::visible;
use std::borrow::Cow;
use std::fmt::Write as _;

/// Removes control characters from a text, and those that change the direction of writing.
pub(super) fn clean(text: &str) -> Cow<'_, str> {
    visible(text)
}

/// Formats a count, with groups of three digits from 10,000 on.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    if digits.len() < 5 {
        return digits;
    }
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            // Separates the groups by a narrow no-break space.
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

/// Formats a count with its noun, in the plural unless the count is 1.
pub(super) fn counted(number: usize, noun: &str) -> String {
    match number {
        1 => format!("1 {noun}"),
        number if noun.ends_with("ss") => format!("{number} {noun}es"),
        number => format!("{number} {noun}s"),
    }
}

/// Formats a number with a unit and an SI prefix, with at most three digits before the unit.
pub(super) fn scaled(number: u64, unit: &str) -> String {
    const PREFIXES: [&str; 6] = ["k", "M", "G", "T", "P", "E"];
    if number < 1000 {
        return format!("{number} {unit}");
    }
    let (mut rest, mut prefix) = (number as f64, "");
    for one in PREFIXES {
        if rest < 999.5 {
            break;
        }
        (rest, prefix) = (rest / 1000.0, one);
    }
    if rest < 9.95 {
        format!("{rest:.1} {prefix}{unit}")
    } else {
        format!("{rest:.0} {prefix}{unit}")
    }
}

pub(super) fn binary(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let (mut rest, mut unit) = (bytes as f64, "B");
    for one in UNITS {
        if rest < 1023.5 {
            break;
        }
        (rest, unit) = (rest / 1024.0, one);
    }
    if rest < 9.95 && rest.fract() > 0.05 {
        format!("{rest:.1} {unit}")
    } else {
        format!("{rest:.0} {unit}")
    }
}

fn zoned(unix_ms: u64) -> Zoned {
    let ms = i64::try_from(unix_ms).unwrap_or(i64::MAX);
    let at = Timestamp::from_millisecond(ms).unwrap_or(Timestamp::UNIX_EPOCH);
    at.to_zoned(TimeZone::system())
}

pub(super) fn moment(unix_ms: u64) -> (String, String) {
    let at = zoned(unix_ms);
    let day = at.strftime("%A, %-d %B %Y").to_string();
    (day, at.strftime("%H:%M:%S").to_string())
}

pub fn time(unix_ms: u64) -> String {
    moment(unix_ms).1
}

pub(super) fn date(unix_ms: u64) -> String {
    zoned(unix_ms).strftime("%Y-%m-%d").to_string()
}

/// Formats a time for programs (RFC 3339).
pub(super) fn stamp(unix_ms: u64) -> String {
    zoned(unix_ms)
        .timestamp()
        .strftime("%Y-%m-%dT%H:%M:%SZ")
        .to_string()
}

pub(super) fn zone() -> String {
    let now = Timestamp::now().to_zoned(TimeZone::system());
    format!("UTC{}", now.strftime("%:z"))
}

pub(super) fn of_part(part: &str) -> String {
    match part {
        "address" => "Addresses".to_owned(),
        "volume" => "Volumes".to_owned(),
        "guest" => "Guests".to_owned(),
        "farm" => "Remote desktops".to_owned(),
        "cluster" => "Cluster".to_owned(),
        "supervisor" => "Processes".to_owned(),
        other => capitalised(&clean(other)),
    }
}

pub(super) fn capitalised(text: &str) -> String {
    let mut chars = text.chars();
    match chars.next() {
        Some(first) => first.to_uppercase().chain(chars).collect(),
        None => String::new(),
    }
}

/// Percent-encodes a name, for a path or a query string, or as a part of an element id.
pub fn encode(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                text.push(char::from(byte));
            }
            byte => {
                // Ignores the result: writing to a string cannot fail.
                let _ = write!(text, "%{byte:02X}");
            }
        }
    }
    text
}

pub fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let byte = match byte {
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                let (high, low) = (digit()?, digit()?);
                u8::try_from(high * 16 + low).ok()?
            }
            byte => byte,
        };
        bytes.push(byte);
    }
    String::from_utf8(bytes).ok()
}

pub(super) fn list(names: &[&str]) -> String {
    match names.split_last() {
        None => String::new(),
        Some((last, [])) => (*last).to_owned(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_groups_and_units() {
        assert_eq!(count(9_999), "9999");
        assert_eq!(count(1_234_567), "1\u{202f}234\u{202f}567");
        assert_eq!(scaled(9_949, "B"), "9.9 kB");
        assert_eq!(scaled(u64::MAX, "bit/s"), "18 Ebit/s");
        assert_eq!(
            (binary(4 << 30), binary(1_700)),
            ("4 GiB".into(), "1.7 KiB".into())
        );
        assert_eq!(
            (counted(1, "process"), counted(2, "process")),
            ("1 process".into(), "2 processes".into())
        );
    }

    #[test]
    fn names_survive_their_encoding_and_invalid_ones_are_refused() {
        for name in ["app", "a/b c?d#e%f\"<", "größe", "\u{202e}"] {
            let encoded = encode(name);
            assert!(encoded.is_ascii() && !encoded.contains(['/', ' ', '"', '<']));
            assert_eq!(decode(&encoded).as_deref(), Some(name));
        }
        for wrong in ["%", "%4", "%zz", "%ff"] {
            assert_eq!(decode(wrong), None, "{wrong}");
        }
    }
}
