//! Parses whole numbers, sizes and percentages.

use super::{ValueError, character_at, leading_number};
use crate::codes;
use crate::diagnostic::Code;
use std::ops::RangeInclusive;

/// The errors of a whole number.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum IntegerError {
    #[error("expects an integer argument")]
    Empty,
    #[error("expects an integer argument, found '{text}'")]
    NotANumber { text: String },
    /// Text after the number; HAProxy ignores it.
    #[error("unexpected character '{character}' in '{text}', which is read as {value}")]
    Trailing {
        value: i64,
        character: char,
        text: String,
    },
    #[error("'{text}' is out of range: expected {min} {}", up_to(*.max))]
    OutOfRange { text: String, min: i64, max: i64 },
}

fn up_to(max: i64) -> String {
    match max {
        i64::MAX => "or more".to_owned(),
        _ => format!("to {max}"),
    }
}

impl ValueError for IntegerError {
    type Value = i64;

    fn code(&self) -> &'static Code {
        &codes::BAD_INTEGER
    }

    fn help(&self) -> Option<String> {
        match self {
            IntegerError::Trailing { value, .. } => Some(format!(
                "write the number in full; {value} keeps the present effect"
            )),
            IntegerError::OutOfRange { .. } => None,
            _ => Some("write a whole decimal number".to_owned()),
        }
    }

    fn accepted(&self) -> Option<&i64> {
        match self {
            IntegerError::Trailing { value, .. } => Some(value),
            _ => None,
        }
    }
}

/// Returns the leading number and its end; `None` without a digit. Numbers that are too large
/// saturate.
fn leading(text: &str) -> Option<(i64, usize)> {
    let bytes = text.as_bytes();
    let signed = usize::from(matches!(bytes.first(), Some(b'-' | b'+')));
    let (magnitude, length) = leading_number(&text[signed..]);
    if length == 0 {
        return None;
    }
    let magnitude = i64::try_from(magnitude).unwrap_or(i64::MAX);
    let negative = bytes.first() == Some(&b'-');
    let value = if negative { -magnitude } else { magnitude };
    Some((value, signed + length))
}

/// Parses a decimal integer within a range.
///
/// # Errors
/// The text is not a number, or out of range.
pub fn integer(text: &str, range: RangeInclusive<i64>) -> Result<i64, IntegerError> {
    if text.is_empty() {
        return Err(IntegerError::Empty);
    }
    let Some((value, end)) = leading(text) else {
        return Err(IntegerError::NotANumber {
            text: text.to_owned(),
        });
    };
    if !range.contains(&value) {
        return Err(IntegerError::OutOfRange {
            text: text.to_owned(),
            min: *range.start(),
            max: *range.end(),
        });
    }
    if end < text.len() {
        return Err(IntegerError::Trailing {
            value,
            character: character_at(text, end),
            text: text.to_owned(),
        });
    }
    Ok(value)
}

/// The errors of a size.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SizeError {
    #[error("missing size")]
    Empty,
    #[error("unexpected character '{character}' in size '{text}'")]
    Unexpected { character: char, text: String },
    #[error("size '{text}' is too large (maximum value is {max})")]
    TooLarge {
        text: String,
        /// The maximum, in bytes (or entries).
        max: u64,
    },
}

impl ValueError for SizeError {
    type Value = u64;

    fn code(&self) -> &'static Code {
        &codes::BAD_SIZE
    }

    fn help(&self) -> Option<String> {
        match self {
            SizeError::TooLarge { .. } => None,
            _ => Some("write a whole number, optionally followed by 'k', 'm' or 'g'".to_owned()),
        }
    }
}

/// Parses a size in bytes: a whole number with an optional `k`, `m` or `g` (powers of
/// 1024).
///
/// # Errors
/// The text is not a size, or larger than `max`.
pub fn size(text: &str, max: u64) -> Result<u64, SizeError> {
    let (number, digits) = leading_number(text);
    if text.is_empty() {
        return Err(SizeError::Empty);
    }
    let unexpected = |at: usize| SizeError::Unexpected {
        character: character_at(text, at),
        text: text.to_owned(),
    };
    let shift = match &text.as_bytes()[digits..] {
        [] => 0,
        [b'k' | b'K'] if digits > 0 => 10,
        [b'm' | b'M'] if digits > 0 => 20,
        [b'g' | b'G'] if digits > 0 => 30,
        [b'k' | b'K' | b'm' | b'M' | b'g' | b'G', _, ..] if digits > 0 => {
            return Err(unexpected(digits + 1));
        }
        _ => return Err(unexpected(digits)),
    };
    let value = number.saturating_mul(1 << shift);
    if value > max {
        return Err(SizeError::TooLarge {
            text: text.to_owned(),
            max,
        });
    }
    Ok(value)
}

