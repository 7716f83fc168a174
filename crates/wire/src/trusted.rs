//! What the cluster says of its nodes: where they are, and how to know them.

use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, ServerConfig};
use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

/// Says whose certificate this is, by the name of the node; None: of no present node.
pub type NodeOf = Box<dyn Fn(&CertificateDer<'_>) -> Option<String> + Send + Sync>;

/// What the cluster says of the nodes: where they are, and how to know them.
pub struct Trusted {
    /// The name of this node.
    pub me: String,
    /// The addresses of all nodes, by name, the preferred one first.
    pub addresses: BTreeMap<String, Vec<IpAddr>>,
    /// To dial: with a certificate of this node.
    pub client: Arc<ClientConfig>,
    /// To be dialled.
    pub server: Arc<ServerConfig>,
    /// Says whose certificate this is.
    pub node_of: NodeOf,
}

impl Trusted {
    /// The addresses of a node; none if the cluster has no such node.
    pub fn addresses_of(&self, node: &str) -> &[IpAddr] {
        self.addresses.get(node).map_or(&[], Vec::as_slice)
    }
}

impl fmt::Debug for Trusted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Trusted({}, {:?})", self.me, self.addresses)
    }
}
