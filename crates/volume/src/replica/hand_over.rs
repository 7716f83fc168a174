//! Implements the planned hand-over of a volume to the other node: requests freeze, those in
//! progress end, both disks flush, both copies are stored as clean, and the lease is released. The
//! next owner starts without a resync. A live migration uses two steps: `ReplicaOrder::Freeze`,
//! then `ReplicaOrder::HandOver` or `ReplicaOrder::Thaw`.

use super::defect::ReplicaDefect;
use super::exchange::Notice;
use super::geometry::Blocks;
use super::message::ReplicaMessage;
use super::other::PeerPhase;
use super::requests::{RequestInitiator, RequestOperation};
use super::tenure::LeaseRole;
use super::{Payload, Replica};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HandOverStep {
    Draining,
    Flushing,
    /// Waits until the other copy has stored that it is clean.
    Settling,
    /// Stores that this copy is clean, in the store with this number.
    Storing(u64),
    Clean,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HandOver {
    pub step: HandOverStep,
    pub releases: bool,
}

impl<P: Payload> Replica<P> {
    /// Starts a hand-over, or completes one that was frozen. `releases`: the lease is released at
    /// the end.
    pub(super) fn hand_over(&mut self, releases: bool) {
        let can = self.tenure.role == LeaseRole::Serving && self.other.phase == PeerPhase::Mirrored;
        if !can {
            return self.say(Notice::NotHandedOver);
        }
        match &mut self.tenure.hand_over {
            Some(hand_over) => hand_over.releases |= releases,
            None => {
                let step = HandOverStep::Draining;
                self.tenure.hand_over = Some(HandOver { step, releases });
            }
        }
    }

    fn step(&mut self, step: HandOverStep) {
        if let Some(hand_over) = &mut self.tenure.hand_over {
            hand_over.step = step;
        }
    }

    pub(super) fn advance_hand_over(&mut self) {
        let Some(hand_over) = self.tenure.hand_over else {
            return;
        };
        match hand_over.step {
            HandOverStep::Draining => {
                let is_idle = self.requests.is_idle() && self.tenure.growth.is_none();
                if is_idle || self.broken.is(ReplicaDefect::HandsOverUndrained) {
                    self.step(HandOverStep::Flushing);
                    let nothing = Blocks { first: 0, count: 1 };
                    let slot = self.requests.open(
                        RequestInitiator::HandOver,
                        RequestOperation::Flush,
                        nothing,
                    );
                    self.begin_slot(slot);
                }
            }
            HandOverStep::Clean if hand_over.releases => self.release(Notice::Frozen),
            HandOverStep::Flushing
            | HandOverStep::Settling
            | HandOverStep::Storing(_)
            | HandOverStep::Clean => {}
        }
    }

    pub(super) fn hand_over_flushed(&mut self) {
        if self
            .tenure
            .hand_over
            .is_some_and(|h| h.step == HandOverStep::Flushing)
        {
            self.step(HandOverStep::Settling);
            let epoch = self.tenure.epoch;
            self.send(ReplicaMessage::Settle { epoch });
        }
    }

    pub(super) fn settled(&mut self) {
        if self
            .tenure
            .hand_over
            .is_some_and(|h| h.step == HandOverStep::Settling)
        {
            self.copy.log.clear();
            self.copy.head.unflushed = None;
            let number = self.copy.store();
            self.step(HandOverStep::Storing(number));
        }
    }

    pub(super) fn hand_over_stored(&mut self) {
        if let Some(hand_over) = self.tenure.hand_over
            && let HandOverStep::Storing(number) = hand_over.step
            && self.copy.has_stored(number)
        {
            self.step(HandOverStep::Clean);
            if !hand_over.releases {
                self.say(Notice::Frozen);
            }
        }
    }
}