/// The errors of a percentage.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PercentageError {
    #[error("expects a percentage, found '{text}'")]
    NotAPercentage { text: String },
    #[error("'{text}' is more than {max}%")]
    TooLarge { text: String, max: u32 },
}

impl ValueError for PercentageError {
    type Value = u32;

    fn code(&self) -> &'static Code {
        &codes::BAD_PERCENTAGE
    }

    fn help(&self) -> Option<String> {
        match self {
            PercentageError::NotAPercentage { text } if text.parse::<u32>().is_ok() => {
                Some(format!("write {text}%"))
            }
            PercentageError::NotAPercentage { .. } => {
                Some("write a whole number followed by '%'".to_owned())
            }
            PercentageError::TooLarge { .. } => None,
        }
    }
}

/// Parses a whole number followed by `%`.
///
/// # Errors
/// The text is not a percentage, or larger than `max`.
pub fn percentage(text: &str, max: u32) -> Result<u32, PercentageError> {
    let number = text
        .strip_suffix('%')
        .filter(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()));
    let Some(number) = number else {
        return Err(PercentageError::NotAPercentage {
            text: text.to_owned(),
        });
    };
    match number.parse::<u32>() {
        Ok(value) if value <= max => Ok(value),
        _ => Err(PercentageError::TooLarge {
            text: text.to_owned(),
            max,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_are_read_and_bounded() {
        for (text, value) in [("0", 0), ("010", 10), ("+5", 5), ("-1", -1)] {
            assert_eq!(integer(text, -10..=100), Ok(value), "{text}");
        }
        let error = integer("1k", 0..=100).unwrap_err();
        assert_eq!(error.accepted(), Some(&1));
        assert_eq!(
            error.to_string(),
            "unexpected character 'k' in '1k', which is read as 1"
        );
        for text in ["", "abc", "-", " 1", "é"] {
            let error = integer(text, 0..=100).unwrap_err();
            assert_eq!(error.accepted(), None, "{text}");
        }
        assert_eq!(
            integer("257", 0..=256).unwrap_err().to_string(),
            "'257' is out of range: expected 0 to 256"
        );
        assert!(integer("99999999999999999999", 0..=i64::MAX - 1).is_err());
    }

    #[test]
    fn sizes_have_units_of_1024() {
        for (text, value) in [("0", 0), ("1k", 1024), ("2M", 2 << 20), ("1g", 1 << 30)] {
            assert_eq!(size(text, u64::MAX), Ok(value), "{text}");
        }
        assert_eq!(
            size("4g", (4 << 30) - 1).unwrap_err().to_string(),
            "size '4g' is too large (maximum value is 4294967295)"
        );
        for (text, character) in [
            ("1t", 't'),
            ("1kb", 'b'),
            ("abc", 'a'),
            ("-1", '-'),
            ("1.5k", '.'),
            ("k", 'k'),
            ("1é", 'é'),
        ] {
            let expected = SizeError::Unexpected {
                character,
                text: text.to_owned(),
            };
            assert_eq!(size(text, u64::MAX), Err(expected));
        }
        assert!(size("99999999999999999999g", u64::MAX - 1).is_err());
    }

    #[test]
    fn percentages_need_their_sign() {
        assert_eq!(percentage("50%", 100), Ok(50));
        assert_eq!(
            percentage("50", 100).unwrap_err().help().unwrap(),
            "write 50%"
        );
        for text in ["", "%", "a%", "1.5%", "-1%", "+1%", "5%%"] {
            assert!(percentage(text, 100).is_err(), "{text}");
        }
        assert!(matches!(
            percentage("101%", 100),
            Err(PercentageError::TooLarge { max: 100, .. })
        ));
        assert!(matches!(
            percentage("99999999999%", 100),
            Err(PercentageError::TooLarge { .. })
        ));
    }
}
