//! Messages to the control role, beyond those for every role, and its options. The
//! supervisor and other parts forward them as bytes ([`PartMessage`]).

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

/// Options of the control role.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub struct Run {
    /// Its state directory.
    pub directory: Vec<u8>,
    /// Where operators find it.
    pub socket: Vec<u8>,
}

impl Message {
    /// Encodes the message for forwarding. It stays valid until the next one.
    pub fn envelope(&self) -> PartMessage {
        PartMessage {
            holds: true,
            ..PartMessage::new(PART, 1, self)
        }
    }
}
