//! Queues: streams that wait for a slot of a server.

/// A queue of a server or of a backend.
#[derive(Debug, Default)]
pub struct Queue {}
