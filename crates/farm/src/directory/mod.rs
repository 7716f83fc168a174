//! Directory of a farm: it decides which host a user gets. A user with a session gets the host of
//! that session, whatever state the host is in, until the session ends or counts as lost. Every
//! other user gets the host with the most free capacity. So two logons of one user never lead to
//! two hosts. Where programs run only on some hosts, all of this applies to each collection of
//! hosts.
//!
//! The directory does no I/O: times are arguments, and the caller has the connections.
//! [`crate::agreement`] unites the directories of several nodes. Each decision has a version, and
//! of two decisions for one user the greater version wins everywhere.

mod agents;
mod choice;
mod collections;
mod entry;
mod hosts;
mod merge;
#[cfg(test)]
pub(crate) mod simulation;
#[cfg(test)]
pub(crate) mod tests;

pub use agents::{AgentState, News, ReportedUser, SEEN_MAX, Times};
pub use choice::{Counts, Health, HostState};
pub use entry::{DecisionVersion, DirectoryId, Entry, Presence, Record};
pub use hosts::{FarHost, HostOrder};
pub use merge::Proposal;

use crate::collection::{Assignee, CollectionId};
use crate::config::{Balance, Farm};
use crate::token::{Claims, NameId};
use crate::user::{FarmUser, UserId};
use agents::AllSeen;
use choice::Room;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

/// Time for which a host is reserved for a user who was sent there and has not connected,
/// milliseconds.
pub const PENDING_MS: u64 = 60_000;
/// Time for which a host is reserved for a user whose connections were too short for a session,
/// milliseconds.
const SHORT_MS: u64 = 600_000;
pub const USERS_MAX: usize = 100_000;
/// Limit of known users without a connection and without a confirmed session.
const UNPROVED_MAX: usize = 20_000;

/// Settings of a farm that affect decisions.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Settings {
    /// Algorithm that chooses a host.
    pub balance: Balance,
    /// Time for which a session belongs to its host after the last connection, milliseconds.
    pub keep_ms: u64,
    /// Time for which a host is down before its sessions count as lost, milliseconds.
    pub lost_after_ms: u64,
    /// Hosts of each collection, except the collection of all hosts.
    pub collections: BTreeMap<CollectionId, BTreeSet<String>>,
}

impl Settings {
    /// Extracts the settings from a farm's configuration.
    pub fn of(farm: &Farm) -> Settings {
        Settings {
            balance: farm.balance,
            keep_ms: farm.sessions.keep_ms,
            lost_after_ms: farm.sessions.lost_after_ms,
            collections: farm.collections(),
        }
    }
}

/// Host that a user gets.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Decision {
    pub host: String,
    /// Address at which the host accepts RDP.
    pub address: SocketAddr,
    pub why: Why,
}

/// Reason why a user gets a host.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Why {
    /// The user's session is there, with a connection.
    Connected,
    /// The user's session is there, without a connection.
    Session,
    /// The user was connected only briefly: a session may or may not exist.
    Tried,
    /// Another logon of the user was sent there and has not connected yet.
    Pending,
    /// The client was redirected to this host, and reconnects with its token.
    Redirected,
    /// The directory does not know the session; the token was made for this host.
    Token,
    /// The host has the most free capacity of those that accept users.
    Room {
        /// Load of the host before this user.
        count: u64,
        weight: u32,
        /// Number of hosts that accept users.
        of: usize,
        /// The previous session was lost with its host.
        has_lost: bool,
    },
}

/// Reason why a user gets no host.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NoHost {
    #[error("no host takes new users: {down} down, {drained} drained or full")]
    NoneTakes {
        /// Number of hosts that are down.
        down: usize,
        /// Number of hosts that are drained or full.
        drained: usize,
    },
    /// The collection of the token is no longer in the configuration.
    #[error("the token is for hosts of a former configuration: download a new .rdp file")]
    NoCollection,
    /// The directory is full: every known user has a connection.
    #[error("the directory is full: {USERS_MAX} users are connected")]
    Full,
    /// A reload has removed the host in the meantime.
    #[error("the host was removed")]
    Removed,
    /// Too many logons wait for the other nodes.
    #[error("too many logons wait for the other nodes")]
    Busy,
}

