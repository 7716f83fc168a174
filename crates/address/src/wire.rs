//! Sockets of the role: VRRP ([`VrrpSocket`]), frames of ARP and neighbour
//! discovery ([`PacketSocket`]), and BFD ([`BfdListener`], [`BfdSender`]). Nothing here reads what is inside of a packet, and
//! nothing here waits: a socket is read until it is empty, or a bound is reached.

mod bfd;
mod datagram;
mod frame;
mod vrrp;

pub use bfd::{BfdListener, BfdSeen, BfdSender};
pub use frame::{FrameSeen, PacketSocket};
pub use vrrp::{Received, VrrpOptions, VrrpSender, VrrpSocket, VrrpTransport};

use std::io;

/// How many packets one call hands out at most: a flood must not stop the timers.
pub const DRAINED_AT_MOST: usize = 256;

/// A socket failed.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// It could not be made as it was wanted.
    #[error("{step}: {error}")]
    Open {
        /// The failed step.
        step: &'static str,
        /// Why not.
        #[source]
        error: io::Error,
    },
    /// A packet could not be sent.
    #[error("send: {0}")]
    Send(#[source] io::Error),
    /// It cannot be read any more (its interface went).
    #[error("receive: {0}")]
    Receive(#[source] io::Error),
    /// Addresses of two families.
    #[error("an address of the other family")]
    Family,
    /// An interface is needed and none was given.
    #[error("multicast needs an interface")]
    NoInterface,
}

#[cfg(test)]
mod tests;
