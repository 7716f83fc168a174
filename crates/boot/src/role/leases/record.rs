//! Defines and encodes the records that nodes write under their cluster leases: one for each part
//! of the ranges, and one for each node.

use crate::dhcp::moves::{PartClaim, PastAddresses};
use crate::dhcp::range::{Address, Range, Span};
use crate::site::{LeaseFiles, PreviousRanges};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Ranges of a network with their parts, as all nodes compare them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct NetworkRanges {
    pub(super) four: Option<Range>,
    pub(super) six: Option<Range<Ipv6Addr>>,
}

/// Node that knows what is withheld of a part: the previous holder of the part, or of some of its
/// addresses by another range.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct FormerHolder {
    /// Checksum of the node's name.
    pub(super) node: u32,
    /// Checksum of its lease files at that time.
    pub(super) files: u32,
}

impl FormerHolder {
    /// Identifies a node and its lease files. None: the files are unknown.
    pub(super) fn new(node: &str, files: LeaseFiles) -> Option<FormerHolder> {
        let files = files.checksum();
        (files != 0).then(|| FormerHolder {
            node: mark_of(node),
            files,
        })
    }

    pub(super) fn is(self, node: &str) -> bool {
        self.node == mark_of(node)
    }
}

/// Extent of what a [`FormerHolder`] knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct FormerKnowledge {
    /// True if the former holder had all of the part, and not only some of its addresses by another
    /// range.
    pub(super) had_all: bool,
    /// True if the node that wrote the record knows the leases that the former holder did not know.
    pub(super) is_complemented: bool,
}

/// Record under the lease of a part.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(from = "EncodedPartRecord", into = "EncodedPartRecord")]
pub(super) struct PartRecord {
    /// Node that assigns addresses of the part.
    pub(super) node: String,
    /// True if the node has stored which of the addresses another node may have assigned.
    pub(super) clear: bool,
    /// True if the node has stored which machines have had their single boot, as far as that can
    /// be known.
    pub(super) turns: bool,
    /// Ranges by which the node assigns addresses.
    pub(super) ranges: NetworkRanges,
    /// Machines with a boot order, by [`crate::mac::mark`].
    pub(super) orders: Vec<u32>,
    /// Epoch in which the node assigns addresses.
    pub(super) epoch: u64,
    /// Checksums of the names of nodes that know every lease.
    pub(super) named: BTreeSet<u32>,
    /// IPv4 addresses that were assigned by previous ranges.
    pub(super) past: Option<PastAddresses>,
    /// IPv6 addresses that were assigned by previous ranges.
    pub(super) past6: Option<PastAddresses<Ipv6Addr>>,
    /// True if no client has got a lease in this epoch, so the node named as the former holder
    /// knows all earlier leases.
    pub(super) is_unheard: bool,
    /// True if, in a record that is not clear, all leases by the previous records are this node's
    /// own.
    pub(super) has_own_leases: bool,
    /// Lease files of the node. Zero: none, or the record is of an older version.
    pub(super) files: LeaseFiles,
    /// Checksum of the files of the named node, while no client has got a lease. Zero: unknown.
    pub(super) before: u32,
    /// Longest lease that may be in force, seconds. Zero: unknown, from an older version.
    pub(super) longest_s: u32,
    pub(super) former: Option<FormerHolder>,
    pub(super) former_knowledge: FormerKnowledge,
}

impl PartRecord {
    /// Returns the claim to IPv4 addresses.
    pub(super) fn claim(&self) -> PartClaim {
        PartClaim {
            range: self.ranges.four,
            past: self.past,
        }
    }

    /// Returns the claim to IPv6 addresses.
    pub(super) fn claim6(&self) -> PartClaim<Ipv6Addr> {
        PartClaim {
            range: self.ranges.six,
            past: self.past6,
        }
    }

    /// Returns whether the node knows the leases that it gave itself.
    pub(super) fn knows_own(&self) -> bool {
        self.clear || self.has_own_leases
    }

    /// Returns whether addresses were assigned by previous ranges.
    pub(super) fn is_moved(&self) -> bool {
        self.past.is_some() || self.past6.is_some()
    }

    /// Returns the addresses that were assigned by previous ranges.
    pub(super) fn pasts(&self) -> PreviousRanges {
        PreviousRanges {
            four: self.past.map(|past| past.span),
            six: self.past6.map(|past| past.span),
        }
    }
}

/// Flags of [`EncodedPartRecord`]: `PAST` and `KNOWN` are about the addresses of previous ranges,
/// and the others are fields of [`PartRecord`].
const PAST: u8 = 1;
const KNOWN: u8 = 2;
const UNHEARD: u8 = 8;
const OWN: u8 = 16;
const FORMER_HAD_ALL: u8 = 32;
const FORMER_COMPLEMENTED: u8 = 64;

/// Encoded previous addresses of IPv4: the first one, the last one, and the flags.
type EncodedPast = (u32, u32, u8);
/// Encoded previous addresses of IPv6: the halves of the first one, those of the last one, and the
/// flags.
type EncodedPast6 = (u64, u64, u64, u64, u8);
/// Encoded range of IPv6: the halves of the first address, the number of addresses after that, and
/// the number of parts.
type EncodedRange6 = (u64, u64, u32, u32);

