//! Who has an address, as the disk and the other nodes know it.

use crate::mac::Mac;
use serde::{Deserialize, Serialize};
use std::net::Ipv4Addr;

/// Who has an address, as far as the next start has to know it.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Holder {
    /// A client.
    Client(Mac),
    /// Somebody may have it, and no node knows who; the client that is known to use it.
    Unclear(Option<Mac>),
    /// Somebody may have it by a node that held it before, which knows; the client that is known to use it.
    Before(Option<Mac>),
    /// Nobody, any more.
    Nobody,
}

/// What the next start has to know: who has an address, or that nobody has it any more.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct Change<A = Ipv4Addr> {
    /// The address.
    pub address: A,
    /// Who has it.
    pub holder: Holder,
}

impl<A> Change<A> {
    /// The client that has the address.
    pub fn mac(&self) -> Option<Mac> {
        match self.holder {
            Holder::Client(mac) => Some(mac),
            Holder::Unclear(_) | Holder::Before(_) | Holder::Nobody => None,
        }
    }
}
