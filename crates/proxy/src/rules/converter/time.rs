//! Converters of times into text.

use super::{ConverterBuild, ConverterRow, rows};
use crate::load::Loader;
use crate::rules::argument::{Arguments, Kind, bad_argument};
use crate::rules::value::{Type, Value};
use crate::stream::Stream;
use jiff::fmt::strtime::{self, BrokenDownTime};
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use language::{Diagnostic, Span};
use std::borrow::Cow;
use std::time::Duration;

const fn formatted(apply: super::Apply) -> ConverterBuild {
    ConverterBuild::new(Type::Int, Type::Str, apply).takes(&[Kind::Text, Kind::Int], 1)
}

pub(super) static ROWS: &[ConverterRow] = rows! {
    "http_date", "http_date[(<offset>[,<unit>])]", ConverterBuild::new(Type::Int, Type::Str, http_date).takes(&[Kind::Int, Kind::Text], 0).prepare(check_unit),
        "acl now date,http_date -m found",
        "Writes seconds since 1970 as the date of an HTTP header, with an offset added before. The unit `ms` or `us` is that of the value and the offset, and adds a fraction to the seconds.";
    "utime", "utime(<format>[,<offset>])", formatted(utime), "acl night date,utime(%H) 00 01 02 03",
        "Writes seconds since 1970 by a format of strftime, in UTC, with an offset in seconds added before.";
    "ltime", "ltime(<format>[,<offset>])", formatted(ltime), "acl night date,ltime(%H) 00 01 02 03",
        "As `utime`, in the time of the host's place.";
};

/// Checks that the second argument is a unit of time.
pub fn check_unit(
    _: &mut Loader,
    arguments: &mut Arguments,
    span: Span,
) -> Result<(), Box<Diagnostic>> {
    match arguments.text(1) {
        None | Some(b"s" | b"ms" | b"us") => Ok(()),
        Some(other) => Err(bad_argument(
            span,
            format!(
                "a unit is 's', 'ms' or 'us', not '{}'",
                String::from_utf8_lossy(other)
            ),
        )),
    }
}

/// How many microseconds a unit has.
fn unit_us(unit: Option<&[u8]>) -> i64 {
    match unit {
        Some(b"us") => 1,
        Some(b"ms") => 1000,
        _ => 1_000_000,
    }
}

/// A duration in a unit.
pub fn to_unit(duration: Duration, unit: Option<&[u8]>) -> Option<i64> {
    Some(i64::try_from(duration.as_micros()).ok()? / unit_us(unit))
}

/// A time moved by an offset of the same unit.
pub fn shift(time: i64, offset: i64) -> i64 {
    time.saturating_add(offset)
}

fn http_date<'a>(arguments: &'a Arguments, value: Value<'a>, _: &'a Stream) -> Option<Value<'a>> {
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

/// Writes a time by a format; what the format has that strftime has not stays.
fn write<'a>(zoned: &Zoned, format: &[u8]) -> Option<Value<'a>> {
    let format = std::str::from_utf8(format).ok()?;
    let config = strtime::Config::new().lenient(true);
    let mut out = String::new();
    BrokenDownTime::from(zoned)
        .format_with_config(&config, format, &mut out)
        .ok()?;
    Some(Value::Str(Cow::Owned(out.into_bytes())))
}

fn in_zone<'a>(arguments: &Arguments, value: Value<'a>, zone: TimeZone) -> Option<Value<'a>> {
    let seconds = shift(value.integer()?, arguments.int(1).unwrap_or(0));
    write(&at(seconds, zone)?, arguments.text(0)?)
}

fn utime<'a>(arguments: &'a Arguments, value: Value<'a>, _: &'a Stream) -> Option<Value<'a>> {
    in_zone(arguments, value, TimeZone::UTC)
}

fn ltime<'a>(arguments: &'a Arguments, value: Value<'a>, _: &'a Stream) -> Option<Value<'a>> {
    in_zone(arguments, value, crate::log::time_zone().clone())
}
