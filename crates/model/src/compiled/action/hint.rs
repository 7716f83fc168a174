//! Defines the compiled form of the action `early-hint`; `crate::rules` builds and runs it.

use crate::compiled::Format;

/// Header of a 103 (Early Hints) response.
#[derive(Clone, Debug)]
pub struct Hint {
    pub(crate) name: Box<[u8]>,
    pub(crate) format: Format,
    /// Index of the rule that begins the same 103 response. Consecutive `early-hint` rules without
    /// a condition of their own add headers to the response of the preceding rule.
    pub(crate) begins: usize,
}
