//! Commands of an operator that need the node of a guest, given at another node: that node runs the
//! command, or connects the serial terminal, and the bytes go to and fro between the two roles.
//!
//! The operator's process polls its own role; nothing waits for a reader that is gone.

use crate::keyword::NAME;
use part::report::Opens;
use part::role::PartMessage;
use part::role::bounded::{Name, Words};
use serde::{Deserialize, Serialize};

/// Bytes of one piece, in each direction.
pub const PIECE_BYTES_MAX: usize = 32 << 10;
/// The number of [`AskStream`] among messages.
const ASK_STREAM: u16 = 5;
/// The number of [`AskOpen`] among messages.
const ASK_OPEN: u16 = 6;

/// What another node is to do, with its output.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub enum Remote {
    /// Its serial terminal: the bytes as they are.
    Console {
        /// The guest.
        #[serde(with = "Name")]
        name: String,
        /// Who has it, and where that user is signed in; empty: an operator of the other node.
        #[serde(default, with = "Name")]
        who: String,
    },
    /// Its last serial output.
    Log {
        /// The guest.
        #[serde(with = "Name")]
        name: String,
        /// It goes on with what comes.
        follows: bool,
    },
    /// Takes a snapshot.
    Snapshot {
        /// The guest.
        #[serde(with = "Name")]
        name: String,
        /// Its label; empty: none.
        #[serde(with = "Words")]
        label: String,
    },
    /// Removes a snapshot.
    RemoveSnapshot {
        /// The guest.
        #[serde(with = "Name")]
        name: String,
        /// The snapshot.
        #[serde(with = "Words")]
        snapshot: String,
    },
    /// Lists snapshots.
    Snapshots {
        /// The guest.
        #[serde(with = "Name")]
        name: String,
    },
    /// Restores a snapshot.
    Restore {
        /// The guest.
        #[serde(with = "Name")]
        name: String,
        /// The snapshot.
        #[serde(with = "Words")]
        snapshot: String,
        /// All data of the disks may be replaced.
        replaces: bool,
    },
    /// Clones a guest.
    Clone {
        /// The guest.
        #[serde(with = "Name")]
        name: String,
        /// The new one.
        #[serde(with = "Name")]
        new: String,
        /// The snapshot; empty: what it is now.
        #[serde(with = "Words")]
        snapshot: String,
        /// What its volumes hold may be replaced.
        #[serde(default)]
        replaces: bool,
    },
    /// Its display: the bytes of RFB, or of a channel of SPICE, as they are.
    Display {
        /// The guest.
        #[serde(with = "Name")]
        name: String,
        /// Who has it, and where that user is signed in; empty: an operator of the other node.
        #[serde(default, with = "Name")]
        who: String,
        /// What the operator's page speaks; `None`: a role of before that knows nothing of it.
        #[serde(default)]
        what: Option<Opens>,
    },
}

impl Remote {
    /// Returns the words of the command behind the program; empty for what is no command. What was
    /// given as a name is never an option.
    pub fn arguments(&self) -> Vec<String> {
        let (options, names): (Vec<String>, Vec<&String>) = match self {
            Remote::Console { .. } | Remote::Display { .. } => return Vec::new(),
            Remote::Log { name, follows } => {
                let follow = follows.then(|| "--follow".to_owned());
                (given("log", follow), vec![name])
            }
            Remote::Snapshot { name, label } => {
                (given("snapshot", option("name", label)), vec![name])
            }
            Remote::RemoveSnapshot { name, snapshot } => {
                (given("snapshot", option("remove", snapshot)), vec![name])
            }
            Remote::Snapshots { name } => (given("snapshots", None), vec![name]),
            Remote::Restore {
                name,
                snapshot,
                replaces,
            } => {
                let yes = replaces.then(|| "--yes".to_owned());
                (given("restore", yes), vec![name, snapshot])
            }
            Remote::Clone {
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
        // It does not go on from there.
        let before = ["guest".to_owned(), "--here".to_owned()];
        let before = before.into_iter().chain(options);
        let names = names.into_iter().cloned();
        before.chain(["--".to_owned()]).chain(names).collect()
    }

    /// Whether nothing of it is to go on without a reader.
    pub fn ends_with_its_reader(&self) -> bool {
        matches!(
            self,
            Remote::Console { .. } | Remote::Display { .. } | Remote::Log { .. }
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
    /// On standard output.
    Out(#[serde(with = "serde_bytes")] Vec<u8>),
    /// On standard error.
    Err(#[serde(with = "serde_bytes")] Vec<u8>),
    /// It has ended, with this exit code.
    Ended(u8),
}

/// Asks the own role about a stream of another node. The answer is [`Passed`].
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub enum AskStream {
    /// Begins one.
    Begin {
        /// The node.
        #[serde(with = "Name")]
        node: String,
        /// What it is to do.
        what: Remote,
    },
    /// Passes what was typed, and asks for what came.
    Pass {
        /// Its number.
        number: u64,
        /// At most [`PIECE_BYTES_MAX`] bytes for the other node.
        #[serde(with = "serde_bytes")]
        bytes: Vec<u8>,
    },
    /// Ends one.
    End {
        /// Its number.
        number: u64,
    },
}

/// What became of a stream.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub struct Passed {
    /// Its number.
    pub number: u64,
    /// What came.
    #[serde(with = "serde_bytes")]
    pub bytes: Vec<u8>,
    /// Bytes that were taken of those given.
    pub taken: usize,
    /// Nothing more comes.
    pub is_over: bool,
    /// Why there is nothing, or nothing more; empty: it ended in order.
    #[serde(with = "Words")]
    pub words: String,
}

/// Connects the connection that comes with it with the display or the terminal of a guest, on
/// whichever node that is. The answer is [`crate::message::Answer`].
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct AskOpen {
    /// The guest.
    #[serde(with = "Name")]
    pub name: String,
    /// What of it.
    #[serde(default)]
    pub what: Opens,
}

impl AskOpen {
    /// Encodes the message for forwarding.
    pub fn envelope(&self) -> PartMessage {
        PartMessage::new(NAME, ASK_OPEN, self)
    }

    /// Reads the message, if it is one.
    pub fn of(message: &PartMessage) -> Option<AskOpen> {
        (message.kind == ASK_OPEN).then(|| message.read())?
    }
}

impl AskStream {
    /// Encodes the message for forwarding.
    pub fn envelope(&self) -> PartMessage {
        PartMessage::new(NAME, ASK_STREAM, self)
    }

    /// Reads the message, if it is one.
    pub fn of(message: &PartMessage) -> Option<AskStream> {
        (message.kind == ASK_STREAM).then(|| message.read())?
    }
}

impl Passed {
    pub(crate) fn refused(words: impl Into<String>) -> Passed {
        Passed {
            is_over: true,
            words: words.into(),
            ..Passed::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_operator_named_is_never_an_option() {
        let name = || "--kill".to_owned();
        let log = Remote::Log {
            name: name(),
            follows: true,
        };
        assert_eq!(
            log.arguments(),
            ["guest", "--here", "log", "--follow", "--", "--kill"]
        );
        let restore = Remote::Restore {
            name: name(),
            snapshot: "--yes".to_owned(),
            replaces: false,
        };
        assert_eq!(
            restore.arguments(),
            ["guest", "--here", "restore", "--", "--kill", "--yes"]
        );
        let snapshot = Remote::Snapshot {
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
        let clone = Remote::Clone {
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
