//! Bidirectional forwarding detection as a value: RFC 5880 in asynchronous mode
//! without authentication and echo, over one hop (RFC 5881). A [`Session`] takes
//! packets and the time; it gives packets, changes of state and one deadline.
//!
//! What always holds:
//! - a session that is not up sends no more than a packet a second unasked, one that
//!   is up no more than its `min_tx` and its peer's `min_rx` allow;
//! - what is answered at once (a poll, a change of state) is one packet for one that
//!   came, so no two sessions can flood each other;
//! - nothing waits to be taken without a bound.

mod packet;
mod session;

pub use packet::{Diagnostic, PACKET_BYTES, Packet, Refusal, State};
pub use session::{Event, Session, Settings};

/// The port that sessions listen on.
pub const PORT: u16 = 3784;
/// The ports that they send from (RFC 5881, 4), one for each session.
pub const SOURCE_PORTS: std::ops::RangeInclusive<u16> = 49152..=65535;

#[cfg(test)]
mod tests;
