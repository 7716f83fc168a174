//! Schedules the polls of a farm's host agents, applies their results, and shows them to operators.

use super::{FarmState, FarmStateInner};
use crate::agent::report::AgentReply;
use crate::agreement::START_MS;
use crate::collection::Assignee;
use crate::config::Agent;
use crate::directory::{HostState, News, ReportedUser, Times};
use crate::history::HistoryStep;
use crate::user::{FarmUser, UserId};
use part::lock;
use part::report::{Moment, Subject, span};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::timeout;

const CHECK: &str = "check";
/// Maximum number of users in one report that get a step in the history.
const STEPS_MAX: usize = 20;

#[derive(Debug, Default)]
pub(super) struct AgentPolls {
    answered: Option<Moment>,
    /// End of the last poll, successful or not.
    asked: Option<Moment>,
    trouble: String,
    /// Time and text of the last error; kept after a successful poll.
    last_trouble: Option<(Moment, String)>,
    description: String,
}

/// Agent that has to be polled.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ToAsk {
    pub host: String,
    pub address: SocketAddr,
    pub interval: Duration,
    pub line: String,
}

impl FarmState {
    /// Returns the agents, with the line for each of them.
    pub fn agents(&self) -> Vec<ToAsk> {
        let inner = lock(&self.inner);
        let hosts = inner.agreement.directory.hosts();
        let all = hosts.filter_map(|(name, state)| {
            let Agent { port, interval_ms } = *inner.farm.agents.hosts.get(name)?;
            Some(ToAsk {
                host: name.to_owned(),
                address: SocketAddr::new(state.address.ip(), port),
                interval: Duration::from_millis(interval_ms),
                line: match inner.notice(state) {
                    Some(notice) => format!("notice {notice}"),
                    None => CHECK.to_owned(),
                },
            })
        });
        let all: Vec<ToAsk> = all.collect();
        self.set_all_polled(all.is_empty());
        all
    }

    /// Applies the result of a poll: a report, or the reason why there is none.
    pub fn record_poll(&self, host: &str, asked_ms: u64, result: Result<AgentReply, String>) {
        let has_all = {
            let mut inner = lock(&self.inner);
            if !inner.farm.agents.hosts.contains_key(host) {
                return;
            }
            let now = Moment::now();
            inner.note_agent(host, now, &result);
            if let Ok(report) = &result {
                let now_ms = now.boottime_ms;
                let times = Times { asked_ms, now_ms };
                let news = inner.agreement.reported(host, report, times);
                inner.has_changed |= news != News::default();
                inner.note_news(host, &news, now);
            }
            let is_asked = |host: &String| {
                let checks = inner.checks.get(host);
                checks.is_some_and(|checks| checks.agent.asked.is_some())
            };
            inner.farm.agents.hosts.keys().all(is_asked)
        };
        self.set_all_polled(has_all);
        self.ring();
    }

    /// Records whether all agents have been polled at least once; true if there are none.
    fn set_all_polled(&self, has_all: bool) {
        if has_all {
            self.heard
                .send_if_modified(|heard| !std::mem::replace(heard, true));
        }
    }

    /// Waits after the start until all agents have reported their sessions. Only logons of unknown
    /// users wait, and for a limited time.
    pub(super) async fn wait_for_agents(&self, id: Assignee) {
        let is_known = {
            let inner = lock(&self.inner);
            let now_ms = Moment::now().boottime_ms;
            inner.agreement.directory.is_served(id, now_ms)
        };
        let left = Duration::from_millis(START_MS).saturating_sub(self.began.elapsed());
        if is_known || left.is_zero() {
            return;
        }
        let mut heard: watch::Receiver<bool> = self.heard.subscribe();
        // Ignores a timeout, and with it an agent that does not reply in time.
        let _ = timeout(left, heard.wait_for(|heard| *heard)).await;
    }

    pub fn notice_for(&self, user: UserId) -> Option<String> {
        let inner = lock(&self.inner);
        let directory = &inner.agreement.directory;
        let notice = |host: &String| {
            let (_, state) = directory.hosts().find(|(name, _)| name == host)?;
            inner.notice(state).map(str::to_owned)
        };
        directory
            .of_user(user)
            .find_map(|(_, entry)| notice(&entry.host))
    }
}

impl FarmStateInner {
    fn notice(&self, state: &HostState) -> Option<&str> {
        let is_drained = state.is_drained || state.is_ordered || state.agent.is_drained();
        let notice = self.farm.agents.notice.as_str();
        (is_drained && !notice.is_empty()).then_some(notice)
    }

