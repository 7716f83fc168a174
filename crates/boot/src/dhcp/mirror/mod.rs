//! Copies of the leases of a part at the other nodes, so that one of them knows the leases when
//! it takes the part over. All types are values without a clock.
//!
//! - [`LeaseSharing`] is at the holder of parts: it sends changes to each other node, and tracks
//!   which nodes have all of them.
//! - [`LeaseCopies`] is at the other nodes: their copies of parts of others.
//!
//! The record of a part in the cluster names the nodes that have all leases. A client gets its
//! ACK only when each node that the record names, or may soon name, has the lease. So the holder
//! waits for a node before the record names it, and continues without a node only when the record
//! no longer names it. A copy belongs to one epoch of one holder, and to its ranges: the node
//! that takes the part over compares them with the record. The copy also has the leases that the
//! holder gave of the part by previous ranges.

mod copies;
mod sharing;

pub use copies::{CopyEffect, LeaseCopies, LeaseCopy, LeaseCopyError};
pub use sharing::{ConfirmationDecision, LeaseSharing};

use super::pool::HolderChange;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// Limit of changes in one message.
pub const CHANGES_MAX: usize = 2_048;
/// Limit of parts of a network: one for each node.
pub const PARTS_MAX: usize = 64;

/// Message of the holder of a part to a node with a copy.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct LeaseCopyMessage {
    pub part: usize,
    /// Epoch in which the sender holds the part.
    pub epoch: u64,
    /// Sequence number, higher than that of each message before.
    pub number: u64,
    pub said: LeaseCopyContent,
}

/// Content of a message about a part.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub enum LeaseCopyContent {
    /// Start of a copy: all leases follow. They belong to the ranges with this checksum.
    Begin(u64),
    /// New holders of these addresses.
    Changes(Vec<HolderChange<IpAddr>>),
    /// End of the initial copy: later messages are changes.
    Whole,
}
