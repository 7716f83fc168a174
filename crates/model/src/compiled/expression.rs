//! Defines the compiled form of an expression: a sample fetch, then converters. Both are stored
//! as row numbers of the tables in `crate::rules`, because the functions in the rows take
//! streams, and streams refer to a configuration.

use crate::compiled::Arguments;
use crate::sample::Type;
use language::Span;

/// Row number of a fetch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct FetchId(pub(crate) u16);

/// Row number of a converter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct ConverterId(pub(crate) u16);

/// Compiled expression: a fetch and its converters.
#[derive(Clone, Debug)]
pub struct Expression {
    pub(crate) fetch: FetchId,
    pub(crate) arguments: Arguments,
    pub(crate) converters: Box<[ConverterCall]>,
    pub(crate) output: Type,
    pub span: Span,
}

#[derive(Clone, Debug)]
pub(crate) struct ConverterCall {
    pub(crate) converter: ConverterId,
    pub(crate) arguments: Arguments,
}

/// Converters without a fetch, as in `field(2),lower`; their input is passed to them.
#[derive(Clone, Debug, Default)]
pub struct Converters(pub(crate) Box<[ConverterCall]>);
