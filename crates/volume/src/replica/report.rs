//! The state of a replica for operators.

use super::other::Phase;
use super::record::{Epoch, Record};
use super::tenure::Role;
use super::verify::Verify;
use super::{Payload, Replica, Time};

/// The other copy, as the owner sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OtherState {
    /// Not connected, or refused.
    Away,
    /// About to be resynchronised.
    Preparing,
    /// Gets what it lacks.
    Syncing,
    /// Has everything; the record is about to say so.
    Joining,
    /// In sync.
    InSync,
}

/// What a replica does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Report {
    /// It is the owner and serves.
    pub serves: bool,
    /// The latest ownership epoch that it knows: its own, or the one it has promised.
    pub epoch: Epoch,
    /// Requests wait for the lease or for an agreement.
    pub frozen: bool,
    /// The record, at the owner.
    pub record: Option<Record>,
    /// The other copy.
    pub other: OtherState,
    /// Blocks that the other copy may lack.
    pub dirty_blocks: u64,
    /// Blocks that a resync cannot copy: they are damaged here, and the other copy does not
    /// have them.
    pub damaged_blocks: u64,
    /// Requests of clients under way or waiting.
    pub requests: usize,
    /// Its size, blocks.
    pub blocks: u64,
    /// Blocks that the backings of this copy and, at the owner, of the other one have room for.
    pub room: [u64; 2],
    /// Another owner is followed.
    pub follows: bool,
    /// This copy lost power with acknowledged writes that were not flushed.
    pub lacks: bool,
    /// The other copy is connected, and no part of the volume.
    pub refused: bool,
    /// The local disk has failed since this copy joined.
    pub faulty: bool,
    /// The verify that runs, or the last one.
    pub verify: Option<Verify>,
}

impl<P: Payload> Replica<P> {
    /// Returns the epoch in which this node serves, if it does.
    pub fn serves(&self) -> Option<Epoch> {
        (self.tenure.role == Role::Serving).then_some(self.tenure.epoch)
    }

    /// Returns whether requests are taken, to be done now or when the lease is held again.
    pub fn takes_requests(&self) -> bool {
        self.tenure.waits
    }

    /// Returns whether requests of clients have begun: their replies need no other owner.
    pub fn has_begun(&self) -> bool {
        self.requests.clients > 0
    }

    /// Returns whether this node serves and both copies are in sync.
    pub fn is_mirrored(&self) -> bool {
        self.tenure.role == Role::Serving && self.other.phase == Phase::Mirrored
    }

    /// Returns whether a verify runs.
    pub fn is_verifying(&self) -> bool {
        self.verifying.is_running()
    }

    /// Returns the state at this time.
    pub fn report(&self, now: Time) -> Report {
        let serves = self.tenure.role == Role::Serving;
        let frozen = self.tenure.hand_over.is_some() || now >= self.tenure.until || !serves;
        Report {
            serves,
            epoch: self.tenure.epoch.max(self.copy.head.promised),
            frozen: frozen && self.tenure.waits,
            record: (self.tenure.role != Role::Idle).then(|| self.tenure.record.clone()),
            other: match self.other.phase {
                Phase::Away | Phase::Greeting => OtherState::Away,
                Phase::Storing(_) | Phase::Beginning => OtherState::Preparing,
                Phase::Syncing => OtherState::Syncing,
                Phase::Joining | Phase::Finishing | Phase::Confirming(_) | Phase::Proposing => {
                    OtherState::Joining
                }
                Phase::Mirrored => OtherState::InSync,
            },
            dirty_blocks: self.copy.dirty.count(),
            damaged_blocks: self.other.skips.len() as u64,
            requests: self.requests.open_clients(),
            blocks: self.settings.geometry.blocks,
            room: [self.copy.room, self.other.room],
            follows: self.following.is_active(),
            lacks: self.copy.lacks,
            refused: self.other.refusal.is_some(),
            faulty: self.copy.faulty,
            verify: self.verifying.last.clone(),
        }
    }
}
