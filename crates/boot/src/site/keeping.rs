//! The leases of one range: what of them is on the disk, and which parts of the range this node knows.

use super::Held;
use crate::dhcp::pool::{Change, Fate, Holder, Pool};
use crate::dhcp::range::{Address, Range};
use crate::journal::Journal;
use crate::mac::Mac;
use std::collections::{BTreeMap, BTreeSet, HashSet};

/// The leases of one range.
#[derive(Debug)]
pub(super) struct Keeping<A> {
    /// The leases on the disk.
    journal: Option<Journal<A>>,
    /// Why they are not there, in words.
    pub(super) trouble: Option<String>,
    /// Parts of which this node has given addresses since it holds them, with a journal: it knows
    /// which leases are unclear.
    taken: BTreeSet<usize>,
    /// Machines with a lease that is not on the disk: they are not told.
    unstored: HashSet<Mac>,
}

impl<A> Default for Keeping<A> {
    fn default() -> Keeping<A> {
        Keeping {
            journal: None,
            trouble: None,
            taken: BTreeSet::new(),
            unstored: HashSet::new(),
        }
    }
}

/// What a node knows of the addresses of a part that it takes.
pub(super) type Fates<'a, A> = dyn Fn(&Held) -> Box<dyn Fn(A) -> Fate> + 'a;

/// What a range is, and what of it nobody gets.
pub(super) struct Plan<A> {
    /// The range, in parts.
    pub(super) range: Range<A>,
    /// How long a lease is, seconds.
    pub(super) lease_s: u32,
    /// Addresses that are given to nobody.
    pub(super) reserved: HashSet<A>,
}

impl<A: Address> Keeping<A> {
    /// Keeps the leases in this journal, or says why not.
    pub(super) fn keep_in(&mut self, journal: Result<Journal<A>, String>) {
        match journal {
            Ok(journal) => {
                self.journal = Some(journal);
                self.trouble = None;
            }
            Err(trouble) => self.trouble = Some(trouble),
        }
    }

    /// Whether leases are kept.
    pub(super) fn is_kept(&self) -> bool {
        self.journal.is_some()
    }

    /// Makes the addresses of a range, with the leases of before.
    pub(super) fn pool(
        &mut self,
        plan: Plan<A>,
        before: Option<&Pool<A>>,
        (held, fates): (&BTreeMap<usize, Held>, &Fates<'_, A>),
        now_ms: u64,
    ) -> Pool<A> {
        let is_kept = self.is_kept();
        let journal = self.journal.iter();
        let mut known: BTreeMap<A, Holder> = journal.flat_map(Journal::known).collect();
        // What the pool before knew and the disk does not: without a journal nobody was told of a
        // lease, but what is unclear stays unclear.
        let before = before.into_iter().flat_map(Pool::known);
        known.extend(before.filter(|(_, holder)| !is_kept || *holder == Holder::Unclear));
        let mut pool = Pool::new(plan.range, plan.lease_s, plan.reserved, known, now_ms);
        for (part, held) in held {
            match self.taken.contains(part) {
                true => pool.take(*part, true, now_ms),
                false => self.take(&mut pool, (*part, held), fates, now_ms),
            }
        }
        pool
    }

    /// From now on this node gives the addresses of a part, and keeps which are unclear.
    fn take(
        &mut self,
        pool: &mut Pool<A>,
        (part, held): (usize, &Held),
        fates: &Fates<'_, A>,
        now_ms: u64,
    ) {
        pool.take_as(part, now_ms, fates(held));
        if self.is_kept() {
            self.taken.insert(part);
        }
    }

    /// The parts are others.
    pub(super) fn begin_anew(&mut self) {
        self.taken.clear();
    }

    /// Only these parts may still be held.
    pub(super) fn retain(&mut self, held: &BTreeMap<usize, Held>) {
        self.taken.retain(|part| held.contains_key(part));
    }

    /// Another node may hold a part from now on.
    pub(super) fn give_up(&mut self, pool: Option<&mut Pool<A>>, part: usize) {
        if let Some(pool) = pool {
            pool.give_up(part);
        }
        self.taken.remove(&part);
    }

    /// This node holds other parts than before. Without a pool, the next one takes them.
    pub(super) fn stand(
        &mut self,
        mut pool: Option<&mut Pool<A>>,
        before: &BTreeMap<usize, Held>,
        (held, fates): (&BTreeMap<usize, Held>, &Fates<'_, A>),
        now_ms: u64,
    ) {
        for part in before.keys().filter(|part| !held.contains_key(part)) {
            self.give_up(pool.as_deref_mut(), *part);
        }
        let Some(pool) = pool else { return };
        for (part, held) in held {
            if !before.contains_key(part) {
                self.take(pool, (*part, held), fates, now_ms);
            }
        }
    }

    /// Writes to the disk what the next start has to know. Where that fails, machines whose lease is
    /// not there may not be told of it ([`Keeping::may_tell`]).
    pub(super) fn store(&mut self, changes: &[Change<A>]) {
        if changes.is_empty() && self.trouble.is_none() {
            return;
        }
        let unstored = changes.iter().filter_map(Change::mac);
        let Some(journal) = &mut self.journal else {
            self.unstored.extend(unstored);
            return;
        };
        let stored = match self.trouble {
            None => journal.add(changes),
            // What was not written before is written now, too.
            Some(_) => {
                journal.remember(changes);
                journal.mend()
            }
        };
        match stored {
            Ok(()) => {
                self.trouble = None;
                self.unstored.clear();
            }
            Err(error) => {
                self.unstored.extend(unstored);
                self.trouble = Some(journal.trouble(&error));
            }
        }
    }

    /// Whether a machine may be told of its lease.
    pub(super) fn may_tell(&self, mac: Mac) -> bool {
        !self.unstored.contains(&mac)
    }
}
