//! Holds the settings of `peers` sections: the processes that share stick tables with this one.

use super::{BindAddress, ServerTls};
use crate::state::peers::PeersState;
use language::Span;
use std::net::SocketAddr;
use std::os::fd::{OwnedFd, RawFd};
use std::sync::{Arc, Mutex, PoisonError};
use tls::BindTls;
use tls::acceptor::Acceptor;

#[derive(Clone, Debug)]
pub struct Peer {
    /// Name by which both sides identify the peer.
    pub name: Box<str>,
    /// Address on which the peer listens; that of the local peer may come from a `bind` line.
    pub address: Option<SocketAddr>,
    pub span: Span,
    /// TLS settings for connections to the peer, including those of `default-server` lines.
    pub tls: ServerTls,
}

#[derive(Clone, Debug, Default)]
pub struct Peers {
    pub name: Box<str>,
    pub span: Span,
    /// `disabled`: this process neither listens nor shares tables.
    pub disabled: bool,
    /// All peers, including the local one.
    pub all: Vec<Peer>,
    /// The socket on which this process listens, once it is open.
    pub socket: PeersSocket,
    /// `bind`: address on which this process listens.
    pub bind: Option<SocketAddr>,
    /// `ssl` and the other TLS options of `bind` and `default-bind`.
    pub tls_words: Option<Arc<BindTls>>,
    /// TLS acceptor for peers that connect by TLS, built from `tls_words` at the end of loading.
    pub tls: Option<Arc<Acceptor>>,
    /// `default-server`: TLS settings for the peers in the following lines.
    pub default_tls: ServerTls,
    /// `fd@`: the listening descriptor inherited from the parent process.
    pub inherited: Option<RawFd>,
    /// Peer name of this process.
    pub local: Box<str>,
    /// Maximum number of updates that are sent at once.
    pub batch: u32,
    pub state: Arc<PeersState>,
}

/// A listening socket that no task serves yet. It is opened with the privileges at the start, like
/// those of frontends.
#[derive(Clone, Debug, Default)]
pub struct PeersSocket(Arc<Mutex<Option<OwnedFd>>>);

impl PeersSocket {
    pub fn put(&self, fd: OwnedFd) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(fd);
    }

    pub fn take(&self) -> Option<OwnedFd> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Peers {
    /// Returns whether this process accepts connections from peers.
    pub fn runs(&self) -> bool {
        !self.disabled && self.local_peer().is_some()
    }

    pub fn local_peer(&self) -> Option<&Peer> {
        self.all.iter().find(|peer| peer.name == self.local)
    }

    /// Returns the address on which this process listens, or the inherited descriptor.
    pub fn bind_address(&self) -> Option<BindAddress> {
        match self.inherited {
            Some(number) => Some(BindAddress::Fd(number)),
            None => Some(BindAddress::Inet(self.listens()?)),
        }
    }

    pub fn listens(&self) -> Option<SocketAddr> {
        self.bind.or(self.local_peer()?.address)
    }
}
