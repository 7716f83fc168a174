//! Decides what this node knows of the leases of a part whose ranges have changed, and which other
//! nodes it waits for.

use super::known::only;
use super::record::{FormerHolder, PartRecord, mark_of};
use super::{AcquiredPart, AcquiredPartState, ClusterLeases, LeaseSourcesOfPart};
use crate::dhcp::moves::{
    LeaseKnowledge, OtherPart, PartBasis, PartClaim, PartDecision, PastAddresses, judge,
};
use crate::site::{Knowledge, MovedPart};
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
    Own(PartClaim, PartClaim<Ipv6Addr>),
    /// Only the leases that the previous holder did not know: those are the node's own, by a
    /// previous range or, if true, all.
    Left(bool),
    /// No lease of the part.
    Unknown,
}

impl Basis {
    /// Returns what the node knows by its own record if the record did not settle.
    pub(super) fn unsettled(own: &PartRecord, part: usize) -> Basis {
        Basis::Own(own.claim().unsettled(part), own.claim6().unsettled(part))
    }

    fn four(&self) -> PartBasis {
        match self {
            Basis::New => PartBasis::New,
            Basis::Own(claim, _) => PartBasis::Own(*claim),
            Basis::Left(is_all) => PartBasis::Left(*is_all),
            Basis::Unknown => PartBasis::Unknown,
        }
    }

    fn six(&self) -> PartBasis<Ipv6Addr> {
        match self {
            Basis::New => PartBasis::New,
            Basis::Own(_, claim) => PartBasis::Own(*claim),
            Basis::Left(is_all) => PartBasis::Left(*is_all),
            Basis::Unknown => PartBasis::Unknown,
        }
    }
}

/// Records of the other parts.
#[derive(Default)]
struct OtherPartRecords {
    four: Vec<OtherPart>,
    six: Vec<OtherPart<Ipv6Addr>>,
    records: Vec<(usize, PartRecord)>,
}

impl OtherPartRecords {
    /// Returns the holder of another part.
    fn node(&self, part: usize) -> Option<String> {
        let its = self.records.iter().find(|(other, _)| *other == part);
        its.map(|(_, record)| record.node.clone())
    }
}

impl ClusterLeases {
    /// Returns the addresses that previous ranges assigned in the name of a part. `record`: the
    /// current one. None: all of its leases have ended.
    pub(super) fn past(
        &self,
        part: usize,
        record: Option<&PartRecord>,
        taken: &AcquiredPart,
    ) -> Option<PastAddresses> {
        let (record, range) = (record?, self.ranges.four);
        let knows = self.knows_past(record, record.claim().range != range, taken);
        record.claim().past_with(part, range, self.parts(), knows)
    }

    /// Returns the IPv6 addresses that previous ranges assigned in the name of a part. The
    /// arguments are those of [`ClusterLeases::past`].
    pub(super) fn past6(
        &self,
        part: usize,
        record: Option<&PartRecord>,
        taken: &AcquiredPart,
    ) -> Option<PastAddresses<Ipv6Addr>> {
        let (record, range) = (record?, self.ranges.six);
        let knows = self.knows_past(record, record.claim6().range != range, taken);
        record.claim6().past_with(part, range, self.parts(), knows)
    }

    /// Returns whether this node knows the leases of a record. `is_moved`: true if the record has
    /// another range.
    fn knows_past(&self, record: &PartRecord, is_moved: bool, taken: &AcquiredPart) -> bool {
        let is_known = match &taken.state {
            AcquiredPartState::Claims(Basis::Own(..), _) if is_moved => record.knows_own(),
            _ => !is_moved,
        };
        is_known && self.is_own(record)
    }

