//! Executes I/O operations on the backing store of a replica, by io_uring, or by a few threads
//! where the kernel refuses io_uring. Each operation starts with a token and ends with a
//! completion. No call waits for a completion, except the drop of a disk.
//!
//! Flushes that wait while one runs share the next one. After a failed flush every later one fails
//! until `Disk::reset_flush_failure`: the kernel reports a write-back error once, and may have
//! dropped the data.
//!
//! A file is used either with direct I/O or through the page cache ([`cached`]), never both.

mod cached;
mod commit;
mod pool;
mod ring;
mod step;
mod threads;

pub use pool::{
    ACCOUNT_BYTES_MIN, ACCOUNTS_MAX, Account, BUFFER_BYTES_MAX, Buffer, PAGE_BYTES, POOL_BYTES,
    Pool,
};
pub use step::EXTENTS_MAX;

use cached::Cached;
use commit::Commit;
use ring::Ring;
use rustix::fs::{OFlags, fcntl_getfl};
use rustix::io::Errno;
use std::collections::VecDeque;
use std::fmt;
use std::fs::File;
use std::os::fd::BorrowedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use step::{DiskStep, StepCompletion};
use threads::DiskThreads;

/// Maximum number of operations in the engine. Further operations wait in order.
pub const OPERATIONS_MAX: usize = 256;
const THREADS: usize = 8;
/// Maximum number of continuations of one operation after a short result or an interruption.
const PARTS_MAX: u32 = 64;
/// Time that a dropped disk waits for its operations. Afterwards it leaks their memory, because
/// the kernel may still access it.
const DRAIN_MAX: Duration = Duration::from_secs(2);

/// Reason why a disk cannot be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DiskError {
    #[error("cannot map memory for the buffers of a volume: {0}")]
    Memory(Errno),
    #[error("cannot start operations on a disk: {0}")]
    Engine(Errno),
}

/// Reason why an operation failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Failure {
    #[error("{0}")]
    Io(Errno),
    #[error("the disk ends before the volume")]
    Short,
    #[error("not supported without writing zeroes")]
    NotFast,
    #[error("the data does not match its checksum: the disk has damaged it")]
    Damaged,
}

/// Backing store that operations run on.
#[derive(Clone, Debug)]
pub struct BackingFile {
    pub file: Arc<File>,
    pub is_device: bool,
    /// Offset of the volume's first byte in the file.
    pub first: u64,
}

impl BackingFile {
    pub fn is_direct(&self) -> bool {
        fcntl_getfl(&self.file).is_ok_and(|flags| flags.contains(OFlags::DIRECT))
    }
}

/// Identifier of an operation, chosen by its caller.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Token(pub u64);

/// I/O operation. Offsets and lengths are in bytes, within the volume, and multiples of the
/// logical sector; so are the lengths of buffers.
#[derive(Debug)]
pub enum Operation {
    Read {
        offset: u64,
        /// Buffer that receives the data.
        buffer: Buffer,
    },
    Write {
        offset: u64,
        /// Data to write. Other code may read the buffer during the write.
        buffer: Rc<Buffer>,
        /// FUA: the operation ends only when the data is on stable storage.
        fua: bool,
    },
    /// Makes all writes durable that had ended before this flush began.
    Flush,
    Zero {
        offset: u64,
        length: u64,
        allocate: bool,
        /// True if the operation fails where the range cannot be zeroed without writing zeroes.
        fast: bool,
    },
    /// Frees the space of a range, if possible. The content of the range is undefined afterwards.
    Discard { offset: u64, length: u64 },
    /// Queries which parts of a range are holes.
    Extents { offset: u64, length: u64 },
}

/// Contiguous part of a volume that is either allocated or a hole.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Extent {
    pub length: u64,
    /// The extent takes no space and reads as zeroes.
    pub is_hole: bool,
}

/// Result of a successful operation.
#[derive(Debug)]
pub enum OperationOutput {
    Done,
    Data(Buffer),
    /// Extents from the offset on, at least one. With [`EXTENTS_MAX`] extents, the scan may have
    /// stopped before the end of the range.
    Extents(Vec<Extent>),
}

#[derive(Debug)]
pub struct Completion {
    pub token: Token,
    pub result: Result<OperationOutput, Failure>,
}

/// Engine to use for the operations.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Preference {
    /// io_uring, or threads where the kernel refuses io_uring.
    Best,
    Threads,
}

