//! Decides how a simulated node takes a part, and builds the records that the node writes.

use super::SimulatedNode;
use crate::dhcp::mirror::LeaseCopy;
use crate::dhcp::moves::{PartBasis, PartClaim, mark_of};
use crate::dhcp::pool::AdoptedKnowledge;
use crate::dhcp::simulation::{InjectedDefect, PARTS, Record, name};
use std::collections::BTreeSet;

/// Way in which a node takes a part.
pub(super) enum Way {
    /// The node knows all leases.
    Known,
    /// The node adopts a copy.
    Copied(LeaseCopy, AdoptedKnowledge),
    /// The node has to wait for others.
    Claims(PartBasis),
}

impl SimulatedNode {
    /// Returns true if the node knows the leases by this record, or no node knows them better.
    pub(in super::super) fn knows(&self, part: usize, before: &Record) -> bool {
        let is_unknown = |way| matches!(way, Way::Claims(PartBasis::Unknown | PartBasis::Left(_)));
        self.is_own(before) || !is_unknown(self.way(part, before))
    }

    /// Returns how the node takes a part with this record.
    pub(super) fn way(&self, part: usize, before: &Record) -> Way {
        let own = name(self.number);
        let range = self.range();
        let is_same = before.claim.range == range;
        if self.has(InjectedDefect::AllKnown) {
            return Way::Known;
        }
        if before.node.is_empty() {
            return Way::Claims(PartBasis::New);
        }
        if self.is_own(before) {
            return match (before.clear, is_same) {
                (true, true) => Way::Known,
                (true, false) => Way::Claims(PartBasis::Own(before.claim)),
                (false, _) if before.own => {
                    Way::Claims(PartBasis::Own(before.claim.unsettled(part)))
                }
                (false, _) => Way::Claims(PartBasis::Unknown),
            };
        }
        let coming = self.copies.coming(part);
        let coming = coming.filter(|_| self.has(InjectedDefect::HalfCopyAdopted));
        let is_named = before.named.contains(&own) || self.has(InjectedDefect::NamesIgnored);
        let is_clear = before.clear || self.has(InjectedDefect::ClaimAdopted);
        let copy = if self.has(InjectedDefect::RecordIgnored) {
            self.copies.whole(part)
        } else {
            self.copies
                .of(part, &before.node, before.epoch)
                .filter(|_| is_named && is_clear)
        };
        let is_its = |copy: &&LeaseCopy| is_same && copy.division == mark_of(range);
        let is_unheard = before.unheard && before.clear && is_same;
        let had_disk =
            before.before == self.disk.losses || self.has(InjectedDefect::EmptyDiskBelieved);
        match coming.or(copy).filter(is_its) {
            Some(copy) => {
                let is_left = before.knows.1 && !self.has(InjectedDefect::LeftWithheld);
                let knowledge = AdoptedKnowledge {
                    knows_before: self.is_former(before),
                    is_left,
                };
                Way::Copied(copy.clone(), knowledge)
            }
            None if is_unheard && had_disk && before.named.contains(&own) => Way::Known,
            None if is_same => Way::Claims(self.left(before)),
            None => Way::Claims(PartBasis::Unknown),
        }
    }

    /// Returns what the node knows of a part of the other node, whose leases it does not know.
    fn left(&self, before: &Record) -> PartBasis {
        match before.clear {
            _ if self.has(InjectedDefect::LeftForgotten) => PartBasis::Unknown,
            true if self.is_former(before) => {
                PartBasis::Left(before.claim.past.is_none() || before.knows.0)
            }
            false if before.own => PartBasis::Left(false),
            _ => PartBasis::Unknown,
        }
    }

    /// Returns the record with which the node takes a part.
    pub(in super::super) fn claims(&self, part: usize, before: &Record) -> Record {
        let way = self.way(part, before);
        let (knows_all, is_copied) = (
            !matches!(way, Way::Claims(_)),
            matches!(way, Way::Copied(..)),
        );
        let is_clear = knows_all || self.has(InjectedDefect::ClearTooEarly);
        let knows = match &way {
            Way::Claims(PartBasis::Left(_)) => (true, true),
            Way::Claims(PartBasis::Unknown) => (true, false),
            Way::Claims(_) => (false, false),
            Way::Known | Way::Copied(..) => before.knows,
        };
        let base = match way {
            Way::Claims(base) => base,
            Way::Known | Way::Copied(..) => PartBasis::Unknown,
        };
        let other = name(1 - self.number);
        let knew = before.node == other || before.unheard;
        let unheard = knows_all && knew && before.clear && self.sharing.is_linked(&other);
        let record = self.next(part, before, &base, is_clear);
        let former = self.former_of(before, &base, (knows_all, is_copied));
        Record {
            epoch: before.epoch + 1,
            knows,
            former: self.former_in(former, unheard),
            before: if before.node == other {
                before.disk
            } else {
                before.before
            },
            unheard,
            named: { unheard.then_some(other) }.into_iter().collect(),
            ..record
        }
    }

