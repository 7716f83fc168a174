//! Applies the results of a server's agent check, keeps servers in the state of another one that
//! they track (`track`), and counts the errors of a server's traffic (`observe`). Agent and health
//! checks count independently: a server is up if neither of them reports it down.

use super::control::ServerChange;
use super::{AdminState, HealthState, ServerState};
use crate::setting::OnError;
use crate::state::{CheckResult, CheckStatus};
use std::borrow::Cow;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Weak};

/// Health that an agent reported.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AgentVerdict {
    /// The agent reported no health.
    Nothing,
    Up,
    Down,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AgentResult {
    /// The result in terms of a health check; None if the agent reported no health.
    pub status: Option<CheckStatus>,
    pub info: Cow<'static, str>,
    pub duration_ms: u32,
}

impl AgentResult {
    pub fn code(&self) -> &'static str {
        self.status.map_or("CHECKED", CheckStatus::code)
    }

    pub fn text(&self) -> &'static str {
        self.status.map_or("No status change", CheckStatus::text)
    }
}

/// Status of an agent for statistics.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AgentReport {
    pub down: bool,
    /// An operator has disabled the agent check.
    pub stopped: bool,
    /// The last result; None before the first.
    pub last: Option<AgentResult>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct AgentControl {
    /// The configuration file has an agent check.
    pub configured: bool,
    pub stopped: bool,
    pub down: bool,
    pub last: Option<AgentResult>,
    /// Host, port and text of the agent check that an operator set in place of those in the
    /// configuration file.
    pub address: Option<std::net::IpAddr>,
    pub port: Option<u16>,
    pub send: Option<Arc<[u8]>>,
}

/// State that a server inherits from the one that it tracks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Inherited {
    pub health: HealthState,
    pub maintenance: bool,
    pub drain: bool,
}

/// A change of a server's state that the tracked server (`track`) caused.
#[derive(Clone, Copy, Debug)]
pub struct ByTracked {
    pub change: ServerChange,
    /// The tracked server was in maintenance before.
    pub was_maintained: bool,
}

/// Address of the agent, and the text to send to it, as far as an operator set them.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct AgentSet {
    pub address: Option<std::net::IpAddr>,
    pub port: Option<u16>,
    pub send: Option<Arc<[u8]>>,
}

impl ServerState {
    /// Applies the result of an agent check. Returns the change of state, and whether the agent
    /// reported a health or status that differs from its last one.
    pub fn take_agent(
        self: &Arc<Self>,
        said: AgentVerdict,
        result: AgentResult,
        now_ms: u64,
    ) -> (ServerChange, bool) {
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
        (self.recompute_state(now_ms), moved)
    }

    /// Disables or enables the agent check (`disable agent`, `enable agent`). A server that the
    /// agent reported down stays down.
    pub fn stop_agent(&self, stopped: bool) {
        self.control().agent.stopped = stopped;
    }

    pub fn agent_stopped(&self) -> bool {
        self.control().agent.stopped
    }

    pub fn has_agent(&self) -> bool {
        let control = self.control();
        control.agent.configured && !control.agent.stopped
    }

    pub fn agent_set(&self) -> AgentSet {
        let control = self.control();
        let agent = &control.agent;
        AgentSet {
            address: agent.address,
            port: agent.port,
            send: agent.send.clone(),
        }
    }

    /// Applies an operator's settings of the agent check; None leaves a setting as it is.
    pub fn set_agent(&self, set: AgentSet) {
        let mut control = self.control();
        let agent = &mut control.agent;
        agent.address = set.address.or(agent.address);
        agent.port = set.port.or(agent.port);
        if set.send.is_some() {
            agent.send = set.send;
        }
    }

    /// Returns the host and port that an operator set for health checks in place of those in the
    /// configuration file.
    pub fn check_set(&self) -> (Option<std::net::IpAddr>, Option<u16>) {
        self.control().checks.target
    }

    /// Sets the host and port for health checks; None leaves a setting as it is.
    pub fn set_check(&self, ip: Option<std::net::IpAddr>, port: Option<u16>) {
        let mut control = self.control();
        let now = control.checks.target;
        control.checks.target = (ip.or(now.0), port.or(now.1));
    }

    /// Makes the server follow the state of another one, or ends that with None.
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
            // Drops the change, because the state at the start is not logged.
            self.control().tracking.unlogged_change = None;
        } else {
            self.recompute_state(now_ms);
        }
    }

    pub fn tracked(&self) -> Option<Arc<ServerState>> {
        self.control().tracking.server.clone()
    }

    /// Returns the state that servers which track this one inherit.
    fn told(&self) -> Inherited {
        let control = self.control();
        Inherited {
            health: if control.agent.down {
                HealthState::Down
            } else {
                control.checks.health
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
        let change = self.recompute_state(now_ms);
        let mut control = self.control();
        let told = match control.tracking.unlogged_change.take() {
            // Combines this change with an earlier one that was not logged yet.
            Some(before) => ByTracked {
                change: ServerChange {
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
        control.tracking.unlogged_change = Some(told);
    }

    /// Passes the current state on to the servers that track this one. Must not be called under a
    /// lock.
    pub(crate) fn tell_trackers(self: &Arc<Self>, now_ms: u64) {
        let trackers: Vec<Arc<ServerState>> = {
            let trackers = self.trackers();
            if trackers.is_empty() {
                return;
            }
            // Updates the trackers in reverse order, as HAProxy does.
            trackers.iter().rev().filter_map(Weak::upgrade).collect()
        };
        let told = self.told();
        for tracker in trackers {
            let follows = tracker.tracked();
            // Skips a server that was reconfigured to track another one meanwhile.
            if follows.is_some_and(|other| Arc::ptr_eq(&other, self)) {
                tracker.inherit(told, now_ms);
            }
        }
    }

    /// Takes the change that the tracked server caused, for logs. Returns each change once.
    pub fn take_told_by_tracked(&self) -> Option<ByTracked> {
        self.control().tracking.unlogged_change.take()
    }

    /// Handles that traffic to the server had `error-limit` errors. `how` determines how far the
    /// server's health falls.
    pub fn fail_by_traffic(
        self: &Arc<Self>,
        how: OnError,
        result: CheckResult,
        now_ms: u64,
    ) -> (ServerChange, bool) {
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

    /// Counts an error of the server's traffic. Notifies the observer at `limit` errors in a row.
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

    /// Resets the count of errors in a row after a success.
    pub fn reset_error_count(&self) {
        if self.followers.errors_in_row.load(Relaxed) != 0 {
            self.followers.errors_in_row.store(0, Relaxed);
        }
    }

    /// Sets the observer that is notified of too many errors.
    pub fn observe_by(&self, observer: Weak<dyn TakesErrors>) {
        *self.observer() = Some(observer);
    }
}

/// Receives reports about errors in traffic to servers. Called on threads that serve clients.
pub trait TakesErrors: Send + Sync + std::fmt::Debug {
    /// Reports that the server with this uid had too many errors in a row; `what` was the last one.
    fn errors(&self, uid: u32, what: &'static str);
}
