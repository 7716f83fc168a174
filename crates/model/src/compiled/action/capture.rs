//! Defines the compiled form of the action that captures values for logs; `crate::rules` builds
//! and runs it.

use crate::compiled::Expression;

/// Value to capture, and the slot that stores it.
#[derive(Clone, Debug)]
pub struct CaptureValue {
    pub(crate) expression: Expression,
    pub(crate) response: bool,
    pub(crate) slot: CaptureSlot,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum CaptureSlot {
    /// Slot of a known frontend, by index.
    Own(usize),
    /// Slot by number in the frontend that accepted the stream, which is not known when the file
    /// is loaded.
    Numbered(usize),
}
