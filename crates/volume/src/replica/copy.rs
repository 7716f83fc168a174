//! Keeps the durable state of the local copy of a volume, and orders the stores that update it on
//! disk.

use super::activity::{ActivityLog, Admission};
use super::bitmap::DirtyBitmap;
use super::defect::ReplicaDefect;
use super::durable::{CopyHeader, Durable, DurableChange};
use super::exchange::{ReplicaAction, Time};
use super::geometry::{Blocks, Extent, Geometry};
use super::settings::Settings;
use super::{Payload, Replica};

#[derive(Clone, Debug)]
pub struct LocalCopy {
    /// Values of the head, which change together. The next store makes them durable.
    pub head: CopyHeader,
    pub log: ActivityLog,
    /// Blocks that the other copy may lack.
    pub dirty: DirtyBitmap,
    /// Number of blocks for which the backing store is prepared: the space from the end of the
    /// volume up to there is zeroed.
    pub room: u64,
    /// Size in the last completed store, blocks.
    pub stored_blocks: u64,
    /// True if the copy lost power with acknowledged writes that were not flushed.
    pub lacks: bool,
    pub faulty: bool,
    pub store_again_at: Option<Time>,
    /// Extents that left the activity log, and whose dirty bits the next store contains.
    left: Vec<Extent>,
    fill: Option<bool>,
    is_due: bool,
    under_way: Option<(u64, DurableChange)>,
    begun: u64,
    done: u64,
}

impl LocalCopy {
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

    /// Schedules a store of all changes so far. Returns its number.
    pub fn store(&mut self) -> u64 {
        self.is_due = true;
        self.begun + 1
    }

    pub fn has_stored(&self, number: u64) -> bool {
        number <= self.done
    }

    /// Records that a store is complete. Returns whether it was the one in progress.
    pub fn stored(&mut self, number: u64) -> bool {
        let Some((_, change)) = self.under_way.take_if(|(n, _)| *n == number) else {
            return false;
        };
        self.stored_blocks = change.head.blocks;
        self.done = number;
        self.log.stored(number);
        true
    }

    /// Resizes the volume. Returns the number of the store that makes the size durable. After
    /// shrinking, the space after the end does not count as zeroes.
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

    /// Sets all dirty bits to this value, also on disk.
    pub fn fill(&mut self, value: bool) {
        if value {
            self.dirty.set_all()
        } else {
            self.dirty.clear_all()
        }
        self.fill = Some(value);
        self.left.clear();
    }

    fn next(&mut self) -> Option<(u64, DurableChange)> {
        if !self.is_due || self.under_way.is_some() {
            return None;
        }
        self.is_due = false;
        self.begun += 1;
        let mut left = std::mem::take(&mut self.left);
        left.dedup();
        let change = DurableChange {
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
    pub(super) fn advance_store(&mut self) {
        if self.copy.store_again_at.is_some_and(|at| self.now >= at) {
            self.copy.store_again_at = None;
            if let Some((number, change)) = &self.copy.under_way {
                self.out.push(ReplicaAction::Store(*number, change.clone()));
            }
        }
        if let Some((number, change)) = self.copy.next() {
            self.out.push(ReplicaAction::Store(number, change));
        }
    }

    /// Handles a failed store: schedules another attempt, and if this node is the owner, lets the
    /// other copy take over.
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

    /// Pins the extents of a write or a resync copy, and adds them to the activity log.
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
        match self.broken.is(ReplicaDefect::WritesBeforeHot) {
            true if admission != Admission::Full => Admission::Hot,
            _ => admission,
        }
    }

    /// Returns whether an extent may leave the log before its writes are stable on the other copy.
    /// Its dirty bits suffice only when the record lists this copy alone. Before that the other
    /// node may become the owner, and it knows only the log.
    fn leaves_unstable(&self) -> bool {
        let recorded = self.may_have_another();
        let early = self.broken.is(ReplicaDefect::LeavesBeforeRecord);
        (!self.other.receives() && (!recorded || early))
            || self.broken.is(ReplicaDefect::EvictsUnstable)
    }

    pub(super) fn leave_log(&mut self) -> bool {
        let any = self.leaves_unstable();
        let copy = &mut self.copy;
        let before = copy.left.len();
        let needs_flush = copy.log.leave(any, &mut copy.left);
        copy.is_due |= copy.left.len() != before;
        needs_flush
    }
}
