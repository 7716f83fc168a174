//! Records that nodes write under their cluster leases.

use crate::dhcp::moves::{PartClaim, PastAddresses};
use crate::dhcp::range::{Range, Span};
use crate::site::PreviousRanges;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Flag in [`PartRecord::past`] and [`PartRecord::past6`]: there was another range, and every lease
/// of it is known.
pub(super) const PAST: u8 = 1;
pub(super) const KNOWN: u8 = 2;
/// Flag in [`PartRecord::past`]: no client has got a lease in this epoch, so the named node knows
/// all earlier ones.
pub(super) const UNHEARD: u8 = 8;
/// Flag in the same field, in a record that is not clear: all leases that were given by the
/// previous records are this node's own.
pub(super) const OWN: u8 = 16;
/// Flag in the same field, about [`PartRecord::former`]: that node had all of the part, and not
/// only some of its addresses by another range.
pub(super) const ALL: u8 = 32;
/// Flag in the same field: the node that wrote the record knows the leases that the former node
/// did not know.
pub(super) const LEFT: u8 = 64;

/// Range of IPv6: the two halves of its first address, the number of addresses after that, and
/// the number of parts.
pub(super) type Range6 = (u64, u64, u32, u32);

/// Record under the lease of a part.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub(super) struct PartRecord {
    /// Node that assigns addresses of the part.
    pub(super) node: String,
    /// True if the node has stored which of the addresses another node may have assigned.
    pub(super) clear: bool,
    /// True if the node has stored which machines have had their single boot, as far as that can
    /// be known.
    pub(super) turns: bool,
    /// First and last address of the range, and the number of parts.
    pub(super) range: (u32, u32, u32),
    /// Range of IPv6, as [`Range6`].
    #[serde(rename = "x", skip_serializing_if = "is_none")]
    pub(super) range6: Range6,
    /// Machines with a boot order, by [`crate::mac::mark`].
    pub(super) orders: Vec<u32>,
    /// Epoch in which the node assigns addresses.
    pub(super) epoch: u64,
    /// Checksums of the names of nodes that know every lease.
    pub(super) named: BTreeSet<u32>,
    /// First and last address of those that were assigned by previous ranges, and the flags.
    pub(super) past: (u32, u32, u8),
    /// The same for IPv6: the halves of both addresses, and the flags.
    #[serde(rename = "y", skip_serializing_if = "is_none")]
    pub(super) past6: (u64, u64, u64, u64, u8),
    /// Identifiers of the files with the leases of IPv4 and IPv6. Zero: none, or the record is of
    /// an older version.
    #[serde(rename = "s")]
    pub(super) stores: (u32, u32),
    /// Checksum of the files of the named node, while no client has got a lease. Zero: unknown.
    #[serde(rename = "t")]
    pub(super) before: u32,
    /// Longest lease that may be in force, seconds. Zero: unknown, from an older version.
    #[serde(rename = "l")]
    pub(super) longest_s: u32,
    /// Previous holder of the part, or of some of its addresses by another range, which knows
    /// what is withheld because of that; checksums of its name and its files. Zero: none.
    #[serde(rename = "f", skip_serializing_if = "is_none")]
    pub(super) former: (u32, u32),
}

impl PartRecord {
    /// Returns the claim to IPv4 addresses.
    pub(super) fn claim(&self) -> PartClaim {
        let (first, last, flags) = self.past;
        PartClaim {
            range: range_of(self.range),
            past: past_of((first.into(), last.into()), flags),
        }
    }

    /// Returns whether the node knows the leases that it gave itself.
    pub(super) fn knows_own(&self) -> bool {
        self.clear || self.past.2 & OWN > 0
    }

    /// Returns whether addresses were assigned by previous ranges.
    pub(super) fn is_moved(&self) -> bool {
        self.claim().past.is_some() || self.claim6().past.is_some()
    }

    /// Returns the addresses that were assigned by previous ranges.
    pub(super) fn pasts(&self) -> PreviousRanges {
        PreviousRanges {
            four: self.claim().past.map(|past| past.span),
            six: self.claim6().past.map(|past| past.span),
        }
    }

