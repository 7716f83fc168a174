//! Sample fetches: what rules can look at, a file a family. Each is a row: its
//! name, syntax, documentation and example, what it needs and gives, and the
//! function that finds its value. A fetch reads the stream and changes nothing.

/// The rows of a family; a fetch without arguments has its name for a syntax.
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

use super::argument::{Arguments, Kind, Side};
use super::matching::Method;
use super::numbered::{count, number_of, numbered};
use super::usage::Needs;
use super::value::{Type, Value};
use crate::compiled::expression::FetchId;
use crate::known;
use crate::rules::draft::Draft;
use crate::transaction::Stream;
use http::http1::{Limits, ParseStatus, Preface, http2_preface, parse_request};
use http::message::Message;
use language::keyword::{Documented, Family, Keyword, Table};
use language::{Diagnostic, Span};
use std::sync::OnceLock;

/// Finds the one value that an expression has.
pub type One = for<'a> fn(&'a Arguments, &'a Stream) -> Option<Value<'a>>;
/// Shows all values that a test compares until one is taken.
pub type Each = for<'a> fn(&'a Arguments, &'a Stream, &mut dyn FnMut(Value<'a>) -> bool) -> bool;

/// Checks arguments when a file is loaded, and changes them into what the
/// keyword works with.
pub type Prepare = fn(&mut Draft, &mut Arguments, Span) -> Result<(), Diagnostic>;

/// What a fetch is, besides its documentation.
#[derive(Debug)]
pub struct FetchBuild {
    /// The type of its value.
    pub output: Type,
    /// What it looks at.
    pub needs: Needs,
    /// It looks at HTTP messages.
    pub http: bool,
    /// The arguments that it takes.
    pub arguments: &'static [Kind],
    /// How many of them it must have.
    pub required: usize,
    /// Its names with a matching method (`path_beg`) exist.
    pub variants: bool,
    /// Tests write its numbers as versions (`3.1`).
    pub versions: bool,
    /// Its value is not known before the inspection ends, though it needs nothing.
    pub waits: bool,
    /// It looks at a hello of TLS: once that is whole its value stays.
    pub of_hello: bool,
    /// What it has found once stays, whatever bytes come behind.
    pub settles: bool,
    /// Checks its arguments.
    pub prepare: Option<Prepare>,
    /// Finds its value.
    pub one: One,
    /// Finds all its values, where tests look at several.
    pub each: Option<Each>,
}

/// The row of a fetch.
pub type FetchRow = Keyword<FetchBuild>;

/// Where fetches stand.
pub const PLACE: &[&str] = &["fetch"];

impl FetchBuild {
    /// A fetch without arguments which looks at no HTTP message.
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

    /// What it has found stays.
    pub const fn settles(mut self) -> Self {
        self.settles = true;
        self
    }

    /// It looks at HTTP messages.
    pub const fn http(mut self) -> Self {
        self.http = true;
        self
    }

    /// It takes these arguments, the first so many of which it must have.
    pub const fn takes(mut self, arguments: &'static [Kind], required: usize) -> Self {
        self.arguments = arguments;
        self.required = required;
        self
    }

    /// Its names with a matching method exist.
    pub const fn variants(mut self) -> Self {
        self.variants = true;
        self
    }

    /// See [`FetchBuild::versions`].
    pub const fn versions(mut self) -> Self {
        self.versions = true;
        self
    }

    /// Tests look at all of these values.
    pub const fn each(mut self, each: Each) -> Self {
        self.each = Some(each);
        self
    }

    /// Its arguments are checked by this.
    pub const fn prepare(mut self, prepare: Prepare) -> Self {
        self.prepare = Some(prepare);
        self
    }

    /// See [`FetchBuild::of_hello`].
    pub const fn of_hello(mut self) -> Self {
        self.of_hello = true;
        self
    }

