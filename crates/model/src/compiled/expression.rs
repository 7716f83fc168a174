//! Expressions: a fetch, then converters. Both are numbers of rows that `crate::rules` has,
//! because their functions look at streams, which hold a configuration.

use crate::compiled::Arguments;
use crate::sample::Type;
use language::Span;

/// A fetch: the number of its row.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct FetchId(pub(crate) u16);

/// A converter: the number of its row.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct ConverterId(pub(crate) u16);

/// A compiled expression.
#[derive(Clone, Debug)]
pub struct Expression {
    pub(crate) fetch: FetchId,
    pub(crate) arguments: Arguments,
    pub(crate) converters: Box<[Step]>,
    pub(crate) output: Type,
    /// Where it stands in the file.
    pub span: Span,
}

#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) converter: ConverterId,
    pub(crate) arguments: Arguments,
}

/// Converters without a fetch, as `field(2),lower`: they make another value of one that
/// is given to them.
#[derive(Clone, Debug, Default)]
pub struct Converters(pub(crate) Box<[Step]>);
