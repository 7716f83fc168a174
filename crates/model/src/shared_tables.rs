//! Tables that several processes share by HAProxy's peers protocol, as values.
//!
//! What the connections of one `peers` section have in common: the tables with
//! the updates that peers do not have yet, and who knows everything.

pub mod entry;

use crate::config::{Config, Peers};
pub use crate::state::peers::{Peer, PeersState, Resync, Section, SharedTable};
use protocol::peers::{Milliseconds, TableDescription, Update};
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

/// Updates of one table that are kept for peers who are away. Beyond that the
/// oldest are forgotten, and who comes back learns them when it asks for all.
const UPDATES_MAX: usize = 1 << 18;
/// Entries that are taken out of a table's list of news at once.
const NEWS_MAX: usize = 1 << 14;
/// Without anybody to learn from for so long, this process counts as knowing all.
const RESYNC_MS: u64 = 5_000;
/// A lesson that is still under way then counts as over.
const LESSON_MS: u64 = 60_000;
/// Lessons of one peer that broke off before it is asked no more.
const BROKEN_LESSONS_MAX: u32 = 3;

/// Index in [`Peer::counts`]: heartbeats sent.
pub const HEARTBEATS_OUT: usize = 0;
/// Index in [`Peer::counts`]: heartbeats received.
pub const HEARTBEATS_IN: usize = 1;
/// Index in [`Peer::counts`]: connections that fell silent.
pub const SILENCES: usize = 2;
/// Index in [`Peer::counts`]: connections.
pub const CONNECTIONS: usize = 3;
/// Index in [`Peer::counts`]: wrong messages.
pub const FAULTS: usize = 4;
/// Index in [`Peer::counts`]: collisions.
pub const COLLISIONS: usize = 5;

/// The tables that a section shares.
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
    /// A section of a configuration that serves.
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
            asked: false,
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

    /// Whether it is the same in a newer configuration: who, where, which tables.
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

    /// Takes the certificates of a newer configuration, for the connections from now on.
    pub fn renew_tls(&mut self, peers: &Peers) {
        self.tls.clone_from(&peers.tls);
        for peer in &mut self.peers {
            let described = peers.all.iter().find(|one| one.name == peer.name);
            peer.tls = described.and_then(|one| one.tls.for_traffic().cloned());
        }
    }

    /// Returns the descriptions of all tables.
    pub fn descriptions(&self) -> Vec<TableDescription> {
        let tables = self.tables.iter();
        tables.map(|shared| shared.description.clone()).collect()
    }

    /// The number of one more connection, which becomes the one of a peer.
    pub fn connect(&mut self, peer: usize) -> u64 {
        self.connections += 1;
        let number = self.connections;
        if let Some(peer) = self.peers.get_mut(peer) {
            peer.connection = Some(number);
            peer.established = false;
        }
        number
    }

    /// Whether a connection is still the one of its peer.
    pub fn is_current(&self, peer: usize, connection: u64) -> bool {
        let peer = self.peers.get(peer);
        peer.is_some_and(|peer| peer.connection == Some(connection))
    }

    /// Numbers what changed in the tables, and forgets what all peers have.
    pub fn collect(&mut self) {
        for (at, shared) in self.tables.iter_mut().enumerate() {
            for key in shared.table.take_news(NEWS_MAX) {
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
            // Of a small table with many keys most are gone again.
            let most = UPDATES_MAX.min(shared.table.make.size as usize);
            while let Some(first) = shared.updates.first_entry() {
                if !known(*first.key()) && shared.numbers.len() <= most {
                    break;
                }
                shared.numbers.remove(&first.remove());
            }
        }
    }

    /// Whether a peer is told what changes here. It is not before its lesson is over:
    /// what it was told could come back as a part of the lesson, over what was
    /// counted here since.
    fn may_tell(&self, peer: usize) -> bool {
        let asked = self.peers.get(peer).is_some_and(|peer| peer.asked);
        self.resync == Resync::Done || (asked && self.resync != Resync::Asked(peer))
    }

    /// Updates of a table that a peer was not sent, as many as go at once.
    pub fn next_updates(&mut self, peer: usize, table: usize, max: usize) -> Vec<Update> {
        if !self.may_tell(peer) {
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
                held.set_told();
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

    /// Whom to ask for everything, if this peer is to be asked now.
    pub fn asks(&mut self, peer: usize, now: Milliseconds) -> bool {
        if self.resync != Resync::Done && now >= self.resync_until {
            // Who was asked takes too long; there may be others.
            self.resync = Resync::Needed;
            if self.peers.iter().all(|p| p.asked || !p.established) {
                self.resync = Resync::Done;
            }
        }
        let is_free = self.resync == Resync::Needed;
        match self.peers.get_mut(peer) {
            Some(one) if is_free && !one.asked && one.established => {
                self.resync = Resync::Asked(peer);
                one.asked = true;
                self.resync_until = now + RESYNC_MS;
                self.lesson_until = now + LESSON_MS;
                true
            }
            _ => false,
        }
    }

    /// An entry came. While a peer teaches, more of its lesson is waited for; the answer
    /// is whether it does.
    pub fn learns(&mut self, peer: usize, now: Milliseconds) -> bool {
        let is_taught = self.resync == Resync::Asked(peer);
        if is_taught {
            self.resync_until = (now + RESYNC_MS).min(self.lesson_until);
        }
        is_taught
    }

    /// A lesson is over.
    pub fn learned_all(&mut self, peer: usize, whole: bool, now: Milliseconds) {
        if whole {
            self.resync = Resync::Done;
        } else if self.resync == Resync::Asked(peer) {
            self.resync = Resync::Needed;
            self.resync_until = now + RESYNC_MS;
        }
    }

    /// A connection is over.
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
                // It is asked anew when it is back.
                peer.broken_lessons += 1;
                peer.asked = peer.broken_lessons >= BROKEN_LESSONS_MAX;
            }
            peer.connection = None;
            peer.established = false;
            // What it did not say to have is sent again.
            peer.pushed.clone_from(&peer.acknowledged);
        }
    }
}

impl Section {
    /// Whether an address is one of a peer.
    pub fn is_peers(&self, ip: IpAddr) -> bool {
        let mut addresses = self.peers.iter().filter_map(|peer| peer.address);
        addresses.any(|address| address.ip().to_canonical() == ip.to_canonical())
    }

    /// Whatever connection a peer has is over.
    pub fn disconnect_any(&mut self, peer: usize) {
        let number = self.peers.get(peer).and_then(|peer| peer.connection);
        if let Some(number) = number {
            self.disconnect(peer, number);
        }
    }
}
