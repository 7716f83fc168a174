//! Merge of other nodes' decisions into this directory, and records for other nodes. The merge is
//! commutative, associative and idempotent: of two decisions for a user, the greater version wins.

use super::entry::{DecisionVersion, DirectoryId, Entry, Presence, Record};
use super::{Decision, HostState, NoHost, UserDirectory, Why, why};
use crate::collection::Assignee;

/// A decision that other nodes have not confirmed yet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Proposal {
    pub record: Record,
    /// Reason for the choice of this host.
    pub why: Why,
    /// Version of the decision that the proposal replaces.
    pub over: Option<DecisionVersion>,
}

impl UserDirectory {
    /// Creates a directory with this origin. A shared one tracks the changes that other nodes have
    /// to receive.
    pub fn of(me: DirectoryId, is_shared: bool) -> UserDirectory {
        UserDirectory {
            me,
            is_shared,
            ..UserDirectory::default()
        }
    }

    /// Returns the id under which this node numbers its changes.
    pub fn origin(&self) -> DirectoryId {
        self.me
    }

    pub(super) fn next_version(
        &mut self,
        over: Option<DecisionVersion>,
        used: bool,
    ) -> DecisionVersion {
        self.clock = self.clock.saturating_add(1);
        DecisionVersion {
            generation: over.map_or(0, |over| over.generation.saturating_add(1)),
            used,
            clock: self.clock,
            origin: self.me,
        }
    }

    pub(super) fn touch(&mut self, id: Assignee, from: Option<DirectoryId>) {
        if self.is_shared {
            self.touched.push((id, from));
        }
    }

    /// Takes the users whose latest state other nodes lack, each with the directory from which it
    /// came.
    pub fn take_touched(&mut self) -> Vec<(Assignee, Option<DirectoryId>)> {
        std::mem::take(&mut self.touched)
    }

    /// Returns the record of a user for other nodes.
    pub fn record(&self, id: Assignee, now_ms: u64) -> Option<Record> {
        let entry = self.users.get(&id)?;
        let until_ms = entry.until_ms;
        Some(Record {
            user: id.user,
            collection: id.collection,
            name: entry.name.clone(),
            host: entry.host.clone(),
            removed: { self.hosts.get(&entry.host) }
                .and_then(|state| (state.is_far || state.is_removed).then_some(state.address)),
            version: entry.version,
            age_ms: now_ms.saturating_sub(entry.since_ms),
            left_ms: until_ms.map_or(self.keep_ms(entry.is_proved), |until| {
                until.saturating_sub(now_ms)
            }),
            connections: self.carried(id.user, &entry.host),
            is_proved: entry.is_proved,
        })
    }

    /// Merges another directory's record of a user.
    pub fn merge(&mut self, record: &Record, from: DirectoryId, now_ms: u64) {
        self.clock = self.clock.max(record.version.clock);
        let Some(entry) = self.users.get(&record.assignee()) else {
            // An error means that there is no room. The other node still knows the entry.
            let _ = self.adopt(record, Some(from), now_ms);
            return;
        };
        #[cfg(test)]
        if self.defect == Some(super::simulation::DirectoryDefect::LastMergeHolds) {
            let _ = self.adopt(record, Some(from), now_ms);
            return;
        }
        if entry.yields_to(record.version, &record.host) {
            let _ = self.adopt(record, Some(from), now_ms);
        } else {
            self.follow(record, from, now_ms);
        }
    }

    /// Updates the number of connections through another node.
    fn follow(&mut self, record: &Record, from: DirectoryId, now_ms: u64) {
        let Some(mut entry) = self.leave(record.assignee()) else {
            return;
        };
        let is_same = entry.host == record.host;
        entry.set_far(from, if is_same { record.connections } else { 0 });
        if entry.name.is_empty() {
            entry.name.clone_from(&record.name);
        }
        if is_same {
            entry.is_proved |= record.is_proved;
            let until = now_ms.saturating_add(record.left_ms);
            entry.until_ms = entry.until_ms.map(|own| own.max(until));
        }
        self.enter(record.assignee(), entry, now_ms);
    }

