//! Defines the status of the routes to other members, and the events of the wire.

use crate::authority::{MemberIdentity, PeerRejection};
use crate::member::MemberId;
use serde::Serialize;
use std::sync::Arc;

/// Kind of route to a member.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PathKind {
    Direct,
    Through(MemberId),
}

/// A connection to a member, with its quality.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Connection {
    pub way: PathKind,
    /// True if this member opened the connection.
    pub dialed: bool,
    pub rtt_us: Option<u64>,
    pub since_ms: u64,
    /// Time since the connection last received anything, milliseconds.
    pub heard_ms: u64,
    /// True if a response is overdue on this connection: calls prefer others.
    pub suspect: bool,
}

/// Current route to a member.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Path {
    pub member: MemberId,
    pub name: String,
    /// True if something was received from the member recently.
    pub up: bool,
    /// Route that calls use now; None if there is none.
    pub way: Option<PathKind>,
    pub rtt_us: Option<u64>,
    /// Time since the member is reached by this route, or is unreachable, milliseconds.
    pub since_ms: u64,
    /// All connections, the best first.
    pub connections: Vec<Connection>,
    /// Descriptions of the broken routes; empty if there are none.
    pub broken: Vec<String>,
    /// True if the member's process ended, and no later one has connected.
    pub has_ended: bool,
    /// True if two machines connect as this member.
    pub is_cloned: bool,
}

/// An event of the network layer.
#[derive(Clone, Debug)]
pub enum Event {
    Up(MemberId),
    Down {
        member: MemberId,
        why: Loss,
    },
    RefusedBy {
        member: MemberId,
        why: PeerRejection,
    },
    /// The machine at a member's address and this one do not trust each other: the state of one of
    /// them is outdated, or the machine is a stranger.
    Distrusted {
        member: MemberId,
        why: String,
    },
    /// The certificate of this member was renewed for the same key. The receiver must save it on
    /// disk.
    Renewed(Arc<MemberIdentity>),
    Noted {
        words: String,
    },
}

/// Way in which the loss of a member was detected.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Loss {
    /// The last working connection was closed or reset: the member's process probably ended.
    Closed,
    Silent,
}
