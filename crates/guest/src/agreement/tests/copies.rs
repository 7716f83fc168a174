//! Tests volumes that have lost their copy on one node, while the other node serves them.

use super::{AgreementDefect, AgreementSimulation, GUESTS, GuestRecord, NODES};
use std::collections::BTreeSet;

/// Copies of volumes on a node, each by the name of its guest.
#[derive(Debug, Default)]
pub(super) struct Copies {
    gone: BTreeSet<&'static str>,
    /// Copies that were missing at some time.
    were_gone: BTreeSet<&'static str>,
}

impl AgreementSimulation {
    /// Returns whether copies are removed in this history: the seeds of other defects are for
    /// histories without missing copies.
    pub(super) fn copies_go(&self) -> bool {
        matches!(self.defect, None | Some(AgreementDefect::RemembersCopies))
    }

    /// Removes a copy, one at a time. No random number is drawn, so the histories without missing
    /// copies stay the same.
    pub(super) fn copy_goes(&mut self, at: usize) {
        let name = GUESTS[(self.now / super::ROUND_MS) as usize % GUESTS.len()];
        if !self.has_no_copy(1 - at, name) {
            self.note(format!("the copy of {name} at {} is gone", NODES[at]));
            self.seats[at].copies.gone.insert(name);
            self.seats[at].copies.were_gone.insert(name);
        }
    }

    pub(super) fn copies_return(&mut self, at: usize) {
        self.note(format!("the copies at {} are there", NODES[at]));
        self.seats[at].copies.gone.clear();
    }

    pub(super) fn has_no_copy(&self, at: usize, name: &str) -> bool {
        self.seats[at].copies.gone.contains(name)
    }

    /// Returns whether a guest with its volume on this node could be handed over.
    pub(super) fn has_both_copies(&self, at: usize, name: &str) -> bool {
        let other = &self.seats[1 - at];
        let uses = self.seats[at].machines.get(name);
        let has = uses.is_some_and(|one| one.has_volumes);
        has && other.is_powered && other.is_connected && !self.has_no_copy(1 - at, name)
    }

    /// Returns whether a recorded failure is that of a missing copy.
    pub(super) fn has_missed_a_copy(&self, at: usize, name: &str, why: &str) -> bool {
        why.starts_with("no copy") && self.seats[at].copies.were_gone.contains(name)
    }

    /// Checks that the record of a missing copy is cleared when both copies exist.
    pub(super) fn forgot_copies(&self, name: &str, record: &GuestRecord) -> Result<(), String> {
        let is_kept = record.failed.values().any(|why| why.starts_with("no copy"));
        let at = (0..2).find(|at| self.runs(*at, name));
        if at.is_some_and(|at| is_kept && self.has_both_copies(at, name)) {
            Err(format!("{name} has both copies: {:?}", record.failed))
        } else {
            Ok(())
        }
    }
}
