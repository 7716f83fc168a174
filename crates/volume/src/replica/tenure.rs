//! The ownership of a node: its lease, its role, the record and the proposal of a further
//! one.

use super::exchange::Time;
use super::growth::Growth;
use super::hand_over::HandOver;
use super::record::{Epoch, Generation, InSync, Incarnation, Node, Record};

/// What a node does with its lease.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Role {
    /// It has none, or one that ended.
    #[default]
    Idle,
    /// It waits until former operations of its disk have ended.
    Draining,
    /// It stores its promise by this store.
    Promising(u64),
    /// It waits for the other copy until then.
    Greeting(Time),
    /// It waits for the record that has its copy alone.
    Recording,
    /// It serves.
    Serving,
    /// Its disk failed, and it waits for the record that has the other copy alone.
    Yielding,
}

/// A record that was proposed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Proposal {
    /// The record.
    pub record: Record,
    /// When it was proposed the last time.
    pub at: Time,
}

/// The lease of this node and what it leads to.
#[derive(Clone, Debug)]
pub struct Tenure {
    /// What it does.
    pub role: Role,
    /// The last epoch that was granted to this node.
    pub epoch: Epoch,
    /// When it was granted.
    pub granted_at: Time,
    /// Until when the lease is valid.
    pub until: Time,
    /// The current record, while it has the lease.
    pub record: Record,
    /// A proposal whose outcome is not known.
    pub proposal: Option<Proposal>,
    /// Requests wait for the next lease: no other node is known to have had it.
    pub waits: bool,
    /// An operator lets it serve alone.
    pub alone: bool,
    /// Until then it does not want the lease.
    pub rests_until: Time,
    /// This copy flushes what both acknowledged, before it is alone in the record.
    pub secures: bool,
    /// A hand-over in progress.
    pub hand_over: Option<HandOver>,
    /// The volume becomes larger.
    pub growth: Option<Growth>,
}

impl Default for Tenure {
    fn default() -> Tenure {
        Tenure {
            role: Role::Idle,
            epoch: Epoch(0),
            granted_at: Time(0),
            until: Time(0),
            record: Record {
                incarnation: Incarnation(0),
                generation: Generation(0),
                epoch: Epoch(0),
                in_sync: InSync::One(Node(u16::MAX)),
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
