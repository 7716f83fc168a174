//! Runs an operator's command about a guest on another node. The guest's node executes the command,
//! or connects the guest's serial terminal, and the guest roles of both nodes relay the bytes.
//!
//! The operator's process polls its local role, so nothing waits for a reader that is gone.

use crate::keyword::NAME;
use part::report::Opens;
use part::role::PartMessage;
use part::role::bounded::{Label, Name, Words};
use serde::{Deserialize, Serialize};

/// Maximum length of one piece of data in either direction, bytes.
pub const PIECE_BYTES_MAX: usize = 32 << 10;
const ASK_STREAM: u16 = 5;
const ASK_OPEN: u16 = 6;

/// Command that another node runs, with its output relayed.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub enum RemoteCommand {
    /// Serial terminal, whose bytes are relayed unchanged.
    Console {
        #[serde(with = "Name")]
        name: String,
        /// User of the terminal and where that user is signed in; empty: an operator of the other
        /// node.
        #[serde(default, with = "Name")]
        who: String,
    },
    Log {
        #[serde(with = "Name")]
        name: String,
        follows: bool,
    },
    Snapshot {
        #[serde(with = "Name")]
        name: String,
        /// Label of the snapshot; empty: none.
        #[serde(with = "Label")]
        label: String,
    },
    RemoveSnapshot {
        #[serde(with = "Name")]
        name: String,
        #[serde(with = "Label")]
        snapshot: String,
    },
    Snapshots {
        #[serde(with = "Name")]
        name: String,
    },
    Restore {
        #[serde(with = "Name")]
        name: String,
        #[serde(with = "Label")]
        snapshot: String,
        replaces: bool,
    },
    Clone {
        #[serde(with = "Name")]
        name: String,
        #[serde(with = "Name")]
        new: String,
        #[serde(with = "Label")]
        snapshot: String,
        #[serde(default)]
        replaces: bool,
    },
    /// Display: the bytes of RFB, or of a SPICE channel, unchanged.
    Display {
        #[serde(with = "Name")]
        name: String,
        /// User of the display and where that user is signed in; empty: an operator of the other
        /// node.
        #[serde(default, with = "Name")]
        who: String,
        /// Protocol that the operator's page speaks; `None`: sent by the role of an earlier
        /// release, which does not know this field.
        #[serde(default)]
        what: Option<Opens>,
    },
}

impl RemoteCommand {
    /// Returns the arguments for the command line of `evenkeel`; empty for a variant that is no
    /// command. A `--` precedes the names, so that a name is never parsed as an option.
    pub fn arguments(&self) -> Vec<String> {
        let (options, names): (Vec<String>, Vec<&String>) = match self {
            RemoteCommand::Console { .. } | RemoteCommand::Display { .. } => return Vec::new(),
            RemoteCommand::Log { name, follows } => {
                let follow = follows.then(|| "--follow".to_owned());
                (given("log", follow), vec![name])
            }
            RemoteCommand::Snapshot { name, label } => {
                (given("snapshot", option("name", label)), vec![name])
            }
            RemoteCommand::RemoveSnapshot { name, snapshot } => {
                (given("snapshot", option("remove", snapshot)), vec![name])
            }
            RemoteCommand::Snapshots { name } => (given("snapshots", None), vec![name]),
            RemoteCommand::Restore {
                name,
                snapshot,
                replaces,
            } => {
                let yes = replaces.then(|| "--yes".to_owned());
                (given("restore", yes), vec![name, snapshot])
            }
            RemoteCommand::Clone {
                name,
                new,
                snapshot,
                replaces,
            } => {
                let yes = replaces.then(|| "--yes".to_owned());
                let options = option("snapshot", snapshot).into_iter().chain(yes);
                (given("clone", options), vec![name, new])
            }
        };
        // Adds `--here`, so that the other node does not forward the command again.
        let before = ["guest".to_owned(), "--here".to_owned()];
        let before = before.into_iter().chain(options);
        let names = names.into_iter().cloned();
        before.chain(["--".to_owned()]).chain(names).collect()
    }

