//! Defines the compiled form of the action `early-hint`; `crate::rules` builds and runs it.

use crate::compiled::Format;

/// Header of a 103 (Early Hints) response.
#[derive(Clone, Debug)]
pub struct Hint {
    pub(crate) name: Box<[u8]>,
    pub(crate) format: Format,
    /// Index in this list of the rule that begins the 103 response. Consecutive rules without a
    /// condition of their own add to the response of the rule before them.
    pub(crate) begins: usize,
}
