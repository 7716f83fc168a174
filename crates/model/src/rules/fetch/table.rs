//! Implements the fetches of stick tables: of the entry that a counter tracks (`sc…`), of the entry
//! of the client's address (`src_…`), and of a table as a whole.

use super::{FetchBuild, FetchRow, PLACE, boolean};
use crate::rules::argument::{Argument, ArgumentKind, Arguments, bad_argument};
use crate::rules::draft::ConfigDraft;
use crate::rules::usage::Needs;
use crate::rules::value::{Sample, SampleValue, Type};
use crate::tables::{DataType, HeldEntry, Table};
use crate::tracking;
use crate::transaction::ProxyStream;
use language::Span;
use language::arguments::Built;
use std::sync::Arc;

#[derive(Clone, Copy)]
enum CounterQuery {
    Get(DataType),
    /// Returns a value in kilobytes.
    Kilobytes(DataType),
    /// Increments a counter and its rate; returns the new count.
    Increment(DataType, DataType),
    /// Resets a counter to 0; returns the old count.
    Clear(DataType),
}

use CounterQuery::{Clear, Get, Increment, Kilobytes};

/// Runs an operation on an entry. Returns None if the table does not store the data type; an
/// increment then returns 0.
fn ask(held: &HeldEntry, what: CounterQuery, element: u32) -> Option<u64> {
    match what {
        Get(kind) => held.get(kind, element),
        Kilobytes(kind) => Some(held.get(kind, element)? >> 10),
        Increment(kind, rate) => {
            let rate = held.add(rate, element, 1);
            // As in HAProxy, incrementing data that the table does not store returns 0.
            let now = held.add(kind, element, 1).or(rate).unwrap_or(0);
            held.touch();
            held.queue_peer_update();
            Some(now)
        }
        Clear(kind) => {
            let before = held.clear(kind, element)?;
            held.touch();
            held.queue_peer_update();
            Some(before)
        }
    }
}

/// Passes the entry to `look` that has the same key in another table, or `held` itself without
/// another table. Passes None if the tables have different types of keys, or if the entry is
/// missing and `make` is false.
fn elsewhere<T>(
    held: &HeldEntry,
    table: Option<&Arc<Table>>,
    make: bool,
    look: impl FnOnce(Option<&HeldEntry>) -> T,
) -> T {
    let Some(table) = table.filter(|table| !Arc::ptr_eq(table, held.table())) else {
        return look(Some(held));
    };
    let (own, other) = (&held.table().make, &table.make);
    if own.key != other.key || own.length != other.length {
        return look(None);
    }
    let found = if make {
        table.get(&held.key())
    } else {
        table.find(&held.key())
    };
    look(found.as_ref())
}

fn changes(what: CounterQuery) -> bool {
    matches!(what, Increment(..) | Clear(_))
}

/// Returns the value of the entry that a counter tracks; 0 if the named table has no such entry.
/// Returns None if the counter tracks nothing.
fn of_counter(
    stream: &ProxyStream,
    counter: Option<i64>,
    table: Option<&Arc<Table>>,
    what: CounterQuery,
    element: Option<i64>,
) -> Sample<'static> {
    let counter = u32::try_from(counter?).ok()?;
    let element = u32::try_from(element?).ok()?;
    let value = tracking::with(stream, counter, |held| {
        elsewhere(held, table, changes(what), |found| match found {
            Some(held) => ask(held, what, element),
            None => Some(0),
        })
    });
    value.flatten().map(SampleValue::count)
}

/// Returns the value of the entry of the client's address; 0 if there is no entry.
fn of_source(
    stream: &ProxyStream,
    table: Option<&Arc<Table>>,
    what: CounterQuery,
    element: Option<i64>,
) -> Sample<'static> {
    let element = u32::try_from(element?).ok()?;
    let table = table?;
    let source = SampleValue::ip(stream.source().ip()?);
    let found = table.make.key.with(table.make.length, source, |key| {
        if changes(what) {
            table.get(key)
        } else {
            table.find(key)
        }
    })?;
    match found {
        Some(held) => ask(&held, what, element).map(SampleValue::count),
        None => table
            .make
            .layout
            .cell(kind_of(what), element)
            .map(|_| SampleValue::Int(0)),
    }
}

fn kind_of(what: CounterQuery) -> DataType {
    match what {
        Get(kind) | Kilobytes(kind) | Increment(kind, _) | Clear(kind) => kind,
    }
}

