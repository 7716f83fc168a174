//! What this node is in a network of a cluster.

use crate::dhcp::desk::Nodes;
use crate::dhcp::moves::Taking;
use crate::dhcp::range::Span;
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv6Addr;

/// A part that this node holds.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Held {
    /// It knows every lease of it.
    pub knows: bool,
    /// It knows which machines have had their turn: no other node has decided that since it did.
    pub has_turns: bool,
    /// Until when, milliseconds of CLOCK_BOOTTIME.
    pub until_ms: u64,
    /// In which epoch.
    pub epoch: u64,
    /// Nodes that the record names as those that know every lease, or may come to name.
    pub named: BTreeSet<String>,
    /// Where it knows leases from, if not each part of them is known or unknown.
    pub moved: Option<Moved>,
    /// Addresses that were given in the name of this part by ranges of before.
    pub past: Pasts,
    /// The record says that no client has heard of a lease yet.
    pub is_unheard: bool,
    /// How long a lease may be by the record, seconds: no client hears of a longer one.
    pub longest_s: u32,
    /// How long a lease may be that another node has given of it, seconds.
    pub before_s: u32,
    /// The record says which node knows what is withheld because of it, or will.
    pub has_former: bool,
    /// It did so when this node took the part: what is withheld since before is known to that node, too.
    pub had_former: bool,
    /// That node is there.
    pub is_former_there: bool,
}

/// What a node knows of a part whose ranges are others than before.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Moved {
    /// Of IPv4.
    pub four: Taking,
    /// Of IPv6.
    pub six: Taking<Ipv6Addr>,
    /// The node that knows what of it is withheld because that node was not heard in time, and a mark of its files.
    /// Zero: none.
    pub former: (u32, u32),
}

/// Addresses that were given by ranges of before.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Pasts {
    /// Of IPv4.
    pub four: Option<Span>,
    /// Of IPv6.
    pub six: Option<Span<Ipv6Addr>>,
}

/// A part whose leases this node takes from its copy, before it holds the part.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Adopt {
    /// Whose leases they are, and of which epoch.
    pub node: String,
    /// See there.
    pub epoch: u64,
    /// The epoch in which this node has the part.
    pub into: u64,
    /// How long one of them may be, seconds.
    pub longest_s: u32,
    /// What that node withholds because of the node that held the part before, is this one's own.
    pub knows_before: bool,
    /// What this node did not know then, that one did.
    pub is_left: bool,
}

/// What this node is in the network.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Standing {
    /// The parts that it holds.
    pub held: BTreeMap<usize, Held>,
    /// The parts of which it gives no address yet, and all of whose leases of before are its own: the epoch, and
    /// the addresses that were given by ranges of before.
    pub claims: BTreeMap<usize, (u64, Pasts)>,
    /// The parts that it is to hold when it has taken their leases over.
    pub adopts: BTreeMap<usize, Adopt>,
    /// Nodes that have the addresses of a part by another range, for which this one waits.
    pub waits: BTreeSet<String>,
    /// The other nodes.
    pub nodes: Nodes,
    /// Which node leads; empty: none.
    pub leader: String,
    /// Machines with an order, as the leader has written them.
    pub orders: Vec<u32>,
}

/// What this node and the others know of leases.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Knowledge {
    /// Nodes that know every lease of a part that this node holds, and the epoch.
    pub in_step: BTreeMap<usize, (u64, BTreeSet<String>)>,
    /// The parts of others of which this node has a whole copy by the same ranges: the holder, and the
    /// epoch.
    pub copies: BTreeMap<usize, (String, u64)>,
    /// Parts whose leases this node has taken over, and has on its disk: its epoch.
    pub adopted: BTreeMap<usize, u64>,
    /// Nodes that can be told of leases.
    pub linked: BTreeSet<String>,
    /// The files in which it keeps leases of IPv4 and IPv6: others after they were lost. Zero: none yet.
    pub stores: (u32, u32),
    /// How long a lease may be that is in force or is given from now on, seconds.
    pub longest_s: u32,
}
