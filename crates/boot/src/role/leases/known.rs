//! Decides whether this node knows the leases of a part, and for how long it leaves the part to
//! another node if not.

use super::moved::Basis;
use super::record::{FormerHolder, FormerKnowledge, NodeLeaseRecord, PartRecord, mark_of};
use super::{AcquiredPart, AcquiredPartState, ClusterLeases, NEW_NS};
use crate::site::{Generations, Knowledge};
use part::codec;
use part::role::KnownLease;
use std::collections::BTreeSet;

/// Returns the only node among these. None: there is none, or several.
pub(super) fn only(formers: impl Iterator<Item = FormerHolder>) -> Option<FormerHolder> {
    let formers: BTreeSet<FormerHolder> = formers.collect();
    formers.first().copied().filter(|_| formers.len() == 1)
}

/// Time for which a node without the leases of a part leaves it to one that has them,
/// nanoseconds: when nodes fail together, the other one is back by then.
pub(super) const AWAIT_NS: u64 = 15_000_000_000;
/// Time for which a node leaves a part to another one if its own leases are lost and the other node
/// has a copy of them, nanoseconds.
pub(super) const AWAIT_COPY_NS: u64 = 120_000_000_000;

impl ClusterLeases {
    /// Returns the record of this node.
    fn own_record(&self) -> Option<NodeLeaseRecord> {
        codec::decode(&self.known.get(&self.node(&self.me))?.record).ok()
    }

    /// Returns whether this node holds the lease of its own record: the record is then the
    /// newest that there is.
    pub fn has_node_lease(&self, now_ns: u64) -> bool {
        let lease = self.known.get(&self.node(&self.me));
        lease.is_some_and(|lease| lease.until_ns > now_ns)
    }

    /// Returns the recorded generations of the files of this node that are older than their
    /// record: copies from before the record was written. None: no file is.
    pub fn newer_generations(&self, files: Generations) -> Option<Generations> {
        let recorded = self.own_record()?.generations;
        let mut newer = Generations::default();
        for ((newer, file), recorded) in newer.iter_mut().zip(files).zip(recorded) {
            *newer = file.filter(|file| *file < recorded).map(|_| recorded);
        }
        newer.iter().any(Option::is_some).then_some(newer)
    }

    /// Returns the generations for the record of this node. A file that is not open keeps the
    /// recorded one.
    pub(super) fn next_generations(
        record: Option<&NodeLeaseRecord>,
        knowledge: &Knowledge,
    ) -> [u32; 4] {
        let mut next = record.map(|record| record.generations).unwrap_or_default();
        for (next, file) in next.iter_mut().zip(knowledge.generations) {
            *next = file.unwrap_or(0).max(*next);
        }
        next
    }

    /// Returns whether this node leaves a part that no node has held yet to the node whose part it
    /// is, which may be about to take it.
    pub(super) fn leaves_new(&self, part: usize, now_ns: u64) -> bool {
        let lease = self.known.get(&self.part(part));
        let is_new = lease.is_none_or(|lease| lease.record.is_empty() && lease.holder.is_empty());
        let since_ns = self.first_report_ns.unwrap_or(now_ns);
        is_new && now_ns < since_ns.saturating_add(NEW_NS)
    }

    /// Returns whether this node would know all leases of a part. None: the cluster has not
    /// reported the holder yet.
    pub(super) fn knows_all(&self, part: usize) -> Option<bool> {
        let Some(lease) = self.known.get(&self.part(part)) else {
            // All leases are queried together: if the cluster has reported the lease of this node,
            // that of the part does not exist yet.
            return self.known.get(&self.node(&self.me)).map(|_| true);
        };
        let is_held = lease.holder == self.me;
        if lease.record.is_empty() {
            // The holder may assign addresses before this node receives its record.
            return Some(is_held || lease.holder.is_empty());
        }
        let record: Option<PartRecord> = codec::decode(&lease.record).ok();
        let is_lost = record.as_ref().is_some_and(|record| self.is_lost(record));
        let is_mine = record.as_ref().is_some_and(|record| record.node == self.me);
        // The cluster may grant a part because the previous process of this role wanted it.
        if is_held && !is_lost && (is_mine || self.is_taken(part, lease)) {
            return Some(true);
        }
        Some(record.is_some_and(|record| {
            self.is_mine(&record) || self.has_copy(part, &record) || self.had_it(&record)
        }))
    }

