//! Messages to the guest role, beyond those for every role, the news of leases and of volumes. The
//! supervisor forwards them as bytes.

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
    /// This node gives its guests away, or takes some again.
    Drain {
        /// It gives them away.
        drained: bool,
    },
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
