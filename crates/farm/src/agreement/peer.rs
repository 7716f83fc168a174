//! State of the connection with each other node, and the messages that are due to it.

use super::message::{AgreementMessage, KEY_BYTES};
use super::{Agreement, BROKEN_MS, InvalidMessage, SYNC_MS};
use crate::collection::Assignee;
use crate::directory::{DirectoryId, FarHost, HostOrder};
use crate::user::UserId;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

pub(super) const RECORDS_MAX: usize = 250;
/// Limit of claims and responses that wait to be sent to one node.
const QUEUE_MAX: usize = 50_000;
/// Time for which the hosts of an unreachable node are kept, milliseconds.
const HOSTS_KEPT_MS: u64 = 60_000;

/// State of the connection with another node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PeerState {
    /// Expected after the start of this node.
    Awaited {
        /// End of the wait, milliseconds.
        until_ms: u64,
    },
    /// Connected; the directory of the node is being received.
    Syncing {
        /// Deadline for the directory, milliseconds.
        until_ms: u64,
    },
    /// Connected; both nodes have the same directory.
    Synced,
    /// The connection broke, and may return.
    Broken {
        /// End of the wait, milliseconds.
        until_ms: u64,
    },
    /// Unreachable: this node decides without it.
    Gone,
}

/// Connection with another node, for the report.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PeerStatus {
    pub state: PeerState,
    /// Reason why there is no connection.
    pub why: String,
    /// Time of the last change of the state, milliseconds.
    pub since_ms: u64,
    /// Check value of the node's token key.
    pub key: [u8; KEY_BYTES],
}

#[derive(Clone, Debug)]
pub(super) struct Peer {
    pub(super) state: PeerState,
    why: String,
    since_ms: u64,
    origin: DirectoryId,
    /// Pending output: hosts and orders, messages, users, and the mark that everything has been
    /// sent.
    opens: bool,
    pub(super) queue: VecDeque<AgreementMessage>,
    dirty: BTreeSet<Assignee>,
    ends: bool,
    /// Check value of the node's token key.
    key: [u8; KEY_BYTES],
}

impl Peer {
    pub(super) fn new(state: PeerState, now_ms: u64) -> Peer {
        Peer {
            state,
            why: "not connected yet".to_owned(),
            since_ms: now_ms,
            origin: DirectoryId::default(),
            opens: false,
            queue: VecDeque::new(),
            dirty: BTreeSet::new(),
            ends: false,
            key: [0; KEY_BYTES],
        }
    }

    pub(super) fn is_synced(&self) -> bool {
        self.state == PeerState::Synced
    }

    pub(super) fn is_linked(&self) -> bool {
        matches!(self.state, PeerState::Synced | PeerState::Syncing { .. })
    }

    pub(super) fn due_ms(&self) -> Option<u64> {
        match self.state {
            PeerState::Awaited { until_ms }
            | PeerState::Syncing { until_ms }
            | PeerState::Broken { until_ms } => Some(until_ms),
            PeerState::Synced | PeerState::Gone => None,
        }
    }

    fn clear(&mut self) {
        (self.opens, self.ends) = (false, false);
        self.queue.clear();
        self.dirty.clear();
    }
}

impl Agreement {
    /// Handles a new connection to a node whose directory has this origin.
    pub fn linked(&mut self, node: &str, origin: DirectoryId, now_ms: u64) {
        self.unlinked(node, PeerState::Gone, "", now_ms);
        let all = self.directory.users().map(|(id, _)| id).collect();
        let Some(peer) = self.peers.get_mut(node) else {
            return;
        };
        let until_ms = now_ms.saturating_add(SYNC_MS);
        peer.clear();
        peer.state = PeerState::Syncing { until_ms };
        (peer.origin, peer.since_ms) = (origin, now_ms);
        peer.why.clear();
        peer.dirty = all;
        (peer.opens, peer.ends) = (true, true);
    }

