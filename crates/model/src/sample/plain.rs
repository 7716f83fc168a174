//! Compiles patterns from their texts alone, without reading files or resolving names.

use super::matching::{Method, Patterns};
use super::network::{MaskedNetwork, Networks};
use super::regular::Regular;
use crate::codes::expression as codes;
use language::{Code, Diagnostic, Span};
use std::ops::RangeInclusive;

/// Significant line of a pattern file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry {
    pub(crate) start: u32,
    pub(crate) end: u32,
}

/// Place at which a pattern was read, for diagnostics: in the configuration or in a file.
#[derive(Clone, Debug)]
pub enum PatternOrigin {
    Word(Span),
    /// Line of the n-th list file.
    Line(usize, Entry),
}

/// Compiles patterns that arrive at run time, without resolving names. Returns None if one of them
/// is invalid.
pub(crate) fn compile_plain(
    method: Method,
    texts: Vec<Box<[u8]>>,
    ignore_case: bool,
    versions: bool,
) -> Option<Patterns> {
    let number: Number = if versions { version } else { number };
    let list = |texts: Vec<Box<[u8]>>| -> Listed {
        let nowhere = |text| (text, PatternOrigin::Word(Span::default()));
        texts.into_iter().map(nowhere).collect()
    };
    Some(match method {
        Method::Found => Patterns::found(),
        Method::Bool => Patterns::truth(),
        Method::Int => Patterns::numbers(ranges(list(texts), number).ok()?),
        Method::Len => Patterns::lengths(ranges(list(texts), number).ok()?),
        Method::Ip => {
            let network = |text: &[u8]| MaskedNetwork::parse(std::str::from_utf8(text).ok()?);
            let networks = each_text(&texts, network)?;
            Patterns::networks(Networks::new(networks))
        }
        Method::Bin => {
            let bytes = |text: &[u8]| unhex(text).map(Vec::into_boxed_slice);
            Patterns::binaries(each_text(&texts, bytes)?)
        }
        Method::Reg => {
            let regular = |text: &[u8]| Regular::new(text, ignore_case).ok();
            Patterns::regulars(each_text(&texts, regular)?)
        }
        _ => Patterns::texts(method, texts, ignore_case),
    })
}

pub(crate) fn each_text<T>(
    texts: &[Box<[u8]>],
    make: impl Fn(&[u8]) -> Option<T>,
) -> Option<Vec<T>> {
    texts.iter().map(|text| make(text)).collect()
}

pub(crate) type Number = fn(&str) -> Option<i64>;

pub(crate) fn number(text: &str) -> Option<i64> {
    text.parse().ok()
}

/// Parses a version number: `3.1` is 3 * 65536 + 1.
pub(crate) fn version(text: &str) -> Option<i64> {
    let (major, minor) = text.split_once('.').unwrap_or((text, "0"));
    Some((i64::from(major.parse::<u16>().ok()?) << 16) + i64::from(minor.parse::<u16>().ok()?))
}

pub(crate) type Wrong = (PatternOrigin, Box<dyn FnOnce(Span) -> Diagnostic>);
pub(crate) type Listed = Vec<(Box<[u8]>, PatternOrigin)>;

pub(crate) fn bad(code: &'static Code, span: Span, text: &[u8], why: &str) -> Diagnostic {
    Diagnostic::error(
        code,
        span,
        format!("'{}' {why}", String::from_utf8_lossy(text)),
    )
}

pub(crate) fn wrong<T>(
    place: PatternOrigin,
    text: Box<[u8]>,
    why: &'static str,
) -> Result<T, Wrong> {
    Err((
        place,
        Box::new(move |span| bad(&codes::BAD_PATTERN, span, &text, why)),
    ))
}

