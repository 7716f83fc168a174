//! Queues the decisions of a node that owns parts of the keys for the other nodes, and tracks what
//! each node has confirmed.

use super::{CHANGES_MAX, OwnedChange, OwnedContent, OwnedMessage};
use crate::defect::Defect;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

/// Time that a node has to confirm before the owner continues without it, milliseconds.
const CONFIRM_MS: u64 = 200;
/// Time for which a late node is not waited for, milliseconds.
const REST_MS: u64 = 2_000;
/// Limit of queued messages for a node. A node that is further behind gets a new copy.
const QUEUE_MAX: usize = 4_096;

/// Parts that this node owns, and how far the other nodes have copied them.
#[derive(Debug)]
pub struct OwnedParts<C: OwnedChange> {
    parts: BTreeMap<usize, OwnedPart<C>>,
    /// Connected nodes, and the number of each connection.
    linked: BTreeMap<String, u64>,
    links: u64,
    /// Sequence number of all messages, of every part: a confirmation of another epoch or another
    /// division does not confirm these.
    number: u64,
    /// Decisions whose clients may not have got a response: the part, and the number of the change.
    pending: HashMap<C::Key, (usize, u64)>,
    defect: Option<Defect>,
}

impl<C: OwnedChange> Default for OwnedParts<C> {
    fn default() -> OwnedParts<C> {
        OwnedParts {
            parts: BTreeMap::new(),
            linked: BTreeMap::new(),
            links: 0,
            number: 0,
            pending: HashMap::new(),
            defect: None,
        }
    }
}

/// Message that a node has stored everything of a part in an epoch up to a number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Confirmation {
    pub part: usize,
    pub epoch: u64,
    pub number: u64,
}

/// Decision whether a client may get the response for its key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ConfirmationDecision {
    Now,
    /// Send the response after other nodes have confirmed the decision.
    Later,
    /// Send no response: this node no longer owns the part.
    Never,
}

#[derive(Debug)]
struct OwnedPart<C> {
    epoch: u64,
    /// Number of the last message.
    number: u64,
    peers: BTreeMap<String, CopyPeer<C>>,
}

/// Another node that receives a copy of a part.
#[derive(Debug)]
struct CopyPeer<C> {
    queue: VecDeque<OwnedMessage<C>>,
    /// Number of the message that starts the copy.
    first: u64,
    last: u64,
    /// Number up to which the node has confirmed everything; None: it does not have the complete
    /// part yet.
    confirmed: Option<u64>,
    /// The owner waits for the node for all changes after this number; None: the owner does not
    /// wait.
    since: Option<u64>,
    /// Time since which confirmations are outstanding.
    behind_ms: Option<u64>,
    rests_until_ms: u64,
}

impl<C> CopyPeer<C> {
    fn has(&self, number: u64) -> bool {
        self.confirmed.is_some_and(|confirmed| confirmed >= number)
    }

    /// Returns whether the cluster's record of the part may name this node as one that knows every
    /// decision.
    fn is_in_step(&self) -> bool {
        self.since.is_some_and(|since| self.has(since))
    }
}

impl<C: OwnedChange> OwnedParts<C> {
    /// Plants a defect for a simulation.
    #[cfg(any(test, feature = "defects"))]
    pub fn set_defect(&mut self, defect: Option<Defect>) {
        self.defect = defect;
    }

    fn has_defect(&self, defect: Defect) -> bool {
        cfg!(any(test, feature = "defects")) && self.defect == Some(defect)
    }

    /// Records that this node owns a part of the keys from this epoch on.
    pub fn hold(&mut self, part: usize, epoch: u64) {
        if self.parts.get(&part).map(|part| part.epoch) != Some(epoch) {
            let new = OwnedPart {
                epoch,
                number: 0,
                peers: BTreeMap::new(),
            };
            self.drop_part(part);
            self.parts.insert(part, new);
        }
    }

    /// Drops the state of a part of the keys that this node no longer owns.
    pub fn drop_part(&mut self, part: usize) {
        self.parts.remove(&part);
        self.pending.retain(|_, (of, _)| *of != part);
    }

