//! Defines the status of a role, in the report of the supervisor.

use crate::report::Subject;
use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RoleState {
    /// The role has no configuration, because no version was loaded.
    NotStarted,
    Starting,
    Running,
    /// The role does not serve: a signal paused it, or its successor serves.
    Paused,
    Stopping,
    /// The role ended, and is started again after a pause.
    Restarting,
    #[default]
    #[serde(other)]
    Unknown,
}

/// Status of a role, of a subject of the kind `role`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RoleReport {
    pub state: RoleState,
    /// True if the role ended unexpectedly several times.
    pub is_unstable: bool,
    /// Process of the role; None: it does not run.
    pub process: Option<u32>,
    /// Process of the new program that serves instead during an upgrade.
    pub successor: Option<u32>,
}

impl RoleReport {
    pub fn of(subject: &Subject) -> RoleReport {
        subject.status().unwrap_or_default()
    }
}
