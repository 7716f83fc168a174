//! What agents of hosts say, in the directory: which users have sessions there, and whether a host wants
//! users. Each node asks all agents itself, so nothing of it is for other nodes but what it makes known:
//! users with their versions, as if they had logged on. What an agent no longer reports each node finds
//! out for itself.
//!
//! A session ends only if its agent names the user as the farm does: one who was connected while a report did not
//! have the name has another one there, as with a principal name that is not the name of the account. A logon that
//! has not become a session, as far as is known, ends all the same, unless the report has a session that may be it.
//!
//! An old report does no harm: it gives a host only to users of whom nothing is known, or who have not come
//! to another one since before it was asked for; and it takes two reports to end a session.

#[cfg(test)]
mod tests;

use super::entry::{Entry, Presence, Record};
use super::{Counts, Directory, HostState, USERS_MAX};
use crate::agent::report::{Admin, Report, Session, Sessions};
use crate::collection::Assignee;
use crate::config::Agent;
use crate::user::UserId;
use std::collections::BTreeMap;

/// Users of one host that agents may make known.
pub const SEEN_MAX: usize = 4_096;
/// Reports without a session after which it is over.
const MISSING_MAX: u32 = 2;
/// How far the time since when a session is in use may be off, milliseconds: agents count seconds.
const USED_SLACK_MS: u64 = 2_000;
/// How long it is remembered that a session is over, milliseconds: another node may still say otherwise.
const OVER_MS: u64 = 600_000;

/// What the agent of a host said last of the host.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct AgentState {
    /// How it wants to be used.
    pub admin: Option<Admin>,
    /// It says that the host is down.
    pub is_down: bool,
    /// Percent of the weight of the line; None: it says nothing.
    pub percent: Option<u32>,
    /// More sessions than these it does not want.
    pub maxconn: Option<u64>,
    /// Its sessions; None: it says nothing of them.
    pub sessions: Option<u64>,
    /// Its sessions that are of no user whom the directory has there.
    pub beyond: u64,
    /// Its sessions in use that are of no user with a connection that nodes carry.
    pub active_beyond: u64,
}

impl AgentState {
    fn take(&mut self, report: &Report) {
        self.admin = report.admin.or(self.admin);
        self.is_down = report.is_up.map_or(self.is_down, |is_up| !is_up);
        self.percent = report.percent.or(self.percent);
        self.maxconn = report.maxconn.or(self.maxconn);
        self.sessions = report.sessions.as_ref().map(|sessions| sessions.count);
    }

    /// It drains its host, or has it maintained.
    pub fn is_drained(&self) -> bool {
        matches!(self.admin, Some(Admin::Drain | Admin::Maintenance))
    }

    /// Whether it lets the host take new users.
    pub fn takes(&self) -> bool {
        !self.is_drained() && !self.is_down && self.percent != Some(0)
    }
}

/// How an agent names a user with a session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Naming {
    /// There was a connection, and no report came while it lasted.
    Expected,
    /// Otherwise than the farm: a report without the name came while there was a connection.
    Otherwise,
    /// By the name that the farm knows.
    Same,
}

/// A user whom an agent has named, or should have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Seen {
    /// Somebody is connected with the session.
    pub is_active: bool,
    /// For how long it has been so when the report came, seconds.
    pub since_s: Option<u64>,
    /// When a report named the user last, or the connection was, milliseconds.
    pub at_ms: u64,
    naming: Naming,
    /// Since when the agent has named a session that the farm has brought nobody to, milliseconds.
    alone_ms: Option<u64>,
    /// The last report that names all sessions did, or no such report came since.
    is_named: bool,
    /// Reports in a row that did not.
    missing: u32,
}

