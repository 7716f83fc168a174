//! Serves disks to initiators as an iSCSI target (RFC 7143): one connection per session,
//! ErrorRecoveryLevel 0, no authentication and no digests. The submodules handle PDUs and use no
//! socket.
//!
//! - [`pdu`] is the header of PDUs, [`text`] the keys of a negotiation.
//! - [`login`] is the login phase of a connection, [`session`] the full feature phase: both take
//!   PDUs and write those of the responses, without a socket.
//! - [`command`] parses SCSI commands, [`pages`] describes the disk, and [`transfer`] is a
//!   command whose data the initiator sends.
//!
//! The caller decides which initiator may use which target, and when a connection is closed.

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
