//! Implements converters: functions that transform a value in an expression, with one file for each
//! family. Each is a row: name, syntax, documentation, example, input and output type, and the
//! function. Only converters of variables, captures and stick tables change anything but their
//! value.

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

use super::argument::{ArgumentKind, Arguments};
use super::fetch::Prepare;
use super::numbered::{count, number_of, numbered};
use super::value::{Sample, SampleValue, Type};
use crate::compiled::expression::ConverterId;
use crate::known;
use crate::transaction::ProxyStream;
pub use encoding::url_decoded;
use language::keyword::{Family, Keyword, Table};
use std::sync::OnceLock;

/// Function that converts a value.
pub type Apply = for<'a> fn(&'a Arguments, SampleValue<'a>, &'a ProxyStream) -> Sample<'a>;

/// Properties of a converter, besides its documentation.
#[derive(Debug)]
pub struct ConverterBuild {
    /// Type that the input is cast to.
    pub input: Type,
    /// Type of the output; Any is the same type as the input.
    pub output: Type,
    pub arguments: &'static [ArgumentKind],
    pub required: usize,
    /// True if a value, once found, does not change with later bytes.
    pub decides: bool,
    /// Checks and prepares the arguments when a file is loaded.
    pub prepare: Option<Prepare>,
    pub apply: Apply,
}

pub type ConverterRow = Keyword<ConverterBuild>;

pub const PLACE: &[&str] = &["converter"];

impl ConverterBuild {
    /// Creates a converter without arguments.
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

    /// Sets the kinds of the arguments, and the number of required ones.
    pub const fn takes(mut self, arguments: &'static [ArgumentKind], required: usize) -> Self {
        self.arguments = arguments;
        self.required = required;
        self
    }

    pub const fn decides(mut self) -> Self {
        self.decides = true;
        self
    }

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

#[inline]
pub(super) fn row(id: ConverterId) -> &'static ConverterRow {
    NUMBERED[usize::from(id.0)]
}

pub(super) fn id(row: &'static ConverterRow) -> ConverterId {
    ConverterId(number_of(table(), row))
}

pub fn table() -> &'static Table<ConverterBuild> {
    static TABLE: OnceLock<Table<ConverterBuild>> = OnceLock::new();
    TABLE.get_or_init(|| Table::new("converter", FAMILIES, known::all))
}
