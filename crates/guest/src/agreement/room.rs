//! What is on this node now: a guest that is to leave it takes its room until it has left, and one
//! that has been well for long forgives other nodes what they failed at.

use super::copies::NO_COPY;
use super::{Agreement, Defect, GuestRecord, Guests, Local};
use crate::life::WELL_AFTER_MS;
use crate::placement::{self, Room, Unfit};
use std::collections::{BTreeMap, BTreeSet};

/// The guests of this node.
#[derive(Debug, Default)]
pub(super) struct Here {
    /// Those of which there is a QEMU that may still run.
    present: BTreeSet<String>,
    /// The epoch in which each was here last.
    epochs: BTreeMap<String, u64>,
    /// Since when each is well, milliseconds.
    well_since: BTreeMap<String, u64>,
}

/// Why a guest has to wait.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lack {
    /// In words.
    pub words: String,
    /// What is in its way is about to leave.
    pub passes: bool,
}

impl Here {
    pub(super) fn see(&mut self, locals: &BTreeMap<String, Local>) {
        let there = locals
            .iter()
            .filter(|(_, local)| local.is_there && !local.has_moved);
        self.present = there.map(|(name, _)| name.clone()).collect();
        let epochs = locals.iter();
        self.epochs = epochs
            .filter_map(|(name, local)| Some((name.clone(), local.epoch?)))
            .collect();
    }

    /// When the next guest has been well for long, milliseconds.
    pub(super) fn deadline_ms(&self, now_ms: u64) -> Option<u64> {
        let ends = self
            .well_since
            .values()
            .map(|since| since.saturating_add(WELL_AFTER_MS));
        ends.filter(|end| *end > now_ms).min()
    }
}

impl Agreement {
    /// Whether there is room on this node now for a guest that is to start, or to come; `coming`
    /// are others that come.
    ///
    /// # Errors
    /// Why not.
    pub fn has_room_now<'c>(
        &'c self,
        guests: &Guests,
        name: &str,
        coming: impl Iterator<Item = &'c String>,
    ) -> Result<(), Lack> {
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
            return Err(Lack {
                words: format!(
                    "{other} is still on {}, and it has to be apart from it (`apart`)",
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
        let leaving: Vec<&str> = { present.iter() }
            .filter(|other| leaves(other))
            .map(|other| other.as_str())
            .collect();
        let lacks = placement::lacks_words(own.lacks(taken, guest.takes()));
        Err(Lack {
            words: match leaving.is_empty() {
                true => format!("{} lacks {lacks} now", self.me),
                false => format!(
                    "{} lacks {lacks} until {} has left",
                    self.me,
                    leaving.join(" and ")
                ),
            },
            passes: !leaving.is_empty(),
        })
    }

    /// Why a guest that is to start here waits for another one, if it does.
    pub(super) fn waits_here(
        &self,
        (name, guests): (&str, &Guests),
        local: &Local,
        now_ns: u64,
    ) -> Option<String> {
        let after = { guests.guests.get(name) }.and_then(|one| self.waits_for(one, guests, now_ns));
        let room = || self.has_room_now(guests, name, std::iter::empty()).err();
        let room = || room().filter(|_| !local.is_there && !self.is(Defect::PromisesTwice));
        after.or_else(|| room().map(|lack| lack.words))
    }

    /// What a node that has a guest writes down of failures, here and elsewhere.
    pub(super) fn see_failures(
        &mut self,
        of: (&str, &Guests),
        local: &Local,
        wanted: &mut GuestRecord,
        now_ns: u64,
    ) {
        self.see_copies(of, local, wanted, now_ns);
        self.forgive_others(of.0, local, wanted, now_ns);
    }

    /// Whether an operator may move a guest: nobody gives way to it.
    ///
    /// # Errors
    /// Why not, in words.
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
            Unfit::Apart(other) => format!(
                "{other} is on {node}, and '{name}' has to be apart from it (`apart`): move or stop {other} first"
            ),
            Unfit::Beside(other, there) => {
                format!("{other} is on {there}, and '{name}' has to be beside it (`beside`)")
            }
            Unfit::Full(lacks) => format!(
                "{node} lacks {} for guest '{name}', beside the guests that run there: move or stop one of them first",
                placement::lacks_words(lacks)
            ),
        })
    }

    /// Whether a node may have a guest although it failed there: all others that may have it are
    /// gone, and one of them has had it since.
    pub(super) fn tries_again(
        &self,
        (name, prefer): (&str, &[String]),
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
        let is_without_copy =
            { record.failed.get(&self.me) }.is_some_and(|why| why.starts_with(NO_COPY));
        let is_last = is_last && !is_without_copy;
        is_last && lease.is_some_and(|lease| own.is_none_or(|own| lease.epoch > *own))
    }

    /// A guest that this node has had well for long failed elsewhere a long time ago.
    fn forgive_others(&mut self, name: &str, local: &Local, wanted: &mut GuestRecord, now_ns: u64) {
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