    /// Handles a broken connection, or a node that does not have this farm.
    pub fn broke(&mut self, node: &str, why: &str, now_ms: u64) {
        let was_linked = self.peers.get(node).is_some_and(Peer::is_linked);
        if was_linked {
            let until_ms = now_ms.saturating_add(BROKEN_MS);
            self.unlinked(node, PeerState::Broken { until_ms }, why, now_ms);
            self.pump(now_ms);
        } else if let Some(peer) = self.peers.get_mut(node) {
            why.clone_into(&mut peer.why);
        }
    }

    /// Handles the message of a node that it is not part of this farm, or leaves it. The node is
    /// not waited for.
    pub fn left(&mut self, node: &str, why: &str, now_ms: u64) {
        self.unlinked(node, PeerState::Gone, why, now_ms);
        if let Some(peer) = self.peers.get_mut(node) {
            peer.state = PeerState::Gone;
            why.clone_into(&mut peer.why);
        }
        self.pump(now_ms);
    }

    /// Changes from a connected state to another one. The caller has to re-evaluate the waiting
    /// logons.
    pub(super) fn unlinked(&mut self, node: &str, state: PeerState, why: &str, now_ms: u64) {
        let Some(peer) = self.peers.get_mut(node).filter(|peer| peer.is_linked()) else {
            return;
        };
        peer.clear();
        (peer.state, peer.since_ms) = (state, now_ms);
        why.clone_into(&mut peer.why);
        let origin = peer.origin;
        self.directory.lost(origin, now_ms);
        self.reclaim();
    }

    /// Forgets the hosts of nodes that have been unreachable for `HOSTS_KEPT_MS`.
    pub(super) fn forget_hosts(&mut self, now_ms: u64) {
        let is_old = |peer: &Peer| {
            let gone_ms = now_ms.saturating_sub(peer.since_ms);
            peer.state == PeerState::Gone && gone_ms >= HOSTS_KEPT_MS
        };
        let gone = self.peers.iter().filter(|(_, peer)| is_old(peer));
        for node in gone.map(|(node, _)| node.clone()).collect::<Vec<_>>() {
            if self.directory.has_far(&node) {
                self.directory.set_far(&node, Vec::new());
            }
        }
    }

    /// Schedules the hosts and orders of this node for all peers, after a change.
    pub fn reopen(&mut self) {
        for peer in self.peers.values_mut().filter(|peer| peer.is_linked()) {
            peer.opens = true;
        }
    }

    /// Notes for each peer the users whose latest state it does not know.
    pub(super) fn spread(&mut self) {
        for (id, from) in self.directory.take_touched() {
            let others = self.peers.values_mut().filter(|peer| peer.is_linked());
            for peer in others.filter(|peer| Some(peer.origin) != from) {
                peer.dirty.insert(id);
            }
        }
    }

    /// Returns whether a message is due to a node.
    pub fn has_message(&self, node: &str) -> bool {
        let has = |peer: &Peer| {
            peer.opens || peer.ends || !peer.queue.is_empty() || !peer.dirty.is_empty()
        };
        self.peers
            .get(node)
            .is_some_and(|peer| peer.is_linked() && has(peer))
    }

    /// Returns the next message to a node. `key` is the check value of the token key.
    pub fn next_message(
        &mut self,
        node: &str,
        key: [u8; KEY_BYTES],
        now_ms: u64,
    ) -> Option<AgreementMessage> {
        self.spread();
        let peer = self.peers.get_mut(node).filter(|peer| peer.is_linked())?;
        if std::mem::take(&mut peer.opens) {
            let orders = self.directory.orders().clone();
            let hosts = self.directory.own_hosts();
            return Some(AgreementMessage::Open { hosts, orders, key });
        }
        if let Some(message) = peer.queue.pop_front() {
            return Some(message);
        }
        let mut records = Vec::new();
        while records.len() < RECORDS_MAX
            && let Some(id) = peer.dirty.pop_first()
        {
            records.extend(self.directory.record(id, now_ms));
        }
        if !records.is_empty() {
            return Some(AgreementMessage::Records(records));
        }
        std::mem::take(&mut peer.ends).then_some(AgreementMessage::Whole)
    }

