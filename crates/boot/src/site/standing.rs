//! What this node is in a network of a cluster.

use crate::dhcp::desk::Nodes;
use std::collections::BTreeMap;

/// A part that this node holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Held {
    /// It knows every lease of it.
    pub knows: bool,
    /// Until when, milliseconds of CLOCK_BOOTTIME.
    pub until_ms: u64,
}

/// What this node is in the network.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Standing {
    /// The parts that it holds.
    pub held: BTreeMap<usize, Held>,
    /// The other nodes.
    pub nodes: Nodes,
    /// Which node leads; empty: none.
    pub leader: String,
    /// Machines with an order, as the leader has written them.
    pub orders: Vec<u32>,
}
