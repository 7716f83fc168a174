//! Holds the state that the connections of a `peers` section share: the stick tables with the
//! updates that peers still need, and the progress of the resynchronization. No IO: the caller
//! has the connections, which speak HAProxy's peers protocol.

pub mod entry;

use crate::config::{Config, Peers};
pub use crate::state::peers::{Peer, PeersState, Resync, Section, SharedTable};
use protocol::peers::{Milliseconds, TableDescription, Update};
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

/// Maximum number of updates of a table that are kept for disconnected peers. The oldest are
/// dropped beyond that; a returning peer gets them by a full resynchronization.
const UPDATES_MAX: usize = 1 << 18;
/// Maximum number of changed entries that are taken from a table at once.
const NEWS_MAX: usize = 1 << 14;
/// Time after which this process counts as synchronized if no peer is available to learn from,
/// milliseconds.
const RESYNC_MS: u64 = 5_000;
/// Maximum duration of a full resynchronization, milliseconds.
const LESSON_MS: u64 = 60_000;
/// Number of interrupted resynchronizations with a peer after which this process requests none
/// from it any more.
const BROKEN_LESSONS_MAX: u32 = 3;

/// Index in [`Peer::counts`]: heartbeats sent.
pub const HEARTBEATS_OUT: usize = 0;
/// Index in [`Peer::counts`]: heartbeats received.
pub const HEARTBEATS_IN: usize = 1;
/// Index in [`Peer::counts`]: connections that timed out.
pub const SILENCES: usize = 2;
/// Index in [`Peer::counts`]: connections that were established.
pub const CONNECTIONS: usize = 3;
/// Index in [`Peer::counts`]: invalid messages.
pub const FAULTS: usize = 4;
/// Index in [`Peer::counts`]: times that two connections with the peer existed at once, so that
/// one was closed.
pub const COLLISIONS: usize = 5;

fn shared(config: &Config, peers: &Peers) -> Vec<SharedTable> {
    let all = config.tables.all.iter();
    let mine = all.filter(|table| table.peers.as_deref() == Some(&*peers.name));
    mine.filter_map(|described| {
        let table = described.place.get()?;
        Some(SharedTable {
            description: entry::describe(described, table),
            table: Arc::clone(table),
            write_to: described
                .write_to
                .as_ref()
                .and_then(|place| place.get().cloned()),
            updates: BTreeMap::new(),
            numbers: HashMap::new(),
            last: 0,
        })
    })
    .collect()
}

impl Section {
    pub fn new(config: &Config, peers: &Peers, now: Milliseconds) -> Section {
        let tables = shared(config, peers);
        let others = peers.all.iter().filter(|peer| peer.name != peers.local);
        let none = vec![0; tables.len()];
        let peer = |peer: &crate::config::Peer| Peer {
            name: peer.name.clone(),
            address: peer.address,
            tls: peer.tls.for_traffic().cloned(),
            connection: None,
            established: false,
            acknowledged: none.clone(),
            pushed: none.clone(),
            learned: none.clone(),
            resync_was_partial: false,
            broken_lessons: 0,
            status: "NONE",
            greeted: None,
            counts: [0; 6],
        };
        Section {
            name: peers.name.clone(),
            local: peers.local.clone(),
            listens: peers.listens(),
            tls: peers.tls.clone(),
            batch: peers.batch as usize,
            peers: others.map(peer).collect(),
            tables,
            resync: Resync::Needed,
            resync_until: now + RESYNC_MS,
            lesson_until: now,
            began: Instant::now(),
            began_at: SystemTime::now(),
            connections: 0,
        }
    }

    /// Returns whether a newer configuration has an equal `peers` section: the same peers,
    /// addresses, tables and number of updates per batch.
    pub fn is_same(&self, config: &Config, peers: &Peers) -> bool {
        let tables = shared(config, peers);
        let others: Vec<_> = peers.all.iter().filter(|p| p.name != peers.local).collect();
        self.local == peers.local
            && self.listens == peers.listens()
            && self.batch == peers.batch as usize
            && others.len() == self.peers.len()
            && others
                .iter()
                .zip(&self.peers)
                .all(|(new, old)| new.name == old.name && new.address == old.address)
            && tables.len() == self.tables.len()
            && tables.iter().zip(&self.tables).all(|(new, old)| {
                Arc::ptr_eq(&new.table, &old.table) && new.description == old.description
            })
    }

    /// Applies the TLS settings of a newer configuration to later connections.
    pub fn renew_tls(&mut self, peers: &Peers) {
        self.tls.clone_from(&peers.tls);
        for peer in &mut self.peers {
            let described = peers.all.iter().find(|one| one.name == peer.name);
            peer.tls = described.and_then(|one| one.tls.for_traffic().cloned());
        }
    }

    pub fn descriptions(&self) -> Vec<TableDescription> {
        let tables = self.tables.iter();
        tables.map(|shared| shared.description.clone()).collect()
    }

    /// Registers a new connection as the current one of a peer and returns its number.
    pub fn connect(&mut self, peer: usize) -> u64 {
        self.connections += 1;
        let number = self.connections;
        if let Some(peer) = self.peers.get_mut(peer) {
            peer.connection = Some(number);
            peer.established = false;
        }
        number
    }

    pub fn is_current(&self, peer: usize, connection: u64) -> bool {
        let peer = self.peers.get(peer);
        peer.is_some_and(|peer| peer.connection == Some(connection))
    }