    pub fn ends_with_its_reader(&self) -> bool {
        matches!(
            self,
            RemoteCommand::Console { .. }
                | RemoteCommand::Display { .. }
                | RemoteCommand::Log { .. }
        )
    }
}

fn given(command: &str, options: impl IntoIterator<Item = String>) -> Vec<String> {
    std::iter::once(command.to_owned()).chain(options).collect()
}

fn option(name: &str, value: &str) -> Option<String> {
    (!value.is_empty()).then(|| format!("--{name}={value}"))
}

/// A piece of the output of a command, as the other node sends it.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub enum Output {
    Out(#[serde(with = "serde_bytes")] Vec<u8>),
    Err(#[serde(with = "serde_bytes")] Vec<u8>),
    Ended(u8),
}

/// Request to the local guest role about a stream to another node. The response is
/// [`StreamResponse`].
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub enum StreamRequest {
    Begin {
        #[serde(with = "Name")]
        node: String,
        what: RemoteCommand,
    },
    /// Sends input and requests the output that has arrived.
    Pass {
        number: u64,
        /// At most [`PIECE_BYTES_MAX`] bytes for the other node.
        #[serde(with = "serde_bytes")]
        bytes: Vec<u8>,
    },
    End {
        number: u64,
    },
}

#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub struct StreamResponse {
    pub number: u64,
    #[serde(with = "serde_bytes")]
    pub bytes: Vec<u8>,
    pub taken: usize,
    pub is_over: bool,
    /// Reason why there is no stream or no further output; empty: the stream has ended normally.
    #[serde(with = "Words")]
    pub words: String,
}

/// Request to connect the descriptor that comes with it to the display or serial terminal of a
/// guest on any node. The response is `message::GuestResponse`.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct OpenRequest {
    #[serde(with = "Name")]
    pub name: String,
    #[serde(default)]
    pub what: Opens,
}

impl OpenRequest {
    pub fn envelope(&self) -> PartMessage {
        PartMessage::new(NAME, ASK_OPEN, self)
    }

    pub fn of(message: &PartMessage) -> Option<OpenRequest> {
        (message.kind == ASK_OPEN).then(|| message.read())?
    }
}

impl StreamRequest {
    pub fn envelope(&self) -> PartMessage {
        PartMessage::new(NAME, ASK_STREAM, self)
    }

    pub fn of(message: &PartMessage) -> Option<StreamRequest> {
        (message.kind == ASK_STREAM).then(|| message.read())?
    }
}

impl StreamResponse {
    pub(crate) fn refused(words: impl Into<String>) -> StreamResponse {
        StreamResponse {
            is_over: true,
            words: words.into(),
            ..StreamResponse::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_operators_are_never_parsed_as_options() {
        let name = || "--kill".to_owned();
        let log = RemoteCommand::Log {
            name: name(),
            follows: true,
        };
        assert_eq!(
            log.arguments(),
            ["guest", "--here", "log", "--follow", "--", "--kill"]
        );
        let restore = RemoteCommand::Restore {
            name: name(),
            snapshot: "--yes".to_owned(),
            replaces: false,
        };
        assert_eq!(
            restore.arguments(),
            ["guest", "--here", "restore", "--", "--kill", "--yes"]
        );
        let snapshot = RemoteCommand::Snapshot {
            name: "mail".to_owned(),
            label: "--remove".to_owned(),
        };
        assert_eq!(
            snapshot.arguments(),
            [
                "guest",
                "--here",
                "snapshot",
                "--name=--remove",
                "--",
                "mail"
            ]
        );
        let clone = RemoteCommand::Clone {
            name: "mail".to_owned(),
            new: "web".to_owned(),
            snapshot: String::new(),
            replaces: true,
        };
        assert_eq!(
            clone.arguments(),
            ["guest", "--here", "clone", "--yes", "--", "mail", "web"]
        );
    }
}
