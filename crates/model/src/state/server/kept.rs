//! What of a server's state another process takes over: facts with ages in
//! place of times, because the clocks of two processes have different zeros.
//! Only told and taken in here; how it travels is `proxy::carry`'s.

use super::{AdminState, HealthState, ServerState};
use crate::state::CheckResult;
use std::net::SocketAddr;

/// Maximum accepted age and duration, in milliseconds: a century.
pub const AGE_MAX_MS: u64 = 100 * 365 * 24 * 3600 * 1000;
/// Maximum accepted number of changes and failures, so that counting cannot overflow.
pub const COUNT_MAX: u32 = u32::MAX / 2;

/// A server's state, as one process tells it another.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Kept {
    /// What an operator wants.
    pub admin: AdminState,
    /// `disabled` of the file that the state was made by.
    pub file_disabled: bool,
    /// What the checks found.
    pub health: HealthState,
    /// Where it stands between down and surely up.
    pub streak: u32,
    /// `rise` of that file.
    pub rise: u32,
    /// `fall` of that file.
    pub fall: u32,
    /// `check` of that file.
    pub checked: bool,
    /// The weight as set.
    pub weight: u32,
    /// The weight of that file.
    pub file_weight: u32,
    /// The limit as set; 0 is none.
    pub maxconn: u32,
    /// The limit of that file.
    pub file_maxconn: u32,
    /// How long it has been warming up, where it does.
    pub warming_for_ms: Option<u64>,
    /// How long ago it changed.
    pub last_change_ago_ms: u64,
    /// Down times that are over.
    pub downtime_ms: u64,
    /// How long it has been down, where it is.
    pub down_for_ms: Option<u64>,
    /// The last check and how long ago it ended.
    pub last_check: Option<(CheckResult, u64)>,
    /// Failed checks.
    pub check_failures: u32,
    /// The address that an operator set.
    pub address: Option<SocketAddr>,
    /// Whether one switched TLS on or off.
    pub tls: Option<bool>,
}

impl Default for Kept {
    /// A server of which nothing is known: up, as at a start.
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
    /// Its state for another process.
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
