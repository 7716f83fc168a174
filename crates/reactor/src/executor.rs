//! Executes the tasks of a thread: a slab of tasks, a run queue and the iterations (turns) of the
//! event loop.
//!
//! A turn runs tasks, empties the inbox, waits in epoll (without blocking while a task can run),
//! updates the clock and fires deadlines. The cost of one poll is limited: the reactor charges
//! the task for socket operations and their bytes, and other code charges for its own work
//! (`charge_budget`). The clock limits a turn.
//!
//! A task that used up its budget (a *busy* one: a transfer, a flood of frames) waits in a
//! separate queue. A turn ends with a few polls of that queue, whatever else can run. So events
//! wait for a few budgets, and not for every busy task, and a busy task still makes progress in
//! each turn.
//!
//! The executor never polls a task while one of its own lists is borrowed.

use super::clock::Instant;
use super::inbox::{self, Inbox, InboxJob};
use super::poll::Poller;
use super::task_id::{GENERATION_MASK, TaskId};
use super::timer::Wheel;
use rustix::event::Timespec;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::ptr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::task::{Context, Poll, RawWaker, RawWakerVTable, Waker};

/// Budget of one poll of a task; after it the next operation is refused and the task queued again.
/// A unit is some 30 ns: the time to inspect a small frame.
const COST_PER_POLL: u32 = OPERATIONS_PER_POLL * COST_OF_OPERATION;
/// Cost of a successful socket operation, besides its bytes.
const COST_OF_OPERATION: u32 = 64;
/// Number of bytes moved that cost one more unit.
pub(super) const BYTES_A_UNIT: usize = 256;
/// Maximum socket operations in one poll of a task, if they move few bytes.
pub(super) const OPERATIONS_PER_POLL: u32 = 32;
const COST_OF_POLL: u32 = 16;
const POLLS_PER_TURN: u32 = 128;
/// Maximum length of a turn in nanoseconds, even if more tasks could run: new events and new
/// connections wait until the turn has ended.
const TURN_NANOS_MAX: u64 = 1_000_000;
/// Cost after which the clock is read again.
const COST_BETWEEN_CLOCKS: u32 = 2 * COST_PER_POLL;
/// Maximum cost of a turn, independent of the clock.
const COST_PER_TURN: u32 = 16 * COST_PER_POLL;
/// Cost after which a turn polls no further busy task: epoll reports new events first.
const BUSY_COST_PER_TURN: u32 = 2 * COST_PER_POLL;
/// Maximum tasks of one event loop. The memory is exhausted before that.
const TASKS_MAX: usize = 1 << 28;

type Task = Pin<Box<dyn Future<Output = ()>>>;

struct TaskSlot {
    /// Absent when the slot is free and while the future is polled.
    future: Option<Task>,
    generation: u32,
    /// Combination of `LIVE` and `QUEUED`.
    flags: u32,
}

/// Set from `spawn` to the end of the future.
const LIVE: u32 = 1;
/// The index is in one of the queues, exactly once. The flag survives the end of a task.
const QUEUED: u32 = 2;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum RunQueue {
    Ready,
    /// Tasks that used up the budget of their last poll.
    Busy,
}

struct Tasks {
    slots: Vec<TaskSlot>,
    free: Vec<u32>,
    queue: VecDeque<u32>,
    busy: VecDeque<u32>,
    live: usize,
}

impl Tasks {
    fn push(&mut self, index: u32) {
        self.push_to(RunQueue::Ready, index);
    }

    fn push_to(&mut self, queue: RunQueue, index: u32) {
        if let Some(slot) = self.slots.get_mut(index as usize)
            && slot.flags & QUEUED == 0
        {
            slot.flags |= QUEUED;
            self.queue(queue).push_back(index);
        }
    }

    fn queue(&mut self, queue: RunQueue) -> &mut VecDeque<u32> {
        match queue {
            RunQueue::Ready => &mut self.queue,
            RunQueue::Busy => &mut self.busy,
        }
    }