    /// Drops all parts, after the division has changed.
    pub fn clear(&mut self) {
        self.parts.clear();
        self.pending.clear();
    }

    /// Returns the epoch in which a part is owned.
    pub fn epoch(&self, part: usize) -> Option<u64> {
        self.parts.get(&part).map(|part| part.epoch)
    }

    /// Records a new connection to a node. Returns the number of the connection.
    pub fn linked(&mut self, node: &str) -> u64 {
        self.links += 1;
        self.linked.insert(node.to_owned(), self.links);
        for part in self.parts.values_mut() {
            part.peers.remove(node);
        }
        self.links
    }

    /// Records the end of a connection to a node.
    pub fn unlinked(&mut self, node: &str, link: u64) {
        if self.linked.get(node) == Some(&link) {
            self.linked.remove(node);
            for part in self.parts.values_mut() {
                part.peers.remove(node);
            }
        }
    }

    pub fn linked_nodes(&self) -> impl Iterator<Item = &String> {
        self.linked.keys()
    }

    /// Returns whether a node is connected.
    pub fn is_linked(&self, node: &str) -> bool {
        self.linked.contains_key(node)
    }

    /// Returns the parts of which connected nodes need a new copy.
    pub fn missing(&self) -> BTreeSet<usize> {
        let lacks = |part: &OwnedPart<C>| {
            self.linked
                .keys()
                .any(|node| !part.peers.contains_key(node))
        };
        let parts = self.parts.iter().filter(|(_, part)| lacks(part));
        parts.map(|(number, _)| *number).collect()
    }

    /// Queues everything of a part for each node that needs a new copy. `division`: checksum of the
    /// division of the keys.
    pub fn begin(&mut self, part: usize, division: u64, known: &[C]) {
        let restarts = self.has_defect(Defect::NumberRestarts);
        let Some(one) = self.parts.get_mut(&part) else {
            return;
        };
        // Uses a new number, so that confirmations of earlier messages do not count for this copy.
        self.number = if restarts { 1 } else { self.number + 1 };
        one.number = self.number;
        let (epoch, number) = (one.epoch, one.number);
        let message = |content| OwnedMessage {
            part,
            epoch,
            number,
            content,
        };
        for node in self.linked.keys() {
            if one.peers.contains_key(node) {
                continue;
            }
            let all = known.chunks(CHANGES_MAX);
            let all = all.map(|changes| message(OwnedContent::Changes(changes.to_vec())));
            let begin = std::iter::once(message(OwnedContent::Begin(division)));
            let end = [message(OwnedContent::Whole)];
            let queue = begin.chain(all).chain(end).collect();
            let peer = CopyPeer {
                queue,
                first: number,
                last: number,
                confirmed: None,
                since: None,
                behind_ms: None,
                rests_until_ms: 0,
            };
            one.peers.insert(node.clone(), peer);
        }
    }

    /// Queues changed keys of a part for the nodes that receive a copy of it.
    pub fn change(&mut self, part: usize, changes: &[C], now_ms: u64) {
        let Some(one) = self.parts.get_mut(&part) else {
            return;
        };
        for changes in changes.chunks(CHANGES_MAX) {
            self.number += 1;
            one.number = self.number;
            let message = OwnedMessage {
                part,
                epoch: one.epoch,
                number: one.number,
                content: OwnedContent::Changes(changes.to_vec()),
            };
            for peer in one.peers.values_mut() {
                peer.queue.push_back(message.clone());
                peer.last = one.number;
                peer.behind_ms.get_or_insert(now_ms);
            }
            // Drops a node that is this far behind, which then gets a new copy.
            one.peers.retain(|_, peer| peer.queue.len() <= QUEUE_MAX);
            for change in changes {
                let key = change.key();
                match change.group() {
                    Some(_) => self.pending.insert(key, (part, one.number)),
                    None => self.pending.remove(&key),
                };
            }
        }
    }

