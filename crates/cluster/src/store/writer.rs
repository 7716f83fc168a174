//! Writes batches of changes to the store and the promise file, in a thread that merges waiting
//! writes: a batch needs one fsync, and no other thread waits for the disk. A second thread reads.
//! In simulations the caller writes and reads.
//!
//! If the disk refuses a batch (it is full, read-only, or returns errors), the batch waits, and
//! with it everything later: nothing is acknowledged before it is stored, and reads continue. The
//! store must be set to wait for that ([`Patience`]); otherwise, as during the start and the end of
//! a role, a refused write is an error.

use crate::store::Metadata;
use crate::store::busy::{Access, Busy};
use crate::store::disk::{Disk, Op};
use crate::store::error::StoreError;
use crate::store::patience::Patience;
use crate::store::promise::Keeper;
use crate::store::queue::{NextJobs, Queue};
use part::lock;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Number of batches of entries alone that omit the commit index before one includes it. The commit
/// index is elsewhere in the file, and each position costs time.
pub(super) const COMMITTED_EVERY: u32 = 16;

const RETRY_EVERY: Duration = Duration::from_secs(1);

pub type Done = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

/// Changes that are written together.
pub(super) struct WriteJob {
    pub(super) ops: Vec<Op>,
    /// True if the changes must be on disk before `done` is called.
    pub(super) durable: bool,
    /// True if the changes may be deferred and written with later ones, in order; `done` does not
    /// report on them then.
    pub(super) lazy: bool,
    pub(super) bytes: usize,
    pub(super) done: Done,
}

type DiskRead = Box<dyn FnOnce(&Disk) + Send>;

type Promises = Arc<Mutex<Option<Arc<Mutex<Keeper>>>>>;

pub(super) enum Executor {
    Inline(Mutex<Writer>),
    Threads(Threads),
}

/// The threads of the writer and the reader. Both end when this value is dropped, after all
/// requested work.
pub(super) struct Threads {
    write: Arc<Queue>,
    read: Option<Sender<DiskRead>>,
    busy: Arc<Busy>,
    patience: Arc<Patience>,
    promises: Promises,
    handles: Vec<JoinHandle<()>>,
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.write.end();
        self.read = None;
        for handle in self.handles.drain(..) {
            // A thread of the store itself may drop the last handle, and cannot join itself.
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
        let patience = writer.patience.clone();
        let writing = thread::Builder::new()
            .name("store-write".into())
            .stack_size(512 << 10)
            .spawn(move || {
                let _refuses = Refuses(&jobs);
                writer.run(&jobs);
            })?;
        let (read, looks) = channel::<DiskRead>();
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
            patience,
            promises,
            handles: vec![writing, reading],
        }))
    }

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

    pub(super) fn write(&self, job: WriteJob) {
        match self {
            Executor::Inline(writer) => {
                let mut writer = writer.lock().unwrap_or_else(PoisonError::into_inner);
                #[cfg(test)]
                if let Some(delayed) = writer.delayed.as_mut() {
                    delayed.push(job);
                    return;
                }
                writer.batch(vec![job]);
            }
            Executor::Threads(threads) => {
                if let Err(refused) = threads.write.push(job) {
                    (refused.done)(Err(StoreError::Ended));
                }
            }
        }
    }

    /// Executes the delayed writes, and delays later ones until the next call.
    #[cfg(test)]
    pub(super) fn write_delayed(&self) {
        if let Executor::Inline(writer) = self {
            let mut writer = writer.lock().unwrap_or_else(PoisonError::into_inner);
            let jobs = writer.delayed.replace(Vec::new()).unwrap_or_default();
            writer.batch(jobs);
        }
    }

    fn patience(&self) -> Arc<Patience> {
        match self {
            Executor::Inline(writer) => {
                let writer = writer.lock().unwrap_or_else(PoisonError::into_inner);
                writer.patience.clone()
            }
            Executor::Threads(threads) => threads.patience.clone(),
        }
    }

    pub(super) fn be_patient(&self, waits: bool) {
        self.patience().set(waits);
        match self {
            Executor::Inline(_) => self.try_again(),
            Executor::Threads(threads) => threads.write.wake(),
        }
    }

    pub(super) fn refused(&self) -> Option<StoreError> {
        self.patience().refused()
    }

    pub(super) fn try_again(&self) {
        if let Executor::Inline(writer) = self {
            let mut writer = writer.lock().unwrap_or_else(PoisonError::into_inner);
            writer.try_again();
            while writer.stuck.is_none()
                && let Some(jobs) = writer.behind.take()
            {
                writer.batch(jobs);
            }
        }
    }

    /// Returns how long the disk's current operation has been running or refused.
    pub(super) fn busy_for(&self) -> Duration {
        match self {
            Executor::Inline(_) => Duration::ZERO,
            Executor::Threads(threads) => {
                let refused = threads.patience.refused_for();
                threads.busy.longest().max(refused)
            }
        }
    }

    /// Requests a read. Without threads it is executed at once. `look` is never called if the
    /// threads have ended.
    pub(super) fn read(&self, disk: &Disk, look: DiskRead) {
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

/// Fails the waiting jobs when the writer thread ends in any way, so that no caller
/// waits forever.
struct Refuses<'q>(&'q Queue);

impl Drop for Refuses<'_> {
    fn drop(&mut self) {
        for job in self.0.close() {
            (job.done)(Err(StoreError::Ended));
        }
    }
}

/// Last completed step of a batch. Each step is on disk before the next one begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum BatchStep {
    Begun,
    Lowered,
    Stored,
    Promised,
}

enum Progress {
    Through,
    /// The disk refuses the batch for this reason: it may be retried.
    Refused(StoreError),
}

