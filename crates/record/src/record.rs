//! Defines the unit of the store: a key, its value and version, and the bounds that a received one
//! keeps.

use crate::version::Version;
use serde::{Deserialize, Serialize};
use std::fmt::Debug;
use std::ops::{Deref, DerefMut};

pub const CLOCK_MAX: u64 = 1 << 62;

/// Key of a record. Keys with the same group are decided one after the other, because a decision
/// for one of them may depend on the others.
pub trait Key: Copy + Ord + Debug {
    type Group: Copy + Ord + Debug;

    fn group(&self) -> Self::Group;

    /// Returns the least key of a group.
    fn first_of(group: Self::Group) -> Self;
}

/// Value of a record. The place is what is assigned: a host, or the owner of an address.
pub trait Value: Clone + PartialEq + Debug {
    type Place: ?Sized + Ord + Debug + ToOwned<Owned: Clone + Debug>;

    fn of_place(place: &Self::Place) -> Self;

    fn place(&self) -> &Self::Place;

    /// Adds details that another record of the same key has, never its place.
    fn complete(&mut self, other: &Self);

    /// Checks the bounds of a received value.
    ///
    /// # Errors
    /// No correct node sends such a value.
    fn check(&self) -> Result<(), InvalidMessage>;
}

/// A record in a message or a journal. Times are relative, since the clocks of the nodes differ.
/// Dereferences to its value.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Record<K, V> {
    pub key: K,
    pub value: V,
    pub version: Version,
    pub age_ms: u64,
    /// Time without a hold after which the record expires, milliseconds.
    pub left_ms: u64,
    /// Holds through the sender.
    pub holds: u32,
    pub is_proved: bool,
}

impl<K, V> Deref for Record<K, V> {
    type Target = V;

    fn deref(&self) -> &V {
        &self.value
    }
}

impl<K, V> DerefMut for Record<K, V> {
    fn deref_mut(&mut self) -> &mut V {
        &mut self.value
    }
}

impl<K, V> Record<K, V> {
    /// Creates the record of an owned key, which neither expires nor counts holds.
    pub fn new(key: K, value: V, version: Version) -> Record<K, V> {
        Record {
            key,
            value,
            version,
            age_ms: 0,
            left_ms: 0,
            holds: 0,
            is_proved: false,
        }
    }
}

impl<K, V: Value> Record<K, V> {
    pub(crate) fn is_above(&self, other: &Record<K, V>) -> bool {
        (self.version, self.value.place()) > (other.version, other.value.place())
    }

    pub(crate) fn check(&self) -> Result<(), InvalidMessage> {
        self.value.check()?;
        check_version(self.version)?;
        if self.age_ms.max(self.left_ms) < CLOCK_MAX {
            Ok(())
        } else {
            Err(InvalidMessage::Time)
        }
    }
}

/// A message that no correct node would send.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum InvalidMessage {
    #[error("a message with too many entries")]
    TooMany,
    #[error("an invalid name in a message")]
    Name,
    #[error("an impossible time in a message")]
    Time,
}

pub(crate) fn check_version(version: Version) -> Result<(), InvalidMessage> {
    if version.clock.max(version.generation) < CLOCK_MAX {
        Ok(())
    } else {
        Err(InvalidMessage::Time)
    }
}