/// Uses the section's own table if the argument names none.
fn own_at(loader: &mut ConfigDraft, arguments: &mut Arguments, span: Span, at: usize) -> Built {
    if arguments.list.get(at).is_some_and(Option::is_some) {
        return Ok(());
    }
    let name = loader.own_table(span)?;
    loader.name_table(&name, span);
    let place = loader.config.tables.place(&name);
    arguments.list.resize(at, None);
    arguments.list.push(Some(Argument::Table(place)));
    Ok(())
}

/// Reports an error if the counter does not exist.
fn check_counter(
    loader: &mut ConfigDraft,
    arguments: &mut Arguments,
    span: Span,
    at: usize,
) -> Built {
    let count = loader.config.global.tune.stick_counters;
    match arguments.int(at) {
        Some(counter) if !(0..i64::from(count)).contains(&counter) => Err(bad_argument(
            span,
            format!("counters are numbered from 0 and there are {count}: {counter} does not exist"),
        )),
        _ => Ok(()),
    }
}

const fn number(one: super::One) -> FetchBuild {
    FetchBuild::new(Type::Int, Needs::Nothing, one)
}

/// Configuration of the tables in an example.
macro_rules! table_of {
    ($($data:literal)?) => {
        "stick-table type ip size 1m expire 30s store conn_cur,gpc0,gpc1,gpt0,http_req_rate(10s)\n"
    };
}

/// Creates the names for one operation: with the number of a counter as an argument, with one of
/// the first three counters in the name, and for the client's address.
macro_rules! families {
    ($($name:literal, $ask:expr, $doc:literal;)*) => {
        pub(super) static BY_COUNTER: &[FetchRow] = &[$(FetchRow {
            places: PLACE,
            syntax: concat!("sc_", $name, "(<ctr>[,<table>])"),
            doc: concat!($doc, " Refers to the entry that the counter tracks, or to the same key in `<table>`."),
            example: concat!("acl example sc_", $name, "(0) gt 10"),
            build: number(|a, s| of_counter(s, a.int(0), a.table(1), $ask, Some(0)))
                .takes(&[ArgumentKind::Int, ArgumentKind::Table], 1)
                .prepare(|l, a, s| check_counter(l, a, s, 0)),
        }),*];
        families!(@named BY_FIRST, "sc0_", 0, $($name, $ask, $doc;)*);
        families!(@named BY_SECOND, "sc1_", 1, $($name, $ask, $doc;)*);
        families!(@named BY_THIRD, "sc2_", 2, $($name, $ask, $doc;)*);
        pub(super) static BY_SOURCE: &[FetchRow] = &[$(FetchRow {
            places: PLACE,
            syntax: concat!("src_", $name, "[(<table>)]"),
            doc: concat!($doc, " Refers to the entry of the client's address in `<table>`, by default the table of the section; 0 without an entry."),
            example: concat!(table_of!(), "acl example src_", $name, " gt 10"),
            build: number(|a, s| of_source(s, a.table(0), $ask, Some(0)))
                .takes(&[ArgumentKind::Table], 0)
                .prepare(|l, a, s| own_at(l, a, s, 0)),
        }),*];
    };
    (@named $static:ident, $prefix:literal, $counter:literal, $($name:literal, $ask:expr, $doc:literal;)*) => {
        pub(super) static $static: &[FetchRow] = &[$(FetchRow {
            places: PLACE,
            syntax: concat!($prefix, $name, "[(<table>)]"),
            doc: concat!($doc, " Refers to the entry that this counter tracks, or to the same key in `<table>`."),
            example: concat!("acl example ", $prefix, $name, " gt 10"),
            build: number(|a, s| of_counter(s, Some($counter), a.table(0), $ask, Some(0)))
                .takes(&[ArgumentKind::Table], 0),
        }),*];
    };
}

