//! The protocol by which HAProxy's peers share stick tables, version 2.1: tables
//! are described, then their entries' updates go both ways over one connection.
//!
//! [`Session`] is one connection as a value: bytes and the time go in, events,
//! bytes and a deadline come out. It knows the tables by their descriptions and
//! no entry: what an update means, and which updates there are to send, is its
//! owner's matter. What a peer sends is bounded: a message, its tables, the texts
//! that it may refer to.

mod dictionary;
mod integer;
mod message;
mod session;
#[cfg(test)]
mod tests;
mod value;

pub use integer::{read as read_integer, write as write_integer};
pub use message::{Control, Fault, MESSAGE_BYTES_MAX, Message};
pub use session::{Event, Hello, Role, Session, State, Status, Update};
pub use value::{Field, KeyType, Kind, Stored, TableDescription, Value};

/// Milliseconds by a clock of the owner's that never goes back.
pub type Milliseconds = u64;
