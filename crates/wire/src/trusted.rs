//! What the cluster says of its nodes: where they are, and how to know them.

use crate::bonds::{Bond, Bonds, NodeOf};
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, ServerConfig};
use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

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
    /// Connections that were made since the cluster first said something.
    bonds: Arc<Bonds>,
}

impl Trusted {
    /// What the cluster says to begin with.
    pub fn new(
        me: String,
        addresses: BTreeMap<String, Vec<IpAddr>>,
        (client, server): (Arc<ClientConfig>, Arc<ServerConfig>),
        node_of: NodeOf,
    ) -> Trusted {
        Trusted {
            me,
            addresses,
            client,
            server,
            node_of,
            bonds: Arc::default(),
        }
    }

    /// Follows what the cluster said before: connections with nodes that it no longer accepts end.
    #[must_use]
    pub fn after(mut self, before: Option<&Trusted>) -> Trusted {
        if let Some(before) = before {
            self.bonds = Arc::clone(&before.bonds);
        }
        let names = self.addresses.keys().cloned().collect();
        self.bonds.review(Arc::clone(&self.node_of), names);
        self
    }

    /// The name of the node that has shown this chain of certificates on a connection, and the right
    /// of that connection to go on. None: it is no present node.
    pub fn admit(
        &self,
        socket: BorrowedFd<'_>,
        chain: Option<&[CertificateDer<'_>]>,
    ) -> Option<(String, Bond)> {
        self.bonds.by_chain(socket, chain?, &self.node_of)
    }

    /// The right of a connection without TLS to go on, whose other end says that it is this node. None:
    /// there is no such node.
    pub fn admit_by_name(&self, socket: BorrowedFd<'_>, name: &str) -> Option<Bond> {
        let is_known = self.addresses.contains_key(name);
        self.bonds.by_name(socket, name, is_known)
    }

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
