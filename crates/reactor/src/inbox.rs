//! The inbox of a loop: other threads wake its tasks, give it jobs, stop it, and read its
//! load.
//!
//! Each thread index has one inbox for the life of the process, so a waker needs no
//! reference to it. The eventfd is written only when the loop sleeps or is about to.
//! Memory is bounded: too many pending wakes become one mark "wake all", which is allowed
//! since wakes may be spurious; too many pending jobs are refused.

use super::THREADS_MAX;
use super::task_id::TaskId;
use rustix::event::{EventfdFlags, eventfd};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::{fmt, io};

/// Wakes that wait in one inbox before they become "wake all".
const WAKES_MAX: usize = 4096;
/// Jobs that wait in one inbox before further ones are refused.
const JOBS_MAX: usize = 1024;

/// End the loop.
pub(super) const STOP: u8 = 1;
/// Wake every task.
pub(super) const WAKE_ALL: u8 = 2;
/// Look at every listener: a connection may wait that another thread was told of.
pub(super) const LISTEN: u8 = 4;

/// A closure that runs on another thread's loop.
pub(super) type Job = Box<dyn FnOnce() + Send>;

struct Waiting {
    open: bool,
    wakes: Vec<TaskId>,
    jobs: Vec<Job>,
}

/// One a thread index. Aligned so that two threads share no cache line.
#[repr(align(128))]
pub(super) struct Inbox {
    waiting: Mutex<Waiting>,
    /// Something is in `waiting` or `marks`.
    pending: AtomicBool,
    /// The loop waits in epoll or will without looking here again.
    sleeping: AtomicBool,
    marks: AtomicU8,
    tasks: AtomicUsize,
    jobs: AtomicUsize,
    /// Made at the first start, never closed: a late wake may still write to it.
    bell: OnceLock<OwnedFd>,
}

static INBOXES: [Inbox; THREADS_MAX] = [const { Inbox::new() }; THREADS_MAX];

impl Inbox {
    const fn new() -> Inbox {
        Inbox {
            waiting: Mutex::new(Waiting {
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

    /// The inbox of a thread, when there can be such a thread.
    pub(super) fn of(thread: usize) -> Option<&'static Inbox> {
        INBOXES.get(thread)
    }

    /// Locks the lists. Nothing panics while the lock is held, and if it did the lists
    /// would still be consistent.
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a loop here; `AlreadyExists` when one runs.
    pub(super) fn open(&self) -> io::Result<()> {
        if self.bell.get().is_none() {
            let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
            // Another thread may have been faster; both are good.
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

    /// Ends the loop here unless a job waits for it.
    pub(super) fn close_if_empty(&self) -> bool {
        let mut waiting = self.lock();
        let empty = waiting.jobs.is_empty();
        if empty {
            waiting.open = false;
        }
        empty
    }

    /// Ends the loop here; jobs that nobody ran are dropped.
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

    /// The eventfd, once opened.
    pub(super) fn bell(&self) -> Option<BorrowedFd<'_>> {
        self.bell.get().map(AsFd::as_fd)
    }

    /// Announces a waiting job, and signals the eventfd if the loop may sleep. Together
    /// with `try_sleep`: the one that comes second in the single order of the two flags
    /// sees the store of the other.
    fn announce(&self) {
        self.pending.store(true, Ordering::SeqCst);
        if self.sleeping.swap(false, Ordering::SeqCst)
            && let Some(bell) = self.bell()
        {
            // The only failure is a counter that is full, and then it has rung.
            let _ = rustix::io::write(bell, &1_u64.to_ne_bytes());
        }
    }

    /// Sets one of the marks, when a loop runs here.
    pub(super) fn mark(&self, mark: u8) {
        {
            // Under the lock, so that no later loop of this index gets it.
            let waiting = self.lock();
            if !waiting.open {
                return;
            }
            self.marks.fetch_or(mark, Ordering::AcqRel);
        }
        self.announce();
    }

    /// For the loop: about to sleep. False when something waits already.
    pub(super) fn try_sleep(&self) -> bool {
        self.sleeping.store(true, Ordering::SeqCst);
        if self.pending.load(Ordering::SeqCst) {
            self.awake();
            return false;
        }
        true
    }

    /// For the loop: no longer asleep.
    pub(super) fn awake(&self) {
        self.sleeping.store(false, Ordering::Relaxed);
    }

    /// For the loop: moves what waits into `wakes` and `jobs` (which are
    /// empty) and returns the marks.
    pub(super) fn collect(&self, wakes: &mut Vec<TaskId>, jobs: &mut Vec<Job>) -> u8 {
        if !self.pending.load(Ordering::Relaxed) {
            return 0;
        }
        self.pending.store(false, Ordering::SeqCst);
        let mut waiting = self.lock();
        std::mem::swap(&mut waiting.wakes, wakes);
        std::mem::swap(&mut waiting.jobs, jobs);
        self.marks.swap(0, Ordering::AcqRel)
    }

    /// For the loop: a job has run. Until then it counts as load, so that a
    /// loop which is about to run many does not look idle.
    pub(super) fn job_done(&self) {
        self.jobs.fetch_sub(1, Ordering::Relaxed);
    }

    /// For the loop: how many tasks live.
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
                // Floods are mostly the same task again.
                if waiting.wakes.last() != Some(&id) {
                    waiting.wakes.push(id);
                }
            } else {
                self.marks.fetch_or(WAKE_ALL, Ordering::AcqRel);
            }
        }
        self.announce();
    }

    fn push<F: FnOnce() + Send + 'static>(&self, job: F) -> Result<(), Refused<F>> {
        {
            let mut waiting = self.lock();
            if !waiting.open {
                return Err(Refused {
                    job,
                    why: Why::NoLoop,
                });
            }
            if waiting.jobs.len() >= JOBS_MAX {
                return Err(Refused {
                    job,
                    why: Why::Full,
                });
            }
            waiting.jobs.push(Box::new(job));
            self.jobs.fetch_add(1, Ordering::Relaxed);
        }
        self.announce();
        Ok(())
    }
}

