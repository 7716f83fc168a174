//! Directory entry of one user.

use crate::collection::{Assignee, CollectionId};
use crate::user::UserId;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// Identifier of a directory during one run. A role that restarts gets a new one.
#[derive(
    Serialize, Deserialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Hash,
)]
pub struct DirectoryId(pub u64);

/// Version of a decision. Of two decisions for one user, the greater version wins on all nodes.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct DecisionVersion {
    /// Number of earlier decisions for this user that its author knew and replaced.
    pub generation: u64,
    /// The user has connected to the host, so a session may be there.
    pub used: bool,
    /// Logical clock of the author.
    pub clock: u64,
    /// Directory that made the decision.
    pub origin: DirectoryId,
}

/// Connection state of a user.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Presence {
    /// Sent to the host, and not connected yet.
    Pending,
    /// Connected, with the number of connections.
    Connected(u32),
    /// Disconnected; the session stays at the host.
    Left,
}

/// A user with a session, or on the way to one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Display name; empty if only a token of the user was seen.
    pub name: String,
    /// Name of the user's host.
    pub host: String,
    /// Version of the decision for this host.
    pub version: DecisionVersion,
    /// Connection state of the user.
    pub presence: Presence,
    /// Time of the decision, milliseconds.
    pub since_ms: u64,
    /// Time at which the entry expires, milliseconds; None while there is a connection.
    pub until_ms: Option<u64>,
    /// Connections to the host through other nodes, by the origin of their directory.
    pub far: Vec<(DirectoryId, u32)>,
    /// A connection lasted as long as only one with a session does. A logon alone proves nothing:
    /// anybody can send a name.
    pub is_proved: bool,
}

impl Entry {
    /// Returns whether another decision replaces this one.
    pub(super) fn yields_to(&self, version: DecisionVersion, host: &str) -> bool {
        (self.version, self.host.as_str()) < (version, host)
    }

    /// Sets the number of connections through another node.
    pub(super) fn set_far(&mut self, origin: DirectoryId, connections: u32) {
        self.far.retain(|(one, _)| *one != origin);
        if connections > 0 {
            self.far.push((origin, connections));
        }
    }
}

/// A decision in a message to other directories. Times are relative, since the clocks of the nodes
/// differ.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Record {
    pub user: UserId,
    #[serde(default)]
    pub collection: CollectionId,
    /// Display name of the user.
    pub name: String,
    /// Name of the user's host.
    pub host: String,
    /// Address of a host that the sender's configuration does not have: the receiver may not know
    /// it either.
    #[serde(default)]
    pub removed: Option<SocketAddr>,
    pub version: DecisionVersion,
    /// Age of the decision, milliseconds.
    pub age_ms: u64,
    /// Time without a connection after which the entry expires, milliseconds.
    pub left_ms: u64,
    /// Connections to the host through the sender.
    pub connections: u32,
    /// A connection lasted as long as only one with a session does.
    #[serde(default)]
    pub is_proved: bool,
}

impl Record {
    /// Returns the user and collection of the decision.
    pub fn assignee(&self) -> Assignee {
        Assignee::new(self.user, self.collection)
    }
}
