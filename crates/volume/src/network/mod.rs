//! A volume over TCP, for clients elsewhere. Each connection is brought to the volume's Unix
//! socket, after TLS where the file asks for it, and its bytes are carried from then on: what a
//! volume does for a client is decided at that socket alone.
//!
//! - [`certificates`] are what TLS needs, as they stand in files.
//! - [`front`] is what is said on a connection before its bytes are carried.
//! - [`Listening`] accepts connections, on a thread of its own.
//!
//! Nothing here reads a file, or looks at a request.

pub mod certificates;
pub mod front;
mod listening;
mod places;
#[cfg(test)]
mod tests;
mod voice;

pub use listening::{Listening, Seen};

use certificates::Certificates;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::SocketAddr;

/// Where clients reach a volume by TCP.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Bind {
    /// The address.
    pub address: SocketAddr,
    /// What TLS needs. None: without TLS, on this machine only.
    pub tls: Option<Certificates>,
}

impl Bind {
    /// Whether a listener at one of these addresses keeps the other one from its own.
    pub fn meets(&self, other: &Bind) -> bool {
        let (one, two) = (self.address, other.address);
        let is_all = one.ip().is_unspecified() || two.ip().is_unspecified();
        one.port() == two.port() && (is_all || one.ip() == two.ip())
    }
}

impl fmt::Display for Bind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tls = if self.tls.is_some() { " with TLS" } else { "" };
        write!(f, "{}{tls}", self.address)
    }
}
