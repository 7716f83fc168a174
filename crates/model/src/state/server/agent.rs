//! What an agent said of a server, and servers whose state follows another's.
//! What an agent says stands beside what checks find: a server is up where
//! neither says that it is down.

use super::control::Change;
use super::{AdminState, HealthState, ServerState};
use crate::setting::OnError;
use crate::state::{CheckResult, CheckStatus};
use std::borrow::Cow;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Weak};

/// What an agent said of health.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AgentVerdict {
    /// Nothing.
    Nothing,
    /// It is well.
    Up,
    /// It is not.
    Down,
}

/// How one visit to an agent ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AgentResult {
    /// The status of a check; None where the agent said nothing of health.
    pub status: Option<CheckStatus>,
    /// More, for people.
    pub info: Cow<'static, str>,
    /// How long it took.
    pub duration_ms: u32,
}

impl AgentResult {
    /// The short code of the statistics.
    pub fn code(&self) -> &'static str {
        self.status.map_or("CHECKED", CheckStatus::code)
    }

    /// The words of the statistics.
    pub fn text(&self) -> &'static str {
        self.status.map_or("No status change", CheckStatus::text)
    }
}

/// An agent, as statistics see it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AgentReport {
    /// It says that the server is down.
    pub down: bool,
    /// An operator lets it rest.
    pub stopped: bool,
    /// Its last visit.
    pub last: Option<AgentResult>,
}

/// The agent of a server.
#[derive(Clone, Debug, Default)]
pub(crate) struct AgentControl {
    /// The file has one.
    pub configured: bool,
    pub stopped: bool,
    pub down: bool,
    pub last: Option<AgentResult>,
    /// What an operator sets in place of the file's: host, port, text.
    pub address: Option<std::net::IpAddr>,
    pub port: Option<u16>,
    pub send: Option<Arc<[u8]>>,
}

/// What a server has of the one that it tracks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Inherited {
    pub health: HealthState,
    pub maintenance: bool,
    pub drain: bool,
}

/// What the server that one tracks did to it.
#[derive(Clone, Copy, Debug)]
pub struct ByTracked {
    /// What changed.
    pub change: Change,
    /// The tracked one was in maintenance before.
    pub was_maintained: bool,
}

/// Where the agent of a server is and what it is sent.
#[derive(Clone, Debug, Default)]
pub struct AgentSet {
    /// The host that an operator set.
    pub address: Option<std::net::IpAddr>,
    /// The port that an operator set.
    pub port: Option<u16>,
    /// The text that an operator set.
    pub send: Option<Arc<[u8]>>,
}

impl ServerState {
    /// Takes what an agent said of health. Says what changed, and whether this is
    /// another result than the last.
    pub fn take_agent(
        self: &Arc<Self>,
        said: AgentVerdict,
        result: AgentResult,
        now_ms: u64,
    ) -> (Change, bool) {
        let moved = {
            let mut control = self.control();
            let agent = &mut control.agent;
            let before = (agent.down, agent.last.as_ref().and_then(|last| last.status));
            match said {
                AgentVerdict::Nothing => {}
                AgentVerdict::Up => agent.down = false,
                AgentVerdict::Down => agent.down = true,
            }
            let status = result.status;
            agent.last = Some(result);
            before != (agent.down, status) && said != AgentVerdict::Nothing
        };
        (self.settle(now_ms), moved)
    }

    /// `disable agent` and `enable agent`. A server that it says is down stays so.
    pub fn stop_agent(&self, stopped: bool) {
        self.control().agent.stopped = stopped;
    }

    /// Whether an operator stopped its agent.
    pub fn agent_stopped(&self) -> bool {
        self.control().agent.stopped
    }

    /// Whether its agent is asked.
    pub fn has_agent(&self) -> bool {
        let control = self.control();
        control.agent.configured && !control.agent.stopped
    }

    /// What an operator set of its agent.
    pub fn agent_set(&self) -> AgentSet {
        let control = self.control();
        let agent = &control.agent;
        AgentSet {
            address: agent.address,
            port: agent.port,
            send: agent.send.clone(),
        }
    }

    /// An operator sets something of its agent; what is None stays.
    pub fn set_agent(&self, set: AgentSet) {
        let mut control = self.control();
        let agent = &mut control.agent;
        agent.address = set.address.or(agent.address);
        agent.port = set.port.or(agent.port);
        if set.send.is_some() {
            agent.send = set.send;
        }
    }

    /// Where an operator has its checks go, in place of what the file says: host
    /// and port.
    pub fn check_set(&self) -> (Option<std::net::IpAddr>, Option<u16>) {
        self.control().checks.target
    }

    /// The same to be set; what is None stays.
    pub fn set_check(&self, ip: Option<std::net::IpAddr>, port: Option<u16>) {
        let mut control = self.control();
        let now = control.checks.target;
        control.checks.target = (ip.or(now.0), port.or(now.1));
    }

