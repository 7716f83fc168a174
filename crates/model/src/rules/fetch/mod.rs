//! Implements sample fetches: the data that rules can read, with one file for each family. Each is
//! a row: name, syntax, documentation, example, needs, output type, and the function that finds the
//! value. A fetch reads the stream; only some fetches of stick tables change counters.

/// Creates the rows of a family; the syntax of a fetch without arguments is its name.
macro_rules! rows {
    ($($syntax:literal, $build:expr, $example:literal, $doc:literal;)*) => {
        &[$(crate::rules::fetch::FetchRow {
            places: crate::rules::fetch::PLACE,
            syntax: $syntax,
            doc: $doc,
            example: $example,
            build: $build,
        }),*]
    };
}

mod acls;
mod capture;
mod connection;
mod constant;
mod content;
mod cookie;
mod distcc;
mod ends;
mod header;
mod limits;
mod offload;
mod process;
mod proxy;
mod proxy_fields;
mod rdp;
mod request;
mod server;
mod table;
mod tls;
mod tls_certificate;
mod tls_hello;
mod tls_offer;
mod tls_secret;
mod transaction;
mod users;

pub use constant::{borrowed, variable_value};
pub(super) use content::is_open_ended;
pub use proxy_fields::number as proxy_field_number;
pub(super) use tls_hello::hello_is_whole;

use super::argument::{ArgumentKind, Arguments, MessageSide};
use super::matching::Method;
use super::numbered::{count, number_of, numbered};
use super::usage::Needs;
use super::value::{Sample, SampleValue, Type};
use crate::compiled::expression::FetchId;
use crate::known;
use crate::rules::draft::ConfigDraft;
use crate::transaction::ProxyStream;
use http::http1::{Limits, ParseStatus, Preface, http2_preface, parse_request};
use http::message::HttpMessage;
use language::Span;
use language::arguments::Built;
use language::keyword::{Documented, Family, Keyword, Table};
use std::sync::OnceLock;

/// Function that finds the single value of a fetch.
pub type One = for<'a> fn(&'a Arguments, &'a ProxyStream) -> Sample<'a>;
/// Function that passes all values of a fetch to the visitor, until it takes one.
pub type Each =
    for<'a> fn(&'a Arguments, &'a ProxyStream, &mut dyn FnMut(SampleValue<'a>) -> bool) -> bool;

/// Checks arguments when a file is loaded, and converts them to the form that the keyword uses.
pub type Prepare = fn(&mut ConfigDraft, &mut Arguments, Span) -> Built;

/// Properties of a fetch, besides its documentation.
#[derive(Debug)]
pub struct FetchBuild {
    pub output: Type,
    pub needs: Needs,
    pub http: bool,
    pub arguments: &'static [ArgumentKind],
    pub required: usize,
    /// True if names with a matching method (`path_beg`) exist.
    pub variants: bool,
    /// True if tests write the numbers as version numbers (`3.1`).
    pub versions: bool,
    /// True if the value is unknown until the inspection ends, although the fetch needs no data.
    pub waits: bool,
    /// True if the fetch reads a TLS hello, whose value is final once the hello is complete.
    pub of_hello: bool,
    /// True if a value, once found, does not change with later bytes.
    pub settles: bool,
    pub prepare: Option<Prepare>,
    pub one: One,
    /// Finds all values, for fetches of which tests compare several.
    pub each: Option<Each>,
}

pub type FetchRow = Keyword<FetchBuild>;

pub const PLACE: &[&str] = &["fetch"];

impl FetchBuild {
    /// Creates a fetch without arguments that reads no HTTP message.
    pub const fn new(output: Type, needs: Needs, one: One) -> Self {
        FetchBuild {
            output,
            needs,
            http: false,
            arguments: &[],
            required: 0,
            variants: false,
            versions: false,
            waits: false,
            of_hello: false,
            settles: false,
            prepare: None,
            one,
            each: None,
        }
    }

    pub const fn settles(mut self) -> Self {
        self.settles = true;
        self
    }

    pub const fn http(mut self) -> Self {
        self.http = true;
        self
    }

    /// Sets the kinds of the arguments, and the number of required ones.
    pub const fn takes(mut self, arguments: &'static [ArgumentKind], required: usize) -> Self {
        self.arguments = arguments;
        self.required = required;
        self
    }

    pub const fn variants(mut self) -> Self {
        self.variants = true;
        self
    }

    pub const fn versions(mut self) -> Self {
        self.versions = true;
        self
    }

    pub const fn each(mut self, each: Each) -> Self {
        self.each = Some(each);
        self
    }

