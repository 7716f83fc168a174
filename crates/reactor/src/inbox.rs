//! Lets other threads use an event loop: wake tasks, submit jobs, stop the event loop, and read
//! its load.
//!
//! Each thread index has one inbox for the life of the process, so a waker needs no reference to
//! it. The eventfd is written only when the event loop sleeps or is about to sleep. Memory is
//! bounded: too many pending wakes become the single mark "wake all", which is correct because
//! wakes may be spurious; too many pending jobs are refused.

use super::THREADS_MAX;
use super::task_id::TaskId;
use rustix::event::{EventfdFlags, eventfd};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::{fmt, io};

/// Maximum pending wakes in one inbox before they become "wake all".
const WAKES_MAX: usize = 4096;
/// Maximum pending jobs in one inbox before further ones are refused.
const JOBS_MAX: usize = 1024;

pub(super) const STOP: u8 = 1;
pub(super) const WAKE_ALL: u8 = 2;
/// Mark that makes the event loop check every listener, because another thread may have received
/// the event for a waiting connection.
pub(super) const LISTEN: u8 = 4;

/// A closure that runs on another thread's event loop.
pub(super) type InboxJob = Box<dyn FnOnce() + Send>;

struct InboxState {
    open: bool,
    wakes: Vec<TaskId>,
    jobs: Vec<InboxJob>,
}

/// The inbox of one thread index. Aligned so that two threads share no cache line.
#[repr(align(128))]
pub(super) struct Inbox {
    waiting: Mutex<InboxState>,
    /// `waiting` or `marks` is not empty.
    pending: AtomicBool,
    /// The event loop waits in epoll, or will wait without checking the inbox again.
    sleeping: AtomicBool,
    marks: AtomicU8,
    tasks: AtomicUsize,
    jobs: AtomicUsize,
    /// Created at the first start and never closed: a late wake may still write to it.
    bell: OnceLock<OwnedFd>,
}

static INBOXES: [Inbox; THREADS_MAX] = [const { Inbox::new() }; THREADS_MAX];

impl Inbox {
    const fn new() -> Inbox {
        Inbox {
            waiting: Mutex::new(InboxState {
                open: false,
                wakes: Vec::new(),
                jobs: Vec::new(),
            }),
            pending: AtomicBool::new(false),
            sleeping: AtomicBool::new(false),
            marks: AtomicU8::new(0),
            tasks: AtomicUsize::new(0),
            jobs: AtomicUsize::new(0),
            bell: OnceLock::new(),
        }
    }

