//! Shows the status of a farm to operators: the report, and which host one user got.

use super::glance::offers;
use super::meeting::describe_reason;
use super::{FarmCounters, FarmState, FarmStateInner, HostChecks};
use crate::agent::report::Admin;
use crate::agreement::{KeyCheck, PeerState, PeerStatus};
use crate::collection::{Assignee, CollectionId};
use crate::directory::{Counts, Health, HostState, UserDirectory};
use crate::message::{AskedCollection, AskedFarm};
use crate::user::{FarmUser, UserId};
use part::lock;
use part::report::{Grade, Moment, NumberRow, Subject, Unit};
use std::collections::BTreeSet;
use std::time::Instant;

const TUNNELS_SHOWN: usize = 10;

/// Numbers of a report: name, metric, description.
const ROWS: [(&str, &str, &str); 27] = [
    (
        "connected",
        "evenkeel_farm_host_connected",
        "Users with a connection.",
    ),
    (
        "disconnected",
        "evenkeel_farm_host_disconnected",
        "Users whose session has no connection.",
    ),
    (
        "no session seen",
        "evenkeel_farm_host_unseen",
        "Users whose connection ended and for whom the agent has reported no session.",
    ),
    (
        "pending",
        "evenkeel_farm_host_pending",
        "Users who were routed to the host and have not connected yet.",
    ),
    (
        "weight",
        "evenkeel_farm_host_weight",
        "The host's share of users.",
    ),
    (
        "agent sessions",
        "evenkeel_farm_host_agent_sessions",
        "Sessions that the agent of the host reports.",
    ),
    (
        "agent answers",
        "evenkeel_farm_host_agent_answers",
        "1 if the agent of the host responded to the last query.",
    ),
    (
        "hosts taking users",
        "evenkeel_farm_collection_hosts_taking",
        "Hosts of a collection that accept new users.",
    ),
    (
        "accepted",
        "evenkeel_farm_accepted_total",
        "Accepted connections.",
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
        "Connections closed for RDP protocol errors.",
    ),
    (
        "refused",
        "evenkeel_farm_refused_total",
        "Clients refused because no host is available or they do not support redirection.",
    ),
    (
        "slow",
        "evenkeel_farm_slow_total",
        "Clients closed by the handshake timeout.",
    ),
    (
        "over limit",
        "evenkeel_farm_over_limit_total",
        "Connections refused by the connection limits.",
    ),
    (
        "unanswered",
        "evenkeel_farm_unanswered_total",
        "Routed connections whose host did not respond.",
    ),
    (
        "tunnels",
        "evenkeel_farm_gateway_tunnels",
        "Gateway tunnels connected to a host.",
    ),
    (
        "tunnels opened",
        "evenkeel_farm_gateway_opened_total",
        "Gateway tunnels that were connected to a host.",
    ),
    (
        "gateway unknown",
        "evenkeel_farm_gateway_unknown_total",
        "Gateway clients refused for a wrong password or cookie.",
    ),
    (
        "gateway denied",
        "evenkeel_farm_gateway_denied_total",
        "Gateway requests for hosts that are denied to the user.",
    ),
    (
        "gateway malformed",
        "evenkeel_farm_gateway_malformed_total",
        "Gateway tunnels closed for protocol errors.",
    ),
    (
        "gateway slow",
        "evenkeel_farm_gateway_slow_total",
        "Gateway tunnels closed because the client was too slow.",
    ),
    (
        "gateway over limit",
        "evenkeel_farm_gateway_over_limit_total",
        "Gateway tunnels refused by the tunnel limits.",
    ),
    (
        "gateway unreached",
        "evenkeel_farm_gateway_unreached_total",
        "Failed connections of tunnels to hosts.",
    ),
    (
        "gateway expired",
        "evenkeel_farm_gateway_expired_total",
        "Gateway tunnels closed by the idle timeout or the session limit.",
    ),
    (
        "agrees",
        "evenkeel_farm_node_agrees",
        "1 if the directory is in sync with the other node.",
    ),
];

/// Durations of decisions: number, metric, description, and percentile.
const DECISIONS: [(&str, &str, &str, u64); 3] = [
    (
        "decision p50 us",
        "evenkeel_farm_decision_p50_seconds",
        "Median latency of decisions over the last 1 to 2 h.",
        50,
    ),
    (
        "decision p99 us",
        "evenkeel_farm_decision_p99_seconds",
        "99th percentile latency of decisions over the last 1 to 2 h.",
        99,
    ),
    (
        "decision max us",
        "evenkeel_farm_decision_max_seconds",
        "Longest latency of a decision over the last 1 to 2 h.",
        100,
    ),
];

