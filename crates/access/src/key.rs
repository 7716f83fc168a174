//! Defines by which keys sign-in attempts are counted: the client's address, the user's name, or
//! both.

use crate::device;
use crate::network::client_network;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// Time after which one used attempt is available again, milliseconds.
pub(crate) const BACK_MS: u64 = 10_000;
/// Time after which one used attempt at a one-time code is available again, milliseconds. There are
/// few codes, and an attacker with the correct password still needs years to guess one.
pub(crate) const CODE_BACK_MS: u64 = 300_000;

/// Key under which attempts are counted together.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum Key {
    /// A client at an address; for IPv6, in its /64 network.
    From(IpAddr),
    /// Attempts for a user from all addresses.
    For(String),
    /// Attempts for a user from an address: of the failures that count for the address, those that
    /// this user may reset.
    At(IpAddr, String),
    Device(device::Id),
    Code(String),
    CodeOf(device::Id),
    Token(IpAddr),
}

impl Key {
    pub fn of(address: IpAddr) -> Key {
        Key::From(client_network(address))
    }

    /// Creates the key for tokens from an address. Wrong tokens do not block passwords from the
    /// same address.
    pub fn of_token(address: IpAddr) -> Key {
        Key::Token(client_network(address))
    }

    /// Returns the keys of an attempt for a user from an address without a known browser.
    pub fn of_stranger(address: IpAddr, name: &str) -> Vec<Key> {
        let network = client_network(address);
        vec![
            Key::From(network),
            Key::For(name.to_owned()),
            Key::At(network, name.to_owned()),
        ]
    }

    /// Returns whether the address of this key is another machine on each node: a loopback or
    /// link-local address, or a network that contains one.
    pub(crate) fn is_local_to_node(&self) -> bool {
        let (Key::From(address) | Key::At(address, _) | Key::Token(address)) = self else {
            return false;
        };
        match address {
            IpAddr::V4(address) => address.is_loopback() || address.is_link_local(),
            // Counts `::`, because an IPv6 loopback address is counted by its /64 network.
            IpAddr::V6(address) => address.is_unspecified() || address.is_unicast_link_local(),
        }
    }

    /// Returns whether the key counts attempts at passwords by address, alone or together with a
    /// user.
    pub(crate) fn is_of_address(&self) -> bool {
        matches!(self, Key::From(_) | Key::At(..))
    }

    pub(crate) fn recovery_ms(&self) -> u64 {
        match self {
            Key::Code(_) | Key::CodeOf(_) => CODE_BACK_MS,
            Key::From(_) | Key::For(_) | Key::At(..) | Key::Device(_) | Key::Token(_) => BACK_MS,
        }
    }

    pub(crate) fn name(&self) -> Option<&str> {
        match self {
            Key::For(name) | Key::At(_, name) | Key::Code(name) => Some(name),
            Key::From(_) | Key::Device(_) | Key::CodeOf(_) | Key::Token(_) => None,
        }
    }

    /// Returns whether the key belongs to one user, whose success may reset its failures. An
    /// address has many users: the sign-in of one of them proves nothing about the others.
    pub(crate) fn is_of_one_user(&self) -> bool {
        match self {
            Key::For(_) | Key::At(..) | Key::Device(_) | Key::Code(_) | Key::CodeOf(_) => true,
            Key::From(_) | Key::Token(_) => false,
        }
    }
}
