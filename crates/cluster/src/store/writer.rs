//! The writer: a thread that merges waiting writes, so that a batch needs one fsync and
//! no other thread waits for the disk. In simulations the caller writes.

use crate::store::Metadata;
use crate::store::busy::{Access, Busy};
use crate::store::disk::{Disk, Op};
use crate::store::error::StoreError;
use crate::store::promise::Keeper;
use crate::store::queue::{NextJobs, Queue};
use part::lock;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Writes of entries alone that leave out how far is agreed on, before one takes it
/// along: it stands elsewhere in the file, and every place costs time.
pub(super) const COMMITTED_EVERY: u32 = 16;

/// Told when a job is done.
pub type Done = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

/// Changes that belong together.
pub(super) struct Job {
    pub(super) ops: Vec<Op>,
    /// They are to be on disk before `done` is told.
    pub(super) durable: bool,
    /// They may wait for others, in their order; `done` is not told of them.
    pub(super) lazy: bool,
    pub(super) bytes: usize,
    pub(super) done: Done,
}

/// Something to read.
type Look = Box<dyn FnOnce(&Disk) + Send>;

/// The promise file, once the store is tied to one.
type Promises = Arc<Mutex<Option<Arc<Mutex<Keeper>>>>>;

/// The threads that do the work.
pub(super) enum Executor {
    /// The calling thread.
    Inline(Mutex<Writer>),
    /// Threads, which end with the last handle of the store.
    Threads(Threads),
}

/// The threads. They end when this does, with all done that was asked for.
pub(super) struct Threads {
    write: Arc<Queue>,
    read: Option<Sender<Look>>,
    busy: Arc<Busy>,
    promises: Promises,
    handles: Vec<JoinHandle<()>>,
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.write.end();
        self.read = None;
        for handle in self.handles.drain(..) {
            // The last handle of a store may be one that a thread of it had.
            if handle.thread().id() != thread::current().id() {
                let _ = handle.join();
            }
        }
    }
}

impl Executor {
    pub(super) fn inline(disk: &Arc<Disk>, book: &Arc<Mutex<Metadata>>) -> Executor {
        Executor::Inline(Mutex::new(Writer::new(disk.clone(), book.clone())))
    }

    pub(super) fn threads(
        disk: &Arc<Disk>,
        book: &Arc<Mutex<Metadata>>,
    ) -> Result<Executor, std::io::Error> {
        let write = Arc::new(Queue::default());
        let jobs = write.clone();
        let busy = Arc::new(Busy::default());
        let mut writer = Writer::new(disk.clone(), book.clone());
        writer.busy = busy.clone();
        let promises = writer.promises.clone();
        let writing = thread::Builder::new()
            .name("store-write".into())
            .stack_size(512 << 10)
            .spawn(move || {
                let _refuses = Refuses(&jobs);
                writer.run(&jobs);
            })?;
        let (read, looks) = channel::<Look>();
        let (disk, at_disk) = (disk.clone(), busy.clone());
        let reading = thread::Builder::new()
            .name("store-read".into())
            .stack_size(512 << 10)
            .spawn(move || {
                while let Ok(look) = looks.recv() {
                    at_disk.while_at(Access::Read, || look(&disk));
                }
            })?;
        Ok(Executor::Threads(Threads {
            write,
            read: Some(read),
            busy,
            promises,
            handles: vec![writing, reading],
        }))
    }

    /// From now on what is written is promised.
    pub(super) fn keep_promises(&self, keeper: Arc<Mutex<Keeper>>) {
        let promises = match self {
            Executor::Inline(writer) => {
                let writer = writer.lock().unwrap_or_else(PoisonError::into_inner);
                writer.promises.clone()
            }
            Executor::Threads(threads) => threads.promises.clone(),
        };
        *promises.lock().unwrap_or_else(PoisonError::into_inner) = Some(keeper);
    }

    pub(super) fn write(&self, job: Job) {
        match self {
            Executor::Inline(writer) => writer
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .batch(vec![job]),
            Executor::Threads(threads) => {
                if let Err(refused) = threads.write.push(job) {
                    (refused.done)(Err(StoreError::Ended));
                }
            }
        }
    }

    /// How long what the disk is at is under way.
    pub(super) fn busy_for(&self) -> Duration {
        match self {
            Executor::Inline(_) => Duration::ZERO,
            Executor::Threads(threads) => threads.busy.longest(),
        }
    }

    /// Reads; without a word when the threads have ended.
    pub(super) fn read(&self, disk: &Disk, look: Look) {
        match self {
            Executor::Inline(_) => look(disk),
            Executor::Threads(threads) => {
                if let Some(read) = &threads.read {
                    let _ = read.send(look);
                }
            }
        }
    }
}

/// When the thread that writes ends, in whatever way, nobody waits for it in vain.
struct Refuses<'q>(&'q Queue);

impl Drop for Refuses<'_> {
    fn drop(&mut self) {
        for job in self.0.close() {
            (job.done)(Err(StoreError::Ended));
        }
    }
}