    /// Assigns numbers to the changes in the tables, and drops the updates that all peers have, and
    /// the oldest beyond the limit.
    pub fn collect(&mut self) {
        for (at, shared) in self.tables.iter_mut().enumerate() {
            for key in shared.table.take_updated_keys(NEWS_MAX) {
                shared.last = shared.last.wrapping_add(1).max(1);
                if let Some(before) = shared.numbers.insert(key.clone(), shared.last) {
                    shared.updates.remove(&before);
                }
                shared.updates.insert(shared.last, key);
            }
            let have = self
                .peers
                .iter()
                .filter_map(|peer| peer.acknowledged.get(at));
            let all_have = have.copied().min().unwrap_or(shared.last);
            let known = |number: u32| number <= all_have;
            // Limits the updates to the size of the table, too: in a small table with many keys,
            // the keys of most updates are already evicted.
            let most = UPDATES_MAX.min(shared.table.make.size as usize);
            while let Some(first) = shared.updates.first_entry() {
                if !known(*first.key()) && shared.numbers.len() <= most {
                    break;
                }
                shared.numbers.remove(&first.remove());
            }
        }
    }

    /// Returns whether updates of the local tables may be sent to a peer: once this process is
    /// synchronized, or a resynchronization that it requested from that peer has ended. Before
    /// that, the peer could send the updates back as part of a resynchronization, and overwrite
    /// newer local counts.
    fn can_send_updates(&self, peer: usize) -> bool {
        let asked = self
            .peers
            .get(peer)
            .is_some_and(|peer| peer.resync_was_partial);
        self.resync == Resync::Done || (asked && self.resync != Resync::Asked(peer))
    }

    /// Returns the updates of a table that were not sent to a peer yet, at most `max`.
    pub fn next_updates(&mut self, peer: usize, table: usize, max: usize) -> Vec<Update> {
        if !self.can_send_updates(peer) {
            return Vec::new();
        }
        let (Some(peer), Some(shared)) = (self.peers.get_mut(peer), self.tables.get(table)) else {
            return Vec::new();
        };
        let Some(pushed) = peer.pushed.get_mut(table) else {
            return Vec::new();
        };
        let mut updates = Vec::new();
        let from = pushed.saturating_add(1);
        for (number, key) in shared.updates.range(from..).take(max) {
            *pushed = *number;
            if let Some(held) = shared.table.find(key) {
                held.mark_as_sent();
                updates.push(Update {
                    table,
                    number: *number,
                    expires_in_ms: None,
                    key: entry::key_out(&shared.table, key),
                    fields: entry::fields(&held),
                });
            }
        }
        updates
    }

    /// Returns whether to request a full resynchronization from this peer now, and records the
    /// request.
    pub fn start_resync_if_due(&mut self, peer: usize, now: Milliseconds) -> bool {
        if self.resync != Resync::Done && now >= self.resync_until {
            // Ends the wait for a peer that does not respond, so that another one can be asked. If
            // none is left, the process counts as synchronized.
            self.resync = Resync::Needed;
            if self
                .peers
                .iter()
                .all(|p| p.resync_was_partial || !p.established)
            {
                self.resync = Resync::Done;
            }
        }
        let is_free = self.resync == Resync::Needed;
        match self.peers.get_mut(peer) {
            Some(one) if is_free && !one.resync_was_partial && one.established => {
                self.resync = Resync::Asked(peer);
                one.resync_was_partial = true;
                self.resync_until = now + RESYNC_MS;
                self.lesson_until = now + LESSON_MS;
                true
            }
            _ => false,
        }
    }

    /// Records that a peer sent an entry. Returns whether the peer is sending a resynchronization;
    /// the time limit is then extended.
    pub fn record_received_entry(&mut self, peer: usize, now: Milliseconds) -> bool {
        let is_taught = self.resync == Resync::Asked(peer);
        if is_taught {
            self.resync_until = (now + RESYNC_MS).min(self.lesson_until);
        }
        is_taught
    }

    /// Records the end of a resynchronization; `whole` if it was complete.
    pub fn finish_resync(&mut self, peer: usize, whole: bool, now: Milliseconds) {
        if whole {
            self.resync = Resync::Done;
        } else if self.resync == Resync::Asked(peer) {
            self.resync = Resync::Needed;
            self.resync_until = now + RESYNC_MS;
        }
    }

    pub fn disconnect(&mut self, peer: usize, connection: u64) {
        if !self.is_current(peer, connection) {
            return;
        }
        let in_lesson = self.resync == Resync::Asked(peer);
        if in_lesson {
            self.resync = Resync::Needed;
        }
        if let Some(peer) = self.peers.get_mut(peer) {
            if in_lesson {
                // Allows another request to the peer when it returns, unless too many were
                // interrupted.
                peer.broken_lessons += 1;
                peer.resync_was_partial = peer.broken_lessons >= BROKEN_LESSONS_MAX;
            }
            peer.connection = None;
            peer.established = false;
            // Updates that the peer did not acknowledge are sent again.
            peer.pushed.clone_from(&peer.acknowledged);
        }
    }
}

impl Section {
    pub fn is_peers(&self, ip: IpAddr) -> bool {
        let mut addresses = self.peers.iter().filter_map(|peer| peer.address);
        addresses.any(|address| address.ip().to_canonical() == ip.to_canonical())
    }

    pub fn disconnect_any(&mut self, peer: usize) {
        let number = self.peers.get(peer).and_then(|peer| peer.connection);
        if let Some(number) = number {
            self.disconnect(peer, number);
        }
    }
}
