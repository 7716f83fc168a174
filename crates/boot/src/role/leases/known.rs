//! Whether this node knows the leases of a part, and for how long it leaves the part to another one if not.

use super::moved::Basis;
use super::record::{ALL, At, LEFT, Record, UNHEARD, mark_of, mix};
use super::{Leases, State, Taken};
use part::codec;
use part::role::KnownLease;
use std::collections::BTreeSet;

/// The only one of these nodes that know what is withheld. Zero: there is none, or several.
pub(super) fn only(formers: impl Iterator<Item = (u32, u32)>) -> (u32, u32) {
    let formers: BTreeSet<_> = formers.filter(|former| *former != (0, 0)).collect();
    match formers.len() {
        1 => formers.first().copied().unwrap_or_default(),
        _ => (0, 0),
    }
}

/// How long a node that does not know the leases of a part leaves it to one that does, nanoseconds: when
/// nodes fail together, the other one is back by then.
pub(super) const AWAIT_NS: u64 = 15_000_000_000;
/// The same, where its own leases are lost and another node has a copy of them.
pub(super) const AWAIT_COPY_NS: u64 = 120_000_000_000;

impl Leases {
    /// Whether this node would know all leases of a part. None: the cluster has not said yet whose it is.
    pub(super) fn knows_all(&self, part: usize) -> Option<bool> {
        let Some(lease) = self.known.get(&self.part(part)) else {
            // All are asked for together: if this one was answered, the other one does not exist yet.
            return self.known.get(&self.node(&self.me)).map(|_| true);
        };
        let is_held = lease.holder == self.me;
        if lease.record.is_empty() {
            // The holder may give addresses before this node hears of its record.
            return Some(is_held || lease.holder.is_empty());
        }
        let record: Option<Record> = codec::decode(&lease.record).ok();
        let is_lost = { record.as_ref() }.is_some_and(|record| self.is_lost(record));
        let is_mine = { record.as_ref() }.is_some_and(|record| record.node == self.me);
        // The cluster may grant a part because the previous process of this role wanted it.
        if is_held && !is_lost && (is_mine || self.is_taken(part, lease)) {
            return Some(true);
        }
        Some(record.is_some_and(|record| {
            self.is_mine(&record) || self.has_copy(part, &record) || self.had_it(&record)
        }))
    }

    /// Whether this node knows all leases of a part, because it had the part before, and no client has heard
    /// of another lease since.
    pub(super) fn had_it(&self, record: &Record) -> bool {
        let is_unheard = record.clear && record.past.2 & UNHEARD > 0;
        is_unheard
            && self.has_ranges(record)
            && record.named.contains(&mark_of(&self.me))
            && [0, mix(self.stores)].contains(&record.before)
    }

    /// Whether this node had a part before one that does not know the leases of then, and knows those of now by
    /// its copy.
    pub(super) fn knows_before(&self, part: usize) -> bool {
        let record = self.record(part);
        record.is_some_and(|record| self.is_former(&record) && self.has_copy(part, &record))
    }

    /// Whether what is withheld by a record was given by this node, which has its files of then.
    pub(super) fn is_former(&self, record: &Record) -> bool {
        let files = mix(self.stores);
        record.node != self.me && files != 0 && record.former == (mark_of(&self.me), files)
    }

    /// The node that knows what is withheld because this one has a part, and a mark of its files. `is_stored`: see
    /// [`Taken::former`]. Itself: the node that withheld it may still take the part back, as long as no client hears of
    /// a lease.
    pub(super) fn former(&self, taken: &Taken, is_stored: bool) -> (u32, u32) {
        let former = taken.former(is_stored);
        match taken.unheard.is_some() || self.is_anothers(former) {
            true => former,
            false => (0, 0),
        }
    }

    /// Whether that is another node.
    pub(super) fn is_anothers(&self, former: (u32, u32)) -> bool {
        former != (0, 0) && former.0 != mark_of(&self.me)
    }

    /// Whether the holder of a part knows what this node withheld, and is about to report it.
    pub(super) fn is_learning(&self, part: usize) -> bool {
        let Some(record) = self.record(part).filter(|record| self.had_it(record)) else {
            return false;
        };
        record.former.0 == mark_of(&record.node) && !self.has_copy(part, &record)
    }

