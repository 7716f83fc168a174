//! Balancing: which server takes a stream. Values only.

/// What a backend's algorithm remembers.
#[derive(Debug, Default)]
pub struct State {}
