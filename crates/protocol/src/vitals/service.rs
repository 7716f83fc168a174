//! What the proxy needs to know of addresses that move between machines.

use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// Addresses that move together. Sockets are bound to them whether or not this machine
/// has them, and the role that moves them learns whether their frontends are available.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Service {
    /// The name of what moves them.
    pub name: Box<str>,
    /// The interface that they are on, for people and metrics.
    pub interface: Box<str>,
    /// The id of their virtual router, for people and metrics.
    pub router_id: u8,
    /// The addresses.
    pub addresses: Vec<IpAddr>,
    /// Backends without which they are of no use, besides those that the frontends of
    /// these addresses lead to.
    pub backends: Vec<Box<str>>,
}

impl Service {
    /// The kind of what it is made of, among what other parts' sections define.
    pub const KIND: &str = "virtual-ip";
}
