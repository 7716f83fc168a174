//! Grows a volume while it is served. Each node first zeroes the space after the end of the volume.
//! Then the owner makes the other copy store the new size, stores it itself, and only then accepts
//! requests for the new range. Each copy in the record therefore has at least the size that clients
//! know, whichever node is lost.
//!
//! If the other copy is not in the record, the owner grows alone: a copy adopts the owner's size
//! when its resync begins. A copy that is larger than the owner's was grown by an owner that was
//! lost meanwhile, or was created larger. It shrinks, and the space after its new end is zeroed
//! again.

use super::defect::ReplicaDefect;
use super::exchange::ReplicaAction;
use super::follower::FollowerTask;
use super::geometry::Geometry;
use super::message::ReplicaMessage;
use super::other::PeerPhase;
use super::tenure::LeaseRole;
use super::{Payload, Replica};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GrowthStep {
    Asking,
    Storing(u64),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Growth {
    blocks: u64,
    step: GrowthStep,
}

impl<P: Payload> Replica<P> {
    /// Handles a report that the local backing store has space for more or fewer blocks than
    /// before.
    pub(super) fn has_room(&mut self, from: u64, to: u64) {
        // Ignores the report if the copy has shrunk in the meantime, because the space between may
        // not be zeroed.
        if from > self.copy.room {
            return;
        }
        self.copy.room = to.max(self.copy.head.blocks);
        if self.tenure.role == LeaseRole::Idle {
            let blocks = self.copy.room;
            self.send(ReplicaMessage::Room { blocks });
        }
    }

    pub(super) fn other_has_room(&mut self, blocks: u64) {
        self.other.room = blocks;
        let is_short =
            |growth: &Growth| growth.step == GrowthStep::Asking && growth.blocks > blocks;
        self.tenure.growth.take_if(|growth| is_short(growth));
    }

    pub(super) fn advance_growth(&mut self) {
        let room = self.copy.room;
        let tenure = &self.tenure;
        let is_busy =
            tenure.growth.is_some() || tenure.hand_over.is_some() || tenure.proposal.is_some();
        if room <= self.copy.head.blocks || tenure.role != LeaseRole::Serving || is_busy {
            return;
        }
        let recorded = self.has_another();
        let alone = self.broken.is(ReplicaDefect::GrowsAlone);
        match self.other.phase {
            PeerPhase::Mirrored if !alone => {
                let blocks = room.min(self.other.room);
                if blocks > self.copy.head.blocks {
                    let step = GrowthStep::Asking;
                    self.tenure.growth = Some(Growth { blocks, step });
                    self.other.since = self.now;
                    let epoch = self.tenure.epoch;
                    self.send(ReplicaMessage::Grow { epoch, blocks });
                }
            }
            PeerPhase::Mirrored => self.store_growth(room),
            PeerPhase::Away if !recorded => self.store_growth(room),
            _ => {}
        }
    }

    fn store_growth(&mut self, blocks: u64) {
        let step = GrowthStep::Storing(self.resize(blocks));
        self.tenure.growth = Some(Growth { blocks, step });
        if self.broken.is(ReplicaDefect::GrowsUnstored) {
            self.copy.stored_blocks = blocks;
            self.resized();
        }
    }

    fn resize(&mut self, blocks: u64) -> u64 {
        let geometry = Geometry {
            blocks,
            ..self.settings.geometry
        };
        let keeps_room = self.broken.is(ReplicaDefect::KeepsRoom);
        self.copy.resize(geometry, keeps_room)
    }

    pub(super) fn other_grown(&mut self) {
        if let Some(growth) = self.tenure.growth
            && growth.step == GrowthStep::Asking
        {
            self.store_growth(growth.blocks);
        }
    }

    pub(super) fn waits_for_growth(&self) -> bool {
        let growth = self.tenure.growth;
        growth.is_some_and(|growth| growth.step == GrowthStep::Asking)
    }

    /// Cancels a growth after a loss of the other copy, unless this copy is already storing the new
    /// size.
    pub(super) fn give_up_growth(&mut self) {
        if self.waits_for_growth() {
            self.tenure.growth = None;
        }
    }

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
        if matches!(growth.step, GrowthStep::Storing(number) if self.copy.has_stored(number)) {
            self.tenure.growth = None;
            let (epoch, blocks) = (self.tenure.epoch, growth.blocks);
            self.out.push(ReplicaAction::Resized(blocks));
            if self.other.phase == PeerPhase::Mirrored {
                self.send(ReplicaMessage::Resized { epoch, blocks });
            }
        }
    }

    pub(super) fn grow_as_told(&mut self, blocks: u64) {
        let has = self.copy.head.blocks;
        if blocks > self.copy.room {
            let blocks = self.copy.room;
            self.send(ReplicaMessage::Room { blocks });
        } else if blocks > has {
            self.following.task = FollowerTask::Growing(self.resize(blocks));
        } else {
            self.send(ReplicaMessage::Grown);
        }
    }

    /// Sets this copy to the owner's size at the start of a resync; the next store contains the
    /// size.
    pub(super) fn take_size(&mut self, blocks: u64) {
        if blocks != self.copy.head.blocks {
            self.resize(blocks);
        }
    }
}
