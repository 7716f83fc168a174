//! Executes the disk operations and metadata stores that the replica of a mirrored volume orders,
//! on the local disk.

use super::record::NodeNames;
use super::{Data, durable};
use crate::disk::{
    self, Account, BackingFile, Buffer, Completion, Disk, DiskError, Failure, OperationOutput,
    Pool, Preference, Token,
};
use crate::layout::{self, Metadata};
use crate::overwrite::OverwriteMark;
use crate::replica::{
    BLOCK_BYTES, Blocks, CopyHeader, CopyState, DiskResult, DurableChange, Input, Operation,
    OperationId, WriteContent,
};
use crate::store::Store;
use crate::sums::area::Area;
use crate::sums::{Checked, Tally};
use std::collections::{HashMap, HashSet, VecDeque};
use std::os::fd::BorrowedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Number of the store that founds a volume. The replica's own store numbers begin at one.
pub(super) const FOUNDING: u64 = 0;
/// Number of a store that changes only the mark of an incomplete volume.
pub(super) const MARKING: u64 = u64::MAX;
/// First token of extent queries, which bypass the replica.
const LOOKS: u64 = 1 << 32;

/// Time without a completion after which the disk counts as stalled.
const STALL: Duration = Duration::from_secs(2);

/// Local disk with its operations in progress.
#[derive(Debug)]
pub(super) struct LocalDisk {
    disk: Checked,
    names: NodeNames,
    store: Store,
    pool: Pool,
    /// Account for buffers of resync reads, and of data received from the other copy.
    account: Account,
    reads: Vec<(Blocks, Buffer)>,
    starved: VecDeque<(OperationId, Blocks)>,
    flushes_after: HashSet<OperationId>,
    storing: Option<u64>,
    next: Option<(u64, DurableChange)>,
    /// Extent queries, with the token of the client's request.
    looks: HashMap<u64, Token>,
    last_look: u64,
    completions: Vec<Completion>,
    /// Direct I/O: reads return the content of the disk, not of the page cache.
    is_direct: bool,
    pub(super) trouble: Option<disk::Failure>,
    waits_since: Option<Instant>,
}

/// Checksums of a copy: their area, the rate at which they are built in bytes per second, and their
/// counters.
pub type Sums = (Area, u64, Arc<Tally>);

impl LocalDisk {
    /// Creates the disk of an open copy.
    ///
    /// # Errors
    /// The disk cannot be used.
    pub(super) fn new(
        data: &BackingFile,
        metadata: &BackingFile,
        layout: Metadata,
        sums: Option<Sums>,
        names: NodeNames,
    ) -> Result<LocalDisk, DiskError> {
        let pool = Pool::new()?;
        let best = Preference::Best;
        let disk = Disk::new(data, &pool, best)?;
        let mut disk = match sums {
            Some((area, rate, tally)) => Checked::with(disk, area, &pool, best, rate, tally)?,
            None => Checked::new(disk),
        };
        disk.keep_damaged();
        Ok(LocalDisk {
            disk,
            names,
            // Uses threads, because rare metadata writes need no second ring.
            store: Store::new(metadata, &pool, layout, Preference::Threads)?,
            account: pool.account(),
            pool,
            reads: Vec::new(),
            starved: VecDeque::new(),
            flushes_after: HashSet::new(),
            storing: None,
            next: None,
            looks: HashMap::new(),
            last_look: LOOKS,
            completions: Vec::new(),
            is_direct: data.is_direct(),
            trouble: None,
            waits_since: None,
        })
    }

    /// Sets the read rate for building and checking checksums, bytes per second.
    pub(super) fn set_rate(&mut self, rate: u64) {
        self.disk.set_rate(rate);
    }

    pub(super) fn pool(&self) -> &Pool {
        &self.pool
    }

    pub(super) fn account(&self) -> &Account {
        &self.account
    }

    pub(super) fn uses_ring(&self) -> bool {
        self.disk.uses_ring()
    }

    /// Returns the head that is being stored, otherwise the head that was stored last, as the
    /// replica knows it.
    pub(super) fn header(&self) -> CopyHeader {
        durable::kept(self.head(), &self.names)
    }

    pub(super) fn head(&self) -> &layout::Superblock {
        self.store.head()
    }

    pub(super) fn stalls(&mut self, now: Instant) -> bool {
        let any = self.disk.operations() > 0 || self.is_storing();
        let since = self.waits_since.filter(|_| any).or(any.then_some(now));
        self.waits_since = since;
        since.is_some_and(|since| now.saturating_duration_since(since) >= STALL)
    }

