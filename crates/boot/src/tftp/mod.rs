//! The TFTP server, by which firmware fetches files: RFC 1350 with options (RFC 2347), block size
//! (RFC 2348), timeout and length (RFC 2349) and windows (RFC 7440). It only reads, and knows no
//! files but those of its [`Shelf`](crate::content::Shelf).
//!
//! - [`packet`] is the packets, [`transfer`] one transfer as a value without I/O.
//! - [`server`] is the thread with the sockets.
//!
//! A request may come under another one's address. So before the first ACK the server sends a single
//! packet, and that packet at most three times; the largest is a block of 512 bytes. Later ones it
//! sends at most six times, within 31 s. A transfer lasts an hour at most.

pub mod packet;
pub mod server;
mod socket;
#[cfg(test)]
mod tests;
pub mod transfer;

pub use server::{Listener, OF_ONE_MAX, Server, TRANSFERS_MAX};