/// Memory that an operation owns until it ends.
enum OperationBuffer {
    Nothing,
    Filled(Buffer),
    Written(#[allow(dead_code)] Rc<Buffer>),
}

struct PendingDiskOperation {
    token: Token,
    step: DiskStep,
    held: OperationBuffer,
    parts: u32,
    /// The operation ends with a flush: an FUA write through the page cache.
    flushes: bool,
}

enum Engine {
    Ring(Box<Ring>),
    Threads(DiskThreads),
}

/// Disk with its operations in flight. [`Disk::submit`] queues an operation, [`Disk::start`] starts
/// the queued ones, and [`Disk::completions`] returns each of them once, in any order.
pub struct Disk {
    engine: Engine,
    first: u64,
    cached: Option<Cached>,
    /// Completions of operations that the page cache completed at once.
    at_once: Vec<Completion>,
    /// Operations in progress by slot. The slot identifies an operation in the engine.
    under_way: Vec<Option<PendingDiskOperation>>,
    free: Vec<u32>,
    waiting: VecDeque<PendingDiskOperation>,
    commit: Commit,
    ended: Vec<StepCompletion>,
}

impl Disk {
    /// Prepares operations on `target` with buffers of `pool`.
    ///
    /// # Errors
    /// Neither io_uring nor threads can be used.
    pub fn new(target: &BackingFile, pool: &Pool, prefers: Preference) -> Result<Disk, DiskError> {
        let ring = match prefers {
            Preference::Best => Ring::new(target, pool.memory()).ok(),
            Preference::Threads => None,
        };
        let engine = match ring {
            Some(ring) => Engine::Ring(Box::new(ring)),
            None => Engine::Threads(DiskThreads::new(target, pool.memory(), THREADS)?),
        };
        Ok(Disk {
            engine,
            first: target.first,
            cached: None,
            at_once: Vec::new(),
            under_way: (0..OPERATIONS_MAX).map(|_| None).collect(),
            free: (0..OPERATIONS_MAX as u32).rev().collect(),
            waiting: VecDeque::new(),
            commit: Commit::default(),
            ended: Vec::new(),
        })
    }

    /// Switches to the page cache. The caller has opened the target without direct I/O.
    pub fn use_cache(&mut self, target: &BackingFile) {
        self.cached = Some(Cached::new(&target.file));
    }

    /// Returns whether an operation has ended although no descriptor became readable. The caller
    /// then has to call [`Disk::completions`] without waiting.
    pub fn has_ended(&self) -> bool {
        !self.at_once.is_empty()
    }

    pub fn uses_ring(&self) -> bool {
        matches!(self.engine, Engine::Ring(_))
    }

    /// Returns the descriptors that become readable when operations may have ended. The caller
    /// then calls [`Disk::completions`].
    pub fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let (ring, threads) = match &self.engine {
            Engine::Ring(ring) => (Some(ring.descriptor()), ring.threads()),
            Engine::Threads(threads) => (None, threads),
        };
        ring.into_iter().chain([threads.descriptor()])
    }

    pub fn operations(&self) -> usize {
        let started = OPERATIONS_MAX - self.free.len();
        started + self.waiting.len() + self.commit.waiting() + self.at_once.len()
    }

    /// Returns whether the kernel, short of memory, has not accepted a started operation. The
    /// caller then has to call [`Disk::completions`] again soon.
    pub fn is_held_up(&self) -> bool {
        matches!(&self.engine, Engine::Ring(ring) if ring.is_held_up())
    }

    /// Lets flushes succeed again after a failed one. The caller rewrites the data that the kernel
    /// may have dropped, or compares it with the disk.
    pub fn reset_flush_failure(&mut self) {
        self.commit.forgive();
    }

    pub fn submit(&mut self, token: Token, operation: Operation) {
        let first = self.first;
        let is_cached = self.cached.is_some();
        let flushes = is_cached && matches!(operation, Operation::Write { fua: true, .. });
        let (step, held) = match operation {
            Operation::Flush => {
                if !self.commit.ask(token) {
                    return;
                }
                (DiskStep::Flush, OperationBuffer::Nothing)
            }
            Operation::Read { offset, buffer } => {
                let step = DiskStep::Read {
                    offset: first + offset,
                    address: buffer.address() as usize,
                    length: buffer.len(),
                };
                (step, OperationBuffer::Filled(buffer))
            }
            Operation::Write {
                offset,
                buffer,
                fua,
            } => {
                let step = DiskStep::Write {
                    offset: first + offset,
                    address: buffer.address() as usize,
                    length: buffer.len(),
                    fua: fua && !is_cached,
                };
                (step, OperationBuffer::Written(buffer))
            }
            Operation::Zero {
                offset,
                length,
                allocate,
                fast,
            } => {
                let step = DiskStep::Zero {
                    offset: first + offset,
                    length,
                    allocate,
                    fast,
                };
                (step, OperationBuffer::Nothing)
            }
            Operation::Discard { offset, length } => {
                let offset = first + offset;
                (
                    DiskStep::Discard { offset, length },
                    OperationBuffer::Nothing,
                )
            }
            Operation::Extents { offset, length } => {
                let offset = first + offset;
                (
                    DiskStep::Extents { offset, length },
                    OperationBuffer::Nothing,
                )
            }
        };
        self.waiting.push_back(PendingDiskOperation {
            token,
            step,
            held,
            parts: 0,
            flushes,
        });
    }

