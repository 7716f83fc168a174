//! Tracks the session hosts that the directory knows: those of the local configuration, and those
//! that only other nodes' configurations have, for example while the nodes are reloaded one after
//! the other. The latter accept no new users here, and keep their sessions. A host that no
//! configuration has any more is kept in the same way as long as it has sessions.

use super::{
    Counts, Directory, DirectoryId, Entry, HostState, PENDING_MS, Presence, SHORT_MS, Settings,
    UserDirectory,
};
use crate::collection::Assignee;
use crate::config::Farm;
use record::{Retention, Version};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

const REMOVED_MAX: usize = 64;

/// A host that another node's configuration has.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct FarHost {
    pub name: String,
    pub address: SocketAddr,
}

/// Hosts of a node, and operators' orders for hosts, as sent to the directories of other nodes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct HostsOpening {
    pub hosts: Vec<FarHost>,
    pub orders: BTreeMap<String, HostOrder>,
}

/// Latest order of an operator for a host. Of two orders, the greater one wins on all nodes: the
/// later one, even if the nodes were not connected.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct HostOrder {
    /// Time of the order by the clock of the node that accepted it, milliseconds since 1970. It is
    /// later than that of the previous order that this node knew.
    #[serde(default)]
    pub at_ms: u64,
    /// Logical clock of the directory that accepted the order.
    pub clock: u64,
    pub origin: DirectoryId,
    pub is_drained: bool,
}

impl UserDirectory {
    /// Applies the hosts and settings of a farm. Known state of remaining hosts is kept.
    pub fn configure(&mut self, farm: &Farm) {
        self.settings = Settings::of(farm);
        self.table.set_retention(Retention {
            pending_ms: PENDING_MS,
            keep_ms: self.settings.keep_ms,
            unproved_ms: self.settings.keep_ms.min(SHORT_MS),
        });
        let mut states = BTreeMap::new();
        for (name, host) in &farm.hosts {
            let mut state = self.state(name);
            state.address = host.address;
            state.weight = host.weight;
            state.is_drained = host.drained;
            (state.is_far, state.is_removed) = (false, false);
            states.insert(name.clone(), state);
        }
        self.replace(states);
        self.set_agents(&farm.agents.hosts);
    }

    /// Sets the hosts of another node's configuration; an empty list means that the node is gone.
    pub fn set_far(&mut self, node: &str, hosts: Vec<FarHost>) {
        if hosts.is_empty() {
            self.far.remove(node)
        } else {
            self.far.insert(node.to_owned(), hosts)
        };
        let own = self.of_configuration();
        let own = own.map(|(name, state)| (name.clone(), state.clone()));
        self.replace(own.collect());
    }

    fn state(&self, name: &str) -> HostState {
        let before = self.hosts.get(name).cloned();
        before.unwrap_or_else(|| HostState::new(name))
    }

    /// Replaces the hosts by those of the local configuration, and adds those that only other nodes
    /// have.
    fn replace(&mut self, mut hosts: BTreeMap<String, HostState>) {
        for far in self.far.values().flatten() {
            if hosts.contains_key(&far.name) {
                continue;
            }
            let mut state = self.state(&far.name);
            state.address = far.address;
            (state.is_far, state.is_removed) = (true, false);
            hosts.insert(far.name.clone(), state);
        }
        // Removes users who have never connected to their host, because they have no session to
        // lose.
        let is_gone = |entry: &Entry| {
            entry.presence() == Presence::Pending && !hosts.contains_key(&entry.host)
        };
        let gone = self.table.iter().filter(|(_, entry)| is_gone(entry));
        let gone: Vec<Assignee> = gone.map(|(id, _)| id).collect();
        for id in gone {
            self.leave(id);
        }
        for (_, entry) in self.table.iter() {
            if !hosts.contains_key(&entry.host)
                && let Some(before) = self.hosts.get(&entry.host)
            {
                let mut state = before.clone();
                (state.is_far, state.is_removed) = (false, true);
                hosts.insert(entry.host.clone(), state);
            }
        }
        self.hosts = hosts;
        self.recount();
        self.orders.retain(|host, _| self.hosts.contains_key(host));
        self.follow_orders();
    }

    pub(super) fn tidy_removed(&mut self) {
        let is_over = |state: &HostState| state.is_removed && state.counts == Counts::default();
        if self.hosts.values().any(is_over) {
            self.hosts.retain(|_, state| !is_over(state));
            self.orders.retain(|host, _| self.hosts.contains_key(host));
        }
    }

    /// Adds a host that no configuration has, for a session that another node or the previous role
    /// process knew.
    pub fn know_removed(&mut self, name: &str, address: SocketAddr) {
        let removed = self.hosts.values().filter(|state| state.is_removed);
        if self.hosts.contains_key(name) || removed.count() >= REMOVED_MAX {
            return;
        }
        let mut state = HostState::new(name);
        (state.address, state.is_removed) = (address, true);
        self.hosts.insert(name.to_owned(), state);
    }

    fn of_configuration(&self) -> impl Iterator<Item = (&String, &HostState)> {
        let own = |(_, state): &(&String, &HostState)| !state.is_far && !state.is_removed;
        self.hosts.iter().filter(own)
    }

    fn recount(&mut self) {
        for state in self.hosts.values_mut() {
            state.counts = Counts::default();
        }
        let all = self.table.iter();
        let all: BTreeSet<_> = all
            .map(|(id, entry)| (id.user, entry.host.clone()))
            .collect();
        for (user, host) in all {
            self.count(user, &host, true);
        }
    }

    pub fn own_hosts(&self) -> Vec<FarHost> {
        let host = |(name, state): (&String, &HostState)| FarHost {
            name: name.clone(),
            address: state.address,
        };
        self.of_configuration().map(host).collect()
    }

    pub fn hosts(&self) -> impl Iterator<Item = (&str, &HostState)> {
        self.hosts
            .iter()
            .map(|(name, state)| (name.as_str(), state))
    }

    /// Drains a host on an operator's order, or ends that. `unix_ms` is the time of this node.
    /// Returns false if the host does not exist.
    pub fn drain(&mut self, host: &str, is_drained: bool, unix_ms: u64) -> bool {
        if !self.hosts.contains_key(host) {
            return false;
        }
        let clock = self.table.tick_clock();
        let before = self.orders.get(host);
        let order = HostOrder {
            at_ms: before.map_or(unix_ms, |before| {
                unix_ms.max(before.at_ms.saturating_add(1))
            }),
            clock,
            origin: self.table.origin(),
            is_drained,
        };
        self.orders.insert(host.to_owned(), order);
        self.follow_orders();
        true
    }

    pub fn orders(&self) -> &BTreeMap<String, HostOrder> {
        &self.orders
    }

    /// Merges orders of another node or of the previous role process. Returns whether one of them
    /// was newer.
    pub fn take_orders(&mut self, orders: &BTreeMap<String, HostOrder>) -> bool {
        let mut has_newer = false;
        for (host, order) in orders {
            self.table.observe(Version {
                clock: order.clock,
                ..Version::default()
            });
            let before = self.orders.get(host);
            if self.hosts.contains_key(host) && before.is_none_or(|before| before < order) {
                self.orders.insert(host.clone(), *order);
                has_newer = true;
            }
        }
        self.follow_orders();
        has_newer
    }

    fn follow_orders(&mut self) {
        for (host, state) in &mut self.hosts {
            let order = self.orders.get(host);
            state.is_ordered = order.is_some_and(|order| order.is_drained);
        }
    }
}
