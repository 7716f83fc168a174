//! Implements the converters of stick tables, which read or change the data of the entry with a
//! key.

use super::{ConverterBuild, ConverterRow, PLACE};
use crate::rules::argument::{ArgumentKind, Arguments};
use crate::rules::value::{Sample, SampleValue, Type};
use crate::tables::{DataType, HeldEntry, Table};
use std::sync::Arc;

fn find(table: &Arc<Table>, value: SampleValue<'_>) -> Option<HeldEntry> {
    let make = &table.make;
    make.key
        .with(make.length, value, |key| table.find(key))
        .flatten()
}

/// Returns a value of the key's entry; 0 if there is no entry, None if the table does not store the
/// data type.
fn get(
    table: Option<&Arc<Table>>,
    value: SampleValue<'_>,
    kind: DataType,
    element: Option<i64>,
) -> Option<u64> {
    let table = table?;
    let cell = table
        .make
        .layout
        .cell(kind, u32::try_from(element?).ok()?)?;
    Some(find(table, value).map_or(0, |held| held.read(cell)))
}

fn number(table: Option<u64>) -> Sample<'static> {
    table.map(SampleValue::count)
}

/// Changes the key's entry, and creates it first if there is none.
fn change(
    table: Option<&Arc<Table>>,
    value: SampleValue<'_>,
    change: impl FnOnce(&HeldEntry) -> Option<u64>,
) -> Sample<'static> {
    let table = table?;
    let make = &table.make;
    let held = make.key.with(make.length, value, |key| table.get(key))??;
    let result = change(&held);
    held.queue_peer_update();
    result.map(SampleValue::count)
}

fn increment(held: &HeldEntry, kind: DataType, rate: DataType, element: u32) -> Option<u64> {
    let rate = held.add(rate, element, 1);
    held.add(kind, element, 1).or(rate)
}

macro_rules! values {
    ($($name:literal, $kind:ident, $shift:literal, $doc:literal;)*) => {
        pub(super) static VALUES: &[ConverterRow] = &[$(ConverterRow {
            places: PLACE,
            syntax: concat!("table_", $name, "(<table>)"),
            doc: concat!($doc, " Refers to the table entry of the input; 0 without an entry."),
            example: concat!("stick-table type ip size 1m expire 30s\nacl example src,table_", $name, "(example) gt 10"),
            build: ConverterBuild::new(Type::Any, Type::Int, |a, v, _| {
                number(get(a.table(0), v, DataType::$kind, Some(0)).map(|n| n >> $shift))
            })
            .takes(&[ArgumentKind::Table], 1),
        }),*];
    };
}

values! {
    "bytes_in_rate", BytesInRate, 0, "Bytes received from clients per period of the table.";
    "bytes_out_rate", BytesOutRate, 0, "Bytes sent to clients per period of the table.";
    "conn_cnt", ConnCnt, 0, "Number of tracked connections (or requests).";
    "conn_cur", ConnCur, 0, "Number of currently tracked connections (or requests).";
    "conn_rate", ConnRate, 0, "Number of tracked connections (or requests) per period of the table.";
    "glitch_cnt", GlitchCnt, 0, "Number of HTTP/2 protocol errors by its clients that only ended a stream.";
    "glitch_rate", GlitchRate, 0, "Number of HTTP/2 protocol errors by its clients per period of the table.";
    "gpc0", Gpc0, 0, "First general purpose counter.";
    "gpc0_rate", Gpc0Rate, 0, "Increase of the first general purpose counter per period of the table.";
    "gpc1", Gpc1, 0, "Second general purpose counter.";
    "gpc1_rate", Gpc1Rate, 0, "Increase of the second general purpose counter per period of the table.";
    "gpt0", Gpt0, 0, "First general purpose tag.";
    "http_err_cnt", HttpErrCnt, 0, "Number of requests that were invalid, denied, or got a 4xx response.";
    "http_err_rate", HttpErrRate, 0, "Number of requests that were invalid, denied, or got a 4xx response, per period \
     of the table.";
    "http_fail_cnt", HttpFailCnt, 0, "Number of requests that a server failed to serve, or that got a 5xx response.";
    "http_fail_rate", HttpFailRate, 0, "Number of requests that a server failed to serve, or that got a 5xx response, \
     per period of the table.";
    "http_req_cnt", HttpReqCnt, 0, "Number of requests.";
    "http_req_rate", HttpReqRate, 0, "Number of requests per period of the table.";
    "kbytes_in", BytesInCnt, 10, "Kilobytes received from clients.";
    "kbytes_out", BytesOutCnt, 10, "Kilobytes sent to clients.";
    "server_id", ServerId, 0, "The id of the server.";
    "sess_cnt", SessCnt, 0, "Number of connections that the rules accepted.";
    "sess_rate", SessRate, 0, "Number of connections that the rules accepted per period of the table.";
}