families! {
    "bytes_in_rate", Get(DataType::BytesInRate), "Bytes received from clients per period of the table.";
    "bytes_out_rate", Get(DataType::BytesOutRate), "Bytes sent to clients per period of the table.";
    "clr_gpc0", Clear(DataType::Gpc0), "Resets the first general purpose counter and returns its old value.";
    "clr_gpc1", Clear(DataType::Gpc1), "Resets the second general purpose counter and returns its old value.";
    "conn_cnt", Get(DataType::ConnCnt), "Number of tracked connections (or requests).";
    "conn_cur", Get(DataType::ConnCur), "Number of currently tracked connections (or requests).";
    "conn_rate", Get(DataType::ConnRate), "Number of tracked connections (or requests) per period of the table.";
    "get_gpc0", Get(DataType::Gpc0), "First general purpose counter.";
    "get_gpc1", Get(DataType::Gpc1), "Second general purpose counter.";
    "get_gpt0", Get(DataType::Gpt0), "First general purpose tag.";
    "glitch_cnt", Get(DataType::GlitchCnt), "Number of HTTP/2 protocol errors by its clients that only ended a stream \
     (see `fc_glitches`).";
    "glitch_rate", Get(DataType::GlitchRate), "Number of HTTP/2 protocol errors by its clients per period of the \
     table.";
    "gpc0_rate", Get(DataType::Gpc0Rate), "Increase of the first general purpose counter per period of the table.";
    "gpc1_rate", Get(DataType::Gpc1Rate), "Increase of the second general purpose counter per period of the table.";
    "http_err_cnt", Get(DataType::HttpErrCnt), "Number of requests that were invalid, denied, or got a 4xx response.";
    "http_err_rate", Get(DataType::HttpErrRate), "Number of requests that were invalid, denied, or got a 4xx \
     response, per period of the table.";
    "http_fail_cnt", Get(DataType::HttpFailCnt), "Number of requests that a server failed to serve, or that got a 5xx \
     response (except 501 and 505).";
    "http_fail_rate", Get(DataType::HttpFailRate), "Number of requests that a server failed to serve, or that got a \
     5xx response, per period of the table.";
    "http_req_cnt", Get(DataType::HttpReqCnt), "Number of requests.";
    "http_req_rate", Get(DataType::HttpReqRate), "Number of requests per period of the table.";
    "inc_gpc0", Increment(DataType::Gpc0, DataType::Gpc0Rate), "Increments the first general purpose counter and \
     returns its new value.";
    "inc_gpc1", Increment(DataType::Gpc1, DataType::Gpc1Rate), "Increments the second general purpose counter and \
     returns its new value.";
    "kbytes_in", Kilobytes(DataType::BytesInCnt), "Kilobytes received from clients.";
    "kbytes_out", Kilobytes(DataType::BytesOutCnt), "Kilobytes sent to clients.";
    "sess_cnt", Get(DataType::SessCnt), "Number of connections that the rules accepted.";
    "sess_rate", Get(DataType::SessRate), "Number of connections that the rules accepted per period of the table.";
}

macro_rules! of_element {
    ($($name:literal, $ask:expr, $doc:literal;)*) => {
        pub(super) static OF_ELEMENT: &[FetchRow] = &[$(FetchRow {
            places: PLACE,
            syntax: concat!("sc_", $name, "(<idx>,<ctr>[,<table>])"),
            doc: concat!($doc, " Refers to the entry that the counter tracks, or to the same key in `<table>`."),
            example: concat!("acl example sc_", $name, "(1,0) gt 10"),
            build: number(|a, s| of_counter(s, a.int(1), a.table(2), $ask, a.int(0)))
                .takes(&[ArgumentKind::Int, ArgumentKind::Int, ArgumentKind::Table], 2)
                .prepare(|l, a, s| check_counter(l, a, s, 1)),
        },
        FetchRow {
            places: PLACE,
            syntax: concat!("src_", $name, "(<idx>[,<table>])"),
            doc: concat!($doc, " Refers to the entry of the client's address in `<table>`, by default the table of the section; 0 without an entry."),
            example: concat!("stick-table type ip size 1m expire 30s store gpc(3),gpt(3),gpc_rate(3,10s)\nacl example src_", $name, "(1) gt 10"),
            build: number(|a, s| of_source(s, a.table(1), $ask, a.int(0)))
                .takes(&[ArgumentKind::Int, ArgumentKind::Table], 1)
                .prepare(|l, a, s| own_at(l, a, s, 1)),
        }),*];
    };
}

of_element! {
    "get_gpc", Get(DataType::Gpc), "A general purpose counter, by its index from 0.";
    "get_gpt", Get(DataType::Gpt), "A general purpose tag, by its index from 0.";
    "gpc_rate", Get(DataType::GpcRate), "Increase of a general purpose counter per period of the table, by its index \
     from 0.";
    "inc_gpc", Increment(DataType::Gpc, DataType::GpcRate), "Increments a general purpose counter, by its index from \
     0, and returns its new value.";
    "clr_gpc", Clear(DataType::Gpc), "Resets a general purpose counter, by its index from 0, and returns its old \
     value.";
}

