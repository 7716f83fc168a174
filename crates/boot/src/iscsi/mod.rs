//! iSCSI target, which serves disks to initiators (RFC 7143): one connection per session,
//! ErrorRecoveryLevel 0, no authentication and no digests.
//!
//! - [`pdu`] is the header of PDUs, [`text`] the keys of a negotiation.
//! - [`login`] is the login phase of a connection, [`session`] the full feature phase: both take
//!   PDUs and write those of the responses, without a socket.
//! - [`command`] parses SCSI commands, [`pages`] describes the disk, and [`transfer`] is a
//!   command whose data the initiator sends.
//!
//! Access to targets and the closing of connections are decided by the caller.

pub mod command;
pub mod login;
pub mod pages;
pub mod pdu;
pub mod session;
#[cfg(test)]
mod tests;
pub mod text;
pub mod transfer;

pub use login::{Login, LoginRejectStatus};
pub use session::Session;
