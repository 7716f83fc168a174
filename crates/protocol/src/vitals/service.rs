//! Describes for the proxy the virtual addresses that move together between machines.

use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// Addresses that move together. The proxy binds sockets to them whether or not this machine has
/// them, and reports to the address role whether their frontends are available.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Service {
    pub name: Box<str>,
    pub interface: Box<str>,
    pub router_id: u8,
    pub addresses: Vec<IpAddr>,
    /// Backends that the addresses require, besides those that their frontends use.
    pub backends: Vec<Box<str>>,
}

impl Service {
    /// Kind of the section that defines it, among those of other parts.
    pub const KIND: &str = "virtual-ip";
}
