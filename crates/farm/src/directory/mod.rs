//! Decides which host of a farm a user gets. A user with a session gets the host of that session,
//! whatever state the host is in, until the session ends or counts as lost. Every other user gets
//! the host with the most free capacity. So two logons of one user never lead to two hosts. If
//! programs run only on some hosts, all of this applies to each collection of hosts.
//!
//! Does no I/O: times are arguments, and the caller has the connections. The users are records of
//! the store ([`record`]), which keeps them on all nodes; this module has the rules by which a user
//! gets a host.

mod agents;
mod choice;
mod collections;
mod entry;
mod hosts;
#[cfg(test)]
pub(crate) mod simulation;
#[cfg(test)]
pub(crate) mod tests;

pub use agents::{AgentState, News, ReportedUser, SEEN_MAX, Times};
pub use choice::{Counts, Health, HostState};
pub(crate) use entry::check_text;
pub use entry::{Assignment, Entry, Logon};
pub use hosts::{FarHost, HostOrder, HostsOpening};
pub use record::{Directory, Origin as DirectoryId, Presence, Version as DecisionVersion};

use crate::collection::{Assignee, CollectionId};
use crate::config::{Balance, Farm};
use agents::AllSeen;
use choice::Room;
use record::{Bounds, StoreRefusal, Table};
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
    pub balance: Balance,
    /// Time for which a session belongs to its host after the last connection, milliseconds.
    pub keep_ms: u64,
    /// Time for which a host is down before its sessions count as lost, milliseconds.
    pub lost_after_ms: u64,
    /// Hosts of each collection, except the collection of all hosts.
    pub collections: BTreeMap<CollectionId, BTreeSet<String>>,
}

