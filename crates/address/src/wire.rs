//! Sockets of the role: VRRP ([`VrrpSocket`]), frames of ARP and neighbour
//! discovery ([`PacketSocket`]), and BFD ([`BfdListener`], [`BfdSender`]). Nothing here reads what is inside of a packet, and
//! nothing here waits: a socket is read until it is empty, or a bound is reached.

mod bfd;
mod datagram;
mod frame;
mod vrrp;

pub use bfd::{BfdListener, BfdSeen, BfdSender};
pub use frame::{FrameSeen, PacketSocket};
pub use vrrp::{DRAINED_AT_MOST, Received, VrrpOptions, VrrpSocket, VrrpTransport};

use std::fmt;
use std::io;

/// A socket failed.
#[derive(Debug)]
pub enum WireError {
    /// It could not be made as it was wanted.
    Open {
        /// The failed step.
        step: &'static str,
        /// Why not.
        error: io::Error,
    },
    /// A packet could not be sent.
    Send(io::Error),
    /// It cannot be read any more (its interface went).
    Receive(io::Error),
    /// Addresses of two families.
    Family,
    /// An interface is needed and none was given.
    NoInterface,
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WireError::Open { step, error } => write!(f, "{step}: {error}"),
            WireError::Send(error) => write!(f, "send: {error}"),
            WireError::Receive(error) => write!(f, "receive: {error}"),
            WireError::Family => f.write_str("an address of the other family"),
            WireError::NoInterface => f.write_str("multicast needs an interface"),
        }
    }
}

impl std::error::Error for WireError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            WireError::Open { error, .. } | WireError::Send(error) | WireError::Receive(error) => {
                Some(error)
            }
            WireError::Family | WireError::NoInterface => None,
        }
    }
}

#[cfg(test)]
mod tests;