    /// Handles a message of a node.
    ///
    /// # Errors
    /// The message is one that no correct node sends; the connection has to end.
    pub fn handle(
        &mut self,
        node: &str,
        message: AgreementMessage,
        now_ms: u64,
    ) -> Result<(), InvalidMessage> {
        message.check()?;
        let Some(peer) = self.peers.get_mut(node).filter(|peer| peer.is_linked()) else {
            return Ok(());
        };
        let origin = peer.origin;
        match message {
            AgreementMessage::Open { hosts, orders, key } => {
                peer.key = key;
                self.opened(node, hosts, &orders);
            }
            AgreementMessage::Records(records) => {
                for record in &records {
                    self.directory.merge(record, origin, now_ms);
                }
            }
            AgreementMessage::Whole => {
                peer.state = PeerState::Synced;
                self.pump(now_ms);
            }
            AgreementMessage::Claim {
                number,
                record,
                over,
            } => self.claimed(node, number, &record, over, now_ms),
            AgreementMessage::Reply { number, record } => {
                self.replied(node, number, &record, now_ms)
            }
            AgreementMessage::Full { number } => self.refused(node, number, now_ms),
            AgreementMessage::Busy { number } => self.retries(node, number, now_ms),
            // Handled by the site, which has the connections.
            AgreementMessage::Steps(_)
            | AgreementMessage::Disconnect { .. }
            | AgreementMessage::SignedOut(_)
            | AgreementMessage::Tries(_)
            | AgreementMessage::UseCode { .. }
            | AgreementMessage::CodeUsed { .. } => {}
        }
        Ok(())
    }

    fn opened(&mut self, node: &str, hosts: Vec<FarHost>, orders: &BTreeMap<String, HostOrder>) {
        self.directory.set_far(node, hosts);
        if self.directory.take_orders(orders) {
            // A third node may not have received them yet.
            let others = self.peers.iter_mut().filter(|(one, _)| *one != node);
            others.for_each(|(_, peer)| peer.opens |= peer.is_linked());
        }
    }

    /// Returns the origin of a peer's directory while it is connected.
    pub(super) fn origin_of(&self, node: &str) -> Option<DirectoryId> {
        let peer = self.peers.get(node).filter(|peer| peer.is_linked())?;
        Some(peer.origin)
    }

    /// Returns the node of the directory with this origin.
    pub fn node_of(&self, origin: DirectoryId) -> Option<&str> {
        let mut peers = self.peers.iter();
        let found = peers.find(|(_, peer)| peer.is_linked() && peer.origin == origin);
        found.map(|(node, _)| node.as_str())
    }

    /// Returns the connection state of each peer.
    pub fn standings(&self) -> impl Iterator<Item = (&str, PeerStatus)> {
        self.peers.iter().map(|(node, peer)| {
            let standing = PeerStatus {
                state: peer.state,
                why: peer.why.clone(),
                since_ms: peer.since_ms,
                key: peer.key,
            };
            (node.as_str(), standing)
        })
    }

    /// Returns the nodes that have to respond to a claim.
    pub(super) fn synced(&self) -> BTreeSet<String> {
        let synced = self.peers.iter().filter(|(_, peer)| peer.is_synced());
        synced.map(|(node, _)| node.clone()).collect()
    }

    /// Requests that all connected nodes close their connections of a user. Returns the names of
    /// these nodes.
    pub fn disconnect(&mut self, user: UserId, host: &str) -> Vec<String> {
        let linked = self.peers.iter().filter(|(_, peer)| peer.is_linked());
        let linked: Vec<String> = linked.map(|(node, _)| node.clone()).collect();
        for node in &linked {
            let host = host.to_owned();
            self.send(node, AgreementMessage::Disconnect { user, host });
        }
        linked
    }

    pub(super) fn send(&mut self, node: &str, message: AgreementMessage) {
        let Some(peer) = self.peers.get_mut(node).filter(|peer| peer.is_linked()) else {
            return;
        };
        if peer.queue.len() < QUEUE_MAX {
            peer.queue.push_back(message)
        } else {
            self.broken.push((node.to_owned(), "it takes nothing"))
        }
    }
}
