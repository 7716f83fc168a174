//! Why a guest is where it is, or does not run.

use super::{Agreement, GuestRecord};
use crate::config::{Guest, Guests};
use crate::life::Shown;
use crate::placement::Place;

impl Agreement {
    /// Whether this node holds nothing at all, its own lease included.
    pub(super) fn is_alone(&self, now_ns: u64) -> bool {
        self.leases.values().all(|lease| lease.until_ns <= now_ns)
    }

    /// Why a guest does not run, in words.
    pub(super) fn why(&self, name: &str, record: &GuestRecord, now_ns: u64) -> String {
        if !record.stopped.is_empty() {
            return format!(
                "{}: `evenkeel guest start {name}` starts it",
                record.stopped
            );
        }
        match self.places.get(name) {
            _ if !self.is_known => "the cluster has not reported its leases yet".to_owned(),
            _ if self.is_alone(now_ns) => {
                "no majority of the cluster is reachable from this node".to_owned()
            }
            Some(Place::On(node)) if *node == self.me => {
                "waiting for its lease: another node may still have it".to_owned()
            }
            Some(Place::On(node)) => format!("it goes to {node}"),
            Some(Place::Down(why)) if record.failed.is_empty() => why.to_string(),
            _ => {
                let failed =
                    { record.failed.iter() }.map(|(node, why)| format!("at {node}: {why}"));
                let failed: Vec<String> = failed.collect();
                format!(
                    "it failed too often ({}): `evenkeel guest start {name}` tries again",
                    failed.join("; ")
                )
            }
        }
    }

    /// Whether no node can have a guest that is to run, and waiting does not help.
    pub fn is_unplaced(&self, name: &str) -> bool {
        let is_wanted = self.record_of(name).stopped.is_empty();
        is_wanted && matches!(self.places.get(name), Some(Place::Down(why)) if why.lasts())
    }

    /// The guest for which another one waits. What a node wrote down that is gone does not count.
    pub(super) fn waits_for(&self, guest: &Guest, guests: &Guests, now_ns: u64) -> Option<String> {
        let missing = guest.order.after.iter().find(|other| {
            let record = self.record_of(other);
            // One that is not to run is waited for by nobody.
            let is_wanted = guests.guests.contains_key(*other) && record.stopped.is_empty();
            let can = matches!(self.places.get(*other), Some(Place::On(_)));
            let is_up = record.up && self.is_there(self.holder(other), now_ns);
            is_wanted && can && !is_up
        })?;
        Some(format!("it starts after {missing}, which is not up yet"))
    }

    /// The nodes at which a guest failed too often, each with the reason.
    pub fn failures(&self, name: &str) -> Vec<String> {
        let failed = self.record_of(name).failed.into_iter();
        failed.map(|(node, why)| format!("{node}: {why}")).collect()
    }

    /// How a guest is that is on no node, as all nodes know it. None: they do not.
    pub fn rests(&self, guests: &Guests, name: &str) -> Option<Shown> {
        let record = self.record_of(name);
        let prefer = guests
            .guests
            .get(name)
            .map_or(&[][..], |guest| &guest.prefer);
        let has_failed = |node: &String| record.failed.contains_key(node);
        match record.stopped.as_str() {
            "" if !prefer.is_empty() && prefer.iter().all(has_failed) => Some(Shown::Failed),
            "" => None,
            BY_ITSELF => Some(Shown::Off),
            _ => Some(Shown::Down),
        }
    }

    /// The node to which a guest was to go, where that comes to nothing now.
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

/// Why a guest is stopped that nobody stopped.
pub(super) const BY_ITSELF: &str = "it shut down by itself";

/// What a guest that is placed here waits for first.
pub(super) fn not_ready(has_volumes: bool, is_open: bool) -> Option<String> {
    let words = match (has_volumes, is_open) {
        (false, _) => "its volumes are not here yet",
        (true, false) => "the cluster has not recorded yet that its disks are open here",
        (true, true) => return None,
    };
    Some(words.to_owned())
}