/// Wakes a task of another thread's loop.
pub(super) fn wake_elsewhere(id: TaskId) {
    if let Some(inbox) = Inbox::of(usize::from(id.thread)) {
        inbox.wake(id);
    }
}

/// Makes every other loop check its listeners.
pub(super) fn listen_elsewhere(here: usize) {
    for (thread, inbox) in INBOXES.iter().enumerate() {
        if thread != here && inbox.bell.get().is_some() {
            inbox.mark(LISTEN);
        }
    }
}

/// Why a loop did not take a job.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Why {
    /// No loop runs under that thread index.
    NoLoop,
    /// Too many jobs wait there already.
    Full,
}

/// A job that was not taken, so that its caller can run it elsewhere.
pub struct Refused<F> {
    /// The closure, not run.
    pub job: F,
    /// The reason.
    pub why: Why,
}

impl<F> fmt::Debug for Refused<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refused")
            .field("why", &self.why)
            .finish_non_exhaustive()
    }
}

/// Runs a closure on the loop of `thread`, soon and outside of any task: to
/// hand over an accepted socket, it makes the [`super::Socket`] there and
/// spawns. A loop that ends drops the jobs that it has not run.
pub fn inject<F: FnOnce() + Send + 'static>(thread: usize, job: F) -> Result<(), Refused<F>> {
    match Inbox::of(thread) {
        Some(inbox) => inbox.push(job),
        None => Err(Refused {
            job,
            why: Why::NoLoop,
        }),
    }
}

/// Ends the loop of `thread` after its current turn: every task there is
/// dropped. Does nothing when no loop runs there.
pub fn stop(thread: usize) {
    if let Some(inbox) = Inbox::of(thread) {
        inbox.mark(STOP);
    }
}

/// Wakes every task of the loop of `thread`, to look at something that they
/// do not wait for: the end of the process. Does nothing when no loop runs there.
pub fn wake_all(thread: usize) {
    if let Some(inbox) = Inbox::of(thread) {
        inbox.mark(WAKE_ALL);
    }
}

/// How busy a loop is: its tasks and the jobs that wait for it. For choosing
/// the least loaded one; a little behind the truth, 0 where no loop runs.
pub fn load(thread: usize) -> usize {
    Inbox::of(thread).map_or(0, |inbox| {
        inbox.tasks.load(Ordering::Relaxed) + inbox.jobs.load(Ordering::Relaxed)
    })
}
