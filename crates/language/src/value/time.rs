//! Parses times: a whole number and a unit.

use super::{ValueError, character_at, leading_number};
use crate::codes;
use crate::diagnostic::Code;
use std::time::Duration;

/// The maximum time of HAProxy's timers, in milliseconds. A few keywords take seconds, with the same
/// number as the maximum.
pub const MILLISECONDS_MAX: u64 = 2_147_483_647;
const SECONDS_MAX: u64 = MILLISECONDS_MAX;

/// The unit of a time that is written without one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TimeUnit {
    Microseconds,
    Milliseconds,
    Seconds,
    Minutes,
    Hours,
    Days,
}

impl TimeUnit {
    fn microseconds(self) -> u64 {
        match self {
            TimeUnit::Microseconds => 1,
            TimeUnit::Milliseconds => 1_000,
            TimeUnit::Seconds => 1_000_000,
            TimeUnit::Minutes => 60_000_000,
            TimeUnit::Hours => 3_600_000_000,
            TimeUnit::Days => 86_400_000_000,
        }
    }
}

/// The errors of a time.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TimeError {
    #[error("missing time")]
    Empty,
    #[error("unexpected character '{character}' in time '{text}'")]
    Unexpected { character: char, text: String },
    /// Text after the unit, which HAProxy up to version 2.6 ignores.
    #[error("unexpected character '{character}' after the timer value '{text}'")]
    Trailing {
        /// The time before the ignored text.
        value: Duration,
        character: char,
        text: String,
    },
    #[error(
        "timer overflow in argument '{text}' (maximum value is {MILLISECONDS_MAX} ms or ~24.8 days)"
    )]
    Overflow { text: String },
    /// The time is in seconds and exceeds their maximum.
    #[error("timer overflow in argument '{text}' (maximum value is {SECONDS_MAX} s or ~68 years)")]
    OverflowOfSeconds { text: String },
}

impl ValueError for TimeError {
    type Value = Duration;

    fn code(&self) -> &'static Code {
        &codes::BAD_TIME
    }

    fn help(&self) -> Option<String> {
        match self {
            TimeError::Overflow { .. } => Some("write 24d or less".to_owned()),
            TimeError::OverflowOfSeconds { .. } => Some("write 24855d or less".to_owned()),
            TimeError::Unexpected { character: '.', .. } => {
                Some("fractions are not supported: use a smaller unit, as in 1500ms".to_owned())
            }
            _ => Some("write a whole number and one of us, ms, s, m, h, d".to_owned()),
        }
    }

    fn accepted(&self) -> Option<&Duration> {
        match self {
            TimeError::Trailing { value, .. } => Some(value),
            _ => None,
        }
    }
}

/// Parses a time; `default` is the unit of a number without one.
///
/// # Errors
/// The text is not a time, or the time is too large.
pub fn time(text: &str, default: TimeUnit) -> Result<Duration, TimeError> {
    let too_large = || TimeError::Overflow {
        text: text.to_owned(),
    };
    time_up_to(text, default, MILLISECONDS_MAX * 1_000, too_large)
}

/// Parses a time in seconds, rounded up; a number without a unit is in seconds.
///
/// # Errors
/// The text is not a time, or too large.
pub fn seconds(text: &str) -> Result<u32, TimeError> {
    let too_large = || TimeError::OverflowOfSeconds {
        text: text.to_owned(),
    };
    let value = time_up_to(text, TimeUnit::Seconds, SECONDS_MAX * 1_000_000, too_large)?;
    rounded_up_to_seconds(value).ok_or_else(too_large)
}

/// Returns a time in seconds, rounded up; None if that is more than 32 bits.
pub fn rounded_up_to_seconds(time: Duration) -> Option<u32> {
    u32::try_from(time.as_micros().div_ceil(1_000_000)).ok()
}