    /// Returns the inbox of a thread; `None` when the index is too high.
    pub(super) fn of(thread: usize) -> Option<&'static Inbox> {
        INBOXES.get(thread)
    }

    /// Locks the lists. Nothing panics while the lock is held, and if it did the lists would still
    /// be consistent.
    fn lock(&self) -> MutexGuard<'_, InboxState> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens the inbox for an event loop; fails with `AlreadyExists` when one runs.
    pub(super) fn open(&self) -> io::Result<()> {
        if self.bell.get().is_none() {
            let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
            // Ignores a failure: another thread may have set its own eventfd first, and either one
            // works.
            let _ = self.bell.set(bell);
        }
        let mut waiting = self.lock();
        if waiting.open {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        waiting.open = true;
        self.marks.store(0, Ordering::Relaxed);
        self.tasks.store(0, Ordering::Relaxed);
        Ok(())
    }

    /// Closes the inbox unless it has a pending job. Returns whether it was closed.
    pub(super) fn close_if_empty(&self) -> bool {
        let mut waiting = self.lock();
        let empty = waiting.jobs.is_empty();
        if empty {
            waiting.open = false;
        }
        empty
    }

    pub(super) fn close(&self) {
        let jobs = {
            let mut waiting = self.lock();
            waiting.open = false;
            waiting.wakes = Vec::new();
            self.jobs.store(0, Ordering::Relaxed);
            std::mem::take(&mut waiting.jobs)
        };
        self.tasks.store(0, Ordering::Relaxed);
        self.pending.store(false, Ordering::Relaxed);
        self.sleeping.store(false, Ordering::Relaxed);
        drop(jobs); // without the lock: their drops may wake and inject
    }

    pub(super) fn wake_descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.bell.get().map(AsFd::as_fd)
    }

    /// Announces a pending item, and signals the eventfd if the event loop may sleep. Works
    /// together with `try_sleep`: whichever is second in the single order of the two flags sees the
    /// store of the other.
    fn signal_pending(&self) {
        self.pending.store(true, Ordering::SeqCst);
        if self.sleeping.swap(false, Ordering::SeqCst)
            && let Some(bell) = self.wake_descriptor()
        {
            // Ignores the only possible error, a full counter, because the eventfd is then already
            // signalled.
            let _ = rustix::io::write(bell, &1_u64.to_ne_bytes());
        }
    }

    /// Sets one of the marks when an event loop runs on this index.
    pub(super) fn mark(&self, mark: u8) {
        {
            // Sets the mark under the lock, so that no later event loop of this index receives it.
            let waiting = self.lock();
            if !waiting.open {
                return;
            }
            self.marks.fetch_or(mark, Ordering::AcqRel);
        }
        self.signal_pending();
    }

    /// Prepares the event loop for sleep. Returns false when an item is already pending.
    pub(super) fn try_sleep(&self) -> bool {
        self.sleeping.store(true, Ordering::SeqCst);
        if self.pending.load(Ordering::SeqCst) {
            self.set_awake();
            return false;
        }
        true
    }

    pub(super) fn set_awake(&self) {
        self.sleeping.store(false, Ordering::Relaxed);
    }

    /// Moves the pending items into `wakes` and `jobs` (which are empty) and returns the marks.
    /// Called by the event loop.
    pub(super) fn collect(&self, wakes: &mut Vec<TaskId>, jobs: &mut Vec<InboxJob>) -> u8 {
        if !self.pending.load(Ordering::Relaxed) {
            return 0;
        }
        self.pending.store(false, Ordering::SeqCst);
        let mut waiting = self.lock();
        std::mem::swap(&mut waiting.wakes, wakes);
        std::mem::swap(&mut waiting.jobs, jobs);
        self.marks.swap(0, Ordering::AcqRel)
    }

    /// Records that a job has run. Until then the job counts as load, so that an event loop that is
    /// about to run many jobs does not look idle.
    pub(super) fn job_done(&self) {
        self.jobs.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn set_tasks(&self, tasks: usize) {
        self.tasks.store(tasks, Ordering::Relaxed);
    }

    fn wake(&self, id: TaskId) {
        {
            let mut waiting = self.lock();
            if !waiting.open {
                return;
            }
            if waiting.wakes.len() < WAKES_MAX {
                // Skips a wake of the same task as before, which most wakes in a flood are.
                if waiting.wakes.last() != Some(&id) {
                    waiting.wakes.push(id);
                }
            } else {
                self.marks.fetch_or(WAKE_ALL, Ordering::AcqRel);
            }
        }
        self.signal_pending();
    }

    fn push<F: FnOnce() + Send + 'static>(&self, job: F) -> Result<(), RefusedJob<F>> {
        {
            let mut waiting = self.lock();
            if !waiting.open {
                return Err(RefusedJob {
                    job,
                    why: Why::NoLoop,
                });
            }
            if waiting.jobs.len() >= JOBS_MAX {
                return Err(RefusedJob {
                    job,
                    why: Why::Full,
                });
            }
            waiting.jobs.push(Box::new(job));
            self.jobs.fetch_add(1, Ordering::Relaxed);
        }
        self.signal_pending();
        Ok(())
    }
}

pub(super) fn wake_remote(id: TaskId) {
    if let Some(inbox) = Inbox::of(usize::from(id.thread)) {
        inbox.wake(id);
    }
}

pub(super) fn check_remote_listeners(here: usize) {
    for (thread, inbox) in INBOXES.iter().enumerate() {
        if thread != here && inbox.bell.get().is_some() {
            inbox.mark(LISTEN);
        }
    }
}

/// The reason why an event loop refused a job.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Why {
    NoLoop,
    Full,
}

/// A refused job, returned so that its caller can run it elsewhere.
pub struct RefusedJob<F> {
    pub job: F,
    pub why: Why,
}

impl<F> fmt::Debug for RefusedJob<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refused")
            .field("why", &self.why)
            .finish_non_exhaustive()
    }
}

/// Runs a closure on the event loop of `thread`, soon and outside any task. To hand over an
/// accepted socket, the closure creates the `StreamSocket` on that thread and spawns a task. An
/// event loop that ends drops the jobs that have not run.
///
/// # Errors
/// Returns the job with [`Why::NoLoop`] or [`Why::Full`]; it has not run.
pub fn inject<F: FnOnce() + Send + 'static>(thread: usize, job: F) -> Result<(), RefusedJob<F>> {
    match Inbox::of(thread) {
        Some(inbox) => inbox.push(job),
        None => Err(RefusedJob {
            job,
            why: Why::NoLoop,
        }),
    }
}

/// Ends the event loop of `thread` after its current turn; all its tasks are dropped. Does nothing
/// when no event loop runs there.
pub fn stop(thread: usize) {
    if let Some(inbox) = Inbox::of(thread) {
        inbox.mark(STOP);
    }
}

/// Wakes every task of the event loop of `thread`, to check a condition that the tasks do not wait
/// for: the end of the process. Does nothing when no event loop runs there.
pub fn wake_all(thread: usize) {
    if let Some(inbox) = Inbox::of(thread) {
        inbox.mark(WAKE_ALL);
    }
}

/// Returns the load of an event loop: the number of its tasks and pending jobs. For choosing the
/// least loaded one. The value is slightly out of date, and 0 when no event loop runs.
pub fn load(thread: usize) -> usize {
    Inbox::of(thread).map_or(0, |inbox| {
        inbox.tasks.load(Ordering::Relaxed) + inbox.jobs.load(Ordering::Relaxed)
    })
}
