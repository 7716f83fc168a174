//! What a node knows of the addresses of a part that it takes by another range than the one before, or by
//! another number of parts: a value without a clock.
//!
//! A lease is a fact about an address, and the range says of which part the address is. The record of a
//! part says by which range its holder gives addresses, and in `past` which addresses were given in the
//! name of this part by ranges of before.
//!
//! A node whose range is not that of its record first writes a record with its own range, and judges the
//! records of the other parts when it sees it. All records have one order: of two nodes that claim an
//! address by different ranges, the later one sees the record of the other, and waits until that one
//! changes. Until then its record is not settled: nobody may take over what this node knows.

use super::pool::{Fate, Holder};
use super::range::{Address, Range, Span};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

/// What the record of a part says of addresses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Claim<A = Ipv4Addr> {
    /// By which range its holder gives them. None: by none.
    pub range: Option<Range<A>>,
    /// Those that were given by ranges of before.
    pub past: Option<Past<A>>,
}

impl<A> Default for Claim<A> {
    fn default() -> Claim<A> {
        Claim {
            range: None,
            past: None,
        }
    }
}

/// Addresses that were given in the name of a part by ranges of before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Past<A = Ipv4Addr> {
    /// All of them, and maybe others.
    pub span: Span<A>,
    /// The node that wrote the record knows every lease of them that was given in the name of the part.
    pub is_known: bool,
}

impl<A: Address> Claim<A> {
    /// Which addresses its holder may give.
    fn gives(&self, part: usize) -> Option<Span<A>> {
        self.range?.span(part)
    }

    /// The past of a part whose record is this one when its next record has another range. `knows`: the
    /// node that writes it knows the leases that were given by this claim. `parts`: how many there are now.
    pub fn past_with(
        &self,
        part: usize,
        (range, parts): (Option<Range<A>>, u32),
        knows: bool,
    ) -> Option<Past<A>> {
        let given = self.gives(part).filter(|_| self.range != range);
        let past = self.past.map(|past| past.span);
        let lost: Vec<Span<A>> = self.lost(parts).collect();
        let all = { past.into_iter() }
            .chain(given)
            .chain(lost.iter().copied());
        Some(Past {
            span: all.reduce(Span::with)?,
            is_known: knows && lost.is_empty() && self.past.is_none_or(|past| past.is_known),
        })
    }

    /// What a node knows of a part by its own record with this claim, if it has not settled by then: each lease
    /// that it gave itself is its own.
    pub fn unsettled(&self, part: usize) -> Claim<A> {
        let given = self.gives(part);
        let past = self.past.map(|past| past.span);
        let span = past.into_iter().chain(given).reduce(Span::with);
        let is_known = self.past.is_none_or(|past| past.is_known);
        Claim {
            range: None,
            past: span.map(|span| Past { span, is_known }),
        }
    }

    /// Addresses of parts that do not exist any more: whose leases they have, nobody says.
    fn lost(&self, parts: u32) -> impl Iterator<Item = Span<A>> + use<A> {
        let range = self.range;
        let lost = range.map_or(0..0, |range| parts..range.parts);
        lost.filter_map(move |part| range?.span(usize::try_from(part).ok()?))
    }
}

/// What a node knows of a part before it takes it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Base<A = Ipv4Addr> {
    /// Nobody has held it.
    New,
    /// All leases that were given by this claim, which was its own.
    Own(Claim<A>),
    /// Nothing, but the node that had it before does, except what it did not know itself: that is this node's own, by
    /// ranges of before or, if this is so, whatever the address.
    Left(bool),
    /// Nothing.
    Unknown,
}

/// Another part.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Other<A = Ipv4Addr> {
    /// Its number.
    pub part: usize,
    /// Its record.
    pub claim: Claim<A>,
    /// What this node knows of leases that were given by its record.
    pub knows: Knows,
    /// By its record, this node knows what its holder withholds ([`Holder::Before`]).
    pub is_former: bool,
}

