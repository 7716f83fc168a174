//! Defines the status of a volume on a node, in the report of the volume role.

use crate::report::Subject;
use serde::{Deserialize, Serialize};

/// State of a volume on the reporting node.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VolumeServiceState {
    Opening,
    Serving,
    /// Clients can use the volume, but only this node has all data.
    Alone,
    /// Clients can use the volume, and the other copy is being resynchronised.
    Resync,
    /// The other node serves the volume, and this copy is in sync.
    Following,
    /// The other node serves the volume, and this copy is being resynchronised.
    Filling,
    /// The other node serves a volume that does not include this copy.
    Refused,
    /// Requests wait, because no node may serve the volume now.
    Frozen,
    NotCreated,
    InUse,
    Failed,
    Stopping,
    /// The storage system keeps the data, and this node does not use it.
    External,
    #[default]
    #[serde(other)]
    Unknown,
}

/// Copies that have every acknowledged write, as far as the reporting node knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CompleteCopies {
    Both,
    Local,
    Other,
    Neither,
    #[default]
    #[serde(other)]
    Unknown,
}

#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct CopyNodes {
    pub local: String,
    /// The other node; empty: its name is not configured.
    pub other: String,
}

/// A command that replaces the content of a volume and has not completed that.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Overwriting {
    /// Number of the mark that the command has set.
    pub mark: u64,
    /// False: the command was interrupted.
    pub is_running: bool,
}

/// Kinds of faults that a verify found.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct FoundFaults {
    /// Both copies can be read, and differ.
    pub has_differences: bool,
    pub has_unreadable: bool,
    pub has_damage: bool,
}

/// Status of a volume, of a subject of the kind `volume`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct VolumeReport {
    pub state: VolumeServiceState,
    /// Storage of the volume, in the notation of the configuration.
    pub backing: String,
    /// Storage system that keeps the data of an external volume, in the notation of the
    /// configuration; empty: the volume is not external.
    pub external_storage: String,
    /// Nodes with a copy; None: the volume has one copy.
    pub copies: Option<CopyNodes>,
    /// Node that has the lease of a volume with two copies, or of an external one; empty: none.
    pub owner: String,
    /// True on the node that serves a volume with two copies, or owns an external one.
    pub is_owner: bool,
    pub complete: CompleteCopies,
    pub is_connected: bool,
    /// Hand-overs of the owner that were refused since the role started.
    pub refused_hand_overs: u64,
    /// Node whose clients alone may write; empty: clients of all nodes may.
    pub only_clients_of: String,
    pub is_read_only: bool,
    /// Path of the socket for clients; empty: the volume is not served.
    pub socket: String,
    /// Open files of the volume were deleted.
    pub has_deleted_files: bool,
    pub overwriting: Option<Overwriting>,
    pub found: FoundFaults,
}

impl VolumeServiceState {
    /// Returns whether clients can use the volume on the reporting node.
    pub fn is_served(self) -> bool {
        matches!(
            self,
            VolumeServiceState::Serving | VolumeServiceState::Alone | VolumeServiceState::Resync
        )
    }
}

impl VolumeReport {
    pub fn of(subject: &Subject) -> VolumeReport {
        subject.status().unwrap_or_default()
    }
}
