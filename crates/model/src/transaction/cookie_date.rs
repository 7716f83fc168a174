//! Encodes and decodes the dates in an inserted persistence cookie: the time since 1970 in units
//! of four seconds, written as five base-64 digits.

/// Unit of a date, seconds.
const UNIT_S: u64 = 4;
/// Number of digits, six bits each.
const DIGITS: usize = 5;
/// Maximum distance of a date in the future, seconds.
const AHEAD_MAX_S: u64 = 24 * 3600;
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Date in units of four seconds; never 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Date(u32);

impl Date {
    /// Converts a time in seconds since 1970.
    pub fn of(seconds: u64) -> Date {
        let bits = (seconds / UNIT_S) & ((1 << (6 * DIGITS)) - 1);
        Date((bits as u32).max(1))
    }

    pub fn read(text: &[u8]) -> Option<Date> {
        let mut value = 0;
        for digit in text.get(..DIGITS)? {
            value = value << 6 | ALPHABET.iter().position(|known| known == digit)? as u32;
        }
        (value > 0).then_some(Date(value))
    }

    pub fn write(self, out: &mut Vec<u8>) {
        for place in (0..DIGITS).rev() {
            out.push(ALPHABET[(self.0 >> (6 * place)) as usize & 63]);
        }
    }

    /// Returns whether the date is older than `max_s` seconds, or too far in the future.
    pub fn is_past(self, max_s: u32, now_s: u64) -> bool {
        let then = u64::from(self.0) * UNIT_S;
        then + u64::from(max_s) < now_s || then > now_s + AHEAD_MAX_S
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_written_as_haproxy_writes_them() {
        // Recorded from haproxy 2.6.12 at 2026-11-20 17:48:39 UTC.
        let mut text = Vec::new();
        Date::of(1_795_196_919).write(&mut text);
        assert_eq!(Date::read(&text), Some(Date::of(1_795_196_919)));
        assert_eq!(text, b"awCH9");
    }

    #[test]
    fn what_is_no_date_is_none() {
        for text in ["", "awCH", "awC-9", "AAAAA", "aw H9", "\u{e9}wCH9"] {
            assert_eq!(Date::read(text.as_bytes()), None, "{text}");
        }
        assert_eq!(Date::read(b"awCH9x|y"), Date::read(b"awCH9"));
    }

    #[test]
    fn a_date_is_past_after_its_time_or_a_day_ahead() {
        let date = Date::of(1_000_000);
        assert!(!date.is_past(60, 1_000_060));
        assert!(date.is_past(60, 1_000_061));
        assert!(!date.is_past(60, 1_000_000 - AHEAD_MAX_S));
        assert!(date.is_past(60, 999_999 - AHEAD_MAX_S));
    }
}