/// Encoding of a [`PartRecord`]. The bytes are those of all earlier versions, and short: a record
/// has little room.
#[derive(Serialize, Deserialize, Clone, Default)]
#[serde(default)]
pub(super) struct EncodedPartRecord {
    pub(super) node: String,
    pub(super) clear: bool,
    pub(super) turns: bool,
    /// Range of IPv4: first and last address, and the number of parts.
    pub(super) range: (u32, u32, u32),
    #[serde(rename = "x", skip_serializing_if = "is_default")]
    pub(super) range6: EncodedRange6,
    pub(super) orders: Vec<u32>,
    pub(super) epoch: u64,
    pub(super) named: BTreeSet<u32>,
    pub(super) past: EncodedPast,
    #[serde(rename = "y", skip_serializing_if = "is_default")]
    pub(super) past6: EncodedPast6,
    #[serde(rename = "s")]
    pub(super) files: (u32, u32),
    #[serde(rename = "t")]
    pub(super) before: u32,
    #[serde(rename = "l")]
    pub(super) longest_s: u32,
    /// Checksums of the node's name and its files. Zero: none.
    #[serde(rename = "f", skip_serializing_if = "is_default")]
    pub(super) former: (u32, u32),
}

impl From<EncodedPartRecord> for PartRecord {
    fn from(encoded: EncodedPartRecord) -> PartRecord {
        let (first, last, flags) = encoded.past;
        let (first6, first6_low, last6, last6_low, flags6) = encoded.past6;
        let has = |flag: u8| flags & flag > 0;
        PartRecord {
            node: encoded.node,
            clear: encoded.clear,
            turns: encoded.turns,
            ranges: NetworkRanges {
                four: decode_range(encoded.range),
                six: decode_range6(encoded.range6),
            },
            orders: encoded.orders,
            epoch: encoded.epoch,
            named: encoded.named,
            past: decode_past(first.into(), last.into(), flags),
            past6: decode_past(
                address(first6, first6_low),
                address(last6, last6_low),
                flags6,
            ),
            is_unheard: has(UNHEARD),
            has_own_leases: has(OWN),
            files: LeaseFiles {
                four: encoded.files.0,
                six: encoded.files.1,
            },
            before: encoded.before,
            longest_s: encoded.longest_s,
            former: (encoded.former != (0, 0)).then_some(FormerHolder {
                node: encoded.former.0,
                files: encoded.former.1,
            }),
            former_knowledge: FormerKnowledge {
                had_all: has(FORMER_HAD_ALL),
                is_complemented: has(FORMER_COMPLEMENTED),
            },
        }
    }
}

impl From<PartRecord> for EncodedPartRecord {
    fn from(record: PartRecord) -> EncodedPartRecord {
        let flags = [
            (record.is_unheard, UNHEARD),
            (record.has_own_leases, OWN),
            (record.former_knowledge.had_all, FORMER_HAD_ALL),
            (record.former_knowledge.is_complemented, FORMER_COMPLEMENTED),
        ];
        let set = flags.into_iter().filter(|(is_set, _)| *is_set);
        let flags = set.fold(0, |all, (_, flag)| all | flag);
        let (first, last, its_flags) = record.past.map_or((0, 0, 0), |past| {
            let Span { first, last } = past.span;
            (first.to_bits(), last.to_bits(), past_flags(past.is_known))
        });
        let range = record.ranges.four;
        EncodedPartRecord {
            node: record.node,
            clear: record.clear,
            turns: record.turns,
            range: range.map_or((0, 0, 0), |range| {
                (range.first.to_bits(), range.last.to_bits(), range.parts)
            }),
            range6: encode_range6(record.ranges.six),
            orders: record.orders,
            epoch: record.epoch,
            named: record.named,
            past: (first, last, flags | its_flags),
            past6: record.past6.map_or((0, 0, 0, 0, 0), |past| {
                let (first, first_low) = halves(past.span.first);
                let (last, last_low) = halves(past.span.last);
                (first, first_low, last, last_low, past_flags(past.is_known))
            }),
            files: (record.files.four, record.files.six),
            before: record.before,
            longest_s: record.longest_s,
            former: record
                .former
                .map_or((0, 0), |former| (former.node, former.files)),
        }
    }
}

/// Returns whether a field has its default value and can be omitted.
fn is_default<T: Default + PartialEq>(field: &T) -> bool {
    *field == T::default()
}

fn decode_past<A: Address>(first: A, last: A, flags: u8) -> Option<PastAddresses<A>> {
    (flags & PAST > 0).then_some(PastAddresses {
        span: Span { first, last },
        is_known: flags & KNOWN > 0,
    })
}

fn past_flags(is_known: bool) -> u8 {
    PAST | if is_known { KNOWN } else { 0 }
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

fn decode_range(encoded: (u32, u32, u32)) -> Option<Range> {
    let (first, last, parts) = encoded;
    (parts > 0).then(|| Range {
        first: first.into(),
        last: last.into(),
        parts,
    })
}

fn decode_range6(encoded: EncodedRange6) -> Option<Range<Ipv6Addr>> {
    let (high, low, beyond, parts) = encoded;
    let first = address(high, low);
    let last = first.to_bits().saturating_add(beyond.into());
    (parts > 0).then(|| Range {
        first,
        last: last.into(),
        parts,
    })
}

fn encode_range6(range: Option<Range<Ipv6Addr>>) -> EncodedRange6 {
    range.map_or((0, 0, 0, 0), |range| {
        let (high, low) = halves(range.first);
        (high, low, range.len().saturating_sub(1), range.parts)
    })
}

impl NetworkRanges {
    /// Creates the ranges as a record states them: a range has a limit of addresses.
    pub(super) fn new(four: Option<Range>, six: Option<Range<Ipv6Addr>>) -> NetworkRanges {
        NetworkRanges {
            four,
            six: decode_range6(encode_range6(six)),
        }
    }
}

/// Computes the checksum of a node's name (FNV-1a), equal on all nodes.
pub(super) fn mark_of(node: &str) -> u32 {
    part::fnv::fnv1a_32(node.bytes())
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
    #[serde(rename = "g", default, skip_serializing_if = "is_default")]
    pub(super) generations: [u32; 4],
}
