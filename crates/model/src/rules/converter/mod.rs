//! Converters: what changes a value in an expression, a file a family. Each is
//! a row: its name, syntax, documentation and example, the types that it takes
//! and gives, and its function. A converter changes nothing but its value.

mod address;
mod assign;
mod choice;
mod cipher;
mod digest;
mod encoding;
mod fix;
mod forwarded;
pub mod hash;
#[cfg(test)]
mod hostile;
mod json;
mod json_query;
mod key;
mod lookup;
mod mqtt;
mod number;
mod protobuf;
mod proxies;
mod table;
mod text;
pub mod time;
mod token;
mod when;

use super::argument::{Arguments, Kind};
use super::fetch::Prepare;
use super::numbered::{count, number_of, numbered};
use super::value::{Type, Value};
use crate::compiled::expression::ConverterId;
use crate::known;
use crate::transaction::Stream;
pub use encoding::url_decoded;
use language::keyword::{Family, Keyword, Table};
use std::sync::OnceLock;

/// Changes a value.
pub type Apply = for<'a> fn(&'a Arguments, Value<'a>, &'a Stream) -> Option<Value<'a>>;

/// What a converter is, besides its documentation.
#[derive(Debug)]
pub struct ConverterBuild {
    /// The type that its input is cast to.
    pub input: Type,
    /// The type that it gives; Any is the same as its input.
    pub output: Type,
    /// The arguments that it takes.
    pub arguments: &'static [Kind],
    /// How many of them it must have.
    pub required: usize,
    /// Once it gives a value, bytes that follow change nothing of that.
    pub decides: bool,
    /// Checks its arguments.
    pub prepare: Option<Prepare>,
    /// Changes a value.
    pub apply: Apply,
}

/// The row of a converter.
pub type ConverterRow = Keyword<ConverterBuild>;

/// Where converters stand.
pub const PLACE: &[&str] = &["converter"];

impl ConverterBuild {
    /// A converter without arguments.
    pub const fn new(input: Type, output: Type, apply: Apply) -> Self {
        ConverterBuild {
            input,
            output,
            arguments: &[],
            required: 0,
            decides: false,
            prepare: None,
            apply,
        }
    }

    /// It takes these arguments, the first so many of which it must have.
    pub const fn takes(mut self, arguments: &'static [Kind], required: usize) -> Self {
        self.arguments = arguments;
        self.required = required;
        self
    }

    /// Its value is final, however many bytes follow.
    pub const fn decides(mut self) -> Self {
        self.decides = true;
        self
    }

    /// Its arguments are checked by this.
    pub const fn prepare(mut self, prepare: Prepare) -> Self {
        self.prepare = Some(prepare);
        self
    }
}

macro_rules! rows {
    ($($syntax:expr, $build:expr, $example:literal, $doc:literal;)*) => {
        &[$(crate::rules::converter::ConverterRow {
            places: crate::rules::converter::PLACE,
            syntax: $syntax,
            doc: $doc,
            example: $example,
            build: $build,
        }),*]
    };
}
use rows;

const FAMILIES: &[Family<ConverterBuild>] = &[
    ("Address converters", address::ROWS),
    ("Variable converters", assign::ROWS),
    ("Selection and comparison converters", choice::ROWS),
    ("Encryption converters", cipher::ROWS),
    ("Digest converters (SHA, HMAC)", digest::ROWS),
    ("Encoding converters", encoding::ROWS),
    ("Protocol converters (FIX, MQTT, Protobuf)", fix::ROWS),
    ("Forwarded header converters (RFC 7239)", forwarded::ROWS),
    ("Hash converters", hash::ROWS),
    ("JSON converters", json::ROWS),
    ("JSON converters", json_query::ROWS),
    ("Map converters", lookup::ROWS),
    ("Protocol converters (FIX, MQTT, Protobuf)", mqtt::ROWS),
    ("Arithmetic converters", number::ROWS),
    ("Protocol converters (FIX, MQTT, Protobuf)", protobuf::ROWS),
    ("Proxy converters", proxies::ROWS),
    ("Stick table converters", table::ROWS),
    ("Stick table converters", table::VALUES),
    ("String converters", text::ROWS),
    ("Date and time converters", time::ROWS),
    ("JSON Web Token converters", token::ROWS),
    ("Conditional converters", when::ROWS),
];

const COUNT: usize = count(FAMILIES);
static NUMBERED: [&ConverterRow; COUNT] = numbered(FAMILIES);

/// The row of a number.
#[inline]
pub(super) fn row(id: ConverterId) -> &'static ConverterRow {
    NUMBERED[usize::from(id.0)]
}

/// The number of a row of this file's families.
pub(super) fn id(row: &'static ConverterRow) -> ConverterId {
    ConverterId(number_of(table(), row))
}

/// All converters by name.
pub fn table() -> &'static Table<ConverterBuild> {
    static TABLE: OnceLock<Table<ConverterBuild>> = OnceLock::new();
    TABLE.get_or_init(|| Table::new("converter", FAMILIES, known::all))
}