/// Writes batches.
pub(super) struct Writer {
    disk: Arc<Disk>,
    book: Arc<Mutex<Metadata>>,
    busy: Arc<Busy>,
    promises: Promises,
    /// Changes that wait for others, the first of all.
    lazy: Vec<Op>,
    /// Writes that left them out.
    left_out: u32,
    /// A write failed: what follows it cannot be written either.
    failed: Option<StoreError>,
}

impl Writer {
    fn new(disk: Arc<Disk>, book: Arc<Mutex<Metadata>>) -> Writer {
        Writer {
            disk,
            book,
            busy: Arc::default(),
            promises: Promises::default(),
            lazy: Vec::new(),
            left_out: 0,
            failed: None,
        }
    }

    fn run(mut self, jobs: &Queue) {
        loop {
            match jobs.next(self.keeps()) {
                NextJobs::Batch(batch) => self.batch(batch),
                NextJobs::Quiet(rest) => {
                    self.batch(rest);
                    self.quiet();
                }
                NextJobs::Over(rest) => {
                    self.batch(rest);
                    return self.quiet();
                }
            }
        }
    }

    /// It keeps changes that it can still write.
    fn keeps(&self) -> bool {
        !self.lazy.is_empty() && self.failed.is_none()
    }

    /// Nobody writes: what is known to be agreed on goes to disk by itself, so that a
    /// restart begins where it was.
    fn quiet(&mut self) {
        if let Err(error) = self.promised(Keeper::idle) {
            self.failed.get_or_insert(error);
        }
        if self.keeps() {
            self.batch(vec![Job {
                ops: Vec::new(),
                durable: true,
                lazy: false,
                bytes: 0,
                done: Box::new(|_| ()),
            }]);
        }
    }

    /// Leaves how far is agreed on for later, where nothing else than entries is
    /// written, and not too often. What is written otherwise may depend on it.
    fn leave_out(&mut self, ops: &mut Vec<Op>) {
        let is_committed = |op: &Op| matches!(op, Op::Committed(_));
        let entries = |op: &Op| matches!(op, Op::Append { .. });
        let may_wait = ops.iter().any(entries)
            && ops.iter().all(|op| entries(op) || is_committed(op))
            && self.left_out < COMMITTED_EVERY;
        let at = ops.iter().position(is_committed).filter(|_| may_wait);
        if let Some(at) = at {
            self.lazy.push(ops.remove(at));
            self.left_out += 1;
        } else {
            self.left_out = 0;
        }
    }

    /// The store first, then the promise: a store that is whole is never behind it.
    fn write(&self, ops: &[Op], durable: bool) -> Result<(), StoreError> {
        self.promised(|keeper| keeper.before(ops))?;
        self.disk.write(ops, durable)?;
        match durable {
            true => self.promised(|keeper| keeper.after(ops)),
            false => Ok(()),
        }
    }

    fn promised(
        &self,
        act: impl FnOnce(&mut Keeper) -> std::io::Result<()>,
    ) -> Result<(), StoreError> {
        let promises = self.promises.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(keeper) = promises.as_ref() else {
            return Ok(());
        };
        let mut keeper = keeper.lock().unwrap_or_else(PoisonError::into_inner);
        act(&mut keeper).map_err(|error| StoreError::Disk {
            path: self.disk.path().with_file_name("promise"),
            source: Arc::new(redb::Error::Io(error)),
        })
    }

    fn batch(&mut self, jobs: Vec<Job>) {
        if jobs.is_empty() {
            return;
        }
        let mut ops = std::mem::take(&mut self.lazy);
        let mut dones = Vec::with_capacity(jobs.len());
        let mut durable = false;
        let mut lazy = true;
        let mut all = false;
        for job in jobs {
            durable |= job.durable;
            lazy &= job.lazy;
            // Who asks for nothing asks for what was asked for before.
            all |= !job.lazy && job.ops.is_empty();
            ops.extend(job.ops);
            dones.push(job.done);
        }
        newest_committed(&mut ops);
        if lazy {
            self.lazy = ops;
            return;
        }
        if !all {
            self.leave_out(&mut ops);
        }
        let result = match &self.failed {
            Some(error) => Err(error.clone()),
            None => {
                lock(&self.book).complete(&mut ops);
                self.busy
                    .while_at(Access::Write, || self.write(&ops, durable))
            }
        };
        match &result {
            Ok(()) => lock(&self.book).written(&ops),
            Err(error) => self.failed = Some(error.clone()),
        }
        for done in dones {
            done(result.clone());
        }
    }
}

/// Of what is known to be agreed on only the last counts, where it stands: behind the
/// entries that it is about.
pub(super) fn newest_committed(ops: &mut Vec<Op>) {
    let last = ops.iter().rposition(|op| matches!(op, Op::Committed(_)));
    let mut place = 0;
    ops.retain(|op| {
        let keep = !matches!(op, Op::Committed(_)) || Some(place) == last;
        place += 1;
        keep
    });
}
