//! What is reported of the sums of a copy: told by its thread, read for reports.

use super::BLOCK_BYTES;
use crate::status::now;
use part::report::{Event, Moment};
use part::voice::write_error;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Damaged blocks that are known one by one.
const DAMAGED_MAX: usize = 4096;
/// Events that are kept.
const EVENTS_MAX: usize = 16;
/// Lines that are printed of damaged blocks, until the volume is opened again.
const LINES_MAX: u64 = 100;

/// How the sums of a copy are.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Sums {
    /// Bytes whose sums were built.
    pub built_bytes: u64,
    /// Bytes of the volume.
    pub total_bytes: u64,
    /// Blocks that did not match their sums, counted at each read.
    pub mismatches: u64,
    /// Damaged blocks that were not overwritten since, and when they were found.
    pub damaged: BTreeMap<u64, Moment>,
    /// Damage that was found and overwritten.
    pub events: Vec<Event>,
    /// Why sums cannot be stored, if they cannot.
    pub trouble: Option<String>,
}

/// The sums of a volume, shared by its thread and those who report it.
#[derive(Debug)]
pub struct Tally {
    volume: String,
    sums: Mutex<Sums>,
}

impl Tally {
    /// Of the volume with this name.
    pub fn new(volume: &str) -> Tally {
        Tally {
            volume: volume.to_owned(),
            sums: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Sums> {
        self.sums.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How they are now.
    pub fn sums(&self) -> Sums {
        self.lock().clone()
    }

    pub(super) fn set_progress(&self, (built, total): (u64, u64)) {
        let mut sums = self.lock();
        (sums.built_bytes, sums.total_bytes) = (built * BLOCK_BYTES, total * BLOCK_BYTES);
    }

    pub(super) fn set_trouble(&self, trouble: Option<String>) {
        self.lock().trouble = trouble;
    }

    /// A read found these blocks damaged.
    pub(super) fn damaged(&self, blocks: &[u64]) {
        let mut sums = self.lock();
        let mut lines = String::new();
        for block in blocks {
            sums.mismatches += 1;
            let is_known = sums.damaged.contains_key(block);
            if is_known || sums.damaged.len() >= DAMAGED_MAX {
                continue;
            }
            let at = now();
            sums.damaged.insert(*block, at);
            let why = format!(
                "bytes {}-{} do not match their checksum",
                block * BLOCK_BYTES,
                (block + 1) * BLOCK_BYTES - 1
            );
            if sums.mismatches <= LINES_MAX {
                lines += &format!(
                    "evenkeel: volume {}: {why}: the disk has damaged them. Reads return an error until they are overwritten\n",
                    self.volume
                );
            }
            sums.tell(at, ("intact", "damaged"), why);
        }
        drop(sums);
        if !lines.is_empty() {
            write_error(&lines);
        }
    }

    /// These blocks were overwritten.
    pub(super) fn overwritten(&self, blocks: Range<u64>) {
        let mut sums = self.lock();
        if sums.damaged.is_empty() {
            return;
        }
        let known: Vec<u64> = sums.damaged.range(blocks).map(|(block, _)| *block).collect();
        for block in known {
            sums.damaged.remove(&block);
            let first = block * BLOCK_BYTES;
            let why = format!("bytes {first}-{} were overwritten", first + BLOCK_BYTES - 1);
            sums.tell(now(), ("damaged", "intact"), why);
        }
    }
}

impl Sums {
    fn tell(&mut self, at: Moment, (from, to): (&str, &str), why: String) {
        self.events.push(Event {
            at,
            from: from.to_owned(),
            to: to.to_owned(),
            why,
        });
        let surplus = self.events.len().saturating_sub(EVENTS_MAX);
        self.events.drain(..surplus);
    }
}
