//! Messages between parts, and from commands to a part. The supervisor forwards them by
//! the name of the part, without reading them.

use super::bounded::{Leases, Name, Part, record};
use crate::codec;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The longest name of a part, bytes.
pub const PART_BYTES_MAX: usize = 16;
/// Maximum number of leases in one message.
pub const LEASES_MAX: usize = 256;
/// Bytes of a lease's name.
pub const LEASE_NAME_BYTES_MAX: usize = 128;
/// Bytes of a lease's record.
pub const RECORD_BYTES_MAX: usize = 512;
/// Bytes of a record that a cluster takes whose members are not all of this version.
pub const SHORT_RECORD_BYTES_MAX: usize = 320;

/// Something for a part, as that part reads it.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub struct PartMessage {
    /// For which part.
    #[serde(with = "Part")]
    pub part: String,
    /// Kind of the message, in the numbering of the part.
    pub kind: u16,
    /// It holds until there is another one of its kind: a role that begins later is told, too.
    pub holds: bool,
    /// The message.
    #[serde(with = "serde_bytes")]
    pub bytes: Vec<u8>,
    /// The user for whom it is, and where that user is signed in; empty: it says that itself, or is for nobody.
    #[serde(with = "Name")]
    pub by: String,
}

impl PartMessage {
    /// A value for a part.
    pub fn new(part: &str, kind: u16, value: &impl Serialize) -> PartMessage {
        PartMessage {
            part: part.to_owned(),
            kind,
            holds: false,
            bytes: codec::encode(value),
            by: String::new(),
        }
    }

    /// The value, where it is one.
    pub fn read<T: DeserializeOwned>(&self) -> Option<T> {
        codec::decode(&self.bytes).ok()
    }
}

/// A lease as this machine knows it.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub struct KnownLease {
    /// Its name.
    #[serde(with = "Name")]
    pub name: String,
    /// Its epoch.
    pub epoch: u64,
    /// Until when this machine holds it, nanoseconds of CLOCK_BOOTTIME; zero: it does not.
    pub until_ns: u64,
    /// The name of the machine to which it was granted last; empty after a release.
    #[serde(with = "Name")]
    pub holder: String,
    /// The number of its record; zero without one.
    pub number: u64,
    /// What a holder wrote down under it last; empty: nothing.
    #[serde(with = "record")]
    pub record: Vec<u8>,
}

/// A lease that a part of this machine wants, or wants to know.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub struct WantedLease {
    /// Its name.
    #[serde(with = "Name")]
    pub name: String,
    /// How well this machine could use it, or does.
    pub rank: u32,
    /// It is not wanted, but what becomes of it is.
    pub watch: bool,
    /// How long a renewal of it is good, milliseconds; zero: as the cluster does it.
    pub valid_ms: u64,
}

/// Leases. Those that are not named are not held.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
pub struct KnownLeases(#[serde(with = "Leases")] pub Vec<KnownLease>);

/// All leases that a part could use now, or wants to know.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
pub struct WantedLeases(#[serde(with = "Leases")] pub Vec<WantedLease>);

/// What the cluster says to a part whose leases bear its name (`address/www`). Every part that
/// wants leases reads it beside its own messages.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub enum LeaseNews {
    /// The leases that the part named, where they exist. It holds until the next one.
    Known(KnownLeases),
    /// Another machine could use this lease better: give it up in good order.
    HandOver {
        /// The lease.
        #[serde(with = "Name")]
        name: String,
    },
}

/// Kinds of [`LeaseNews`], above all kinds of the parts themselves.
const KNOWN: u16 = 0x100;
const HAND_OVER: u16 = 0x101;

impl LeaseNews {
    /// Encodes the message for forwarding to this part.
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

    /// Reads the message, if it is one.
    pub fn of(message: &PartMessage) -> Option<LeaseNews> {
        let is_news = matches!(message.kind, KNOWN | HAND_OVER);
        is_news.then(|| message.read())?
    }
}
