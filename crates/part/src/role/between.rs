//! Defines the messages between roles, and from commands to a role. The supervisor forwards them by
//! the name of the role's part, without decoding them.

use super::bounded::{Leases, Name, Part, long_words, record};
use crate::codec;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

pub const PART_BYTES_MAX: usize = 16;
pub const LEASES_MAX: usize = 256;
pub const LEASE_NAME_BYTES_MAX: usize = 128;
pub const RECORD_BYTES_MAX: usize = 512;
/// Maximum size of a record in bytes while some members of the cluster run an earlier version.
pub const SHORT_RECORD_BYTES_MAX: usize = 320;

/// A message for a part, in the encoding of that part.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub struct PartMessage {
    #[serde(with = "Part")]
    pub part: String,
    pub kind: u16,
    /// True if the message holds until the next one of its kind; the supervisor also sends it to a
    /// role that starts later.
    pub holds: bool,
    #[serde(with = "serde_bytes")]
    pub bytes: Vec<u8>,
    /// User on whose behalf the message is sent, and where that user is signed in. Empty if the
    /// message itself names the user, or concerns no user.
    #[serde(with = "Name")]
    pub by: String,
}

impl PartMessage {
    pub fn new(part: &str, kind: u16, value: &impl Serialize) -> PartMessage {
        PartMessage {
            part: part.to_owned(),
            kind,
            holds: false,
            bytes: codec::encode(value),
            by: String::new(),
        }
    }

    /// Decodes the value; None if the bytes are no `T`.
    pub fn read<T: DeserializeOwned>(&self) -> Option<T> {
        codec::decode(&self.bytes).ok()
    }
}

/// The state of a lease as known on this machine.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub struct KnownLease {
    #[serde(with = "Name")]
    pub name: String,
    pub epoch: u64,
    /// Time until which this machine holds the lease, nanoseconds of CLOCK_BOOTTIME; zero if it
    /// does not.
    pub until_ns: u64,
    /// Name of the machine that got the lease last; empty after a release.
    #[serde(with = "Name")]
    pub holder: String,
    /// Sequence number of the record; zero without a record.
    pub number: u64,
    /// Record that a holder stored last with the lease; empty if there is none.
    #[serde(with = "record")]
    pub record: Vec<u8>,
    /// True if the control role that reports this has just started: this machine was the last
    /// holder, and `until_ns` is the end that the previous control role reported. A part may ignore
    /// such a lease, and then uses it after the next grant.
    pub is_inherited: bool,
}

/// A lease that a part of this machine wants to hold or to observe.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub struct WantedLease {
    #[serde(with = "Name")]
    pub name: String,
    /// Rank of this machine as a holder: the machine with the highest rank gets the lease.
    pub rank: u32,
    pub watch: bool,
    /// Validity of a renewal in milliseconds; zero for the cluster's default.
    pub valid_ms: u64,
}

/// The leases of a part. A lease that is not listed is not held.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
pub struct KnownLeases(#[serde(with = "Leases")] pub Vec<KnownLease>);

/// All leases that a part wants to hold or to observe.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
pub struct WantedLeases(#[serde(with = "Leases")] pub Vec<WantedLease>);

/// Messages of the cluster to a part about the leases with its name as prefix (`address/www`).
/// Every part with leases receives them next to its own messages.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub enum LeaseNews {
    /// The leases that the part requested, as far as they exist. Holds until the next message of
    /// this kind.
    Known(KnownLeases),
    /// Another machine has a higher rank for this lease: release it gracefully.
    HandOver {
        #[serde(with = "Name")]
        name: String,
    },
}

/// Fields of every part's response to an order that its report offered
/// ([`crate::report::SubjectAction`]). Each part has a type of its own with further fields.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub struct OrderResponse {
    /// True if the order was executed, or is being executed. The address role has another name for
    /// it.
    #[serde(alias = "moves")]
    pub good: bool,
    #[serde(with = "long_words")]
    pub words: String,
}

impl OrderResponse {
    /// Creates the response from the result of an order.
    pub fn of(done: Result<String, String>) -> OrderResponse {
        let good = done.is_ok();
        let (Ok(words) | Err(words)) = done;
        OrderResponse { good, words }
    }

    /// Reads the response of a part: the result, or the error.
    ///
    /// # Errors
    /// The order was refused, or the response cannot be decoded. The reason as text.
    pub fn read(bytes: &[u8]) -> Result<String, String> {
        match codec::decode::<OrderResponse>(bytes) {
            Ok(response) if response.good => Ok(response.words),
            Ok(response) => Err(response.words),
            Err(_) => Err("its response cannot be decoded".to_owned()),
        }
    }
}

/// Kind of [`LeaseNews::Known`], above all kinds of the parts themselves.
const KNOWN: u16 = 0x100;
const HAND_OVER: u16 = 0x101;

impl LeaseNews {
    pub fn envelope(&self, part: &str) -> PartMessage {
        let kind = match self {
            LeaseNews::Known(_) => KNOWN,
            LeaseNews::HandOver { .. } => HAND_OVER,
        };
        PartMessage {
            holds: kind == KNOWN,
            ..PartMessage::new(part, kind, self)
        }
    }

    /// Decodes the message; None if it is of another kind.
    pub fn of(message: &PartMessage) -> Option<LeaseNews> {
        let is_news = matches!(message.kind, KNOWN | HAND_OVER);
        is_news.then(|| message.read())?
    }
}