    /// Removes and returns the next message to a node.
    pub fn next(&mut self, node: &str) -> Option<OwnedMessage<C>> {
        let mut parts = self.parts.values_mut();
        parts.find_map(|part| part.peers.get_mut(node)?.queue.pop_front())
    }

    /// Records up to which message a node has stored a part of the keys.
    pub fn confirmed(&mut self, node: &str, link: u64, confirmation: Confirmation, now_ms: u64) {
        let Confirmation {
            part,
            epoch,
            number,
        } = confirmation;
        let part = self.parts.get_mut(&part);
        let part = part.filter(|part| part.epoch == epoch && number <= part.number);
        let peer = part.and_then(|part| part.peers.get_mut(node));
        let peer = peer.filter(|peer| number >= peer.first);
        if let Some(peer) = peer.filter(|_| self.linked.get(node) == Some(&link)) {
            peer.confirmed = peer.confirmed.max(Some(number));
            peer.behind_ms = (!peer.has(peer.last)).then_some(now_ms);
            if peer.since.is_none() && now_ms >= peer.rests_until_ms {
                // Lets responses for later changes wait for the node. Earlier changes the node has
                // to confirm before the record names it.
                peer.since = Some(peer.last);
            }
        }
    }

    /// Stops waiting for nodes whose confirmation is late, and waits again for nodes that have
    /// caught up and rested.
    pub fn tick(&mut self, now_ms: u64) {
        for peer in self
            .parts
            .values_mut()
            .flat_map(|part| part.peers.values_mut())
        {
            let is_late = peer
                .behind_ms
                .is_some_and(|since| now_ms >= since + CONFIRM_MS);
            if is_late && peer.since.is_some() {
                peer.since = None;
                peer.rests_until_ms = now_ms + REST_MS;
            }
            if peer.since.is_none() && peer.has(peer.last) && now_ms >= peer.rests_until_ms {
                peer.since = Some(peer.last);
            }
        }
    }

    /// Returns the nodes that the record of a part may name: each has confirmed all earlier
    /// decisions, and responses to clients wait for its confirmation of later ones.
    pub fn in_step(&self, part: usize) -> BTreeSet<String> {
        let is_early = self.has_defect(Defect::NamedTooEarly);
        let peers = self.parts.get(&part).map(|part| part.peers.iter());
        let peers = peers.into_iter().flatten();
        let in_step = peers.filter(|(_, peer)| peer.is_in_step() || is_early);
        in_step.map(|(node, _)| node.clone()).collect()
    }

    /// Returns the nodes to which a part is sent: they may not have all of it yet.
    #[cfg(any(test, feature = "defects"))]
    pub fn told(&self, part: usize) -> BTreeSet<String> {
        let peers = self.parts.get(&part).map(|part| part.peers.keys().cloned());
        peers.into_iter().flatten().collect()
    }

    /// Decides whether a client may get the response for its key. `named`: nodes that the record of
    /// the part names, or may soon name.
    pub fn decide_confirmation(
        &mut self,
        key: C::Key,
        part: usize,
        named: &BTreeSet<String>,
    ) -> ConfirmationDecision {
        let Some(one) = self.parts.get(&part) else {
            return ConfirmationDecision::Never;
        };
        // Requires a complete copy, because without one a node may lack decisions that this node
        // had on disk.
        let pending = self.pending.get(&key);
        let number = pending.map_or(0, |(_, number)| *number);
        let has = |node: &String| one.peers.get(node).is_some_and(|peer| peer.has(number));
        let waits = |peer: &CopyPeer<C>| {
            peer.since
                .is_some_and(|since| number > since && !peer.has(number))
        };
        let is_named_known = named.iter().all(has) || self.has_defect(Defect::NamesNotAwaited);
        let awaits = one.peers.values().any(waits) && !self.has_defect(Defect::StepNotAwaited);
        if !is_named_known || awaits {
            return ConfirmationDecision::Later;
        }
        self.pending.remove(&key);
        ConfirmationDecision::Now
    }
}