    /// Returns the record of a part after this one.
    pub(super) fn next(
        &self,
        part: usize,
        before: &Record,
        base: &PartBasis,
        clear: bool,
    ) -> Record {
        let range = self.range();
        let knows = if before.claim.range == range {
            self.is_own(before)
        } else {
            *base != PartBasis::Unknown && self.is_own(before) && (before.clear || before.own)
        };
        let past = before.claim.past_with(part, range, PARTS as u32, knows);
        Record {
            node: name(self.number),
            epoch: before.epoch,
            number: before.number + 1,
            named: BTreeSet::new(),
            claim: PartClaim { range, past },
            clear,
            unheard: false,
            disk: self.disk.losses,
            before: before.before,
            own: !clear && matches!(base, PartBasis::New | PartBasis::Own(_)),
            longest_s: self.records.longest_s.max(before.longest_s),
            knows: if before.claim.range == range && self.is_own(before) {
                before.knows
            } else {
                (false, false)
            },
            former: if before.claim.range == range {
                self.records.late[part]
                    .clone()
                    .filter(|_| clear)
                    .or_else(|| before.former.clone())
            } else {
                self.only_former(before)
            },
        }
    }

    /// Returns the node that knows what this one withholds, in any part.
    fn only_former(&self, record: &Record) -> Option<(String, u64)> {
        let records = self.records.known.iter().chain([record]);
        let formers = records.filter(|record| self.is_own(record));
        let formers = formers.filter_map(|record| self.former_in(record.former.clone(), false));
        let formers: BTreeSet<_> = formers.collect();
        match formers.len() {
            1 => formers.into_iter().next(),
            _ => None,
        }
    }

    /// Returns true if the node knows what is withheld of a part with this record, and what was
    /// given since.
    pub(in super::super) fn knows_before(&self, part: usize, record: &Record) -> bool {
        matches!(self.way(part, record), Way::Copied(_, known) if known.knows_before)
    }

    /// Returns true if no third node knows what is withheld by the node that had a part with
    /// addresses of another one.
    fn is_alone(&self, before: &Record) -> bool {
        let is_known = before.former.is_none() || self.is_former(before);
        is_known && !self.has(InjectedDefect::MovedForgotten)
    }

    /// Returns true if the node knows what a record withholds.
    pub(super) fn is_former(&self, record: &Record) -> bool {
        let mut former = record.former.iter();
        let is_it = former.any(|(node, disk)| {
            let has_disk = *disk == self.disk.losses || self.has(InjectedDefect::EmptyDiskBelieved);
            *node == name(self.number) && has_disk
        });
        is_it || self.has(InjectedDefect::DoubtIgnored)
    }

    /// Returns the node that a record names as knowing what this one withholds: this node itself
    /// as long as no client gets a lease.
    pub(super) fn former_in(
        &self,
        former: Option<(String, u64)>,
        unheard: bool,
    ) -> Option<(String, u64)> {
        former.filter(|(node, _)| unheard || *node != name(self.number))
    }

    /// Returns the node that knows what this one withholds when it takes a part with this record.
    fn former_of(
        &self,
        before: &Record,
        base: &PartBasis,
        (knows, is_copied): (bool, bool),
    ) -> Option<(String, u64)> {
        let own = name(self.number);
        match before.claim.range == self.range() {
            false if self.is_own(before) => self.only_former(before),
            false => None,
            true if self.is_own(before) => before.former.clone(),
            true if knows => before
                .former
                .clone()
                .filter(|(node, _)| !is_copied || *node != before.node),
            true if !(before.clear || before.own) || before.node == own => None,
            true if before.claim.past.is_some() && !self.is_alone(before) => None,
            true if matches!(base, PartBasis::Unknown | PartBasis::Left(_)) => {
                Some((before.node.clone(), before.disk))
            }
            true => None,
        }
    }
}
