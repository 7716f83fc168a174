//! Distributes owned keys: one node decides about each key, and the other nodes have copies.
//!
//! Keys are divided into parts. A part has one owner at a time, by a lease of the cluster with its
//! epoch. Only the owner decides, so a node without the lease gives out nothing new. A record in
//! the cluster names the nodes that know every decision of the owner; one of these continues when
//! it gets the lease.
//!
//! - [`OwnedParts`] is at the owner: it sends its decisions to each other node, and tracks which
//!   nodes have all of them.
//! - [`OwnedCopies`] is at the other nodes: their copies of parts of others.
//!
//! A client gets its response only when each node that the record names, or may soon name, has
//! stored the decision. So the owner waits for a node before the record names it, and continues
//! without a node only when the record no longer names it. A copy belongs to one epoch of one
//! owner, and to a division of the keys into parts: the node that takes the part compares both with
//! the record.

mod copies;
mod parts;

pub use copies::{CopyEffect, OwnedCopies, OwnedCopy, OwnedCopyError};
pub use parts::{Confirmation, ConfirmationDecision, OwnedParts};

use serde::{Deserialize, Serialize};
use std::fmt::Debug;
use std::hash::Hash;

/// Limit of changes in one message.
pub const CHANGES_MAX: usize = 2_048;
/// Maximum number of parts into which the keys are divided.
pub const PARTS_MAX: usize = 64;

/// New state of an owned key.
pub trait OwnedChange: Copy + PartialEq + Debug {
    type Key: Copy + Ord + Hash + Debug;
    /// Client of a key. A client may have several keys.
    type Group: Copy + Eq + Hash + Debug;

    /// Limit of keys in a copy.
    const KEYS_MAX: usize;

    fn key(&self) -> Self::Key;

    /// Returns the client that has the key.
    fn group(&self) -> Option<Self::Group>;

    /// Returns whether the key has a record. Otherwise nobody has it.
    fn has_record(&self) -> bool;
}

/// Message of the owner of a part to a node with a copy. Messages are delivered in order, or the
/// connection ends.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct OwnedMessage<C> {
    pub part: usize,
    /// Epoch in which the sender owns the part.
    pub epoch: u64,
    /// Sequence number, higher than that of each message before.
    pub number: u64,
    #[serde(rename = "said")]
    pub content: OwnedContent<C>,
}

/// Content of a message about a part.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub enum OwnedContent<C> {
    /// Start of a copy: all records follow. They belong to the division with this checksum.
    Begin(u64),
    /// New states of these keys.
    Changes(Vec<C>),
    /// End of the initial copy: later messages are changes.
    Whole,
}

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
