//! Parts whose ranges have changed: what this node knows of their leases, and what it waits for.

use super::known::only;
use super::record::{
    OWN, Record, UNHEARD, mark_of, mix, range_of, range6_of, written_past, written_past6,
};
use super::{Leases, State, Taken};
use crate::dhcp::moves::{Base, Claim, Judged, Knows, Other, Past, judge};
use crate::dhcp::range::{Address, Range};
use crate::site::{Knowledge, Moved};
use part::codec;
use std::collections::BTreeSet;
use std::net::Ipv6Addr;

/// Time for which a node waits for the leases that another one gave by a previous range,
/// nanoseconds. By then the other node has reported them, or cannot.
pub(super) const SOON_NS: u64 = 5_000_000_000;

/// Knowledge of a node about a part before it takes the part.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Basis {
    /// No node has held the part.
    New,
    /// All leases that were given by these claims, which were the node's own.
    Own(Claim, Claim<Ipv6Addr>),
    /// Only the leases that the previous holder did not know: those are the node's own, by a
    /// previous range or, if true, all.
    Left(bool),
    /// No lease of the part.
    Unknown,
}

impl Basis {
    /// Returns what the node knows by its own record if the record did not settle.
    pub(super) fn unsettled(own: &Record, part: usize) -> Basis {
        Basis::Own(own.claim().unsettled(part), own.claim6().unsettled(part))
    }

    fn four(&self) -> Base {
        match self {
            Basis::New => Base::New,
            Basis::Own(claim, _) => Base::Own(*claim),
            Basis::Left(is_all) => Base::Left(*is_all),
            Basis::Unknown => Base::Unknown,
        }
    }

    fn six(&self) -> Base<Ipv6Addr> {
        match self {
            Basis::New => Base::New,
            Basis::Own(_, claim) => Base::Own(*claim),
            Basis::Left(is_all) => Base::Left(*is_all),
            Basis::Unknown => Base::Unknown,
        }
    }
}

/// Records of the other parts.
#[derive(Default)]
struct Others {
    four: Vec<Other>,
    six: Vec<Other<Ipv6Addr>>,
    records: Vec<(usize, Record)>,
}

impl Others {
    /// Returns the holder of another part.
    fn node(&self, part: usize) -> Option<String> {
        let its = self.records.iter().find(|(other, _)| *other == part);
        its.map(|(_, record)| record.node.clone())
    }
}

impl Leases {
    /// Returns the encoded addresses of earlier leases.
    pub(super) fn past(
        &self,
        part: usize,
        record: Option<&Record>,
        (taken, clear): (&Taken, bool),
        now_ns: u64,
    ) -> (u32, u32, u8) {
        let range = range_of(self.range);
        let claim = record.filter(|_| !self.have_ended(taken, now_ns));
        let claim = claim.map(|record| (record, record.claim()));
        let past = self.past_of((part, range), claim, taken);
        let (first, last, flags) = written_past(past);
        let mine = record.filter(|record| self.is_mine(record));
        let own = if clear { 0 } else { taken.own_flags(mine) };
        let unheard = taken.unheard.map_or(0, |_| UNHEARD);
        (first, last, flags | own | unheard)
    }

    /// Returns the encoded IPv6 addresses of earlier leases.
    pub(super) fn past6(
        &self,
        part: usize,
        record: Option<&Record>,
        taken: &Taken,
        now_ns: u64,
    ) -> (u64, u64, u64, u64, u8) {
        let range = range6_of(self.range6);
        let claim = record.filter(|_| !self.have_ended(taken, now_ns));
        let claim = claim.map(|record| (record, record.claim6()));
        written_past6(self.past_of((part, range), claim, taken))
    }

    /// Returns the addresses that were assigned by previous ranges. `range`: the current one.
    /// `claim`: the record, and its claim to such addresses.
    fn past_of<A: Address>(
        &self,
        (part, range): (usize, Option<Range<A>>),
        claim: Option<(&Record, Claim<A>)>,
        taken: &Taken,
    ) -> Option<Past<A>> {
        let (record, claim) = claim?;
        let is_moved = claim.range != range;
        let knows = match &taken.state {
            State::Claims(Basis::Own(..), _) if is_moved => {
                self.is_own(record) && (record.clear || record.past.2 & OWN > 0)
            }
            _ => !is_moved && self.is_own(record),
        };
        claim.past_with(part, (range, self.parts()), knows)
    }

