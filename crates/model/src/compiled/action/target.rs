//! Changes of the start line; `crate::rules` builds and runs them.

use crate::compiled::Format;
use crate::sample::regular::Regular;

/// One change of a start line.
#[derive(Clone, Debug)]
pub struct TargetChange(pub(crate) Change);

#[derive(Clone, Debug)]
pub(crate) enum Change {
    Set(Part, Format),
    Replace(Part, Regular, Format),
    Method(Format),
    Status(u16, Option<Box<[u8]>>),
}

/// Which part of a target.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Part {
    Path,
    PathAndQuery,
    Query,
    Whole,
}