    /// Its state is another server's from now on, or its own again.
    pub(crate) fn track(self: &Arc<Self>, other: Option<&Arc<Self>>, now_ms: u64) {
        {
            let mut control = self.control();
            let now = control.tracking.server.as_ref();
            let same = match (now, other) {
                (Some(now), Some(other)) => Arc::ptr_eq(now, other),
                (None, None) => true,
                _ => false,
            };
            if same {
                return;
            }
            control.tracking.server = other.cloned();
            if other.is_none() {
                control.tracking.inherited = None;
            }
        }
        if let Some(other) = other {
            let me = Arc::downgrade(self);
            let mut trackers = other.trackers();
            trackers.retain(|known| known.strong_count() > 0 && !Weak::ptr_eq(known, &me));
            trackers.push(me);
            drop(trackers);
            self.inherit(other.told(), now_ms);
            // It begins so, which is no news.
            self.control().tracking.told = None;
        } else {
            self.settle(now_ms);
        }
    }

    /// The server whose state it has.
    pub fn tracked(&self) -> Option<Arc<ServerState>> {
        self.control().tracking.server.clone()
    }

    /// What others have of it.
    fn told(&self) -> Inherited {
        let control = self.control();
        Inherited {
            health: match control.agent.down {
                true => HealthState::Down,
                false => control.checks.health,
            },
            maintenance: control.in_maintenance(),
            drain: control.admin == AdminState::Drain,
        }
    }

    fn inherit(self: &Arc<Self>, inherited: Inherited, now_ms: u64) {
        if self.control().tracking.inherited == Some(inherited) {
            return;
        }
        let before = self.control().tracking.inherited.replace(inherited);
        let was_maintained = before.is_some_and(|before| before.maintenance);
        let change = self.settle(now_ms);
        let mut control = self.control();
        let told = match control.tracking.told.take() {
            // Nobody has told of the one before: both are one.
            Some(before) => ByTracked {
                change: Change {
                    was_up: before.change.was_up,
                    was_usable: before.change.was_usable,
                    ..change
                },
                ..before
            },
            None => ByTracked {
                change,
                was_maintained,
            },
        };
        control.tracking.told = Some(told);
    }

    /// Tells those who track it how it is now. Not under a lock.
    pub(crate) fn tell_trackers(self: &Arc<Self>, now_ms: u64) {
        let trackers: Vec<Arc<ServerState>> = {
            let trackers = self.trackers();
            if trackers.is_empty() {
                return;
            }
            // The last one first, as with HAProxy.
            trackers.iter().rev().filter_map(Weak::upgrade).collect()
        };
        let told = self.told();
        for tracker in trackers {
            let follows = tracker.tracked();
            // It may track another by now.
            if follows.is_some_and(|other| Arc::ptr_eq(&other, self)) {
                tracker.inherit(told, now_ms);
            }
        }
    }

    /// What became of it by the one that it tracks, once, for logs.
    pub fn take_told_by_tracked(&self) -> Option<ByTracked> {
        self.control().tracking.told.take()
    }

    /// As many errors of its traffic as `error-limit` says: a failed check, and how
    /// grave a one.
    pub fn fail_by_traffic(
        self: &Arc<Self>,
        how: OnError,
        result: CheckResult,
        now_ms: u64,
    ) -> (Change, bool) {
        {
            let mut control = self.control();
            let rise = control.checks.rise;
            match how {
                OnError::SuddenDeath if control.checks.streak > rise => {
                    control.checks.streak = rise + 1
                }
                OnError::MarkDown if control.checks.streak > rise => control.checks.streak = rise,
                _ => {}
            }
        }
        self.take_check(result, now_ms)
    }

    /// An error of its traffic; says to who observes it when they are as many as a
    /// limit in a row.
    pub fn count_error(&self, limit: u32, what: &'static str) {
        if self.followers.errors_in_row.fetch_add(1, Relaxed) + 1 < limit {
            return;
        }
        self.followers.errors_in_row.store(0, Relaxed);
        let observer = self.observer().clone();
        if let Some(observer) = observer.and_then(|observer| observer.upgrade()) {
            observer.errors(self.uid, what);
        }
    }

    /// Its traffic is well.
    pub fn forgive_errors(&self) {
        if self.followers.errors_in_row.load(Relaxed) != 0 {
            self.followers.errors_in_row.store(0, Relaxed);
        }
    }

    /// Who is told when there were too many errors.
    pub fn observe_by(&self, observer: Weak<dyn TakesErrors>) {
        *self.observer() = Some(observer);
    }
}

/// Receiver of errors of a server's traffic. Called on serving threads.
pub trait TakesErrors: Send + Sync + std::fmt::Debug {
    /// A server, by its uid, had too many in a row; the last was this.
    fn errors(&self, uid: u32, what: &'static str);
}
