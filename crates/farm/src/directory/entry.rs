//! What the directory knows of one user.

use crate::collection::{Assignee, CollectionId};
use crate::user::UserId;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// One directory while it runs. A role that restarts has another one.
#[derive(
    Serialize, Deserialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Hash,
)]
pub struct Origin(pub u64);

/// The version of a decision. Of two decisions for one user the greater one holds, on all nodes.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Version {
    /// How many decisions for this user its author knew before it and gave up.
    pub generation: u64,
    /// The user has been at the host: a session may be there.
    pub used: bool,
    /// The author's logical clock.
    pub clock: u64,
    /// The author.
    pub origin: Origin,
}

/// Where a user is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Presence {
    /// On the way to the host.
    Pending,
    /// There, with so many connections.
    Connected(u32),
    /// Without a connection; the session stays.
    Left,
}

/// A user with a session, or on the way to one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// The name for display; empty: only a token of the user was seen.
    pub name: String,
    /// The host.
    pub host: String,
    /// Which decision this is.
    pub version: Version,
    /// Where the user is.
    pub presence: Presence,
    /// When the host was decided, milliseconds.
    pub since_ms: u64,
    /// When the user is forgotten, milliseconds; None: not while there is a connection.
    pub until_ms: Option<u64>,
    /// Connections to the host that other directories carry.
    pub far: Vec<(Origin, u32)>,
    /// A connection has lasted as only one with a session does. Anybody can give a name.
    pub is_proved: bool,
}

impl Entry {
    /// Whether a decision takes the place of this one.
    pub(super) fn yields_to(&self, version: Version, host: &str) -> bool {
        (self.version, self.host.as_str()) < (version, host)
    }

    /// Notes how many connections another directory carries.
    pub(super) fn set_far(&mut self, origin: Origin, connections: u32) {
        self.far.retain(|(one, _)| *one != origin);
        if connections > 0 {
            self.far.push((origin, connections));
        }
    }
}

/// A decision as other directories get it: times are relative, since their clocks differ.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// Whose it is.
    pub user: UserId,
    /// In which collection.
    #[serde(default)]
    pub collection: CollectionId,
    /// The name for display.
    pub name: String,
    /// The host.
    pub host: String,
    /// Where a host is that the configuration of the sender does not have: the receiver may not know it either.
    #[serde(default)]
    pub removed: Option<SocketAddr>,
    /// Which decision this is.
    pub version: Version,
    /// For how long the user has had the host, milliseconds.
    pub age_ms: u64,
    /// After how long without a connection the user is forgotten, milliseconds.
    pub left_ms: u64,
    /// Connections to the host that the sender carries.
    pub connections: u32,
    /// A connection has lasted as only one with a session does.
    #[serde(default)]
    pub is_proved: bool,
}

impl Record {
    /// For whom it is.
    pub fn assignee(&self) -> Assignee {
        Assignee::new(self.user, self.collection)
    }
}
