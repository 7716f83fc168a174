//! Messages to the volume role, beyond those for every role and the news of leases. The
//! supervisor forwards them as bytes.

use crate::keyword::NAME;
use part::role::PartMessage;
use part::role::bounded::{Name, Words};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// An order of an operator, about one volume. The answer is [`Told`].
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub enum Message {
    /// The other node is to serve it.
    HandOver {
        /// The volume.
        #[serde(with = "Name")]
        name: String,
    },
    /// It serves, although it lost power and the other copy cannot be asked.
    ServeAlone {
        /// The volume.
        #[serde(with = "Name")]
        name: String,
    },
    /// Both copies are compared.
    Verify {
        /// The volume.
        #[serde(with = "Name")]
        name: String,
        /// The other copy gets what differs.
        repairs: bool,
    },
    /// The comparison ends.
    StopVerify {
        /// The volume.
        #[serde(with = "Name")]
        name: String,
    },
    /// The volume is what the copy here has; the cluster has no record of it.
    Adopt {
        /// The volume.
        #[serde(with = "Name")]
        name: String,
    },
    /// The other copy is resynchronised.
    Resync {
        /// The volume.
        #[serde(with = "Name")]
        name: String,
        /// All of it is compared; otherwise it gets what it is known to lack.
        everything: bool,
    },
    /// The copy here, which is refused, is given up.
    Discard {
        /// The volume.
        #[serde(with = "Name")]
        name: String,
    },
    /// Only clients of a node may write from now on.
    Admit {
        /// The volume.
        #[serde(with = "Name")]
        name: String,
        /// The node; empty: clients of both.
        #[serde(with = "Name")]
        node: String,
    },
    /// A volume with one copy is opened again, after a flush of it has failed.
    Reopen {
        /// The volume.
        #[serde(with = "Name")]
        name: String,
    },
    /// A command writes a volume of another node. The role connects to a socket of the command
    /// (see [`copy_socket`]), and that to the other node.
    Copy {
        /// The other node.
        #[serde(with = "Name")]
        node: String,
        /// The volume there.
        #[serde(with = "Name")]
        volume: String,
        /// The command: the same for each attempt.
        run: u64,
        /// The socket, which is another one for each attempt.
        socket: u64,
    },
}

/// Where a command waits for the role.
pub fn copy_socket(runtime: &Path, number: u64) -> PathBuf {
    runtime.join(format!("copy-{number:016x}.sock"))
}

/// What became of it.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Told {
    /// It is being done.
    pub good: bool,
    /// Why not.
    #[serde(with = "Words")]
    pub words: String,
}

impl Message {
    /// Encodes the message for forwarding.
    pub fn envelope(&self) -> PartMessage {
        PartMessage::new(NAME, 1, self)
    }
}
