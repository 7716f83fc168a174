//! Messages to the guest role, beyond those for every role, the news of leases and of volumes. The
//! supervisor forwards them as bytes.

use crate::config::Guest;
use crate::keyword::NAME;
use part::power::control::Control;
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
    /// Nothing is to be left of a guest whose section is gone.
    Remove {
        /// The guest.
        #[serde(with = "Name")]
        name: String,
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
        /// Those that cannot move shut down.
        #[serde(default)]
        shuts_down: bool,
    },
    /// Asks how a guest is, in words; a refusal says why it has not moved.
    How {
        /// The guest.
        #[serde(with = "Name")]
        name: String,
    },
    /// Asks for a report of guests that are here: of one, with all that is known, or of all.
    Shown {
        /// The guest; empty: all.
        #[serde(with = "Name")]
        name: String,
    },
    /// Asks for what another node last showed so.
    Remembered {
        /// The node.
        #[serde(with = "Name")]
        node: String,
        /// The guest; empty: all.
        #[serde(with = "Name")]
        name: String,
    },
    /// An order for another node.
    At {
        /// The node.
        #[serde(with = "Name")]
        node: String,
        /// The order.
        order: Box<Message>,
    },
    /// Asks what became of an order for another node.
    Sent {
        /// As the answer to the order had it.
        number: u64,
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
pub struct Fences(pub Option<Vec<Control>>);

/// The number of [`AskFences`] among messages.
const ASK_FENCES: u16 = 2;
/// Asks what a guest is. The answer is [`Known`].
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct AskGuest {
    /// The guest.
    #[serde(with = "Name")]
    pub name: String,
}

/// What a guest is, with its data for cloud-init: for the user that runs this program.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
pub struct Known {
    /// As the served configuration has it.
    pub served: Option<Guest>,
    /// As it was started, where it runs on this node.
    pub started_as: Option<Guest>,
}

/// The number of [`AskGuest`] among messages.
const ASK_GUEST: u16 = 4;

impl AskGuest {
    /// Encodes the message for forwarding.
    pub fn envelope(&self) -> PartMessage {
        PartMessage::new(NAME, ASK_GUEST, self)
    }

    /// Reads the message, if it is one.
    pub fn of(message: &PartMessage) -> Option<AskGuest> {
        (message.kind == ASK_GUEST).then(|| message.read())?
    }
}

/// The number of [`AskStand`] among messages.
const ASK_STAND: u16 = 3;

/// A step of a standstill, for snapshots of all disks of a guest. The answer is [`Stood`].
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stand {
    /// The guest is to stand still.
    Begin,
    /// Whether it does.
    Look,
    /// It is to go on.
    End,
}

/// Asks for a step of a standstill.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct AskStand {
    /// The guest.
    #[serde(with = "Name")]
    pub name: String,
    /// The number of the standstill, drawn by the command that wants it.
    pub number: u64,
    /// The step.
    pub step: Stand,
}

/// How far a standstill is.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub enum StoodState {
    /// There is none, or it was not one until the end.
    Refused,
    /// The guest does not stand still yet.
    Begins,
    /// It stands still.
    Stands,
    /// It stood still until the end, and is to go on.
    GoesOn,
    /// It stood still until the end, and goes on.
    Over,
}

/// How a standstill is.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Stood {
    /// How far it is.
    pub state: StoodState,
    /// Why it is refused.
    #[serde(with = "Words")]
    pub words: String,
    /// The guest does not run.
    pub is_down: bool,
    /// Why its file systems were not frozen; None: they were.
    pub not_frozen: Option<String>,
    /// How long it stood still, milliseconds.
    pub stood_ms: u64,
    /// How long its file systems were frozen, milliseconds.
    pub frozen_ms: u64,
}

impl AskStand {
    /// Encodes the message for forwarding.
    pub fn envelope(&self) -> PartMessage {
        PartMessage::new(NAME, ASK_STAND, self)
    }

    /// Reads the message, if it is one.
    pub fn of(message: &PartMessage) -> Option<AskStand> {
        (message.kind == ASK_STAND).then(|| message.read())?
    }
}

impl Stood {
    pub(crate) fn refused(words: String) -> Stood {
        Stood {
            state: StoodState::Refused,
            words,
            is_down: false,
            not_frozen: None,
            stood_ms: 0,
            frozen_ms: 0,
        }
    }
}

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

/// The words while something of a guest that is removed is still there: to be asked again.
pub const BEING_REMOVED: &str = "the cluster has not removed its record yet";

/// What became of an order.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// It is being carried out.
    pub good: bool,
    /// Why not; or what was asked for, or there was of a guest that is removed.
    #[serde(with = "Words")]
    pub words: String,
    /// It was sent to another node: the number to ask with; zero: it is not.
    #[serde(default)]
    pub waits: u64,
    /// The report that was asked for, or what there was of it before; empty: none.
    #[serde(default, with = "serde_bytes")]
    pub bytes: Vec<u8>,
    /// How old it is, milliseconds.
    #[serde(default)]
    pub age_ms: u64,
}

impl Answer {
    /// Of an order that is carried out here, or is not.
    pub fn of(done: Result<String, String>) -> Answer {
        let good = done.is_ok();
        let (Ok(words) | Err(words)) = done;
        Answer {
            good,
            words,
            waits: 0,
            bytes: Vec::new(),
            age_ms: 0,
        }
    }
}

impl Message {
    /// Encodes the message for forwarding.
    pub fn envelope(&self) -> PartMessage {
        PartMessage::new(NAME, 1, self)
    }
}
