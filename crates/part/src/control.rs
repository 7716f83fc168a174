//! Defines the messages to the control role of a member, beyond those for every role. The
//! supervisor and other roles forward them as bytes ([`PartMessage`]).

use crate::role::bounded::{Part, Words};
use crate::role::{KnownLease, PartMessage, WantedLease, WantedLeases};
use serde::{Deserialize, Serialize};
use std::time::Duration;

pub const PART: &str = "cluster";

/// Time after a heartbeat for which the leases of a part are renewed.
pub const HEARTBEAT_VALID: Duration = Duration::from_millis(500);

#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub enum ControlMessage {
    /// All leases that a part of this machine could use, or wants to observe.
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
    /// The part offers a direct channel: the descriptor is a socket of type SOCK_SEQPACKET. After the
    /// response over it, an empty `Answer`, both sides use it for their messages about leases, so
    /// that these need no supervisor.
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
    Written,
    /// The record was not written, and never will be.
    Refused {
        #[serde(with = "Words")]
        words: String,
    },
    /// The record may have been written, or may still be written.
    Unknown {
        #[serde(with = "Words")]
        words: String,
    },
}

pub const RECORD_BYTES_MAX: usize = 512;

/// Generation of a lease or of a key ring; each grant or new ring increments it.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Epoch(pub u64);

/// Record that the holder of a lease writes for the next holder, such as the copies of
/// a volume that have all acknowledged writes. Only the holder of the current epoch can
/// write one.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LeaseRecord {
    pub name: String,
    /// Epoch of the holder. With an older epoch nothing is written.
    pub epoch: Epoch,
    /// Sequence number; must exceed that of the previous record, or nothing is written.
    /// So a record whose outcome was unknown cannot overwrite one that was proposed
    /// later.
    pub number: u64,
    /// The record, at most [`RECORD_BYTES_MAX`]; an empty one removes it.
    #[serde(with = "serde_bytes")]
    pub value: Vec<u8>,
    /// Name of a node whose machine is known to be off: all its leases become free
    /// together with the record. Only the holder of a lease `PART/@NODE`, which
    /// represents the node itself, may set it (format 3). Empty: none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub frees: String,
}

impl LeaseRecord {
    /// Returns the next record of a held lease, with the next sequence number.
    pub fn next(lease: &KnownLease, value: Vec<u8>) -> LeaseRecord {
        LeaseRecord {
            name: lease.name.clone(),
            epoch: Epoch(lease.epoch),
            number: lease.number.saturating_add(1),
            value,
            frees: String::new(),
        }
    }
}

/// Returns the messages with which a part requests leases, if its requests have changed, and writes
/// records.
pub fn lease_messages(
    part: &str,
    leases: Option<Vec<WantedLease>>,
    records: Vec<LeaseRecord>,
) -> impl Iterator<Item = PartMessage> {
    let wants = leases.map(|leases| ControlMessage::Wants {
        part: part.to_owned(),
        leases: WantedLeases(leases),
    });
    let records = records.into_iter().map(ControlMessage::Record);
    let all = wants.into_iter().chain(records);
    all.map(|message| message.envelope())
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
