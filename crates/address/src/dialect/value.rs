//! Parses the values of keywords: numbers, times, switches, addresses. Each parser reports an
//! invalid value and then returns None.

use super::family::draft::At;
use super::loader::Loader;
use super::tree::ConfigStatement;
use super::words::SourceWord;
use crate::codes;
use language::{Diagnostic, suggest};
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

impl Loader<'_> {
    /// Parses a whole number within a range.
    pub(super) fn number(&mut self, word: &SourceWord, range: RangeInclusive<i64>) -> Option<i64> {
        let text = word.text.as_str();
        let parsed = text.parse().ok();
        let (least, most) = (*range.start(), *range.end());
        let expected = match most.saturating_sub(least) {
            1 => format!("expected {least} or {most}"),
            _ => format!("expected {least} to {most}"),
        };
        match parsed {
            Some(value) if range.contains(&value) => Some(value),
            Some(value) => {
                let message = self.about(format_args!("'{value}' is out of range: {expected}"));
                self.error(&codes::OUT_OF_RANGE, word.span, message);
                None
            }
            None => {
                let message =
                    self.about(format_args!("'{text}' is not a whole number: {expected}"));
                self.error(&codes::BAD_VALUE, word.span, message);
                None
            }
        }
    }

    /// Returns a message about a value, which begins with the keyword of its line.
    fn about(&self, message: std::fmt::Arguments<'_>) -> String {
        format!("'{}': {message}", self.keyword)
    }

    /// Parses like [`Self::number`] into another type, which must hold the whole range.
    pub(super) fn small<T: TryFrom<i64>>(
        &mut self,
        word: &SourceWord,
        range: RangeInclusive<i64>,
    ) -> Option<T> {
        self.number(word, range).and_then(|n| T::try_from(n).ok())
    }

    /// Parses the first word after a keyword like [`Self::small`].
    pub(super) fn count<T: TryFrom<i64>>(
        &mut self,
        node: &ConfigStatement,
        range: RangeInclusive<i64>,
    ) -> Option<T> {
        node.argument().and_then(|word| self.small(word, range))
    }

    /// Checks the first word after a keyword whose value has no effect.
    pub(super) fn check(&mut self, node: &ConfigStatement, range: RangeInclusive<i64>) {
        let _: Option<i64> = self.count(node, range);
    }

    /// Parses the first word after a keyword as whole seconds.
    pub(super) fn seconds(
        &mut self,
        node: &ConfigStatement,
        range: RangeInclusive<i64>,
    ) -> Option<Duration> {
        self.count(node, range).map(Duration::from_secs)
    }

    /// Parses the first word after a keyword like [`Self::timer`].
    pub(super) fn time(
        &mut self,
        node: &ConfigStatement,
        range: RangeInclusive<u64>,
    ) -> Option<Duration> {
        self.timer(node.argument()?, range)
    }

    /// Parses the first word after a keyword, and returns the value with its position.
    pub(super) fn at<T>(
        &mut self,
        node: &ConfigStatement,
        read: impl FnOnce(&mut Self, &SourceWord) -> Option<T>,
    ) -> Option<At<T>> {
        let word = node.argument()?;
        let (value, span) = (read(self, word)?, word.span);
        Some(At { value, span })
    }

    /// Parses seconds with a fraction down to microseconds; the range is in microseconds.
    pub(super) fn timer(
        &mut self,
        word: &SourceWord,
        range: RangeInclusive<u64>,
    ) -> Option<Duration> {
        self.decimal(word, range, 1_000_000, "seconds")
    }

    /// Parses milliseconds with a fraction down to microseconds.
    pub(super) fn milliseconds(
        &mut self,
        word: &SourceWord,
        range: RangeInclusive<u64>,
    ) -> Option<Duration> {
        self.decimal(word, range, 1000, "milliseconds")
    }

    fn decimal(
        &mut self,
        word: &SourceWord,
        range: RangeInclusive<u64>,
        unit_us: u64,
        name: &str,
    ) -> Option<Duration> {
        let shown = |us: u64| Fraction(us, unit_us).to_string();
        let Some(us) = micros(&word.text, unit_us) else {
            let mut told = Diagnostic::error(
                &codes::BAD_VALUE,
                word.span,
                self.about(format_args!("'{}' is not a number of {name}", word.text)),
            )
            .help(format!("write {name} as a number, as in 1 or 0.25"));
            if let Some(plain) = with_unit(&word.text, unit_us) {
                told = told
                    .help(format!("{name} are written without a unit: '{plain}'"))
                    .fix(word.span, plain);
            }
            self.report(told);
            return None;
        };
        if !range.contains(&us) {
            let (least, most) = (shown(*range.start()), shown(*range.end()));
            self.error(
                &codes::OUT_OF_RANGE,
                word.span,
                self.about(format_args!(
                    "'{}' is out of range: expected {least} to {most} {name}",
                    word.text
                )),
            );
            return None;
        }
        Some(Duration::from_micros(us))
    }

    /// Parses `on`, `off` or a similar word after a keyword. The keyword alone means on.
    pub(super) fn switch(&mut self, node: &ConfigStatement) -> Option<bool> {
        let Some(word) = node.argument() else {
            return Some(true);
        };
        let found = match word.text.as_str() {
            "on" | "true" | "yes" => Some(true),
            "off" | "false" | "no" => Some(false),
            _ => None,
        };
        if found.is_none() {
            let names = ["on", "off", "true", "false", "yes", "no"];
            let near = suggest::nearest(&word.text, names);
            self.report(
                Diagnostic::error(
                    &codes::BAD_VALUE,
                    word.span,
                    self.about(format_args!(
                        "'{}' is not one of on, off, true, false, yes, no",
                        word.text
                    )),
                )
                .did_you_mean(word.span, near),
            );
        }
        found
    }

    /// Parses an IP address without a prefix length.
    pub(super) fn address(&mut self, word: &SourceWord) -> Option<IpAddr> {
        match word.text.parse() {
            Ok(address) => Some(address),
            Err(_) => {
                self.bad_address(word, "an IPv4 or IPv6 address");
                None
            }
        }
    }

    /// Parses the first word after a keyword like [`Self::address`].
    pub(super) fn first_address(&mut self, node: &ConfigStatement) -> Option<IpAddr> {
        self.address(node.argument()?)
    }

    /// Parses an address with an optional prefix length.
    pub(super) fn network(&mut self, word: &SourceWord) -> Option<(IpAddr, Option<u8>)> {
        let (address, prefix) = match word.text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (word.text.as_str(), None),
        };
        let Ok(address) = address.parse::<IpAddr>() else {
            self.bad_address(word, "an IPv4 or IPv6 address with an optional prefix");
            return None;
        };
        let most = bits(address);
        let Some(prefix) = prefix else {
            return Some((address, None));
        };
        match prefix.parse().ok().filter(|p| *p <= most) {
            Some(prefix) => Some((address, Some(prefix))),
            None => {
                let message = self.about(format_args!(
                    "'{prefix}' is not a prefix length from 0 to {most}"
                ));
                let told = Diagnostic::error(&codes::BAD_ADDRESS, word.span, message);
                let fixed = mask(prefix).map(|p| format!("{address}/{p}"));
                self.report(match fixed.filter(|_| address.is_ipv4()) {
                    Some(fixed) => told
                        .help("write a mask as a prefix length")
                        .fix(word.span, fixed),
                    None => told,
                });
                None
            }
        }
    }

    fn bad_address(&mut self, word: &SourceWord, wanted: &str) {
        let message = self.about(format_args!("'{}' is not {wanted}", word.text));
        self.error(&codes::BAD_ADDRESS, word.span, message);
    }

    /// Parses one of several words, and suggests the nearest one if it is invalid.
    pub(super) fn choice<T: Copy>(&mut self, word: &SourceWord, all: &[(&str, T)]) -> Option<T> {
        let found = all.iter().find(|(name, _)| *name == word.text);
        if found.is_none() {
            let names: Vec<&str> = all.iter().map(|(name, _)| *name).collect();
            let near = suggest::nearest(&word.text, names.iter().copied());
            self.report(
                Diagnostic::error(
                    &codes::BAD_VALUE,
                    word.span,
                    self.about(format_args!(
                        "'{}' is not one of {}",
                        word.text,
                        names.join(", ")
                    )),
                )
                .did_you_mean(word.span, near),
            );
        }
        found.map(|(_, value)| *value)
    }
}

