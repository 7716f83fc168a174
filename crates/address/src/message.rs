//! Messages to the address role, beyond those for every role, and its replies. The
//! supervisor and other parts forward them as bytes ([`PartMessage`]).

use part::role::PartMessage;
use part::role::bounded::Words;
use part::voice::keepalived::LogWish;
use serde::{Deserialize, Serialize};

/// The part's name.
pub const PART: &str = "address";

/// A message to the address role.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub enum Message {
    /// A question: give the addresses of an instance, or all of them, to another machine.
    /// The answer is [`HandedOver`].
    HandOver {
        /// The instance.
        name: Option<String>,
        /// How long requests may finish, where that is said.
        drain_ms: Option<u64>,
    },
    /// Write one of keepalived's dumps.
    Dump(Dump),
}

/// A dump that is asked for.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Dump {
    /// `keepalived.data`
    Data,
    /// `keepalived.stats`
    Statistics,
    /// `keepalived.stats`; the counters begin at zero then.
    ClearStatistics,
    /// `keepalived.json`
    Json,
}

/// The answer to [`Message::HandOver`].
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
pub struct HandedOver {
    /// Whether anything moves.
    pub moves: bool,
    /// Description.
    #[serde(with = "Words")]
    pub words: String,
}

/// Options of the command line for the role.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
#[serde(default)]
pub struct Options {
    /// Where its log goes.
    pub log: LogWish,
    /// Where keepalived's dumps go.
    pub dump_directory: Vec<u8>,
    /// Whether it runs in the background: its parent waits for the end of its output.
    pub background: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            log: LogWish::default(),
            dump_directory: b"/tmp".to_vec(),
            background: false,
        }
    }
}

impl Message {
    /// Encodes the message for forwarding.
    pub fn envelope(&self) -> PartMessage {
        let kind = match self {
            Message::HandOver { .. } => 1,
            Message::Dump(_) => 2,
        };
        PartMessage::new(PART, kind, self)
    }
}