    fn is_any_ready(&self) -> bool {
        !self.queue.is_empty()
    }

    fn is_any_runnable(&self) -> bool {
        self.is_any_ready() || !self.busy.is_empty()
    }

    fn wake(&mut self, generation: u32, index: u32) {
        if let Some(slot) = self.slots.get(index as usize)
            && slot.flags & LIVE != 0
            && slot.generation == generation
        {
            self.push(index);
        }
    }

    fn pop(&mut self, queue: RunQueue) -> Option<(u32, u32, Task)> {
        // Skips the indexes of ended tasks; each was pushed once.
        while let Some(index) = self.queue(queue).pop_front() {
            if let Some(slot) = self.slots.get_mut(index as usize) {
                slot.flags &= !QUEUED;
                if let Some(future) = slot.future.take() {
                    return Some((index, slot.generation, future));
                }
            }
        }
        None
    }

    fn insert(&mut self, future: Task) -> Result<u32, Task> {
        let index = match self.free.pop() {
            Some(index) => index,
            None if self.slots.len() < TASKS_MAX => {
                self.slots.push(TaskSlot {
                    future: None,
                    generation: 0,
                    flags: 0,
                });
                self.slots.len() as u32 - 1
            }
            None => return Err(future),
        };
        match self.slots.get_mut(index as usize) {
            Some(slot) => {
                slot.future = Some(future);
                slot.flags |= LIVE;
            }
            None => return Err(future),
        }
        self.live += 1;
        self.push(index);
        Ok(index)
    }

    fn put_back(&mut self, index: u32, future: Task) {
        if let Some(slot) = self.slots.get_mut(index as usize) {
            slot.future = Some(future);
        }
    }

    fn release(&mut self, index: u32) {
        if let Some(slot) = self.slots.get_mut(index as usize) {
            slot.generation = (slot.generation + 1) & GENERATION_MASK;
            slot.flags &= !LIVE;
            self.free.push(index);
            self.live -= 1;
        }
    }
}

/// An event loop, a local variable of [`run`].
pub(super) struct Core {
    thread: u8,
    inbox: &'static Inbox,
    pub(super) poller: Poller,
    tasks: RefCell<Tasks>,
    wheel: RefCell<Wheel>,
    now: Cell<Instant>,
    spent: Cell<u32>,
    /// An operation of the current poll was refused.
    starved: Cell<bool>,
    earliest_deadline: Cell<Instant>,
    stopping: Cell<bool>,
    /// Decides whether the event loop may end by itself; set by [`set_end_condition`].
    may_end: Cell<Option<fn() -> bool>>,
}

thread_local! {
    static CORE: Cell<*const Core> = const { Cell::new(ptr::null()) };
}

#[inline]
pub(super) fn with<R>(f: impl FnOnce(&Core) -> R) -> Option<R> {
    let core = CORE.get();
    // SAFETY: `run` sets the pointer to its own `Core`, which is only ever used through shared
    // references, and resets it before the `Core` is dropped.
    unsafe { core.as_ref() }.map(f)
}

/// Minimum and maximum number of other ready tasks for `has_many_ready_tasks`. Above the maximum,
/// the data that the tasks hold meanwhile would evict each other from the caches (measured: 3 %
/// less CPU per request with 64 connections, 4 % more with 1,000).
const CROWD: std::ops::RangeInclusive<usize> = 4..=64;

/// A task that has read more bytes than this writes at once: the data of many such tasks would
/// leave the CPU caches before it is written.
const CROWD_BYTES_MAX: usize = 4096;

/// Returns whether several other tasks are ready to run on this event loop. A task that has just
/// read `read` bytes and is about to write may then wake itself and return, so that all tasks read
/// first and write afterwards. The kernel's code paths for reads and writes are long; running one
/// of them many times in a row finds its code and data in the caches.
pub fn has_many_ready_tasks(read: usize) -> bool {
    read <= CROWD_BYTES_MAX
        && with(|core| CROWD.contains(&core.tasks.borrow().queue.len())).unwrap_or(false)
}

