//! Defines the status of a guest and of a node for guests, in the report of the guest role.

use crate::report::Subject;
use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GuestState {
    /// The guest does not run, on no node that is known.
    Down,
    /// The guest failed, and is started again after a pause.
    Restarting,
    Starting,
    Running,
    /// A live migration from or to this node is in progress.
    Moving,
    Paused,
    ShuttingDown,
    Ending,
    /// The guest shut down by itself.
    Off,
    Failed,
    Elsewhere,
    /// The section is a template, from which guests are cloned.
    Template,
    #[default]
    #[serde(other)]
    Unknown,
}

/// Order of an operator that keeps a guest down.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StopOrder {
    #[default]
    None,
    UntilStart,
    /// The disks of the guest are being restored, or that was interrupted.
    UntilRestored,
    #[serde(other)]
    Unknown,
}

#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct GuestDisk {
    pub volume: String,
    pub is_read_only: bool,
}

#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct GuestReport {
    pub state: GuestState,
    /// Node that has the guest; empty: none.
    pub node: String,
    pub stop_order: StopOrder,
    /// True if no node can run the guest, however long it waits.
    pub is_unplaced: bool,
    /// True if the last move of the guest was refused or failed.
    pub has_failed_move: bool,
    /// Directory of the guest's files while QEMU runs on this node; empty: there is none.
    pub files: String,
    /// Nodes on which the guest may run, the best first.
    pub prefers: Vec<String>,
    pub disks: Vec<GuestDisk>,
}

/// State of a node for guests.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GuestNodeState {
    Available,
    Drained,
    /// The reporting node itself has no majority.
    NoMajority,
    Away,
    /// The node is confirmed off.
    Fenced,
    #[default]
    #[serde(other)]
    Unknown,
}

/// Status of a node for guests, of a subject of the kind `guest node`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct GuestNodeReport {
    pub state: GuestNodeState,
}

impl StopOrder {
    pub fn is_given(self) -> bool {
        self != StopOrder::None
    }
}

impl GuestReport {
    pub fn of(subject: &Subject) -> GuestReport {
        subject.status().unwrap_or_default()
    }
}

impl GuestNodeReport {
    pub fn of(subject: &Subject) -> GuestNodeReport {
        subject.status().unwrap_or_default()
    }
}