    /// The node that held a part before it was taken by one that did not know its leases. `record`: that which this
    /// node finds, `state`: how it takes the part, `is_copied`: from a copy.
    pub(super) fn former_of(&self, record: &Record, state: &State, is_copied: bool) -> (u32, u32) {
        let is_same = self.has_ranges(record);
        // With addresses of another part, what it withholds may be known to a third one.
        let is_alone = !record.is_moved() || record.former == (0, 0) || self.is_former(record);
        match state {
            // It has what it withheld on its disk.
            _ if self.is_own(record) && is_same => record.former,
            _ if self.is_own(record) => self.only_former(),
            _ if !is_same => (0, 0),
            State::Claims(Basis::Unknown | Basis::Left(_), _)
                if record.knows_own() && record.node != self.me && is_alone =>
            {
                (mark_of(&record.node), mix(record.stores))
            }
            // What the node before knew is in its copy.
            State::Settled(true, None) if is_copied && record.former.0 == mark_of(&record.node) => {
                (0, 0)
            }
            // The copy says what the node before withheld, or this one withholds what it did.
            State::Settled(true, None) => record.former,
            _ => (0, 0),
        }
    }

    /// What this node knows of a part that another one had, whose leases it does not know.
    pub(super) fn left(&self, record: Option<&Record>) -> Basis {
        let record = record.filter(|record| record.node != self.me && self.has_ranges(record));
        match record {
            Some(record) if record.clear && self.is_former(record) => {
                Basis::Left(!record.is_moved() || record.past.2 & ALL > 0)
            }
            // It had not heard yet what others gave by ranges of before.
            Some(record) if !record.clear && record.knows_own() => Basis::Left(false),
            _ => Basis::Unknown,
        }
    }

    /// The node that knows what this one withholds, whatever part it is of: with other ranges, addresses come from
    /// one part to another.
    fn only_former(&self) -> (u32, u32) {
        // Also of parts that do not exist any more.
        let records = self.known.values();
        let records = records.filter_map(|lease| codec::decode::<Record>(&lease.record).ok());
        let formers = records.filter(|record| self.is_own(record));
        let formers = formers.map(|record| record.former);
        only(formers.filter(|former| self.is_anothers(*former)))
    }

    /// What the record of a part that is taken so says of the node that knows what is withheld. `record`: that of
    /// before.
    pub(super) fn knows_of(&self, record: &Record, state: &State) -> u8 {
        match state {
            State::Claims(Basis::Left(_), _) => ALL | LEFT,
            State::Claims(Basis::Unknown, _) => ALL,
            // It withholds what it did, or what the node before did.
            State::Settled(..) if self.has_ranges(record) => record.past.2 & (ALL | LEFT),
            State::Claims(..) | State::Settled(..) => 0,
        }
    }

    /// Whether a node is there that knows what this one withholds: it holds a part, or was there after this node took
    /// its last one. The part of a node that is gone is taken, while the lease with its address stays its own.
    pub(super) fn is_there(&self, former: (u32, u32)) -> bool {
        let node = self.nodes.iter().find(|node| mark_of(node) == former.0);
        node.filter(|node| **node != self.me).is_some_and(|node| {
            let mut parts = 0..usize::try_from(self.parts()).unwrap_or(1);
            let holds = |part| {
                let lease = self.known.get(&self.part(part));
                lease.is_some_and(|lease| lease.holder == *node)
            };
            let at = self.known.get(&self.node(node));
            let at = at.and_then(|lease| codec::decode::<At>(&lease.record).ok());
            parts.any(holds) || at.is_some_and(|at| self.is_after(&at))
        })
    }

    /// Whether a node has seen who has each part that this one holds.
    fn is_after(&self, at: &At) -> bool {
        self.owned.taken.iter().all(|(part, taken)| {
            let seen = at.epochs.get(*part);
            seen.is_some_and(|seen| *seen >= taken.epoch)
        })
    }