/// Numbers that are 1 for yes and 0 for no.
const FLAGS: [&str; 2] = ["agent answers", "agrees"];

pub fn rows() -> Vec<NumberRow> {
    let rows = ROWS.map(|(name, metric, words)| {
        let row = NumberRow::new(name, metric, words);
        if FLAGS.contains(&name) {
            row.flag()
        } else {
            row
        }
    });
    let decisions = DECISIONS.map(|(name, metric, words, _)| {
        NumberRow::new(name, metric, words).unit(Unit::Microseconds)
    });
    rows.into_iter().chain(decisions).collect()
}

impl FarmState {
    pub fn subject(&self) -> Subject {
        let mut inner = lock(&self.inner);
        let decisions = inner.decisions();
        let directory = &inner.agreement.directory;
        let users = inner.glance();
        let host = |(name, state): (&str, &HostState)| {
            let users = users.get(name);
            let sessions = users.map(|users| inner.lines(users));
            let unseen = users.map_or(0, |users| users.unseen);
            let mut subject = inner.host(name, state, unseen);
            subject.offers = offers(&self.name, name, state);
            subject.lines("sessions", sessions.unwrap_or_default())
        };
        let hosts: Vec<Subject> = directory.hosts().map(host).collect();
        let collections = inner.collections();
        let is_short = collections.iter().any(|(is_short, _)| *is_short);
        let takes = directory.taking(CollectionId::ALL);
        let silent = inner.silent_directory();
        let (word, grade) = match (inner.trouble().is_none(), takes) {
            (false, _) => ("closed", Grade::Bad),
            (true, 0) => ("full", Grade::Bad),
            (true, takes) if takes < hosts.len() || is_short || silent.is_some() => {
                ("degraded", Grade::Busy)
            }
            (true, _) => ("serving", Grade::Good),
        };
        let binds = inner.farm.binds.iter().map(|bind| bind.address.to_string());
        let mut subject = Subject::new("farm", &self.name)
            .label("farm")
            .state(word, grade)
            .list("listens", binds.collect())
            .fact("balance", inner.farm.balance.word());
        subject.why = match (inner.trouble(), takes) {
            (Some(trouble), _) => trouble.clone(),
            (None, 0) => silent
                .into_iter()
                .fold("no host accepts new users".to_owned(), |why, one| {
                    why + "; " + &one
                }),
            (None, _) => silent.unwrap_or_default(),
        };
        subject = add_counters(subject, inner.counters);
        if let Some(refused) = &inner.last_refused {
            subject = subject.fact("last refused token", refused.clone());
        }
        let nodes = inner.nodes();
        let subject = inner.gateway(subject);
        let subject = add_decisions(subject, decisions);
        let collections = collections.into_iter().map(|(_, subject)| subject);
        subject.children(hosts.into_iter().chain(collections).chain(nodes))
    }

    /// Returns whether a user can start something on these hosts: the user has a session there, or
    /// one of the hosts accepts users.
    pub fn is_open(&self, user: UserId, hosts: &BTreeSet<String>) -> bool {
        let inner = lock(&self.inner);
        let id = Assignee::new(user, inner.farm.collection(hosts));
        let now_ms = Moment::now().boottime_ms;
        inner.agreement.directory.is_open(id, now_ms)
    }

    /// Returns which hosts a user got, and would get now. Returns None if the farm has never seen
    /// the user.
    pub fn why(&self, user: &FarmUser) -> Option<AskedFarm> {
        let inner = lock(&self.inner);
        let steps = inner.history.of(user.id);
        let is_known = inner.agreement.directory.of_user(user.id).next().is_some();
        if steps.is_empty() && !is_known {
            return None;
        }
        // Copies the directory, which a query must not change.
        let mut directory: UserDirectory = inner.agreement.directory.clone();
        let now_ms = Moment::now().boottime_ms;
        let mut next = |collection| {
            let id = Assignee::new(user.id, collection);
            match directory.would_get(id, now_ms) {
                Ok(decision) => format!("{}: {}", decision.host, describe_reason(&decision.why)),
                Err(error) => format!("refused: {error}"),
            }
        };
        let of_token = inner.farm.all_collections().into_iter();
        let of_token = of_token.map(|(id, hosts)| AskedCollection {
            hosts: hosts.into_iter().collect(),
            starts: inner
                .farm
                .starts(id)
                .into_iter()
                .map(str::to_owned)
                .collect(),
            next: next(id),
        });
        let of_token = of_token.collect();
        Some(AskedFarm {
            farm: self.name.clone(),
            user: user.name.clone(),
            next: next(inner.farm.desktop()),
            collections: of_token,
            agent: inner.by_agent(user).unwrap_or_default(),
            steps,
        })
    }

