//! `peers`: who shares tables with this process.

use super::{BindAddress, ServerTls};
use crate::state::peers::PeersState;
use language::Span;
use std::net::SocketAddr;
use std::os::fd::{OwnedFd, RawFd};
use std::sync::{Arc, Mutex, PoisonError};
use tls::BindTls;
use tls::acceptor::Acceptor;

/// One `peer` line.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Its name, by which both sides know each other.
    pub name: Box<str>,
    /// Where it listens; the local one's may come from a `bind` line.
    pub address: Option<SocketAddr>,
    /// Where it stands.
    pub span: Span,
    /// How it is reached by TLS, with what `default-server` lines say.
    pub tls: ServerTls,
}

/// One `peers` section.
#[derive(Clone, Debug, Default)]
pub struct Peers {
    /// Its name.
    pub name: Box<str>,
    /// Where that stands.
    pub span: Span,
    /// `disabled`: nobody listens and nothing is shared.
    pub disabled: bool,
    /// Who is in it.
    pub all: Vec<Peer>,
    /// The socket on which this process listens, once it is open.
    pub socket: PeersSocket,
    /// `bind`: where this process listens.
    pub bind: Option<SocketAddr>,
    /// `ssl` and the other TLS options of `bind` and `default-bind`.
    pub tls_words: Option<Arc<BindTls>>,
    /// Who answers peers that connect by TLS. The end of loading makes it of the words.
    pub tls: Option<Arc<Acceptor>>,
    /// `default-server`: how the peers of later lines are reached by TLS.
    pub default_tls: ServerTls,
    /// `fd@`: the listening descriptor inherited from the parent process.
    pub inherited: Option<RawFd>,
    /// The name of this process among them.
    pub local: Box<str>,
    /// Updates that are sent in one go.
    pub batch: u32,
    /// What changes while it serves.
    pub state: Arc<PeersState>,
}

/// A listening socket that waits to be served. It is opened with the rights of the
/// start, like those of frontends.
#[derive(Clone, Debug, Default)]
pub struct PeersSocket(Arc<Mutex<Option<OwnedFd>>>);

impl PeersSocket {
    /// It is open.
    pub fn put(&self, fd: OwnedFd) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(fd);
    }

    /// Takes the descriptor, to serve it.
    pub fn take(&self) -> Option<OwnedFd> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Peers {
    /// Whether anybody is to reach this process.
    pub fn runs(&self) -> bool {
        !self.disabled && self.own().is_some()
    }

    /// This process, where the section has it.
    pub fn own(&self) -> Option<&Peer> {
        self.all.iter().find(|peer| peer.name == self.local)
    }

    /// Where this process listens, or what it inherited.
    pub fn bind_address(&self) -> Option<BindAddress> {
        match self.inherited {
            Some(number) => Some(BindAddress::Fd(number)),
            None => Some(BindAddress::Inet(self.listens()?)),
        }
    }

    /// Where this process listens.
    pub fn listens(&self) -> Option<SocketAddr> {
        self.bind.or(self.own()?.address)
    }
}
