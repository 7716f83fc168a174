//! Connects the two replicas of a volume over TCP: `dial` establishes connections, `greeting`
//! identifies the volume and both nodes, and `session` transfers the frames that `frame` encodes.

pub mod dial;
pub mod frame;
pub mod greeting;
mod session;

pub use session::{Incoming, LinkError, Session};

/// Default TCP port for replication.
pub const PORT: u16 = 7444;
