//! Reports the state of a replica: the complete status for operators, and whether the replica
//! serves, accepts requests or has begun some, for its driver.

use super::other::PeerPhase;
use super::record::{Epoch, Record};
use super::tenure::LeaseRole;
use super::verify::Verify;
use super::{Payload, Replica, Time};

/// State of the other copy from the owner's view.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OtherState {
    Away,
    Preparing,
    Syncing,
    /// Complete; the record is about to be changed.
    Joining,
    InSync,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReplicaReport {
    pub serves: bool,
    /// Latest known epoch: that of this node's lease, or the promised one.
    pub epoch: Epoch,
    /// True if requests wait for the lease or for the cluster's decision about a record.
    pub frozen: bool,
    pub record: Option<Record>,
    pub other: OtherState,
    pub dirty_blocks: u64,
    /// Number of blocks that a resync cannot copy, because they are damaged in this copy and
    /// missing in the other one.
    pub damaged_blocks: u64,
    pub requests: usize,
    pub blocks: u64,
    /// Space in the backing store of this copy, and, on the owner, in that of the other copy,
    /// blocks.
    pub room: [u64; 2],
    pub follows: bool,
    pub lacks: bool,
    pub refused: bool,
    pub faulty: bool,
    pub verify: Option<Verify>,
}

impl<P: Payload> Replica<P> {
    /// Returns the epoch in which this node serves; None if it does not.
    pub fn serves(&self) -> Option<Epoch> {
        (self.tenure.role == LeaseRole::Serving).then_some(self.tenure.epoch)
    }

    /// Returns whether requests are accepted, to be executed now or when this node has the lease
    /// again.
    pub fn takes_requests(&self) -> bool {
        self.tenure.waits
    }

    /// Returns whether client requests have begun to which this node can reply without another
    /// owner.
    pub fn has_begun(&self) -> bool {
        self.requests.clients > 0
    }

    pub fn is_mirrored(&self) -> bool {
        self.tenure.role == LeaseRole::Serving && self.other.phase == PeerPhase::Mirrored
    }

    pub fn is_verifying(&self) -> bool {
        self.verifying.is_running()
    }

    pub fn report(&self, now: Time) -> ReplicaReport {
        let serves = self.tenure.role == LeaseRole::Serving;
        let frozen = self.tenure.hand_over.is_some() || now >= self.tenure.until || !serves;
        ReplicaReport {
            serves,
            epoch: self.tenure.epoch.max(self.copy.head.promised),
            frozen: frozen && self.tenure.waits,
            record: (self.tenure.role != LeaseRole::Idle).then(|| self.tenure.record.clone()),
            other: match self.other.phase {
                PeerPhase::Away | PeerPhase::Greeting => OtherState::Away,
                PeerPhase::Storing(_) | PeerPhase::Beginning => OtherState::Preparing,
                PeerPhase::Syncing => OtherState::Syncing,
                PeerPhase::Joining
                | PeerPhase::Finishing
                | PeerPhase::Confirming(_)
                | PeerPhase::Proposing => OtherState::Joining,
                PeerPhase::Mirrored => OtherState::InSync,
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
