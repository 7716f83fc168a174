//! What statistics and logs say of a server.

use super::{AdminState, AgentReport, HealthState, ServerState};
use crate::state::CheckResult;
use std::net::SocketAddr;

/// Administrative state for statistics.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AdminReport {
    /// In service.
    Ready,
    /// Draining.
    Drain,
    /// In maintenance by an operator or the file.
    Maintenance,
    /// In maintenance because its name has no address.
    Unresolved,
}

/// One server at one moment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServerReport {
    /// What an operator wants.
    pub admin: AdminReport,
    /// What the checks found.
    pub health: HealthState,
    /// Whether checks run.
    pub checked: bool,
    /// Where it stands between down (0) and surely up (rise + fall - 1).
    pub streak: u32,
    /// `rise`.
    pub rise: u32,
    /// `fall`.
    pub fall: u32,
    /// `weight` as set.
    pub weight: u32,
    /// `weight` of the file.
    pub file_weight: u32,
    /// Percent of it while it warms up, else 100.
    pub throttle: u32,
    /// When it last changed.
    pub last_change_ms: u64,
    /// Time that it was down, the present included.
    pub downtime_ms: u64,
    /// The last check.
    pub last_check: CheckResult,
    /// When that ended; None before the first.
    pub last_check_ms: Option<u64>,
    /// Failed checks.
    pub check_failures: u32,
    /// The address that an operator set.
    pub address: Option<SocketAddr>,
    /// Its name stands for no address.
    pub unresolved: bool,
    /// Its agent, where it has one.
    pub agent: Option<AgentReport>,
    /// The server whose state it has: `backend/server`.
    pub tracked: Option<Box<str>>,
    /// Of that one: it is in maintenance.
    pub tracked_maintenance: bool,
}

impl ServerReport {
    /// The `status` column: `UP`, `UP 1/3`, `DOWN 1/2`, `NOLB`, `DRAIN`,
    /// `MAINT`, `no check`, …
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
    /// Everything that statistics and logs want to know.
    pub fn report(&self, now_ms: u64) -> ServerReport {
        // Not under this one's lock.
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
            health: match control.agent.down {
                true => HealthState::Down,
                false => control.checks.health,
            },
            // Checks that an operator disabled tell nothing of the server.
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
