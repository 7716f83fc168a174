//! Opens, reads and writes the sockets of the role: VRRP ([`VrrpSocket`]), frames of ARP and
//! neighbour discovery ([`PacketSocket`]), and BFD ([`BfdListener`], [`BfdSender`]). Nothing here
//! parses the contents of packets, and nothing here waits: a socket is read until it is empty, or a
//! bound is reached.

mod bfd;
mod datagram;
mod frame;
mod vrrp;

pub use bfd::{BfdListener, BfdSeen, BfdSender};
pub use frame::{FrameSeen, PacketSocket};
pub use vrrp::{Received, VrrpOptions, VrrpSender, VrrpSocket, VrrpTransport};

use std::io;

/// Maximum number of packets that one call delivers: a flood must not stop the timers.
pub const DRAINED_AT_MOST: usize = 256;

#[derive(Debug, thiserror::Error)]
pub enum WireError {
    #[error("{step}: {error}")]
    Open {
        step: &'static str,
        #[source]
        error: io::Error,
    },
    #[error("send: {0}")]
    Send(#[source] io::Error),
    /// The socket cannot be read any more, because its interface is gone.
    #[error("receive: {0}")]
    Receive(#[source] io::Error),
    #[error("an address of the other family")]
    Family,
    #[error("multicast needs an interface")]
    NoInterface,
}

#[cfg(test)]
mod tests;