    /// Returns the records of the other parts; None: one of them cannot be decoded.
    fn others(&self, part: usize, knowledge: &Knowledge) -> Option<Others> {
        let mut others = Others::default();
        for other in (0..usize::try_from(self.parts()).ok()?).filter(|other| *other != part) {
            let lease = self.known.get(&self.part(other));
            let Some(lease) = lease.filter(|lease| !lease.record.is_empty()) else {
                // A node that takes that part sees the record of this one before it assigns
                // anything.
                continue;
            };
            let record: Record = codec::decode(&lease.record).ok()?;
            let copy = knowledge.copies.get(&other);
            let copy = copy.filter(|_| record.named.contains(&mark_of(&self.me)));
            let knows = match copy {
                _ if self.is_own(&record) => Knows::Own,
                Some((node, epoch)) if (node, *epoch) == (&record.node, record.epoch) => {
                    Knows::Copy(node.clone(), *epoch)
                }
                _ => Knows::NotYet,
            };
            let is_former = self.is_former(&record);
            others.four.push(Other {
                part: other,
                claim: record.claim(),
                knows: knows.clone(),
                is_former,
            });
            others.six.push(Other {
                part: other,
                claim: record.claim6(),
                knows,
                is_former,
            });
            others.records.push((other, record));
        }
        Some(others)
    }

    /// Takes a part whose record with these ranges is written, as soon as no other node may
    /// assign any of its addresses by other ranges.
    pub(super) fn settle(
        &self,
        part: usize,
        taken: &mut Taken,
        knowledge: &Knowledge,
        (now_ns, waits): (u64, &mut BTreeSet<String>),
    ) {
        let State::Claims(basis, since_ns) = &mut taken.state else {
            return;
        };
        let is_known = *basis != Basis::Unknown;
        let others = self.others(part, knowledge);
        let basis = match others.is_some() {
            true => basis.clone(),
            false => Basis::Unknown,
        };
        let others = others.unwrap_or_default();
        let longest = others.records.iter().map(|(_, record)| record.longest_s);
        taken.longest_s = longest.fold(taken.longest_s, u32::max);
        let is_late = since_ns.is_some_and(|since| now_ns >= since + SOON_NS);
        let (range, range6) = (range_of(self.range), range6_of(self.range6));
        let four = judge((part, range), &basis.four(), &others.four, is_late);
        let six = judge((part, range6), &basis.six(), &others.six, is_late);
        match (four, six) {
            (Judged::Waits(other), _) | (_, Judged::Waits(other)) => {
                waits.extend(others.node(other))
            }
            (Judged::Soon(_), _) | (_, Judged::Soon(_)) => {
                *since_ns = Some(since_ns.unwrap_or(now_ns));
            }
            (Judged::Takes(mut four), Judged::Takes(mut six)) => {
                let knows = is_known && four.is_own() && six.is_own();
                let late: BTreeSet<usize> = four.late().chain(six.late()).collect();
                let former = self.former_of_late(&late, &others, taken.former);
                if former == (0, 0) {
                    four.give_up_late();
                    six.give_up_late();
                }
                let moved = Moved { four, six, former };
                // Leases may have been given until now.
                taken.at_ns = now_ns;
                taken.state = State::Settled(knows, (is_known && !knows).then_some(moved));
            }
        }
    }

    /// Returns the late node that knows the leases of these parts. That node gets the part when
    /// the two reach each other, like a previous holder: its leases and the later ones are then
    /// together, and an address that was assigned meanwhile stays with its client. Zero: there is
    /// none, or a part has another one. `before`: the node for the addresses that are withheld
    /// already.
    fn former_of_late(
        &self,
        late: &BTreeSet<usize>,
        others: &Others,
        before: (u32, u32),
    ) -> (u32, u32) {
        let records = { others.records.iter() }.filter(|(part, _)| late.contains(part));
        let formers = records.map(|(_, record)| match mix(record.stores) {
            // The lease files are unknown, or lost.
            files if files == 0 || record.node == self.me => None,
            files => Some((mark_of(&record.node), files)),
        });
        let before = Some(before).filter(|_| !late.is_empty());
        let formers: Option<Vec<_>> = formers.chain(before.map(Some)).collect();
        only(formers.unwrap_or_default().into_iter())
    }
}
