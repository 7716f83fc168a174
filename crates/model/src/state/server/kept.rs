//! Collects the state of a server with which another process continues; `proxy::carry` transfers
//! it. Times are ages, because the clocks of two processes have different origins.

use super::{AdminState, HealthState, ServerState};
use crate::state::CheckResult;
use std::net::SocketAddr;

/// Maximum accepted age and duration, in milliseconds: a century.
pub const AGE_MAX_MS: u64 = 100 * 365 * 24 * 3600 * 1000;
/// Maximum accepted number of changes and failures, so that counting cannot overflow.
pub const COUNT_MAX: u32 = u32::MAX / 2;

/// State of a server as one process passes it to another.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Kept {
    pub admin: AdminState,
    /// The server had `disabled` in the configuration file under which the state was recorded.
    pub file_disabled: bool,
    pub health: HealthState,
    /// Position between down and fully up, as in [`super::report::ServerReport`].
    pub streak: u32,
    pub rise: u32,
    pub fall: u32,
    pub checked: bool,
    pub weight: u32,
    pub file_weight: u32,
    /// Limit as currently set; 0 means no limit.
    pub maxconn: u32,
    pub file_maxconn: u32,
    /// Time since the start of the slow start; None if there is none.
    pub warming_for_ms: Option<u64>,
    pub last_change_ago_ms: u64,
    pub downtime_ms: u64,
    /// Time since the server went down; None if it is up.
    pub down_for_ms: Option<u64>,
    /// Last check, and the time since it ended.
    pub last_check: Option<(CheckResult, u64)>,
    pub check_failures: u32,
    /// The address that an operator set.
    pub address: Option<SocketAddr>,
    /// TLS setting of an operator; None if not set.
    pub tls: Option<bool>,
}

impl Default for Kept {
    fn default() -> Self {
        Kept {
            admin: AdminState::Ready,
            file_disabled: false,
            health: HealthState::Up,
            streak: 0,
            rise: 0,
            fall: 0,
            checked: false,
            weight: 1,
            file_weight: 1,
            maxconn: 0,
            file_maxconn: 0,
            warming_for_ms: None,
            last_change_ago_ms: 0,
            downtime_ms: 0,
            down_for_ms: None,
            last_check: None,
            check_failures: 0,
            address: None,
            tls: None,
        }
    }
}

impl ServerState {
    /// Returns the state for another process.
    pub fn keep(&self, now_ms: u64) -> Kept {
        let control = self.control();
        let ago = |ms: u64| now_ms.saturating_sub(ms);
        Kept {
            admin: control.admin,
            file_disabled: control.file.disabled,
            health: control.checks.health,
            streak: control.checks.streak,
            rise: control.checks.rise,
            fall: control.checks.fall,
            checked: control.checks.enabled,
            weight: control.weight,
            file_weight: control.file.weight,
            maxconn: self.maxconn(),
            file_maxconn: control.file.maxconn,
            warming_for_ms: control.warmup.since_ms.map(ago),
            last_change_ago_ms: ago(control.outages.last_change_ms),
            downtime_ms: control.outages.over_ms,
            down_for_ms: control.outages.since_ms.map(ago),
            last_check: control
                .checks
                .last_ms
                .map(|ended| (control.checks.last.clone(), ago(ended))),
            check_failures: control.checks.failures,
            address: control.location.address,
            tls: self.tls_override(),
        }
    }
}
