//! Keeps the status of a replica's checksums, for reports. The volume's thread writes it, and
//! reports read it.

use super::BLOCK_BYTES;
use crate::replica::{BlockFault, Blocks, Verify, VerifyInterruption};
use crate::verified::{self, VerifyRecord};
use part::report::{Event, Moment};
use part::voice::write_error;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Maximum number of damaged blocks that are listed individually.
const DAMAGED_MAX: usize = 4096;
const EVENTS_MAX: usize = 16;
/// Maximum number of log lines about damaged blocks per opening of the volume.
const LINES_MAX: u64 = 100;

/// Status of a replica's checksums.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Sums {
    pub built_bytes: u64,
    pub total_bytes: u64,
    /// Number of checksum mismatches, counted at each read.
    pub mismatches: u64,
    /// Blocks that are damaged now, neither overwritten nor repaired, with the time of detection.
    pub damaged: BTreeMap<u64, Moment>,
    pub repaired: u64,
    not_repaired: u64,
    pub why_not: Option<String>,
    pub is_pair: bool,
    pub events: Vec<Event>,
    pub verified: Option<VerifyRecord>,
    pub is_on: bool,
    pub trouble: Option<String>,
    checks: u64,
}

/// Checksum status of a volume, shared by its thread and the reports.
#[derive(Debug)]
pub struct Tally {
    volume: String,
    sums: Mutex<Sums>,
}

impl Tally {
    pub fn new(volume: &str) -> Tally {
        Tally {
            volume: volume.to_owned(),
            sums: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Sums> {
        self.sums.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn sums(&self) -> Sums {
        self.lock().clone()
    }

    pub(super) fn set_progress(&self, built: u64, total: u64) {
        let mut sums = self.lock();
        (sums.built_bytes, sums.total_bytes) = (built * BLOCK_BYTES, total * BLOCK_BYTES);
    }

    pub(crate) fn set_trouble(&self, trouble: Option<String>) {
        self.lock().trouble = trouble;
    }

    pub(crate) fn open(&self, is_on: bool, is_pair: bool, trouble: Option<String>) {
        let mut sums = self.lock();
        let checks = std::mem::take(&mut sums.checks);
        let (events, mut verified) = (std::mem::take(&mut sums.events), sums.verified.take());
        verified::close(&mut verified, Moment::now());
        *sums = Sums {
            is_on,
            is_pair,
            trouble,
            events,
            verified,
            checks,
            ..Sums::default()
        };
    }

    pub(super) fn scrub_begins(&self, blocks: u64) {
        let mut sums = self.lock();
        sums.checks += 1;
        let verify = Verify {
            number: sums.checks,
            total: blocks,
            is_check: true,
            ..Verify::default()
        };
        verified::learn(&mut sums.verified, Some(&verify), Moment::now());
    }

    pub(super) fn scrubbed(&self, blocks: Range<u64>, wrong: &[u64], is_read: bool) {
        let mut sums = self.lock();
        let Some(verified) = &mut sums.verified else {
            return;
        };
        let verify = &mut verified.verify;
        let count = blocks.end - blocks.start;
        verify.done += count;
        let found = |first: u64, count: u64| Blocks {
            first,
            count: u32::try_from(count).unwrap_or(u32::MAX),
        };
        for block in wrong {
            verify.find(BlockFault::Damaged, found(*block, 1));
        }
        if !is_read {
            verify.find(BlockFault::UnreadableHere, found(blocks.start, count));
        }
    }

    pub(super) fn scrub_ends(&self, is_complete: bool) {
        let mut sums = self.lock();
        let Some(verified) = &sums.verified else {
            return;
        };
        let mut verify = verified.verify.clone();
        verify.ended = Some(if is_complete {
            Ok(())
        } else {
            Err(VerifyInterruption::Stopped)
        });
        verified::learn(&mut sums.verified, Some(&verify), Moment::now());
    }

    pub(super) fn damaged(&self, blocks: &[u64]) {
        let mut sums = self.lock();
        let mut lines = String::new();
        for block in blocks {
            sums.mismatches += 1;
            let is_known = sums.damaged.contains_key(block);
            if is_known || sums.damaged.len() >= DAMAGED_MAX {
                continue;
            }
            let at = Moment::now();
            sums.damaged.insert(*block, at);
            let why = format!(
                "bytes {}-{} do not match their checksum",
                block * BLOCK_BYTES,
                (block + 1) * BLOCK_BYTES - 1
            );
            if sums.mismatches <= LINES_MAX {
                let then = if sums.is_pair {
                    "They are repaired from the other copy if that has them"
                } else {
                    "Reads return an error until they are overwritten"
                };
                lines += &format!(
                    "evenkeel: volume {}: {why}: the disk has damaged them. {then}\n",
                    self.volume
                );
            }
            sums.tell(at, "intact", "damaged", why);
        }
        drop(sums);
        if !lines.is_empty() {
            write_error(&lines);
        }
    }

    pub(super) fn overwritten(&self, blocks: Range<u64>) {
        self.intact(blocks, "were overwritten");
    }

    pub(super) fn repaired(&self, blocks: Range<u64>) {
        let mut sums = self.lock();
        sums.repaired += blocks.end - blocks.start;
        let count = sums.repaired;
        drop(sums);
        if count <= LINES_MAX {
            let (first, last) = (blocks.start * BLOCK_BYTES, blocks.end * BLOCK_BYTES - 1);
            write_error(&format!(
                "evenkeel: volume {}: bytes {first}-{last} were repaired from the other copy\n",
                self.volume
            ));
        }
        self.intact(blocks, "were repaired from the other copy");
    }

    pub(crate) fn not_repaired(&self, why: String) -> bool {
        let mut sums = self.lock();
        sums.why_not = Some(why);
        sums.not_repaired += 1;
        sums.not_repaired <= LINES_MAX
    }

    fn intact(&self, blocks: Range<u64>, how: &str) {
        let mut sums = self.lock();
        if sums.damaged.is_empty() {
            return;
        }
        let known: Vec<u64> = sums
            .damaged
            .range(blocks)
            .map(|(block, _)| *block)
            .collect();
        for block in known {
            sums.damaged.remove(&block);
            let first = block * BLOCK_BYTES;
            let why = format!("bytes {first}-{} {how}", first + BLOCK_BYTES - 1);
            sums.tell(Moment::now(), "damaged", "intact", why);
        }
        if sums.damaged.is_empty() {
            sums.why_not = None;
        }
    }
}

impl Sums {
    /// Returns the current problem, as text; None without one.
    pub fn words(&self) -> Option<String> {
        if let Some(since) = self.damaged.values().map(|at| at.unix_ms).min() {
            let kib = self.damaged.len() as u64 * BLOCK_BYTES / 1024;
            let ago = Moment::now().unix_ms.saturating_sub(since) / 1000;
            let then = match (&self.why_not, self.is_pair) {
                (_, false) => "reads of them fail until they are overwritten".to_owned(),
                (None, true) => {
                    "they are repaired from the other copy at a read, or by `evenkeel volume verify --repair`".to_owned()
                }
                (Some(why), true) => {
                    format!("reads fail until they are repaired from the other copy or overwritten; not repaired: {why}")
                }
            };
            return Some(format!(
                "the disk has damaged {kib} KiB, first found {ago} s ago: {then}"
            ));
        }
        let trouble = self.trouble.as_ref()?;
        Some(if self.is_on {
            format!("checksums cannot be stored: {trouble}")
        } else {
            format!("no checksums: {trouble}")
        })
    }

    fn tell(&mut self, at: Moment, from: &str, to: &str, why: String) {
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
