//! Defines the status of this node with respect to the address ranges: the parts from which it may
//! assign, as the cluster has granted them, and its knowledge of the leases in each part.

use crate::dhcp::desk::ClusterNodeAddresses;
use crate::dhcp::moves::LeaseSources;
use crate::dhcp::pool::AdoptedKnowledge;
use crate::dhcp::range::Span;
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv6Addr;

/// Part of the address range that this node holds: only the holder assigns addresses of it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct HeldPart {
    pub has_all_leases: bool,
    /// True if the node knows which machines have had their single boot: no other node has decided
    /// that since this node learned it.
    pub has_turns: bool,
    /// End of the cluster's lease for the part, milliseconds of CLOCK_BOOTTIME.
    pub until_ms: u64,
    pub epoch: u64,
    /// Nodes that have every lease of the part, according to the cluster's record now or soon.
    pub named: BTreeSet<String>,
    /// Sources of the clients' leases, unless all leases of the part are known, or none.
    pub moved: Option<MovedPart>,
    /// Addresses that previous ranges assigned in the name of this part.
    pub past: PreviousRanges,
    /// True if the cluster's record says that no client has got a lease of the part yet.
    pub is_unheard: bool,
    /// Longest lease that the record permits, seconds: no client gets a longer one.
    pub longest_s: u32,
    /// Longest lease of the part that another node may have given, seconds.
    pub before_s: u32,
    /// True if the record names a node that knows, or will know, which addresses are withheld.
    pub has_former: bool,
    /// True if the record named that node already when this node received the part: then that node
    /// also knows which addresses were withheld before.
    pub had_former: bool,
    /// True if the named node is up.
    pub is_former_there: bool,
}

/// Leases of a part whose ranges have changed, as far as this node knows them.
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

/// Part whose leases this node adopts from its copy before it holds the part. The copy is of the
/// leases of `node`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PartAdoption {
    pub node: String,
    /// Epoch in which `node` gave the leases.
    pub epoch: u64,
    /// Epoch in which this node receives the part.
    pub into: u64,
    pub longest_s: u32,
    pub knowledge: AdoptedKnowledge,
}

/// Status of this node with respect to the leases of a network.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct NodeLeaseStatus {
    pub held: BTreeMap<usize, HeldPart>,
    /// Parts from which this node assigns no address yet, and whose earlier leases were all given
    /// by this node: the epoch, and the addresses of previous ranges.
    pub claims: BTreeMap<usize, (u64, PreviousRanges)>,
    /// Parts that this node will hold after it has adopted their leases.
    pub adopts: BTreeMap<usize, PartAdoption>,
    /// Nodes for which this node waits: by another configuration of the ranges, they hold addresses
    /// of a part.
    pub awaited_nodes: BTreeSet<String>,
    pub nodes: ClusterNodeAddresses,
    /// Name of the leader; empty: none.
    pub leader: String,
    /// Machines with a boot order, as the leader has recorded them.
    pub orders: Vec<u32>,
    /// True if another node decides single boots, or did so last.
    pub is_led_elsewhere: bool,
    /// Generations of this node's files that the cluster has recorded. None: nothing is recorded
    /// now.
    pub recorded: Option<[u32; 4]>,
}

/// Knowledge of this node and of the others about leases.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Knowledge {
    /// Nodes that have every lease of a part that this node holds, and the epoch, by part.
    pub in_step: BTreeMap<usize, (u64, BTreeSet<String>)>,
    /// Parts of other nodes of which this node has a complete copy for the same ranges: the holder,
    /// and the epoch.
    pub copies: BTreeMap<usize, (String, u64)>,
    pub adopted: BTreeMap<usize, u64>,
    pub linked: BTreeSet<String>,
    pub files: LeaseFiles,
    /// Generations of the files of this node that are open.
    pub generations: Generations,
    pub longest_s: u32,
}

/// Numbers of writes of four files: leases of IPv4, leases of IPv6, single boots, and copies of
/// other nodes' leases. The numbers only grow, so an older copy of a file has a smaller number.
/// None: the file is not open.
pub type Generations = [Option<u32>; 4];