    pub const fn prepare(mut self, prepare: Prepare) -> Self {
        self.prepare = Some(prepare);
        self
    }

    pub const fn of_hello(mut self) -> Self {
        self.of_hello = true;
        self
    }

    pub const fn waits(mut self) -> Self {
        self.waits = true;
        self
    }
}

fn int<'a>(number: impl Into<i64>) -> Sample<'a> {
    Some(SampleValue::Int(number.into()))
}

fn boolean<'a>(value: bool) -> Sample<'a> {
    Some(SampleValue::Bool(value))
}

fn string(text: &str) -> Sample<'_> {
    Some(SampleValue::text(text.as_bytes()))
}

const fn number(needs: Needs, one: One) -> FetchBuild {
    FetchBuild::new(Type::Int, needs, one)
}

const FAMILIES: &[Family<FetchBuild>] = &[
    ("ACL fetch", acls::ROWS),
    ("Capture fetches", capture::ROWS),
    ("Client connection fetches", connection::ROWS),
    ("Constants and variables", constant::ROWS),
    ("Payload fetches", content::ROWS),
    ("Cookie fetches", cookie::ROWS),
    ("distcc fetches", distcc::ROWS),
    ("Connection and stream fetches", ends::ROWS),
    ("Header fetches", header::ROWS),
    ("Compression and cache fetches", offload::ROWS),
    ("Timeout and priority fetches", limits::ROWS),
    ("Process fetches", process::ROWS),
    ("Proxy and backend fetches", proxy::ROWS),
    ("PROXY protocol fetches", proxy_fields::ROWS),
    ("RDP fetches", rdp::ROWS),
    ("Request line and URL fetches", request::ROWS),
    ("Server connection fetches", server::ROWS),
    ("Stick table fetches", table::BY_COUNTER),
    ("Stick table fetches", table::BY_FIRST),
    ("Stick table fetches", table::BY_SECOND),
    ("Stick table fetches", table::BY_THIRD),
    ("Stick table fetches", table::BY_SOURCE),
    ("Stick table fetches", table::OF_ELEMENT),
    ("Stick table fetches", table::OF_TABLE),
    ("Stick table fetches", table::OF_TRACKING),
    ("TLS fetches", tls::ROWS),
    ("Certificate fetches", tls_certificate::ROWS),
    ("Certificate fetches", tls_certificate::CLIENT),
    ("Certificate fetches", tls_certificate::FRONTEND),
    ("Certificate fetches", tls_certificate::SERVER),
    ("TLS passthrough fetches (SNI)", tls_hello::ROWS),
    ("TLS client hello fetches", tls_offer::ROWS),
    ("TLS secret fetches", tls_secret::ROWS),
    ("Transaction and timing fetches", transaction::ROWS),
    ("Authentication fetches", users::ROWS),
];

const COUNT: usize = count(FAMILIES);
static NUMBERED: [&FetchRow; COUNT] = numbered(FAMILIES);

#[inline]
pub(super) fn row(id: FetchId) -> &'static FetchRow {
    NUMBERED[usize::from(id.0)]
}

pub(super) fn id(row: &'static FetchRow) -> FetchId {
    FetchId(number_of(table(), row))
}

pub fn table() -> &'static Table<FetchBuild> {
    static TABLE: OnceLock<Table<FetchBuild>> = OnceLock::new();
    TABLE.get_or_init(|| Table::new("fetch", FAMILIES, known::all))
}

/// Title of the manual page for names with a matching method.
const WITH_METHOD: &str = "Fetches with a matching method";

/// Suffixes of names that select a matching method.
const VARIANTS: [(&str, Method); 7] = [
    ("_beg", Method::Beg),
    ("_dir", Method::Dir),
    ("_dom", Method::Dom),
    ("_end", Method::End),
    ("_len", Method::Len),
    ("_reg", Method::Reg),
    ("_sub", Method::Sub),
];

/// Splits `path_beg` into `path` and the matching method of its suffix.
pub fn variant(name: &str) -> Option<(&str, Method)> {
    VARIANTS
        .iter()
        .find_map(|(suffix, method)| Some((name.strip_suffix(suffix)?, *method)))
}

/// Returns the documentation of all fetches, including their names with a matching method.
pub fn documented() -> Vec<Documented> {
    static VARIANT_DOCS: OnceLock<Vec<Documented>> = OnceLock::new();
    let variants = VARIANT_DOCS.get_or_init(|| {
        let rows = FAMILIES
            .iter()
            .flat_map(|(_, rows)| rows.iter())
            .filter(|row| row.build.variants);
        rows.flat_map(|row| {
            VARIANTS
                .iter()
                .map(move |(suffix, method)| variant_doc(row, suffix, *method))
        })
        .collect()
    });
    let is_variant = |name: &str| variants.iter().any(|variant| variant.name == name);
    let mut all: Vec<Documented> = table()
        .documented()
        .into_iter()
        .filter(|row| row.built || !is_variant(row.name))
        .collect();
    all.extend(variants);
    all.sort_by_key(|row| row.name);
    all
}

