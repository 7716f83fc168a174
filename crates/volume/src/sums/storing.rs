//! Reads and stores checksum pages and the log without blocking. One store runs at a time, and each
//! of its steps is durable before the next one.

use super::area::Area;
use super::keeper::Store;
use super::record::RECORD_BYTES;
use crate::disk::{Account, Completion, Disk, Failure, Operation, OperationOutput, Pool, Token};
use std::collections::VecDeque;
use std::os::fd::BorrowedFd;
use std::rc::Rc;

const UNDER_WAY_MAX: usize = 32;
/// First token of store operations. Lower tokens belong to page reads.
const STORE: u64 = 1 << 40;

/// Page that was read; None if the read failed.
type Loaded = (u32, Option<Vec<u8>>);

#[derive(Debug)]
enum StoreStep {
    /// Writes of pages, and the flush of the data if it is required.
    Pages,
    Flush,
    Slot,
}

#[derive(Debug)]
struct PendingStore {
    store: Store,
    step: StoreStep,
    queue: VecDeque<(u32, Vec<u8>)>,
    under_way: usize,
    failed: Option<Failure>,
}

#[derive(Debug)]
pub(super) struct Storing {
    disk: Disk,
    pool: Pool,
    account: Account,
    pages: u64,
    log: u64,
    change: Option<PendingStore>,
    waiting: VecDeque<u32>,
    reading: usize,
    loaded: Vec<Loaded>,
    completions: Vec<Completion>,
    is_starved: bool,
}

impl Storing {
    pub(super) fn new(disk: Disk, area: &Area, pool: &Pool) -> Storing {
        Storing {
            disk,
            pool: pool.clone(),
            account: pool.account(),
            pages: area.slot.offset,
            log: area.log,
            change: None,
            waiting: VecDeque::new(),
            reading: 0,
            loaded: Vec::new(),
            completions: Vec::new(),
            is_starved: false,
        }
    }

    pub(super) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.disk.descriptors()
    }

    pub(super) fn is_held_up(&self) -> bool {
        self.is_starved || self.disk.is_held_up()
    }

    pub(super) fn load(&mut self, index: u32) {
        self.waiting.push_back(index);
        self.go_on();
        self.disk.start();
    }

    /// Starts a store. If the data has to be flushed, the caller does that, and then calls
    /// [`Storing::flushed`].
    pub(super) fn store(&mut self, store: Store) {
        // Lets flushes succeed again: everything that a failed flush may have lost is written
        // again.
        self.disk.reset_flush_failure();
        self.change = Some(PendingStore {
            queue: store.pages.iter().cloned().collect(),
            under_way: usize::from(store.flushes_data),
            store,
            step: StoreStep::Pages,
            failed: None,
        });
        // Ignores the result: the store cannot have ended, because its last step waits for the
        // disk.
        let ended = self.progress();
        debug_assert_eq!(ended, None);
    }

    pub(super) fn flushed(&mut self, result: Result<(), Failure>) {
        if let Some(change) = &mut self.change {
            change.under_way = change.under_way.saturating_sub(1);
            change.failed = change.failed.or(result.err());
        }
    }

    pub(super) fn loads(&mut self) -> Vec<Loaded> {
        self.reap();
        std::mem::take(&mut self.loaded)
    }

    /// Continues a store. Returns its result once.
    pub(super) fn progress(&mut self) -> Option<Result<(), Failure>> {
        self.reap();
        self.go_on();
        while let Some(change) = &mut self.change {
            if change.failed.is_some() {
                change.queue.clear();
            }
            if change.under_way > 0 || !change.queue.is_empty() {
                break;
            }
            let is_last = matches!(change.step, StoreStep::Slot);
            if is_last || change.failed.is_some() {
                let failed = change.failed;
                self.change = None;
                return Some(failed.map_or(Ok(()), Err));
            }
            match change.step {
                StoreStep::Pages if !change.store.pages.is_empty() => {
                    change.step = StoreStep::Flush;
                    change.under_way = 1;
                    self.disk.submit(Token(STORE), Operation::Flush);
                }
                _ => {
                    change.step = StoreStep::Slot;
                    let slot = &change.store.slot;
                    let at = self.log + slot.place();
                    let bytes = slot.encode();
                    if !write(&mut self.disk, &self.pool, &self.account, at, &bytes, true) {
                        // Tries again from the flush on.
                        change.step = StoreStep::Flush;
                        self.is_starved = true;
                        break;
                    }
                    change.under_way = 1;
                }
            }
        }
        self.disk.start();
        None
    }

    fn reap(&mut self) {
        let mut completions = std::mem::take(&mut self.completions);
        self.disk.completions(&mut completions);
        for Completion { token, result } in completions.drain(..) {
            if token.0 < STORE {
                self.reading -= 1;
                let bytes = match result {
                    Ok(OperationOutput::Data(buffer)) => Some(buffer.bytes().to_vec()),
                    _ => None,
                };
                self.loaded.push((token.0 as u32, bytes));
            } else if let Some(change) = &mut self.change {
                change.under_way = change.under_way.saturating_sub(1);
                change.failed = change.failed.or(result.err());
            }
        }
        self.completions = completions;
    }

    fn go_on(&mut self) {
        self.is_starved = false;
        while self.reading < UNDER_WAY_MAX
            && let Some(index) = self.waiting.front().copied()
        {
            let Some(buffer) = self.pool.take(&self.account, RECORD_BYTES) else {
                self.is_starved = true;
                return;
            };
            self.waiting.pop_front();
            self.reading += 1;
            let offset = self.pages + u64::from(index) * RECORD_BYTES as u64;
            let operation = Operation::Read { offset, buffer };
            self.disk.submit(Token(index.into()), operation);
        }
        let Some(change) = &mut self.change else {
            return;
        };
        while change.under_way < UNDER_WAY_MAX
            && let Some((index, bytes)) = change.queue.front()
        {
            let at = self.pages + u64::from(*index) * RECORD_BYTES as u64;
            if !write(&mut self.disk, &self.pool, &self.account, at, bytes, false) {
                self.is_starved = true;
                return;
            }
            change.queue.pop_front();
            change.under_way += 1;
        }
    }
}

fn write(
    disk: &mut Disk,
    pool: &Pool,
    account: &Account,
    offset: u64,
    bytes: &[u8],
    fua: bool,
) -> bool {
    let Some(mut buffer) = pool.take(account, bytes.len()) else {
        return false;
    };
    buffer.bytes_mut().copy_from_slice(bytes);
    let buffer = Rc::new(buffer);
    let operation = Operation::Write {
        offset,
        buffer,
        fua,
    };
    disk.submit(Token(STORE), operation);
    true
}
