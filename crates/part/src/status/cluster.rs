//! Defines the status of a cluster and of its members, in the report of the control role.

use crate::report::Subject;
use serde::{Deserialize, Serialize};

/// Status of the cluster, of the subject of the kind `cluster`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ClusterReport {
    /// Name of the leader; empty: none is known.
    pub leader: String,
    pub has_majority: bool,
    pub version_in_progress: Option<u64>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MemberKind {
    Node,
    Arbiter,
    #[default]
    #[serde(other)]
    Unknown,
}

/// Way in which the reporting member reaches another one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MemberReach {
    Local,
    Direct,
    /// Through the member [`MemberReport::relay`].
    Relayed,
    Away,
    #[default]
    #[serde(other)]
    Unknown,
}

/// Fault of a member that is reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MemberFault {
    #[default]
    None,
    /// The disk refuses writes or does not respond.
    Disk,
    /// The supervisor ended; the roles serve on.
    Supervisor,
    Files,
    /// The certificate ends soon and was not renewed.
    Certificate,
    #[serde(other)]
    Unknown,
}

/// Status of a member, of a subject of the kind `member`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct MemberReport {
    pub kind: MemberKind,
    pub is_leader: bool,
    pub reach: MemberReach,
    /// Name of the member that forwards the connection; empty: none does.
    pub relay: String,
    pub rtt_us: Option<u64>,
    /// Time since a member that is away was heard, milliseconds; None: never.
    pub silent_ms: Option<u64>,
    pub fault: MemberFault,
    /// Version that the member serves; None: none is known.
    pub served_version: Option<u64>,
    pub is_candidate: bool,
    /// Name and version of the program that the member runs, or ran when it was last heard; empty:
    /// unknown.
    pub program: String,
    /// True if the member is a node that cannot serve any version.
    pub serves_nothing: bool,
}

impl ClusterReport {
    pub fn of(subject: &Subject) -> ClusterReport {
        subject.status().unwrap_or_default()
    }
}

impl MemberReport {
    pub fn of(subject: &Subject) -> MemberReport {
        subject.status().unwrap_or_default()
    }
}