    /// Makes a decision the valid one.
    ///
    /// # Errors
    /// Returns an error if every known user has a connection, or if no configuration has the host.
    pub fn adopt(
        &mut self,
        record: &Record,
        from: Option<DirectoryId>,
        now_ms: u64,
    ) -> Result<(), NoHost> {
        self.clock = self.clock.max(record.version.clock);
        // A user who has never connected has no session to lose. Such an entry is dropped with its
        // host.
        if let Some(address) = record.removed.filter(|_| record.version.used) {
            self.know_removed(&record.host, address);
        }
        let is_there = |state: &HostState| record.version.used || !state.is_removed;
        if !self.hosts.get(&record.host).is_some_and(is_there) {
            // The sender still has the host in its configuration, and announced it earlier. It was
            // removed here, and the sender's reload will follow.
            return Err(NoHost::Removed);
        }
        let id = record.assignee();
        let before = self.leave(id);
        self.make_room()?;
        // Keeps the connections of a session that another collection has at the same host.
        let far = before.as_ref().filter(|before| before.host == record.host);
        let far = far.or_else(|| self.at(id.user, &record.host));
        let mut entry = Entry {
            name: record.name.clone(),
            host: record.host.clone(),
            version: record.version,
            presence: Presence::Pending,
            since_ms: now_ms.saturating_sub(record.age_ms),
            until_ms: Some(now_ms.saturating_add(record.left_ms)),
            is_proved: record.is_proved || far.is_some_and(|before| before.is_proved),
            far: far.map(|before| before.far.clone()).unwrap_or_default(),
        };
        if let Some(from) = from {
            entry.set_far(from, record.connections);
        }
        if entry.name.is_empty() {
            entry.name = before.map(|before| before.name).unwrap_or_default();
        }
        let is_carried = self.carried(id.user, &entry.host) > 0;
        entry.version.used |= is_carried;
        self.enter(id, entry, now_ms);
        // Connections through this node are news for the sender, too.
        self.touch(id, from.filter(|_| !is_carried));
        Ok(())
    }

    /// Judges the proposal of another directory. Returns the decision that is valid then: the
    /// proposal, unless this directory knows a reason against it. `over` is the decision that the
    /// proposal replaces. `leaves` is true while this directory is replacing its own decision.
    pub fn judge(
        &mut self,
        record: &Record,
        (over, leaves): (Option<DecisionVersion>, bool),
        from: DirectoryId,
        now_ms: u64,
    ) -> Option<Record> {
        self.expire(now_ms);
        let id = record.assignee();
        if let Some(entry) = self.users.get(&id) {
            let is_news = Some(entry.version) > over;
            let stays = Some(entry.version) == over && !leaves && !self.leaves(id, entry, now_ms);
            if is_news || stays {
                return self.record(id, now_ms);
            }
        }
        let is_there = self
            .of_user(id.user)
            .any(|(other, entry)| entry.host == record.host && !self.leaves(other, entry, now_ms));
        if !is_there && self.elsewhere(id, now_ms).is_some() {
            // The other node does not know this session, or considers its host down.
            let proposal = self.propose((id, &record.name), None, now_ms).ok()?;
            self.adopt(&proposal.record, None, now_ms).ok()?;
            return self.record(id, now_ms);
        }
        self.adopt(record, Some(from), now_ms).ok()?;
        self.record(id, now_ms)
    }

    /// Returns the host of a known user, regardless of the host's state.
    pub fn held(&self, id: Assignee) -> Option<Decision> {
        let entry = self.users.get(&id)?;
        self.decision(&entry.host, why(entry))
    }

    /// Raises the version of a decision above another one.
    pub fn raise(&mut self, id: Assignee, above: DecisionVersion, now_ms: u64) {
        let Some(mut entry) = self.leave(id) else {
            return;
        };
        if entry.version < above {
            entry.version = self.next_version(Some(above), entry.version.used);
        }
        self.enter(id, entry, now_ms);
        self.touch(id, None);
    }

    /// Removes the connections of a directory that is gone: they have ended.
    pub fn lost(&mut self, origin: DirectoryId, now_ms: u64) {
        #[cfg(test)]
        if self.defect == Some(super::simulation::DirectoryDefect::GoneStaysConnected) {
            return;
        }
        let is_far = |entry: &Entry| entry.far.iter().any(|(one, _)| *one == origin);
        let all: Vec<Assignee> = self
            .users
            .iter()
            .filter(|(_, entry)| is_far(entry))
            .map(|(id, _)| *id)
            .collect();
        for id in all {
            if let Some(mut entry) = self.leave(id) {
                entry.set_far(origin, 0);
                self.enter(id, entry, now_ms);
            }
        }
    }
}
