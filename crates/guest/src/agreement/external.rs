//! Protects guests with disks on external storage, which does not check the epoch of a lease and
//! therefore accepts a late write, such as one in a network queue. The record of such a guest says
//! on which node its disks are open:
//!
//! - A node writes its name and boot number before it starts the guest, and waits until the cluster
//!   has the record.
//! - The node clears them when the guest has shut down in an orderly way: then no write is in
//!   flight.
//! - Another node starts the guest only when no write of the recorded node can follow: that node is
//!   confirmed off, was restarted since, or was reset by its watchdog.

use super::{Agreement, AgreementDefect, Fenced, GuestRecord, LocalState, NodeRecord, lease_of};
use crate::config::{Guest, Guests};
use crate::fence::watchdog::TIMEOUT_S;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Time after the end of a node's lease by which the node's watchdog has certainly reset it,
/// milliseconds: twice the timeout of the device, since a reset takes time.
pub const RESET_MS: u64 = 2 * TIMEOUT_S as u64 * 1000;

/// Node that may have the disks of a guest open, and the number of its boot.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct DiskUser {
    node: String,
    boot: u32,
}

impl DiskUser {
    /// Returns the node that a record names; None: no node has the disks open.
    pub(super) fn of(record: &GuestRecord) -> Option<DiskUser> {
        let (node, boot) = record.opened.split_once(' ')?;
        Some(DiskUser {
            node: node.to_owned(),
            boot: u32::from_str_radix(boot, 16).ok()?,
        })
    }
}

impl fmt::Display for DiskUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:x}", self.node, self.boot)
    }
}

/// Knowledge of this node about the disks of guests that no record has.
#[derive(Debug, Default)]
pub(super) struct ExternalDiskState {
    /// Epoch of each held lease, and the time since which it is held, milliseconds.
    since: BTreeMap<String, (u64, u64)>,
    pub(super) left: BTreeSet<String>,
}

impl ExternalDiskState {
    fn record_held_lease(&mut self, name: &str, epoch: u64, now: u64) {
        let since = self.since.entry(name.to_owned()).or_insert((epoch, now));
        if since.0 != epoch {
            *since = (epoch, now);
        }
    }

    fn reset_at(&self, name: &str) -> Option<u64> {
        Some(self.since.get(name)?.1.saturating_add(RESET_MS))
    }
}

impl Agreement {
    fn own(&self) -> DiskUser {
        DiskUser {
            node: self.me.clone(),
            boot: self.own.boot,
        }
    }

    #[must_use]
    pub fn with_boot(mut self, boot: u32) -> Agreement {
        self.own.boot = boot;
        self
    }

    pub fn set_watched(&mut self, watched: bool) {
        self.own.watched = watched;
    }

    pub(super) fn update_held_lease(&mut self, name: &str, epoch: Option<u64>, now_ns: u64) {
        match epoch {
            Some(epoch) => self
                .held_since
                .record_held_lease(name, epoch, now_ns / 1_000_000),
            None => drop(self.held_since.since.remove(name)),
        }
    }

    fn is_over(&self, name: &str, opened: &DiskUser, now_ns: u64) -> bool {
        if opened.node == self.me {
            return opened.boot != self.own.boot;
        }
        let is_there = self.is_there(&opened.node, now_ns);
        if !is_there && self.is(AgreementDefect::TrustsSilence) {
            return true;
        }
        let Some(record) = self.fate(&opened.node) else {
            return false;
        };
        // Counts a different boot number as a later boot, because a node writes the number before
        // it opens disks.
        let is_off = record.boot != opened.boot || record.fenced == Fenced::Off;
        let is_reset = !is_there
            && record.watched
            && self
                .held_since
                .reset_at(name)
                .is_some_and(|at| now_ns / 1_000_000 >= at);
        is_off || is_reset
    }

    /// Returns the only available node on which a guest may start, because its disks may still be
    /// open there. None if that node holds the guest's lease: the guest closes its disks before it
    /// moves.
    pub(super) fn tied_to(&self, name: &str, record: &GuestRecord, now_ns: u64) -> Option<String> {
        let opened = DiskUser::of(record)?;
        let is_led = opened.node == self.holder(name)
            && !(opened.node == self.me && self.held_since.left.contains(name));
        let is_tied =
            !is_led && !self.is_over(name, &opened, now_ns) && self.is_there(&opened.node, now_ns);
        is_tied.then_some(opened.node)
    }

    pub(super) fn is_open_here(&self, guest: &Guest, record: &GuestRecord) -> bool {
        let is_open = match DiskUser::of(record) {
            Some(opened) => opened == self.own(),
            None => !guest.is_external(),
        };
        is_open || self.is(AgreementDefect::OpensAtOnce)
    }

    /// Returns the node on which the disks of a guest are open, for the next record. `stays`: the
    /// guest is placed here.
    pub(super) fn opened(
        &self,
        name: &str,
        guest: &Guest,
        record: &GuestRecord,
        local: &LocalState,
        stays: bool,
        now_ns: u64,
    ) -> String {
        let wants = stays && guest.is_external() && self.is_written(now_ns);
        let is_left = local.left_open && !self.is(AgreementDefect::ForgetsKilled);
        let has_ended = (!local.is_there && !is_left) || local.has_moved;
        match DiskUser::of(record) {
            Some(opened) if opened == self.own() => {
                let is_used = stays && guest.is_external();
                if has_ended && !is_used {
                    String::new()
                } else {
                    record.opened.clone()
                }
            }
            Some(opened) if !self.is_over(name, &opened, now_ns) => record.opened.clone(),
            _ if wants => self.own().to_string(),
            _ => record.opened.clone(),
        }
    }

