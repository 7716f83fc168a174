//! Makes backups of a simulated node's disk and puts them back after a crash. Keeps the cluster's
//! record of the disk's generations, by which the node recognises an older disk.

use super::{Disk, HolderChange, SimulatedNode};
use crate::dhcp::simulation::InjectedDefect;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

/// Backup of a disk, and what the cluster knows of the disk.
#[derive(Default)]
pub(super) struct Backup {
    disk: Option<Disk>,
    /// Generations of the leases and of the copies by the cluster's record.
    pub(super) recorded: [u64; 2],
    /// Leases since the start, and their generations.
    leases: BTreeMap<Ipv4Addr, u64>,
    losses: u64,
}

impl Backup {
    /// Returns a number that no earlier disk has.
    pub(super) fn next_loss(&mut self) -> u64 {
        self.losses += 1;
        self.losses
    }

    /// Records that a change is on the disk.
    pub(super) fn stored(&mut self, change: HolderChange, generation: u64) {
        if change.mac().is_some() {
            self.leases.insert(change.address, generation);
        }
    }

    pub(super) fn crash(&mut self) {
        self.leases.clear();
    }
}

impl SimulatedNode {
    /// Makes a backup of the disk.
    pub(in super::super) fn back_up(&mut self) {
        self.backup.disk = Some(self.disk.clone());
    }

    /// Puts the last backup of the disk back.
    pub(in super::super) fn put_back(&mut self) {
        if let Some(disk) = self.backup.disk.clone() {
            self.disk = disk;
        }
    }

    /// Drops the contents of files that are older than their record.
    pub(super) fn drop_older_files(&mut self) {
        let [leases, copies] = self.backup.recorded;
        let has_older = self.disk.generations[0] < leases;
        if has_older && !self.has(InjectedDefect::OlderDiskBelieved) {
            self.lose_disk();
        }
        if self.disk.generations[1] < copies {
            self.lose_copies();
        }
        self.disk.generations[0] = self.disk.generations[0].max(leases);
        self.disk.generations[1] = self.disk.generations[1].max(copies);
    }

    /// Returns true if the client of an address waits until the cluster has recorded its lease.
    pub(super) fn waits_for_record(&self, address: Ipv4Addr) -> bool {
        let generation = self.backup.leases.get(&address);
        let is_newer = generation.is_some_and(|one| *one > self.backup.recorded[0]);
        is_newer && self.records_generations && !self.has(InjectedDefect::ToldBeforeRecorded)
    }
}
