//! Status of this node in a network of a cluster.

use crate::dhcp::desk::ClusterNodeAddresses;
use crate::dhcp::moves::LeaseSources;
use crate::dhcp::pool::AdoptedKnowledge;
use crate::dhcp::range::Span;
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv6Addr;

/// Part that this node holds.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct HeldPart {
    pub has_all_leases: bool,
    /// True if the node knows which machines have had their single boot: no other node has
    /// decided that since.
    pub has_turns: bool,
    /// End of the cluster lease, milliseconds of CLOCK_BOOTTIME.
    pub until_ms: u64,
    pub epoch: u64,
    /// Nodes with every lease that the record names, or may soon name.
    pub named: BTreeSet<String>,
    /// Sources of the leases, unless each lease of the part is known or each is unknown.
    pub moved: Option<MovedPart>,
    /// Addresses that were assigned in the name of this part by previous ranges.
    pub past: PreviousRanges,
    /// True if the record states that no client has got a lease yet.
    pub is_unheard: bool,
    /// Longest lease by the record, seconds: no client gets a longer one.
    pub longest_s: u32,
    /// Longest lease of the part that another node may have given, seconds.
    pub before_s: u32,
    /// True if the record names a node that knows, or will know, what is withheld.
    pub has_former: bool,
    /// True if that was so when this node took the part: that node then also knows what was
    /// withheld before.
    pub had_former: bool,
    /// True if that node is up.
    pub is_former_there: bool,
}

/// Knowledge of a node about a part whose ranges have changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MovedPart {
    pub four: LeaseSources,
    pub six: LeaseSources<Ipv6Addr>,
}

/// Identifiers of the files with the leases of IPv4 and of IPv6. A file that was lost and created
/// again has another one. Zero: no file yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LeaseFiles {
    pub four: u32,
    pub six: u32,
}

impl LeaseFiles {
    /// Combines both identifiers to a checksum. Zero: unknown.
    pub fn checksum(self) -> u32 {
        self.four ^ self.six.rotate_left(16)
    }
}

/// Addresses that were assigned by previous ranges.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PreviousRanges {
    pub four: Option<Span>,
    pub six: Option<Span<Ipv6Addr>>,
}

/// Part whose leases this node adopts from its copy before it holds the part.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PartAdoption {
    pub node: String,
    /// Epoch in which that node gave the leases.
    pub epoch: u64,
    /// Epoch in which this node has the part.
    pub into: u64,
    pub longest_s: u32,
    pub knowledge: AdoptedKnowledge,
}

/// Status of this node in the network.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct NodeLeaseStatus {
    pub held: BTreeMap<usize, HeldPart>,
    /// Parts from which the node assigns no address yet, and whose earlier leases are all its
    /// own: the epoch, and the addresses of previous ranges.
    pub claims: BTreeMap<usize, (u64, PreviousRanges)>,
    /// Parts that the node is to hold after it has adopted their leases.
    pub adopts: BTreeMap<usize, PartAdoption>,
    /// Nodes for which this one waits: they have the addresses of a part by another range.
    pub awaited_nodes: BTreeSet<String>,
    pub nodes: ClusterNodeAddresses,
    /// Name of the leader; empty: none.
    pub leader: String,
    /// Machines with a boot order, as the leader has written them.
    pub orders: Vec<u32>,
    /// True if another node decides single boots, or did so last.
    pub is_led_elsewhere: bool,
    /// Generations of this node's files that the cluster has recorded. None: nothing is recorded
    /// now.
    pub recorded: Option<[u32; 4]>,
}

/// Knowledge of this node and the others about leases.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Knowledge {
    /// Nodes that have every lease of a part that this node holds, and the epoch.
    pub in_step: BTreeMap<usize, (u64, BTreeSet<String>)>,
    /// Parts of others of which this node has a complete copy by the same ranges: the holder, and
    /// the epoch.
    pub copies: BTreeMap<usize, (String, u64)>,
    pub adopted: BTreeMap<usize, u64>,
    pub linked: BTreeSet<String>,
    pub files: LeaseFiles,
    /// Generations of the files of this node that are open.
    pub generations: Generations,
    pub longest_s: u32,
}

/// Numbers of writes of the files with the leases of IPv4, with those of IPv6, with the single
/// boots, and with the copies of other nodes' leases. They only grow: an older copy of a file has a
/// smaller number. None: the file is not open.
pub type Generations = [Option<u32>; 4];
