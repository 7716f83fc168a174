//! TFTP server, from which firmware fetches files: RFC 1350 with options (RFC 2347), block size
//! (RFC 2348), timeout and length (RFC 2349) and windows (RFC 7440). The server is read-only, and
//! serves only the files of its [`ContentSource`](crate::content::ContentSource).
//!
//! - [`packet`] parses and encodes packets, [`transfer`] is one transfer without I/O.
//! - [`server`] is the thread with the sockets.
//!
//! The source address of a request may be forged. So before the first ACK the server sends a
//! single packet, and that packet at most three times; the largest is a block of 512 bytes. It
//! sends later packets at most six times, within 31 s. A transfer lasts an hour at most.

pub mod packet;
pub mod server;
mod socket;
#[cfg(test)]
mod tests;
pub mod transfer;

pub use server::{OF_ONE_MAX, Server, TRANSFERS_MAX, TftpListener};