/// Charges the current task for work other than socket operations, in units of some 30 ns. Once its
/// budget is used up, its next operation is refused and `has_budget` returns false.
pub fn charge_budget(units: usize) {
    with(|core| core.charge(u32::try_from(units).unwrap_or(u32::MAX)));
}

/// Returns whether the current task may continue with work that it is charged for. If not, the task
/// is queued again and should return `Pending` soon.
pub fn has_budget() -> bool {
    with(Core::has_operation_budget).unwrap_or(true)
}

static PANICS: AtomicU64 = AtomicU64::new(0);
static REFUSED: AtomicU64 = AtomicU64::new(0);
/// Number of event loops started so far: see `Descriptors::first_generation`.
static RUNS: AtomicU32 = AtomicU32::new(0);

/// Returns the number of tasks and jobs of this process that ended with a panic.
pub fn panics() -> u64 {
    PANICS.load(Ordering::Relaxed)
}

/// Returns the number of tasks of this process that [`spawn`] dropped unpolled because their event
/// loop was ending or full.
pub fn refused_tasks() -> u64 {
    REFUSED.load(Ordering::Relaxed)
}

/// Returns the index of this thread's event loop.
///
/// # Panics
/// Panics outside an event loop.
pub fn thread() -> usize {
    match with(|core| usize::from(core.thread)) {
        Some(thread) => thread,
        None => panic!("reactor::thread() outside of a loop"),
    }
}

/// Returns the time at the start of this turn of the event loop; outside an event loop, the current
/// time.
#[inline]
pub fn now() -> Instant {
    with(|core| core.now.get()).unwrap_or_else(Instant::now)
}

/// Returns the number of tasks of this thread's event loop; 0 outside an event loop.
pub fn tasks() -> usize {
    with(|core| core.tasks.borrow().live).unwrap_or(0)
}

/// Starts a task on this thread's event loop. The task is first polled after the current task or
/// job returns. An event loop that is ending drops it at once.
///
/// # Panics
/// Panics outside an event loop.
pub fn spawn(future: impl Future<Output = ()> + 'static) {
    // Boxes the future before anything is borrowed; a refused one is dropped afterwards.
    let future: Task = Box::pin(future);
    let refused = with(|core| core.spawn(future));
    match refused {
        Some(Ok(())) => {}
        Some(Err(_)) => {
            REFUSED.fetch_add(1, Ordering::Relaxed);
        }
        None => panic!("reactor::spawn() outside of a loop"),
    }
}

/// Queues a task of this thread's event loop. Returns false when the task belongs to another one.
pub(super) fn wake_local(id: TaskId) -> bool {
    with(|core| {
        if core.thread != id.thread {
            return false;
        }
        core.tasks.borrow_mut().wake(id.generation, id.index);
        true
    })
    .unwrap_or(false)
}

pub(super) fn declare_deadline(at: Instant) {
    with(|core| {
        core.earliest_deadline
            .set(core.earliest_deadline.get().min(at))
    });
}

/// Wakes the tasks in up to `most` slots of this thread's event loop, starting at slot `from`, to
/// check a condition that they do not wait for. Returns the next slot; `None` after the last one,
/// and outside an event loop.
pub fn wake_some(from: usize, most: usize) -> Option<usize> {
    with(|core| {
        let mut tasks = core.tasks.borrow_mut();
        let slots = tasks.slots.len();
        let end = slots.min(from.saturating_add(most));
        for index in from..end {
            // Skips free slots without queueing them.
            if tasks.slots[index].flags & LIVE != 0 {
                tasks.push(index as u32);
            }
        }
        (end < slots).then_some(end)
    })
    .flatten()
}

