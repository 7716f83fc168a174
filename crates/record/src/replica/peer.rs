//! Tracks the connection with each other node, and the messages that are due to it.

use super::{BROKEN_MS, CLAIM_MS, Replica, SYNC_MS};
use crate::directory::{Directory, GroupOf, MessageOf};
use crate::message::Message;
use crate::record::InvalidMessage;
use crate::version::{Origin, Version};
use std::collections::{BTreeSet, VecDeque};

const SENT_MAX: usize = 250;
const QUEUE_MAX: usize = 50_000;
/// Time for which the opening of an unreachable node is kept, milliseconds.
pub const OPENING_KEPT_MS: u64 = 60_000;

/// State of the connection with another node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PeerState {
    /// Expected after the start of this node.
    Awaited { until_ms: u64 },
    /// Connected; the records of the node are being received.
    Syncing { until_ms: u64 },
    /// Connected; both nodes have the same records.
    Synced,
    /// The connection broke, and may return.
    Broken { until_ms: u64 },
    /// Unreachable: this node decides without it.
    Gone,
}

/// Connection with another node, for the report.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PeerStatus {
    pub state: PeerState,
    pub why: String,
    pub since_ms: u64,
}

#[derive(Debug)]
pub(crate) struct Peer<D: Directory> {
    pub(crate) state: PeerState,
    why: String,
    since_ms: u64,
    pub(crate) origin: Origin,
    /// Pending output, in this field and the next three: the opening, claims and responses, changed
    /// keys, and the mark that everything has been sent.
    opens: bool,
    queue: VecDeque<MessageOf<D>>,
    dirty: BTreeSet<D::Key>,
    ends: bool,
}

impl<D: Directory> Peer<D> {
    pub(crate) fn new(state: PeerState, now_ms: u64) -> Peer<D> {
        Peer {
            state,
            why: "not connected yet".to_owned(),
            since_ms: now_ms,
            origin: Origin::default(),
            opens: false,
            queue: VecDeque::new(),
            dirty: BTreeSet::new(),
            ends: false,
        }
    }

    pub(crate) fn is_synced(&self) -> bool {
        self.state == PeerState::Synced
    }

    pub(crate) fn is_linked(&self) -> bool {
        matches!(self.state, PeerState::Synced | PeerState::Syncing { .. })
    }

