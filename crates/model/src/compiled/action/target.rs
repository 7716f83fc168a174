//! Compiled actions that change the start line; `crate::rules` builds and runs them.

use crate::compiled::Format;
use crate::sample::regular::Regular;

/// Change of a start line.
#[derive(Clone, Debug)]
pub struct TargetChange(pub(crate) Change);

#[derive(Clone, Debug)]
pub(crate) enum Change {
    Set(Part, Format),
    Replace(Part, Regular, Format),
    Method(Format),
    Status(u16, Option<Box<[u8]>>),
}

/// Part of the target that a rule changes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Part {
    Path,
    PathAndQuery,
    Query,
    Whole,
}