    /// Returns the records of the other parts; None: one of them cannot be decoded.
    fn others(&self, part: usize, knowledge: &Knowledge) -> Option<OtherPartRecords> {
        let mut others = OtherPartRecords::default();
        for other in (0..usize::try_from(self.parts()).ok()?).filter(|other| *other != part) {
            let lease = self.known.get(&self.part(other));
            let Some(lease) = lease.filter(|lease| !lease.record.is_empty()) else {
                // Skips a part without a record: a node that takes the part sees the record of this
                // node before it assigns anything.
                continue;
            };
            let record: PartRecord = codec::decode(&lease.record).ok()?;
            let copy = knowledge.copies.get(&other);
            let copy = copy.filter(|_| record.named.contains(&mark_of(&self.me)));
            let knows = match copy {
                _ if self.is_own(&record) => LeaseKnowledge::Own,
                Some((node, epoch)) if (node, *epoch) == (&record.node, record.epoch) => {
                    LeaseKnowledge::Copy(node.clone(), *epoch)
                }
                _ => LeaseKnowledge::NotYet,
            };
            let is_former = self.is_former(&record);
            others.four.push(OtherPart {
                part: other,
                claim: record.claim(),
                knows: knows.clone(),
                is_former,
            });
            others.six.push(OtherPart {
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
    /// assign any of its addresses by other ranges. Returns a node that may.
    pub(super) fn settle(
        &self,
        part: usize,
        taken: &mut AcquiredPart,
        knowledge: &Knowledge,
        now_ns: u64,
    ) -> Option<String> {
        let AcquiredPartState::Claims(basis, since_ns) = &mut taken.state else {
            return None;
        };
        let is_known = *basis != Basis::Unknown;
        let others = self.others(part, knowledge);
        let basis = if others.is_some() {
            basis.clone()
        } else {
            Basis::Unknown
        };
        let others = others.unwrap_or_default();
        let longest = others.records.iter().map(|(_, record)| record.longest_s);
        taken.longest_s = longest.fold(taken.longest_s, u32::max);
        let is_late = since_ns.is_some_and(|since| now_ns >= since + SOON_NS);
        let four = judge(part, self.ranges.four, &basis.four(), &others.four, is_late);
        let six = judge(part, self.ranges.six, &basis.six(), &others.six, is_late);
        match (four, six) {
            (PartDecision::Waits(other), _) | (_, PartDecision::Waits(other)) => {
                return others.node(other);
            }
            (PartDecision::Soon(_), _) | (_, PartDecision::Soon(_)) => {
                *since_ns = Some(since_ns.unwrap_or(now_ns));
            }
            (PartDecision::Takes(mut four), PartDecision::Takes(mut six)) => {
                let knows = is_known && four.is_own() && six.is_own();
                let late: BTreeSet<usize> = four.late().chain(six.late()).collect();
                let former = self.former_of_late(&late, &others, taken.former);
                if former.is_none() {
                    four.give_up_late();
                    six.give_up_late();
                }
                let moved = MovedPart { four, six };
                let sources = LeaseSourcesOfPart { moved, former };
                // Leases may have been given until now.
                taken.at_ns = now_ns;
                taken.state =
                    AcquiredPartState::Settled(knows, (is_known && !knows).then_some(sources));
            }
        }
        None
    }

    /// Returns the late node that knows the leases of these parts. That node gets the part when
    /// the two reach each other, like a previous holder: its leases and the later ones are then
    /// together, and an address that was assigned meanwhile stays with its client. None: there is
    /// none, or a part has another one. `before`: the node for the addresses that are withheld
    /// already.
    fn former_of_late(
        &self,
        late: &BTreeSet<usize>,
        others: &OtherPartRecords,
        before: Option<FormerHolder>,
    ) -> Option<FormerHolder> {
        let records = others
            .records
            .iter()
            .filter(|(part, _)| late.contains(part));
        // Returns no node if the lease files of one are unknown, or if one is this node, which has
        // lost its own files.
        let formers = records.map(|(_, record)| {
            let former = FormerHolder::new(&record.node, record.files);
            former.filter(|_| record.node != self.me)
        });
        let formers: Option<Vec<FormerHolder>> = formers.collect();
        let before = before.filter(|_| !late.is_empty());
        only(formers?.into_iter().chain(before))
    }
}
