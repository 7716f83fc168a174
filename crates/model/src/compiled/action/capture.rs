//! Captures for logs; `crate::rules` builds and runs them.

use crate::compiled::Expression;

/// One capture.
#[derive(Clone, Debug)]
pub struct CaptureValue {
    pub(crate) expression: Expression,
    pub(crate) response: bool,
    pub(crate) slot: Slot,
}

/// Which slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Slot {
    /// One of the frontend that is known.
    Own(usize),
    /// By its number, in whichever frontend the stream came through.
    Numbered(usize),
}
