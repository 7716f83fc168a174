//! Defines the compiled form of the action that waits for a message body; `crate::rules` builds
//! and runs it.

/// Action `wait-for-body`: the longest wait and the number of bytes to wait for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WaitForBody {
    pub(crate) time_ms: u32,
    /// Number of bytes to wait for; None is the whole body.
    pub(crate) bytes: Option<usize>,
    pub(crate) of_answer: bool,
}
