//! Changes of headers; `crate::rules` builds and runs them.

use crate::compiled::Format;
use crate::sample::regular::Regular;

/// One change of headers.
#[derive(Clone, Debug)]
pub struct HeaderChange {
    pub(crate) name: Box<[u8]>,
    pub(crate) response: bool,
    pub(crate) change: Change,
}

#[derive(Clone, Debug)]
pub(crate) enum Change {
    Set(Format),
    Add(Format),
    Remove(NameMatch),
    ReplaceLine(Regular, Format),
    ReplaceValue(Regular, Format),
}

/// Which names `del-header` means.
#[derive(Clone, Debug)]
pub(crate) enum NameMatch {
    Same,
    Begin,
    End,
    Sub,
    Regex(Regular),
}
