//! Planned hand-over: requests freeze, those in progress end, both disks flush, both copies are
//! stored as clean, and the lease is released. The next owner starts without a resync. A live
//! migration uses two steps: [`super::Order::Freeze`], then [`super::Order::HandOver`] or
//! [`super::Order::Thaw`].

use super::defect::Defect;
use super::exchange::Notice;
use super::geometry::Blocks;
use super::message::Message;
use super::other::Phase;
use super::requests::{Origin, Work};
use super::tenure::Role;
use super::{Payload, Replica};

/// Progress of a hand-over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// Waits for the requests in progress.
    Draining,
    /// Flushes both disks.
    Flushing,
    /// Waits until the other copy has stored that it is clean.
    Settling,
    /// Stores that this copy is clean, with this store.
    Storing(u64),
    /// Both copies are clean.
    Clean,
}

/// Hand-over in progress.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HandOver {
    /// Current step.
    pub step: Step,
    /// Releases the lease at the end.
    pub releases: bool,
}

impl<P: Payload> Replica<P> {
    /// Starts a hand-over, or completes a frozen one.
    pub(super) fn hand_over(&mut self, releases: bool) {
        let can = self.tenure.role == Role::Serving && self.other.phase == Phase::Mirrored;
        if !can {
            return self.say(Notice::NotHandedOver);
        }
        match &mut self.tenure.hand_over {
            Some(hand_over) => hand_over.releases |= releases,
            None => {
                let step = Step::Draining;
                self.tenure.hand_over = Some(HandOver { step, releases });
            }
        }
    }

    fn step(&mut self, step: Step) {
        if let Some(hand_over) = &mut self.tenure.hand_over {
            hand_over.step = step;
        }
    }

    pub(super) fn advance_hand_over(&mut self) {
        let Some(hand_over) = self.tenure.hand_over else {
            return;
        };
        match hand_over.step {
            Step::Draining => {
                let is_idle = self.requests.is_idle() && self.tenure.growth.is_none();
                if is_idle || self.broken.is(Defect::HandsOverUndrained) {
                    self.step(Step::Flushing);
                    let nothing = Blocks { first: 0, count: 1 };
                    let slot = self.requests.open(Origin::HandOver, Work::Flush, nothing);
                    self.begin_slot(slot);
                }
            }
            Step::Clean if hand_over.releases => self.release(Notice::Frozen),
            Step::Flushing | Step::Settling | Step::Storing(_) | Step::Clean => {}
        }
    }

    /// Continues after both disks have flushed.
    pub(super) fn hand_over_flushed(&mut self) {
        if self
            .tenure
            .hand_over
            .is_some_and(|h| h.step == Step::Flushing)
        {
            self.step(Step::Settling);
            let epoch = self.tenure.epoch;
            self.send(Message::Settle { epoch });
        }
    }

    /// Continues after the other copy is clean.
    pub(super) fn settled(&mut self) {
        if self
            .tenure
            .hand_over
            .is_some_and(|h| h.step == Step::Settling)
        {
            self.copy.log.clear();
            self.copy.head.unflushed = None;
            let number = self.copy.store();
            self.step(Step::Storing(number));
        }
    }

    pub(super) fn hand_over_stored(&mut self) {
        if let Some(hand_over) = self.tenure.hand_over
            && let Step::Storing(number) = hand_over.step
            && self.copy.has_stored(number)
        {
            self.step(Step::Clean);
            if !hand_over.releases {
                self.say(Notice::Frozen);
            }
        }
    }
}
