//! Defines the messages to the address role (hand-over, dump), the response to a hand-over, and the
//! options with which the role starts. The supervisor and other roles forward the messages as bytes
//! ([`PartMessage`]).

use part::role::PartMessage;
use part::role::bounded::Words;
use part::voice::keepalived::LogWish;
use serde::{Deserialize, Serialize};

pub const PART: &str = "address";

/// A message to the address role.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub enum AddressRoleMessage {
    /// Hand the addresses of an instance, or all of them, over to another machine. The response is
    /// [`HandedOver`].
    HandOver {
        /// Name of the instance; None: all.
        name: Option<String>,
        /// Time in milliseconds that requests may take to finish; None: as configured.
        drain_ms: Option<u64>,
    },
    Dump(Dump),
}

/// Kind of dump to write.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Dump {
    Data,
    Statistics,
    /// Write `keepalived.stats`, then reset the counters.
    ClearStatistics,
    Json,
}

/// Response of the address role to [`AddressRoleMessage::HandOver`].
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
pub struct HandedOver {
    pub moves: bool,
    /// Error message. From an older release of evenkeel: the names of the instances.
    #[serde(with = "Words")]
    pub words: String,
    /// Names of the instances that are handed over; empty from an older release of evenkeel.
    #[serde(default)]
    pub names: Vec<String>,
}

impl HandedOver {
    pub fn instances(&self) -> Vec<String> {
        if self.names.is_empty() && self.moves {
            return self.words.split_whitespace().map(str::to_owned).collect();
        }
        self.names.clone()
    }
}

/// Command-line options for the role.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
#[serde(default)]
pub struct AddressRoleOptions {
    pub log: LogWish,
    pub dump_directory: Vec<u8>,
    /// True if the role runs in the background: its parent waits for the end of its output.
    pub background: bool,
}

impl Default for AddressRoleOptions {
    fn default() -> AddressRoleOptions {
        AddressRoleOptions {
            log: LogWish::default(),
            dump_directory: b"/tmp".to_vec(),
            background: false,
        }
    }
}

impl AddressRoleMessage {
    /// Encodes the message for forwarding.
    pub fn envelope(&self) -> PartMessage {
        let kind = match self {
            AddressRoleMessage::HandOver { .. } => 1,
            AddressRoleMessage::Dump(_) => 2,
        };
        PartMessage::new(PART, kind, self)
    }
}
