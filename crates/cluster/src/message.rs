//! What is said to the control role besides what every role is told, and what it runs with.
//! Supervisor and other parts pass it on as bytes ([`PartMessage`]).

use part::role::{PartMessage, WantedLeases};
use serde::{Deserialize, Serialize};

/// The part's name.
pub const PART: &str = "cluster";

/// A message to the control role.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub enum Message {
    /// The leases that something of this machine could use.
    Wants(WantedLeases),
}

/// What the control role runs with.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub struct Run {
    /// Its state directory.
    pub directory: Vec<u8>,
    /// Where operators find it.
    pub socket: Vec<u8>,
}

impl Message {
    /// As it is passed on. It holds until more is said.
    pub fn envelope(&self) -> PartMessage {
        PartMessage {
            holds: true,
            ..PartMessage::new(PART, 1, self)
        }
    }
}