    /// See [`FetchBuild::waits`].
    pub const fn waits(mut self) -> Self {
        self.waits = true;
        self
    }
}

/// A number, found without arguments.
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

/// The row of a number.
#[inline]
pub(super) fn row(id: FetchId) -> &'static FetchRow {
    NUMBERED[usize::from(id.0)]
}

/// The number of a row of this file's families.
pub(super) fn id(row: &'static FetchRow) -> FetchId {
    FetchId(number_of(table(), row))
}

/// All fetches by name.
pub fn table() -> &'static Table<FetchBuild> {
    static TABLE: OnceLock<Table<FetchBuild>> = OnceLock::new();
    TABLE.get_or_init(|| Table::new("fetch", FAMILIES, known::all))
}

/// The page of the names with a matching method.
const WITH_METHOD: &str = "Fetches with a matching method";

/// Suffixes of names that say a matching method.
const VARIANTS: [(&str, Method); 7] = [
    ("_beg", Method::Beg),
    ("_dir", Method::Dir),
    ("_dom", Method::Dom),
    ("_end", Method::End),
    ("_len", Method::Len),
    ("_reg", Method::Reg),
    ("_sub", Method::Sub),
];

/// `path_beg` as `path` and the method of its suffix.
pub fn variant(name: &str) -> Option<(&str, Method)> {
    VARIANTS
        .iter()
        .find_map(|(suffix, method)| Some((name.strip_suffix(suffix)?, *method)))
}

/// All fetches, their names with a matching method among them.
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

/// The documentation of a name with a matching method. It is made once a
/// process, so its texts stay.
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
    // The arguments that the fetch's own example gives.
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

/// The side whose message is looked at.
pub fn side_of(arguments: &Arguments, stream: &Stream) -> Side {
    match arguments.side {
        Side::Either
            if stream.response.start().is_some() || !stream.payloads.response.is_empty() =>
        {
            Side::Response
        }
        Side::Either => Side::Request,
        side => side,
    }
}

/// What the bytes of a stream that is not HTTP are.
enum Sniffed<'a> {
    /// A whole head of a request.
    Request(&'a Message),
    /// It may become one.
    Beginning,
    /// Something else.
    Other,
}

/// Looks for a request in a stream that is not HTTP: content rules of a
/// `mode tcp` may ask for a path, as in HAProxy.
fn sniff(stream: &Stream) -> Sniffed<'_> {
    if let Some(found) = stream.payloads.sniffed.get() {
        return Sniffed::Request(found);
    }
    let mut message = Message::new();
    match parse_request(&stream.payloads.request, &Limits::default(), &mut message) {
        Ok(ParseStatus::Done(_)) => {
            Sniffed::Request(stream.payloads.sniffed.get_or_init(|| Box::new(message)))
        }
        Ok(ParseStatus::Incomplete) => Sniffed::Beginning,
        Err(_) => Sniffed::Other,
    }
}

/// The head of the request, once it is there.
fn request(stream: &Stream) -> Option<&Message> {
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

/// Whether the head of the request may still come.
pub fn request_awaited(stream: &Stream) -> bool {
    let begins = || {
        matches!(sniff(stream), Sniffed::Beginning)
            || http2_preface(&stream.payloads.request) == Preface::Partial
    };
    stream.request.start().is_none() && (stream.http || begins())
}

/// The head of the message that a fetch looks at, once it is there.
fn head<'a>(arguments: &Arguments, stream: &'a Stream) -> Option<&'a Message> {
    match side_of(arguments, stream) {
        Side::Response => stream
            .response
            .start()
            .is_some()
            .then_some(&stream.response),
        _ => request(stream),
    }
}

/// The first bytes of what follows the head, or of a stream without one.
fn payload<'a>(arguments: &Arguments, stream: &'a Stream) -> &'a [u8] {
    match side_of(arguments, stream) {
        Side::Response => &stream.payloads.response,
        _ => &stream.payloads.request,
    }
}
