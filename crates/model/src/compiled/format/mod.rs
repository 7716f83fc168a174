//! Formats: text with what is known of a stream filled in.

mod alias;

pub(crate) use alias::ROWS;
pub use alias::{Alias, alias_doc};

use crate::compiled::Expression;

/// How text and missing values are treated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Dialect {
    /// Log lines: spaces are separators of which several count as one, a
    /// missing value is a dash.
    Log,
    /// Everything else: text is as it stands, a missing value is nothing, and
    /// control characters in the values of expressions are shown as `%0A`.
    Text,
}

/// What braces behind the percent sign ask for.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Flags {
    /// `Q`: in quotes.
    pub(crate) quoted: bool,
    /// `X`: hexadecimal.
    pub(crate) hex: bool,
    /// `E`: with backslashes before quotes, backslashes and closing brackets.
    pub(crate) escaped: bool,
    /// `json`: as a value of JSON.
    pub(crate) json: bool,
}

/// A part of a format.
#[derive(Clone, Debug)]
pub(crate) enum Piece {
    /// Text as it stands.
    Text(Box<[u8]>),
    /// A space, unless one stands there already.
    Space,
    /// `%ci`
    Alias(Alias, Flags),
    /// `%[src]`
    Expression(Expression, Flags),
    /// `%{+json}[src]`, or an item of a line that is a JSON object.
    Json(Box<Member>),
}

/// A compiled format.
#[derive(Clone, Debug)]
pub struct Format {
    pub(crate) pieces: Box<[Piece]>,
    pub(crate) dialect: Dialect,
}

/// The type that `%(name:type)` gives a value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Cast {
    /// `str`
    Str,
    /// `sint`
    Int,
    /// `bool`
    Bool,
}

/// An item and the type it is told with.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) item: Piece,
    pub(crate) cast: Option<Cast>,
}