impl Seen {
    /// Since when somebody is connected with the session, at the latest; 0: nobody is. Milliseconds.
    fn in_use_ms(&self) -> u64 {
        let since_ms = self
            .since_s
            .map_or(0, |since_s| since_s.saturating_mul(1_000));
        let begun_ms = self
            .at_ms
            .saturating_sub(since_ms)
            .saturating_add(USED_SLACK_MS);
        if self.is_active { begun_ms } else { 0 }
    }
}

/// The users whom the agent of a host has named.
pub(super) type AllSeen = BTreeMap<UserId, Seen>;

/// What a report changed.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct News {
    /// Whose sessions are known now.
    pub known: Vec<UserId>,
    /// Whose sessions are over.
    pub over: Vec<UserId>,
}

/// When a report was asked for, and when it came, milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// The former.
    pub asked_ms: u64,
    /// The latter.
    pub now_ms: u64,
}

impl Directory {
    /// Takes in a report of a host's agent. Users of whom other nodes are being asked are left out.
    pub fn reported(
        &mut self,
        host: &str,
        report: &Report,
        times: Times,
        is_claimed: impl Fn(UserId) -> bool,
    ) -> News {
        self.expire(times.now_ms);
        let mut news = News::default();
        let Some(state) = self.hosts.get_mut(host) else {
            return news;
        };
        state.agent.take(report);
        let Some(sessions) = &report.sessions else {
            (state.agent.beyond, state.agent.active_beyond) = (0, 0);
            return news;
        };
        let mut seen = self.agents.remove(host).unwrap_or_default();
        for (id, session) in by_user(sessions) {
            let is_known = self.at(id, host).is_some();
            if !remembers(&mut seen, (id, session), is_known, times.now_ms) || is_claimed(id) {
                continue;
            }
            if self.names(host, session, times) {
                news.known.push(id);
            }
        }
        if sessions.is_whole() {
            self.misses(host, &mut seen, times, &mut news);
        }
        self.counts_beyond(host, sessions);
        self.agents.insert(host.to_owned(), seen);
        news
    }

    /// An agent names the user of a session. Returns whether the directory did not know it.
    fn names(&mut self, host: &str, session: &Session, times: Times) -> bool {
        let user = session.user.id;
        if self.at(user, host).is_some() {
            self.confirms(host, session, times.now_ms);
            return false;
        }
        // On the way to another host, or there for a moment, since before the agent looked: the session is
        // here.
        let comes = |(id, entry): &(Assignee, &Entry)| {
            let is_short = entry.presence == Presence::Left && !entry.is_proved;
            let is_before = entry.since_ms <= times.asked_ms;
            let has = self.has(id.collection, host);
            has && is_before && (entry.presence == Presence::Pending || is_short)
        };
        let mut all: Vec<Assignee> = { self.of_user(user) }
            .filter(comes)
            .map(|(id, _)| id)
            .collect();
        let home = Assignee::new(user, self.home(host));
        if all.is_empty() && !self.users.contains_key(&home) && self.users.len() < USERS_MAX {
            all.push(home);
        }
        let adopted = all
            .into_iter()
            .map(|id| self.learns(id, host, session, times.now_ms));
        adopted.fold(false, |all, one| all | one)
    }

    /// Makes the session that an agent names that of its user in a collection.
    fn learns(&mut self, id: Assignee, host: &str, session: &Session, now_ms: u64) -> bool {
        let over = self.users.get(&id).map(|entry| entry.version);
        let record = Record {
            user: id.user,
            collection: id.collection,
            name: session.user.name.clone(),
            host: host.to_owned(),
            removed: None,
            version: self.next_version(over, true),
            age_ms: session.since_s.unwrap_or_default().saturating_mul(1_000),
            left_ms: self.settings.keep_ms,
            connections: 0,
            is_proved: true,
        };
        self.adopt(&record, None, now_ms).is_ok()
    }

