//! Holds the run-time state of a `peers` section: its peers, the updates that they still need,
//! and the resynchronization. The next configuration continues with it.

use crate::tables::Table;
use protocol::peers::{Milliseconds, TableDescription};
use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime};
use tls::Connector;
use tls::acceptor::Acceptor;

pub struct SharedTable {
    pub table: Arc<Table>,
    /// Second table that receives the updates of peers.
    pub write_to: Option<Arc<Table>>,
    pub description: TableDescription,
    /// Keys of locally changed entries, by the number of their last update.
    pub updates: BTreeMap<u32, Box<[u8]>>,
    /// Numbers of the last updates by key.
    pub numbers: HashMap<Box<[u8]>, u32>,
    pub last: u32,
}

pub struct Peer {
    pub name: Box<str>,
    pub address: Option<SocketAddr>,
    /// TLS settings for connections to the peer; None for plain TCP.
    pub tls: Option<Arc<Connector>>,
    /// Id of the current connection; a newer connection replaces it.
    pub connection: Option<u64>,
    pub established: bool,
    /// For each table: the last update that the peer acknowledged.
    pub acknowledged: Vec<u32>,
    /// For each table: the last update that was sent to the peer.
    pub pushed: Vec<u32>,
    /// For each table: the last update of the peer that was applied.
    pub learned: Vec<u32>,
    /// A full resynchronization was requested from the peer, and is not requested again. Reset if
    /// the connection breaks during the resynchronization, up to a maximum number of times.
    pub resync_was_partial: bool,
    /// Number of full resynchronizations from the peer that were interrupted.
    pub broken_lessons: u32,
    pub status: &'static str,
    pub greeted: Option<Instant>,
    /// Counters: heartbeats sent, heartbeats received, silences, connections, wrong messages,
    /// collisions.
    pub counts: [u32; 6],
}

/// Progress of the full resynchronization from peers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Resync {
    /// A request will be sent to a peer as soon as one is connected.
    Needed,
    /// The peer with this index received a request.
    Asked(usize),
    /// The resynchronization is complete, or there is no connected peer from which it was not
    /// requested already.
    Done,
}

/// State of a `peers` section in service.
pub struct Section {
    pub name: Box<str>,
    pub local: Box<str>,
    /// Address on which this process listens for peers.
    pub listens: Option<SocketAddr>,
    pub tls: Option<Arc<Acceptor>>,
    pub batch: usize,
    /// All peers except for this process.
    pub peers: Vec<Peer>,
    pub tables: Vec<SharedTable>,
    pub resync: Resync,
    /// Time at which the wait for a peer, or for its next entry, ends. Another peer is then asked
    /// for the resynchronization, if one is connected.
    pub resync_until: Milliseconds,
    /// Latest end of the full resynchronization in progress.
    pub lesson_until: Milliseconds,
    pub began: Instant,
    /// Start time by the wall clock.
    pub began_at: SystemTime,
    /// Number of the last connection.
    pub connections: u64,
}

/// Run-time state of a `peers` section; the next configuration continues with it.
#[derive(Default)]
pub struct PeersState(Mutex<Option<Section>>);

impl std::fmt::Debug for PeersState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PeersState")
    }
}

impl PeersState {
    /// Locks the state; None if the section is not in service. The lock must be held only briefly.
    pub fn lock(&self) -> MutexGuard<'_, Option<Section>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
