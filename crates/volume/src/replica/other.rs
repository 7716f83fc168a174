//! Keeps and advances the state of the other node's copy as the owner of the volume sees it:
//! greeted, being resynchronised, joined, in sync, or lost.

use super::defect::ReplicaDefect;
use super::exchange::{Notice, ReplicaAction, Time};
use super::handshake::{Introduction, JoinRefusal, Resume, decide};
use super::message::{ReplicaMessage, Session};
use super::owner::YIELD_TAG;
use super::record::{CopyId, InSync};
use super::tenure::LeaseRole;
use super::{Payload, Replica};
use std::collections::BTreeSet;

/// Phase of the other copy.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub enum PeerPhase {
    /// Not connected, refused, or lost.
    #[default]
    Away,
    Greeting,
    /// The owner stores that all blocks are dirty, in the store with this number.
    Storing(u64),
    Beginning,
    /// Resync in progress; the other copy also receives all writes.
    Syncing,
    /// The other copy has all data, and requests need it from now on. Earlier requests that did not
    /// need it are still in progress.
    Joining,
    /// The other copy flushes, and stores that it has joined.
    Finishing,
    /// The owner stores that both copies have joined, in the store with this number.
    Confirming(u64),
    Proposing,
    /// The other copy is in sync, and the record of the volume lists it as such.
    Mirrored,
}

/// State of the other copy and of its resync.
#[derive(Clone, Debug, Default)]
pub struct PeerCopy {
    pub phase: PeerPhase,
    pub number: u64,
    pub since: Time,
    pub retry_at: Time,
    /// Number of failed attempts since the copy was in sync.
    pub attempts: u32,
    pub cursor: u64,
    pub copies: u32,
    /// Blocks that the resync skips, because they are damaged in this copy.
    pub skips: BTreeSet<u64>,
    /// Earliest time of the next resync copy, according to the resync rate.
    pub copy_at: Time,
    /// Identity of the other copy, as it introduced itself last.
    pub copy: Option<CopyId>,
    /// Space in the other copy's backing store, blocks.
    pub room: u64,
    pub refusal: Option<JoinRefusal>,
    /// True if the other node sends nothing, so that a new owner does not wait for it.
    pub is_silent: bool,
}

impl PeerCopy {
    pub fn receives(&self) -> bool {
        self.phase >= PeerPhase::Syncing
    }

    pub fn is_joining(&self) -> bool {
        (PeerPhase::Joining..PeerPhase::Mirrored).contains(&self.phase)
    }

    fn waits_for_response(&self) -> bool {
        matches!(
            self.phase,
            PeerPhase::Greeting | PeerPhase::Beginning | PeerPhase::Finishing
        )
    }
}

impl<P: Payload> Replica<P> {
    pub(super) fn connected(&mut self, session: Session) {
        if let Some(former) = self.link {
            self.lost(former);
        }
        self.link = Some(session);
        self.other.refusal = None;
        if self.other.attempts <= 1 {
            self.other.retry_at = Time(0);
        }
        // Sends the greeting soon, because the other node's clients wait for it.
        let soon = self.now.after(self.settings.bounds.retry_ns);
        self.other.retry_at = self.other.retry_at.min(soon);
        if matches!(self.tenure.role, LeaseRole::Greeting(_)) {
            self.greet();
        }
    }

    pub(super) fn lost(&mut self, session: Session) {
        if self.link == Some(session) {
            self.link = None;
            self.following.end();
            if self.other.receives() {
                self.say(Notice::OtherLost);
            }
            self.lose_other();
        }
    }

    /// Ends the session with the other copy, because it does not respond or cannot be used.
    pub(super) fn drop_other(&mut self, why: Notice) {
        self.say(why);
        if let Some(session) = self.link.take() {
            self.out.push(ReplicaAction::Disconnect(session));
        }
        self.following.end();
        self.lose_other();
    }

    pub(super) fn greet(&mut self) {
        if self.link.is_none() {
            return;
        }
        self.other.phase = PeerPhase::Greeting;
        self.other.number += 1;
        self.other.since = self.now;
        let (epoch, number) = (self.tenure.epoch, self.other.number);
        self.send(ReplicaMessage::Hello { epoch, number });
    }

