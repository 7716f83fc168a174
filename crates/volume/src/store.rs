//! Stores metadata changes without blocking: executes the writes planned by [`crate::layout`] phase
//! by phase, one change at a time.

use crate::disk::{
    Account, BackingFile, Completion, Disk, DiskError, Failure, Operation, Pool, Preference, Token,
};
use crate::layout::{Metadata, MetadataChange, Superblock, Write, WritePhase};
use std::collections::VecDeque;
use std::os::fd::BorrowedFd;
use std::rc::Rc;

const WRITES_MAX: usize = 16;

#[derive(Debug)]
struct PhaseProgress {
    writes: VecDeque<Write>,
    under_way: usize,
    /// True if a flush ends the phase. A single write uses FUA instead.
    flushes: bool,
}

/// Metadata of a replica with its disk.
#[derive(Debug)]
pub struct Store {
    disk: Disk,
    pool: Pool,
    account: Account,
    metadata: Metadata,
    phases: VecDeque<WritePhase>,
    writing: Option<PhaseProgress>,
    failed: Option<Failure>,
    completions: Vec<Completion>,
}

impl Store {
    /// Prepares stores of metadata that was loaded from `target`.
    ///
    /// # Errors
    /// The disk cannot be used.
    pub fn new(
        target: &BackingFile,
        pool: &Pool,
        metadata: Metadata,
        prefers: Preference,
    ) -> Result<Store, DiskError> {
        Ok(Store {
            disk: Disk::new(target, pool, prefers)?,
            account: pool.account(),
            pool: pool.clone(),
            metadata,
            phases: VecDeque::new(),
            writing: None,
            failed: None,
            completions: Vec::new(),
        })
    }

    pub fn head(&self) -> &Superblock {
        self.metadata.head()
    }

    /// Returns the descriptors that become readable when the caller has to call
    /// [`Store::progress`].
    pub fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.disk.descriptors()
    }

    pub fn is_busy(&self) -> bool {
        self.writing.is_some() || !self.phases.is_empty()
    }

    /// Starts to store a change. The previous change must be stored; the caller merges further
    /// changes until then.
    pub fn store(&mut self, change: &MetadataChange) {
        assert!(!self.is_busy(), "one change at a time");
        if self.failed.take().is_some() {
            // Lets flushes succeed again: all metadata is written again, so data that the failed
            // flush lost does not matter.
            self.disk.reset_flush_failure();
            self.metadata.failed();
        }
        self.phases.extend(self.metadata.plan(change));
        self.begin();
    }

    /// Continues the store after disk completions. Returns its result once.
    pub fn progress(&mut self) -> Option<Result<(), Failure>> {
        if !self.is_busy() {
            return None;
        }
        let mut completions = std::mem::take(&mut self.completions);
        loop {
            self.disk.completions(&mut completions);
            if let Some(writing) = &mut self.writing {
                writing.under_way -= completions.len().min(writing.under_way);
            }
            for completion in completions.drain(..) {
                self.failed = self.failed.or(completion.result.err());
            }
            if self.continues() {
                break;
            }
        }
        self.completions = completions;
        if self.is_busy() {
            return None;
        }
        Some(self.failed.map_or(Ok(()), Err))
    }

    /// Starts the next steps of the store. Returns true if the store waits for the disk or is
    /// complete.
    fn continues(&mut self) -> bool {
        let Some(writing) = &mut self.writing else {
            return true;
        };
        if self.failed.is_some() {
            writing.writes.clear();
            writing.flushes = false;
            self.phases.clear();
        }
        while writing.under_way < WRITES_MAX {
            let Some(write) = writing.writes.pop_front() else {
                break;
            };
            let Some(mut buffer) = self.pool.take(&self.account, write.bytes.len()) else {
                writing.writes.push_front(write);
                break;
            };
            let count = buffer.len();
            buffer.bytes_mut().copy_from_slice(&write.bytes[..count]);
            if count < write.bytes.len() {
                writing.writes.push_front(Write {
                    offset: write.offset + count as u64,
                    bytes: write.bytes[count..].to_vec(),
                });
                writing.flushes = true;
            }
            let operation = Operation::Write {
                offset: write.offset,
                buffer: Rc::new(buffer),
                fua: !writing.flushes,
            };
            self.disk.submit(Token(0), operation);
            writing.under_way += 1;
        }
        if writing.under_way == 0 && writing.writes.is_empty() {
            if !std::mem::take(&mut writing.flushes) {
                self.writing = None;
                self.begin();
                return self.writing.is_none();
            }
            self.disk.submit(Token(0), Operation::Flush);
            writing.under_way = 1;
        }
        self.disk.start();
        true
    }

    fn begin(&mut self) {
        if let Some(WritePhase(writes)) = self.phases.pop_front() {
            self.writing = Some(PhaseProgress {
                flushes: writes.len() > 1,
                writes: writes.into(),
                under_way: 0,
            });
        }
    }
}