/// What a node knows of the leases of another part.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Knows {
    /// They are its own.
    Own,
    /// It has a whole copy of this node, of this epoch, which was made by the same range.
    Copy(String, u64),
    /// Nothing yet.
    NotYet,
}

/// What a node does with a part.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Judged<A = Ipv4Addr> {
    /// The holder of this other part may give some of the addresses by another range: it waits.
    Waits(usize),
    /// It will soon know what the holder of this other part gave before: it waits for a moment.
    Soon(usize),
    /// It takes the part.
    Takes(Taking<A>),
}

/// From where a node knows the leases of the addresses of a part.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Taking<A = Ipv4Addr> {
    /// Every lease of these is its own.
    known: Option<Span<A>>,
    /// Its own leases of before.
    own: Vec<Span<A>>,
    /// Somebody may have these.
    unclear: Vec<Span<A>>,
    /// Somebody may have these, as a node knows that was not heard in time: the holder of this other part, or the one
    /// that had this part before.
    late: Vec<(Span<A>, usize)>,
    copies: Vec<(Span<A>, Source)>,
}

/// The copy of a part of another node.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Source {
    part: usize,
    node: String,
    epoch: u64,
    /// See [`Other::is_former`].
    is_former: bool,
}

/// Who has which address, by a copy; None: there is no such copy.
type Leases<A> = Option<BTreeMap<A, Holder>>;

impl<A> Default for Taking<A> {
    fn default() -> Taking<A> {
        Taking {
            known: None,
            own: Vec::new(),
            unclear: Vec::new(),
            late: Vec::new(),
            copies: Vec::new(),
        }
    }
}

impl<A: Address + 'static> Taking<A> {
    /// Whether this node knows all by itself.
    pub fn is_own(&self) -> bool {
        self.unclear.is_empty() && self.late.is_empty() && self.copies.is_empty()
    }

    /// The parts whose nodes know what this one does not, and were not heard in time.
    pub fn late(&self) -> impl Iterator<Item = usize> {
        self.late.iter().map(|(_, part)| *part)
    }

    /// Nobody will say what those parts' holders know.
    pub fn give_up_late(&mut self) {
        let late = std::mem::take(&mut self.late);
        self.unclear.extend(late.into_iter().map(|(span, _)| span));
    }

    /// How many copies of other nodes it has leases from.
    #[cfg(test)]
    pub(super) fn copies(&self) -> usize {
        self.copies.len()
    }

    /// What is known of addresses. `copy`: the leases of a part, of a node and an epoch.
    pub fn fates(&self, copy: impl Fn(usize, &str, u64) -> Leases<A>) -> Box<dyn Fn(A) -> Fate> {
        let copies = self.copies.iter();
        let copies = copies.map(|(span, from)| {
            let known = copy(from.part, &from.node, from.epoch);
            (*span, known, from.is_former)
        });
        let copies: Vec<_> = copies.collect();
        let taking = self.clone();
        Box::new(move |address| taking.fate(address, &copies))
    }

    /// `copies`: of which addresses they count, and whether this node knows what is withheld there.
    fn fate(&self, address: A, copies: &[(Span<A>, Leases<A>, bool)]) -> Fate {
        let has = |spans: &[Span<A>]| spans.iter().any(|span| span.has(address));
        if self.known.is_some_and(|span| span.has(address)) {
            return Fate::Known;
        }
        let is_late = self.late.iter().any(|(span, _)| span.has(address));
        let has_copy = copies.iter().any(|(span, ..)| span.has(address));
        match (is_late, has_copy) {
            _ if has(&self.unclear) => return Fate::Unclear,
            // What two others gave, neither of them knows alone.
            (true, true) => return Fate::Unclear,
            (true, false) if has(&self.own) => return Fate::Also(Holder::Before(None)),
            (true, false) => return Fate::Before,
            (false, _) => {}
        }
        let (mut given, mut is_own) = (None, has(&self.own));
        for (_, copy, is_former) in copies.iter().filter(|(span, ..)| span.has(address)) {
            let Some(copy) = copy else {
                return Fate::Unclear;
            };
            let holder = match copy.get(&address).copied().unwrap_or(Holder::Nobody) {
                Holder::Before(_) if *is_former => {
                    is_own = true;
                    continue;
                }
                // Who knows of them by another range, is not known.
                Holder::Before(user) => Holder::Unclear(user),
                holder => holder,
            };
            given = Some(match given {
                None | Some(Holder::Nobody) => holder,
                Some(before) if holder == Holder::Nobody || holder == before => before,
                // Which of two gave it last is not known.
                Some(_) => Holder::Unclear(None),
            });
        }
        match given {
            // Its own, or nobody's.
            None => Fate::Known,
            Some(holder) if is_own => Fate::Also(holder),
            Some(holder) => Fate::Is(holder),
        }
    }
}

