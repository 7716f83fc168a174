//! Status of the routes to other members: as values, and as JSON.

use crate::authority::{Identity, Refused};
use crate::member::MemberId;
use serde::Serialize;
use std::sync::Arc;

/// How a connection to a member goes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PathKind {
    /// Straight.
    Direct,
    /// Through another member.
    Through(MemberId),
}

/// One connection to a member.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Connection {
    /// The kind of path.
    pub way: PathKind,
    /// This member opened it.
    pub dialed: bool,
    /// Time that a ping took last, microseconds.
    pub rtt_us: Option<u64>,
    /// Since when it stands, milliseconds ago.
    pub since_ms: u64,
    /// When something came on it last, milliseconds ago.
    pub heard_ms: u64,
    /// It owes an answer for too long: others are taken first.
    pub suspect: bool,
}

/// How a member is reached now.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Path {
    /// The member.
    pub member: MemberId,
    /// Its name.
    pub name: String,
    /// Something of it was heard lately.
    pub up: bool,
    /// The way that calls take now; None where there is none.
    pub way: Option<PathKind>,
    /// Round trip there, microseconds.
    pub rtt_us: Option<u64>,
    /// Since when it is reached in this way, or is not reached, milliseconds ago.
    pub since_ms: u64,
    /// All connections, the best first.
    pub connections: Vec<Connection>,
    /// Broken paths, as messages; empty if there are none.
    pub broken: Vec<String>,
    /// Two machines connect as this member.
    pub is_cloned: bool,
}

/// An event of the network layer.
#[derive(Clone, Debug)]
pub enum Event {
    /// A member is reached that was not.
    Up(MemberId),
    /// A member is reached in no way any more.
    Down {
        /// The member.
        member: MemberId,
        /// How that was seen.
        why: Loss,
    },
    /// A member refuses to talk to this one.
    RefusedBy {
        /// The member.
        member: MemberId,
        /// Why.
        why: Refused,
    },
    /// A machine at the address of a member and this one do not accept each other: one of them
    /// is older than the cluster, or a stranger.
    Distrusted {
        /// The member.
        member: MemberId,
        /// Why, as text.
        why: String,
    },
    /// This member has a new certificate for its key, and shows it. To be kept on disk.
    Renewed(Arc<Identity>),
    /// A message for operators.
    Noted {
        /// The message.
        words: String,
    },
}

/// How the loss of a member was detected.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Loss {
    /// Its connections were closed or reset: its process ended.
    Closed,
    /// Timeout: no traffic.
    Silent,
}
