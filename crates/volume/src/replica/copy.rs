//! The local copy: what is on its disk or about to be stored, and the stores.

use super::activity::{ActivityLog, Admission};
use super::bitmap::DirtyBitmap;
use super::defect::Defect;
use super::durable::{Change, Durable, Head};
use super::exchange::{Action, Time};
use super::geometry::{Blocks, Extent, Geometry};
use super::settings::Settings;
use super::{Payload, Replica};

/// The local copy.
#[derive(Clone, Debug)]
pub struct LocalCopy {
    /// The values that change together, as they are to be.
    pub head: Head,
    /// The activity log.
    pub log: ActivityLog,
    /// What the other copy may lack.
    pub dirty: DirtyBitmap,
    /// Blocks that its backing is prepared for: behind the end of the volume there are zeros
    /// up to there.
    pub room: u64,
    /// The size with the last store that is done, blocks.
    pub stored_blocks: u64,
    /// It lost power with acknowledged writes that were not flushed.
    pub lacks: bool,
    /// Its disk failed in this process.
    pub faulty: bool,
    /// A failed store is repeated then.
    pub store_again_at: Option<Time>,
    /// Extents whose bits the next store has.
    left: Vec<Extent>,
    fill: Option<bool>,
    is_due: bool,
    under_way: Option<(u64, Change)>,
    /// Number of the last store that began.
    begun: u64,
    /// Number of the last one that is done.
    done: u64,
}

impl LocalCopy {
    /// Creates the local copy as it is on disk.
    pub fn new(settings: &Settings, durable: &Durable) -> LocalCopy {
        let head = durable.head;
        LocalCopy {
            head,
            log: ActivityLog::new(settings.geometry.log_extents, &durable.hot),
            dirty: DirtyBitmap::from_disk(settings.geometry, &durable.dirty),
            room: head.blocks,
            stored_blocks: head.blocks,
            lacks: head.unflushed.is_some_and(|boot| boot != settings.boot),
            faulty: false,
            store_again_at: None,
            left: Vec::new(),
            fill: None,
            is_due: false,
            under_way: None,
            begun: 0,
            done: 0,
        }
    }

    /// Has all changes up to now stored; returns the number of the store that has them.
    pub fn store(&mut self) -> u64 {
        self.is_due = true;
        self.begun + 1
    }

    /// Returns whether this store is done.
    pub fn has_stored(&self, number: u64) -> bool {
        number <= self.done
    }

    /// A store is done; returns whether it was the one under way.
    pub fn stored(&mut self, number: u64) -> bool {
        let Some((_, change)) = self.under_way.take_if(|(n, _)| *n == number) else {
            return false;
        };
        self.stored_blocks = change.head.blocks;
        self.done = number;
        self.log.stored(number);
        true
    }

    /// The volume has another size from the store on whose number is returned. What follows
    /// the end of one that is smaller is not known to be zeros.
    pub fn resize(&mut self, geometry: Geometry, keeps_room: bool) -> u64 {
        if geometry.blocks < self.head.blocks {
            let end = geometry.extents();
            self.log.truncate(end);
            self.left.retain(|extent| extent.0 < end);
            if !keeps_room {
                self.room = geometry.blocks;
            }
        }
        self.room = self.room.max(geometry.blocks);
        self.head.blocks = geometry.blocks;
        self.store()
    }

    /// All bits become this, also on disk.
    pub fn fill(&mut self, value: bool) {
        match value {
            true => self.dirty.set_all(),
            false => self.dirty.clear_all(),
        }
        self.fill = Some(value);
        self.left.clear();
    }

    /// The next change to store, if one is due and none is under way.
    fn next(&mut self) -> Option<(u64, Change)> {
        if !self.is_due || self.under_way.is_some() {
            return None;
        }
        self.is_due = false;
        self.begun += 1;
        let mut left = std::mem::take(&mut self.left);
        left.dedup();
        let change = Change {
            head: self.head,
            hot: self.log.extents().collect(),
            fill: self.fill.take(),
            bits: left
                .drain(..)
                .filter_map(|extent| Some((extent, self.dirty.to_store(extent)?)))
                .collect(),
        };
        self.left = left;
        self.under_way = Some((self.begun, change.clone()));
        Some((self.begun, change))
    }
}

impl<P: Payload> Replica<P> {
    /// Begins the store that is due.
    pub(super) fn advance_store(&mut self) {
        if self.copy.store_again_at.is_some_and(|at| self.now >= at) {
            self.copy.store_again_at = None;
            if let Some((number, change)) = &self.copy.under_way {
                self.out.push(Action::Store(*number, change.clone()));
            }
        }
        if let Some((number, change)) = self.copy.next() {
            self.out.push(Action::Store(number, change));
        }
    }

    /// A store failed: it is repeated, and an owner gives way to the other copy.
    pub(super) fn store_failed(&mut self, number: u64) {
        if self
            .copy
            .under_way
            .as_ref()
            .is_some_and(|(n, _)| *n == number)
        {
            let again = self.now.after(self.settings.bounds.retry_ns);
            self.copy.store_again_at = Some(again);
            self.local_failed();
        }
    }

    /// Pins the extents of a write or a copy, and puts them into the activity log.
    pub(super) fn pin(&mut self, blocks: Blocks) -> Admission {
        let extents = self.settings.geometry.extents_of(blocks);
        let any = self.leaves_unstable();
        let copy = &mut self.copy;
        if copy.log.pin_hot(extents.clone()) {
            return Admission::Hot;
        }
        let number = copy.begun + 1;
        let before = copy.left.len();
        let admission = copy.log.admit(extents, number, any, &mut copy.left);
        if copy.left.len() != before || matches!(admission, Admission::After(_)) {
            copy.is_due = true;
        }
        if admission != Admission::Full {
            copy.head.unflushed = Some(self.settings.boot);
        }
        match self.broken.is(Defect::WritesBeforeHot) {
            true if admission != Admission::Full => Admission::Hot,
            _ => admission,
        }
    }

    /// Returns whether an extent may leave the log although the other copy may not have its
    /// writes on stable storage: its dirty bits count from the time at which the record has
    /// this copy alone. Before, the other one may become the owner, and knows the log only.
    fn leaves_unstable(&self) -> bool {
        let recorded = self.may_have_another();
        let early = self.broken.is(Defect::LeavesBeforeRecord);
        (!self.other.receives() && (!recorded || early)) || self.broken.is(Defect::EvictsUnstable)
    }

    /// Extents that leave the log do so if they can; returns whether a flush is needed.
    pub(super) fn leave_log(&mut self) -> bool {
        let any = self.leaves_unstable();
        let copy = &mut self.copy;
        let before = copy.left.len();
        let needs_flush = copy.log.leave(any, &mut copy.left);
        copy.is_due |= copy.left.len() != before;
        needs_flush
    }
}
