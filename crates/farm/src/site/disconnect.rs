//! Disconnects users by an operator's order. This node closes its own connections, and requests of
//! the other nodes to close theirs. The session continues on its host. The directory handles such
//! an end like any other.

use super::{FarmState, FarmStateInner};
use crate::directory::Entry;
use crate::history::HistoryStep;
use crate::user::{FarmUser, UserId};
use part::lock;
use part::report::Moment;
use record::Directory;
use std::collections::BTreeSet;

/// Connections that an operator's order closes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Disconnected {
    pub own: usize,
    /// Number of connections that other nodes carry, as far as this node knows.
    pub far: u64,
    pub asked: Vec<String>,
}

impl FarmState {
    /// Closes the connections of a user at all nodes; if `host` is not empty, only those to that
    /// host.
    pub fn disconnect(&self, user: &FarmUser, host: &str) -> Disconnected {
        let mut inner = lock(&self.inner);
        let far = |entry: &Entry| -> u64 {
            let far = entry.far.iter();
            far.map(|(_, count)| u64::from(*count)).sum()
        };
        let directory = &inner.agreement.directory;
        let hosts = directory.of_user(user.id).map(|(_, entry)| &entry.host);
        let hosts: BTreeSet<&String> = hosts
            .filter(|one| host.is_empty() || *one == host)
            .collect();
        let entries = hosts
            .into_iter()
            .filter_map(|host| directory.at(user.id, host));
        let far = entries.map(far).sum();
        let disconnected = Disconnected {
            far,
            own: inner.disconnect(user.id, host),
            asked: inner.agreement.disconnect(user.id, host),
        };
        drop(inner);
        self.ring();
        disconnected
    }
}

impl FarmStateInner {
    /// Closes the connections that this node carries, and returns their number. Tunnels to the farm
    /// itself are not counted, since they end together with the connections that they carry.
    pub(super) fn disconnect(&mut self, user: UserId, host: &str) -> usize {
        let is_meant = |one: &str| host.is_empty() || one == host;
        let clients = self.clients.values();
        let clients = clients.filter(|one| one.user == user && is_meant(&one.host));
        let mut hosts = Vec::new();
        for client in clients {
            client.ends.notify_one();
            hosts.push(client.host.clone());
        }
        hosts.extend(self.gateway.disconnect(user, host));
        for host in &hosts {
            let step = HistoryStep {
                at: Moment::now(),
                node: String::new(),
                from: "-".to_owned(),
                asked: "disconnect".to_owned(),
                got: format!("disconnected from {host}"),
                why: "an operator closed the connection; the session stays".to_owned(),
            };
            self.history.add(user, step);
        }
        hosts.len()
    }
}
