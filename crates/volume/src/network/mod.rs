//! Makes volumes accessible over TCP. Each connection is relayed to the volume's Unix socket, after
//! the TLS handshake if configured. Only the volume, at that socket, decides about requests.
//!
//! - [`certificates`] are the PEM files for TLS.
//! - [`front`] runs the handshake before the relay.
//! - [`TcpListening`] accepts connections on its own thread.
//!
//! This module reads no file, and does not parse requests.

pub mod certificates;
pub mod front;
mod listening;
mod places;
#[cfg(test)]
mod tests;
mod voice;

pub use listening::{ListenerStatus, TcpListening};

use certificates::Certificates;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::SocketAddr;

/// TCP endpoint of a volume.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Bind {
    pub address: SocketAddr,
    /// Certificates for TLS. None: plain text, on this machine only.
    pub tls: Option<Certificates>,
}

impl Bind {
    /// Returns whether two listeners use the same address and port, so that they cannot be open at
    /// the same time.
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