/// Assignments of users to the hosts of a farm.
#[derive(Clone, Debug, Default)]
pub struct UserDirectory {
    me: DirectoryId,
    /// Logical clock, above those of all known decisions.
    clock: u64,
    settings: Settings,
    hosts: BTreeMap<String, HostState>,
    /// Hosts of the configurations of other nodes, by node.
    far: BTreeMap<String, Vec<FarHost>>,
    /// Latest operator order for each host.
    orders: BTreeMap<String, HostOrder>,
    users: BTreeMap<Assignee, Entry>,
    /// Expiry times of users without a connection.
    due: BTreeSet<(u64, Assignee)>,
    /// Users without a connection and without a confirmed session, by the time of the decision.
    unproved: BTreeSet<(u64, Assignee)>,
    /// Connections through this node, by user and host.
    own: BTreeMap<UserId, Vec<(String, u32)>>,
    /// Users that agents have reported, by host.
    agents: BTreeMap<String, AllSeen>,
    /// Users whose latest state other nodes do not know yet, with the directory from which it came.
    touched: Vec<(Assignee, Option<DirectoryId>)>,
    /// True if there are other nodes.
    is_shared: bool,
    #[cfg(test)]
    pub(crate) defect: Option<simulation::DirectoryDefect>,
}

impl UserDirectory {
    /// Decides which of all hosts a user gets.
    ///
    /// # Errors
    /// Returns why no host is available.
    pub fn decide(&mut self, user: &FarmUser, now_ms: u64) -> Result<Decision, NoHost> {
        self.decide_in(user, CollectionId::ALL, now_ms)
    }

    /// Decides which host of a collection a user gets.
    ///
    /// # Errors
    /// Returns why no host is available.
    pub fn decide_in(
        &mut self,
        user: &FarmUser,
        collection: CollectionId,
        now_ms: u64,
    ) -> Result<Decision, NoHost> {
        let id = Assignee::new(user.id, collection);
        self.decide_from(id, &user.name, None, now_ms)
    }

    /// Decides which host a user with a token gets. The host of the token counts only if the
    /// directory does not know the user.
    ///
    /// # Errors
    /// Returns why no host is available.
    pub fn decide_token(&mut self, claims: &Claims, now_ms: u64) -> Result<Decision, NoHost> {
        let id = Assignee::new(claims.user, claims.collection);
        self.decide_from(id, "", claims.host, now_ms)
    }

    fn decide_from(
        &mut self,
        id: Assignee,
        name: &str,
        hint: Option<NameId>,
        now_ms: u64,
    ) -> Result<Decision, NoHost> {
        if let Some(decision) = self.known(id, name, now_ms) {
            return Ok(decision);
        }
        let proposal = self.propose((id, name), hint, now_ms)?;
        self.adopt(&proposal.record, None, now_ms)?;
        self.decision(&proposal.record.host, proposal.why)
            .ok_or(NoHost::Removed)
    }

    /// Counts a pending claim of this node on a host, so that the next proposal considers its load.
    pub fn claims(&mut self, host: &str) {
        if let Some(state) = self.hosts.get_mut(host) {
            state.claimed = state.claimed.saturating_add(1);
        }
    }

    /// Removes a pending claim from a host, once it is answered or dropped.
    pub fn has_claimed(&mut self, host: &str) {
        if let Some(state) = self.hosts.get_mut(host) {
            state.claimed = state.claimed.saturating_sub(1);
        }
    }

    /// Returns the host of a known user of the collection who stays there.
    pub fn known(&mut self, id: Assignee, name: &str, now_ms: u64) -> Option<Decision> {
        self.expire(now_ms);
        let entry = self.users.get(&id)?;
        if self.leaves(id, entry, now_ms) {
            return None;
        }
        let decision = self.decision(&entry.host, why(entry))?;
        self.renew(id, name, now_ms);
        Some(decision)
    }

