//! Applies the reports of host agents to the directory: which users have sessions there, and
//! whether a host accepts users. Reports are not sent to other nodes, because each node polls all
//! agents itself and detects by itself that a session is no longer reported. Only users who become
//! known through a report are sent, as after a logon.
//!
//! Ends a session only if the agent names the user in the same way as the farm. A user who was
//! connected while a report lacked the name has another name there, for example a principal name
//! that differs from the account name. A logon without a confirmed session ends in any case, unless
//! the report has a session that may belong to it.
//!
//! Tolerates an old report: it assigns a host only to users of whom nothing is known, or who have
//! not connected to another host since the report was requested, and two reports are necessary to
//! end a session.

#[cfg(test)]
mod tests;

use super::{Assignment, Counts, Directory, Entry, HostState, Presence, Record, UserDirectory};
use crate::agent::report::{Admin, AgentReply, Session, Sessions};
use crate::collection::Assignee;
use crate::config::Agent;
use crate::user::UserId;
use std::collections::BTreeMap;

pub const SEEN_MAX: usize = 4_096;
/// Number of consecutive reports without a session after which the session has ended.
const MISSING_MAX: u32 = 2;
/// Tolerance for the time since which a session is in use, milliseconds: agents count in seconds.
const USED_SLACK_MS: u64 = 2_000;
/// Time for which the end of a session is remembered, milliseconds: another node may still report
/// the session.
const OVER_MS: u64 = 600_000;

/// State of a host according to the last report of its agent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct AgentState {
    pub admin: Option<Admin>,
    pub is_down: bool,
    /// Percentage of the configured weight; None if the agent reports none.
    pub percent: Option<u32>,
    pub maxconn: Option<u64>,
    /// Number of sessions; None if the agent reports none.
    pub sessions: Option<u64>,
    /// Number of sessions on the host whose users the directory has not assigned to it.
    pub beyond: u64,
    /// Number of active sessions on the host whose users have no connection through any node.
    pub active_beyond: u64,
}

impl AgentState {
    fn take(&mut self, report: &AgentReply) {
        self.admin = report.admin.or(self.admin);
        self.is_down = report.is_up.map_or(self.is_down, |is_up| !is_up);
        self.percent = report.percent.or(self.percent);
        self.maxconn = report.maxconn.or(self.maxconn);
        self.sessions = report.sessions.as_ref().map(|sessions| sessions.count);
    }

    pub fn is_drained(&self) -> bool {
        matches!(self.admin, Some(Admin::Drain | Admin::Maintenance))
    }

    pub fn accepts_new_users(&self) -> bool {
        !self.is_drained() && !self.is_down && self.percent != Some(0)
    }
}

/// Comparison of the agent's name for a user with the farm's name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Naming {
    /// Not known: the user was connected, and no report arrived during that time.
    Expected,
    /// The names differ: a report without the farm's name arrived while the user was connected.
    Otherwise,
    /// The agent uses the farm's name.
    Same,
}

/// A user whom an agent has reported, or should have reported.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReportedUser {
    pub is_active: bool,
    /// Time for which `is_active` had not changed when the report arrived, seconds.
    pub since_s: Option<u64>,
    /// Time of the last report that contained the user, or of the user's last connection,
    /// milliseconds.
    pub at_ms: u64,
    naming: Naming,
    /// Time since which the agent reports a session that did not start through the farm,
    /// milliseconds.
    alone_ms: Option<u64>,
    /// True if the last complete report contained the session, or if no complete report has arrived
    /// since the session is known.
    is_named: bool,
    /// Number of consecutive complete reports without the session.
    missing: u32,
}

impl ReportedUser {
    /// Returns the latest time at which a client can have connected to the session, milliseconds; 0
    /// if it is not active.
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

/// Users that the agents of hosts have reported, by user.
pub(super) type AllSeen = BTreeMap<UserId, ReportedUser>;

/// Changes in the directory that a report has caused.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct News {
    pub known: Vec<UserId>,
    pub over: Vec<UserId>,
}

/// Times of a poll and its report, milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    pub asked_ms: u64,
    pub now_ms: u64,
}