    pub fn is_ordered(&self, host: &str) -> bool {
        let inner = lock(&self.inner);
        let mut hosts = inner.agreement.directory.hosts();
        hosts.any(|(name, state)| name == host && state.is_ordered)
    }

    /// Returns why a host accepts no new users; None if it accepts them.
    pub fn why_no_new_users(&self, host: &str) -> Option<String> {
        let inner = lock(&self.inner);
        let (_, state) = inner
            .agreement
            .directory
            .hosts()
            .find(|(name, _)| *name == host)?;
        let why = match state {
            _ if state.accepts_new_users() => return None,
            _ if state.is_drained => "drained by the option `drain`".to_owned(),
            _ if state.is_down() => {
                let checks = inner.checks.get(host).map(|checks| checks.why.as_str());
                format!("it is down: {}", checks.unwrap_or_default())
            }
            _ => by_agent(state).to_owned(),
        };
        Some(why)
    }

    pub fn has_host(&self, host: &str) -> bool {
        lock(&self.inner).farm.hosts.contains_key(host)
    }
}

impl FarmStateInner {
    fn trouble(&self) -> Option<&String> {
        self.troubles.rdp.iter().chain(&self.troubles.web).next()
    }

    fn silent_directory(&self) -> Option<String> {
        self.farm.users.directory.as_ref()?;
        let troubles = self.troubles.directory.as_ref()?.failed_servers();
        (!troubles.is_empty()).then(|| troubles.join("; "))
    }

    fn gateway(&self, mut subject: Subject) -> Subject {
        if self.farm.gateway.is_none() {
            return subject;
        }
        let counters = self.gateway.counters;
        let open = u64::try_from(self.gateway.open()).unwrap_or(u64::MAX);
        for (name, value) in [
            ("tunnels", open),
            ("tunnels opened", counters.opened),
            ("gateway unknown", counters.unknown),
            ("gateway denied", counters.denied),
            ("gateway malformed", counters.malformed),
            ("gateway slow", counters.slow),
            ("gateway over limit", counters.over),
            ("gateway unreached", counters.unreached),
            ("gateway expired", counters.expired),
        ] {
            subject = subject.number(name, value);
        }
        let web = self.farm.web.iter().map(|bind| bind.address.to_string());
        subject = subject.list("web", web.collect());
        let mut tunnels = self.gateway.shown();
        let more = tunnels.len().saturating_sub(TUNNELS_SHOWN);
        tunnels.truncate(TUNNELS_SHOWN);
        if more > 0 {
            tunnels.push(format!("and {more} more"));
        }
        subject = subject.list("tunnels", tunnels);
        let clients = [
            (counters.opened, "opened"),
            (counters.unknown, "not authenticated"),
            (counters.denied, "denied"),
            (counters.unreached, "host did not respond"),
            (counters.malformed, "malformed"),
            (counters.slow, "slow"),
            (counters.over, "over the limits"),
            (counters.expired, "expired"),
        ];
        let clients = clients.iter().filter(|(count, _)| *count > 0);
        let clients = clients.map(|(count, what)| format!("{count} {what}"));
        subject = subject.list("gateway", clients.collect());
        match &self.gateway.last_refused {
            Some(refused) => subject.fact("last refused at the gateway", refused.clone()),
            None => subject,
        }
    }

    /// Recent durations of decisions in microseconds, in the order of [`DECISIONS`]; None if there
    /// were none.
    fn decisions(&mut self) -> Option<[u64; DECISIONS.len()]> {
        let now = Instant::now();
        let [p50, p99, max] = DECISIONS.map(|(.., percent)| self.history.decision_us(percent, now));
        Some([p50?, p99?, max?])
    }

