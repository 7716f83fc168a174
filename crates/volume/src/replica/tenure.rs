//! Keeps the state of this node's lease for a volume: the replica's role under it (owner, follower,
//! …), the current record and a proposal of a record whose outcome is unknown.

use super::exchange::Time;
use super::growth::Growth;
use super::hand_over::HandOver;
use super::record::{Epoch, Generation, InSync, Incarnation, NodeId, Record};

/// Role of a node under its lease of the volume.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum LeaseRole {
    #[default]
    Idle,
    Draining,
    Promising(u64),
    /// Greets the other copy and waits for it until this time.
    Greeting(Time),
    /// Waits until the cluster has recorded this copy alone.
    Recording,
    Serving,
    /// Waits until the cluster has recorded the other copy alone, because the local disk failed.
    Yielding,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Proposal {
    pub record: Record,
    pub at: Time,
}

/// Lease of this node for the volume, and the state that depends on the lease.
#[derive(Clone, Debug)]
pub struct Tenure {
    pub role: LeaseRole,
    pub epoch: Epoch,
    pub granted_at: Time,
    pub until: Time,
    pub record: Record,
    /// Proposal of a record whose outcome is unknown.
    pub proposal: Option<Proposal>,
    /// Requests wait for the next lease, because no other node is known to have had the lease
    /// since.
    pub waits: bool,
    pub alone: bool,
    pub rests_until: Time,
    /// A flush is in progress that makes acknowledged data durable on this disk before the record
    /// lists this copy alone.
    pub secures: bool,
    pub hand_over: Option<HandOver>,
    pub growth: Option<Growth>,
}

impl Default for Tenure {
    fn default() -> Tenure {
        Tenure {
            role: LeaseRole::Idle,
            epoch: Epoch(0),
            granted_at: Time(0),
            until: Time(0),
            record: Record {
                incarnation: Incarnation(0),
                generation: Generation(0),
                epoch: Epoch(0),
                in_sync: InSync::One(NodeId(u16::MAX)),
                copies: Vec::new(),
                forks: Vec::new(),
            },
            proposal: None,
            waits: false,
            alone: false,
            secures: false,
            rests_until: Time(0),
            hand_over: None,
            growth: None,
        }
    }
}
