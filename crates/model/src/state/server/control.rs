//! What stands behind the lock of a server's state, and what came of a change.
//! `crate::control` changes it.

use super::{AdminState, HealthState, ServerState};
use crate::state::CheckResult;
use crate::state::outages::Outages;
use crate::state::proxy::LineupChange;
use std::net::SocketAddr;
use std::sync::Arc;

/// What is behind the atomics.
#[derive(Debug)]
pub(crate) struct Control {
    pub lifecycle: Lifecycle,
    pub admin: AdminState,
    pub file: FileSettings,
    pub checks: Checks,
    pub weight: u32,
    pub warmup: Warmup,
    pub outages: Outages,
    pub location: Location,
    pub agent: super::agent::AgentControl,
    pub tracking: Tracking,
    /// What the revision has counted: flags, the operator's wish, health, weight.
    pub told: Option<(u32, AdminState, HealthState, u32)>,
}

/// How far it is between its first file and its last.
#[derive(Debug, Default)]
pub(crate) struct Lifecycle {
    /// A file described it; its backend counts it.
    pub configured: bool,
    /// As counted by the backend.
    pub counted: bool,
    /// Its first file has been taken in: what happens to it now is a change.
    pub begun: bool,
    /// The newest file has it no more.
    pub retired: bool,
}

/// Settings of the last file, to see when the next one has others.
#[derive(Debug)]
pub(crate) struct FileSettings {
    pub disabled: bool,
    pub weight: u32,
    pub maxconn: u32,
}

/// What its checks found.
#[derive(Debug)]
pub(crate) struct Checks {
    /// The file has checks.
    pub enabled: bool,
    pub health: HealthState,
    /// 0..rise is down, rise..rise+fall is up.
    pub streak: u32,
    pub rise: u32,
    pub fall: u32,
    pub failures: u32,
    pub last: CheckResult,
    pub last_ms: Option<u64>,
    /// See [`super::ServerState::check_set`].
    pub target: (Option<std::net::IpAddr>, Option<u16>),
}

impl Checks {
    /// The highest streak.
    pub(crate) fn top(&self) -> u32 {
        self.rise + self.fall - 1
    }

    /// As at the start: up, until the first check says otherwise.
    pub(crate) fn restart(&mut self) {
        self.health = HealthState::Up;
        self.streak = self.rise;
    }
}

/// `slowstart`.
#[derive(Debug, Default)]
pub(crate) struct Warmup {
    pub slowstart_ms: u32,
    /// Since when it warms up.
    pub since_ms: Option<u64>,
}

/// Where it is, if not where the file says.
#[derive(Debug, Default)]
pub(crate) struct Location {
    pub address: Option<SocketAddr>,
    /// With an address: the port is that of each client, and so many more.
    pub port_offset: Option<i32>,
    pub unresolved: bool,
    /// The file's address is none.
    pub file_unresolved: bool,
    /// Its name is followed.
    pub follows: bool,
    /// See [`super::ServerState::host`].
    pub host: Option<Box<super::HostNow>>,
}

/// The server whose state it has (`track`), and what that is.
#[derive(Debug, Default)]
pub(crate) struct Tracking {
    pub server: Option<Arc<ServerState>>,
    pub inherited: Option<super::agent::Inherited>,
    /// What that changed, until logs tell it.
    pub told: Option<super::agent::ByTracked>,
}

impl Default for Control {
    fn default() -> Self {
        Control {
            lifecycle: Lifecycle::default(),
            admin: AdminState::Ready,
            file: FileSettings {
                disabled: false,
                weight: 1,
                maxconn: 0,
            },
            checks: Checks {
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
            told: None,
        }
    }
}

/// What a change did, for logs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Change {
    /// Up (and not in maintenance) before.
    pub was_up: bool,
    /// Up (and not in maintenance) now.
    pub is_up: bool,
    /// Balanced to before.
    pub was_usable: bool,
    /// Balanced to now.
    pub is_usable: bool,
    /// The backend now.
    pub lineup: LineupChange,
    /// Waiting streams that were sent to other servers, or that it took over.
    pub requeued: u32,
}

impl Change {
    /// Whether anything of interest changed.
    pub fn happened(&self) -> bool {
        self.was_up != self.is_up || self.was_usable != self.is_usable
    }
}

/// What of an earlier file's state a new one takes over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Adoption {
    /// Nothing: a new server.
    Fresh,
    /// Everything that the new file does not say otherwise.
    Adopted,
}