    /// Returns the claim to IPv6 addresses.
    pub(super) fn claim6(&self) -> PartClaim<Ipv6Addr> {
        let (first, first_low, last, last_low, flags) = self.past6;
        let ends = (address(first, first_low), address(last, last_low));
        PartClaim {
            range: range6_of(self.range6),
            past: past_of(ends, flags),
        }
    }
}

/// Returns whether a field has its default value and can be omitted.
fn is_none<T: Default + PartialEq>(field: &T) -> bool {
    *field == T::default()
}

fn past_of<A>((first, last): (A, A), flags: u8) -> Option<PastAddresses<A>> {
    (flags & PAST > 0).then_some(PastAddresses {
        span: Span { first, last },
        is_known: flags & KNOWN > 0,
    })
}

fn address(high: u64, low: u64) -> Ipv6Addr {
    Ipv6Addr::from_bits(u128::from(high) << 64 | u128::from(low))
}

/// Splits an address into its two halves.
fn halves(address: Ipv6Addr) -> (u64, u64) {
    let bits = address.to_bits();
    let half = |bits: u128| u64::try_from(bits & u128::from(u64::MAX)).unwrap_or(u64::MAX);
    (half(bits >> 64), half(bits))
}

/// Encodes the addresses that were assigned by previous ranges.
pub(super) fn written_past(past: Option<PastAddresses>) -> (u32, u32, u8) {
    past.map_or((0, 0, 0), |past| {
        let Span { first, last } = past.span;
        (first.to_bits(), last.to_bits(), flags_of(past.is_known))
    })
}

/// Encodes the IPv6 addresses that were assigned by previous ranges.
pub(super) fn written_past6(past: Option<PastAddresses<Ipv6Addr>>) -> (u64, u64, u64, u64, u8) {
    past.map_or((0, 0, 0, 0, 0), |past| {
        let (first, last) = (halves(past.span.first), halves(past.span.last));
        (first.0, first.1, last.0, last.1, flags_of(past.is_known))
    })
}

fn flags_of(is_known: bool) -> u8 {
    PAST | if is_known { KNOWN } else { 0 }
}

pub(super) fn range6_of((high, low, beyond, parts): Range6) -> Option<Range<Ipv6Addr>> {
    let first = address(high, low);
    let last = first.to_bits().saturating_add(beyond.into());
    (parts > 0).then(|| Range {
        first,
        last: last.into(),
        parts,
    })
}

/// Encodes a range of IPv6.
pub(super) fn written6(range: Option<Range<Ipv6Addr>>) -> Range6 {
    range.map_or((0, 0, 0, 0), |range| {
        let (high, low) = halves(range.first);
        (high, low, range.len().saturating_sub(1), range.parts)
    })
}

pub(super) fn range_of((first, last, parts): (u32, u32, u32)) -> Option<Range> {
    (parts > 0).then(|| Range {
        first: first.into(),
        last: last.into(),
        parts,
    })
}

/// Combines both identifiers of a node's lease files to a checksum. Zero: unknown.
pub(super) fn mix(stores: (u32, u32)) -> u32 {
    stores.0 ^ stores.1.rotate_left(16)
}

/// Computes the checksum of a node's name (FNV-1a), equal on all nodes.
pub(super) fn mark_of(node: &str) -> u32 {
    node.bytes().fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    })
}

/// Record under the lease of a node.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub(super) struct NodeLeaseRecord {
    pub(super) address: Ipv4Addr,
    #[serde(default)]
    pub(super) six: Option<Ipv6Addr>,
    /// Epoch in which another node has each part, as the writer saw it: the writer was up after
    /// that. Zero: none, or unknown.
    #[serde(rename = "e", default)]
    pub(super) epochs: Vec<u64>,
    /// Further addresses of the node that lie in the ranges.
    #[serde(rename = "o", default, skip_serializing_if = "Vec::is_empty")]
    pub(super) own: Vec<IpAddr>,
    /// Generations of the node's files, as [`crate::site::Generations`]. Zero: none is recorded.
    #[serde(rename = "g", default, skip_serializing_if = "is_none")]
    pub(super) generations: [u32; 4],
}
