//! Keeps leases of addresses that are no longer for clients, until they end. The configuration has
//! since given the address to a node, to a machine or to no range at all. A client uses such an
//! address until its renewal is refused, or until the lease ends; a machine to which the
//! configuration gives the address waits that long. With a range in parts, another node may still
//! have the previous range: leases outside of the range are then unknown.

use super::{Address, Holder, HolderChange, PACKET_MS, Pool};
use crate::mac::Mac;

/// Lease of an address that is no longer for clients.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Superseded {
    pub mac: Mac,
    /// End of the lease, or of the time in which a refused client leaves the address,
    /// milliseconds.
    pub until_ms: u64,
    /// True if the client was refused, or released the address.
    pub is_refused: bool,
}

impl<A: Address> Pool<A> {
    /// Keeps a lease of an address that is no longer for clients, if its client is known.
    pub(super) fn supersede(&mut self, address: A, holder: Holder, until_ms: u64) {
        let mac = match holder {
            Holder::Client(mac) => Some(mac),
            Holder::Unclear(user) | Holder::Before(user) => user,
            Holder::Nobody => None,
        };
        if let Some(mac) = mac.filter(|_| self.range.has(address) || self.is_whole()) {
            let lease = Superseded {
                mac,
                until_ms,
                is_refused: false,
            };
            self.superseded.insert(address, lease);
        }
    }

    /// Inherits the expiry times of these leases from the pool before, and which clients are
    /// refused already.
    pub(super) fn keep_superseded(&mut self, before: &Pool<A>, now_ms: u64) {
        for (address, lease) in &mut self.superseded {
            let used = before.uses.get(address);
            if let Some(used) = used.filter(|used| used.mac().or(used.user()) == Some(lease.mac)) {
                lease.until_ms = used.until_ms();
            }
        }
        for (address, lease) in &before.superseded {
            if lease.until_ms > now_ms && !self.is_for_clients(*address) {
                self.superseded.insert(*address, *lease);
            }
        }
    }

    /// Drops the superseded leases whose address the configuration gives to the same client: that
    /// client need not leave.
    pub fn accept_superseded(&mut self, is_of: impl Fn(A, Mac) -> bool) {
        self.superseded
            .retain(|address, lease| !is_of(*address, lease.mac));
    }

    /// Returns all leases of addresses that are no longer for clients.
    pub fn superseded(&self) -> impl Iterator<Item = (A, Superseded)> {
        self.superseded
            .iter()
            .map(|(address, lease)| (*address, *lease))
    }

    /// Returns the lease that a client other than this one has of an address that is no longer
    /// for clients.
    pub fn superseded_of(&self, address: A, mac: Mac) -> Option<Superseded> {
        let lease = self.superseded.get(&address).copied();
        lease.filter(|lease| lease.mac != mac)
    }

    /// Returns whether a client has a lease of an address that is no longer for clients.
    pub(super) fn had_lease(&self, mac: Mac, address: A) -> bool {
        let lease = self.superseded.get(&address);
        lease.is_some_and(|lease| lease.mac == mac)
    }

    /// Shortens a superseded lease after a NAK or a RELEASE. The NAK may be lost or late, so the
    /// lease lasts for as long as a packet may live. Returns whether the client had such a lease.
    pub fn end_superseded(&mut self, mac: Mac, address: A, now_ms: u64) -> bool {
        let Some(lease) = self.superseded.get_mut(&address) else {
            return false;
        };
        if lease.mac != mac {
            return false;
        }
        lease.until_ms = lease.until_ms.min(now_ms.saturating_add(PACKET_MS));
        lease.is_refused = true;
        let holder = Holder::Nobody;
        self.changes.push(HolderChange { address, holder });
        true
    }

    pub(super) fn expire_superseded(&mut self, now_ms: u64) {
        let ended = |lease: &Superseded| lease.until_ms <= now_ms;
        let all = self.superseded.iter();
        let all: Vec<A> = all
            .filter(|(_, lease)| ended(lease))
            .map(|(address, _)| *address)
            .collect();
        for address in all {
            self.superseded.remove(&address);
            let holder = Holder::Nobody;
            self.changes.push(HolderChange { address, holder });
        }
    }

    pub(super) fn next_superseded_ms(&self) -> Option<u64> {
        self.superseded.values().map(|lease| lease.until_ms).min()
    }
}
