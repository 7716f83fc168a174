//! Implements bidirectional forwarding detection without IO: RFC 5880 in asynchronous mode
//! without authentication and echo, over one hop (RFC 5881). The input of a [`Session`] is
//! packets and the time; its output is packets, changes of state and one deadline.
//!
//! Invariants:
//!
//! - the jitter of RFC 5880, 6.8.7 applies to unprompted packets: an interval is at least 75 % of
//!   one second while the session is not up, and of the longer of its `min_tx` and its peer's
//!   `min_rx` while it is up;
//! - a poll causes one immediate packet, and so does each change of state, so no two sessions can
//!   flood each other;
//! - every queue has a bound.

mod packet;
mod session;

pub use packet::{BfdPacketError, BfdState, Diagnostic, PACKET_BYTES, Packet};
pub use session::{Event, Session, Settings};

/// UDP port on which sessions receive.
pub const PORT: u16 = 3784;
/// UDP ports from which sessions send (RFC 5881, 4), one for each session.
pub const SOURCE_PORTS: std::ops::RangeInclusive<u16> = 49152..=65535;

#[cfg(test)]
mod tests;
