//! Connects the two replicas of a volume.

pub mod dial;
pub mod frame;
pub mod greeting;
mod session;

pub use session::{Incoming, LinkError, Session};

/// Default TCP port for replication.
pub const PORT: u16 = 7444;
