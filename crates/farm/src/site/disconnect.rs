//! Operators end connections of a user: those that this node carries, and by the other nodes theirs. The
//! session stays at its host; the directory hears of the ends as of others.

use super::{Inner, Site};
use crate::directory::Entry;
use crate::history::Step;
use crate::user::{User, UserId};
use part::lock;
use part::report::Moment;
use std::collections::BTreeSet;

/// Connections that an operator ends.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Disconnected {
    /// How many this node ends.
    pub own: usize,
    /// How many other nodes carry, as far as is known.
    pub far: u64,
    /// The other nodes that were asked.
    pub asked: Vec<String>,
}

impl Site {
    /// Ends the connections of a user at all nodes, or only those to one host, if it is not empty.
    pub fn disconnect(&self, user: &User, host: &str) -> Disconnected {
        let mut inner = lock(&self.inner);
        let far = |entry: &Entry| -> u64 {
            let far = entry.far.iter();
            far.map(|(_, count)| u64::from(*count)).sum()
        };
        let directory = &inner.agreement.directory;
        let hosts = directory.of_user(user.id).map(|(_, entry)| &entry.host);
        let hosts: BTreeSet<&String> = { hosts }
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

impl Inner {
    /// Ends those that this node carries. Returns how many there are: tunnels to the farm itself end with
    /// what they carry, and do not count.
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
            let step = Step {
                at: Moment::now(),
                node: String::new(),
                from: "-".to_owned(),
                asked: "disconnect".to_owned(),
                got: format!("disconnected from {host}"),
                why: "an operator has ended the connection; the session stays".to_owned(),
            };
            self.history.add(user, step);
        }
        hosts.len()
    }
}
