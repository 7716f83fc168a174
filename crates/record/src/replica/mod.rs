//! Keeps a directory that agrees with those of other nodes: answers known keys, and decides unknown
//! ones by claims.

mod claim;
mod peer;

pub use peer::{OPENING_KEPT_MS, PeerState, PeerStatus};

use crate::defect::Defect;
use crate::directory::{Directory, EntryOf, GroupOf, Proposal, StoreRefusal};
use crate::version::Version;
use claim::PendingClaim;
use peer::Peer;
use std::collections::{BTreeMap, BTreeSet};

/// Time for which other nodes are waited for after the start, milliseconds.
pub const START_MS: u64 = 1_500;
/// Time for which a broken connection is waited for before this node decides alone, milliseconds.
pub const BROKEN_MS: u64 = 300;
pub const SYNC_MS: u64 = 5_000;
/// Timeout for the reply to a claim, milliseconds; the connection is closed when it expires.
pub const CLAIM_MS: u64 = 1_000;
const WAITING_MAX: usize = 20_000;

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome<T, E> {
    Decided(Result<T, E>),
    /// The decision follows later, under this ticket.
    Waits(u64),
}

type Resolved<D> = (
    u64,
    Result<<D as Directory>::Decision, <D as Directory>::Refusal>,
);

#[derive(Debug)]
pub(crate) struct WaitingRequest<D: Directory> {
    pub(crate) request: D::Request,
    pub(crate) ticket: u64,
}

/// An adopted claim that its author has not confirmed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tentative {
    pub(crate) version: Version,
    /// Time after which the record counts as confirmed, milliseconds.
    pub(crate) until_ms: u64,
}

/// Directory of this node, and its agreement with the other nodes. The caller delivers the messages
/// of each connection in order, or reports its end; and calls [`Replica::tick`] when it is due.
#[derive(Debug)]
pub struct Replica<D: Directory> {
    pub directory: D,
    pub(crate) peers: BTreeMap<String, Peer<D>>,
    start_until_ms: Option<u64>,
    /// Pending claims: two of one group at the same time could lead to two values of a third key.
    pub(crate) claims: BTreeMap<GroupOf<D>, PendingClaim<D>>,
    /// Proposals whose claims ended when a connection broke: another node may have adopted them.
    /// For each of these keys, a request waits.
    pub(crate) unsettled: BTreeMap<D::Key, Proposal<D>>,
    /// Adopted claims of nodes that ask a third node as well, which may know better: a request for
    /// the key waits until the claim is confirmed.
    pub(crate) tentative: BTreeMap<D::Key, Tentative>,
    pub(crate) waiting: Vec<WaitingRequest<D>>,
    pub(crate) resolved: Vec<Resolved<D>>,
    pub(crate) broken: Vec<(String, &'static str)>,
    pub(crate) next: u64,
}

impl<D: Directory> Replica<D> {
    /// Creates the replica of a node without peers.
    pub fn alone(directory: D) -> Replica<D> {
        Replica {
            directory,
            peers: BTreeMap::new(),
            start_until_ms: None,
            claims: BTreeMap::new(),
            unsettled: BTreeMap::new(),
            tentative: BTreeMap::new(),
            waiting: Vec::new(),
            resolved: Vec::new(),
            broken: Vec::new(),
            next: 0,
        }
    }

    /// Creates the replica of a cluster node. The names of the other nodes follow later.
    pub fn shared(directory: D, now_ms: u64) -> Replica<D> {
        let mut replica = Replica::alone(directory);
        replica.start_until_ms = Some(now_ms.saturating_add(START_MS));
        replica
    }

    pub fn set_peers(&mut self, nodes: &BTreeSet<String>, now_ms: u64) {
        let gone = self.peers.keys().filter(|node| !nodes.contains(*node));
        for node in gone.cloned().collect::<Vec<_>>() {
            let why = "it is no node of the cluster";
            self.unlink(&node, PeerState::Gone, why, now_ms);
            self.directory.forget_node(&node);
            self.peers.remove(&node);
        }
        // Does not wait for a node that joins later, which has no records yet.
        let start = self.start_until_ms.take();
        let state = start.map_or(PeerState::Gone, |until_ms| PeerState::Awaited { until_ms });
        for node in nodes {
            let first = || Peer::new(state, now_ms);
            self.peers.entry(node.clone()).or_insert_with(first);
        }
        self.pump(now_ms);
    }