/// Judges how a node takes a part by a range, when its own record with this range is there. `is_late`: it
/// has waited for long enough to hear of leases that are not given any more.
pub fn judge<A: Address>(
    (part, range): (usize, Option<Range<A>>),
    base: &Base<A>,
    others: &[Other<A>],
    is_late: bool,
) -> Judged<A> {
    let Some((range, own)) = range.and_then(|range| Some((range, range.span(part)?))) else {
        return Judged::Takes(Taking::default());
    };
    let is_other = |claim: &Claim<A>| claim.range != Some(range);
    let gives = |other: &&Other<A>| {
        let gives = other.claim.gives(other.part);
        is_other(&other.claim) && gives.is_some_and(|span| span.meets(own))
    };
    if let Some(other) = others.iter().find(gives) {
        return Judged::Waits(other.part);
    }
    let mut taking = Taking::default();
    match base {
        Base::New => {}
        Base::Unknown => {
            taking.unclear.push(own);
            return Judged::Takes(taking);
        }
        Base::Left(is_all) => {
            taking.late.push((own, part));
            taking.own.extend(Some(own).filter(|_| *is_all));
        }
        Base::Own(claim) => {
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
        let past = { other.claim.past }.filter(|past| counts(past.span, own, taking.known));
        let Some(past) = past else { continue };
        match (&other.knows, is_other(&other.claim)) {
            _ if !past.is_known => taking.unclear.push(past.span),
            (Knows::Own, _) => taking.own.push(past.span),
            (Knows::Copy(node, epoch), false) => {
                let from = Source {
                    part: other.part,
                    node: node.clone(),
                    epoch: *epoch,
                    is_former: other.is_former,
                };
                taking.copies.push((past.span, from));
            }
            _ if is_late => taking.late.push((past.span, other.part)),
            _ => return Judged::Soon(other.part),
        }
    }
    taking
        .unclear
        .retain(|span| counts(*span, own, taking.known));
    Judged::Takes(taking)
}

/// Whether a span has addresses of a part which are not known.
fn counts<A: Address>(span: Span<A>, part: Span<A>, known: Option<Span<A>>) -> bool {
    let both = Span {
        first: span.first.max(part.first),
        last: span.last.min(part.last),
    };
    let is_known = |known: Span<A>| known.has(both.first) && known.has(both.last);
    both.first <= both.last && !known.is_some_and(is_known)
}

/// A mark of ranges, and of how many parts they have, which all nodes make alike (FNV-1a). Zero is that of
/// none.
pub fn mark_of<A: Address>(range: Option<Range<A>>) -> u64 {
    let Some(range) = range else { return 0 };
    let octets = [
        range.first.bits().to_be_bytes(),
        range.last.bits().to_be_bytes(),
        u128::from(range.parts).to_be_bytes(),
    ];
    let hash = octets.as_flattened().iter();
    let hash = hash.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    hash.max(1)
}

/// A mark of the ranges of a network.
pub fn mark_of_both(range: Option<Range>, range6: Option<Range<Ipv6Addr>>) -> u64 {
    mark_of(range) ^ mark_of(range6).rotate_left(1)
}

#[cfg(test)]
mod tests;
