//! Waiting for a body; `crate::rules` builds and runs them.

/// How long, and for how much.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WaitForBody {
    pub(crate) time_ms: u32,
    /// All of it without one.
    pub(crate) bytes: Option<usize>,
    /// Of the answer.
    pub(crate) of_answer: bool,
}
