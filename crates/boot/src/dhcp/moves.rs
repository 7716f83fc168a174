//! Decides whether a node may take a part of a range, and which leases of the part it knows, after
//! a change of the range or of the number of parts. All types are values without a clock.
//!
//! A lease is a fact about an address, and the range determines the part of the address. The
//! record of a part names the range by which its holder assigns addresses. Its `past` names the
//! addresses that were assigned in the name of this part by previous ranges.
//!
//! A node whose range is not that of its record first writes a record with its own range. It
//! judges the records of the other parts when it sees that record. All records have one order. If
//! two nodes claim an address by different ranges, the later one sees the record of the other and
//! waits until that record changes. Until then the later record is not settled: no node may copy
//! its leases.

use super::pool::{AddressKnowledge, Holder};
use super::range::{Address, Range, Span};
use part::fnv::fnv1a;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

/// Addresses that the record of a part claims.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PartClaim<A = Ipv4Addr> {
    /// Range by which the holder assigns addresses. None: it assigns none.
    pub range: Option<Range<A>>,
    /// Addresses that were assigned by previous ranges.
    pub past: Option<PastAddresses<A>>,
}

impl<A> Default for PartClaim<A> {
    fn default() -> PartClaim<A> {
        PartClaim {
            range: None,
            past: None,
        }
    }
}

/// Addresses that were assigned in the name of a part by previous ranges.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PastAddresses<A = Ipv4Addr> {
    /// Span that covers all of these addresses, and maybe others.
    pub span: Span<A>,
    /// True if the writer of the record knows every lease of these addresses that was given in
    /// the name of the part.
    pub is_known: bool,
}

impl<A: Address> PartClaim<A> {
    /// Returns the addresses that the holder may assign.
    fn gives(&self, part: usize) -> Option<Span<A>> {
        self.range?.span(part)
    }

    /// Returns the past of a part when the record after this one has another range. `knows`: the
    /// writer knows the leases that were given by this claim. `parts`: the current number of
    /// parts.
    pub fn past_with(
        &self,
        part: usize,
        range: Option<Range<A>>,
        parts: u32,
        knows: bool,
    ) -> Option<PastAddresses<A>> {
        let given = self.gives(part).filter(|_| self.range != range);
        let past = self.past.map(|past| past.span);
        let lost: Vec<Span<A>> = self.lost(parts).collect();
        let all = past.into_iter().chain(given).chain(lost.iter().copied());
        Some(PastAddresses {
            span: all.reduce(Span::with)?,
            is_known: knows && lost.is_empty() && self.past.is_none_or(|past| past.is_known),
        })
    }

    /// Returns what a node knows by its own record with this claim if the record did not settle:
    /// each lease that the node gave itself is its own.
    pub fn unsettled(&self, part: usize) -> PartClaim<A> {
        let given = self.gives(part);
        let past = self.past.map(|past| past.span);
        let span = past.into_iter().chain(given).reduce(Span::with);
        let is_known = self.past.is_none_or(|past| past.is_known);
        PartClaim {
            range: None,
            past: span.map(|span| PastAddresses { span, is_known }),
        }
    }

    /// Returns addresses of parts that no longer exist: no node reports their leases.
    fn lost(&self, parts: u32) -> impl Iterator<Item = Span<A>> + use<A> {
        let range = self.range;
        let lost = range.map_or(0..0, |range| parts..range.parts);
        lost.filter_map(move |part| range?.span(usize::try_from(part).ok()?))
    }
}

/// Knowledge of a node about a part before it takes the part.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PartBasis<A = Ipv4Addr> {
    /// No node has held the part.
    New,
    /// All leases that were given by this claim, which was the node's own.
    Own(PartClaim<A>),
    /// Nothing; the previous holder knows the leases, except those that it did not know itself.
    /// This node knows the latter: those of previous ranges or, if true, of any address.
    Left(bool),
    /// No lease of the part.
    Unknown,
}

/// Part other than the one to be taken, with the claim in its record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OtherPart<A = Ipv4Addr> {
    pub part: usize,
    /// Claim in the record of the part.
    pub claim: PartClaim<A>,
    /// Knowledge of the node about leases that were given by that record.
    pub knows: LeaseKnowledge,
    /// True if this node knows what the holder withholds by that record ([`Holder::Before`]).
    pub is_former: bool,
}

/// Knowledge of a node about the leases of another part.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LeaseKnowledge {
    /// The leases are the node's own.
    Own,
    /// The node has a complete copy from this node and epoch, made by the same range.
    Copy(String, u64),
    /// No copy has arrived yet.
    NotYet,
}

