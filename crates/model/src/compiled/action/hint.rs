//! Early hints; `crate::rules` builds and runs them.

use crate::compiled::Format;

/// One header of an early answer.
#[derive(Clone, Debug)]
pub struct Hint {
    pub(crate) name: Box<[u8]>,
    pub(crate) format: Format,
    /// The rule of this list that its early answer begins with: one that stands right
    /// behind another one, without a condition of its own, belongs to that one's.
    pub(crate) begins: usize,
}