fn time_up_to(
    text: &str,
    default: TimeUnit,
    max_us: u64,
    too_large: impl Fn() -> TimeError,
) -> Result<Duration, TimeError> {
    if text.is_empty() {
        return Err(TimeError::Empty);
    }
    let (number, digits) = leading_number(text);
    let (unit, length) = match &text.as_bytes()[digits..] {
        [] => (Some(default), 0),
        [b'u', b's', ..] => (Some(TimeUnit::Microseconds), 2),
        [b'm', b's', ..] => (Some(TimeUnit::Milliseconds), 2),
        [b's', ..] => (Some(TimeUnit::Seconds), 1),
        [b'm', ..] => (Some(TimeUnit::Minutes), 1),
        [b'h', ..] => (Some(TimeUnit::Hours), 1),
        [b'd', ..] => (Some(TimeUnit::Days), 1),
        _ => (None, 0),
    };
    let Some(unit) = unit.filter(|_| digits > 0) else {
        return Err(TimeError::Unexpected {
            character: character_at(text, digits),
            text: text.to_owned(),
        });
    };
    let microseconds = number.saturating_mul(unit.microseconds());
    if microseconds > max_us {
        return Err(too_large());
    }
    let value = Duration::from_micros(microseconds);
    let end = digits + length;
    if end < text.len() {
        return Err(TimeError::Trailing {
            value,
            character: character_at(text, end),
            text: text.to_owned(),
        });
    }
    Ok(value)
}

/// Parses a time in milliseconds, rounded up; `default` is the unit of a number without one.
///
/// # Errors
/// The text is not a time, or too large.
pub fn milliseconds(text: &str, default: TimeUnit) -> Result<u32, TimeError> {
    let value = time(text, default)?;
    let rounded = value.as_micros().div_ceil(1000);
    u32::try_from(rounded).map_err(|_| TimeError::Overflow {
        text: text.to_owned(),
    })
}

/// Returns a time in the syntax of a configuration file.
pub fn written_time(time: Duration) -> String {
    let ms = time.as_millis();
    match ms {
        0 => "0".to_owned(),
        ms if ms % 3_600_000 == 0 => format!("{}h", ms / 3_600_000),
        ms if ms % 60_000 == 0 => format!("{}m", ms / 60_000),
        ms if ms % 1_000 == 0 => format!("{}s", ms / 1_000),
        ms => format!("{ms}ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_what_haproxy_takes_them_for() {
        for (text, ms) in [
            ("0", 0),
            ("1", 1),
            ("1ms", 1),
            ("1us", 1),
            ("1001us", 2),
            ("2s", 2000),
            ("1m", 60_000),
            ("1h", 3_600_000),
            ("24d", 2_073_600_000),
            ("2147483647", 2_147_483_647),
            ("35791m", 2_147_460_000),
        ] {
            assert_eq!(milliseconds(text, TimeUnit::Milliseconds), Ok(ms), "{text}");
        }
        assert_eq!(time("3", TimeUnit::Seconds), Ok(Duration::from_secs(3)));
        assert_eq!(
            time("250us", TimeUnit::Seconds),
            Ok(Duration::from_micros(250))
        );
    }

    #[test]
    fn times_in_seconds_may_be_years() {
        for (text, wanted) in [
            ("0", 0),
            ("1", 1),
            ("1ms", 1),
            ("1001ms", 2),
            ("30d", 2_592_000),
            ("365d", 31_536_000),
            ("24855d", 2_147_472_000),
            ("2147483647", 2_147_483_647),
        ] {
            assert_eq!(seconds(text), Ok(wanted), "{text}");
        }
        for text in ["2147483648", "24856d", "99999999999999999999999"] {
            let error = seconds(text).unwrap_err();
            assert!(
                matches!(error, TimeError::OverflowOfSeconds { .. }),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_time_says_why() {
        for text in [
            "25d",
            "2147483648",
            "99999999999999999999999",
            "35792m",
            "9999999999999999us",
        ] {
            let error = time(text, TimeUnit::Milliseconds).unwrap_err();
            assert!(matches!(error, TimeError::Overflow { .. }), "{text}");
        }
        for (text, unexpected) in [
            ("-1", '-'),
            ("1.5s", '.'),
            ("1S", 'S'),
            ("s", 's'),
            ("1u", 'u'),
            ("+1", '+'),
            ("1w", 'w'),
            ("0x10", 'x'),
            ("1 s", ' '),
            ("ms", 'm'),
            ("1é", 'é'),
        ] {
            let error = time(text, TimeUnit::Milliseconds).unwrap_err();
            let expected = TimeError::Unexpected {
                character: unexpected,
                text: text.to_owned(),
            };
            assert_eq!(error, expected);
        }
        for (text, seconds, trailing) in [("1sec", 1, 'e'), ("2ss", 2, 's'), ("1s1", 1, '1')] {
            let error = time(text, TimeUnit::Milliseconds).unwrap_err();
            assert_eq!(error.accepted(), Some(&Duration::from_secs(seconds)));
            assert!(
                matches!(error, TimeError::Trailing { character, .. } if character == trailing)
            );
        }
        assert_eq!(time("", TimeUnit::Seconds), Err(TimeError::Empty));
    }
}
