//! A volume that becomes larger while it is served. Each node prepares its backing: what
//! follows the end of the volume is zeros there. Then the owner has the other copy store the
//! new size, stores it itself, and only then takes requests for the new part. So each copy in
//! the record has the size that clients know, or a larger one, whichever node is lost.
//!
//! An owner whose other copy is out of the record grows alone: a copy takes the size of the
//! owner when its resync begins. One that is larger than the owner grew for an owner that was
//! lost in between, or was created so: it becomes smaller, and what follows its end is
//! prepared again.

use super::defect::Defect;
use super::exchange::Action;
use super::follower::Task;
use super::geometry::Geometry;
use super::message::Message;
use super::other::Phase;
use super::tenure::Role;
use super::{Payload, Replica};

/// How far it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// The other copy stores its new size.
    Asking,
    /// This copy stores it, by this store.
    Storing(u64),
}

/// A volume that becomes larger.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Growth {
    /// The new size.
    blocks: u64,
    step: Step,
}

impl<P: Payload> Replica<P> {
    /// The backing has room for more, or for less than it had.
    pub(super) fn has_room(&mut self, from: u64, to: u64) {
        // It became smaller meanwhile: something between is not known to be zeros.
        if from > self.copy.room {
            return;
        }
        self.copy.room = to.max(self.copy.head.blocks);
        if self.tenure.role == Role::Idle {
            let blocks = self.copy.room;
            self.send(Message::Room { blocks });
        }
    }

    /// The backing of the other copy has so much room.
    pub(super) fn other_has_room(&mut self, blocks: u64) {
        self.other.room = blocks;
        let is_short = |growth: &Growth| growth.step == Step::Asking && growth.blocks > blocks;
        self.tenure.growth.take_if(|growth| is_short(growth));
    }

    /// Begins to grow, if there is room and it is safe.
    pub(super) fn advance_growth(&mut self) {
        let room = self.copy.room;
        let tenure = &self.tenure;
        let is_busy =
            tenure.growth.is_some() || tenure.hand_over.is_some() || tenure.proposal.is_some();
        if room <= self.copy.head.blocks || tenure.role != Role::Serving || is_busy {
            return;
        }
        let recorded = self.has_another();
        let alone = self.broken.is(Defect::GrowsAlone);
        match self.other.phase {
            Phase::Mirrored if !alone => {
                let blocks = room.min(self.other.room);
                if blocks > self.copy.head.blocks {
                    let step = Step::Asking;
                    self.tenure.growth = Some(Growth { blocks, step });
                    self.other.since = self.now;
                    let epoch = self.tenure.epoch;
                    self.send(Message::Grow { epoch, blocks });
                }
            }
            Phase::Mirrored => self.store_growth(room),
            Phase::Away if !recorded => self.store_growth(room),
            _ => {}
        }
    }

    /// Has this copy store its new size.
    fn store_growth(&mut self, blocks: u64) {
        let step = Step::Storing(self.resize(blocks));
        self.tenure.growth = Some(Growth { blocks, step });
        if self.broken.is(Defect::GrowsUnstored) {
            self.copy.stored_blocks = blocks;
            self.resized();
        }
    }

    fn resize(&mut self, blocks: u64) -> u64 {
        let geometry = Geometry {
            blocks,
            ..self.settings.geometry
        };
        let keeps_room = self.broken.is(Defect::KeepsRoom);
        self.copy.resize(geometry, keeps_room)
    }

    /// The other copy has stored its new size.
    pub(super) fn other_grown(&mut self) {
        if let Some(growth) = self.tenure.growth
            && growth.step == Step::Asking
        {
            self.store_growth(growth.blocks);
        }
    }

    /// Returns whether the other copy is to respond.
    pub(super) fn waits_for_growth(&self) -> bool {
        let growth = self.tenure.growth;
        growth.is_some_and(|growth| growth.step == Step::Asking)
    }

    /// The other copy is lost. What this one stores, it goes on with.
    pub(super) fn give_up_growth(&mut self) {
        if self.waits_for_growth() {
            self.tenure.growth = None;
        }
    }

    /// A store is done, perhaps with another size.
    pub(super) fn resized(&mut self) {
        let blocks = self.copy.stored_blocks;
        if blocks != self.settings.geometry.blocks {
            self.settings.geometry.blocks = blocks;
            self.copy.dirty.resize(self.settings.geometry);
        }
    }

    pub(super) fn growth_stored(&mut self) {
        let Some(growth) = self.tenure.growth else {
            return;
        };
        if matches!(growth.step, Step::Storing(number) if self.copy.has_stored(number)) {
            self.tenure.growth = None;
            let (epoch, blocks) = (self.tenure.epoch, growth.blocks);
            self.out.push(Action::Resized(blocks));
            if self.other.phase == Phase::Mirrored {
                self.send(Message::Resized { epoch, blocks });
            }
        }
    }

    /// The owner wants this copy to have the new size.
    pub(super) fn grow_as_told(&mut self, blocks: u64) {
        let has = self.copy.head.blocks;
        if blocks > self.copy.room {
            let blocks = self.copy.room;
            self.send(Message::Room { blocks });
        } else if blocks > has {
            self.following.task = Task::Growing(self.resize(blocks));
        } else {
            self.send(Message::Grown);
        }
    }

    /// A resync begins: this copy has the owner's size from the next store on.
    pub(super) fn take_size(&mut self, blocks: u64) {
        if blocks != self.copy.head.blocks {
            self.resize(blocks);
        }
    }
}