struct Batch {
    ops: Vec<Op>,
    durable: bool,
    dones: Vec<Done>,
    step: BatchStep,
}

pub(super) struct Writer {
    disk: Arc<Disk>,
    book: Arc<Mutex<Metadata>>,
    busy: Arc<Busy>,
    patience: Arc<Patience>,
    promises: Promises,
    /// Deferred changes, the oldest first.
    lazy: Vec<Op>,
    left_out: u32,
    /// Error of a failed write: later changes cannot be written either.
    failed: Option<StoreError>,
    stuck: Option<Batch>,
    /// Jobs that arrived while a batch was refused; only without a writer thread.
    behind: Option<Vec<WriteJob>>,
    /// Requested jobs, if the caller writes later: only in simulations.
    #[cfg(test)]
    delayed: Option<Vec<WriteJob>>,
}

impl Writer {
    fn new(disk: Arc<Disk>, book: Arc<Mutex<Metadata>>) -> Writer {
        Writer {
            disk,
            book,
            busy: Arc::default(),
            patience: Arc::default(),
            promises: Promises::default(),
            lazy: Vec::new(),
            left_out: 0,
            failed: None,
            stuck: None,
            behind: None,
            #[cfg(test)]
            delayed: None,
        }
    }

    fn run(mut self, jobs: &Queue) {
        loop {
            if self.stuck.is_some() {
                let patience = self.patience.clone();
                if jobs.sleep_for(RETRY_EVERY, || !patience.waits()) {
                    patience.set(false);
                }
                self.try_again();
                continue;
            }
            match jobs.next(self.keeps()) {
                NextJobs::Batch(batch) => self.batch(batch),
                NextJobs::Quiet(rest) => {
                    self.batch(rest);
                    self.quiet();
                }
                NextJobs::Over(rest) => {
                    self.patience.set(false);
                    self.batch(rest);
                    return self.quiet();
                }
            }
        }
    }

    /// Returns whether deferred changes remain that can still be written.
    fn keeps(&self) -> bool {
        !self.lazy.is_empty() && self.failed.is_none()
    }

    /// Writes the deferred commit index and syncs the promise file while nothing else is written,
    /// so that a restart begins at the last commit.
    fn quiet(&mut self) {
        if self.stuck.is_some() {
            return;
        }
        if let Err(error) = self.promised(Keeper::idle) {
            self.failed.get_or_insert(error);
        }
        if self.keeps() {
            self.batch(vec![WriteJob {
                ops: Vec::new(),
                durable: true,
                lazy: false,
                bytes: 0,
                done: Box::new(|_| ()),
            }]);
        }
    }

    /// Defers the commit index if the batch has only entries besides it, at most
    /// [`COMMITTED_EVERY`] times in a row. Other changes may depend on the commit index.
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

    /// Writes a batch as far as the disk permits. The store is written first, then the promise: an
    /// intact store is never behind the promise.
    fn write(&self, batch: &mut Batch) -> Result<Progress, StoreError> {
        loop {
            let flushed = match batch.step {
                BatchStep::Begun => Ok(()),
                BatchStep::Stored => self.disk.flush(),
                BatchStep::Lowered | BatchStep::Promised => self.promised(|keeper| keeper.flush()),
            };
            if let Err(why) = flushed {
                return Ok(Progress::Refused(why));
            }
            batch.step = match batch.step {
                BatchStep::Begun => {
                    self.promised(|keeper| keeper.before(&batch.ops))?;
                    BatchStep::Lowered
                }
                BatchStep::Lowered => {
                    self.disk.write(&batch.ops, batch.durable)?;
                    BatchStep::Stored
                }
                BatchStep::Stored => {
                    if batch.durable {
                        self.promised(|keeper| keeper.after(&batch.ops))?;
                    }
                    BatchStep::Promised
                }
                BatchStep::Promised => return Ok(Progress::Through),
            };
        }
    }

    /// Retries the refused batch. If refused writes no longer wait, the batch fails.
    fn try_again(&mut self) {
        if let Some(batch) = self.stuck.take() {
            self.go_on(batch);
        }
    }

    fn go_on(&mut self, mut batch: Batch) {
        let written = match &self.failed {
            Some(error) => Err(error.clone()),
            None => self.busy.while_at(Access::Write, || self.write(&mut batch)),
        };
        let result = match written {
            Ok(Progress::Through) => Ok(()),
            Ok(Progress::Refused(why)) if self.patience.waits() => {
                self.patience.refused_by(why);
                self.stuck = Some(batch);
                return;
            }
            Ok(Progress::Refused(why)) | Err(why) => Err(why),
        };
        match &result {
            Ok(()) => lock(&self.book).written(&batch.ops),
            Err(error) => self.failed = Some(error.clone()),
        }
        self.patience.over();
        for done in batch.dones {
            done(result.clone());
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

    fn batch(&mut self, jobs: Vec<WriteJob>) {
        if jobs.is_empty() {
            return;
        }
        if self.stuck.is_some() {
            self.behind.get_or_insert_default().extend(jobs);
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
            // Marks a job without changes as a sync: it waits for everything requested before.
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
        if self.failed.is_none() {
            lock(&self.book).complete(&mut ops);
        }
        self.go_on(Batch {
            ops,
            durable,
            dones,
            step: BatchStep::Begun,
        });
    }
}

/// Keeps only the last commit index, at its position after the entries that it covers.
pub(super) fn newest_committed(ops: &mut Vec<Op>) {
    let last = ops.iter().rposition(|op| matches!(op, Op::Committed(_)));
    let mut place = 0;
    ops.retain(|op| {
        let keep = !matches!(op, Op::Committed(_)) || Some(place) == last;
        place += 1;
        keep
    });
}