/// Parses numbers and ranges. An operator (`gt`, `le`) applies to all following numbers until the
/// next operator.
pub(crate) fn ranges(list: Listed, number: Number) -> Result<Vec<RangeInclusive<i64>>, Wrong> {
    let mut ranges = Vec::with_capacity(list.len());
    let mut operator = "eq";
    for (text, place) in list {
        let word = std::str::from_utf8(&text).unwrap_or("");
        if let PatternOrigin::Word(_) = place
            && let Some(known) = ["eq", "ge", "gt", "le", "lt"]
                .iter()
                .find(|known| **known == word)
        {
            operator = known;
            continue;
        }
        let Some((low, high)) = range(word, number) else {
            let why = if ends(word).is_some() {
                "is not a valid number range"
            } else {
                "is not a number"
            };
            return wrong(place, text, why);
        };
        if operator != "eq" && ends(word).is_some() {
            return wrong(
                place,
                text,
                "is a range, but an operator compares with one number",
            );
        }
        ranges.push(match operator {
            "ge" => low..=i64::MAX,
            "le" => i64::MIN..=high,
            // Uses an empty range for `gt` the maximum and `lt` the minimum, which no number
            // matches.
            "gt" => low
                .checked_add(1)
                .map_or(RangeInclusive::new(1, 0), |low| low..=i64::MAX),
            "lt" => high
                .checked_sub(1)
                .map_or(RangeInclusive::new(1, 0), |high| i64::MIN..=high),
            _ => low..=high,
        });
    }
    Ok(ranges)
}

/// Splits a range into its bounds: `1:5`, or `1-5`. A minus before the first digit is a sign.
fn ends(text: &str) -> Option<(&str, &str)> {
    let by_minus = || {
        let at = text.get(1..)?.find('-')? + 1;
        Some((&text[..at], &text[at + 1..]))
    };
    text.split_once(':').or_else(by_minus)
}

/// Parses `5`, `1:5`, `1-5`, `:5`, `5:`, `5-`.
pub(crate) fn range(text: &str, number: Number) -> Option<(i64, i64)> {
    match ends(text) {
        None => number(text).map(|n| (n, n)),
        Some((low, high)) => {
            let low = if low.is_empty() {
                i64::MIN
            } else {
                number(low)?
            };
            let high = if high.is_empty() {
                i64::MAX
            } else {
                number(high)?
            };
            (low <= high).then_some((low, high))
        }
    }
}

pub fn unhex(text: &[u8]) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) {
        return None;
    }
    let digit = |b: u8| char::from(b).to_digit(16);
    text.chunks_exact(2)
        .map(|pair| Some((digit(pair[0])? * 16 + digit(pair[1])?) as u8))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &[&str]) -> Option<Vec<RangeInclusive<i64>>> {
        let list = words
            .iter()
            .map(|w| (w.as_bytes().into(), PatternOrigin::Word(Span::default())))
            .collect();
        ranges(list, number).ok()
    }

    #[test]
    fn versions_have_a_dot() {
        assert_eq!(range("3.1", version), Some((196_609, 196_609)));
        assert_eq!(range("3:3.3", version), Some((196_608, 196_611)));
        // HAProxy also accepts a minus between two numbers.
        assert_eq!(range("3.0-3.1", version), Some((196_608, 196_609)));
        assert_eq!(range("3.x", version), None);
    }

    #[test]
    fn numbers_have_ranges_and_operators() {
        assert_eq!(
            read(&["1", "3:5", ":0", "9:"]),
            Some(vec![1..=1, 3..=5, i64::MIN..=0, 9..=i64::MAX])
        );
        assert_eq!(
            read(&["gt", "2", "le", "-1"]),
            Some(vec![3..=i64::MAX, i64::MIN..=-1])
        );
        assert_eq!(
            read(&["lt", "2", "5"]),
            Some(vec![i64::MIN..=1, i64::MIN..=4])
        );
        assert_eq!(
            read(&["gt", "9223372036854775807"]).map(|r| r[0].is_empty()),
            Some(true)
        );
        for wrong in [&["5:2"][..], &["foo"], &["1.2:1.5"], &["1:2:3"], &[""]] {
            assert_eq!(read(wrong), None, "{wrong:?}");
        }
    }
}
