//! Describes for the proxy the virtual addresses that move together between machines.

use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// Virtual addresses that move together between machines. The proxy binds sockets to them whether
/// or not this machine has them, and reports to the process that moves them whether their
/// frontends are available.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Service {
    pub name: Box<str>,
    pub interface: Box<str>,
    pub router_id: u8,
    pub addresses: Vec<IpAddr>,
    /// Backends that must be available as well, besides those that the frontends of the addresses
    /// use.
    pub backends: Vec<Box<str>>,
}

impl Service {
    /// Name under which the `virtual-ip` sections export these services to the proxy.
    pub const KIND: &str = "virtual-ip";
}