    /// An agent names a user whom the directory has at this host.
    fn confirms(&mut self, host: &str, session: &Session, now_ms: u64) {
        let at_host = self.of_user(session.user.id);
        let at_host = at_host.filter(|(_, entry)| entry.host == host);
        for id in at_host.map(|(id, _)| id).collect::<Vec<_>>() {
            self.confirms_in(id, session, now_ms);
        }
    }

    fn confirms_in(&mut self, id: Assignee, session: &Session, now_ms: u64) {
        let keep_ms = self.settings.keep_ms;
        let Some(entry) = self.users.get(&id) else {
            return;
        };
        let has_name = !entry.name.is_empty();
        let is_late =
            { entry.until_ms }.is_some_and(|until| until.saturating_sub(now_ms) < keep_ms / 2);
        let is_known = entry.version.used && entry.is_proved && has_name;
        if is_known && !is_late {
            return;
        }
        let Some(mut entry) = self.leave(id) else {
            return;
        };
        entry.version.used = true;
        entry.is_proved = true;
        entry.until_ms = entry.until_ms.map(|_| now_ms.saturating_add(keep_ms));
        if !has_name {
            entry.name.clone_from(&session.user.name);
        }
        self.enter(id, entry, now_ms);
        if !is_known {
            self.touch(id, None);
        }
    }

    /// A report names all sessions of a host: counts those that it misses, and ends what is over.
    fn misses(&mut self, host: &str, seen: &mut AllSeen, times: Times, news: &mut News) {
        let now_ms = times.now_ms;
        // Of the sessions that the farm has brought nobody to: when they were new, or came into use.
        let alone: Vec<(u64, u64)> = { seen.values().filter(|one| one.at_ms == now_ms) }
            .filter_map(|one| Some((one.alone_ms?, one.in_use_ms())))
            .collect();
        for (id, one) in seen.iter_mut().filter(|(_, one)| one.at_ms != now_ms) {
            let entry = self.at(*id, host);
            let is_proved = entry.is_some_and(|entry| entry.is_proved);
            one.is_named = false;
            one.missing = match entry.map(|entry| entry.presence) {
                Some(Presence::Connected(_)) => 0,
                _ => one.missing.saturating_add(1),
            };
            let is_asked_since = times.asked_ms > one.at_ms;
            // One of them may be the session of this user, by another name.
            let is_new = { alone.iter() }.any(|(since_ms, _)| *since_ms >= one.at_ms);
            let is_used = { alone.iter() }.any(|(_, since_ms)| *since_ms >= one.at_ms);
            let is_otherwise = match one.missing {
                // A logon that has not become a session has no name.
                0 => is_proved || is_new || is_used,
                _ => !is_proved && is_new,
            };
            if is_otherwise && one.naming == Naming::Expected && is_asked_since {
                one.naming = Naming::Otherwise;
            }
            let is_left = entry.is_some_and(|entry| entry.presence == Presence::Left);
            if one.missing >= MISSING_MAX && is_left && one.naming != Naming::Otherwise {
                news.over.push(*id);
            }
        }
        for id in &news.over {
            self.forget_at(*id, host);
        }
        let is_here = |id: &UserId| self.at(*id, host).is_some();
        seen.retain(|id, one| {
            let is_new = one.missing < MISSING_MAX || now_ms.saturating_sub(one.at_ms) < OVER_MS;
            is_new || one.naming == Naming::Otherwise && is_here(id)
        });
    }

    /// Counts the sessions that the counts of the users of a host do not have.
    fn counts_beyond(&mut self, host: &str, sessions: &Sessions) {
        let (mut here, mut active) = (0, 0);
        for (id, one) in by_user(sessions) {
            let Some(entry) = self.at(id, host) else {
                continue;
            };
            here += 1;
            active += u64::from(one.is_active && entry.presence != Presence::Left);
        }
        let in_use = { sessions.named.iter() }
            .filter(|one| one.is_active)
            .count();
        let in_use = u64::try_from(in_use).unwrap_or(u64::MAX);
        if let Some(state) = self.hosts.get_mut(host) {
            state.agent.beyond = sessions.count.saturating_sub(here);
            state.agent.active_beyond = in_use.saturating_sub(active);
        }
    }

