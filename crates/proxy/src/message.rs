//! What is said to the proxy role besides what every role is told. Supervisor and other
//! parts pass it on as bytes ([`PartMessage`]).

use part::role::{Level, PartMessage};
use serde::{Deserialize, Serialize};

/// The part's name.
pub const PART: &str = "proxy";

/// A message to the proxy role.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub enum Message {
    /// Serve statistics commands on this connection. Descriptors: the connection.
    Operate {
        /// What may be done there.
        level: Level,
    },
    /// A question: how well is served? The answer is a descriptor with that as JSON, or
    /// none.
    TellHealth,
    /// A question of a command: how is everything at this moment? The answer is a descriptor
    /// with that for `route::prepare_live`, or none.
    TellLive {
        /// Entries of large tables that are told besides.
        keys: Vec<AskedKey>,
    },
}

/// The key of an entry of a stick table.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct AskedKey {
    /// The table.
    pub table: String,
    /// The key, as it is stored.
    #[serde(with = "serde_bytes")]
    pub key: Vec<u8>,
}

impl Message {
    /// As it is passed on.
    pub fn envelope(&self) -> PartMessage {
        let kind = match self {
            Message::Operate { .. } => 1,
            Message::TellHealth => 2,
            Message::TellLive { .. } => 3,
        };
        PartMessage::new(PART, kind, self)
    }
}
