//! Defines the holder of an address, as it is stored on disk and reported to other nodes.

use crate::mac::Mac;
use serde::{Deserialize, Serialize};
use std::net::Ipv4Addr;

/// Holder of an address, as stored for the next start and reported to other nodes.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Holder {
    /// The client with this MAC address has the lease.
    Client(Mac),
    /// An unknown client may have the address, and no node knows which; the field is the client
    /// that is known to use it.
    Unclear(Option<Mac>),
    /// A client may have the address from a previous holder of the part, which knows the lease; the
    /// field is the client that is known to use the address.
    Before(Option<Mac>),
    /// The address is free again.
    Nobody,
}

/// Change of the holder of an address, for the disk and the other nodes.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct HolderChange<A = Ipv4Addr> {
    pub address: A,
    /// New holder of the address.
    pub holder: Holder,
}

impl<A> HolderChange<A> {
    /// Returns the client that has the lease; None for an unclear or a free address.
    pub fn mac(&self) -> Option<Mac> {
        match self.holder {
            Holder::Client(mac) => Some(mac),
            Holder::Unclear(_) | Holder::Before(_) | Holder::Nobody => None,
        }
    }
}