    /// Returns whether a user has to get another host.
    fn leaves(&self, id: Assignee, entry: &Entry, now_ms: u64) -> bool {
        let is_removed = self
            .hosts
            .get(&entry.host)
            .is_some_and(|state| state.is_removed);
        let serves = is_removed || self.has(id.collection, &entry.host);
        if self.is_configured(id.collection) && !serves {
            return true;
        }
        match entry.presence {
            Presence::Connected(_) => false,
            // A user who has never connected has no session to lose.
            Presence::Pending => self
                .hosts
                .get(&entry.host)
                .is_none_or(|state| state.is_down() || state.is_removed),
            Presence::Left => self.is_lost(&entry.host, now_ms),
        }
    }

    /// Proposes a host for a user who is not known, or has to get another one. Nothing changes but
    /// the logical clock.
    ///
    /// # Errors
    /// Returns why no host is available.
    pub fn propose(
        &mut self,
        (id, name): (Assignee, &str),
        hint: Option<NameId>,
        now_ms: u64,
    ) -> Result<Proposal, NoHost> {
        self.expire(now_ms);
        let before = self.users.get(&id);
        let over = before.map(|entry| entry.version);
        let has_lost = before.is_some_and(|entry| entry.presence != Presence::Pending);
        let has = |host: &str| self.has(id.collection, host) && !self.is_lost(host, now_ms);
        let of_token = hint.and_then(|hint| {
            let mut hosts = self.hosts.iter();
            let (host, _) = hosts.find(|(host, state)| state.id == hint && has(host))?;
            Some(host.clone())
        });
        let (host, why, used, left_ms) = match (self.elsewhere(id, now_ms), of_token) {
            (Some(entry), _) => {
                let until_ms = entry.until_ms.map(|until| until.saturating_sub(now_ms));
                let left_ms = match entry.presence {
                    Presence::Pending => PENDING_MS,
                    _ => until_ms.unwrap_or(self.keep_ms(entry.is_proved)),
                };
                (entry.host.clone(), why(entry), entry.version.used, left_ms)
            }
            // Counts as used, since the session may be there.
            (None, Some(host)) => (host, Why::Token, true, self.keep_ms(false)),
            (None, None) => {
                let (host, why) = self.choose(id.collection, has_lost)?;
                (host, why, false, PENDING_MS)
            }
        };
        let version = self.next_version(over, used);
        let is_proved = self.at(id.user, &host).is_some_and(|entry| entry.is_proved);
        let record = Record {
            user: id.user,
            collection: id.collection,
            name: name.to_owned(),
            host,
            removed: None,
            version,
            age_ms: 0,
            left_ms,
            connections: 0,
            is_proved,
        };
        Ok(Proposal { record, why, over })
    }

    fn decision(&self, host: &str, why: Why) -> Option<Decision> {
        let state = self.hosts.get(host)?;
        Some(Decision {
            host: host.to_owned(),
            address: state.address,
            why,
        })
    }

    fn choose(&self, of: CollectionId, has_lost: bool) -> Result<(String, Why), NoHost> {
        if !self.is_configured(of) {
            return Err(NoHost::NoCollection);
        }
        let takes = |state: &HostState| {
            #[cfg(test)]
            if self.defect == Some(simulation::DirectoryDefect::DrainedTakes) {
                return !state.is_down();
            }
            state.accepts_new_users()
        };
        let all = || self.hosts.iter().filter(|(host, _)| self.has(of, host));
        let open = || all().filter(|(_, state)| takes(state));
        let room = |state: &HostState| Room::of(state, self.settings.balance);
        // Of equal hosts, the first one by name is chosen.
        let best = open().rev().max_by(|(_, a), (_, b)| room(a).cmp(&room(b)));
        let Some((host, state)) = best else {
            let down = all().filter(|(_, state)| state.is_down()).count();
            let drained = all().count() - down;
            return Err(NoHost::NoneTakes { down, drained });
        };
        let why = Why::Room {
            count: room(state).count,
            weight: state.share().div_ceil(100),
            of: open().count(),
            has_lost,
        };
        Ok((host.clone(), why))
    }

    fn is_lost(&self, host: &str, now_ms: u64) -> bool {
        let Some(state) = self.hosts.get(host) else {
            return true;
        };
        match state.health {
            Health::Down { since_ms } => {
                now_ms.saturating_sub(since_ms) >= self.settings.lost_after_ms
            }
            Health::Unknown | Health::Up => false,
        }
    }

