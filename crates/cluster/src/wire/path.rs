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

/// Counters since the start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Counts {
    /// Connections of members that were let in.
    pub accepted: u64,
    /// Strangers that were refused before a word: too many at once.
    pub crowded: u64,
    /// Handshakes that did not end in time, or had no sense.
    pub handshakes_failed: u64,
    /// Certificates of another authority, on either side.
    pub foreign: u64,
    /// Members that are none any more, or not the one they say, refused.
    pub refused: u64,
    /// Certificates that were taken although a clock says that they are over or not
    /// yet good.
    pub clocks_wrong: u64,
    /// Calls that were sent again on another way.
    pub sent_again: u64,
    /// Questions that came twice and were handled once.
    pub repeated: u64,
    /// Questions that were refused: more at once than a member may ask.
    pub overloaded: u64,
    /// Connections that were ended for what came on them.
    pub broken_rules: u64,
    /// Times that the listener could not accept: descriptors ran out.
    pub accept_failed: u64,
    /// Tunnels that were carried for others.
    pub tunnels: u64,
    /// Tunnels that were refused: too many, or for no member.
    pub tunnels_refused: u64,
    /// Somebody asked to join.
    pub joins: u64,
}