/// Returns the number of bits of an address.
pub(super) fn bits(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// Converts an IPv4 netmask to a prefix length.
fn mask(text: &str) -> Option<u8> {
    let mask = u32::from(text.parse::<std::net::Ipv4Addr>().ok()?);
    (mask.leading_ones() + mask.trailing_zeros() >= 32).then(|| mask.leading_ones() as u8)
}

/// Displays microseconds as a decimal number of a unit.
struct Fraction(u64, u64);

impl std::fmt::Display for Fraction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (whole, rest) = (self.0 / self.1, self.0 % self.1);
        let width = self.1.ilog10() as usize;
        let rest = format!("{rest:0width$}");
        match rest.trim_end_matches('0') {
            "" => write!(f, "{whole}"),
            rest => write!(f, "{whole}.{rest}"),
        }
    }
}

/// Parses a decimal number of a unit as microseconds; further digits are rounded down.
fn micros(text: &str, unit_us: u64) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if (whole.is_empty() && fraction.is_empty())
        || !text.bytes().all(|b| b.is_ascii_digit() || b == b'.')
    {
        return None;
    }
    let whole: u64 = match whole {
        "" => 0,
        digits => digits.parse().ok()?,
    };
    let mut us = 0;
    let mut scale = unit_us;
    for digit in fraction.bytes().map(|b| u64::from(b.wrapping_sub(b'0'))) {
        if digit > 9 {
            return None;
        }
        scale /= 10;
        us += digit * scale;
    }
    whole.checked_mul(unit_us)?.checked_add(us)
}

/// Converts a time such as `50ms` or `3s` to a number of this unit, for a suggestion.
fn with_unit(text: &str, unit_us: u64) -> Option<String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let us = match &text[digits.len()..] {
        "us" => 1,
        "ms" => 1000,
        "s" | "sec" | "secs" => 1_000_000,
        "m" | "min" => 60_000_000,
        _ => return None,
    };
    micros(digits, us).map(|us| Fraction(us, unit_us).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_decimal_numbers_to_the_microsecond() {
        for (text, us) in [
            ("1", Some(1_000_000)),
            ("0.25", Some(250_000)),
            (".5", Some(500_000)),
            ("2.", Some(2_000_000)),
            ("0.0000019", Some(1)),
            ("1.2.3", None),
            ("-1", None),
            (".", None),
            ("", None),
            ("99999999999999999999", None),
        ] {
            assert_eq!(micros(text, 1_000_000), us, "{text}");
        }
        assert_eq!(micros("3.312", 1000), Some(3312));
        assert_eq!(with_unit("50ms", 1_000_000), Some("0.05".to_owned()));
        assert_eq!(with_unit("1.5s", 1000), Some("1500".to_owned()));
    }

    #[test]
    fn masks_are_prefixes() {
        assert_eq!(mask("255.255.255.0"), Some(24));
        assert_eq!(mask("0.0.0.0"), Some(0));
        assert_eq!(mask("255.0.255.0"), None);
        assert_eq!(mask("24"), None);
    }
}
