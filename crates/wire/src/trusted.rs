//! Describes the nodes of the cluster: their addresses and their credentials.

use crate::bonds::{ConnectionPermission, ConnectionRegistry, NodeOf};
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, ServerConfig};
use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

/// The cluster's description of its nodes: their addresses and their credentials.
pub struct TrustedNodes {
    pub me: String,
    /// The addresses of all nodes, by name, the preferred one first.
    pub addresses: BTreeMap<String, Vec<IpAddr>>,
    /// The TLS configuration for outgoing connections, with a certificate of this node.
    pub client: Arc<ClientConfig>,
    /// The TLS configuration for incoming connections.
    pub server: Arc<ServerConfig>,
    pub node_of: NodeOf,
    /// The connections made since the first description.
    bonds: Arc<ConnectionRegistry>,
}

impl TrustedNodes {
    pub fn new(
        me: String,
        addresses: BTreeMap<String, Vec<IpAddr>>,
        client: Arc<ClientConfig>,
        server: Arc<ServerConfig>,
        node_of: NodeOf,
    ) -> TrustedNodes {
        TrustedNodes {
            me,
            addresses,
            client,
            server,
            node_of,
            bonds: Arc::default(),
        }
    }

    /// Continues from the previous description: connections with nodes that the cluster no longer
    /// accepts end.
    #[must_use]
    pub fn continue_from(mut self, before: Option<&TrustedNodes>) -> TrustedNodes {
        if let Some(before) = before {
            self.bonds = Arc::clone(&before.bonds);
        }
        let names = self.addresses.keys().cloned().collect();
        self.bonds
            .apply_accepted_nodes(Arc::clone(&self.node_of), names);
        self
    }

    /// Returns the name of the node that presented this certificate chain on a connection, and the
    /// permission of that connection to continue; `None` when it is no current node.
    pub fn admit(
        &self,
        socket: BorrowedFd<'_>,
        chain: Option<&[CertificateDer<'_>]>,
    ) -> Option<(String, ConnectionPermission)> {
        self.bonds.by_chain(socket, chain?, &self.node_of)
    }

    /// Returns the permission to continue for a connection without TLS whose other end reports this
    /// name; `None` when there is no such node.
    pub fn admit_by_name(
        &self,
        socket: BorrowedFd<'_>,
        name: &str,
    ) -> Option<ConnectionPermission> {
        let is_known = self.addresses.contains_key(name);
        self.bonds.by_name(socket, name, is_known)
    }

    pub fn addresses_of(&self, node: &str) -> &[IpAddr] {
        self.addresses.get(node).map_or(&[], Vec::as_slice)
    }
}

impl fmt::Debug for TrustedNodes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Trusted({}, {:?})", self.me, self.addresses)
    }
}
