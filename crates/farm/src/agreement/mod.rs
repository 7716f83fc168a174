//! Coordinates the directories of one farm on several nodes. The store ([`record`]) has the
//! protocol: each node holds the complete directory, and a node proposes the host of an unknown
//! user to the other nodes. This module encodes the messages of the store, and has the farm's own
//! messages.
//!
//! Does no I/O: messages and times are arguments, and the caller fetches the messages to send.
//! [`crate::link`] has the connections, which deliver messages in order, or end.

#[cfg(test)]
mod crossing;
mod message;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;

pub use crate::directory::Logon;
pub use message::{AgreementMessage, FarStep, KeyCheck, Record};
pub use record::{InvalidMessage, PeerState, PeerStatus, START_MS};

use crate::agent::report::AgentReply;
use crate::directory::{Decision, DirectoryId, News, NoHost, Times, UserDirectory};
use crate::user::UserId;
use message::ReceivedMessage;
use record::Replica;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::{Deref, DerefMut};

const ORDERS_MAX: usize = 1_000;

pub type LogonOutcome = record::Outcome<Decision, NoHost>;

/// Directory of this node, and its agreement with the other nodes. Dereferences to its replica.
#[derive(Debug)]
pub struct Agreement {
    replica: Replica<UserDirectory>,
    keys: BTreeMap<String, KeyCheck>,
    orders: BTreeMap<String, VecDeque<AgreementMessage>>,
}

impl Deref for Agreement {
    type Target = Replica<UserDirectory>;

    fn deref(&self) -> &Replica<UserDirectory> {
        &self.replica
    }
}

impl DerefMut for Agreement {
    fn deref_mut(&mut self) -> &mut Replica<UserDirectory> {
        &mut self.replica
    }
}

impl Agreement {
    fn new(replica: Replica<UserDirectory>) -> Agreement {
        Agreement {
            replica,
            keys: BTreeMap::new(),
            orders: BTreeMap::new(),
        }
    }

    pub fn alone(me: DirectoryId) -> Agreement {
        Agreement::new(Replica::alone(UserDirectory::of(me, false)))
    }

    /// Creates the agreement of a cluster node. The names of the other nodes follow later.
    pub fn shared(me: DirectoryId, now_ms: u64) -> Agreement {
        Agreement::new(Replica::shared(UserDirectory::of(me, true), now_ms))
    }

    pub fn set_peers(&mut self, nodes: &BTreeSet<String>, now_ms: u64) {
        self.keys.retain(|node, _| nodes.contains(node));
        self.replica.set_peers(nodes, now_ms);
    }

    /// Handles a new connection to a node whose directory has this origin.
    pub fn linked(&mut self, node: &str, origin: DirectoryId, now_ms: u64) {
        self.orders.remove(node);
        self.replica.linked(node, origin, now_ms);
    }

    /// Applies the report of a host's agent. Users with pending claims are left out: the claim
    /// decides about them.
    pub fn reported(&mut self, host: &str, report: &AgentReply, times: Times) -> News {
        let (directory, is_claimed) = self.replica.split_claims();
        directory.reported(host, report, times, is_claimed)
    }

    pub fn has_message(&self, node: &str) -> bool {
        self.orders.contains_key(node) || self.replica.has_message(node)
    }

    /// Returns the next message to a node. `key` is the check value of the token key.
    pub fn next_message(
        &mut self,
        node: &str,
        key: KeyCheck,
        now_ms: u64,
    ) -> Option<AgreementMessage> {
        if let Some(orders) = self.orders.get_mut(node) {
            let order = orders.pop_front();
            if orders.is_empty() {
                self.orders.remove(node);
            }
            return order;
        }
        let message = self.replica.next_message(node, now_ms)?;
        Some(AgreementMessage::of_store(message, key))
    }

    /// Handles a message of a node.
    ///
    /// # Errors
    /// The message is one that no correct node sends; the connection has to end.
    pub fn handle(
        &mut self,
        node: &str,
        message: AgreementMessage,
        now_ms: u64,
    ) -> Result<(), InvalidMessage> {
        message.check()?;
        if let AgreementMessage::Open { key, .. } = &message {
            self.keys.insert(node.to_owned(), *key);
        }
        match message.into_store() {
            ReceivedMessage::Store(message) => self.replica.handle(node, message, now_ms),
            // Does nothing: the site handles this message, because it has the connections.
            ReceivedMessage::Other => Ok(()),
        }
    }

    /// Returns the state of the connection with each node, and the check value of that node's token
    /// key.
    pub fn standings(&self) -> impl Iterator<Item = (&str, PeerStatus, KeyCheck)> {
        let statuses = self.replica.peer_statuses();
        statuses.map(|(node, status)| {
            let key = self.keys.get(node).copied().unwrap_or_default();
            (node, status, key)
        })
    }

    /// Requests of all connected nodes to close their connections of a user, to one host or (empty
    /// `host`) to all. Returns the names of these nodes.
    pub fn disconnect(&mut self, user: UserId, host: &str) -> Vec<String> {
        let nodes = self.replica.connected_nodes();
        self.orders.retain(|node, _| nodes.contains(node));
        for node in &nodes {
            let orders = self.orders.entry(node.clone()).or_default();
            if orders.len() < ORDERS_MAX {
                let host = host.to_owned();
                orders.push_back(AgreementMessage::Disconnect { user, host });
            }
        }
        nodes
    }
}
