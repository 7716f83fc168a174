//! A farm for operators: its report, its users, and what one of them got.

use super::meeting::words;
use super::{Checks, Inner, Site};
use crate::directory::{Counts, Directory, Entry, Health, HostState, Presence};
use crate::message::{AskedFarm, Session};
use crate::user::{User, UserId};
use part::lock;
use part::report::{Grade, Moment, NumberRow, Subject};
use std::collections::BTreeMap;

/// The numbers of a report: name, metric, description.
const ROWS: [(&str, &str, &str); 13] = [
    (
        "connected",
        "evenkeel_farm_host_connected",
        "Users with a connection.",
    ),
    (
        "left",
        "evenkeel_farm_host_disconnected",
        "Users whose session has no connection.",
    ),
    (
        "pending",
        "evenkeel_farm_host_pending",
        "Users who were sent to the host and have not come yet.",
    ),
    (
        "weight",
        "evenkeel_farm_host_weight",
        "The host's share of users.",
    ),
    (
        "accepted",
        "evenkeel_farm_accepted_total",
        "Connections that were accepted.",
    ),
    (
        "routed",
        "evenkeel_farm_routed_total",
        "Connections that were routed to a host.",
    ),
    (
        "redirected",
        "evenkeel_farm_redirected_total",
        "Logons that were redirected.",
    ),
    (
        "tokens refused",
        "evenkeel_farm_tokens_refused_total",
        "Routing tokens that were not valid.",
    ),
    (
        "malformed",
        "evenkeel_farm_malformed_total",
        "Clients that do not speak RDP as they have to.",
    ),
    (
        "refused",
        "evenkeel_farm_refused_total",
        "Clients for which there is no host, or that cannot be redirected.",
    ),
    (
        "slow",
        "evenkeel_farm_slow_total",
        "Clients that did not go on in time.",
    ),
    (
        "over limit",
        "evenkeel_farm_over_limit_total",
        "Connections beyond the limits.",
    ),
    (
        "unanswered",
        "evenkeel_farm_unanswered_total",
        "Routed connections whose host did not respond.",
    ),
];

/// The numbers of a report.
pub fn rows() -> Vec<NumberRow> {
    ROWS.map(|(name, metric, words)| NumberRow::new(name, metric, words))
        .into()
}

impl Site {
    /// The farm in a report.
    pub fn subject(&self) -> Subject {
        let inner = lock(&self.inner);
        let hosts: Vec<Subject> = inner
            .directory
            .hosts()
            .map(|host| inner.host(host))
            .collect();
        let takes = inner
            .directory
            .hosts()
            .filter(|(_, state)| state.takes())
            .count();
        let (word, grade) = match (inner.troubles.is_empty(), takes) {
            (false, _) => ("closed", Grade::Bad),
            (true, 0) => ("full", Grade::Bad),
            (true, takes) if takes < hosts.len() => ("degraded", Grade::Busy),
            (true, _) => ("serving", Grade::Good),
        };
        let binds = inner.farm.binds.iter().map(|bind| bind.address.to_string());
        let mut subject = Subject::new("farm", &self.name)
            .label("farm")
            .state(word, grade)
            .list("listens", binds.collect())
            .fact("balance", inner.farm.balance.word());
        subject.why = match (inner.troubles.first(), takes) {
            (Some(trouble), _) => trouble.clone(),
            (None, 0) => "no host takes new users".to_owned(),
            (None, _) => String::new(),
        };
        let counters = inner.counters;
        for (name, value) in [
            ("accepted", counters.accepted),
            ("routed", counters.routed),
            ("redirected", counters.redirected),
            ("tokens refused", counters.tokens),
            ("malformed", counters.malformed),
            ("refused", counters.refused),
            ("slow", counters.slow),
            ("over limit", counters.over),
            ("unanswered", counters.unanswered),
        ] {
            subject = subject.number(name, value);
        }
        let clients = [
            (counters.routed, "routed"),
            (counters.redirected, "redirected"),
            (counters.refused, "refused"),
            (counters.malformed, "malformed"),
            (counters.slow, "slow"),
            (counters.over, "over the limits"),
        ];
        // What has never happened is no line.
        let clients = clients.iter().filter(|(count, _)| *count > 0);
        let clients = clients.map(|(count, what)| format!("{count} {what}"));
        subject = subject.list("clients", clients.collect());
        if let Some(refused) = &inner.last_refused {
            subject = subject.fact("last refused token", refused.clone());
        }
        subject.children(hosts)
    }

