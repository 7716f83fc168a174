//! What nodes write under their leases.

use crate::dhcp::moves::{Claim, Past};
use crate::dhcp::range::{Range, Span};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr};

/// In [`Record::past`]: there was another range of IPv4; every lease of then is known; there was another
/// range of IPv6; no client has heard of a lease in this epoch, so the node that is named knows all of those
/// before.
pub(super) const PAST: u8 = 1;
pub(super) const KNOWN: u8 = 2;
pub(super) const PAST6: u8 = 4;
pub(super) const UNHEARD: u8 = 8;
/// In a record that is not clear: all leases that were given by the records of before are this node's own; so
/// are those of IPv6.
pub(super) const OWN: u8 = 16;
pub(super) const OWN6: u8 = 32;

/// What is written under the lease of a part.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub(super) struct Record {
    /// The node that gives addresses of it.
    pub(super) node: String,
    /// It has on its disk which of them another node may have given.
    pub(super) clear: bool,
    /// It has on its disk which machines have had their turn, as far as that can be known.
    pub(super) turns: bool,
    /// The first and the last address of the range, and the number of parts.
    pub(super) range: (u32, u32, u32),
    /// A mark of the range of IPv6 and its parts: there is no room for its addresses.
    pub(super) six: u64,
    /// Machines with an order, by [`crate::mac::mark`].
    pub(super) orders: Vec<u32>,
    /// In which epoch it gives them.
    pub(super) epoch: u64,
    /// Marks of the nodes that know every lease.
    pub(super) named: BTreeSet<u32>,
    /// The first and the last address of those that were given by ranges of before, and what of them is so.
    pub(super) past: (u32, u32, u8),
    /// In which files its leases of IPv4 and IPv6 are. Zero: none, or the record is of an older version.
    #[serde(rename = "s")]
    pub(super) stores: (u32, u32),
    /// While no client has heard of a lease: a mark of the files of the node that is named. Zero: not known.
    #[serde(rename = "t")]
    pub(super) before: u32,
    /// How long a lease may be, seconds, of all that may be in force. Zero: not known, by an older version.
    #[serde(rename = "l")]
    pub(super) longest_s: u32,
    /// The node that held the part before and knows what is withheld because of that, and a mark of its files.
    /// Zero: none.
    #[serde(rename = "f")]
    pub(super) former: (u32, u32),
}

impl Record {
    /// What it says of addresses.
    pub(super) fn claim(&self) -> Claim {
        let (first, last, flags) = self.past;
        Claim {
            range: range_of(self.range),
            past: (flags & PAST > 0).then(|| Past {
                span: Span {
                    first: first.into(),
                    last: last.into(),
                },
                is_known: flags & KNOWN > 0,
            }),
        }
    }
}

pub(super) fn range_of((first, last, parts): (u32, u32, u32)) -> Option<Range> {
    (parts > 0).then(|| Range {
        first: first.into(),
        last: last.into(),
        parts,
    })
}

/// A mark of the files with the leases of a node. Zero: not known.
pub(super) fn mix(stores: (u32, u32)) -> u32 {
    stores.0 ^ stores.1.rotate_left(16)
}

/// A mark of a node, which all nodes make alike (FNV-1a).
pub(super) fn mark_of(node: &str) -> u32 {
    { node.bytes() }.fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    })
}

/// What is written under the lease of a node.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub(super) struct At {
    pub(super) address: Ipv4Addr,
    #[serde(default)]
    pub(super) six: Option<Ipv6Addr>,
}