impl Settings {
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
    pub address: SocketAddr,
    pub why: Why,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Why {
    Connected,
    Session,
    /// The user was connected only briefly: whether a session exists is not known.
    Tried,
    /// Another logon of the user was sent to the host and has not connected yet.
    Pending,
    Redirected,
    /// The directory does not know the session; the token was made for this host.
    Token,
    /// The host has the most free capacity of those that accept users.
    Room {
        count: u64,
        weight: u32,
        of: usize,
        has_lost: bool,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NoHost {
    #[error("no host accepts new users: {down} down, {drained} drained or full")]
    NoneTakes { down: usize, drained: usize },
    #[error("the token is for hosts of a previous configuration: download a new .rdp file")]
    NoCollection,
    /// The directory is full: every known user is connected.
    #[error("the directory is full: {USERS_MAX} users are connected")]
    Full,
    #[error("the host was removed")]
    Removed,
    #[error("too many logons are waiting for the other nodes")]
    Busy,
}

impl From<StoreRefusal> for NoHost {
    fn from(refusal: StoreRefusal) -> NoHost {
        match refusal {
            StoreRefusal::Full => NoHost::Full,
            StoreRefusal::NoPlace => NoHost::Removed,
            StoreRefusal::Busy => NoHost::Busy,
        }
    }
}

/// A decision that other nodes have not confirmed yet.
type Proposal = record::Proposal<UserDirectory>;

/// A decision as other nodes receive it.
pub type Record = record::Record<Assignee, Assignment>;

/// Assignments of users to the hosts of a farm.
#[derive(Clone, Debug)]
pub struct UserDirectory {
    table: Table<Assignee, Assignment>,
    settings: Settings,
    hosts: BTreeMap<String, HostState>,
    far: BTreeMap<String, Vec<FarHost>>,
    orders: BTreeMap<String, HostOrder>,
    agents: BTreeMap<String, AllSeen>,
    #[cfg(test)]
    defect: Option<simulation::DirectoryDefect>,
}

impl Default for UserDirectory {
    fn default() -> UserDirectory {
        UserDirectory::of(DirectoryId::default(), false)
    }
}

impl Directory for UserDirectory {
    type Key = Assignee;
    type Value = Assignment;
    type Request = Logon;
    type Decision = Decision;
    type Reason = Why;
    type Refusal = NoHost;
    type Opening = HostsOpening;

    fn table(&self) -> &Table<Assignee, Assignment> {
        &self.table
    }

    fn table_mut(&mut self) -> &mut Table<Assignee, Assignment> {
        &mut self.table
    }

    fn key_of(logon: &Logon) -> Assignee {
        logon.id
    }

    fn complete(logon: &Logon, assignment: &mut Assignment) -> bool {
        let has_no_name = assignment.name.is_empty();
        if has_no_name {
            assignment.name.clone_from(&logon.name);
        }
        has_no_name
    }

    fn is_outdated(&self, id: Assignee, entry: &Entry, now_ms: u64) -> bool {
        let is_removed = self
            .hosts
            .get(&entry.host)
            .is_some_and(|state| state.is_removed);
        let serves = is_removed || self.has(id.collection, &entry.host);
        if self.is_configured(id.collection) && !serves {
            return true;
        }
        match entry.presence() {
            Presence::Connected(_) => false,
            // Counts the entry as outdated if the host is down or removed: the user has never
            // connected to it, and has no session to lose.
            Presence::Pending => self
                .hosts
                .get(&entry.host)
                .is_none_or(|state| state.is_down() || state.is_removed),
            Presence::Left => self.is_lost(&entry.host, now_ms),
        }
    }

    fn elsewhere(&self, id: Assignee, now_ms: u64) -> Option<&Entry> {
        self.session_elsewhere(id, now_ms)
    }

    fn propose(&mut self, logon: &Logon, now_ms: u64) -> Result<Proposal, NoHost> {
        self.expire(now_ms);
        let id = logon.id;
        let before = self.table.get(id);
        let over = before.map(|entry| entry.version);
        let has_lost = before.is_some_and(|entry| entry.presence() != Presence::Pending);
        let has = |host: &str| self.has(id.collection, host) && !self.is_lost(host, now_ms);
        let of_token = logon.hint.and_then(|hint| {
            let mut hosts = self.hosts.iter();
            let (host, _) = hosts.find(|(host, state)| state.id == hint && has(host))?;
            Some(host.clone())
        });
        let (host, why, used, left_ms) = match (self.elsewhere(id, now_ms), of_token) {
            (Some(entry), _) => {
                let until_ms = entry.until_ms.map(|until| until.saturating_sub(now_ms));
                let left_ms = match entry.presence() {
                    Presence::Pending => PENDING_MS,
                    _ => until_ms.unwrap_or(self.table.keep_ms(entry.is_proved)),
                };
                (entry.host.clone(), why(entry), entry.version.used, left_ms)
            }
            // Marks the host as used, because the session may be there.
            (None, Some(host)) => (host, Why::Token, true, self.table.keep_ms(false)),
            (None, None) => {
                let (host, why) = self.choose(id.collection, has_lost)?;
                (host, why, false, PENDING_MS)
            }
        };
        let is_proved = self.at(id.user, &host).is_some_and(|entry| entry.is_proved);
        let record = Record {
            key: id,
            value: Assignment {
                name: logon.name.clone(),
                ..record::Value::of_place(host.as_str())
            },
            version: self.table.next_version(over, used),
            age_ms: 0,
            left_ms,
            holds: 0,
            is_proved,
        };
        Ok(Proposal {
            record,
            reason: why,
            over,
        })
    }

    fn propose_instead(&mut self, record: &Record, now_ms: u64) -> Result<Proposal, NoHost> {
        let logon = Logon {
            id: record.key,
            name: record.name.clone(),
            hint: None,
        };
        self.propose(&logon, now_ms)
    }

    fn decision(&self, id: Assignee, reason: Option<&Why>) -> Option<Decision> {
        let entry = self.table.get(id)?;
        self.decision_at(&entry.host, reason.copied().unwrap_or_else(|| why(entry)))
    }

    fn has_place(&self, host: &str) -> bool {
        self.hosts.contains_key(host)
    }

    fn is_place_up(&self, host: &str) -> bool {
        self.hosts.get(host).is_some_and(|state| !state.is_down())
    }

    fn admit(&mut self, record: &Record) -> bool {
        // Adds a removed host only for a user who has connected to it. Any other user has no
        // session to lose, and the entry is dropped together with the host.
        let used = record.version.used;
        if let Some(address) = record.removed.filter(|_| used) {
            self.know_removed(&record.host, address);
        }
        let state = self.hosts.get(&record.host);
        state.is_some_and(|state| used || !state.is_removed)
    }

    fn count_claim(&mut self, host: &str, begins: bool) {
        if let Some(state) = self.hosts.get_mut(host) {
            state.claimed = if begins {
                state.claimed.saturating_add(1)
            } else {
                state.claimed.saturating_sub(1)
            };
        }
    }

    fn opening(&self) -> HostsOpening {
        HostsOpening {
            hosts: self.own_hosts(),
            orders: self.orders.clone(),
        }
    }

    fn open(&mut self, node: &str, opening: HostsOpening) -> bool {
        self.set_far(node, opening.hosts);
        self.take_orders(&opening.orders)
    }

    fn forget_node(&mut self, node: &str) {
        self.set_far(node, Vec::new());
    }

    fn has_node(&self, node: &str) -> bool {
        self.far.contains_key(node)
    }

    fn describe(&self, record: &mut Record) {
        let state = self.hosts.get(&record.host);
        let state = state.filter(|state| state.is_far || state.is_removed);
        record.removed = state.map(|state| state.address);
    }

    fn has_expired(&mut self) {
        self.tidy_removed();
    }

    fn leave(&mut self, id: Assignee) -> Option<Entry> {
        let host = self.table.get(id)?.host.clone();
        self.count(id.user, &host, false);
        let entry = self.table.remove(id)?;
        self.count(id.user, &host, true);
        Some(entry)
    }

    fn enter(&mut self, id: Assignee, mut entry: Entry, now_ms: u64) {
        entry.removed = None;
        let host = entry.host.clone();
        self.count(id.user, &host, false);
        self.table.insert(id, entry, now_ms);
        self.count(id.user, &host, true);
        self.reset_missing_reports(id, now_ms);
    }
}

impl UserDirectory {
    fn decision_at(&self, host: &str, why: Why) -> Option<Decision> {
        let state = self.hosts.get(host)?;
        Some(Decision {
            host: host.to_owned(),
            address: state.address,
            why,
        })
    }

    /// Creates a directory with this origin. A shared one tracks the changes that other nodes have
    /// to receive.
    pub fn of(origin: DirectoryId, is_shared: bool) -> UserDirectory {
        let bounds = Bounds {
            records: USERS_MAX,
            unproved: UNPROVED_MAX,
        };
        UserDirectory {
            table: Table::new(origin, is_shared, bounds),
            settings: Settings::default(),
            hosts: BTreeMap::new(),
            far: BTreeMap::new(),
            orders: BTreeMap::new(),
            agents: BTreeMap::new(),
            #[cfg(test)]
            defect: None,
        }
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
        // Reverses the order, so that the first of equal hosts by name is chosen.
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

    pub fn checked(&mut self, host: &str, health: Health) {
        if let Some(state) = self.hosts.get_mut(host) {
            state.health = match (state.health, health) {
                // Keeps the time since which the host has been down.
                (before @ Health::Down { .. }, Health::Down { .. }) => before,
                (_, now) => now,
            };
        }
    }
}

fn why(entry: &Entry) -> Why {
    match entry.presence() {
        Presence::Connected(_) => Why::Connected,
        Presence::Pending => Why::Pending,
        Presence::Left if entry.is_proved => Why::Session,
        Presence::Left => Why::Tried,
    }
}