impl UserDirectory {
    /// Applies a report of a host's agent. Users of pending claims are left out.
    pub fn reported(
        &mut self,
        host: &str,
        report: &AgentReply,
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
            if !remember_user(&mut seen, (id, session), is_known, times.now_ms) || is_claimed(id) {
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

    fn names(&mut self, host: &str, session: &Session, times: Times) -> bool {
        let user = session.user.id;
        if self.at(user, host).is_some() {
            self.confirms(host, session, times.now_ms);
            return false;
        }
        // Moves the entry to this host, where the session is: the directory has sent the user to
        // another host, but the user was connected there only briefly, or not at all, since before
        // the agent was polled.
        let comes = |(id, entry): &(Assignee, &Entry)| {
            let is_short = entry.presence() == Presence::Left && !entry.is_proved;
            let is_before = entry.since_ms <= times.asked_ms;
            let has = self.has(id.collection, host);
            has && is_before && (entry.presence() == Presence::Pending || is_short)
        };
        let mut all: Vec<Assignee> = self.of_user(user).filter(comes).map(|(id, _)| id).collect();
        let home = Assignee::new(user, self.home(host));
        if all.is_empty() && self.table.get(home).is_none() && !self.table.is_full() {
            all.push(home);
        }
        let adopted = all
            .into_iter()
            .map(|id| self.assign_session(id, host, session, times.now_ms));
        adopted.fold(false, |all, one| all | one)
    }

    fn assign_session(&mut self, id: Assignee, host: &str, session: &Session, now_ms: u64) -> bool {
        let over = self.table.get(id).map(|entry| entry.version);
        let record = Record {
            key: id,
            value: Assignment {
                name: session.user.name.clone(),
                ..record::Value::of_place(host)
            },
            version: self.table.next_version(over, true),
            age_ms: session.since_s.unwrap_or_default().saturating_mul(1_000),
            left_ms: self.settings.keep_ms,
            holds: 0,
            is_proved: true,
        };
        self.adopt(&record, None, now_ms).is_ok()
    }

    fn confirms(&mut self, host: &str, session: &Session, now_ms: u64) {
        let at_host = self.of_user(session.user.id);
        let at_host = at_host.filter(|(_, entry)| entry.host == host);
        for id in at_host.map(|(id, _)| id).collect::<Vec<_>>() {
            self.confirms_in(id, session, now_ms);
        }
    }

    fn confirms_in(&mut self, id: Assignee, session: &Session, now_ms: u64) {
        let keep_ms = self.settings.keep_ms;
        let Some(entry) = self.table.get(id) else {
            return;
        };
        let has_name = !entry.name.is_empty();
        let is_late = entry
            .until_ms
            .is_some_and(|until| until.saturating_sub(now_ms) < keep_ms / 2);
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
            self.table.touch(id, None);
        }
    }

    /// Handles a complete report: counts the sessions that are missing in it, and ends those that
    /// are over.
    fn misses(&mut self, host: &str, seen: &mut AllSeen, times: Times, news: &mut News) {
        let now_ms = times.now_ms;
        // Times at which each session that did not start through the farm appeared and became
        // active.
        let alone: Vec<(u64, u64)> = seen
            .values()
            .filter(|one| one.at_ms == now_ms)
            .filter_map(|one| Some((one.alone_ms?, one.in_use_ms())))
            .collect();
        for (id, one) in seen.iter_mut().filter(|(_, one)| one.at_ms != now_ms) {
            let entry = self.at(*id, host);
            let is_proved = entry.is_some_and(|entry| entry.is_proved);
            one.is_named = false;
            one.missing = match entry.map(|entry| entry.presence()) {
                Some(Presence::Connected(_)) => 0,
                _ => one.missing.saturating_add(1),
            };
            let is_asked_since = times.asked_ms > one.at_ms;
            // Checks whether one of these sessions may belong to this user under another name.
            let is_new = alone.iter().any(|(since_ms, _)| *since_ms >= one.at_ms);
            let is_used = alone.iter().any(|(_, since_ms)| *since_ms >= one.at_ms);
            let is_otherwise = match one.missing {
                // Excludes a logon without a confirmed session, for which it is not known which
                // name the agent uses.
                0 => is_proved || is_new || is_used,
                _ => !is_proved && is_new,
            };
            if is_otherwise && one.naming == Naming::Expected && is_asked_since {
                one.naming = Naming::Otherwise;
            }
            let is_left = entry.is_some_and(|entry| entry.presence() == Presence::Left);
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

    /// Counts the reported sessions of a host that are not among the directory's entries for the
    /// host.
    fn counts_beyond(&mut self, host: &str, sessions: &Sessions) {
        let (mut here, mut active) = (0, 0);
        for (id, one) in by_user(sessions) {
            let Some(entry) = self.at(id, host) else {
                continue;
            };
            here += 1;
            active += u64::from(one.is_active && entry.presence() != Presence::Left);
        }
        let in_use = sessions.named.iter().filter(|one| one.is_active).count();
        let in_use = u64::try_from(in_use).unwrap_or(u64::MAX);
        if let Some(state) = self.hosts.get_mut(host) {
            state.agent.beyond = sessions.count.saturating_sub(here);
            state.agent.active_beyond = in_use.saturating_sub(active);
        }
    }

    /// Resets the count of missing reports after activity of a user at a host.
    pub(super) fn reset_missing_reports(&mut self, id: Assignee, now_ms: u64) {
        let Some(entry) = self.table.get(id) else {
            return;
        };
        let Some(seen) = self.agents.get_mut(&entry.host) else {
            return;
        };
        let id = id.user;
        let has_room = seen.len() < SEEN_MAX;
        let is_connected = matches!(entry.presence(), Presence::Connected(_));
        if let Some(one) = seen.get_mut(&id) {
            one.missing = 0;
            one.alone_ms = one.alone_ms.filter(|_| !is_connected);
            if is_connected && one.naming == Naming::Expected {
                one.at_ms = now_ms;
            }
        } else if has_room && is_connected {
            let one = ReportedUser {
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

    pub fn seen(&self, id: UserId, host: &str) -> Option<&ReportedUser> {
        let seen = self.agents.get(host)?.get(&id)?;
        seen.is_named.then_some(seen)
    }

    pub fn reports_sessions(&self, host: &str) -> bool {
        let state = self.hosts.get(host);
        state.is_some_and(|state| state.agent.sessions.is_some())
    }

    /// Sets the hosts that have agents. The reports of other hosts are forgotten.
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

/// Returns one session of each user; an active one takes precedence.
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

/// Remembers a user in a report. `is_known` is true if the directory has the user at this host.
/// Returns false if the agent has reported too many users.
fn remember_user(
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
    let one = ReportedUser {
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

    /// Returns the effective weight in hundredths of the configured weight, scaled by the agent's
    /// percentage.
    pub(super) fn share(&self) -> u32 {
        self.weight
            .saturating_mul(self.agent.percent.unwrap_or(100))
    }
}
