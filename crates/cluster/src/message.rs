//! Messages to the control role, beyond those for every role, and its options. The
//! supervisor and other parts forward them as bytes ([`PartMessage`]).

use crate::command::LeaseRecord;
use part::role::bounded::{Part, Words};
use part::role::{PartMessage, WantedLeases};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Name of the part in its messages to the supervisor.
pub const PART: &str = "cluster";

/// Time after a heartbeat for which the leases of a part are renewed.
pub const HEARTBEAT_VALID: Duration = Duration::from_millis(500);

/// A message to the control role.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub enum ControlMessage {
    /// All leases that a part of this machine could use, or wants to know.
    Wants {
        /// Name of the part: the names of its leases begin with it and a slash.
        #[serde(with = "Part")]
        part: String,
        leases: WantedLeases,
    },
    /// The part runs. Once a part has sent this, its leases are renewed only while it repeats it
    /// ([`HEARTBEAT_VALID`]).
    Heartbeat {
        #[serde(with = "Part")]
        part: String,
    },
    /// The part offers a direct channel: the descriptor is a socket of type SOCK_SEQPACKET. After
    /// the response over it, an empty `Answer`, both sides use it for their messages about leases,
    /// so that these need no supervisor.
    Connect {
        #[serde(with = "Part")]
        part: String,
    },
    /// Request to write the record of a lease that this machine holds. The response is
    /// [`Recorded`].
    Record(LeaseRecord),
}

/// Outcome of writing a record.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub enum Recorded {
    /// A majority has the record.
    Written,
    /// The record was not written, and never will be.
    Refused {
        /// Reason why the record was not written.
        #[serde(with = "Words")]
        words: String,
    },
    /// The record may have been written, or may still be written.
    Unknown {
        /// Reason why the outcome is unknown.
        #[serde(with = "Words")]
        words: String,
    },
}

/// Options of the control role.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub struct ControlOptions {
    /// Path of the state directory, as bytes.
    pub directory: Vec<u8>,
    /// Path of the socket for operators.
    pub socket: Vec<u8>,
}

impl ControlMessage {
    /// Encodes the message for forwarding. The wanted leases of a part remain valid until
    /// its next message.
    pub fn envelope(&self) -> PartMessage {
        let kind = match self {
            ControlMessage::Wants { .. } => 1,
            ControlMessage::Record(_) => 2,
            ControlMessage::Heartbeat { .. } => 3,
            ControlMessage::Connect { .. } => 4,
        };
        PartMessage {
            holds: matches!(self, ControlMessage::Wants { .. }),
            ..PartMessage::new(PART, kind, self)
        }
    }
}