    /// Renews the entry of a known user who logs on again. A pending logon gets its full time
    /// again.
    fn renew(&mut self, id: Assignee, name: &str, now_ms: u64) {
        let Some(mut entry) = self.leave(id) else {
            return;
        };
        let is_news = entry.presence == Presence::Pending || entry.name.is_empty();
        if entry.name.is_empty() {
            name.clone_into(&mut entry.name);
        }
        if entry.presence == Presence::Pending {
            entry.until_ms = Some(now_ms.saturating_add(PENDING_MS));
        }
        self.enter(id, entry, now_ms);
        if is_news {
            self.touch(id, None);
        }
    }

    /// Counts a new connection of the user to the chosen host. A user whom the directory has
    /// forgotten meanwhile is added again.
    pub fn connected(&mut self, id: impl Into<Assignee>, host: &str, now_ms: u64) {
        let id = id.into();
        self.carries(id.user, host, true);
        if !self.hosts.contains_key(host) {
            return;
        }
        let before = self.leave(id);
        let over = before.as_ref().map(|entry| entry.version);
        let entry = match before.filter(|entry| entry.host == host) {
            Some(entry) => entry,
            None if self.make_room().is_err() => return,
            None => Entry {
                name: String::new(),
                host: host.to_owned(),
                version: self.next_version(over, true),
                presence: Presence::Left,
                since_ms: now_ms,
                until_ms: None,
                far: Vec::new(),
                is_proved: false,
            },
        };
        self.enter(id, entry, now_ms);
        // Other collections may have this session, too.
        self.change_at(id.user, host, now_ms, |entry| entry.version.used = true);
    }

    /// Notes that a connection of the user has lasted as long as only one with a session does.
    pub fn proved(&mut self, user: UserId, host: &str, now_ms: u64) {
        if self
            .of_user(user)
            .any(|(_, entry)| entry.host == host && !entry.is_proved)
        {
            self.change_at(user, host, now_ms, |entry| entry.is_proved = true);
        }
    }

    /// Frees the entry of a user if the directory is full. Users without a confirmed session come
    /// first, and of them the oldest decision, so that nobody is forgotten on the way to a host.
    /// Otherwise the user who left first goes.
    fn make_room(&mut self) -> Result<(), NoHost> {
        while self.unproved.len() >= UNPROVED_MAX
            && let Some((_, oldest)) = self.unproved.first().copied()
        {
            self.forget(oldest);
        }
        if self.users.len() >= USERS_MAX {
            let mut all = self.unproved.iter().chain(&self.due);
            let (_, oldest) = *all.next().ok_or(NoHost::Full)?;
            self.forget(oldest);
        }
        Ok(())
    }

    /// Removes a connection of the user to a host; the session stays there.
    pub fn ended(&mut self, user: UserId, host: &str, now_ms: u64) {
        self.carries(user, host, false);
        #[cfg(test)]
        if self.defect == Some(simulation::DirectoryDefect::ForgetsAtEnd) {
            return self.forget_at(user, host);
        }
        self.change_at(user, host, now_ms, |_| ());
    }

    /// Adjusts the number of connections through this node.
    fn carries(&mut self, user: UserId, host: &str, begins: bool) {
        let hosts = self.own.entry(user).or_default();
        match hosts.iter_mut().find(|(one, _)| one == host) {
            Some((_, count)) if begins => *count = count.saturating_add(1),
            Some((_, count)) => *count = count.saturating_sub(1),
            None if begins => hosts.push((host.to_owned(), 1)),
            None => {}
        }
        hosts.retain(|(_, count)| *count > 0);
        if hosts.is_empty() {
            self.own.remove(&user);
        }
    }

    /// Returns the number of connections of a user to a host through this node.
    pub fn carried(&self, user: UserId, host: &str) -> u32 {
        let mut hosts = self.own.get(&user).into_iter().flatten();
        let found = hosts.find(|(one, _)| one == host);
        found.map_or(0, |(_, count)| *count)
    }

