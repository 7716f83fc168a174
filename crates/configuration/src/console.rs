//! The address of the web console from its section, for links on pages of other parts.

use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// Address of the web console.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ConsoleAddress {
    /// The address on which it listens; an unspecified address means all addresses of the machine.
    pub address: SocketAddr,
    pub tls: bool,
}

impl ConsoleAddress {
    pub const KIND: &'static str = "console";
}
