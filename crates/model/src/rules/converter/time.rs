//! Implements the converters of times into text.

use super::{ConverterBuild, ConverterRow, rows};
use crate::rules::argument::{ArgumentKind, Arguments, bad_argument};
use crate::rules::draft::ConfigDraft;
use crate::rules::value::{Sample, SampleValue, Type};
use crate::transaction::ProxyStream;
use jiff::fmt::strtime::{self, BrokenDownTime, PosixCustom};
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use language::Span;
use language::arguments::Built;
use std::borrow::Cow;
use std::time::Duration;

const fn formatted(apply: super::Apply) -> ConverterBuild {
    ConverterBuild::new(Type::Int, Type::Str, apply)
        .takes(&[ArgumentKind::Text, ArgumentKind::Int], 1)
}

pub(super) static ROWS: &[ConverterRow] = rows! {
    "http_date[(<offset>[,<unit>])]", ConverterBuild::new(Type::Int, Type::Str, http_date).takes(&[ArgumentKind::Int, ArgumentKind::Text], 0).prepare(check_unit),
        "acl now date,http_date -m found",
        "Formats seconds since 1970 as an HTTP date, after adding an offset. The unit `ms` or `us` applies to value \
         and offset, and adds a fraction to the seconds.";
    "utime(<format>[,<offset>])",
        formatted(|a, v, _| in_zone(a, v, TimeZone::UTC)), "acl night date,utime(%H) 00 01 02 03",
        "Formats seconds since 1970 with strftime in UTC, after adding an offset in seconds.";
    "ltime(<format>[,<offset>])",
        formatted(|a, v, _| in_zone(a, v, crate::log::time_zone().clone())),
        "acl night date,ltime(%H) 00 01 02 03",
        "Like `utime`, in local time.";
    "ms_utime(<format>[,<offset>])",
        formatted(|a, v, _| fine(a, v, TimeZone::UTC, 1000)),
        "acl night date(0,ms),ms_utime(%H) 00 01 02 03",
        "Like `utime`, for milliseconds since 1970, also for the offset. `%N` in the format is the fraction of the \
         second, with three digits or the given number (`%6N`).";
    "ms_ltime(<format>[,<offset>])",
        formatted(|a, v, _| fine(a, v, crate::log::time_zone().clone(), 1000)),
        "acl night date(0,ms),ms_ltime(%H) 00 01 02 03",
        "Like `ms_utime`, in local time.";
    "us_utime(<format>[,<offset>])",
        formatted(|a, v, _| fine(a, v, TimeZone::UTC, 1_000_000)),
        "acl night date(0,us),us_utime(%H) 00 01 02 03",
        "Like `ms_utime`, for microseconds since 1970; `%N` has six digits.";
    "us_ltime(<format>[,<offset>])",
        formatted(|a, v, _| fine(a, v, crate::log::time_zone().clone(), 1_000_000)),
        "acl night date(0,us),us_ltime(%H) 00 01 02 03",
        "Like `us_utime`, in local time.";
};

/// Checks that the second argument is a unit of time.
pub fn check_unit(_: &mut ConfigDraft, arguments: &mut Arguments, span: Span) -> Built {
    match arguments.text(1) {
        None | Some(b"s" | b"ms" | b"us") => Ok(()),
        Some(other) => Err(bad_argument(
            span,
            format!(
                "valid units: 's', 'ms' or 'us', not '{}'",
                String::from_utf8_lossy(other)
            ),
        )),
    }
}

/// Checks that the only argument is a unit of time.
pub fn check_only_unit(loader: &mut ConfigDraft, arguments: &mut Arguments, span: Span) -> Built {
    let unit = arguments.list.first().cloned().flatten();
    let mut behind = Arguments {
        list: vec![None, unit],
        ..Arguments::default()
    };
    check_unit(loader, &mut behind, span)
}

fn unit_us(unit: Option<&[u8]>) -> i64 {
    match unit {
        Some(b"us") => 1,
        Some(b"ms") => 1000,
        _ => 1_000_000,
    }
}

pub fn to_unit(duration: Duration, unit: Option<&[u8]>) -> Option<i64> {
    Some(i64::try_from(duration.as_micros()).ok()? / unit_us(unit))
}

pub fn shift(time: i64, offset: i64) -> i64 {
    time.saturating_add(offset)
}

fn http_date<'a>(arguments: &Arguments, value: SampleValue<'a>, _: &ProxyStream) -> Sample<'a> {
    let time = shift(value.integer()?, arguments.int(0).unwrap_or(0));
    let us = i128::from(time) * i128::from(unit_us(arguments.text(1)));
    let zoned = at(i64::try_from(us.div_euclid(1_000_000)).ok()?, TimeZone::UTC)?;
    let fraction = us.rem_euclid(1_000_000);
    let fraction = match arguments.text(1) {
        Some(b"ms") => format!(".{:03}", fraction / 1000),
        Some(b"us") => format!(".{fraction:06}"),
        _ => String::new(),
    };
    write(
        &zoned,
        format!("%a, %d %b %Y %H:%M:%S{fraction} GMT").as_bytes(),
    )
}

fn at(seconds: i64, zone: TimeZone) -> Option<Zoned> {
    Some(Timestamp::from_second(seconds).ok()?.to_zoned(zone))
}

/// Formats a time; conversions that strftime does not have stay unchanged.
fn write<'a>(zoned: &Zoned, format: &[u8]) -> Sample<'a> {
    let format = std::str::from_utf8(format).ok()?;
    // Formats `%c` and similar conversions as in the C locale.
    let config = strtime::Config::new()
        .custom(PosixCustom::new())
        .lenient(true);
    let mut out = String::new();
    BrokenDownTime::from(zoned)
        .format_with_config(&config, format, &mut out)
        .ok()?;
    Some(SampleValue::Str(Cow::Owned(out.into_bytes())))
}

fn in_zone<'a>(arguments: &Arguments, value: SampleValue<'a>, zone: TimeZone) -> Sample<'a> {
    let seconds = shift(value.integer()?, arguments.int(1).unwrap_or(0));
    write(&at(seconds, zone)?, arguments.text(0)?)
}

/// Replaces the fractions of a second in a format: `%N`, `%3N`.
fn with_fraction(format: &[u8], us: i64, usual_digits: usize) -> Vec<u8> {
    let digits = format!("{us:06}000");
    let mut out = Vec::with_capacity(format.len() + digits.len());
    let mut rest = format;
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        if *byte != b'%' {
            out.push(*byte);
            continue;
        }
        match after {
            [b'N', behind @ ..] => {
                out.extend_from_slice(&digits.as_bytes()[..usual_digits]);
                rest = behind;
            }
            [width @ b'1'..=b'9', b'N', behind @ ..] => {
                let width = usize::from(width - b'0').min(digits.len());
                out.extend_from_slice(&digits.as_bytes()[..width]);
                rest = behind;
            }
            [other, behind @ ..] => {
                out.extend([b'%', *other]);
                rest = behind;
            }
            [] => out.push(b'%'),
        }
    }
    out
}

/// Formats a time in units of 1/`parts` second, in the time zone `zone`.
fn fine<'a>(
    arguments: &Arguments,
    value: SampleValue<'a>,
    zone: TimeZone,
    parts: i64,
) -> Sample<'a> {
    let time = shift(value.integer()?, arguments.int(1).unwrap_or(0));
    let us = time.rem_euclid(parts) * (1_000_000 / parts);
    let digits = if parts == 1000 { 3 } else { 6 };
    let format = with_fraction(arguments.text(0)?, us, digits);
    write(&at(time.div_euclid(parts), zone)?, &format)
}
