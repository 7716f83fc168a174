//! Defines the messages that only the proxy process gets, besides those for every process. The
//! supervisor and other parts of the platform forward them as bytes ([`PartMessage`]).

use part::role::{Level, PartMessage};
use serde::{Deserialize, Serialize};

pub const PART: &str = "proxy";

#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub enum ProxyMessage {
    /// Serve statistics commands on a connection, which is the descriptor of this message.
    Operate { level: Level },
    /// Requests a report on how well the proxy serves. The response is a descriptor with JSON, or
    /// none.
    TellHealth,
    /// Requests the current state for a command that shows where a request would go. The response
    /// is a descriptor with data for `route::prepare_live`, or none.
    TellLive { keys: Vec<AskedKey> },
}

#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct AskedKey {
    pub table: String,
    /// Key in its stored form.
    #[serde(with = "serde_bytes")]
    pub key: Vec<u8>,
}

impl ProxyMessage {
    pub fn envelope(&self) -> PartMessage {
        let kind = match self {
            ProxyMessage::Operate { .. } => 1,
            ProxyMessage::TellHealth => 2,
            ProxyMessage::TellLive { .. } => 3,
        };
        PartMessage::new(PART, kind, self)
    }
}