    pub fn request(
        &mut self,
        request: D::Request,
        now_ms: u64,
    ) -> Outcome<D::Decision, D::Refusal> {
        if self.waiting.len() >= WAITING_MAX {
            return Outcome::Decided(Err(StoreRefusal::Busy.into()));
        }
        self.next += 1;
        let ticket = self.next;
        let waiting = WaitingRequest { request, ticket };
        match self.attempt(waiting, now_ms) {
            Some((_, decided)) => Outcome::Decided(decided),
            None => Outcome::Waits(ticket),
        }
    }

    pub fn take_resolved(&mut self) -> Vec<Resolved<D>> {
        std::mem::take(&mut self.resolved)
    }

    pub fn take_broken(&mut self) -> Vec<(String, &'static str)> {
        std::mem::take(&mut self.broken)
    }

    fn has_all_records(&self) -> bool {
        if self.has_defect(Defect::AnswersBeforeSync) {
            return true;
        }
        let mut states = self.peers.values().map(|peer| peer.state);
        let lacks = |state| matches!(state, PeerState::Awaited { .. } | PeerState::Syncing { .. });
        self.start_until_ms.is_none() && !states.any(lacks)
    }

    pub(crate) fn attempt(
        &mut self,
        waiting: WaitingRequest<D>,
        now_ms: u64,
    ) -> Option<Resolved<D>> {
        let (ticket, key) = (waiting.ticket, D::key_of(&waiting.request));
        if !self.has_all_records() {
            self.waiting.push(waiting);
            return None;
        }
        if self.peers.is_empty() {
            return Some((
                ticket,
                self.directory.decide_alone(&waiting.request, now_ms),
            ));
        }
        if self.is_tentative(key) {
            self.waiting.push(waiting);
            return None;
        }
        if !self.is_leaving(key)
            && let Some(decision) = self.directory.known(&waiting.request, now_ms)
        {
            if let Some(before) = self.unsettled.remove(&key) {
                // Raises the version, so that the decision of this request also wins at a node that
                // may have adopted the old proposal.
                self.directory.raise(key, before.record.version, now_ms);
            }
            return Some((ticket, Ok(decision)));
        }
        let group = crate::record::Key::group(&key);
        if let Some(claim) = self.claims.get_mut(&group) {
            claim.join(waiting);
            return None;
        }
        let mut states = self.peers.values().map(|peer| peer.state);
        if states.any(|state| matches!(state, PeerState::Broken { .. }))
            && !self.has_defect(Defect::BrokenIsGone)
        {
            self.waiting.push(waiting);
            return None;
        }
        let proposal = match self.proposal(&waiting.request, now_ms) {
            Ok(proposal) => proposal,
            Err(error) => return Some((ticket, Err(error))),
        };
        let asks_nobody = !self.peers.values().any(Peer::is_synced);
        if asks_nobody || self.has_defect(Defect::AsksNobody) {
            return Some((ticket, self.directory.accept(&proposal, now_ms)));
        }
        self.claim(waiting, proposal, now_ms);
        None
    }

    pub(crate) fn has_defect(&self, defect: Defect) -> bool {
        self.directory.table().has_defect(defect)
    }

    /// Returns whether a pending claim replaces the known record of a key. That record is then not
    /// valid, even if its place is usable again: other nodes may have adopted the new one.
    pub(crate) fn is_leaving(&self, key: D::Key) -> bool {
        if self.has_defect(Defect::LeavingIsKnown) {
            return false;
        }
        let held = self.directory.table().get(key).map(|entry| entry.version);
        let claim = self.claims.get(&crate::record::Key::group(&key));
        let proposal = claim.map(PendingClaim::proposal);
        let proposal = proposal.filter(|proposal| proposal.record.key == key);
        held.is_some() && proposal.is_some_and(|proposal| proposal.over == held)
    }