/// Decision of a node about a part.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PartDecision<A = Ipv4Addr> {
    /// Wait: the holder of this other part may assign some of the addresses by another range.
    Waits(usize),
    /// Wait a moment: a copy of the earlier leases of this other part is about to arrive.
    Soon(usize),
    /// Take the part with this knowledge.
    Takes(LeaseSources<A>),
}

/// Sources from which a node knows the leases of a part.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LeaseSources<A = Ipv4Addr> {
    /// Addresses whose leases are all the node's own.
    known: Option<Span<A>>,
    /// Earlier leases that the node gave itself.
    own: Vec<Span<A>>,
    /// Addresses that unknown clients may have.
    unclear: Vec<Span<A>>,
    /// Addresses that unknown clients may have, but whose leases a late node knows: the holder of
    /// this other part, or the previous holder of this part.
    late: Vec<(Span<A>, usize)>,
    copies: Vec<(Span<A>, LeaseCopySource)>,
}

/// Copy of the part of another node.
#[derive(Clone, PartialEq, Eq, Debug)]
struct LeaseCopySource {
    part: usize,
    node: String,
    epoch: u64,
    is_former: bool,
}

/// Holder of each address in a copy; None: there is no such copy.
type CopiedHolders<A> = Option<BTreeMap<A, Holder>>;

impl<A> Default for LeaseSources<A> {
    fn default() -> LeaseSources<A> {
        LeaseSources {
            known: None,
            own: Vec::new(),
            unclear: Vec::new(),
            late: Vec::new(),
            copies: Vec::new(),
        }
    }
}

impl<A: Address + 'static> LeaseSources<A> {
    /// Returns whether the node needs no other node to know all leases.
    pub fn is_own(&self) -> bool {
        self.unclear.is_empty() && self.late.is_empty() && self.copies.is_empty()
    }

    /// Returns the parts whose nodes know what this one does not, and did not report in time.
    pub fn late(&self) -> impl Iterator<Item = usize> {
        self.late.iter().map(|(_, part)| *part)
    }

    /// Stops waiting for the holders of late parts: their addresses become unclear.
    pub fn give_up_late(&mut self) {
        let late = std::mem::take(&mut self.late);
        self.unclear.extend(late.into_iter().map(|(span, _)| span));
    }

    /// Returns the number of copies from which the node has leases.
    #[cfg(test)]
    pub(super) fn copies(&self) -> usize {
        self.copies.len()
    }

    /// Returns a function from an address to what is known of it. `copy`: returns the leases of a
    /// part, given the node and the epoch.
    pub fn fates(
        &self,
        copy: impl Fn(usize, &str, u64) -> CopiedHolders<A>,
    ) -> Box<dyn Fn(A) -> AddressKnowledge> {
        let copies = self.copies.iter();
        let copies = copies.map(|(span, from)| {
            let known = copy(from.part, &from.node, from.epoch);
            (*span, known, from.is_former)
        });
        let copies: Vec<_> = copies.collect();
        let taking = self.clone();
        Box::new(move |address| taking.fate(address, &copies))
    }

    /// Returns what is known of an address. `copies`: the span of each copy, its leases, and
    /// whether this node knows what is withheld there.
    fn fate(&self, address: A, copies: &[(Span<A>, CopiedHolders<A>, bool)]) -> AddressKnowledge {
        let has = |spans: &[Span<A>]| spans.iter().any(|span| span.has(address));
        if self.known.is_some_and(|span| span.has(address)) {
            return AddressKnowledge::Known;
        }
        let is_late = self.late.iter().any(|(span, _)| span.has(address));
        let has_copy = copies.iter().any(|(span, ..)| span.has(address));
        match (is_late, has_copy) {
            _ if has(&self.unclear) => return AddressKnowledge::Unclear,
            // Two other nodes have assigned the address, and neither of them knows all leases.
            (true, true) => return AddressKnowledge::Unclear,
            (true, false) if has(&self.own) => return AddressKnowledge::Also(Holder::Before(None)),
            (true, false) => return AddressKnowledge::Before,
            (false, _) => {}
        }
        let (mut given, mut is_own) = (None, has(&self.own));
        for (_, copy, is_former) in copies.iter().filter(|(span, ..)| span.has(address)) {
            let Some(copy) = copy else {
                return AddressKnowledge::Unclear;
            };
            let holder = match copy.get(&address).copied().unwrap_or(Holder::Nobody) {
                Holder::Before(_) if *is_former => {
                    is_own = true;
                    continue;
                }
                // Nobody knows which node has the lease by another range.
                Holder::Before(user) => Holder::Unclear(user),
                holder => holder,
            };
            given = Some(match given {
                None | Some(Holder::Nobody) => holder,
                Some(before) if holder == Holder::Nobody || holder == before => before,
                // Nobody knows which of the two assigned the address last.
                Some(_) => Holder::Unclear(None),
            });
        }
        match given {
            // The address is the node's own, or nobody has it.
            None => AddressKnowledge::Known,
            Some(holder) if is_own => AddressKnowledge::Also(holder),
            Some(holder) => AddressKnowledge::Is(holder),
        }
    }
}