/// Lets this thread's event loop end by itself: at the end of the first turn in which `may_end`
/// returns true and no job waits. Later jobs are refused, so none is lost. Remaining tasks are
/// dropped.
pub fn set_end_condition(may_end: fn() -> bool) {
    with(|core| core.may_end.set(Some(may_end)));
}

/// Runs an event loop on this thread until [`stop`](super::stop)`(thread)`: calls `init`, which
/// spawns the first tasks, and then runs turns. At the end all tasks are dropped.
///
/// # Errors
/// - `AlreadyExists`: this thread or this index already runs an event loop.
/// - `InvalidInput`: the index is not below [`THREADS_MAX`](super::THREADS_MAX).
/// - The error of eventfd(2), epoll_create1(2), epoll_ctl(2) or epoll_wait(2).
pub fn run(thread: usize, init: impl FnOnce()) -> io::Result<()> {
    let Some(inbox) = Inbox::of(thread) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    if with(|_| ()).is_some() {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    inbox.open()?;
    let core = Core::new(thread as u8, inbox).inspect_err(|_| inbox.close())?;
    let installed = Installed::new(&core);
    init();
    let result = installed.core.run_until_stopped();
    drop(installed);
    result
}

/// Registers the event loop for this thread. Dropping this drops the tasks, even when `init`
/// panics.
struct Installed<'a> {
    core: &'a Core,
}

impl<'a> Installed<'a> {
    fn new(core: &'a Core) -> Installed<'a> {
        CORE.set(core);
        Installed { core }
    }
}

impl Drop for Installed<'_> {
    fn drop(&mut self) {
        self.core.stopping.set(true);
        self.core.inbox.close();
        // Drops the tasks while the event loop still exists, because their sockets and wakers need
        // it. No task can be added any longer.
        let slots = self.core.tasks.borrow().slots.len();
        for index in 0..slots {
            let future = self
                .core
                .tasks
                .borrow_mut()
                .slots
                .get_mut(index)
                .and_then(|s| s.future.take());
            if let Some(future) = future {
                catch_panic(|| drop(future));
                self.core.tasks.borrow_mut().release(index as u32);
            }
        }
        CORE.set(ptr::null());
    }
}

/// Runs code that may panic, and counts a panic.
fn catch_panic<R>(f: impl FnOnce() -> R) -> Option<R> {
    // Unwind-safe: whatever panicked is dropped, and no list of the executor is borrowed.
    match catch_unwind(AssertUnwindSafe(f)) {
        Ok(value) => Some(value),
        Err(payload) => {
            PANICS.fetch_add(1, Ordering::Relaxed);
            // Forgets a second payload, because the drop of a payload could panic with a further
            // payload, and so on.
            if let Err(second) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
                std::mem::forget(second);
            }
            None
        }
    }
}

impl Core {
    fn new(thread: u8, inbox: &'static Inbox) -> io::Result<Core> {
        let Some(bell) = inbox.wake_descriptor() else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        let run = RUNS.fetch_add(1, Ordering::Relaxed);
        let now = Instant::now();
        Ok(Core {
            thread,
            inbox,
            poller: Poller::new(bell, run << 20)?,
            tasks: RefCell::new(Tasks {
                slots: Vec::new(),
                free: Vec::new(),
                queue: VecDeque::new(),
                busy: VecDeque::new(),
                live: 0,
            }),
            wheel: RefCell::new(Wheel::new(now)),
            now: Cell::new(now),
            spent: Cell::new(0),
            starved: Cell::new(false),
            earliest_deadline: Cell::new(Instant::NEVER),
            stopping: Cell::new(false),
            may_end: Cell::new(None),
        })
    }

    pub(super) fn thread(&self) -> usize {
        usize::from(self.thread)
    }

    /// Returns whether the current poll may do another operation. If not, its task will be queued
    /// again.
    #[inline]
    pub(super) fn has_operation_budget(&self) -> bool {
        if self.spent.get() >= COST_PER_POLL {
            self.starved.set(true);
            return false;
        }
        true
    }

