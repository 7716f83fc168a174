//! Messages to the volume role, in addition to those for every role and the lease reports. The
//! supervisor forwards them as bytes.

use crate::keyword::NAME;
use part::role::PartMessage;
use part::role::bounded::{Name, Words};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Operator's order for one volume. The response is [`VolumeResponse`].
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub enum VolumeOrder {
    /// Hands the volume over to the other node.
    HandOver {
        #[serde(with = "Name")]
        name: String,
    },
    /// Serves although the local replica lost power and the other one is not reachable.
    ServeAlone {
        #[serde(with = "Name")]
        name: String,
    },
    Verify {
        #[serde(with = "Name")]
        name: String,
        /// Copies differing blocks to the other replica.
        repairs: bool,
    },
    StopVerify {
        #[serde(with = "Name")]
        name: String,
    },
    /// Adopts the local replica as the volume's content; the cluster has no record of the volume.
    Adopt {
        #[serde(with = "Name")]
        name: String,
    },
    Resync {
        #[serde(with = "Name")]
        name: String,
        /// Compares all blocks instead of only the dirty ones.
        everything: bool,
    },
    /// Discards the local replica, which is refused.
    Discard {
        #[serde(with = "Name")]
        name: String,
    },
    /// Admits only writes from clients of one node.
    Admit {
        #[serde(with = "Name")]
        name: String,
        /// Name of the node; empty: clients of both nodes.
        #[serde(with = "Name")]
        node: String,
    },
    /// Reopens a volume with one replica after a failed flush.
    Reopen {
        #[serde(with = "Name")]
        name: String,
    },
    /// Starts a command's copy to a volume of another node. The role connects the command's socket
    /// (see [`copy_socket`]) with the other node.
    Copy {
        /// Name of the other node.
        #[serde(with = "Name")]
        node: String,
        /// Name of the volume on that node.
        #[serde(with = "Name")]
        volume: String,
        /// Identifier of the command, the same for each attempt.
        run: u64,
        /// Number of the socket, different for each attempt.
        socket: u64,
    },
    /// Marks the volume as incomplete while a command replaces its content, or removes that mark.
    /// The command has the volume open while it sets the mark.
    Mark {
        #[serde(with = "Name")]
        name: String,
        /// [`crate::overwrite::OverwriteMark::number`].
        mark: u64,
        /// The command has ended: removes the mark.
        is_done: bool,
    },
    /// Removes the mark of an incomplete volume: its content is used as it is.
    Accept {
        #[serde(with = "Name")]
        name: String,
    },
}

/// Path of the socket on which a command waits for the role.
pub fn copy_socket(runtime: &Path, number: u64) -> PathBuf {
    runtime.join(format!("copy-{number:016x}.sock"))
}

#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct VolumeResponse {
    /// True if the order is being executed.
    pub good: bool,
    #[serde(with = "Words")]
    pub words: String,
}

impl VolumeOrder {
    /// Encodes the message for forwarding.
    pub fn envelope(&self) -> PartMessage {
        PartMessage::new(NAME, 1, self)
    }
}
