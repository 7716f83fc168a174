//! Where the web console is, as its section defines it, for links on pages of other parts.

use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// Address of the web console.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ConsoleAddress {
    /// Where it listens; an unspecified address stands for all of the machine.
    pub address: SocketAddr,
    /// Whether it has TLS.
    pub tls: bool,
}

impl ConsoleAddress {
    /// The kind of this thing among those that parts define for others.
    pub const KIND: &'static str = "console";
}
