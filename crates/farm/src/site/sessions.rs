//! Lists the users of a farm and their sessions, for operators and for each user.

use super::agents::seen_word;
use super::{FarmState, FarmStateInner};
use crate::collection::Assignee;
use crate::directory::{Directory, Entry, Presence};
use crate::message::{Session, SessionState};
use crate::user::UserId;
use part::lock;
use part::report::Moment;
use std::collections::{BTreeMap, BTreeSet};

/// Session of a user on a host.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stay {
    pub host: String,
    pub is: How,
    /// True if the host has something that the user may start, which then leads to this session.
    pub is_led: bool,
}

/// State of a session, as far as is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum How {
    Connected,
    /// Disconnected for this time, milliseconds.
    Left(u64),
    /// No session was seen. The host is reserved for the user for this time, milliseconds.
    Kept(u64),
}

impl FarmState {
    /// Returns the users and the nodes of their connections. `me` is the name of this node; empty
    /// on a node alone.
    pub fn sessions(&self, me: &str) -> Vec<Session> {
        let inner = lock(&self.inner);
        let now_ms = Moment::now().boottime_ms;
        let mut from: BTreeMap<(UserId, &str), Vec<String>> = BTreeMap::new();
        for client in inner.clients.values() {
            let own = from.entry((client.user, &client.host)).or_default();
            own.push(if client.by_gateway {
                format!("{} by the gateway", client.from)
            } else {
                client.from.to_string()
            });
        }
        let session = |(id, entry): (UserId, &Entry)| {
            let own = from.get(&(id, entry.host.as_str()));
            Session {
                farm: self.name.clone(),
                user: inner.agreement.directory.name_of(id).to_owned(),
                host: entry.host.clone(),
                state: inner.state(entry),
                from: own.cloned().unwrap_or_default(),
                nodes: inner.carriers(id, entry, me),
                collections: inner.collections_of(id, &entry.host),
                since_ms: now_ms.saturating_sub(entry.since_ms),
                left_ms: entry.until_ms.map(|until| until.saturating_sub(now_ms)),
                agent: inner
                    .agreement
                    .directory
                    .seen(id, &entry.host)
                    .map(|seen| seen_word(seen).to_owned())
                    .unwrap_or_default(),
            }
        };
        inner.agreement.directory.sessions().map(session).collect()
    }

    /// Returns the sessions of a user, one for each host. `hosts` are those with something that the
    /// user may start.
    pub fn sessions_of<'h>(
        &self,
        user: UserId,
        starts: impl Iterator<Item = &'h BTreeSet<String>>,
    ) -> Vec<Stay> {
        let inner = lock(&self.inner);
        let directory = &inner.agreement.directory;
        let now_ms = Moment::now().boottime_ms;
        let led = starts.filter_map(|hosts| {
            let id = Assignee::new(user, inner.farm.collection(hosts));
            directory.leads(id, now_ms)
        });
        let led: BTreeSet<&str> = led.collect();
        let hosts = directory.of_user(user).map(|(_, entry)| &entry.host);
        let hosts: BTreeSet<&String> = hosts.collect();
        let entries = hosts
            .into_iter()
            .filter_map(|host| directory.at(user, host));
        let stay = |entry: &Entry| Stay {
            host: entry.host.clone(),
            is: inner.how(user, entry, now_ms),
            is_led: led.contains(entry.host.as_str()),
        };
        entries.map(stay).collect()
    }
}

impl FarmStateInner {
    fn state(&self, entry: &Entry) -> SessionState {
        match entry.presence() {
            Presence::Pending => SessionState::Pending,
            Presence::Connected(_) => SessionState::Connected,
            Presence::Left if self.is_unseen(entry) => SessionState::Unseen,
            Presence::Left => SessionState::Disconnected,
        }
    }

    /// Returns whether the user has disconnected from a host whose agent reports sessions, and no
    /// session is known there.
    pub(super) fn is_unseen(&self, entry: &Entry) -> bool {
        entry.presence() == Presence::Left
            && !entry.is_proved
            && self.agreement.directory.reports_sessions(&entry.host)
    }

    fn how(&self, user: UserId, entry: &Entry, now_ms: u64) -> How {
        let kept_ms = entry
            .until_ms
            .map_or(0, |until| until.saturating_sub(now_ms));
        match entry.presence() {
            Presence::Connected(_) => How::Connected,
            Presence::Left if entry.is_proved => How::Left(self.left_ms(user, entry, now_ms)),
            Presence::Left | Presence::Pending => How::Kept(kept_ms),
        }
    }

    fn left_ms(&self, user: UserId, entry: &Entry, now_ms: u64) -> u64 {
        let directory = &self.agreement.directory;
        let until = entry.until_ms.unwrap_or(now_ms);
        let seen = directory.seen(user, &entry.host);
        let by_agent = seen.and_then(|seen| Some((seen.since_s?, seen.at_ms)));
        let by_agent = by_agent
            .map(|(since_s, at_ms)| now_ms.saturating_sub(at_ms) + since_s.saturating_mul(1_000));
        let keep_ms = directory.table().keep_ms(entry.is_proved);
        let own = keep_ms.saturating_sub(until.saturating_sub(now_ms));
        by_agent.unwrap_or(own)
    }

    fn carriers(&self, id: UserId, entry: &Entry, me: &str) -> Vec<String> {
        let directory = &self.agreement.directory;
        let own = (!me.is_empty() && directory.table().holds(id, &entry.host) > 0).then_some(me);
        let far = entry
            .far
            .iter()
            .filter_map(|(origin, _)| self.agreement.node_of(*origin));
        own.into_iter().chain(far).map(str::to_owned).collect()
    }
}