    #[inline]
    pub(super) fn charge_operation(&self) {
        self.charge(COST_OF_OPERATION);
    }

    #[inline]
    pub(super) fn charge_bytes(&self, bytes: usize) {
        self.charge((bytes / BYTES_A_UNIT) as u32);
    }

    #[inline]
    fn charge(&self, units: u32) {
        self.spent.set(self.spent.get().saturating_add(units));
    }

    fn spawn(&self, future: Task) -> Result<(), Task> {
        if self.stopping.get() {
            return Err(future);
        }
        let mut tasks = self.tasks.borrow_mut();
        tasks.insert(future)?;
        self.inbox.set_tasks(tasks.live);
        Ok(())
    }

    fn begin_poll(&self) {
        self.spent.set(0);
        self.starved.set(false);
        self.earliest_deadline.set(Instant::NEVER);
    }

    fn run_one(&self, queue: RunQueue) -> Option<u32> {
        let (index, generation, mut future) = self.tasks.borrow_mut().pop(queue)?;
        self.begin_poll();
        let waker = waker(TaskId {
            thread: self.thread,
            generation,
            index,
        });
        let mut context = Context::from_waker(&waker);
        let result = catch_panic(|| future.as_mut().poll(&mut context));
        if let Some(Poll::Pending) = result {
            let mut tasks = self.tasks.borrow_mut();
            tasks.put_back(index, future);
            if self.starved.get() {
                tasks.push_to(RunQueue::Busy, index);
            }
            drop(tasks);
            self.wheel
                .borrow_mut()
                .set(index, self.earliest_deadline.get());
        } else {
            // Drops the future before its slot is freed, so that wakes caused by the drop do not
            // find another task in the slot.
            catch_panic(|| drop(future));
            let mut tasks = self.tasks.borrow_mut();
            tasks.release(index);
            self.inbox.set_tasks(tasks.live);
            drop(tasks);
            self.wheel.borrow_mut().clear(index);
        }
        Some(self.spent.get().saturating_add(COST_OF_POLL))
    }

    fn run_tasks(&self) {
        let mut spent = 0u32;
        loop {
            let is_turn_over = self.run_ready_tasks();
            if spent >= BUSY_COST_PER_TURN {
                return;
            }
            match self.run_one(RunQueue::Busy) {
                Some(cost) => spent = spent.saturating_add(cost),
                None => return,
            }
            if is_turn_over {
                return;
            }
        }
    }

    fn run_ready_tasks(&self) -> bool {
        let (mut spent, mut ask_at) = (0u32, COST_BETWEEN_CLOCKS);
        for _ in 0..POLLS_PER_TURN {
            let Some(cost) = self.run_one(RunQueue::Ready) else {
                return false;
            };
            spent = spent.saturating_add(cost);
            if spent < ask_at {
                continue;
            }
            let until = self.now.get().as_nanos() + TURN_NANOS_MAX;
            if spent >= COST_PER_TURN || Instant::now().as_nanos() >= until {
                break;
            }
            ask_at = spent.saturating_add(COST_BETWEEN_CLOCKS);
        }
        self.tasks.borrow().is_any_ready()
    }

    fn process_inbox(&self, wakes: &mut Vec<TaskId>, jobs: &mut Vec<InboxJob>) {
        let marks = self.inbox.collect(wakes, jobs);
        for id in wakes.drain(..) {
            self.tasks.borrow_mut().wake(id.generation, id.index);
        }
        for job in jobs.drain(..) {
            self.begin_poll();
            catch_panic(job);
            self.inbox.job_done();
        }
        if marks & inbox::WAKE_ALL != 0 {
            let mut tasks = self.tasks.borrow_mut();
            for index in 0..tasks.slots.len() as u32 {
                tasks.push(index); // `pop` ignores those of free slots
            }
        }
        if marks & inbox::LISTEN != 0 {
            self.poller.mark_listeners_ready();
        }
        if marks & inbox::STOP != 0 {
            self.stopping.set(true);
        }
    }

