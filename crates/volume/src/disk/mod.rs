//! The operations on the disk of a copy: each is started with a token, and ends with a
//! completion. By io_uring, or by a few threads where the kernel refuses it. Nothing here
//! blocks its caller, and nothing knows who asked.
//!
//! Flushes that wait while one runs share the next one. A flush that failed makes every later
//! one fail, until [`Disk::forgive`]: the kernel reports an error of write-back once, and may
//! have dropped what it could not write.
//!
//! A file is used with direct I/O or through the page cache ([`cached`]), never both.

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
use step::{Ended, Step};
use threads::Threads;

/// Operations that the kernel or the threads have at a time. Further ones wait in order.
pub const OPERATIONS_MAX: usize = 256;
/// Threads that do operations where there is no io_uring.
const THREADS: usize = 8;
/// How often one operation continues after a part of it, or an interruption.
const PARTS_MAX: u32 = 64;
/// How long a disk that is dropped waits for its operations. After that it leaves them their
/// memory for good.
const DRAIN_MAX: Duration = Duration::from_secs(2);

/// Why a disk cannot be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DiskError {
    /// No memory for buffers.
    #[error("cannot map memory for the buffers of a volume: {0}")]
    Memory(Errno),
    /// Neither io_uring nor threads.
    #[error("cannot start operations on a disk: {0}")]
    Engine(Errno),
}

/// Why an operation failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Failure {
    /// The disk or its file system reports it.
    #[error("{0}")]
    Io(Errno),
    /// The file is shorter than the volume.
    #[error("the disk ends before the volume")]
    Short,
    /// Zeroes would have to be written, and a fast operation was wanted.
    #[error("not supported without writing zeroes")]
    NotFast,
    /// What the disk returned is not what was written.
    #[error("the data does not match its checksum: the disk has damaged it")]
    Damaged,
}

/// What is operated on.
#[derive(Clone, Debug)]
pub struct Target {
    /// The file or block device, open for reading and writing.
    pub file: Arc<File>,
    /// A block device.
    pub is_device: bool,
    /// Where the volume's first byte is.
    pub first: u64,
}

impl Target {
    /// Whether it is used with direct I/O, and not through the page cache.
    pub fn is_direct(&self) -> bool {
        fcntl_getfl(&self.file).is_ok_and(|flags| flags.contains(OFlags::DIRECT))
    }
}

/// Identifies an operation, by its caller.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Token(pub u64);

/// What to do. Offsets and lengths are in bytes, within the volume, and multiples of the
/// logical sector; so are the lengths of buffers.
#[derive(Debug)]
pub enum Operation {
    /// Fills the buffer.
    Read {
        /// Where from.
        offset: u64,
        /// What is filled.
        buffer: Buffer,
    },
    /// Writes the buffer.
    Write {
        /// Where to.
        offset: u64,
        /// What is written. Others may read it meanwhile.
        buffer: Rc<Buffer>,
        /// Ends when the data is on stable storage.
        fua: bool,
    },
    /// Ends when all writes that had ended before are on stable storage.
    Flush,
    /// Makes a range read as zeroes.
    Zero {
        /// Where.
        offset: u64,
        /// How much.
        length: u64,
        /// The space stays allocated.
        allocate: bool,
        /// Fails rather than write zeroes.
        fast: bool,
    },
    /// Frees the space of a range, if possible. It then reads as anything.
    Discard {
        /// Where.
        offset: u64,
        /// How much.
        length: u64,
    },
    /// Finds out which parts of a range are holes.
    Extents {
        /// Where.
        offset: u64,
        /// How much.
        length: u64,
    },
}

/// A part of a volume.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Extent {
    /// How long, bytes.
    pub length: u64,
    /// It takes no space, and reads as zeroes.
    pub is_hole: bool,
}

/// What an operation brought.
#[derive(Debug)]
pub enum Output {
    /// It is done.
    Done,
    /// What was read.
    Data(Buffer),
    /// Extents from the offset on, at least one. If there are more than [`EXTENTS_MAX`], the
    /// range was not looked at to its end.
    Extents(Vec<Extent>),
}

/// The end of an operation.
#[derive(Debug)]
pub struct Completion {
    /// Which.
    pub token: Token,
    /// Its outcome.
    pub result: Result<Output, Failure>,
}

/// Which engine does the operations.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Preference {
    /// io_uring, or threads where the kernel refuses it.
    Best,
    /// Threads.
    Threads,
}

