//! Explains as text why a guest runs where it runs, or why it does not run.

use super::{Agreement, GuestRecord};
use crate::config::{Guest, Guests};
use crate::life::GuestStatus;
use crate::placement::PlacementResult;

impl Agreement {
    pub(super) fn is_alone(&self, now_ns: u64) -> bool {
        self.leases.values().all(|lease| lease.until_ns <= now_ns)
    }

    pub(super) fn why(
        &self,
        name: &str,
        guests: &Guests,
        record: &GuestRecord,
        now_ns: u64,
    ) -> String {
        if record.stopped == RESTORING {
            return restoring(name);
        }
        if !record.stopped.is_empty() {
            return format!(
                "{}: `evenkeel guest start {name}` starts it",
                record.stopped
            );
        }
        if let Some(why) = self.awaited_words(name, guests, record, now_ns) {
            return why;
        }
        match self.places.get(name) {
            _ if !self.is_known => "the cluster has not reported its leases yet".to_owned(),
            _ if self.is_alone(now_ns) => {
                "no majority of the cluster is reachable from this node".to_owned()
            }
            Some(PlacementResult::On(node)) if *node == self.me => {
                "waiting for its lease: another node may still have it".to_owned()
            }
            Some(PlacementResult::On(node)) => format!("it goes to {node}"),
            Some(PlacementResult::Down(why)) if record.failed.is_empty() => why.to_string(),
            _ => {
                let failed = record
                    .failed
                    .iter()
                    .map(|(node, why)| format!("at {node}: {why}"));
                let failed: Vec<String> = failed.collect();
                format!(
                    "it failed too often ({}): `evenkeel guest start {name}` tries again",
                    failed.join("; ")
                )
            }
        }
    }

    /// Returns whether no node can run a guest that should run, and waiting does not help.
    pub fn is_unplaced(&self, name: &str) -> bool {
        let is_wanted = self.record_of(name).stopped.is_empty();
        is_wanted
            && matches!(self.places.get(name), Some(PlacementResult::Down(why)) if why.lasts())
    }

    /// Returns as text for which other guest this guest waits before it starts. The record of a
    /// node that is gone does not count.
    pub(super) fn waits_for(&self, guest: &Guest, guests: &Guests, now_ns: u64) -> Option<String> {
        let missing = guest.order.after.iter().find(|other| {
            let record = self.record_of(other);
            // Ignores a guest that should not run, for which no guest waits.
            let is_wanted = guests.guests.contains_key(*other) && record.stopped.is_empty();
            let can = matches!(self.places.get(*other), Some(PlacementResult::On(_)));
            let is_up = record.up && self.is_there(self.holder(other), now_ns);
            is_wanted && can && !is_up
        })?;
        Some(format!("it starts after {missing}, which is not up yet"))
    }

    pub fn failures(&self, name: &str) -> Vec<String> {
        let failed = self.record_of(name).failed.into_iter();
        failed.map(|(node, why)| format!("{node}: {why}")).collect()
    }

    /// Returns the status of a guest that runs on no node, from its record, which all nodes know.
    /// None: the record does not give a reason for it to stay down.
    pub fn rests(&self, guests: &Guests, name: &str) -> Option<GuestStatus> {
        let record = self.record_of(name);
        let prefer = guests
            .guests
            .get(name)
            .map_or(&[][..], |guest| &guest.prefer);
        let has_failed = |node: &String| record.failed.contains_key(node);
        match record.stopped.as_str() {
            "" if !prefer.is_empty() && prefer.iter().all(has_failed) => Some(GuestStatus::Failed),
            "" => None,
            BY_ITSELF => Some(GuestStatus::Off),
            _ => Some(GuestStatus::Down),
        }
    }

    pub(super) fn not_taken_by(
        &self,
        name: &str,
        record: &GuestRecord,
        wanted: &GuestRecord,
    ) -> Option<String> {
        let is_ordered = self.pending.contains_key(name);
        let ends = record.to != self.me && wanted.to.is_empty() && wanted.stopped.is_empty();
        (!record.to.is_empty() && ends && !is_ordered).then(|| record.to.clone())
    }
}

pub(super) const BY_OPERATOR: &str = "an operator stopped it";

pub(super) const RESTORING: &str = "a restore of its disks is not complete";

pub(super) fn restoring(name: &str) -> String {
    format!(
        "{RESTORING}: if no `evenkeel guest restore {name}` runs, run it again; `evenkeel guest start {name} --yes` starts \
         it with what its disks have"
    )
}

pub(super) const BY_ITSELF: &str = "it shut down by itself";

pub(super) fn not_ready(has_volumes: bool, is_open: bool) -> Option<String> {
    let words = match (has_volumes, is_open) {
        (false, _) => "its volumes are not on this node yet",
        (true, false) => "the cluster has not recorded yet that its disks are open on this node",
        (true, true) => return None,
    };
    Some(words.to_owned())
}