/// Decides how a node takes a part by a range, once its own record with this range is written.
/// `is_late`: the node has waited long enough for reports of leases of previous ranges.
pub fn judge<A: Address>(
    part: usize,
    range: Option<Range<A>>,
    base: &PartBasis<A>,
    others: &[OtherPart<A>],
    is_late: bool,
) -> PartDecision<A> {
    let Some((range, own)) = range.and_then(|range| Some((range, range.span(part)?))) else {
        return PartDecision::Takes(LeaseSources::default());
    };
    let is_other = |claim: &PartClaim<A>| claim.range != Some(range);
    let gives = |other: &&OtherPart<A>| {
        let gives = other.claim.gives(other.part);
        is_other(&other.claim) && gives.is_some_and(|span| span.meets(own))
    };
    if let Some(other) = others.iter().find(gives) {
        return PartDecision::Waits(other.part);
    }
    let mut taking = LeaseSources::default();
    match base {
        PartBasis::New => {}
        PartBasis::Unknown => {
            taking.unclear.push(own);
            return PartDecision::Takes(taking);
        }
        PartBasis::Left(is_all) => {
            taking.late.push((own, part));
            taking.own.extend(Some(own).filter(|_| *is_all));
        }
        PartBasis::Own(claim) => {
            taking.known = claim.gives(part);
            taking.unclear.extend(claim.lost(range.parts));
            match claim.past {
                Some(past) if past.is_known => taking.own.push(past.span),
                past => taking.unclear.extend(past.map(|past| past.span)),
            }
        }
    }
    for other in others {
        taking.unclear.extend(other.claim.lost(range.parts));
        let past = other
            .claim
            .past
            .filter(|past| counts(past.span, own, taking.known));
        let Some(past) = past else { continue };
        match (&other.knows, is_other(&other.claim)) {
            _ if !past.is_known => taking.unclear.push(past.span),
            (LeaseKnowledge::Own, _) => taking.own.push(past.span),
            (LeaseKnowledge::Copy(node, epoch), false) => {
                let from = LeaseCopySource {
                    part: other.part,
                    node: node.clone(),
                    epoch: *epoch,
                    is_former: other.is_former,
                };
                taking.copies.push((past.span, from));
            }
            _ if is_late => taking.late.push((past.span, other.part)),
            _ => return PartDecision::Soon(other.part),
        }
    }
    taking
        .unclear
        .retain(|span| counts(*span, own, taking.known));
    PartDecision::Takes(taking)
}

/// Returns whether a span has addresses of a part that are not in `known`.
fn counts<A: Address>(span: Span<A>, part: Span<A>, known: Option<Span<A>>) -> bool {
    let both = Span {
        first: span.first.max(part.first),
        last: span.last.min(part.last),
    };
    let is_known = |known: Span<A>| known.has(both.first) && known.has(both.last);
    both.first <= both.last && !known.is_some_and(is_known)
}

/// Computes a checksum of a range and its number of parts (FNV-1a), equal on all nodes. Zero: no
/// range.
pub fn mark_of<A: Address>(range: Option<Range<A>>) -> u64 {
    let Some(range) = range else { return 0 };
    let octets = [
        range.first.bits().to_be_bytes(),
        range.last.bits().to_be_bytes(),
        u128::from(range.parts).to_be_bytes(),
    ];
    fnv1a(octets.as_flattened().iter().copied()).max(1)
}

/// Computes a checksum of both ranges of a network.
pub fn mark_of_both(range: Option<Range>, range6: Option<Range<Ipv6Addr>>) -> u64 {
    mark_of(range) ^ mark_of(range6).rotate_left(1)
}

#[cfg(test)]
mod tests;