    /// The users, and where their clients are.
    pub fn sessions(&self) -> Vec<Session> {
        let inner = lock(&self.inner);
        let now_ms = Moment::now().boottime_ms;
        let mut from: BTreeMap<(UserId, &str), Vec<String>> = BTreeMap::new();
        for client in inner.clients.values() {
            let own = from.entry((client.user, &client.host)).or_default();
            own.push(client.from.to_string());
        }
        let session = |(id, entry): (UserId, &Entry)| {
            let own = from.get(&(id, entry.host.as_str()));
            Session {
                farm: self.name.clone(),
                user: entry.name.clone(),
                host: entry.host.clone(),
                state: presence(entry.presence).to_owned(),
                from: own.cloned().unwrap_or_default(),
                since_ms: now_ms.saturating_sub(entry.since_ms),
                left_ms: entry.until_ms.map(|until| until.saturating_sub(now_ms)),
            }
        };
        inner.directory.users().map(session).collect()
    }

    /// What a user got, and would get now. None: the farm has never seen the user.
    pub fn why(&self, user: &User) -> Option<AskedFarm> {
        let inner = lock(&self.inner);
        let steps = inner.history.of(user.id);
        let entry = inner.directory.user(user.id);
        if steps.is_empty() && entry.is_none() {
            return None;
        }
        // Of a copy: a question changes nothing.
        let mut directory: Directory = inner.directory.clone();
        let next = match directory.decide(user, Moment::now().boottime_ms) {
            Ok(decision) => format!("{}: {}", decision.host, words(&decision.why)),
            Err(error) => format!("refused: {error}"),
        };
        Some(AskedFarm {
            farm: self.name.clone(),
            user: user.name.clone(),
            next,
            steps,
        })
    }

    /// Whether it has a host.
    pub fn has_host(&self, host: &str) -> bool {
        lock(&self.inner).farm.hosts.contains_key(host)
    }
}

impl Inner {
    fn host(&self, (name, state): (&str, &HostState)) -> Subject {
        let none = Checks::default();
        let checks = self.checks.get(name).unwrap_or(&none);
        let is_drained = state.is_drained || state.is_ordered;
        let (word, grade) = match (state.health, is_drained) {
            (Health::Down { .. }, _) => ("down", Grade::Bad),
            (_, true) => ("drained", Grade::Standby),
            (Health::Unknown, _) => ("unknown", Grade::Unknown),
            (Health::Up, _) => ("up", Grade::Good),
        };
        let mut subject = Subject::new("host", name)
            .label("host")
            .state(word, grade)
            .fact("address", state.address.to_string())
            .fact("users", users(&state.counts))
            .joined("weight", state.weight.to_string())
            .number("connected", state.counts.connected)
            .number("left", state.counts.left)
            .number("pending", state.counts.pending)
            .number("weight", state.weight.into());
        subject.since = checks.since;
        subject.why = match (state.is_drained, state.is_ordered) {
            _ if !checks.why.is_empty() => checks.why.clone(),
            (true, _) => "drained by its line".to_owned(),
            (_, true) => "drained by an operator".to_owned(),
            _ => String::new(),
        };
        subject.events = checks.events.iter().cloned().collect();
        subject
    }
}

fn users(counts: &Counts) -> String {
    let Counts {
        pending,
        connected,
        left,
    } = counts;
    format!("{connected} connected, {left} disconnected, {pending} pending")
}

fn presence(presence: Presence) -> &'static str {
    match presence {
        Presence::Pending => "pending",
        Presence::Connected(_) => "connected",
        Presence::Left => "disconnected",
    }
}