    pub(super) fn has_open(&self, record: &GuestRecord) -> bool {
        DiskUser::of(record).is_some_and(|opened| opened == self.own())
    }

    /// Returns whether the cluster has a record that this node has written since its boot, so that
    /// the result of an earlier fencing no longer counts.
    fn is_written(&self, now_ns: u64) -> bool {
        let record = self.fate(&self.me);
        let is_new = |record: NodeRecord| {
            record.boot == self.own.boot && record.fenced == Fenced::No && !record.leaves
        };
        self.is(AgreementDefect::TrustsOldFencing)
            || self.is_there(&self.me, now_ns) && record.is_some_and(is_new)
    }

    pub fn may_have_open(&self, guests: &Guests, node: &str) -> bool {
        let mut records = guests.guests.keys().map(|name| self.record_of(name));
        records.any(|record| DiskUser::of(&record).is_some_and(|opened| opened.node == node))
    }

    /// Returns a guest whose disks this node has open without holding its lease. The watchdog is
    /// not fed then.
    pub fn unprotected_guest(&self, guests: &Guests, now_ns: u64) -> Option<String> {
        let is_left = |name: &&String| {
            self.has_open(&self.record_of(name)) && self.held(name, now_ns).is_none()
        };
        let names = self.leases.keys().filter_map(|lease| {
            guests
                .guests
                .get_key_value(lease.strip_prefix(super::PREFIX)?)
        });
        let mut names = names.map(|(name, _)| name);
        let fed = self.is(AgreementDefect::FeedsWithoutLease);
        names.find(is_left).filter(|_| !fed).cloned()
    }

    pub fn has_open_disks(&self, guests: &Guests) -> bool {
        let mut names = guests.guests.keys();
        names.any(|name| self.has_open(&self.record_of(name)))
    }

    pub(super) fn open_words(
        &self,
        name: &str,
        guests: &Guests,
        record: &GuestRecord,
        now_ns: u64,
    ) -> Option<String> {
        let opened = DiskUser::of(record).filter(|opened| *opened != self.own())?;
        if self.is_over(name, &opened, now_ns) {
            return None;
        }
        let node = &opened.node;
        if self.is_there(node, now_ns) {
            return Some(format!(
                "it did not stop cleanly on {node}: its writes may still be pending there, so it starts \
                 only on {node} until {node} restarts"
            ));
        }
        let fate = self.fate(node).unwrap_or_default();
        let has_method = guests
            .nodes
            .get(node)
            .is_some_and(|one| !one.fences.is_empty());
        let confirm =
            format!("make sure that {node} is off, then run `evenkeel fence confirm {node}`");
        let reset = self.held_since.reset_at(name).filter(|_| fate.watched);
        let now = now_ns / 1_000_000;
        Some(match (reset, fate.fenced, has_method) {
            (Some(at), ..) => format!(
                "it ran on {node}: it starts when {node} is confirmed off, or in {} s, when its watchdog has reset it",
                at.saturating_sub(now).div_ceil(1000)
            ),
            (None, Fenced::Failed, _) => {
                format!("it ran on {node}, and fencing {node} failed: {confirm}")
            }
            (None, _, true) => format!("it ran on {node}: it starts when {node} is confirmed off"),
            (None, _, false) => format!("it ran on {node}, which cannot be fenced: {confirm}"),
        })
    }

    /// Returns the next time at which a guest may start because a watchdog has reset the node that
    /// had its disks open, milliseconds.
    pub(super) fn reset_deadline(&self, now_ns: u64) -> Option<u64> {
        let now = now_ns / 1_000_000;
        let held = self.held_since.since.keys();
        let at = held.filter(|name| {
            let lease = self.leases.get(&lease_of(name));
            let record = lease.and_then(|lease| GuestRecord::decode(&lease.record));
            record.is_some_and(|record| !record.opened.is_empty())
        });
        let at = at.filter_map(|name| self.held_since.reset_at(name));
        at.filter(|at| *at > now).min()
    }

    /// Records an operator's confirmation that a failed node is off.
    ///
    /// # Errors
    /// There is no cluster, no guest may run on the node, the node is this one, is available or has
    /// never joined, or this node does not hold its lease.
    pub fn confirm_off(&mut self, guests: &Guests, node: &str, now_ns: u64) -> Result<(), String> {
        if guests.me.is_empty() {
            return Err("without a cluster no guest waits for a node".to_owned());
        }
        if node == self.me {
            return Err(format!("{node} is this node, and it runs"));
        }
        if !self.nodes(guests, now_ns).contains_key(node) {
            return Err(format!("no guest may run on node '{node}'"));
        }
        let lease = self.leases.get(&super::lease_of_node(node));
        match lease {
            Some(lease) if lease.until_ns > now_ns => {}
            _ if self.is_there(node, now_ns) => {
                return Err(format!(
                    "{node} is connected to the cluster, so it is not off. Nothing was changed"
                ));
            }
            Some(lease) if !lease.holder.is_empty() => {
                return Err(format!(
                    "{} monitors {node}: run the command there",
                    lease.holder
                ));
            }
            _ => {
                return Err(format!(
                    "the cluster has not reported yet that {node} is gone: try again in a few seconds"
                ));
            }
        }
        if self.fate(node).is_none() {
            return Err(format!("{node} has never joined, so no guest waits for it"));
        }
        self.set_fenced(node, Fenced::Off);
        Ok(())
    }
}