    /// Returns whether this node knows all leases of a part, because it held the part before and
    /// no client has got another lease since.
    pub(super) fn had_it(&self, record: &PartRecord) -> bool {
        record.clear
            && record.is_unheard
            && self.has_ranges(record)
            && record.named.contains(&mark_of(&self.me))
            && [0, self.files.checksum()].contains(&record.before)
    }

    /// Returns whether this node held a part before one that does not know the earlier leases,
    /// and has a copy of the current ones.
    pub(super) fn knows_before(&self, part: usize) -> bool {
        let record = self.record(part);
        record.is_some_and(|record| self.is_former(&record) && self.has_copy(part, &record))
    }

    /// Returns whether the addresses that a record withholds were assigned by this node, which
    /// still has its files of that time.
    pub(super) fn is_former(&self, record: &PartRecord) -> bool {
        let former = record.former.filter(|_| record.node != self.me);
        former.is_some() && former == self.as_former()
    }

    /// Returns this node as the former holder of a part. None: its files are unknown.
    fn as_former(&self) -> Option<FormerHolder> {
        FormerHolder::new(&self.me, self.files)
    }

    /// Returns the node that knows what is withheld because this one has a part. `is_stored`: see
    /// [`AcquiredPart::former`]. The result may be this node itself: the node that withheld the
    /// addresses may still get the part back, as long as no client gets a lease.
    pub(super) fn former(&self, taken: &AcquiredPart, is_stored: bool) -> Option<FormerHolder> {
        let former = taken.former(is_stored);
        former.filter(|_| taken.previous_holder.is_some() || self.is_anothers(former))
    }

    /// Returns whether the former holder of a part is known, and is another node.
    pub(super) fn is_anothers(&self, former: Option<FormerHolder>) -> bool {
        former.is_some_and(|former| !former.is(&self.me))
    }

    /// Returns whether the holder of a part knows what this node withheld, and is about to report
    /// it.
    pub(super) fn is_learning(&self, part: usize) -> bool {
        let Some(record) = self.record(part).filter(|record| self.had_it(record)) else {
            return false;
        };
        let is_its = record.former.is_some_and(|former| former.is(&record.node));
        is_its && !self.has_copy(part, &record)
    }

    /// Returns the node that held a part before it was taken by one that did not know its leases.
    /// `record`: the record that this node finds. `state`: how this node takes the part.
    /// `is_copied`: true if this node takes the part from a copy.
    pub(super) fn former_of(
        &self,
        record: &PartRecord,
        state: &AcquiredPartState,
        is_copied: bool,
    ) -> Option<FormerHolder> {
        let is_same = self.has_ranges(record);
        // With addresses of another part, a third node may know what this node withholds.
        let is_alone = !record.is_moved() || record.former.is_none() || self.is_former(record);
        match state {
            // The node has what it withheld on its disk.
            _ if self.is_own(record) && is_same => record.former,
            _ if self.is_own(record) => self.only_former(),
            _ if !is_same => None,
            AcquiredPartState::Claims(Basis::Unknown | Basis::Left(_), _)
                if record.knows_own() && record.node != self.me && is_alone =>
            {
                Some(FormerHolder {
                    node: mark_of(&record.node),
                    files: record.files.checksum(),
                })
            }
            // The copy has what the previous holder knew.
            AcquiredPartState::Settled(true, None) if is_copied => {
                record.former.filter(|former| !former.is(&record.node))
            }
            // The copy lists what the previous holder withheld, or this node withholds what it
            // did.
            AcquiredPartState::Settled(true, None) => record.former,
            _ => None,
        }
    }