    /// Returns whether the record of a key is a claim that its author has not confirmed.
    pub(crate) fn is_tentative(&self, key: D::Key) -> bool {
        let held = self.directory.table().get(key).map(|entry| entry.version);
        let tentative = self.tentative.get(&key).map(|one| one.version);
        held.is_some() && tentative == held && !self.has_defect(Defect::ClaimIsConfirmed)
    }

    /// Notes that the record of a key is a claim of another node, if a third node decides with it.
    pub(crate) fn note_claim(&mut self, key: D::Key, now_ms: u64) {
        let Some(entry) = self.directory.table().get(key) else {
            return;
        };
        let version = entry.version;
        let author = |peer: &&Peer<D>| peer.origin == version.origin;
        let is_of_peer = self
            .peers
            .values()
            .filter(|peer| peer.is_synced())
            .any(|peer| author(&peer));
        // Looks for a third node that may decide. Includes nodes whose connection to this node
        // broke just now, because their connection to the author may still be open.
        let others = self.peers.values().filter(|peer| !author(peer));
        let has_third = others.into_iter().any(|peer| peer.state != PeerState::Gone);
        if is_of_peer && has_third {
            let until_ms = now_ms.saturating_add(CLAIM_MS);
            self.tentative.insert(key, Tentative { version, until_ms });
        }
    }

    fn proposal(&mut self, request: &D::Request, now_ms: u64) -> Result<Proposal<D>, D::Refusal> {
        use crate::record::Value;
        let key = D::key_of(request);
        let over = self.directory.table().get(key).map(|entry| entry.version);
        let before = self.unsettled.remove(&key).filter(|before| {
            let place = before.record.value.place();
            let is_same = |other: &EntryOf<D>| other.value.place() == place;
            let other = self.directory.elsewhere(key, now_ms);
            before.over == over && other.is_none_or(is_same) && self.directory.is_place_up(place)
        });
        match before {
            Some(before) => Ok(before),
            None => self.directory.propose(request, now_ms),
        }
    }

    pub(crate) fn pump(&mut self, now_ms: u64) {
        for waiting in std::mem::take(&mut self.waiting) {
            self.attempt_again(waiting, now_ms);
        }
    }

    /// Returns when [`Replica::tick`] is due, milliseconds.
    pub fn due_ms(&self) -> Option<u64> {
        let peers = self.peers.values().filter_map(Peer::due_ms);
        let claims = self.claims.values().map(PendingClaim::due_ms);
        let tentative = self.tentative.values().map(|one| one.until_ms);
        let all = peers.chain(claims).chain(tentative);
        all.chain(self.start_until_ms).min()
    }

    /// Handles expired timeouts, then re-evaluates the waiting requests.
    pub fn tick(&mut self, now_ms: u64) {
        let is_due = |at: u64| at <= now_ms;
        if self.start_until_ms.is_some_and(is_due) {
            self.start_until_ms = None;
        }
        self.tentative.retain(|_, one| one.until_ms > now_ms);
        self.close_unresponsive_nodes(now_ms);
        let mut lost = Vec::new();
        for (node, peer) in &mut self.peers {
            match peer.state {
                PeerState::Awaited { until_ms } | PeerState::Broken { until_ms }
                    if is_due(until_ms) =>
                {
                    peer.state = PeerState::Gone;
                }
                PeerState::Syncing { until_ms } if is_due(until_ms) => lost.push(node.clone()),
                _ => {}
            }
        }
        for node in lost {
            let why = "its directory did not come in time";
            self.broken.push((node.clone(), why));
            self.unlink(&node, PeerState::Gone, why, now_ms);
        }
        self.tidy(now_ms);
        self.pump(now_ms);
    }

    /// Returns whether this node waits for other nodes to confirm a claim.
    pub fn is_asking(&self) -> bool {
        !self.claims.is_empty()
    }

    /// Queues changed records for the other nodes, and forgets the openings of nodes that have been
    /// unreachable for [`OPENING_KEPT_MS`]. Safe to call at any time.
    pub fn tidy(&mut self, now_ms: u64) {
        self.spread();
        self.forget_openings(now_ms);
    }
}
