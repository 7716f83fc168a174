//! Defines the part of a server's state that is behind its lock, and the result of a change.
//! `crate::control` changes it.

use super::{AdminState, HealthState, ServerState};
use crate::state::CheckResult;
use crate::state::outages::Outages;
use crate::state::proxy::LineupChange;
use std::net::SocketAddr;
use std::sync::Arc;

/// The complete state of a server. The atomics contain what threads that serve clients need of it.
#[derive(Debug)]
pub(crate) struct ServerControl {
    pub lifecycle: Lifecycle,
    pub admin: AdminState,
    pub file: FileSettings,
    pub checks: CheckState,
    pub weight: u32,
    pub warmup: Warmup,
    pub outages: Outages,
    pub location: Location,
    pub agent: super::agent::AgentControl,
    pub tracking: Tracking,
    /// Values at the last change of [`super::super::revision`]: flags, administrative state,
    /// health, weight.
    pub last_published: Option<(u32, AdminState, HealthState, u32)>,
}

/// Lifecycle of a server from the first file that contains it to the last.
#[derive(Debug, Default)]
pub(crate) struct Lifecycle {
    /// A configuration file has configured the server, and its backend counts it.
    pub configured: bool,
    /// The backend counts the server among its usable ones.
    pub counted: bool,
    /// True once the first configuration file was applied. From then on, events count as changes.
    pub begun: bool,
    pub retired: bool,
}

/// Settings of the server in the last configuration file, to detect changes in the next one.
#[derive(Debug)]
pub(crate) struct FileSettings {
    pub disabled: bool,
    pub weight: u32,
    pub maxconn: u32,
}

#[derive(Debug)]
pub(crate) struct CheckState {
    pub enabled: bool,
    pub health: HealthState,
    /// Position between down and up: a server is down from 0 to rise - 1, and up from rise to rise
    /// + fall - 1.
    pub streak: u32,
    pub rise: u32,
    pub fall: u32,
    pub failures: u32,
    pub last: CheckResult,
    pub last_ms: Option<u64>,
    /// Address and port of health checks that an operator set: see
    /// [`super::ServerState::check_set`].
    pub target: (Option<std::net::IpAddr>, Option<u16>),
}

impl CheckState {
    pub(crate) fn top(&self) -> u32 {
        self.rise + self.fall - 1
    }

    /// Resets to the initial state: up until the first check reports otherwise.
    pub(crate) fn restart(&mut self) {
        self.health = HealthState::Up;
        self.streak = self.rise;
    }
}

#[derive(Debug, Default)]
pub(crate) struct Warmup {
    pub slowstart_ms: u32,
    /// Start of the slow start; None if there is none.
    pub since_ms: Option<u64>,
}

/// Address of the server, if it differs from the one in the configuration file.
#[derive(Debug, Default)]
pub(crate) struct Location {
    pub address: Option<SocketAddr>,
    /// If set: the port is that of each client's connection plus this offset.
    pub port_offset: Option<i32>,
    pub unresolved: bool,
    /// The host name in the configuration file was not resolved at the start.
    pub file_unresolved: bool,
    /// The host name is resolved at run time.
    pub follows: bool,
    pub host: Option<Box<super::HostNow>>,
}

/// The server whose state this one follows (`track`), and the inherited state.
#[derive(Debug, Default)]
pub(crate) struct Tracking {
    pub server: Option<Arc<ServerState>>,
    pub inherited: Option<super::agent::Inherited>,
    /// Change caused by the tracked server that is not logged yet.
    pub unlogged_change: Option<super::agent::ByTracked>,
}

impl Default for ServerControl {
    fn default() -> Self {
        ServerControl {
            lifecycle: Lifecycle::default(),
            admin: AdminState::Ready,
            file: FileSettings {
                disabled: false,
                weight: 1,
                maxconn: 0,
            },
            checks: CheckState {
                enabled: false,
                health: HealthState::Up,
                streak: 2,
                rise: 2,
                fall: 3,
                failures: 0,
                last: CheckResult::new(Default::default(), 0),
                last_ms: None,
                target: (None, None),
            },
            weight: 1,
            warmup: Warmup::default(),
            outages: Outages::default(),
            location: Location::default(),
            agent: Default::default(),
            tracking: Tracking::default(),
            last_published: None,
        }
    }
}

/// Result of a change, for logs. A server in maintenance is not up. A usable server can be chosen
/// by the balance algorithm.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ServerChange {
    pub was_up: bool,
    pub is_up: bool,
    pub was_usable: bool,
    pub is_usable: bool,
    /// State of the backend after the change.
    pub lineup: LineupChange,
    /// Number of waiting streams that were moved to other servers, or to this one.
    pub requeued: u32,
}

impl ServerChange {
    /// Returns whether the server became up, down, usable or unusable.
    pub fn happened(&self) -> bool {
        self.was_up != self.is_up || self.was_usable != self.is_usable
    }
}

/// Origin of the state of a server when a configuration file is applied.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Adoption {
    Fresh,
    /// The state under an earlier configuration file, with what the new file changes.
    Adopted,
}