    fn note_agent(&mut self, host: &str, now: Moment, result: &Result<AgentReply, String>) {
        let agent = &mut self.checks.entry(host.to_owned()).or_default().agent;
        agent.asked = Some(now);
        let trouble = match result {
            Ok(report) => {
                agent.answered = Some(now);
                agent.trouble.clear();
                agent.description.clone_from(&report.description);
                let cut = report
                    .sessions
                    .as_ref()
                    .filter(|sessions| !sessions.is_whole());
                let cut = cut.map(|sessions| {
                    let (named, count) = (sessions.named.len(), sessions.count);
                    format!("{named} of {count} sessions are named")
                });
                cut.or_else(|| Some(format!("unknown: {}", report.unknown.as_ref()?)))
            }
            Err(why) => {
                agent.trouble.clone_from(why);
                Some(why.clone())
            }
        };
        if let Some(trouble) = trouble {
            agent.last_trouble = Some((now, trouble));
        }
    }

    fn note_news(&mut self, host: &str, news: &News, now: Moment) {
        let mut step = |user: UserId, got: String, why: String| {
            let step = HistoryStep {
                at: now,
                node: String::new(),
                from: host.to_owned(),
                asked: "agent".to_owned(),
                got,
                why,
            };
            self.history.add(user, step);
        };
        for user in news.known.iter().take(STEPS_MAX) {
            let why = format!("the agent of {host} reports a session of the user");
            step(*user, format!("known at {host}"), why);
        }
        for user in news.over.iter().take(STEPS_MAX) {
            let why = format!("the agent of {host} no longer reports the session");
            step(*user, "the session is over".to_owned(), why);
        }
    }

    pub(super) fn by_agent(&self, user: &FarmUser) -> Option<String> {
        let directory = &self.agreement.directory;
        let hosts = directory.of_user(user.id).map(|(_, entry)| &entry.host);
        let hosts: BTreeSet<&String> = hosts.collect();
        let all = hosts
            .into_iter()
            .filter_map(|host| self.by_agent_of(user, host));
        let all: Vec<String> = all.collect();
        (!all.is_empty()).then(|| all.join("; "))
    }

    fn by_agent_of(&self, user: &FarmUser, host: &str) -> Option<String> {
        let seen = self.agreement.directory.seen(user.id, host)?;
        let state = seen_word(seen);
        let age_ms = Moment::now().boottime_ms.saturating_sub(seen.at_ms);
        let since = match seen.since_s {
            Some(seconds) => format!(" for {}", span(age_ms + seconds * 1_000)),
            None => String::new(),
        };
        let ago = span(age_ms);
        Some(format!(
            "the agent of {host} reported the session {ago} ago: {state}{since}"
        ))
    }

    pub(super) fn agent(&self, name: &str, state: &HostState, subject: Subject) -> Subject {
        let Some(agent) = self.farm.agents.hosts.get(name) else {
            return subject;
        };
        let now_ms = Moment::now().boottime_ms;
        let ago = |at: Moment| span(now_ms.saturating_sub(at.boottime_ms));
        let none = AgentPolls::default();
        let asked = self.checks.get(name).map_or(&none, |checks| &checks.agent);
        let is_silent = !asked.trouble.is_empty();
        let answers = asked.answered.is_some() && !is_silent;
        let mut words = match (asked.answered, is_silent) {
            (None, false) => vec!["not queried yet".to_owned()],
            (None, true) => vec!["never responded".to_owned()],
            (Some(at), true) => vec![format!("silent for {}", ago(at))],
            (Some(at), false) => vec![format!("responded {} ago", ago(at))],
        };
        words.extend(format_report(state));
        words.extend(Some(asked.description.clone()).filter(|text| !text.is_empty()));
        let trouble = asked.last_trouble.as_ref();
        let mut subject = subject
            .fact("agent", words.join(", "))
            .joined("agent port", agent.port.to_string())
            .number("agent answers", u64::from(answers));
        if let Some(sessions) = state.agent.sessions {
            subject = subject.number("agent sessions", sessions);
        }
        if let Some((at, why)) = trouble {
            let words = format!("{why} ({} ago)", ago(*at));
            subject = subject.fact("last trouble of the agent", words);
        }
        subject
    }
}

fn format_report(state: &HostState) -> Vec<String> {
    let agent = &state.agent;
    let mut words = Vec::new();
    words.extend(agent.is_down.then(|| "down".to_owned()));
    words.extend(agent.admin.map(|admin| admin.word().to_owned()));
    words.extend(agent.percent.map(|percent| format!("{percent}%")));
    words.extend(agent.maxconn.map(|most| format!("maxconn {most}")));
    words.extend(agent.sessions.map(|count| match count {
        1 => "1 session".to_owned(),
        _ => format!("{count} sessions"),
    }));
    words
}

pub(super) fn seen_word(seen: &ReportedUser) -> &'static str {
    if seen.is_active {
        "active"
    } else {
        "disconnected"
    }
}
