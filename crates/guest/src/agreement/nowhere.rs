//! Detects guests that should run, but run on no node that reports, for longer than a start or a
//! migration takes.

use super::{Agreement, LocalState};
use crate::config::Guests;
use std::collections::BTreeMap;

/// Time for which a guest may run on no node while it starts or moves, milliseconds.
pub const START_MS: u64 = 30_000;

/// Time since which each guest has run on no node, milliseconds of the clock since boot.
#[derive(Debug, Default)]
pub struct IdleGuests(BTreeMap<String, u64>);

impl IdleGuests {
    pub fn update_idle_guests(
        &mut self,
        agreement: &Agreement,
        guests: &Guests,
        locals: &BTreeMap<String, LocalState>,
        now_ns: u64,
    ) {
        let is_nowhere =
            |name: &&String| agreement.is_nowhere(guests, name, locals.get(*name), now_ns);
        let now = now_ns / 1_000_000;
        let since = guests.guests.keys().filter(is_nowhere);
        let since = since.map(|name| (name.clone(), self.0.get(name).copied().unwrap_or(now)));
        self.0 = since.collect();
    }

    pub fn has(&self, name: &str, now: u64) -> bool {
        let since = self.0.get(name);
        since.is_some_and(|since| now.saturating_sub(*since) >= START_MS)
    }
}

impl Agreement {
    fn is_nowhere(
        &self,
        guests: &Guests,
        name: &str,
        local: Option<&LocalState>,
        now_ns: u64,
    ) -> bool {
        let is_here = local.is_some_and(|local| local.is_there || local.is_off);
        if is_here || self.is_stopped(guests, name) {
            return false;
        }
        if guests.me.is_empty() {
            return !self.own.drained;
        }
        let holder = self.holder(name);
        let is_elsewhere = !holder.is_empty() && holder != self.me;
        if !self.is_known || is_elsewhere && self.is_there(holder, now_ns) {
            return false;
        }
        // Does not report a guest that waits for another one: only the other guest is reported.
        let guest = guests.guests.get(name);
        guest.is_some_and(|guest| self.waits_for(guest, guests, now_ns).is_none())
    }
}
