//! Health checks.

/// What an HTTP check's answer must be.
#[derive(Clone, Debug)]
pub struct Expect {}