/// Memory that an operation uses until it has ended.
enum Held {
    Nothing,
    Filled(Buffer),
    Written(#[allow(dead_code)] Rc<Buffer>),
}

/// An operation that has been started.
struct UnderWay {
    token: Token,
    step: Step,
    held: Held,
    parts: u32,
    /// It ends with a flush: a write that has to be on stable storage, in the page cache.
    flushes: bool,
}

enum Engine {
    Ring(Box<Ring>),
    Threads(Threads),
}

/// A disk with its operations under way.
pub struct Disk {
    engine: Engine,
    first: u64,
    /// The file, if it is used through the page cache.
    cached: Option<Cached>,
    /// Ended without the engine.
    at_once: Vec<Completion>,
    /// By slot, the number under which the engine knows an operation.
    under_way: Vec<Option<UnderWay>>,
    free: Vec<u32>,
    waiting: VecDeque<UnderWay>,
    commit: Commit,
    ended: Vec<Ended>,
}

impl Disk {
    /// Prepares for operations on `target` with buffers of `pool`.
    ///
    /// # Errors
    /// Neither io_uring nor threads can be used.
    pub fn new(target: &Target, pool: &Pool, prefers: Preference) -> Result<Disk, DiskError> {
        let ring = match prefers {
            Preference::Best => Ring::new(target, pool.memory()).ok(),
            Preference::Threads => None,
        };
        let engine = match ring {
            Some(ring) => Engine::Ring(Box::new(ring)),
            None => Engine::Threads(Threads::new(target, pool.memory(), THREADS)?),
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

    /// Uses the page cache: its target is open without direct I/O.
    pub fn use_cache(&mut self, target: &Target) {
        self.cached = Some(Cached::new(&target.file));
    }

    /// Whether an operation has ended of which no descriptor tells: [`Disk::completions`] has
    /// to be called again without waiting.
    pub fn has_ended(&self) -> bool {
        !self.at_once.is_empty()
    }

    /// Whether operations are done by io_uring.
    pub fn uses_ring(&self) -> bool {
        matches!(self.engine, Engine::Ring(_))
    }

    /// Descriptors that are readable when operations may have ended: then call
    /// [`Disk::completions`].
    pub fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let (ring, threads) = match &self.engine {
            Engine::Ring(ring) => (Some(ring.descriptor()), ring.threads()),
            Engine::Threads(threads) => (None, threads),
        };
        ring.into_iter().chain([threads.descriptor()])
    }

    /// Operations without a completion yet.
    pub fn operations(&self) -> usize {
        let started = OPERATIONS_MAX - self.free.len();
        started + self.waiting.len() + self.commit.waiting() + self.at_once.len()
    }

    /// Whether the kernel has not taken an operation that was started: it is short of memory.
    /// Then [`Disk::completions`] has to be called again soon.
    pub fn is_held_up(&self) -> bool {
        matches!(&self.engine, Engine::Ring(ring) if ring.is_held_up())
    }

    /// Lets flushes succeed again after one that failed: everything is written anew that the
    /// kernel may have dropped, or compared with what is on the disk.
    pub fn forgive(&mut self) {
        self.commit.forgive();
    }

    /// Takes an operation. It starts with the next [`Disk::start`].
    pub fn submit(&mut self, token: Token, operation: Operation) {
        let first = self.first;
        let is_cached = self.cached.is_some();
        let flushes = is_cached && matches!(operation, Operation::Write { fua: true, .. });
        let (step, held) = match operation {
            Operation::Flush => {
                if !self.commit.ask(token) {
                    return;
                }
                (Step::Flush, Held::Nothing)
            }
            Operation::Read { offset, buffer } => {
                let step = Step::Read {
                    offset: first + offset,
                    address: buffer.address() as usize,
                    length: buffer.len(),
                };
                (step, Held::Filled(buffer))
            }
            Operation::Write {
                offset,
                buffer,
                fua,
            } => {
                let step = Step::Write {
                    offset: first + offset,
                    address: buffer.address() as usize,
                    length: buffer.len(),
                    fua: fua && !is_cached,
                };
                (step, Held::Written(buffer))
            }
            Operation::Zero {
                offset,
                length,
                allocate,
                fast,
            } => {
                let step = Step::Zero {
                    offset: first + offset,
                    length,
                    allocate,
                    fast,
                };
                (step, Held::Nothing)
            }
            Operation::Discard { offset, length } => {
                let offset = first + offset;
                (Step::Discard { offset, length }, Held::Nothing)
            }
            Operation::Extents { offset, length } => {
                let offset = first + offset;
                (Step::Extents { offset, length }, Held::Nothing)
            }
        };
        self.waiting.push_back(UnderWay {
            token,
            step,
            held,
            parts: 0,
            flushes,
        });
    }

    /// Starts what was submitted, as far as there are slots.
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

    /// Has a step done: at once by the page cache if that can, else by the engine.
    fn push(&mut self, slot: u32, step: Step) {
        // SAFETY: the buffer is the operation's under this slot, which nothing else accesses.
        let done = { self.cached.as_mut() }.and_then(|cached| unsafe { cached.run(step) });
        let Some(result) = done else {
            return self.engine.push(slot, step);
        };
        let mut at_once = std::mem::take(&mut self.at_once);
        let ended = Ended {
            slot,
            result: result.map_err(Failure::Io),
            extents: None,
        };
        self.end(ended, &mut at_once);
        self.at_once = at_once;
    }

    /// Collects what has ended, and starts what waited for it.
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

    fn end(&mut self, ended: Ended, out: &mut Vec<Completion>) {
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
                Held::Filled(buffer) => Output::Data(buffer),
                _ => match ended.extents {
                    Some(extents) => Output::Extents(extents),
                    None => Output::Done,
                },
            }),
        };
        self.free.push(ended.slot);
        let token = one.token;
        match one.step {
            Step::Flush => return self.flushed(result.map(drop), out),
            Step::Read { .. } | Step::Extents { .. } => {}
            Step::Write { .. } | Step::Zero { .. } | Step::Discard { .. } => self.commit.changed(),
        }
        match one.flushes && result.is_ok() {
            true => self.submit(token, Operation::Flush),
            false => out.push(Completion { token, result }),
        }
    }

    fn flushed(&mut self, result: Result<(), Failure>, out: &mut Vec<Completion>) {
        if let (Err(_), Some(cached)) = (result, &self.cached) {
            cached.forget();
        }
        let (shared, result) = self.commit.ended(result);
        out.extend(shared.into_iter().map(|token| Completion {
            token,
            result: result.map(|()| Output::Done),
        }));
        if let Some(token) = self.commit.next() {
            self.waiting.push_back(UnderWay {
                token,
                step: Step::Flush,
                held: Held::Nothing,
                parts: 0,
                flushes: false,
            });
        }
    }
}

impl Engine {
    fn push(&mut self, slot: u32, step: Step) {
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

    fn reap(&mut self, out: &mut Vec<Ended>) {
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
        // The kernel may still write there.
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