    /// Applies the result of a host's health checks.
    pub fn checked(&mut self, host: &str, health: Health) {
        if let Some(state) = self.hosts.get_mut(host) {
            state.health = match (state.health, health) {
                // The host has been down since the first failed check.
                (before @ Health::Down { .. }, Health::Down { .. }) => before,
                (_, now) => now,
            };
        }
    }

    /// Forgets users whose entries have expired.
    pub fn expire(&mut self, now_ms: u64) {
        while let Some((until, id)) = self
            .due
            .first()
            .copied()
            .filter(|(until, _)| *until <= now_ms)
        {
            self.due.remove(&(until, id));
            self.forget(id);
        }
        self.tidy_removed();
    }

    /// Removes an entry so that it can be changed.
    fn leave(&mut self, id: Assignee) -> Option<Entry> {
        let host = self.users.get(&id)?.host.clone();
        self.count(id.user, &host, false);
        let entry = self.users.remove(&id)?;
        self.count(id.user, &host, true);
        if let Some(until) = entry.until_ms {
            self.due.remove(&(until, id));
        }
        self.unproved.remove(&(entry.since_ms, id));
        Some(entry)
    }

    /// Inserts an entry. The known connections determine the presence of the user.
    fn enter(&mut self, id: Assignee, mut entry: Entry, now_ms: u64) {
        let far = entry.far.iter().map(|(_, count)| *count);
        let own = self.carried(id.user, &entry.host);
        entry.presence = match (far.fold(own, u32::saturating_add), entry.version.used) {
            (0, true) => Presence::Left,
            (0, false) => Presence::Pending,
            (count, _) => Presence::Connected(count),
        };
        let time_ms = match entry.presence {
            Presence::Connected(_) => None,
            Presence::Left => Some(self.keep_ms(entry.is_proved)),
            Presence::Pending => Some(PENDING_MS),
        };
        entry.until_ms = time_ms.map(|time_ms| {
            let until = now_ms.saturating_add(time_ms);
            entry.until_ms.unwrap_or(until)
        });
        if let Some(until) = entry.until_ms {
            self.due.insert((until, id));
            if !entry.is_proved {
                self.unproved.insert((entry.since_ms, id));
            }
        }
        self.reset_missing_reports(id.user, &entry, now_ms);
        let host = entry.host.clone();
        self.count(id.user, &host, false);
        self.users.insert(id, entry);
        self.count(id.user, &host, true);
    }

    /// Time for which a user without a connection is remembered, milliseconds.
    pub fn keep_ms(&self, is_proved: bool) -> u64 {
        if is_proved {
            self.settings.keep_ms
        } else {
            self.settings.keep_ms.min(SHORT_MS)
        }
    }

    fn forget(&mut self, id: Assignee) {
        self.leave(id);
    }

    fn forget_at(&mut self, user: UserId, host: &str) {
        let at_host = self.of_user(user).filter(|(_, entry)| entry.host == host);
        for id in at_host.map(|(id, _)| id).collect::<Vec<_>>() {
            self.forget(id);
        }
    }

    /// Returns the users, once for each collection in which they have a host.
    pub fn users(&self) -> impl Iterator<Item = (Assignee, &Entry)> {
        self.users.iter().map(|(id, entry)| (*id, entry))
    }

    /// Returns the entry of a user in a collection.
    pub fn user(&self, id: impl Into<Assignee>) -> Option<&Entry> {
        self.users.get(&id.into())
    }

    /// Restores a user from the state of the previous role. The user has no connection now.
    pub fn restore(&mut self, id: Assignee, entry: Entry, now_ms: u64) {
        self.clock = self.clock.max(entry.version.clock);
        let is_here = self.hosts.contains_key(&entry.host);
        if is_here && self.users.len() < USERS_MAX && !self.users.contains_key(&id) {
            self.enter(id, entry, now_ms);
        }
    }
}

/// Returns why a known user gets the host.
fn why(entry: &Entry) -> Why {
    match entry.presence {
        Presence::Connected(_) => Why::Connected,
        Presence::Pending => Why::Pending,
        Presence::Left if entry.is_proved => Why::Session,
        Presence::Left => Why::Tried,
    }
}
