//! What of a `peers` section changes while it serves: its peers, the updates that they
//! do not have yet, and who knows everything. The next configuration goes on with it.

use crate::tables::Table;
use protocol::peers::{Milliseconds, TableDescription};
use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime};
use tls::Connector;
use tls::acceptor::Acceptor;

/// One table that is shared.
pub struct SharedTable {
    /// The table.
    pub table: Arc<Table>,
    /// The one that gets peers' updates, too.
    pub write_to: Option<Arc<Table>>,
    /// Its description for peers.
    pub description: TableDescription,
    /// The keys that changed here, by the number of their last update.
    pub updates: BTreeMap<u32, Box<[u8]>>,
    /// The same by keys.
    pub numbers: HashMap<Box<[u8]>, u32>,
    /// The number of the last update.
    pub last: u32,
}

/// One peer.
pub struct Peer {
    /// Its name.
    pub name: Box<str>,
    /// Where it listens.
    pub address: Option<SocketAddr>,
    /// How it is reached by TLS.
    pub tls: Option<Arc<Connector>>,
    /// The connection that counts; a newer one takes its place.
    pub connection: Option<u64>,
    /// It is established.
    pub established: bool,
    /// By table, the last update that it has acknowledged.
    pub acknowledged: Vec<u32>,
    /// By table, the last update that was sent to it.
    pub pushed: Vec<u32>,
    /// By table, the last update of its own that was taken.
    pub learned: Vec<u32>,
    /// It was asked for everything, and did not have it.
    pub asked: bool,
    /// Lessons of it that broke off.
    pub broken_lessons: u32,
    /// How its last connection ended, or began.
    pub status: &'static str,
    /// When it was last greeted.
    pub greeted: Option<Instant>,
    /// Heartbeats sent and received, silences, connections, wrong messages, collisions.
    pub counts: [u32; 6],
}

/// Whether this process knows what its peers know.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Resync {
    /// Not yet: reachable peers are asked.
    Needed,
    /// This peer was asked.
    Asked(usize),
    /// Yes.
    Done,
}

/// A section that runs.
pub struct Section {
    /// Its name.
    pub name: Box<str>,
    /// The name of this process.
    pub local: Box<str>,
    /// Where it listens.
    pub listens: Option<SocketAddr>,
    /// Who answers peers that connect by TLS.
    pub tls: Option<Arc<Acceptor>>,
    /// Updates that are sent in one go.
    pub batch: usize,
    /// Everyone but this process.
    pub peers: Vec<Peer>,
    /// The tables.
    pub tables: Vec<SharedTable>,
    /// Whether everything is known.
    pub resync: Resync,
    /// Until when somebody may be asked.
    pub resync_until: Milliseconds,
    /// Until when the lesson that goes on may last.
    pub lesson_until: Milliseconds,
    /// When it began.
    pub began: Instant,
    /// The same by the wall clock.
    pub began_at: SystemTime,
    /// The number of the last connection.
    pub connections: u64,
}

/// What of a section changes while it serves; the next configuration goes on with it.
#[derive(Default)]
pub struct PeersState(Mutex<Option<Section>>);

impl std::fmt::Debug for PeersState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PeersState")
    }
}

impl PeersState {
    /// The section, where it runs. Held for moments only.
    pub fn lock(&self) -> MutexGuard<'_, Option<Section>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