    /// Of each part, the epoch in which another node holds it.
    pub(super) fn epochs_of_others(&self) -> Vec<u64> {
        let parts = 0..usize::try_from(self.parts()).unwrap_or(1);
        let epochs = parts.map(|part| {
            let lease = self.known.get(&self.part(part));
            let lease = lease.filter(|lease| !lease.holder.is_empty() && lease.holder != self.me);
            lease.map_or(0, |lease| lease.epoch)
        });
        epochs.collect()
    }

    /// Notes since when it does not know the leases of a part.
    pub(super) fn note_unknown(&mut self, part: usize, now_ns: u64) {
        let lease = self.known.get(&self.part(part));
        let lease = lease.filter(|_| self.knows_all(part) == Some(false));
        let now = lease.map(|lease| (lease.holder.clone(), lease.epoch));
        let before = self.unknown.remove(&part);
        let Some((holder, epoch)) = now else {
            return;
        };
        // When it has the part itself, it has waited.
        let is_same = |before: &(String, u64, u64)| {
            holder == self.me || (&before.0, before.1) == (&holder, epoch)
        };
        let since_ns = { before.filter(is_same) }.map_or(now_ns, |(.., since_ns)| since_ns);
        self.unknown.insert(part, (holder, epoch, since_ns));
    }

    /// Whether this node took a part in the epoch of its lease.
    fn is_taken(&self, part: usize, lease: &KnownLease) -> bool {
        { self.owned.taken.get(&part) }.is_some_and(|taken| taken.epoch == lease.epoch)
    }

    /// Whether it leaves a part that the cluster grants it, because it does not know its leases: they are lost, or
    /// the node that had the part went on without this one.
    pub(super) fn is_left(&self, part: usize, lease: &KnownLease, now_ns: u64) -> bool {
        let is_unknown = self.knows_all(part) == Some(false);
        is_unknown && !self.is_taken(part, lease) && self.awaits(part, now_ns)
    }

    /// Whether it leaves a part to a node that knows its leases: that one may be about to take it.
    pub(super) fn awaits(&self, part: usize, now_ns: u64) -> bool {
        let record = self.record(part);
        let is_own = { record.as_ref() }.is_some_and(|record| self.is_own(record));
        let has_copy = |record: &Record| record.node == self.me && !record.named.is_empty();
        let most_ns = match record.as_ref().is_some_and(has_copy) {
            true => AWAIT_COPY_NS,
            false => AWAIT_NS,
        };
        let since = self.unknown.get(&part).map(|(.., since)| *since);
        !is_own && since.is_none_or(|since| now_ns < since.saturating_add(most_ns))
    }

    /// Whether this node knows all leases that were given by a record.
    pub(super) fn has_copy(&self, part: usize, record: &Record) -> bool {
        let copy = self.copies.get(&part);
        // Before it is clear, its holder itself may not know all.
        self.has_ranges(record)
            && record.clear
            && record.named.contains(&mark_of(&self.me))
            && copy.is_some_and(|(node, epoch)| (node, *epoch) == (&record.node, record.epoch))
    }

    /// Whether a record is this node's, of these ranges.
    pub(super) fn is_mine(&self, record: &Record) -> bool {
        self.is_own(record) && self.has_ranges(record)
    }

    /// Whether the ranges of a record are those of this node.
    fn has_ranges(&self, record: &Record) -> bool {
        (record.range, record.range6) == (self.range, self.range6)
    }

    /// The record of a part, where it can be read.
    fn record(&self, part: usize) -> Option<Record> {
        codec::decode(&self.known.get(&self.part(part))?.record).ok()
    }

    /// Whether a record is this node's, which has the leases of then.
    pub(super) fn is_own(&self, record: &Record) -> bool {
        record.node == self.me && self.has_store(record)
    }

    /// Whether a record is this node's, which has not the leases of then.
    fn is_lost(&self, record: &Record) -> bool {
        record.node == self.me && !self.has_store(record)
    }

    /// Whether the files with leases are those of a record of this node.
    pub(super) fn has_store(&self, record: &Record) -> bool {
        let is_same = |now: u32, then: u32| [0, now].contains(&then);
        let has4 = self.range == (0, 0, 0) || is_same(self.stores.0, record.stores.0);
        let has6 = self.range6.3 == 0 || is_same(self.stores.1, record.stores.1);
        has4 && has6
    }
}
