//! What the task of a connection and the users of its streams share.

/// A connection.
pub struct Shared;