    pub(super) fn message(&mut self, _: Session, message: ReplicaMessage<P>) {
        match message {
            ReplicaMessage::Welcome {
                number,
                introduction,
            } => self.welcome(number, introduction),
            ReplicaMessage::Refused { number, promised } => {
                if number == self.other.number && self.other.phase == PeerPhase::Greeting {
                    self.say(Notice::Refused(super::JoinRefusal::OldEpoch { promised }));
                    self.end_lease();
                    self.fail_other();
                }
            }
            ReplicaMessage::Begun if self.other.phase == PeerPhase::Beginning => {
                self.other.phase = PeerPhase::Syncing;
                self.other.cursor = 0;
                self.other.skips.clear();
                let blocks = self.copy.dirty.count();
                self.say(Notice::Resync { blocks });
            }
            ReplicaMessage::Done { tag } if tag == YIELD_TAG => self.yield_flushed(),
            ReplicaMessage::Done { tag } if self.other.receives() => self.remote_ended(tag, false),
            ReplicaMessage::Differs { tag } if self.other.receives() => {
                self.remote_ended(tag, true)
            }
            ReplicaMessage::Unreadable { tag } if self.other.receives() => {
                self.remote_unreadable(tag)
            }
            ReplicaMessage::Damaged { tag } if self.other.receives() => self.remote_damaged(tag),
            ReplicaMessage::Content { tag, data } if self.other.receives() => {
                self.content(tag, data)
            }
            ReplicaMessage::Failed { tag: _ } if self.other.receives() => {
                self.drop_other(Notice::OtherFailed);
            }
            ReplicaMessage::Finished if self.other.phase == PeerPhase::Finishing => self.finished(),
            ReplicaMessage::Settled => self.settled(),
            ReplicaMessage::Room { blocks } => self.other_has_room(blocks),
            ReplicaMessage::Grown => self.other_grown(),
            ReplicaMessage::Begun
            | ReplicaMessage::Done { .. }
            | ReplicaMessage::Differs { .. }
            | ReplicaMessage::Unreadable { .. }
            | ReplicaMessage::Damaged { .. }
            | ReplicaMessage::Content { .. }
            | ReplicaMessage::Failed { .. }
            | ReplicaMessage::Finished => {}
            message => self.follow(message),
        }
    }

    fn welcome(&mut self, number: u64, theirs: Introduction) {
        if number != self.other.number || self.other.phase != PeerPhase::Greeting {
            return;
        }
        self.other.room = theirs.room.max(theirs.blocks);
        self.other.copy = theirs.copy;
        self.other.refusal = None;
        let decided = decide(&self.copy.head, &self.tenure.record, &theirs);
        let resume = match decided {
            Ok(_) if self.broken.is(ReplicaDefect::TrustsAnyBits) => Resume::Bits,
            Ok(resume) => resume,
            Err(refusal) => {
                self.other.refusal = Some(refusal.clone());
                self.say(Notice::Refused(refusal));
                self.fail_other();
                return;
            }
        };
        if self.tenure.role != LeaseRole::Serving {
            self.introduced(&theirs);
            return;
        }
        // Stores the identity of this copy, to which the dirty bits refer from now on. Another copy
        // would have to be compared completely.
        self.copy.head.identity.tracked = theirs.copy;
        match resume {
            Resume::Bits => {
                if !self.broken.is(ReplicaDefect::IgnoresTheirLog) {
                    let count = self.settings.geometry.extents();
                    for extent in theirs.hot.iter().filter(|extent| extent.0 < count) {
                        self.copy.dirty.set_extent(*extent);
                    }
                }
                self.begin();
            }
            // Stored before the other copy relies on the dirty bits.
            Resume::Everything => {
                self.copy.fill(true);
                let number = self.copy.store();
                self.other.phase = PeerPhase::Storing(number);
                if self.broken.is(ReplicaDefect::BeginsUnstored) {
                    self.begin();
                }
            }
        }
    }