    fn run_until_stopped(&self) -> io::Result<()> {
        let (mut wakes, mut jobs, mut due) = (Vec::new(), Vec::new(), Vec::new());
        loop {
            self.run_tasks();
            self.process_inbox(&mut wakes, &mut jobs);
            if self.stopping.get() || self.has_finished() {
                return Ok(());
            }
            self.wait()?;
            self.now.set(Instant::now());
            self.wheel.borrow_mut().advance(self.now.get(), &mut due);
            let mut tasks = self.tasks.borrow_mut();
            for index in due.drain(..) {
                tasks.push(index);
            }
        }
    }

    /// Returns whether the event loop has finished its work and its inbox is empty. After that no
    /// thread can add a job.
    fn has_finished(&self) -> bool {
        self.may_end.get().is_some_and(|may_end| may_end()) && self.inbox.close_if_empty()
    }

    fn wait(&self) -> io::Result<()> {
        let at_once = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        if self.tasks.borrow().is_any_runnable() {
            return self.poller.wait(Some(&at_once));
        }
        let next = self.wheel.borrow().next();
        let timeout = next.map(|at| {
            // Counts from the start of the turn, which saves reading the clock; the timeout is late
            // by the length of this turn at most.
            let left = at.saturating_duration_since(self.now.get());
            Timespec {
                tv_sec: left.as_secs() as i64,
                tv_nsec: i64::from(left.subsec_nanos()),
            }
        });
        if !self.inbox.try_sleep() {
            return self.poller.wait(Some(&at_once));
        }
        let result = self.poller.wait(timeout.as_ref());
        self.inbox.set_awake();
        result
    }
}

/// Returns the waker of a task. A clone is a copy; nothing is counted or freed.
///
/// A wake never touches the task: it adds the task ID to the run queue of this thread or to the
/// inbox of another. A waker that outlives its task has a generation that no longer exists. After
/// 2^24 tasks in one slot the ID could match a later task, whose wake is then spurious and
/// harmless.
fn waker(id: TaskId) -> Waker {
    let data = ptr::without_provenance(id.pack() as usize);
    // SAFETY: the functions of the table only read the number in the pointer, may be called from
    // any thread, and own nothing.
    unsafe { Waker::from_raw(RawWaker::new(data, &TABLE)) }
}

static TABLE: RawWakerVTable = RawWakerVTable::new(clone, wake, wake, drop_nothing);

fn clone(data: *const ()) -> RawWaker {
    RawWaker::new(data, &TABLE)
}

fn wake(data: *const ()) {
    let id = TaskId::unpack(data.addr() as u64);
    if !wake_local(id) {
        inbox::wake_remote(id);
    }
}

fn drop_nothing(_: *const ()) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clone_wakes_the_same_task_and_waking_nobody_is_harmless() {
        let of = |index| {
            waker(TaskId {
                thread: 63,
                generation: 1,
                index,
            })
        };
        let (waker, other) = (of(2), of(3));
        assert!(waker.will_wake(&waker.clone()));
        assert!(!waker.will_wake(&other));
        waker.wake_by_ref();
        waker.wake();
    }

    #[test]
    fn an_idle_connection_takes_at_most_112_bytes_besides_its_future() {
        use super::super::{poll::Descriptor, timer::Entry};
        // The allocator's header before a boxed future.
        const BOX_HEADER: usize = 16;
        let (task, deadline) = (size_of::<TaskSlot>(), size_of::<Entry>());
        let descriptor = size_of::<Descriptor>();
        let sum = task + deadline + descriptor + BOX_HEADER;
        println!("task {task}, deadline {deadline}, descriptor {descriptor}: {sum} bytes");
        assert!(task <= 24 && deadline <= 32 && descriptor <= 40 && sum <= 112);
        assert_eq!(size_of::<super::super::StreamSocket>(), 12);
        assert_eq!(size_of::<super::super::Buffer>(), 24);
    }
}
