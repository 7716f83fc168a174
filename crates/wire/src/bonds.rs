//! Ends connections with other nodes when the cluster no longer accepts the node at the other end:
//! the node was removed, or no current CA certifies it. A handshake verifies the certificate once;
//! [`ConnectionRegistry`] verifies the certificates of all connections again whenever the cluster
//! publishes a change.
//!
//! The other node is not contacted: the descriptor is shut down, so that its reader and its writer
//! see the end of the connection at once.

use rustix::net::{Shutdown, shutdown};
use rustls::pki_types::CertificateDer;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Returns the name of the node that the first certificate of a chain belongs to; `None` when no
/// current node has it or no current CA certifies it.
pub type NodeOf = Arc<dyn Fn(&[CertificateDer<'_>]) -> Option<String> + Send + Sync>;

/// The proof of identity of the node at the other end.
enum IdentityProof {
    /// The certificate chain of the node, its own certificate first.
    Chain(Vec<CertificateDer<'static>>),
    /// The name that the node reported, on a link without TLS.
    Name(String),
}

/// The nodes and certificates that the cluster currently accepts.
struct AcceptedNodes {
    node_of: NodeOf,
    names: BTreeSet<String>,
}

struct RegisteredConnection {
    proof: IdentityProof,
    socket: OwnedFd,
    is_cut: Arc<AtomicBool>,
}

#[derive(Default)]
struct RegisteredConnections {
    present: Option<AcceptedNodes>,
    all: BTreeMap<u64, RegisteredConnection>,
    last: u64,
}

/// All connections of a role with other nodes. They survive changes of the cluster's node list
/// (`Trusted::after`).
#[derive(Default)]
pub(crate) struct ConnectionRegistry(Mutex<RegisteredConnections>);

/// The permission of one connection to continue. The connection owns it for its whole life.
pub struct ConnectionPermission {
    of: Arc<ConnectionRegistry>,
    number: u64,
    is_cut: Arc<AtomicBool>,
}

impl AcceptedNodes {
    fn accepts(&self, proof: &IdentityProof) -> Option<String> {
        match proof {
            IdentityProof::Chain(chain) => (self.node_of)(chain),
            IdentityProof::Name(name) => self.names.get(name).cloned(),
        }
    }
}

impl ConnectionRegistry {
    fn lock(&self) -> MutexGuard<'_, RegisteredConnections> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Applies the cluster's current state, and ends the connections that it no longer accepts.
    pub(crate) fn apply_accepted_nodes(&self, node_of: NodeOf, names: BTreeSet<String>) {
        let mut inner = self.lock();
        let present = AcceptedNodes { node_of, names };
        for entry in inner.all.values() {
            if present.accepts(&entry.proof).is_none() && !entry.is_cut.load(Ordering::Acquire) {
                entry.is_cut.store(true, Ordering::Release);
                // Ignores a failure, because the connection has then ended already.
                let _ = shutdown(&entry.socket, Shutdown::Both);
            }
        }
        inner.present = Some(present);
    }

    fn add(
        self: &Arc<Self>,
        socket: BorrowedFd<'_>,
        proof: IdentityProof,
        accepts: impl Fn(&IdentityProof) -> Option<String>,
    ) -> Option<(String, ConnectionPermission)> {
        let mut inner = self.lock();
        // Uses the current state, because that at the start of the handshake may be out of date.
        let node = match &inner.present {
            Some(present) => present.accepts(&proof)?,
            None => accepts(&proof)?,
        };
        // Refuses the connection without a descriptor, with which it could be ended.
        let socket = socket.try_clone_to_owned().ok()?;
        inner.last += 1;
        let number = inner.last;
        let is_cut = Arc::new(AtomicBool::new(false));
        let entry = RegisteredConnection {
            proof,
            socket,
            is_cut: Arc::clone(&is_cut),
        };
        inner.all.insert(number, entry);
        let of = Arc::clone(self);
        let bond = ConnectionPermission { of, number, is_cut };
        Some((node, bond))
    }

    /// Registers a connection with TLS. Returns the name of the node that owns the certificate, and
    /// the permission of the connection; `None` when no current node owns it.
    pub(crate) fn by_chain(
        self: &Arc<Self>,
        socket: BorrowedFd<'_>,
        chain: &[CertificateDer<'_>],
        node_of: &NodeOf,
    ) -> Option<(String, ConnectionPermission)> {
        let owned = chain.iter().map(|one| one.clone().into_owned());
        let proof = IdentityProof::Chain(owned.collect());
        self.add(socket, proof, |_| node_of(chain))
    }

    /// Registers a connection without TLS of a node that reports this name. Returns `None` when
    /// there is no such node.
    pub(crate) fn by_name(
        self: &Arc<Self>,
        socket: BorrowedFd<'_>,
        name: &str,
        is_known: bool,
    ) -> Option<ConnectionPermission> {
        let proof = IdentityProof::Name(name.to_owned());
        let bond = self.add(socket, proof, |_| is_known.then(|| name.to_owned()));
        bond.map(|(_, bond)| bond)
    }
}

impl ConnectionPermission {
    /// Returns whether the connection was ended because the cluster no longer accepts the other
    /// node.
    pub fn is_revoked(&self) -> bool {
        self.is_cut.load(Ordering::Acquire)
    }
}

impl Drop for ConnectionPermission {
    fn drop(&mut self) {
        self.of.lock().all.remove(&self.number);
    }
}

impl fmt::Debug for ConnectionPermission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bond({})", self.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd;

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let one = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (one, listener.accept().unwrap().0)
    }

    /// Accepts certificates that consist of one of these bytes.
    fn accepts(good: &'static [u8]) -> NodeOf {
        Arc::new(move |chain: &[CertificateDer<'_>]| {
            let first = chain.first()?;
            good.contains(first.first()?).then(|| "beta".to_owned())
        })
    }

    fn names(all: &[&str]) -> BTreeSet<String> {
        all.iter().map(|one| (*one).to_owned()).collect()
    }

    fn certificate(byte: u8) -> [CertificateDer<'static>; 1] {
        [CertificateDer::from(vec![byte])]
    }

    fn is_over(stream: &mut TcpStream) -> bool {
        stream.set_nonblocking(true).unwrap();
        matches!(stream.read(&mut [0; 1]), Ok(0))
    }

    #[test]
    fn revoked_connections_end_at_both_ends_and_others_stay() {
        let bonds = Arc::new(ConnectionRegistry::default());
        let (mut gone, mut gone_far) = pair();
        let (mut stays, _stays_far) = pair();
        let (mut plain, _plain_far) = pair();
        let both = accepts(&[1, 2]);
        let (node, first) = bonds
            .by_chain(gone.as_fd(), &certificate(1), &both)
            .unwrap();
        assert_eq!(node, "beta");
        let (_, second) = bonds
            .by_chain(stays.as_fd(), &certificate(2), &both)
            .unwrap();
        let third = bonds.by_name(plain.as_fd(), "beta", true).unwrap();
        bonds.apply_accepted_nodes(accepts(&[2]), names(&["alpha"]));
        assert!(is_over(&mut gone) && is_over(&mut gone_far) && is_over(&mut plain));
        assert!(first.is_revoked() && third.is_revoked());
        assert!(!second.is_revoked() && !is_over(&mut stays));
        // The end of a connection removes it from the registry.
        drop((first, third));
        assert_eq!(bonds.lock().all.len(), 1);
    }

    #[test]
    fn handshake_that_began_before_a_removal_is_refused() {
        let bonds = Arc::new(ConnectionRegistry::default());
        bonds.apply_accepted_nodes(accepts(&[2]), names(&["alpha"]));
        let (one, _far) = pair();
        let before = accepts(&[1, 2]);
        assert!(
            bonds
                .by_chain(one.as_fd(), &certificate(1), &before)
                .is_none()
        );
        assert!(bonds.by_name(one.as_fd(), "beta", true).is_none());
        assert!(
            bonds
                .by_chain(one.as_fd(), &certificate(2), &before)
                .is_some()
        );
    }
}