/// Returns the documentation of a name with a matching method. It is built once per process, so its
/// texts can live forever.
fn variant_doc(row: &FetchRow, suffix: &str, method: Method) -> Documented {
    let stay = |text: String| -> &'static str { Box::leak(text.into_boxed_str()) };
    let called = |text: &str| text.replacen(row.name(), &format!("{}{suffix}", row.name()), 1);
    let what = match method {
        Method::Beg => "the value begins with one of the patterns",
        Method::Dir => "a part of the value between slashes equals one of the patterns",
        Method::Dom => "a part of the value between dots or slashes equals one of the patterns",
        Method::End => "the value ends with one of the patterns",
        Method::Len => "the length of the value matches one of the patterns",
        Method::Reg => "the value matches one of the regular expressions",
        _ => "the value contains one of the patterns",
    };
    let name = stay(format!("{}{suffix}", row.name()));
    // Reuses the arguments in the example of the fetch itself.
    let arguments = row
        .example
        .split_once(&format!("{}(", row.name()))
        .and_then(|(_, rest)| rest.split_once(')'));
    let arguments = arguments
        .map(|(list, _)| format!("({list})"))
        .unwrap_or_default();
    let pattern = if method == Method::Len {
        "gt 100"
    } else {
        "example"
    };
    Documented {
        kind: "fetch",
        name,
        family: WITH_METHOD,
        places: &["acl"],
        syntax: stay(called(row.syntax)),
        doc: stay(format!(
            "In ACLs only, the same as `{} -m {}`: {}.",
            row.syntax,
            &suffix[1..],
            what
        )),
        example: stay(format!("acl example {name}{arguments} {pattern}")),
        built: true,
    }
}

pub fn side_of(arguments: &Arguments, stream: &ProxyStream) -> MessageSide {
    match arguments.side {
        MessageSide::Either
            if stream.response.start().is_some() || !stream.payloads.response.is_empty() =>
        {
            MessageSide::Response
        }
        MessageSide::Either => MessageSide::Request,
        side => side,
    }
}

/// Classification of the first bytes of a stream that is not HTTP.
enum Sniffed<'a> {
    Request(&'a HttpMessage),
    Beginning,
    Other,
}

/// Looks for an HTTP request in a stream that is not HTTP: as in HAProxy, content rules in `mode
/// tcp` may read a path.
fn sniff(stream: &ProxyStream) -> Sniffed<'_> {
    if let Some(found) = stream.payloads.sniffed.get() {
        return Sniffed::Request(found);
    }
    let mut message = HttpMessage::new();
    match parse_request(&stream.payloads.request, &Limits::default(), &mut message) {
        Ok(ParseStatus::Done(_)) => {
            Sniffed::Request(stream.payloads.sniffed.get_or_init(|| Box::new(message)))
        }
        Ok(ParseStatus::Incomplete) => Sniffed::Beginning,
        Err(_) => Sniffed::Other,
    }
}

/// Returns the head of the request, once it has arrived.
fn request(stream: &ProxyStream) -> Option<&HttpMessage> {
    if stream.request.start().is_some() {
        return Some(&stream.request);
    }
    if stream.http {
        return None;
    }
    match sniff(stream) {
        Sniffed::Request(found) => Some(found),
        Sniffed::Beginning | Sniffed::Other => None,
    }
}

/// Returns whether the head of the request may still arrive.
pub fn request_awaited(stream: &ProxyStream) -> bool {
    let begins = || {
        matches!(sniff(stream), Sniffed::Beginning)
            || http2_preface(&stream.payloads.request) == Preface::Partial
    };
    stream.request.start().is_none() && (stream.http || begins())
}

/// Returns the head of the message that a fetch reads, once it has arrived.
fn head<'a>(arguments: &Arguments, stream: &'a ProxyStream) -> Option<&'a HttpMessage> {
    match side_of(arguments, stream) {
        MessageSide::Response => stream
            .response
            .start()
            .is_some()
            .then_some(&stream.response),
        _ => request(stream),
    }
}

fn payload<'a>(arguments: &Arguments, stream: &'a ProxyStream) -> &'a [u8] {
    match side_of(arguments, stream) {
        MessageSide::Response => &stream.payloads.response,
        _ => &stream.payloads.request,
    }
}
