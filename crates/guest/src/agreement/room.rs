//! Checks whether this node has memory and CPUs for a guest now, because a guest that has to leave
//! uses them until it has left. Also decides when a guest may be tried again after failures, and
//! clears the failures of other nodes once the guest has been healthy here for long.

use super::copies::NO_COPY;
use super::{Agreement, AgreementDefect, GuestRecord, Guests, LocalState};
use crate::life::WELL_AFTER_MS;
use crate::placement::{self, Room, UnsuitableReason};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug, Default)]
pub(super) struct LocalGuests {
    present: BTreeSet<String>,
    epochs: BTreeMap<String, u64>,
    well_since: BTreeMap<String, u64>,
}

/// Reason why a guest has to wait for capacity.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WaitReason {
    pub words: String,
    /// True if the guest that uses the capacity is about to leave.
    pub passes: bool,
}

impl LocalGuests {
    pub(super) fn update_local_guests(&mut self, locals: &BTreeMap<String, LocalState>) {
        let there = locals
            .iter()
            .filter(|(_, local)| local.is_there && !local.has_moved);
        self.present = there.map(|(name, _)| name.clone()).collect();
        let epochs = locals.iter();
        self.epochs = epochs
            .filter_map(|(name, local)| Some((name.clone(), local.epoch?)))
            .collect();
    }

    pub(super) fn deadline_ms(&self, now_ms: u64) -> Option<u64> {
        let ends = self
            .well_since
            .values()
            .map(|since| since.saturating_add(WELL_AFTER_MS));
        ends.filter(|end| *end > now_ms).min()
    }
}

impl Agreement {
    /// Checks that this node has capacity now for a guest that has to start or to arrive. `coming`:
    /// other guests that arrive here.
    ///
    /// # Errors
    /// A guest that must be on another node (`apart`) is still here, or memory or CPUs are short.
    pub fn has_room_now<'c>(
        &'c self,
        guests: &Guests,
        name: &str,
        coming: impl Iterator<Item = &'c String>,
    ) -> Result<(), WaitReason> {
        let Some(guest) = guests.guests.get(name) else {
            return Ok(());
        };
        let mut present: BTreeSet<&String> = self.here.present.iter().chain(coming).collect();
        present.retain(|other| *other != name);
        let leaves = |other: &str| !self.is_place_of(other);
        let apart = present.iter().find(|other| {
            let names_it = |one: &crate::config::Guest| one.order.apart.contains(name);
            guest.order.apart.contains(**other) || guests.guests.get(**other).is_some_and(names_it)
        });
        if let Some(other) = apart {
            return Err(WaitReason {
                words: format!(
                    "{other} is still on {}, and must be on another node (`apart`)",
                    self.me
                ),
                passes: leaves(other),
            });
        }
        let sizes = present.iter().filter_map(|other| guests.guests.get(*other));
        let taken = sizes.fold(Room::default(), |sum, other| sum.and(other.takes()));
        let own = Room {
            memory_bytes: self.own.memory_bytes,
            cpus: self.own.cpus,
        };
        if own.holds(taken, guest.takes()) {
            return Ok(());
        }
        let leaving: Vec<&str> = present
            .iter()
            .filter(|other| leaves(other))
            .map(|other| other.as_str())
            .collect();
        let lacks = placement::lacks_words(own.lacks(taken, guest.takes()));
        Err(WaitReason {
            words: if leaving.is_empty() {
                format!("{} lacks {lacks} now", self.me)
            } else {
                format!(
                    "{} lacks {lacks} until {} has left",
                    self.me,
                    leaving.join(" and ")
                )
            },
            passes: !leaving.is_empty(),
        })
    }

    pub(super) fn waits_here(
        &self,
        name: &str,
        guests: &Guests,
        local: &LocalState,
        now_ns: u64,
    ) -> Option<String> {
        let after = guests
            .guests
            .get(name)
            .and_then(|one| self.waits_for(one, guests, now_ns));
        let room = || self.has_room_now(guests, name, std::iter::empty()).err();
        let room =
            || room().filter(|_| !local.is_there && !self.is(AgreementDefect::PromisesTwice));
        after.or_else(|| room().map(|lack| lack.words))
    }

    pub(super) fn update_failures(
        &mut self,
        name: &str,
        guests: &Guests,
        local: &LocalState,
        wanted: &mut GuestRecord,
        now_ns: u64,
    ) {
        self.record_copy_state(name, guests, local, wanted, now_ns);
        self.clear_other_failures(name, local, wanted, now_ns);
    }

    /// Checks whether an operator may move a guest to the node `node`. No other guest gives way to
    /// the moved one.
    ///
    /// # Errors
    /// `apart` or `beside` forbids the node, or memory or CPUs are short there.
    pub fn suits(
        &self,
        guests: &Guests,
        name: &str,
        node: &str,
        now_ns: u64,
    ) -> Result<(), String> {
        let view = self.view(guests, now_ns);
        let Some(guest) = view.guests.iter().find(|guest| guest.name == name) else {
            return Ok(());
        };
        placement::suits(&view, guest, node).map_err(|unfit| match unfit {
            UnsuitableReason::Apart(other) => format!(
                "{other} is on {node}, and '{name}' must be on another node (`apart`): move or stop {other} \
                 first"
            ),
            UnsuitableReason::Beside(other, there) => {
                format!("{other} is on {there}, and '{name}' must be on the same node (`beside`)")
            }
            UnsuitableReason::Full(lacks) => format!(
                "{node} lacks {} for guest '{name}' in addition to the guests that run there: move or stop \
                 one of them first",
                placement::lacks_words(lacks)
            ),
        })
    }

    /// Returns whether this node may run a guest although the guest failed on it: all nodes on
    /// which the guest has not failed are unavailable, and one of them has held the guest's lease
    /// since.
    pub(super) fn tries_again(
        &self,
        name: &str,
        prefer: &[String],
        record: &GuestRecord,
        now_ns: u64,
    ) -> bool {
        let mut others = prefer
            .iter()
            .filter(|node| !record.failed.contains_key(*node))
            .peekable();
        let is_last = others.peek().is_some() && others.all(|node| !self.is_there(node, now_ns));
        let lease = self.leases.get(&super::lease_of(name));
        let own = self.here.epochs.get(name);
        let is_without_copy = record
            .failed
            .get(&self.me)
            .is_some_and(|why| why.starts_with(NO_COPY));
        let is_last = is_last && !is_without_copy;
        is_last && lease.is_some_and(|lease| own.is_none_or(|own| lease.epoch > *own))
    }

    fn clear_other_failures(
        &mut self,
        name: &str,
        local: &LocalState,
        wanted: &mut GuestRecord,
        now_ns: u64,
    ) {
        let now_ms = now_ns / 1_000_000;
        if !local.is_up || wanted.failed.is_empty() {
            self.here.well_since.remove(name);
            return;
        }
        let since = *self
            .here
            .well_since
            .entry(name.to_owned())
            .or_insert(now_ms);
        if now_ms >= since.saturating_add(WELL_AFTER_MS) {
            wanted.failed.retain(|_, why| why.starts_with(NO_COPY));
        }
    }
}
