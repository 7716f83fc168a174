//! By what tries are counted.

use crate::device;
use crate::network::client_network;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// How long a try takes to come back, milliseconds.
pub(crate) const BACK_MS: u64 = 10_000;
/// The same for codes, of which there are few: guessing one takes years, for somebody who has the password.
pub(crate) const CODE_BACK_MS: u64 = 300_000;

/// Who tries.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum Key {
    /// Somebody at an address; of IPv6 its network of 64 bits.
    From(IpAddr),
    /// Somebody for a user, from wherever.
    For(String),
    /// Somebody at an address for a user: the part of the failures of the address that this user may reset.
    At(IpAddr, String),
    /// A browser in which the user has signed in before.
    Device(device::Id),
    /// Somebody who has the password of a user, and needs a code.
    Code(String),
    /// The same in a browser that is known.
    CodeOf(device::Id),
    /// A program at an address, with tokens.
    Token(IpAddr),
}

impl Key {
    /// Of an address.
    pub fn of(address: IpAddr) -> Key {
        Key::From(client_network(address))
    }

    /// Of a program at an address. Its wrong tokens keep nobody there from a password.
    pub fn of_token(address: IpAddr) -> Key {
        Key::Token(client_network(address))
    }

    /// The keys of a try for a user from an address at which nobody is known.
    pub fn of_stranger(address: IpAddr, name: &str) -> Vec<Key> {
        let network = client_network(address);
        vec![
            Key::From(network),
            Key::For(name.to_owned()),
            Key::At(network, name.to_owned()),
        ]
    }

    /// Whether its address is another machine at each node: that of a program of the machine itself, or of a neighbour.
    pub(crate) fn is_of_this_machine(&self) -> bool {
        let (Key::From(address) | Key::At(address, _) | Key::Token(address)) = self else {
            return false;
        };
        match address {
            IpAddr::V4(address) => address.is_loopback() || address.is_link_local(),
            // A loopback address is counted by its network of 64 bits.
            IpAddr::V6(address) => address.is_unspecified() || address.is_unicast_link_local(),
        }
    }

    /// Whether it is of an address alone, or of a user at an address.
    pub(crate) fn is_of_address(&self) -> bool {
        matches!(self, Key::From(_) | Key::At(..))
    }

    /// How long a try takes to come back, milliseconds.
    pub(crate) fn back_ms(&self) -> u64 {
        match self {
            Key::Code(_) | Key::CodeOf(_) => CODE_BACK_MS,
            Key::From(_) | Key::For(_) | Key::At(..) | Key::Device(_) | Key::Token(_) => BACK_MS,
        }
    }

    /// The name of the user, if it has one.
    pub(crate) fn name(&self) -> Option<&str> {
        match self {
            Key::For(name) | Key::At(_, name) | Key::Code(name) => Some(name),
            Key::From(_) | Key::Device(_) | Key::CodeOf(_) | Key::Token(_) => None,
        }
    }

    /// Whether the key belongs to one user, who may reset its failures by a success. An address has many users: one
    /// of them who signs in says nothing about the others.
    pub(crate) fn is_of_one_user(&self) -> bool {
        match self {
            Key::For(_) | Key::At(..) | Key::Device(_) | Key::Code(_) | Key::CodeOf(_) => true,
            Key::From(_) | Key::Token(_) => false,
        }
    }
}