    pub(crate) fn due_ms(&self) -> Option<u64> {
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

impl<D: Directory> Replica<D> {
    /// Handles a new connection to a node whose table has this origin.
    pub fn linked(&mut self, node: &str, origin: Origin, now_ms: u64) {
        self.unlink(node, PeerState::Gone, "", now_ms);
        let all = self.directory.table().iter().map(|(key, _)| key).collect();
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

    /// Handles a broken connection, or a node that does not have this directory.
    pub fn broke(&mut self, node: &str, why: &str, now_ms: u64) {
        let was_linked = self.peers.get(node).is_some_and(Peer::is_linked);
        if was_linked {
            let until_ms = now_ms.saturating_add(BROKEN_MS);
            self.unlink(node, PeerState::Broken { until_ms }, why, now_ms);
            self.pump(now_ms);
        } else if let Some(peer) = self.peers.get_mut(node) {
            why.clone_into(&mut peer.why);
        }
    }

    /// Handles the message of a node that it does not have this directory, or leaves. The node is
    /// not waited for.
    pub fn left(&mut self, node: &str, why: &str, now_ms: u64) {
        self.unlink(node, PeerState::Gone, why, now_ms);
        if let Some(peer) = self.peers.get_mut(node) {
            peer.state = PeerState::Gone;
            why.clone_into(&mut peer.why);
        }
        self.pump(now_ms);
    }

    /// Changes from a connected state to another one. The caller has to re-evaluate the waiting
    /// requests.
    pub(crate) fn unlink(&mut self, node: &str, state: PeerState, why: &str, now_ms: u64) {
        let Some(peer) = self.peers.get_mut(node).filter(|peer| peer.is_linked()) else {
            return;
        };
        peer.clear();
        (peer.state, peer.since_ms) = (state, now_ms);
        why.clone_into(&mut peer.why);
        let origin = peer.origin;
        self.tentative.retain(|_, one| one.version.origin != origin);
        self.directory.lost(origin, now_ms);
        self.requeue_claims();
    }

    pub(crate) fn forget_openings(&mut self, now_ms: u64) {
        let is_old = |peer: &Peer<D>| {
            let gone_ms = now_ms.saturating_sub(peer.since_ms);
            peer.state == PeerState::Gone && gone_ms >= OPENING_KEPT_MS
        };
        for (node, _) in self.peers.iter().filter(|(_, peer)| is_old(peer)) {
            if self.directory.has_node(node) {
                self.directory.forget_node(node);
            }
        }
    }

    /// Schedules the opening of this node for all peers, after a change.
    pub fn reopen(&mut self) {
        for peer in self.peers.values_mut().filter(|peer| peer.is_linked()) {
            peer.opens = true;
        }
    }

    pub(crate) fn spread(&mut self) {
        for (key, from) in self.directory.table_mut().take_unsent() {
            let others = self.peers.values_mut().filter(|peer| peer.is_linked());
            for peer in others.filter(|peer| Some(peer.origin) != from) {
                peer.dirty.insert(key);
            }
        }
    }

    pub fn has_message(&self, node: &str) -> bool {
        let has = |peer: &Peer<D>| {
            peer.opens || peer.ends || !peer.queue.is_empty() || !peer.dirty.is_empty()
        };
        self.peers
            .get(node)
            .is_some_and(|peer| peer.is_linked() && has(peer))
    }

    pub fn next_message(&mut self, node: &str, now_ms: u64) -> Option<MessageOf<D>> {
        self.spread();
        let peer = self.peers.get_mut(node).filter(|peer| peer.is_linked())?;
        if std::mem::take(&mut peer.opens) {
            return Some(Message::Open(self.directory.opening()));
        }
        if let Some(message) = peer.queue.pop_front() {
            return Some(message);
        }
        let mut records = Vec::new();
        while records.len() < SENT_MAX
            && let Some(key) = peer.dirty.pop_first()
        {
            records.extend(self.directory.record(key, now_ms));
        }
        if !records.is_empty() {
            return Some(Message::Records(records));
        }
        std::mem::take(&mut peer.ends).then_some(Message::Whole)
    }

    /// Handles a message of a node.
    ///
    /// # Errors
    /// The message is one that no correct node sends; the connection has to end.
    pub fn handle(
        &mut self,
        node: &str,
        message: MessageOf<D>,
        now_ms: u64,
    ) -> Result<(), InvalidMessage> {
        message.check()?;
        let Some(peer) = self.peers.get_mut(node).filter(|peer| peer.is_linked()) else {
            return Ok(());
        };
        let origin = peer.origin;
        match message {
            Message::Open(opening) => {
                if self.directory.open(node, opening) {
                    // Forwards the opening, because a third node may not have received it yet.
                    let others = self.peers.iter_mut().filter(|(one, _)| *one != node);
                    others.for_each(|(_, peer)| peer.opens |= peer.is_linked());
                }
            }
            Message::Records(records) => {
                let mut is_confirmed = false;
                for record in &records {
                    let before = self.directory.table().get(record.key);
                    let is_same = |held: Version| {
                        let of = |one: Version| (one.generation, one.clock, one.origin);
                        of(held) == of(record.version)
                    };
                    let is_new = before.is_none_or(|before| !is_same(before.version));
                    self.directory.merge(record, origin, now_ms);
                    if is_new && record.version.origin != origin && record.age_ms < CLAIM_MS {
                        // Notes a claim that the sender may have adopted.
                        self.note_claim(record.key, now_ms);
                    }
                    let tentative = self.tentative.get(&record.key);
                    if tentative.is_some_and(|one| {
                        one.version <= record.version && origin == one.version.origin
                    }) {
                        self.tentative.remove(&record.key);
                        is_confirmed = true;
                    }
                }
                if is_confirmed {
                    self.pump(now_ms);
                }
            }
            Message::Whole => {
                peer.state = PeerState::Synced;
                self.pump(now_ms);
            }
            Message::Claim {
                number,
                record,
                over,
            } => self.handle_claim(node, number, &record, over, now_ms),
            Message::Reply { number, record } => self.handle_reply(node, number, &record, now_ms),
            Message::Full { number } => self.handle_full(node, number, now_ms),
            Message::Busy { number } => self.handle_busy(node, number, now_ms),
        }
        Ok(())
    }

    pub(crate) fn origin_of(&self, node: &str) -> Option<Origin> {
        let peer = self.peers.get(node).filter(|peer| peer.is_linked())?;
        Some(peer.origin)
    }

    pub fn node_of(&self, origin: Origin) -> Option<&str> {
        let mut peers = self.peers.iter();
        let found = peers.find(|(_, peer)| peer.is_linked() && peer.origin == origin);
        found.map(|(node, _)| node.as_str())
    }

    pub fn peer_statuses(&self) -> impl Iterator<Item = (&str, PeerStatus)> {
        self.peers.iter().map(|(node, peer)| {
            let status = PeerStatus {
                state: peer.state,
                why: peer.why.clone(),
                since_ms: peer.since_ms,
            };
            (node.as_str(), status)
        })
    }

    pub fn synced(&self) -> BTreeSet<String> {
        let synced = self.peers.iter().filter(|(_, peer)| peer.is_synced());
        synced.map(|(node, _)| node.clone()).collect()
    }

    pub fn connected_nodes(&self) -> Vec<String> {
        let linked = self.peers.iter().filter(|(_, peer)| peer.is_linked());
        linked.map(|(node, _)| node.clone()).collect()
    }

    /// Returns the directory, and whether a claim for a key of a group is pending: the claim decides
    /// about it then.
    pub fn split_claims(&mut self) -> (&mut D, impl Fn(GroupOf<D>) -> bool) {
        let claims = &self.claims;
        (&mut self.directory, |group| claims.contains_key(&group))
    }

    pub(crate) fn send(&mut self, node: &str, message: MessageOf<D>) {
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
