//! Replication link between the two replicas of a volume.
//!
//! - [`frame`] is the wire format: headers with checksums, and payloads after them.
//! - [`greeting`] is the first message of both sides: node names, volume and replica.
//! - [`dial`] makes connections: one node listens for all its volumes, the other one dials.
//! - [`Session`] sends and receives without blocking, in a volume's event loop.
//!
//! The link transports messages and does not act on them. All received bytes are checked: a frame
//! with a wrong checksum ends the session, and the replicas reconnect.

pub mod dial;
pub mod frame;
pub mod greeting;
mod session;

pub use session::{Incoming, LinkError, Session};

/// Default TCP port for replication.
pub const PORT: u16 = 7444;
