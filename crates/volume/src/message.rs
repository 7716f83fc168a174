//! Defines the orders to the volume role, in addition to the messages for every role and the lease
//! reports. The supervisor forwards them as bytes.

use crate::keyword::NAME;
use part::role::PartMessage;
use part::role::bounded::Name;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Operator's order for one volume. The response is [`part::role::OrderResponse`].
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub enum VolumeOrder {
    HandOver {
        #[serde(with = "Name")]
        name: String,
    },
    /// Serves although the local replica lost power with unflushed writes, and the other replica is
    /// not reachable.
    ServeAlone {
        #[serde(with = "Name")]
        name: String,
    },
    Verify {
        #[serde(with = "Name")]
        name: String,
        repairs: bool,
    },
    StopVerify {
        #[serde(with = "Name")]
        name: String,
    },
    Adopt {
        #[serde(with = "Name")]
        name: String,
    },
    Resync {
        #[serde(with = "Name")]
        name: String,
        everything: bool,
    },
    Discard {
        #[serde(with = "Name")]
        name: String,
    },
    Admit {
        #[serde(with = "Name")]
        name: String,
        /// Name of the node; empty: clients of both nodes.
        #[serde(with = "Name")]
        node: String,
    },
    Reopen {
        #[serde(with = "Name")]
        name: String,
    },
    /// Starts a command's copy to a volume of another node. The role connects the command's socket
    /// (see [`copy_socket`]) with the other node.
    Copy {
        #[serde(with = "Name")]
        node: String,
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
        mark: u64,
        /// True if the command has ended; removes the mark.
        is_done: bool,
    },
    /// Removes the mark of an incomplete volume by an operator's order: the content is used as it
    /// is.
    Accept {
        #[serde(with = "Name")]
        name: String,
    },
}

pub fn copy_socket(runtime: &Path, number: u64) -> PathBuf {
    runtime.join(format!("copy-{number:016x}.sock"))
}

impl VolumeOrder {
    pub fn envelope(&self) -> PartMessage {
        PartMessage::new(NAME, 1, self)
    }
}