    pub(super) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.disk.descriptors().chain(self.store.descriptors())
    }

    pub(super) fn is_held_up(&self) -> bool {
        self.disk.is_held_up() || !self.starved.is_empty()
    }

    pub(super) fn offer(&mut self, blocks: Blocks, buffer: Buffer) {
        self.reads.push((blocks, buffer));
    }

    pub(super) fn withdraw(&mut self, blocks: Blocks) -> Option<Buffer> {
        let place = self.reads.iter().position(|(of, _)| *of == blocks)?;
        Some(self.reads.swap_remove(place).1)
    }

    /// Queues an operation. `LocalDisk::start_operations` starts it.
    pub(super) fn start(&mut self, id: OperationId, operation: Operation<Data>) {
        let token = Token(u64::from(id.0));
        let operation = match operation {
            Operation::Read(blocks) => return self.read(id, blocks),
            Operation::Flush => disk::Operation::Flush,
            Operation::Repair { blocks, data } => {
                return self.disk.repair(token, blocks.first..blocks.end(), data.0);
            }
            Operation::Write { blocks, body, fua } => {
                let offset = blocks.first * BLOCK_BYTES;
                let zero = |allocate| disk::Operation::Zero {
                    offset,
                    length: u64::from(blocks.count) * BLOCK_BYTES,
                    allocate,
                    fast: false,
                };
                if fua && !matches!(body, WriteContent::Data(_)) {
                    self.flushes_after.insert(id);
                }
                match body {
                    WriteContent::Data(Data(buffer)) => disk::Operation::Write {
                        offset,
                        buffer,
                        fua,
                    },
                    WriteContent::Zero => zero(true),
                    WriteContent::Trim => zero(false),
                }
            }
        };
        self.disk.submit(token, operation);
    }

    fn read(&mut self, id: OperationId, blocks: Blocks) {
        let length = blocks.count as usize * BLOCK_BYTES as usize;
        let own = self.withdraw(blocks);
        let buffer = own.or_else(|| self.pool.take(&self.account, length));
        match buffer.filter(|buffer| buffer.len() == length) {
            Some(buffer) => {
                let offset = blocks.first * BLOCK_BYTES;
                let token = Token(u64::from(id.0));
                let read = disk::Operation::Read { offset, buffer };
                self.disk.submit(token, read);
            }
            None => self.starved.push_back((id, blocks)),
        }
    }

    pub(super) fn query_extents(&mut self, offset: u64, length: u64, token: Token) {
        self.last_look += 1;
        self.looks.insert(self.last_look, token);
        let look = disk::Operation::Extents { offset, length };
        self.disk.submit(Token(self.last_look), look);
    }

    pub(super) fn store(&mut self, number: u64, change: DurableChange) {
        if self.is_storing() {
            self.next = Some((number, change));
            return;
        }
        self.storing = Some(number);
        if matches!(change.head.state, CopyState::Syncing { .. }) && self.is_direct {
            // Lets flushes succeed again: the owner compares the data that a failed flush may have
            // lost with this disk.
            self.disk.reset_flush_failure();
        }
        let change = durable::change(self.store.head(), change, &self.names);
        self.store.store(&change);
    }

    pub(super) fn found(&mut self, change: &layout::MetadataChange) {
        self.storing = Some(FOUNDING);
        self.store.store(change);
    }

    /// Starts to store the mark of an incomplete volume, or its removal. No store may be in
    /// progress.
    pub(super) fn store_mark(&mut self, mark: Option<OverwriteMark>) {
        tracing::info!(?mark, "mark of an incomplete volume is stored");
        self.storing = Some(MARKING);
        self.store.store(&layout::MetadataChange {
            head: layout::Superblock {
                overwrite: mark,
                ..self.store.head().clone()
            },
            fill: None,
            bits: Vec::new(),
        });
    }

    pub(super) fn is_busy(&self) -> bool {
        self.is_storing() || self.disk.operations() > 0
    }

    pub(super) fn is_storing(&self) -> bool {
        self.storing.is_some()
    }

    pub(super) fn start_operations(&mut self) {
        for _ in 0..self.starved.len() {
            if let Some((id, blocks)) = self.starved.pop_front() {
                self.read(id, blocks);
            }
        }
        self.disk.start();
    }

    pub(super) fn progress(&mut self, ended: &mut Vec<Input<Data>>, looked: &mut Vec<Completion>) {
        let mut completions = std::mem::take(&mut self.completions);
        self.disk.completions(&mut completions);
        if !completions.is_empty() {
            self.waits_since = None;
        }
        for Completion { token, result } in completions.drain(..) {
            if let Some(asked) = self.looks.remove(&token.0) {
                looked.push(Completion {
                    token: asked,
                    result,
                });
                continue;
            }
            let id = OperationId(token.0 as u32);
            if self.flushes_after.remove(&id) && result.is_ok() {
                self.disk.submit(token, disk::Operation::Flush);
                continue;
            }
            let is_short = matches!(result, Err(Failure::Short));
            let result = match result {
                Err(Failure::Damaged) => DiskResult::Damaged(self.disk.take_damaged(token)),
                Ok(OperationOutput::Data(buffer)) => DiskResult::Data(Data(Rc::new(buffer))),
                Ok(OperationOutput::Done | OperationOutput::Extents(_)) => DiskResult::Done,
                Err(failure) => {
                    self.trouble = Some(failure);
                    DiskResult::Failed
                }
            };
            ended.push(Input::Disk(id, result));
            if is_short {
                ended.push(Input::Short);
            }
        }
        self.completions = completions;
        if let Some(result) = self.store.progress()
            && let Some(number) = self.storing.take()
        {
            self.waits_since = None;
            if result.is_ok() {
                // Resizes the disk only now: no operation addresses the added range before.
                self.disk.resize(self.store.head().size_bytes);
            }
            ended.push(match result {
                Ok(()) => Input::Stored(number),
                Err(failure) => {
                    self.trouble = Some(failure);
                    Input::StoreFailed(number)
                }
            });
            // Drops the next store after the one that founds a volume: the replica restarts, and
            // its earlier requests are void.
            let begins_again = result.is_ok() && number == FOUNDING;
            if let Some((number, change)) = self.next.take().filter(|_| !begins_again) {
                self.store(number, change);
            }
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.disk.deadline()
    }

    /// Starts to store the checksums. Returns true when they are stored, or when that has failed.
    pub(super) fn stop(&mut self) -> bool {
        let has_ended = self.disk.stop();
        self.disk.start();
        has_ended
    }

    pub(super) fn reopens(&self) -> bool {
        self.disk.reopens()
    }

    /// Records why a damaged block was not repaired. Returns whether to log it.
    pub(super) fn not_repaired(&self, why: String) -> bool {
        self.disk.not_repaired(why)
    }
}
