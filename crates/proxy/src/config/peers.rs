//! `peers`: who shares tables with this process.

use crate::peers::PeersState;
use language::Span;
use std::net::SocketAddr;
use std::sync::Arc;

/// One `peer` line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Peer {
    /// Its name, by which both sides know each other.
    pub name: Box<str>,
    /// Where it listens; the local one's may come from a `bind` line.
    pub address: Option<SocketAddr>,
    /// Where it stands.
    pub span: Span,
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
    /// `bind`: where this process listens.
    pub bind: Option<SocketAddr>,
    /// The name of this process among them.
    pub local: Box<str>,
    /// Updates that are sent in one go.
    pub batch: u32,
    /// What changes while it serves.
    pub state: Arc<PeersState>,
}

impl Peers {
    /// This process, where the section has it.
    pub fn own(&self) -> Option<&Peer> {
        self.all.iter().find(|peer| peer.name == self.local)
    }

    /// Where this process listens.
    pub fn listens(&self) -> Option<SocketAddr> {
        self.bind.or(self.own()?.address)
    }
}
