//! Messages to the guest role, beyond those for every role, the news of leases and of volumes. The
//! supervisor forwards them as bytes.

use crate::config::Fence;
use crate::keyword::NAME;
use part::role::PartMessage;
use part::role::bounded::{Name, Words};
use serde::{Deserialize, Serialize};

/// An order of an operator. The answer is [`Answer`].
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub enum Message {
    /// A guest runs.
    Start {
        /// The guest.
        #[serde(with = "Name")]
        name: String,
    },
    /// A guest shuts down and stays so.
    Stop {
        /// The guest.
        #[serde(with = "Name")]
        name: String,
        /// It is ended at once, as by pulling the plug.
        kills: bool,
    },
    /// A guest goes to another node.
    Move {
        /// The guest.
        #[serde(with = "Name")]
        name: String,
        /// The node.
        #[serde(with = "Name")]
        node: String,
    },
    /// A person has made sure that a node is off.
    ConfirmOff {
        /// The node.
        #[serde(with = "Name")]
        node: String,
    },
    /// This node gives its guests away, or takes some again.
    Drain {
        /// It gives them away.
        drained: bool,
    },
}

/// Asks how a node is fenced. The answer is [`Fences`].
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct AskFences {
    /// The node.
    #[serde(with = "Name")]
    pub node: String,
}

/// How a node is fenced, with all options: for the user that runs this program, and for nobody else.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
pub struct Fences(pub Option<Vec<Fence>>);

/// The number of [`AskFences`] among messages.
const ASK_FENCES: u16 = 2;

impl AskFences {
    /// Encodes the message for forwarding.
    pub fn envelope(&self) -> PartMessage {
        PartMessage::new(NAME, ASK_FENCES, self)
    }

    /// Reads the message, if it is one.
    pub fn of(message: &PartMessage) -> Option<AskFences> {
        (message.kind == ASK_FENCES).then(|| message.read())?
    }
}

/// What became of an order.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// It is being carried out.
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
