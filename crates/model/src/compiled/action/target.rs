//! Defines the compiled form of actions that change the start line of a message; `crate::rules`
//! builds and runs them.

use crate::compiled::Format;
use crate::sample::regular::Regular;

/// Change of a start line.
#[derive(Clone, Debug)]
pub struct TargetChange(pub(crate) TargetOperation);

#[derive(Clone, Debug)]
pub(crate) enum TargetOperation {
    Set(TargetPart, Format),
    Replace(TargetPart, Regular, Format),
    Method(Format),
    Status(u16, Option<Box<[u8]>>),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum TargetPart {
    Path,
    PathAndQuery,
    Query,
    Whole,
}
