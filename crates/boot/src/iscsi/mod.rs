//! Disks by iSCSI (RFC 7143), as a target: one connection a session, ErrorRecoveryLevel 0, no
//! authentication and no digests.
//!
//! - [`pdu`] is the header of what is sent, [`text`] the keys of a negotiation.
//! - [`login`] is a connection until its session has begun, [`session`] what follows: both take PDUs and
//!   write those of the replies, without a socket.
//! - [`command`] is what a SCSI command asks, [`pages`] what the disk says of itself, and [`transfer`] a
//!   command whose data the initiator sends.
//!
//! Who may use a target, and when a connection is closed, is decided elsewhere.

pub mod command;
pub mod login;
pub mod pages;
pub mod pdu;
pub mod session;
#[cfg(test)]
mod tests;
pub mod text;
pub mod transfer;

pub use login::{Login, Refusal};
pub use session::Session;
