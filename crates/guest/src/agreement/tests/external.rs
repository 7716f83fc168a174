//! Simulates external storage that executes every write it receives, nodes that are fenced, and
//! their watchdogs.
//!
//! Model: a QEMU process has no more writes in flight once it has quit or its node has lost power.
//! A killed process may have left some. No other process may open its disks before they have ended.

use super::super::external::DiskUser;
use super::{AgreementSimulation, GUESTS, Guests, NODES};
use crate::agreement::{Fenced, GuestRecord, NodeRecord, lease_of, lease_of_node};
use crate::config::{Bus, Disk, NodeSettings};
use crate::fence::watchdog::TIMEOUT_S;
use configuration::{External, Storage};
use lab::Random;
use part::power::control::PowerControl;
use std::collections::BTreeSet;

/// Reason of an end of QEMU that closed all disks.
pub(super) const QUIT: &str = "it quit";
/// Time for which a node that has just opened disks is cut off, milliseconds: longer than the
/// timeout of its watchdog.
const CUT_MS: u64 = 40_000;

/// Disks that a node has opened, and its watchdog.
#[derive(Debug, Default)]
pub(super) struct OfStorage {
    pub(super) boot: u32,
    /// Guests whose writes to the storage may still be in flight from this node.
    pub(super) open: BTreeSet<String>,
    /// Time of the last feed of the watchdog; None: not armed.
    fed: Option<u64>,
    /// Time until which the node stays cut off.
    pub(super) cut_until: u64,
}

impl OfStorage {
    pub(super) fn lose_power(&mut self) {
        self.boot += 1;
        self.open.clear();
        self.fed = None;
    }
}

/// Gives some guests a disk on external storage, and some nodes a fencing method or a watchdog.
pub(super) fn add(mut guests: Guests, random: &mut Random) -> Guests {
    for guest in guests.guests.values_mut() {
        if random.percent(50) {
            let storage = Storage::Nfs {
                server: [10, 0, 0, 9].into(),
                path: "/srv/image".to_owned(),
            };
            guest.disks.push(Disk {
                volume: "image".to_owned(),
                read_only: false,
                bus: Bus::Virtio,
                external: Some(External {
                    storage,
                    size_bytes: None,
                }),
            });
        }
    }
    for name in NODES {
        let mut node = NodeSettings::default();
        if random.percent(50) {
            node.fences
                .push(PowerControl::Exec(vec!["/bin/off".to_owned()]));
        }
        if random.percent(50) {
            node.watchdog = Some("/dev/watchdog".into());
        }
        guests.nodes.insert(name.to_owned(), node);
    }
    guests
}

impl AgreementSimulation {
    fn is_external(&self, name: &str) -> bool {
        self.guests
            .guests
            .get(name)
            .is_some_and(|one| one.is_external())
    }

    pub(super) fn open(&mut self, at: usize, name: &str) -> Result<(), String> {
        if !self.is_external(name) {
            return Ok(());
        }
        if self.seats[1 - at].storage.open.contains(name) {
            return Err(format!("the disks of {name} are open on both nodes"));
        }
        self.seats[at].storage.open.insert(name.to_owned());
        // The node is cut off at the worst moment.
        if !self.is_quiet && self.random.once_in(4) {
            self.note(format!("{} is cut off", NODES[at]));
            let seat = &mut self.seats[at];
            seat.is_connected = false;
            seat.storage.cut_until = self.now + CUT_MS;
        }
        Ok(())
    }

    pub(super) fn fence(&mut self, at: usize) {
        NODES[at].clone_into(&mut self.guests.me);
        let now_ns = self.now * 1_000_000;
        let other = NODES[1 - at];
        let due = self.seats[at].agreement.to_fence(&self.guests, now_ns);
        if !due.contains_key(other) || !self.random.percent(20) {
            return;
        }
        let fenced = if self.random.percent(70) {
            Fenced::Off
        } else {
            Fenced::Failed
        };
        self.note(format!("{} fences {other}: {fenced:?}", NODES[at]));
        if fenced == Fenced::Off {
            self.power_off(1 - at);
        }
        self.seats[at].agreement.set_fenced(other, fenced);
    }

    pub(super) fn confirm(&mut self, at: usize) {
        let seat = &self.seats[at];
        if self.seats[1 - at].is_powered || !seat.is_powered || seat.role_returns > 0 {
            return;
        }
        NODES[at].clone_into(&mut self.guests.me);
        let now_ns = self.now * 1_000_000;
        let agreement = &mut self.seats[at].agreement;
        let done = agreement.confirm_off(&self.guests, NODES[1 - at], now_ns);
        self.note(format!("{} is confirmed off: {done:?}", NODES[1 - at]));
    }

    /// Simulates the watchdog of a node: its role feeds it; without that it resets the node.
    pub(super) fn watch(&mut self, at: usize) {
        let node = self.guests.nodes.get(NODES[at]);
        if node.is_none_or(|node| node.watchdog.is_none()) {
            return;
        }
        NODES[at].clone_into(&mut self.guests.me);
        let now_ns = self.now * 1_000_000;
        let seat = &mut self.seats[at];
        if seat.role_returns == 0 {
            let is_there = GUESTS.iter().any(|name| {
                let machine = seat.machines.get(*name);
                machine.is_some_and(|one| one.life.is_there())
            });
            let is_needed = is_there || seat.agreement.has_open_disks(&self.guests);
            let unfed = seat.agreement.unprotected_guest(&self.guests, now_ns);
            seat.storage.fed = match (is_needed, unfed) {
                (false, _) => None,
                (true, Some(_)) => Some(seat.storage.fed.unwrap_or(self.now)),
                (true, None) => Some(self.now),
            };
            seat.agreement.set_watched(seat.storage.fed.is_some());
        }
        let timeout = u64::from(TIMEOUT_S.unsigned_abs()) * 1000;
        if self.seats[at]
            .storage
            .fed
            .is_some_and(|fed| self.now >= fed + timeout)
        {
            self.note(format!("the watchdog resets {}", NODES[at]));
            self.power_off(at);
            self.power_on(at);
        }
    }

    /// Returns whether a guest has to stay down, because the node that has its disks open is not
    /// confirmed off.
    pub(super) fn is_stranded(&self, name: &str, takers: &[usize]) -> bool {
        let record = self.leases.get(&lease_of(name));
        let record = record.and_then(|lease| GuestRecord::decode(&lease.record));
        let Some(opened) = record.as_ref().and_then(DiskUser::of) else {
            return false;
        };
        let at = NODES
            .iter()
            .position(|node| opened.to_string().starts_with(node));
        let at = at.unwrap_or_default();
        let lease = self.leases.get(&lease_of_node(NODES[at]));
        let node = lease.and_then(|lease| NodeRecord::decode(&lease.record));
        let node = node.unwrap_or_default();
        let is_there = self.seats[at].is_powered && self.seats[at].is_connected;
        let is_over = node.fenced == Fenced::Off
            || !opened.to_string().ends_with(&format!(" {:x}", node.boot))
            || !is_there && node.watched;
        !takers.contains(&at) && !is_over
    }
}
