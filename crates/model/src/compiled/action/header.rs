//! Defines the compiled form of actions that change header fields; `crate::rules` builds and runs
//! them.

use crate::compiled::Format;
use crate::sample::regular::Regular;

#[derive(Clone, Debug)]
pub struct HeaderChange {
    pub(crate) name: Box<[u8]>,
    pub(crate) response: bool,
    pub(crate) change: HeaderOperation,
}

#[derive(Clone, Debug)]
pub(crate) enum HeaderOperation {
    Set(Format),
    Add(Format),
    Remove(NameMatch),
    ReplaceLine(Regular, Format),
    ReplaceValue(Regular, Format),
}

#[derive(Clone, Debug)]
pub(crate) enum NameMatch {
    Same,
    Begin,
    End,
    Sub,
    Regex(Regular),
}
