//! Reports the state of a server for statistics and logs.

use super::{AdminState, AgentReport, HealthState, ServerState};
use crate::state::CheckResult;
use std::net::SocketAddr;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AdminReport {
    Ready,
    Drain,
    /// In maintenance by an operator or the file.
    Maintenance,
    /// In maintenance because its name has no address.
    Unresolved,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServerReport {
    pub admin: AdminReport,
    pub health: HealthState,
    /// Health checks are configured and not disabled by an operator.
    pub checked: bool,
    /// Position between down (0) and fully up (rise + fall - 1).
    pub streak: u32,
    pub rise: u32,
    pub fall: u32,
    /// `weight` as currently set.
    pub weight: u32,
    /// `weight` in the configuration file.
    pub file_weight: u32,
    /// Percentage of the weight during slow start, otherwise 100.
    pub throttle: u32,
    pub last_change_ms: u64,
    /// Total down time, including the current one.
    pub downtime_ms: u64,
    pub last_check: CheckResult,
    /// Time at which the last check ended; None before the first.
    pub last_check_ms: Option<u64>,
    pub check_failures: u32,
    /// The address that an operator set.
    pub address: Option<SocketAddr>,
    /// The host name has no address.
    pub unresolved: bool,
    /// Status of the agent check; None without one.
    pub agent: Option<AgentReport>,
    /// Tracked server: `backend/server`.
    pub tracked: Option<Box<str>>,
    pub tracked_maintenance: bool,
}

impl ServerReport {
    /// Returns the `status` column: `UP`, `UP 1/3`, `DOWN 1/2`, `NOLB`, `DRAIN`, `MAINT`, `no
    /// check`, …
    pub fn status_text(&self) -> String {
        match self.admin {
            AdminReport::Maintenance => return "MAINT".into(),
            AdminReport::Unresolved => return "MAINT (resolution)".into(),
            _ => {}
        }
        if let (true, Some(tracked)) = (self.tracked_maintenance, &self.tracked) {
            return format!("MAINT (via {tracked})");
        }
        if let Some(agent) = self.agent.as_ref().filter(|agent| !agent.stopped) {
            if agent.down {
                return "DOWN (agent)".into();
            }
            if self.admin == AdminReport::Drain {
                return "DRAIN (agent)".into();
            }
        } else if self.health == HealthState::Down && !self.checked {
            return "DOWN".into();
        }
        let draining = self.admin == AdminReport::Drain;
        if !self.checked {
            return if draining {
                "DRAIN".into()
            } else {
                "no check".into()
            };
        }
        let top = self.rise + self.fall - 1;
        if self.health == HealthState::Down {
            return match self.streak {
                0 => "DOWN".into(),
                streak => format!("DOWN {streak}/{}", self.rise),
            };
        }
        let word = match self.health {
            _ if draining => "DRAIN",
            HealthState::Stopping => "NOLB",
            _ => "UP",
        };
        if self.streak >= top {
            word.into()
        } else {
            format!(
                "{word} {}/{}",
                self.streak + 1 - self.rise.min(self.streak),
                self.fall
            )
        }
    }
}

impl ServerState {
    pub fn report(&self, now_ms: u64) -> ServerReport {
        // Reads the tracked server before the lock of this server is taken, to avoid a deadlock.
        let tracked = self.tracked().map(|other| {
            let report = other.report(now_ms);
            (format!("{}/{}", other.backend.name, other.name), report)
        });
        let mut report = self.own_report(now_ms);
        if let Some((name, other)) = tracked {
            report.tracked = Some(name.into());
            report.tracked_maintenance = matches!(
                other.admin,
                AdminReport::Maintenance | AdminReport::Unresolved
            );
            if (report.admin, other.admin) == (AdminReport::Ready, AdminReport::Drain) {
                report.admin = AdminReport::Drain;
            }
            (report.health, report.checked) = (other.health, other.checked);
            (report.streak, report.rise, report.fall) = (other.streak, other.rise, other.fall);
            report.agent = other.agent;
        }
        report
    }

    fn own_report(&self, now_ms: u64) -> ServerReport {
        let control = self.control();
        ServerReport {
            admin: match control.admin {
                _ if control.location.unresolved => AdminReport::Unresolved,
                AdminState::Ready => AdminReport::Ready,
                AdminState::Drain => AdminReport::Drain,
                AdminState::Maintenance => AdminReport::Maintenance,
            },
            health: if control.agent.down {
                HealthState::Down
            } else {
                control.checks.health
            },
            // Results are outdated while an operator has disabled the checks.
            checked: control.checks.enabled && !self.checks_stopped(),
            streak: control.checks.streak,
            rise: control.checks.rise,
            fall: control.checks.fall,
            weight: control.weight,
            file_weight: control.file.weight,
            throttle: self.throttle(),
            last_change_ms: control.outages.last_change_ms,
            downtime_ms: control.outages.total_ms(now_ms),
            last_check: control.checks.last.clone(),
            last_check_ms: control.checks.last_ms,
            check_failures: control.checks.failures,
            address: control.location.address,
            unresolved: control.location.unresolved,
            agent: control.agent.configured.then(|| AgentReport {
                down: control.agent.down,
                stopped: control.agent.stopped,
                last: control.agent.last.clone(),
            }),
            tracked: None,
            tracked_maintenance: false,
        }
    }
}
