//! What nodes write under their leases.

use crate::dhcp::moves::{Claim, Past};
use crate::dhcp::range::{Range, Span};
use crate::site::Pasts;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// In [`Record::past`] and [`Record::past6`]: there was another range; every lease of then is known.
pub(super) const PAST: u8 = 1;
pub(super) const KNOWN: u8 = 2;
/// In [`Record::past`]: no client has heard of a lease in this epoch, so the node that is named knows all of those
/// before.
pub(super) const UNHEARD: u8 = 8;
/// There, in a record that is not clear: all leases that were given by the records of before are this node's own.
pub(super) const OWN: u8 = 16;
/// There, beside [`Record::former`]: that node had all of the part, and not only by another range some of its addresses.
pub(super) const ALL: u8 = 32;
/// There: what that node did not know itself, the one that wrote the record does.
pub(super) const LEFT: u8 = 64;

/// A range of IPv6: the two halves of its first address, how many addresses follow that, and the number of parts.
pub(super) type Range6 = (u64, u64, u32, u32);

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
    /// The range of IPv6.
    #[serde(rename = "x", skip_serializing_if = "is_none")]
    pub(super) range6: Range6,
    /// Machines with an order, by [`crate::mac::mark`].
    pub(super) orders: Vec<u32>,
    /// In which epoch it gives them.
    pub(super) epoch: u64,
    /// Marks of the nodes that know every lease.
    pub(super) named: BTreeSet<u32>,
    /// The first and the last address of those that were given by ranges of before, and what of them is so.
    pub(super) past: (u32, u32, u8),
    /// The same of IPv6: the halves of both addresses.
    #[serde(rename = "y", skip_serializing_if = "is_none")]
    pub(super) past6: (u64, u64, u64, u64, u8),
    /// In which files its leases of IPv4 and IPv6 are. Zero: none, or the record is of an older version.
    #[serde(rename = "s")]
    pub(super) stores: (u32, u32),
    /// While no client has heard of a lease: a mark of the files of the node that is named. Zero: not known.
    #[serde(rename = "t")]
    pub(super) before: u32,
    /// How long a lease may be, seconds, of all that may be in force. Zero: not known, by an older version.
    #[serde(rename = "l")]
    pub(super) longest_s: u32,
    /// The node that held the part before, or by another range some of its addresses, and knows what is withheld
    /// because of that; a mark of its files. Zero: none.
    #[serde(rename = "f", skip_serializing_if = "is_none")]
    pub(super) former: (u32, u32),
}

impl Record {
    /// What it says of addresses.
    pub(super) fn claim(&self) -> Claim {
        let (first, last, flags) = self.past;
        Claim {
            range: range_of(self.range),
            past: past_of((first.into(), last.into()), flags),
        }
    }

    /// Whether its node knows what it gave itself.
    pub(super) fn knows_own(&self) -> bool {
        self.clear || self.past.2 & OWN > 0
    }

    /// Whether it gave addresses by ranges of before.
    pub(super) fn is_moved(&self) -> bool {
        self.claim().past.is_some() || self.claim6().past.is_some()
    }

    /// The addresses that were given by ranges of before.
    pub(super) fn pasts(&self) -> Pasts {
        Pasts {
            four: self.claim().past.map(|past| past.span),
            six: self.claim6().past.map(|past| past.span),
        }
    }

    /// What it says of addresses of IPv6.
    pub(super) fn claim6(&self) -> Claim<Ipv6Addr> {
        let (first, first_low, last, last_low, flags) = self.past6;
        let ends = (address(first, first_low), address(last, last_low));
        Claim {
            range: range6_of(self.range6),
            past: past_of(ends, flags),
        }
    }
}

/// Whether a field says nothing.
fn is_none<T: Default + PartialEq>(field: &T) -> bool {
    *field == T::default()
}

fn past_of<A>((first, last): (A, A), flags: u8) -> Option<Past<A>> {
    (flags & PAST > 0).then_some(Past {
        span: Span { first, last },
        is_known: flags & KNOWN > 0,
    })
}

fn address(high: u64, low: u64) -> Ipv6Addr {
    Ipv6Addr::from_bits(u128::from(high) << 64 | u128::from(low))
}

/// The halves of an address.
fn halves(address: Ipv6Addr) -> (u64, u64) {
    let bits = address.to_bits();
    let half = |bits: u128| u64::try_from(bits & u128::from(u64::MAX)).unwrap_or(u64::MAX);
    (half(bits >> 64), half(bits))
}

/// What is written of addresses that were given by ranges of before.
pub(super) fn written_past(past: Option<Past>) -> (u32, u32, u8) {
    past.map_or((0, 0, 0), |past| {
        let Span { first, last } = past.span;
        (first.to_bits(), last.to_bits(), flags_of(past.is_known))
    })
}

/// The same of IPv6.
pub(super) fn written_past6(past: Option<Past<Ipv6Addr>>) -> (u64, u64, u64, u64, u8) {
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

/// What is written of a range of IPv6.
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
    /// Of each part, in which epoch another node has it: this one was there after that. Zero: none, or not known.
    #[serde(rename = "e", default)]
    pub(super) epochs: Vec<u64>,
    /// Further addresses of the node that its machines would get otherwise.
    #[serde(rename = "o", default, skip_serializing_if = "Vec::is_empty")]
    pub(super) own: Vec<IpAddr>,
}
