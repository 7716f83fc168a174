//! Messages that only the address role understands, and its responses. The supervisor and other
//! parts forward them as bytes ([`PartMessage`]).

use part::role::PartMessage;
use part::role::bounded::Words;
use part::voice::keepalived::LogWish;
use serde::{Deserialize, Serialize};

/// Name of this part in messages.
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
    /// Write one of keepalived's dumps.
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

/// Response to [`AddressRoleMessage::HandOver`].
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
pub struct HandedOver {
    pub moves: bool,
    #[serde(with = "Words")]
    pub words: String,
}

/// Command-line options for the role.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
#[serde(default)]
pub struct Options {
    pub log: LogWish,
    pub dump_directory: Vec<u8>,
    /// The role runs in the background: its parent waits for the end of its output.
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