    fn nodes(&self) -> Vec<Subject> {
        let now = Moment::now();
        let key = self.key.check();
        let subject = |(node, standing, node_key): (&str, PeerStatus, KeyCheck)| {
            let is_synced = standing.state == PeerState::Synced;
            let has_other_key = is_synced && node_key != key;
            let (word, grade) = match standing.state {
                PeerState::Synced if has_other_key => ("other key", Grade::Bad),
                PeerState::Synced => ("agrees", Grade::Good),
                PeerState::Syncing { .. } => ("reading", Grade::Busy),
                PeerState::Awaited { .. } => ("awaited", Grade::Busy),
                PeerState::Broken { .. } => ("broken", Grade::Busy),
                PeerState::Gone => ("gone", Grade::Bad),
            };
            let age_ms = now.boottime_ms.saturating_sub(standing.since_ms);
            let mut subject = Subject::new("node", node)
                .label("node")
                .state(word, grade)
                .number("agrees", u64::from(is_synced));
            subject.since = Some(Moment {
                boottime_ms: standing.since_ms,
                unix_ms: now.unix_ms.saturating_sub(age_ms),
            });
            subject.why = if has_other_key {
                "it has another 'token-key': each node refuses the tokens of the other one"
                    .to_owned()
            } else {
                standing.why
            };
            subject
        };
        self.agreement.standings().map(subject).collect()
    }

    /// Returns a host for the report. `unseen` is the number of its users without a known session.
    fn host(&self, name: &str, state: &HostState, unseen: u64) -> Subject {
        let none = HostChecks::default();
        let checks = self.checks.get(name).unwrap_or(&none);
        let is_drained = state.is_drained || state.is_ordered || state.is_far || state.is_removed;
        let (word, grade) = match (state.health, is_drained || state.agent.is_drained()) {
            (Health::Down { .. }, _) => ("down", Grade::Bad),
            (_, true) => ("drained", Grade::Standby),
            _ if state.agent.is_down => ("down", Grade::Bad),
            _ if state.is_full() => ("full", Grade::Standby),
            (Health::Unknown, _) => ("unknown", Grade::Unknown),
            (Health::Up, _) => ("up", Grade::Good),
        };
        let mut subject = Subject::new("host", name)
            .label("host")
            .state(word, grade)
            .fact("address", state.address.to_string())
            .fact("users", users(&state.counts, unseen))
            .joined("weight", state.weight.to_string())
            .number("connected", state.counts.connected)
            .number("disconnected", state.counts.left.saturating_sub(unseen))
            .number("no session seen", unseen)
            .number("pending", state.counts.pending)
            .number("weight", state.weight.into());
        // Omits the time of a drain, because the health checks do not know when it began.
        subject.since = checks.since.filter(|_| word != "drained");
        subject.why = match (state.is_drained, state.is_ordered) {
            (_, true) if !checks.why.is_empty() => {
                format!("{}; drained by an operator", checks.why)
            }
            _ if !checks.why.is_empty() => checks.why.clone(),
            _ if state.is_removed => {
                "removed from all configurations; it stays until its sessions end".to_owned()
            }
            _ if state.is_far => "configured only on the other node".to_owned(),
            (true, _) => "drained by the option `drain`".to_owned(),
            (_, true) => "drained by an operator".to_owned(),
            _ => by_agent(state).to_owned(),
        };
        subject = self.agent(name, state, subject);
        subject.events = checks.events.iter().cloned().collect();
        subject
    }
}

fn add_counters(mut subject: Subject, counters: FarmCounters) -> Subject {
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
    // Omits counters that are zero.
    let clients = clients.iter().filter(|(count, _)| *count > 0);
    let clients = clients.map(|(count, what)| format!("{count} {what}"));
    subject.list("clients", clients.collect())
}

fn add_decisions(subject: Subject, took: Option<[u64; DECISIONS.len()]>) -> Subject {
    let Some(took @ [p50, p99, max]) = took else {
        return subject;
    };
    let ms = |us: u64| format!("{}.{:02} ms", us / 1_000, us % 1_000 / 10);
    let words = format!("p50 {}, p99 {}, max {}", ms(p50), ms(p99), ms(max));
    DECISIONS.iter().zip(took).fold(
        subject.fact("decisions", words),
        |subject, ((name, ..), us)| subject.number(name, us),
    )
}

fn by_agent(state: &HostState) -> &'static str {
    match state.agent.admin {
        Some(Admin::Drain) => "drained by its agent",
        Some(Admin::Maintenance) => "in maintenance, reported by its agent",
        _ if state.agent.is_down => "down, reported by its agent: it gets no new users",
        _ if state.is_full() => "it has the maximum number of sessions that its agent allows",
        _ if state.agent.percent == Some(0) => "its agent reports weight 0: it gets no new users",
        _ => "",
    }
}

fn users(counts: &Counts, unseen: u64) -> String {
    let Counts {
        pending,
        connected,
        left,
    } = counts;
    let left = left.saturating_sub(unseen);
    let words = format!("{connected} connected, {left} disconnected, {pending} pending");
    match unseen {
        0 => words,
        _ => format!("{words}, {unseen} without a session seen"),
    }
}