    /// Something happened to a user at a host: reports that do not name the session count from now.
    pub(super) fn stirs(&mut self, id: UserId, entry: &Entry, now_ms: u64) {
        let Some(seen) = self.agents.get_mut(&entry.host) else {
            return;
        };
        let has_room = seen.len() < SEEN_MAX;
        let is_connected = matches!(entry.presence, Presence::Connected(_));
        if let Some(one) = seen.get_mut(&id) {
            one.missing = 0;
            one.alone_ms = one.alone_ms.filter(|_| !is_connected);
            if is_connected && one.naming == Naming::Expected {
                one.at_ms = now_ms;
            }
        } else if has_room && is_connected {
            let one = Seen {
                is_active: true,
                since_s: None,
                at_ms: now_ms,
                naming: Naming::Expected,
                alone_ms: None,
                is_named: false,
                missing: 0,
            };
            seen.insert(id, one);
        }
    }

    /// What the agent of a host said last of a user, if its last report had the session.
    pub fn seen(&self, id: UserId, host: &str) -> Option<&Seen> {
        let seen = self.agents.get(host)?.get(&id)?;
        seen.is_named.then_some(seen)
    }

    /// Whether the agent of a host reports sessions.
    pub fn reports_sessions(&self, host: &str) -> bool {
        let state = self.hosts.get(host);
        state.is_some_and(|state| state.agent.sessions.is_some())
    }

    /// These hosts have agents; what others said is forgotten.
    pub(super) fn set_agents(&mut self, agents: &BTreeMap<String, Agent>) {
        self.agents.retain(|host, _| agents.contains_key(host));
        for host in agents.keys() {
            self.agents.entry(host.clone()).or_default();
        }
        for (host, state) in &mut self.hosts {
            if !agents.contains_key(host) {
                state.agent = AgentState::default();
            }
        }
    }
}

/// One session of each user, one in use before others.
fn by_user(sessions: &Sessions) -> BTreeMap<UserId, &Session> {
    let mut all: BTreeMap<UserId, &Session> = BTreeMap::new();
    for session in &sessions.named {
        let one = all.entry(session.user.id).or_insert(session);
        if session.is_active {
            *one = session;
        }
    }
    all
}

/// Notes a user whom an agent names; `is_known`: the directory has the user there. False: the agent has named
/// too many.
fn remembers(
    seen: &mut AllSeen,
    (id, session): (UserId, &Session),
    is_known: bool,
    now_ms: u64,
) -> bool {
    if seen.len() >= SEEN_MAX && !seen.contains_key(&id) {
        seen.retain(|_, one| one.missing < MISSING_MAX);
        if seen.len() >= SEEN_MAX {
            return false;
        }
    }
    let alone_ms = match seen.get(&id) {
        Some(before) => before.alone_ms,
        None => (!is_known).then_some(now_ms),
    };
    let one = Seen {
        is_active: session.is_active,
        since_s: session.since_s,
        at_ms: now_ms,
        naming: Naming::Same,
        alone_ms,
        is_named: true,
        missing: 0,
    };
    seen.insert(id, one);
    true
}

impl HostState {
    /// Whether it has as many sessions as its agent wants at most.
    pub fn is_full(&self) -> bool {
        let Counts {
            pending,
            connected,
            left,
        } = self.counts;
        let all = [pending, connected, left, self.claimed, self.agent.beyond];
        let count = all.into_iter().fold(0, u64::saturating_add);
        self.agent.maxconn.is_some_and(|most| count >= most)
    }

    /// Its share of users, in hundredths of the weight of its line, as its agent changes it.
    pub(super) fn share(&self) -> u32 {
        self.weight
            .saturating_mul(self.agent.percent.unwrap_or(100))
    }
}
