//! Defines the status of a cluster and of its members, in the report of the control role.

use crate::report::{Grade, Subject};
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
    /// True if the member is a node that cannot serve any version.
    pub serves_nothing: bool,
}

impl ClusterReport {
    /// Returns the status of a cluster. None: the report is of an older version, and its texts say
    /// nothing more.
    pub fn of(subject: &Subject) -> ClusterReport {
        subject.status().unwrap_or_else(|| ClusterReport {
            leader: subject
                .state
                .word
                .strip_suffix(" is the leader")
                .unwrap_or_default()
                .to_owned(),
            has_majority: subject.state.grade != Grade::Bad,
            version_in_progress: subject.words("in progress").map(|_| 0),
        })
    }
}

impl MemberReport {
    pub fn of(subject: &Subject) -> MemberReport {
        subject.status().unwrap_or_else(|| of_texts(subject))
    }
}

/// Reads the report of a version that published only texts.
fn of_texts(subject: &Subject) -> MemberReport {
    let word = subject.state.word.as_str();
    let kind = subject.words("kind").unwrap_or_default();
    let path = word.strip_prefix("reachable, ").unwrap_or_default();
    let path = path.split(',').next().unwrap_or_default();
    let relay = path.strip_prefix("through ").unwrap_or_default();
    let is_bad = subject.state.grade == Grade::Bad;
    let served = subject.words("serves").unwrap_or_default();
    let serves_nothing = served.starts_with("nothing");
    let served = served.strip_prefix("version ").unwrap_or_default();
    let digits = served.split(' ').next().unwrap_or_default();
    MemberReport {
        kind: if kind.starts_with("arbiter") {
            MemberKind::Arbiter
        } else {
            MemberKind::Node
        },
        is_leader: kind.ends_with(", leader"),
        reach: match word {
            _ if word.starts_with("this machine") => MemberReach::Local,
            _ if is_bad && word.starts_with("away") => MemberReach::Away,
            _ if !relay.is_empty() => MemberReach::Relayed,
            _ if path == "direct link" => MemberReach::Direct,
            _ => MemberReach::Unknown,
        },
        relay: relay.to_owned(),
        rtt_us: None,
        silent_ms: None,
        fault: match word.rsplit(", ").next().unwrap_or_default() {
            _ if !is_bad || word.starts_with("away") => MemberFault::None,
            "its disk fails" => MemberFault::Disk,
            "without a supervisor" => MemberFault::Supervisor,
            "its files are missing" => MemberFault::Files,
            "its certificate ends" => MemberFault::Certificate,
            _ => MemberFault::Unknown,
        },
        served_version: digits.parse().ok(),
        is_candidate: served.ends_with("(candidate)"),
        serves_nothing,
    }
}