    /// Returns what this node knows of a part of another holder whose leases it does not know.
    pub(super) fn left(&self, record: Option<&PartRecord>) -> Basis {
        let record = record.filter(|record| record.node != self.me && self.has_ranges(record));
        match record {
            Some(record) if record.clear && self.is_former(record) => {
                Basis::Left(!record.is_moved() || record.former_knowledge.had_all)
            }
            // The holder did not know yet what others assigned by previous ranges.
            Some(record) if !record.clear && record.knows_own() => Basis::Left(false),
            _ => Basis::Unknown,
        }
    }

    /// Returns the node that knows what this one withholds, in any part: with other ranges,
    /// addresses move from one part to another.
    fn only_former(&self) -> Option<FormerHolder> {
        // Includes parts that no longer exist.
        let records = self.known.values();
        let records = records.filter_map(|lease| codec::decode::<PartRecord>(&lease.record).ok());
        let formers = records.filter(|record| self.is_own(record));
        let formers = formers.filter(|record| self.is_anothers(record.former));
        only(formers.filter_map(|record| record.former))
    }

    /// Returns the extent of what the former holder knows when this node takes a part with `state`.
    /// `record`: the previous record of the part.
    pub(super) fn knowledge_of_former(
        &self,
        record: &PartRecord,
        state: &AcquiredPartState,
    ) -> FormerKnowledge {
        match state {
            AcquiredPartState::Claims(basis @ (Basis::Left(_) | Basis::Unknown), _) => {
                FormerKnowledge {
                    had_all: true,
                    is_complemented: *basis != Basis::Unknown,
                }
            }
            // The node withholds what it did, or what the previous holder did.
            AcquiredPartState::Settled(..) if self.has_ranges(record) => record.former_knowledge,
            AcquiredPartState::Claims(..) | AcquiredPartState::Settled(..) => {
                FormerKnowledge::default()
            }
        }
    }

    /// Returns whether a node that knows what this one withholds is up: it holds a part, or was
    /// up after this node took its last one. The part of a failed node is taken, while the lease
    /// with its address remains its own.
    pub(super) fn is_there(&self, former: Option<FormerHolder>) -> bool {
        let is_it = |node: &&String| former.is_some_and(|former| former.is(node));
        let node = self.nodes.iter().find(is_it);
        node.filter(|node| **node != self.me).is_some_and(|node| {
            let mut parts = 0..usize::try_from(self.parts()).unwrap_or(1);
            let holds = |part| {
                let lease = self.known.get(&self.part(part));
                lease.is_some_and(|lease| lease.holder == *node)
            };
            let at = self.known.get(&self.node(node));
            let at = at.and_then(|lease| codec::decode::<NodeLeaseRecord>(&lease.record).ok());
            parts.any(holds) || at.is_some_and(|at| self.is_after(&at))
        })
    }

    /// Returns whether a node has seen this node as the holder of each part that this node holds.
    fn is_after(&self, at: &NodeLeaseRecord) -> bool {
        self.owned.taken.iter().all(|(part, taken)| {
            let seen = at.epochs.get(*part);
            seen.is_some_and(|seen| *seen >= taken.epoch)
        })
    }

    /// Returns the epoch in which another node holds each part.
    pub(super) fn epochs_of_others(&self) -> Vec<u64> {
        let parts = 0..usize::try_from(self.parts()).unwrap_or(1);
        let epochs = parts.map(|part| {
            let lease = self.known.get(&self.part(part));
            let lease = lease.filter(|lease| !lease.holder.is_empty() && lease.holder != self.me);
            lease.map_or(0, |lease| lease.epoch)
        });
        epochs.collect()
    }

