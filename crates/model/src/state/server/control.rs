//! What stands behind the lock of a server's state, and what came of a change.
//! `crate::control` changes it.

use super::{AdminState, HealthState, ServerState};
use crate::state::CheckResult;
use crate::state::proxy::LineupChange;
use std::net::SocketAddr;
use std::sync::Arc;

/// What is behind the atomics.
#[derive(Debug)]
pub(crate) struct Control {
    /// A file described it; its backend counts it.
    pub configured: bool,
    /// As counted by the backend.
    pub counted: bool,
    /// Its first file has been taken in: what happens to it now is a change.
    pub begun: bool,
    /// The newest file has it no more.
    pub retired: bool,
    pub admin: AdminState,
    /// The last file's word, to see when the next one says otherwise.
    pub file_disabled: bool,
    pub unresolved: bool,
    /// The file's address is none.
    pub file_unresolved: bool,
    pub health: HealthState,
    /// 0..rise is down, rise..rise+fall is up.
    pub streak: u32,
    pub rise: u32,
    pub fall: u32,
    pub checked: bool,
    pub weight: u32,
    pub file_weight: u32,
    pub file_maxconn: u32,
    pub slowstart_ms: u32,
    /// Since when it warms up.
    pub warming_since_ms: Option<u64>,
    pub last_change_ms: u64,
    pub downtime_ms: u64,
    pub down_since_ms: Option<u64>,
    pub last_check: CheckResult,
    pub last_check_ms: Option<u64>,
    pub check_failures: u32,
    pub address: Option<SocketAddr>,
    /// With an address: the port is that of each client, and so many more.
    pub port_offset: Option<i32>,
    /// Its name is followed.
    pub follows: bool,
    /// See [`super::ServerState::host`].
    pub host: Option<Box<super::HostNow>>,
    pub agent: super::agent::AgentControl,
    /// See [`super::ServerState::check_set`].
    pub check_set: (Option<std::net::IpAddr>, Option<u16>),
    /// The server whose state it has, and what that is.
    pub tracked: Option<Arc<ServerState>>,
    pub inherited: Option<super::agent::Inherited>,
    /// What that changed, until logs tell it.
    pub told_by_tracked: Option<super::agent::ByTracked>,
    /// What the revision has counted: flags, the operator's wish, health, weight.
    pub told: Option<(u32, AdminState, HealthState, u32)>,
}

impl Default for Control {
    fn default() -> Self {
        Control {
            configured: false,
            counted: false,
            begun: false,
            retired: false,
            admin: AdminState::Ready,
            file_disabled: false,
            unresolved: false,
            file_unresolved: false,
            health: HealthState::Up,
            streak: 2,
            rise: 2,
            fall: 3,
            checked: false,
            weight: 1,
            file_weight: 1,
            file_maxconn: 0,
            slowstart_ms: 0,
            warming_since_ms: None,
            last_change_ms: 0,
            downtime_ms: 0,
            down_since_ms: None,
            last_check: CheckResult::new(Default::default(), 0),
            last_check_ms: None,
            check_failures: 0,
            address: None,
            port_offset: None,
            follows: false,
            host: None,
            agent: Default::default(),
            check_set: (None, None),
            tracked: None,
            inherited: None,
            told_by_tracked: None,
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
