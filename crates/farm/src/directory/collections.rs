//! Looks up users by collection. A user has at most one host in each collection, and a session at a
//! host serves every collection that contains the host. So a decision considers the user's sessions
//! in other collections first. The decisions for one user are made one after the other
//! ([`crate::agreement`]).

use super::{Decision, Directory, Entry, HostState, Logon, NoHost, Presence, UserDirectory};
use crate::collection::{Assignee, CollectionId};
use crate::user::UserId;
use std::cmp::Reverse;

impl UserDirectory {
    /// Returns whether a collection contains a host. For a collection that is not in the
    /// configuration, only the hosts of its users are known.
    pub fn has(&self, collection: CollectionId, host: &str) -> bool {
        #[cfg(test)]
        if self.defect == Some(super::simulation::DirectoryDefect::AnyHostServes) {
            return true;
        }
        let hosts = self.settings.collections.get(&collection);
        collection == CollectionId::ALL || hosts.is_some_and(|hosts| hosts.contains(host))
    }

    pub(super) fn is_configured(&self, collection: CollectionId) -> bool {
        collection == CollectionId::ALL || self.settings.collections.contains_key(&collection)
    }

    /// Returns the collection for a session of which only the host is known: the smallest one with
    /// this host.
    pub(super) fn home(&self, host: &str) -> CollectionId {
        let sets = self.settings.collections.iter();
        let having = sets.filter(|(_, hosts)| hosts.contains(host));
        let smallest = having.min_by_key(|(id, hosts)| (hosts.len(), **id));
        smallest.map_or(CollectionId::ALL, |(id, _)| *id)
    }

    /// Returns the users, once for each collection in which they have a host.
    pub fn users(&self) -> impl Iterator<Item = (Assignee, &Entry)> {
        self.table.iter()
    }

    pub fn user(&self, id: impl Into<Assignee>) -> Option<&Entry> {
        self.table.get(id.into())
    }

    pub fn of_user(&self, user: UserId) -> impl Iterator<Item = (Assignee, &Entry)> {
        self.table.of_group(user)
    }

    /// Returns the display name of a user if one of the collections knows it, or else an empty
    /// string.
    pub fn name_of(&self, user: UserId) -> &str {
        let mut names = self.of_user(user).map(|(_, entry)| entry.name.as_str());
        names.find(|name| !name.is_empty()).unwrap_or_default()
    }

    /// Returns the sessions of all users. Of several collections that share a session, the one with
    /// the most certain state counts.
    pub fn sessions(&self) -> impl Iterator<Item = (UserId, &Entry)> {
        let shown = |(id, entry): &(Assignee, &Entry)| {
            let one = self.at(id.user, &entry.host);
            one.is_some_and(|one| std::ptr::eq(one, *entry))
        };
        let all = self.users().filter(shown);
        all.map(|(id, entry)| (id.user, entry))
    }

    /// Returns the session of a user in another collection whose host also serves this collection.
    /// A session with a connection is preferred, then the oldest one.
    pub(super) fn session_elsewhere(&self, id: Assignee, now_ms: u64) -> Option<&Entry> {
        #[cfg(test)]
        if self.defect == Some(super::simulation::DirectoryDefect::LooksAtOneCollection) {
            return None;
        }
        let serves = |(other, entry): &(Assignee, &Entry)| {
            *other != id
                && self.has(id.collection, &entry.host)
                && !self.is_outdated(*other, entry, now_ms)
        };
        let all = self.of_user(id.user).filter(serves);
        all.map(|(_, entry)| entry).max_by_key(|entry| {
            let version = entry.version;
            (
                rank(entry.presence()),
                Reverse((version.clock, version.origin)),
            )
        })
    }

    pub fn is_served(&self, id: Assignee, now_ms: u64) -> bool {
        self.table.get(id).is_some() || self.elsewhere(id, now_ms).is_some()
    }

    /// Returns the host of the session to which a logon in a collection leads, or None without a
    /// session.
    pub fn leads(&self, id: Assignee, now_ms: u64) -> Option<&str> {
        let own = self.table.get(id);
        let own = own.filter(|entry| !self.is_outdated(id, entry, now_ms));
        let entry = own.or_else(|| self.elsewhere(id, now_ms))?;
        Some(&entry.host)
    }

    pub fn taking(&self, collection: CollectionId) -> usize {
        let takes = |(host, state): &(&str, &HostState)| {
            state.accepts_new_users() && self.has(collection, host)
        };
        self.hosts().filter(takes).count()
    }

    pub fn is_open(&self, id: Assignee, now_ms: u64) -> bool {
        self.leads(id, now_ms).is_some() || self.taking(id.collection) > 0
    }

    /// Returns the host that a logon would get now. Changes only times in the directory.
    ///
    /// # Errors
    /// Returns why no host is available.
    pub fn would_get(&mut self, id: Assignee, now_ms: u64) -> Result<Decision, NoHost> {
        let logon = Logon {
            id,
            name: String::new(),
            hint: None,
        };
        if let Some(decision) = self.known(&logon, now_ms) {
            return Ok(decision);
        }
        let proposal = self.propose(&logon, now_ms)?;
        let decision = self.decision_at(&proposal.record.host, proposal.reason);
        decision.ok_or(NoHost::Removed)
    }

    /// Adds a user to the counters of a host, or removes the user. A user counts once for all
    /// collections.
    pub(super) fn count(&mut self, user: UserId, host: &str, is_counted: bool) {
        let Some(presence) = self.at(user, host).map(|entry| entry.presence()) else {
            return;
        };
        if let Some(state) = self.hosts.get_mut(host) {
            if is_counted {
                state.counts.add(presence)
            } else {
                state.counts.remove(presence)
            }
        }
    }
}

/// Ranks the state of a user by how certain it is that a session exists.
fn rank(presence: Presence) -> u8 {
    match presence {
        Presence::Pending => 0,
        Presence::Left => 1,
        Presence::Connected(_) => 2,
    }
}