    /// Records the time since which this node does not know the leases of a part.
    pub(super) fn note_unknown(&mut self, part: usize, now_ns: u64) {
        let lease = self.known.get(&self.part(part));
        let lease = lease.filter(|_| self.knows_all(part) == Some(false));
        let now = lease.map(|lease| (lease.holder.clone(), lease.epoch));
        let before = self.unknown.remove(&part);
        let Some((holder, epoch)) = now else {
            return;
        };
        // Continues the wait if this node itself has got the part since.
        let is_same = |before: &(String, u64, u64)| {
            holder == self.me || (&before.0, before.1) == (&holder, epoch)
        };
        let since_ns = before
            .filter(is_same)
            .map_or(now_ns, |(.., since_ns)| since_ns);
        self.unknown.insert(part, (holder, epoch, since_ns));
    }

    /// Returns whether this node took a part in the epoch of its lease.
    fn is_taken(&self, part: usize, lease: &KnownLease) -> bool {
        self.owned
            .taken
            .get(&part)
            .is_some_and(|taken| taken.epoch == lease.epoch)
    }

    /// Returns whether this node declines a part that the cluster grants it, because it does not
    /// know the leases: they are lost, or the previous holder continued without this node.
    pub(super) fn is_left(&self, part: usize, lease: &KnownLease, now_ns: u64) -> bool {
        let is_unknown = self.knows_all(part) == Some(false);
        is_unknown && !self.is_taken(part, lease) && self.awaits(part, now_ns)
    }

    /// Returns whether this node leaves a part to a node that knows its leases and may be about
    /// to take it.
    pub(super) fn awaits(&self, part: usize, now_ns: u64) -> bool {
        let record = self.record(part);
        let is_own = record.as_ref().is_some_and(|record| self.is_own(record));
        let has_copy = |record: &PartRecord| record.node == self.me && !record.named.is_empty();
        let most_ns = if record.as_ref().is_some_and(has_copy) {
            AWAIT_COPY_NS
        } else {
            AWAIT_NS
        };
        let since = self.unknown.get(&part).map(|(.., since)| *since);
        !is_own && since.is_none_or(|since| now_ns < since.saturating_add(most_ns))
    }

    /// Returns whether this node has a copy of all leases that were given by a record.
    pub(super) fn has_copy(&self, part: usize, record: &PartRecord) -> bool {
        let copy = self.copies.get(&part);
        // Before the record is clear, its holder itself may not know all leases.
        self.has_ranges(record)
            && record.clear
            && record.named.contains(&mark_of(&self.me))
            && copy.is_some_and(|(node, epoch)| (node, *epoch) == (&record.node, record.epoch))
    }

    /// Returns whether a record is this node's and has its ranges.
    pub(super) fn is_mine(&self, record: &PartRecord) -> bool {
        self.is_own(record) && self.has_ranges(record)
    }

    /// Returns whether the ranges of a record are those of this node.
    fn has_ranges(&self, record: &PartRecord) -> bool {
        record.ranges == self.ranges
    }

    /// Returns the record of a part, where it can be decoded.
    fn record(&self, part: usize) -> Option<PartRecord> {
        codec::decode(&self.known.get(&self.part(part))?.record).ok()
    }

    /// Returns whether a record is this node's, and the node still has the leases of that record.
    pub(super) fn is_own(&self, record: &PartRecord) -> bool {
        record.node == self.me && self.has_store(record)
    }

    /// Returns whether a record is this node's, but the node has lost the leases of that record.
    fn is_lost(&self, record: &PartRecord) -> bool {
        record.node == self.me && !self.has_store(record)
    }

    /// Returns whether the lease files of this node are those that a record names.
    pub(super) fn has_store(&self, record: &PartRecord) -> bool {
        let is_same = |now: u32, then: u32| [0, now].contains(&then);
        let has4 = self.ranges.four.is_none() || is_same(self.files.four, record.files.four);
        let has6 = self.ranges.six.is_none() || is_same(self.files.six, record.files.six);
        has4 && has6
    }
}