macro_rules! rows {
    ($($name:literal, $takes:literal, $output:ident, $kinds:expr, $required:literal, $arguments:literal, $apply:expr, $doc:literal;)*) => {
        pub(super) static ROWS: &[ConverterRow] = &[$(ConverterRow {
            places: PLACE,
            syntax: concat!($name, $takes),
            doc: $doc,
            example: concat!("stick-table type ip size 1m expire 30s\nacl example src,", $name, $arguments, " -m found"),
            build: ConverterBuild::new(Type::Any, Type::$output, $apply).takes($kinds, $required),
        }),*];
    };
}

const TABLE: &[ArgumentKind] = &[ArgumentKind::Table];
const ELEMENT: &[ArgumentKind] = &[ArgumentKind::Int, ArgumentKind::Table];

rows! {
    "in_table", "(<table>)", Bool, TABLE, 1, "(example)",
        |a, v, _| Some(SampleValue::Bool(find(a.table(0)?, v).is_some())),
        "Tests whether a table has an entry for the input.";
    "table_expire", "(<table>[,<default>])", Int, &[ArgumentKind::Table, ArgumentKind::Int], 1, "(example)",
        |a, v, _| time(a, v, |held| held.expires_in_ms()),
        "Milliseconds until the entry of the input expires. Without an entry the default, or no value.";
    "table_idle", "(<table>[,<default>])", Int, &[ArgumentKind::Table, ArgumentKind::Int], 1, "(example)",
        |a, v, _| time(a, v, |held| held.table().expire_ms().saturating_sub(held.expires_in_ms())),
        "Milliseconds since the entry of the input was last used. Without an entry the default, or no value.";
    "table_trackers", "(<table>)", Int, TABLE, 1, "(example)",
        |a, v, _| number(Some(find(a.table(0)?, v).map_or(0, |held| held.others().into()))),
        "Number of connections and streams that track the entry of the input now.";
    "table_gpc", "(<idx>,<table>)", Int, ELEMENT, 2, "(1,example)",
        |a, v, _| number(get(a.table(1), v, DataType::Gpc, a.int(0))),
        "A general purpose counter of the input's entry, by its index from 0.";
    "table_gpc_rate", "(<idx>,<table>)", Int, ELEMENT, 2, "(1,example)",
        |a, v, _| number(get(a.table(1), v, DataType::GpcRate, a.int(0))),
        "Increase of a general purpose counter of the input's entry per period of the table, by its index from 0.";
    "table_gpt", "(<idx>,<table>)", Int, ELEMENT, 2, "(1,example)",
        |a, v, _| number(get(a.table(1), v, DataType::Gpt, a.int(0))),
        "A general purpose tag of the input's entry, by its index from 0.";
    "table_inc_gpc", "(<idx>,<table>)", Int, ELEMENT, 2, "(1,example)",
        |a, v, _| change(a.table(1), v, |held| increment(held, DataType::Gpc, DataType::GpcRate, at(a)?)),
        "Increments a general purpose counter of the input's entry, by its index from 0, and returns its new value. \
         The entry is created if necessary.";
    "table_inc_gpc0", "(<table>)", Int, TABLE, 1, "(example)",
        |a, v, _| change(a.table(0), v, |held| increment(held, DataType::Gpc0, DataType::Gpc0Rate, 0)),
        "Increments the first general purpose counter of the input's entry and returns its new value. The entry is \
         created if necessary.";
    "table_inc_gpc1", "(<table>)", Int, TABLE, 1, "(example)",
        |a, v, _| change(a.table(0), v, |held| increment(held, DataType::Gpc1, DataType::Gpc1Rate, 0)),
        "Increments the second general purpose counter of the input's entry and returns its new value. The entry is \
         created if necessary.";
    "table_clr_gpc", "(<idx>,<table>)", Int, ELEMENT, 2, "(1,example)",
        |a, v, _| change(a.table(1), v, |held| held.clear(DataType::Gpc, at(a)?)),
        "Resets a general purpose counter of the input's entry, by its index from 0, and returns its old value.";
    "table_clr_gpc0", "(<table>)", Int, TABLE, 1, "(example)",
        |a, v, _| change(a.table(0), v, |held| held.clear(DataType::Gpc0, 0)),
        "Resets the first general purpose counter of the input's entry and returns its old value.";
    "table_clr_gpc1", "(<table>)", Int, TABLE, 1, "(example)",
        |a, v, _| change(a.table(0), v, |held| held.clear(DataType::Gpc1, 0)),
        "Resets the second general purpose counter of the input's entry and returns its old value.";
}

fn at(arguments: &Arguments) -> Option<u32> {
    u32::try_from(arguments.int(0)?).ok()
}

fn time<'a>(
    arguments: &Arguments,
    value: SampleValue<'a>,
    of: fn(&HeldEntry) -> u32,
) -> Sample<'a> {
    match find(arguments.table(0)?, value) {
        Some(held) => Some(SampleValue::count(of(&held))),
        None => arguments.int(1).map(SampleValue::Int),
    }
}
