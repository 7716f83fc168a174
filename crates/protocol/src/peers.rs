//! Implements HAProxy's peers protocol, version 2.1, by which processes share stick tables: one
//! side describes its tables, then updates of their entries go both ways over one connection.
//!
//! [`Session`] is one connection without IO: bytes and the time go in, events, bytes and a
//! deadline come out. It knows the definitions of tables, but no entries: its owner interprets
//! updates, and decides which ones to send. Everything that a peer sends is bounded: messages,
//! tables, and the texts that it may refer to.

mod dictionary;
mod integer;
mod message;
mod session;
#[cfg(test)]
mod tests;
mod value;

pub use integer::{read as read_integer, write as write_integer};
pub use message::{MESSAGE_BYTES_MAX, PeersControlMessage, PeersError, PeersMessage};
pub use session::{Event, Hello, PeersRole, PeersSessionState, PeersStatus, Session, Update};
pub use value::{KeyType, PeersDataEncoding, PeersElement, PeersValue, Stored, TableDescription};

/// Milliseconds of a monotonic clock of the owner.
pub type Milliseconds = u64;