    fn begin(&mut self) {
        let Some(volume) = self.copy.head.volume else {
            return;
        };
        self.other.phase = PeerPhase::Beginning;
        self.other.since = self.now;
        self.send(ReplicaMessage::Begin {
            epoch: self.tenure.epoch,
            volume,
            incarnation: self.tenure.record.incarnation,
            base: super::handshake::joined(&self.copy.head),
            blocks: self.copy.head.blocks,
        });
    }

    pub(super) fn other_stored(&mut self) {
        match self.other.phase {
            PeerPhase::Storing(number) if self.copy.has_stored(number) => self.begin(),
            PeerPhase::Confirming(number) if self.copy.has_stored(number) => {
                self.other.phase = PeerPhase::Proposing;
                self.propose(InSync::Both(self.settings.me, self.settings.other));
            }
            _ => {}
        }
    }

    /// Stores that this copy has joined, after the other one has.
    fn finished(&mut self) {
        let generation = self.tenure.record.generation.next();
        self.copy.head.state = super::CopyState::Joined(generation);
        self.copy.head.unflushed = Some(self.settings.boot);
        self.copy.fill(false);
        self.other.phase = PeerPhase::Confirming(self.copy.store());
    }

    /// Treats the other copy as lost. Blocks that it may lack, or may not have on stable storage,
    /// become dirty.
    pub(super) fn lose_other(&mut self) {
        self.give_up_growth();
        let received = self.other.receives();
        if self.other.phase != PeerPhase::Away {
            self.fail_other();
        }
        if received {
            // Continues to serve if both disks have failed: clients get errors from this one.
            if self.tenure.role == LeaseRole::Yielding && self.tenure.proposal.is_none() {
                self.tenure.role = LeaseRole::Serving;
            }
            if !self.broken.is(ReplicaDefect::ForgetsUnstable) {
                for extent in self.copy.log.unstable() {
                    self.copy.dirty.set_extent(extent);
                }
            }
            self.tenure.hand_over = None;
            self.lose_remote_parts();
        }
        self.interrupt_verify();
        if self.tenure.role != LeaseRole::Idle {
            self.release_other();
        }
    }

    fn fail_other(&mut self) {
        self.other.phase = PeerPhase::Away;
        let bounds = &self.settings.bounds;
        let wait = bounds.retry_ns << self.other.attempts.min(6);
        self.other.attempts += 1;
        self.other.retry_at = self.now.after(wait);
    }

    fn waits_for_other(&self) -> bool {
        let yields = self.tenure.role == LeaseRole::Yielding && self.tenure.proposal.is_none();
        self.other.waits_for_response() || yields || self.waits_for_growth()
    }

    pub(super) fn advance_other(&mut self) {
        let stall = self.settings.bounds.other_stall_ns;
        if self.waits_for_other() && self.now >= self.other.since.after(stall) {
            // Ends the session with a copy that does not respond in time. A copy that stores slowly
            // may respond to a later greeting.
            self.drop_other(Notice::OtherLost);
        }
        if self.tenure.role != LeaseRole::Serving {
            return;
        }
        let recorded = self.has_another();
        if self.other.phase == PeerPhase::Away
            && self.link.is_some()
            && !recorded
            && self.tenure.proposal.is_none()
            && self.tenure.growth.is_none()
            && self.now >= self.other.retry_at
        {
            self.greet();
        }
        if (PeerPhase::Syncing..=PeerPhase::Joining).contains(&self.other.phase) {
            self.advance_resync();
        }
    }

    pub(super) fn other_deadline(&self) -> Option<Time> {
        if self.tenure.role == LeaseRole::Idle {
            return None;
        }
        let stall = self.settings.bounds.other_stall_ns;
        match self.other.phase {
            PeerPhase::Away if self.link.is_some() && self.tenure.role == LeaseRole::Serving => {
                let recorded = self.has_another();
                let waits = self.tenure.proposal.is_some() || self.tenure.growth.is_some();
                let is_free = !recorded && !waits;
                is_free.then_some(self.other.retry_at)
            }
            PeerPhase::Syncing if self.copy.dirty.count() > 0 => {
                (self.now < self.other.copy_at).then_some(self.other.copy_at)
            }
            _ if self.waits_for_other() => Some(self.other.since.after(stall)),
            _ => None,
        }
    }
}
