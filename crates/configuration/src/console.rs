//! Holds the address of the web console, which its section exports so that other parts of the
//! platform can link to the console.

use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ConsoleAddress {
    /// The address on which the console listens; an unspecified address means all addresses of the
    /// machine.
    pub address: SocketAddr,
    pub tls: bool,
}

impl ConsoleAddress {
    pub const KIND: &'static str = "console";
}
