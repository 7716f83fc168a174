//! The disk of this node's copy: operations of the replica, and its stores.

use super::{Data, durable};
use crate::disk::{
    self, Account, Buffer, Completion, Disk, DiskError, Failure, Output, Pool, Preference, Target,
    Token,
};
use crate::layout::{self, Metadata};
use crate::replica::{
    BLOCK_BYTES, Blocks, Body, Change, CopyState, DiskResult, Input, Operation, OperationId,
};
use crate::store::Store;
use crate::sums::area::Area;
use crate::sums::{Checked, Tally};
use std::collections::{HashMap, HashSet, VecDeque};
use std::os::fd::BorrowedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The number of the store of a founder: the replica counts from one.
pub(super) const FOUNDING: u64 = 0;
/// Tokens of the disk from here on are looks at extents, which are no business of the replica.
const LOOKS: u64 = 1 << 32;

/// A disk that ends no operation for this long does not respond.
const STALL: Duration = Duration::from_secs(2);

/// The disk, with what is under way on it.
#[derive(Debug)]
pub(super) struct Local {
    disk: Checked,
    store: Store,
    pool: Pool,
    /// For what is read for the other copy, or received from it.
    account: Account,
    /// The buffers of clients' reads that have not been started.
    reads: Vec<(Blocks, Buffer)>,
    /// Reads that wait for memory.
    starved: VecDeque<(OperationId, Blocks)>,
    /// Zeroes after which the disk is flushed.
    flushes_after: HashSet<OperationId>,
    /// The store under way.
    storing: Option<u64>,
    /// The next one.
    next: Option<(u64, Change)>,
    /// Looks at extents, and for whom.
    looks: HashMap<u64, Token>,
    last_look: u64,
    completions: Vec<Completion>,
    /// Reads see what is on the disk, and not what the kernel has of it.
    is_direct: bool,
    /// The last error of the disk since this copy was in sync.
    pub(super) trouble: Option<disk::Failure>,
    /// Operations are under way, and none has ended since then.
    waits_since: Option<Instant>,
}

/// The checksums of a copy: where they are, at how many bytes a second they are built, and their
/// report.
pub type Sums = (Area, u64, Arc<Tally>);

impl Local {
    /// Of an open copy.
    ///
    /// # Errors
    /// The disk cannot be used.
    pub(super) fn new(
        data: &Target,
        metadata: &Target,
        layout: Metadata,
        sums: Option<Sums>,
    ) -> Result<Local, DiskError> {
        let pool = Pool::new()?;
        let best = Preference::Best;
        let disk = Disk::new(data, &pool, best)?;
        let mut disk = match sums {
            Some((area, rate, tally)) => Checked::with(disk, area, &pool, best, (rate, tally))?,
            None => Checked::new(disk),
        };
        disk.keep_damaged();
        Ok(Local {
            disk,
            // A write of metadata now and then needs no second ring.
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

    /// What is read to build checksums, or to check them, bytes a second from here on.
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

    /// The head that is stored, or being stored.
    pub(super) fn head(&self) -> &layout::Head {
        self.store.head()
    }

    /// Whether operations are under way of which none has ended for a while.
    pub(super) fn stalls(&mut self, now: Instant) -> bool {
        let any = self.disk.operations() > 0 || self.is_storing();
        let since = self.waits_since.filter(|_| any).or(any.then_some(now));
        self.waits_since = since;
        since.is_some_and(|since| now.saturating_duration_since(since) >= STALL)
    }

    /// Descriptors that are readable when something has ended.
    pub(super) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.disk.descriptors().chain(self.store.descriptors())
    }

    /// Whether it is to be looked at again soon without an event.
    pub(super) fn is_held_up(&self) -> bool {
        self.disk.is_held_up() || !self.starved.is_empty()
    }

    /// The buffer into which a client's read goes.
    pub(super) fn offer(&mut self, blocks: Blocks, buffer: Buffer) {
        self.reads.push((blocks, buffer));
    }

    /// A buffer that was offered, and is not needed.
    pub(super) fn withdraw(&mut self, blocks: Blocks) -> Option<Buffer> {
        let place = self.reads.iter().position(|(of, _)| *of == blocks)?;
        Some(self.reads.swap_remove(place).1)
    }

    /// Takes an operation; it starts with [`Local::go`].
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
                if fua && !matches!(body, Body::Data(_)) {
                    self.flushes_after.insert(id);
                }
                match body {
                    Body::Data(Data(buffer)) => disk::Operation::Write {
                        offset,
                        buffer,
                        fua,
                    },
                    Body::Zero => zero(true),
                    Body::Trim => zero(false),
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

    /// Looks which parts of a range are holes, for a client.
    pub(super) fn look(&mut self, offset: u64, length: u64, token: Token) {
        self.last_look += 1;
        self.looks.insert(self.last_look, token);
        let look = disk::Operation::Extents { offset, length };
        self.disk.submit(Token(self.last_look), look);
    }

    /// Begins a store, or does so when the one of a founder has ended.
    pub(super) fn store(&mut self, number: u64, change: Change) {
        if self.is_storing() {
            self.next = Some((number, change));
            return;
        }
        self.storing = Some(number);
        if matches!(change.head.state, CopyState::Syncing { .. }) && self.is_direct {
            // A flush that failed may have lost something. The owner compares it with this disk.
            self.disk.forgive();
        }
        let change = durable::change(self.store.head(), change);
        self.store.store(&change);
    }

    /// Begins a store that the replica does not know.
    pub(super) fn found(&mut self, change: &layout::Change) {
        self.storing = Some(FOUNDING);
        self.store.store(change);
    }

    /// Whether anything is under way.
    pub(super) fn is_busy(&self) -> bool {
        self.is_storing() || self.disk.operations() > 0
    }

    /// Whether a store is under way.
    pub(super) fn is_storing(&self) -> bool {
        self.storing.is_some()
    }

    /// Starts what was taken.
    pub(super) fn go(&mut self) {
        for _ in 0..self.starved.len() {
            if let Some((id, blocks)) = self.starved.pop_front() {
                self.read(id, blocks);
            }
        }
        self.disk.start();
    }

    /// Collects what has ended.
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
                Ok(Output::Data(buffer)) => DiskResult::Data(Data(Rc::new(buffer))),
                Ok(Output::Done | Output::Extents(_)) => DiskResult::Done,
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
                // No operation is for a new part before.
                self.disk.resize(self.store.head().size_bytes);
            }
            ended.push(match result {
                Ok(()) => Input::Stored(number),
                Err(failure) => {
                    self.trouble = Some(failure);
                    Input::StoreFailed(number)
                }
            });
            // A founder's replica begins again, and wants nothing of what it wanted.
            let begins_again = result.is_ok() && number == FOUNDING;
            if let Some((number, change)) = self.next.take().filter(|_| !begins_again) {
                self.store(number, change);
            }
        }
    }

    /// When it is to be looked at, if nothing happens before.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.disk.deadline()
    }

    /// Has the checksums stored. Returns true when that is done, or fails.
    pub(super) fn stop(&mut self) -> bool {
        let has_ended = self.disk.stop();
        self.disk.start();
        has_ended
    }

    /// Whether the copy has to be opened again, for its checksums.
    pub(super) fn reopens(&self) -> bool {
        self.disk.reopens()
    }

    /// Shows why a damaged block was not repaired. Returns whether a line is to be printed.
    pub(super) fn not_repaired(&self, why: String) -> bool {
        self.disk.not_repaired(why)
    }
}
