//! Copies of the leases of a part at the other nodes, so that one of them knows the leases when it takes
//! the part over: values without a clock.
//!
//! - [`Sharing`] is at the holder of parts: what it says to each other node, and which of them know
//!   everything.
//! - [`Copies`] is at the others: what they know of parts of others.
//!
//! The record of a part in the cluster names the nodes that know everything. A client hears of a lease
//! only when each node knows it that the record names, or may come to name; so the holder waits for a
//! node before the record names it, and goes on without a node only when the record names it no more.
//! A copy is of one epoch of one holder, and of its ranges: who takes the part over compares them with the
//! record. It has also what the holder gave of the part by ranges of before.

mod copies;
mod sharing;

pub use copies::{Copies, Copy, Refused, Took};
pub use sharing::{Sharing, Tell};

use super::pool::Change;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// Changes in one message.
pub const CHANGES_MAX: usize = 2_048;
/// Parts of a network: one for each node.
pub const PARTS_MAX: usize = 64;

/// What the holder of a part says of it.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Told {
    /// The part.
    pub part: usize,
    /// The epoch in which it is held.
    pub epoch: u64,
    /// Higher than that of each message before.
    pub number: u64,
    /// What.
    pub said: Said,
}

/// What is said.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub enum Said {
    /// All leases follow. They are of ranges with this mark.
    Begin(u64),
    /// Who has these addresses now.
    Changes(Vec<Change<IpAddr>>),
    /// That were all: what follows are changes.
    Whole,
}