    pub fn start(&mut self) {
        while !self.waiting.is_empty() {
            let Some(slot) = self.free.pop() else { break };
            let Some(next) = self.waiting.pop_front() else {
                break;
            };
            let step = next.step;
            self.under_way[slot as usize] = Some(next);
            self.push(slot, step);
        }
        self.engine.start();
    }

    /// Runs a step through the page cache if it completes at once, otherwise through the engine.
    fn push(&mut self, slot: u32, step: DiskStep) {
        // SAFETY: the buffer is the operation's under this slot, which nothing else accesses.
        let done = self
            .cached
            .as_mut()
            .and_then(|cached| unsafe { cached.run(step) });
        let Some(result) = done else {
            return self.engine.push(slot, step);
        };
        let mut at_once = std::mem::take(&mut self.at_once);
        let ended = StepCompletion {
            slot,
            result: result.map_err(Failure::Io),
            extents: None,
        };
        self.end(ended, &mut at_once);
        self.at_once = at_once;
    }

    pub fn completions(&mut self, out: &mut Vec<Completion>) {
        out.append(&mut self.at_once);
        let mut ended = std::mem::take(&mut self.ended);
        self.engine.reap(&mut ended);
        let any = !ended.is_empty();
        for one in ended.drain(..) {
            self.end(one, out);
        }
        self.ended = ended;
        if any {
            self.start();
            out.append(&mut self.at_once);
        }
    }

    fn end(&mut self, ended: StepCompletion, out: &mut Vec<Completion>) {
        let place = ended.slot as usize;
        let Some(mut one) = self.under_way.get_mut(place).and_then(Option::take) else {
            return;
        };
        let result = match one.step.advance(&ended) {
            step::Progress::Continues if one.parts < PARTS_MAX => {
                one.parts += 1;
                let step = one.step;
                self.under_way[place] = Some(one);
                return self.engine.push(ended.slot, step);
            }
            step::Progress::Continues => Err(Failure::Io(Errno::IO)),
            step::Progress::Failed(failure) => Err(failure),
            step::Progress::Done => Ok(match one.held {
                OperationBuffer::Filled(buffer) => OperationOutput::Data(buffer),
                _ => match ended.extents {
                    Some(extents) => OperationOutput::Extents(extents),
                    None => OperationOutput::Done,
                },
            }),
        };
        self.free.push(ended.slot);
        let token = one.token;
        match one.step {
            DiskStep::Flush => return self.flushed(result.map(drop), out),
            DiskStep::Read { .. } | DiskStep::Extents { .. } => {}
            DiskStep::Write { .. } | DiskStep::Zero { .. } | DiskStep::Discard { .. } => {
                self.commit.changed()
            }
        }
        if one.flushes && result.is_ok() {
            self.submit(token, Operation::Flush)
        } else {
            out.push(Completion { token, result })
        }
    }

    fn flushed(&mut self, result: Result<(), Failure>, out: &mut Vec<Completion>) {
        if let (Err(_), Some(cached)) = (result, &self.cached) {
            cached.forget();
        }
        let (shared, result) = self.commit.ended(result);
        out.extend(shared.into_iter().map(|token| Completion {
            token,
            result: result.map(|()| OperationOutput::Done),
        }));
        if let Some(token) = self.commit.next() {
            self.waiting.push_back(PendingDiskOperation {
                token,
                step: DiskStep::Flush,
                held: OperationBuffer::Nothing,
                parts: 0,
                flushes: false,
            });
        }
    }
}

impl Engine {
    fn push(&mut self, slot: u32, step: DiskStep) {
        match self {
            Engine::Ring(ring) => ring.push(slot, step),
            Engine::Threads(threads) => threads.push(slot, step),
        }
    }

    fn start(&mut self) {
        if let Engine::Ring(ring) = self {
            ring.start();
        }
    }

    fn reap(&mut self, out: &mut Vec<StepCompletion>) {
        match self {
            Engine::Ring(ring) => ring.reap(out),
            Engine::Threads(threads) => threads.reap(out),
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.waiting.clear();
        let end = std::time::Instant::now() + DRAIN_MAX;
        let mut ended = Vec::new();
        while self.under_way.iter().any(Option::is_some) && std::time::Instant::now() < end {
            self.engine.start();
            self.engine.reap(&mut ended);
            if ended.is_empty() {
                std::thread::sleep(Duration::from_millis(1));
            }
            for one in ended.drain(..) {
                self.under_way[one.slot as usize] = None;
            }
        }
        // Leaks the memory of operations that have not ended, because the kernel may still access
        // it.
        for left in self.under_way.drain(..).flatten() {
            std::mem::forget(left.held);
        }
    }
}

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let engine = if self.uses_ring() { "ring" } else { "threads" };
        write!(f, "Disk({engine}, {} operations)", self.operations())
    }
}
