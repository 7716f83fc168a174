//! Defines the compiled form of a format (`log-format` and similar ones): text in which values of
//! a stream are inserted.

mod alias;

pub(crate) use alias::ROWS;
pub use alias::{Alias, alias_doc};

use crate::compiled::Expression;

/// Treatment of text and of missing values in a format.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Dialect {
    /// Log lines: consecutive spaces count as one separator, and a missing value is a dash.
    Log,
    /// Everything else: text is literal, a missing value is empty, and control characters in values
    /// of expressions are percent-encoded (`%0A`).
    Text,
}

/// Flags in braces after the percent sign.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Flags {
    /// Flag `Q`: puts the value in quotes.
    pub(crate) quoted: bool,
    /// Flag `X`: writes numbers in hexadecimal.
    pub(crate) hex: bool,
    /// Flag `E`: escapes quotes, backslashes and closing brackets with a backslash.
    pub(crate) escaped: bool,
    /// Flag `json`: encodes the value as JSON.
    pub(crate) json: bool,
}

#[derive(Clone, Debug)]
pub(crate) enum FormatItem {
    Text(Box<[u8]>),
    /// Space, unless the output already ends with one.
    Space,
    Alias(Alias, Flags),
    Expression(Expression, Flags),
    /// Expression as JSON (`%{+json}[src]`), or an item of a line that is a JSON object.
    Json(Box<JsonMember>),
}

#[derive(Clone, Debug)]
pub struct Format {
    pub(crate) pieces: Box<[FormatItem]>,
    pub(crate) dialect: Dialect,
}

/// Type that `%(name:type)` casts a value to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Cast {
    Str,
    Int,
    Bool,
}

/// Item of a JSON object, and the type that it is written as.
#[derive(Clone, Debug)]
pub(crate) struct JsonMember {
    pub(crate) item: FormatItem,
    pub(crate) cast: Option<Cast>,
}
