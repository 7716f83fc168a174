//! The connection of the two copies of a volume.
//!
//! - [`frame`] is what is sent as bytes: heads with checksums, and payloads behind them.
//! - [`greeting`] is what both sides say first: who they are, and what they have.
//! - [`dial`] makes connections: one node listens for all its volumes, the other one dials.
//! - [`Session`] sends and receives without blocking, in the loop of a volume.
//!
//! Nothing here decides what a message leads to. All bytes of the other side are checked:
//! a frame with a wrong checksum ends the session, and the copies meet again in the next.

pub mod dial;
pub mod frame;
pub mod greeting;
mod session;

pub use session::{Incoming, LinkError, Session};

/// Where nodes listen for the copies of the other one, unless told otherwise.
pub const PORT: u16 = 7444;
