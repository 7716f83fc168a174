//! Serves files by TFTP, for firmware: RFC 1350 with options (RFC 2347), block size (RFC 2348),
//! timeout and length (RFC 2349) and windows (RFC 7440). The server accepts no writes, and has only
//! the files of its [`ContentSource`](crate::content::ContentSource).
//!
//! - [`packet`] parses and encodes packets, [`transfer`] is one transfer without I/O.
//! - [`server`] is the thread with the sockets.
//!
//! The source address of a request may be forged. So before the first ACK the server sends a single
//! packet, and that packet at most three times; the largest is a block of 512 bytes. Later, a
//! transfer ends if the client sends no ACK after five retransmissions. A transfer lasts an hour at
//! most.

pub mod packet;
pub mod server;
mod socket;
#[cfg(test)]
mod tests;
pub mod transfer;

pub use server::{OF_ONE_MAX, Server, TRANSFERS_MAX, TftpListener};
