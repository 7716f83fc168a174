//! Messages between parts, and from commands to a part. The supervisor forwards them by
//! the name of the part, without reading them.

use super::bounded::{Name, Part, leases};
use crate::codec;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The longest name of a part, bytes.
pub const PART_BYTES_MAX: usize = 16;
/// Maximum number of leases in one message.
pub const LEASES_MAX: usize = 512;
/// Bytes of a lease's name.
pub const LEASE_NAME_BYTES_MAX: usize = 128;

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
}

impl PartMessage {
    /// A value for a part.
    pub fn new(part: &str, kind: u16, value: &impl Serialize) -> PartMessage {
        PartMessage {
            part: part.to_owned(),
            kind,
            holds: false,
            bytes: codec::encode(value),
        }
    }

    /// The value, where it is one.
    pub fn read<T: DeserializeOwned>(&self) -> Option<T> {
        codec::decode(&self.bytes).ok()
    }
}

/// A lease that this machine holds.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub struct HeldLease {
    /// Its name.
    #[serde(with = "Name")]
    pub name: String,
    /// Its epoch.
    pub epoch: u64,
    /// Until when, nanoseconds of CLOCK_BOOTTIME; zero: it is not held.
    pub until_ns: u64,
}

/// A lease that something of this machine wants.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub struct WantedLease {
    /// Its name.
    #[serde(with = "Name")]
    pub name: String,
    /// How well this machine could use it, or does.
    pub rank: u32,
}

/// The leases that this machine holds. Those that are not named are not held.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
pub struct HeldLeases(#[serde(with = "leases")] pub Vec<HeldLease>);

/// The leases that addresses are bound to and could use now.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
pub struct WantedLeases(#[serde(with = "leases")] pub Vec<WantedLease>);
