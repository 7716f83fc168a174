//! Describes a failing disk of a member, by the member's own report: the failure, its effect, and
//! the next step.

use super::MemberStatus;
use part::report::span;
use serde::{Deserialize, Serialize};

/// Failure of a member's disk.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct DiskStatus {
    /// Time without a response, milliseconds; 0 if the disk responds.
    pub disk_stuck_ms: u64,
    /// Reason why the log cannot be written; empty if it can.
    pub halted: String,
    /// Reason why the accepted version cannot be saved to the disk; empty if it is saved.
    pub unkept: String,
}

impl DiskStatus {
    /// Returns whether the member takes part in changes, as far as its disk is concerned.
    pub(super) fn takes_part(&self) -> bool {
        self.halted.is_empty() && self.disk_stuck_ms == 0
    }
}

impl MemberStatus {
    /// Describes how the disk of a reachable member fails, the effect and the next step; `None` if
    /// the disk works.
    pub(super) fn disk_words(&self) -> Option<String> {
        let (name, disk) = (&self.name, &self.disk);
        if !self.reach.is_there() {
            return None;
        }
        if !disk.halted.is_empty() {
            return Some(format!(
                "the disk of {name} fails: {}. Until then it does not participate in changes and is not a voter; \
                 leases that it holds are renewed. Free space there: {name} resumes by itself. After you replace the disk, \
                 restart evenkeel on {name}",
                disk.halted
            ));
        }
        if disk.disk_stuck_ms > 0 {
            return Some(format!(
                "the disk of {name} has not responded for {}: it counts as away until it does",
                span(disk.disk_stuck_ms)
            ));
        }
        (!disk.unkept.is_empty()).then(|| {
            format!(
                "the disk of {name} fails: {}. {name} serves the version, but a restart without the other members would \
                 serve an older one. Free space there, or replace the disk: {name} tries again by itself",
                disk.unkept
            )
        })
    }
}