macro_rules! of_tracking {
    ($($name:literal, $counter:expr, $kinds:expr, $required:literal, $table:literal, $arguments:literal, $suffix:literal;)*) => {
        pub(super) static OF_TRACKING: &[FetchRow] = &[$(FetchRow {
            places: PLACE,
            syntax: concat!($name, "tracked", $suffix),
            doc: "Tests whether the counter tracks an entry, for the connection or for the stream; with a table, \
                whether it has an entry with the same key.",
            example: concat!("acl example ", $name, "tracked", $arguments),
            build: FetchBuild::new(Type::Bool, Needs::Nothing, |a, s| is_tracked(s, $counter(a), a.table($table)))
                .takes($kinds, $required),
        },
        FetchRow {
            places: PLACE,
            syntax: concat!($name, "trackers", $suffix),
            doc: "Number of connections and streams that track the entry. Unlike `conn_cur`, the table need not store \
                anything for it.",
            example: concat!("acl example ", $name, "trackers", $arguments, " gt 10"),
            build: number(|a, s| trackers(s, $counter(a), a.table($table))).takes($kinds, $required),
        },
        FetchRow {
            places: PLACE,
            syntax: concat!($name, "key", $suffix),
            doc: "The key of the entry that the counter tracks, as text.",
            example: concat!("acl example ", $name, "key", $arguments, " -m str 192.0.2.1"),
            build: FetchBuild::new(Type::Str, Needs::Nothing, |a, s| key(s, $counter(a))).takes($kinds, $required),
        }),*];
    };
}

of_tracking! {
    "sc_", |a: &Arguments| a.int(0), &[ArgumentKind::Int, ArgumentKind::Table], 1, 1, "(0)", "(<ctr>[,<table>])";
    "sc0_", |_: &Arguments| Some(0), &[ArgumentKind::Table], 0, 0, "", "[(<table>)]";
    "sc1_", |_: &Arguments| Some(1), &[ArgumentKind::Table], 0, 0, "", "[(<table>)]";
    "sc2_", |_: &Arguments| Some(2), &[ArgumentKind::Table], 0, 0, "", "[(<table>)]";
}

fn is_tracked(
    stream: &ProxyStream,
    counter: Option<i64>,
    table: Option<&Arc<Table>>,
) -> Sample<'static> {
    let counter = u32::try_from(counter?).ok()?;
    let found = tracking::with(stream, counter, |held| {
        elsewhere(held, table, false, |found| found.is_some())
    });
    boolean(found.unwrap_or(false))
}

fn trackers(
    stream: &ProxyStream,
    counter: Option<i64>,
    table: Option<&Arc<Table>>,
) -> Sample<'static> {
    let counter = u32::try_from(counter?).ok()?;
    let count = tracking::with(stream, counter, |own| {
        elsewhere(own, table, false, |found| match found {
            Some(held) => held.others() + u32::from(std::ptr::eq(held, own)),
            None => 0,
        })
    })?;
    Some(SampleValue::count(count))
}

fn key(stream: &ProxyStream, counter: Option<i64>) -> Sample<'static> {
    let counter = u32::try_from(counter?).ok()?;
    tracking::with(stream, counter, |held| {
        let mut text = Vec::new();
        if held.table().make.key.is_text() {
            text = held.key()
        } else {
            held.table().make.key.write(&held.key(), &mut text)
        }
        SampleValue::Str(text.into())
    })
}

pub(super) static OF_TABLE: &[FetchRow] = rows! {
    "table_avl[(<table>)]",
        number(|a, _| Some(SampleValue::count(a.table(0)?.available()))).takes(&[ArgumentKind::Table], 0).prepare(|l, a, s| own_at(l, a, s, 0)),
        "stick-table type ip size 1m expire 30s\nacl full table_avl lt 100",
        "Number of free entries of a table.";
    "table_cnt[(<table>)]", number(table_cnt).takes(&[ArgumentKind::Table], 0).prepare(|l, a, s| own_at(l, a, s, 0)),
        "stick-table type ip size 1m expire 30s\nacl many table_cnt gt 10000",
        "Number of entries of a table.";
    "src_updt_conn_cnt[(<table>)]",
        number(update_connections).takes(&[ArgumentKind::Table], 0).prepare(|l, a, s| own_at(l, a, s, 0)),
        "stick-table type ip size 1m expire 30s store conn_cnt\nacl many src_updt_conn_cnt gt 10",
        "Creates the entry of the client's address if necessary, increments its connection count, and returns the new \
         value. Prefer `track-sc0`.";
};

fn table_cnt<'a>(arguments: &'a Arguments, _: &ProxyStream) -> Sample<'a> {
    Some(SampleValue::count(arguments.table(0)?.used()))
}

fn update_connections<'a>(arguments: &'a Arguments, stream: &'a ProxyStream) -> Sample<'a> {
    let table = arguments.table(0)?;
    let source = SampleValue::ip(stream.source().ip()?);
    let held = table
        .make
        .key
        .with(table.make.length, source, |key| table.get(key))??;
    let count = held.add(DataType::ConnCnt, 0, 1)?;
    held.queue_peer_update();
    Some(SampleValue::count(count))
}
