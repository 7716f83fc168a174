//! Provides a runtime in which tasks belong to processes. A suspended process is not polled while
//! time passes, and a killed one disappears at once with all its tasks. Everything else comes from
//! [`SimRuntime`].

use openraft::OptionalSend;
use openraft_rt::AsyncRuntime;
use openraft_rt_sim::{
    Elapsed, SimInstant, SimJoinError, SimJoinHandle, SimRuntime, SimSleep, SimTimeout, SimWatch,
};
use openraft_rt_tokio::{TokioMpsc, TokioMutex, TokioOneshot};
use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

thread_local! {
    /// Process whose task is polled.
    static CURRENT: RefCell<Option<SimulatedProcess>> = const { RefCell::new(None) };
}

#[derive(Default)]
struct ProcessState {
    /// Number of reasons for which the process is suspended.
    stands_still: u32,
    dead: bool,
    wakers: Vec<Waker>,
    tasks: Vec<Weak<dyn TaskSlot>>,
    panics: Vec<String>,
}

#[derive(Clone, Default)]
pub struct SimulatedProcess(Arc<Mutex<ProcessState>>);

impl SimulatedProcess {
    fn inner(&self) -> std::sync::MutexGuard<'_, ProcessState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn spawn<T>(&self, future: T) -> SimJoinHandle<T::Output>
    where
        T: Future + Send + 'static,
        T::Output: Send + 'static,
    {
        let _entered = Entered::new(Some(self.clone()));
        Members::spawn(future)
    }

    /// Spawns a task of the simulation that belongs to no process.
    pub fn of_nobody<T>(future: T) -> SimJoinHandle<T::Output>
    where
        T: Future + Send + 'static,
        T::Output: Send + 'static,
    {
        let _entered = Entered::new(None);
        Members::spawn(future)
    }

    pub fn stand_still(&self, long: Duration) {
        self.inner().stands_still += 1;
        let process = self.clone();
        SimulatedProcess::of_nobody(async move {
            Members::sleep(long).await;
            let wakers = {
                let mut inner = process.inner();
                inner.stands_still -= 1;
                if inner.stands_still > 0 {
                    return;
                }
                std::mem::take(&mut inner.wakers)
            };
            wakers.into_iter().for_each(Waker::wake);
        });
    }

    pub fn kill(&self) {
        let tasks = {
            let mut inner = self.inner();
            inner.dead = true;
            inner.wakers.clear();
            std::mem::take(&mut inner.tasks)
        };
        let _entered = Entered::new(Some(self.clone()));
        for task in tasks.iter().filter_map(Weak::upgrade) {
            task.clear();
        }
    }

    pub fn panics(&self) -> Vec<String> {
        self.inner().panics.clone()
    }
}

/// Guard: while it exists, new tasks belong to this process.
struct Entered(Option<SimulatedProcess>);

impl Entered {
    fn new(process: Option<SimulatedProcess>) -> Entered {
        Entered(CURRENT.with(|current| current.replace(process)))
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        CURRENT.with(|current| current.replace(self.0.take()));
    }
}

trait TaskSlot: Send + Sync {
    fn clear(&self);
}

struct TaskFuture<F>(Mutex<Option<Pin<Box<F>>>>);

impl<F: Future + Send> TaskSlot for TaskFuture<F> {
    fn clear(&self) {
        let future = (self.0.lock().unwrap_or_else(PoisonError::into_inner)).take();
        drop(future);
    }
}

struct Gate<F> {
    process: SimulatedProcess,
    future: Arc<TaskFuture<F>>,
}

impl<F: Future + Send> Future for Gate<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        {
            let mut inner = self.process.inner();
            if inner.dead {
                return Poll::Pending;
            }
            if inner.stands_still > 0 {
                inner.wakers.push(context.waker().clone());
                return Poll::Pending;
            }
        }
        let _entered = Entered::new(Some(self.process.clone()));
        let mut held = (self.future.0.lock()).unwrap_or_else(PoisonError::into_inner);
        let Some(future) = held.as_mut() else {
            return Poll::Pending;
        };
        match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
            Ok(poll) => poll,
            Err(panic) => {
                let words = panic.downcast_ref::<String>().cloned();
                let words = words.or_else(|| panic.downcast_ref::<&str>().map(|it| (*it).into()));
                (self.process.inner().panics).push(words.unwrap_or_default());
                resume_unwind(panic)
            }
        }
    }
}

#[derive(Debug)]
pub struct Members(pub SimRuntime);

impl AsyncRuntime for Members {
    type JoinError = SimJoinError;
    type JoinHandle<T: OptionalSend + 'static> = SimJoinHandle<T>;
    type Sleep = SimSleep;
    type Instant = SimInstant;
    type TimeoutError = Elapsed;
    type Timeout<R, T: Future<Output = R> + OptionalSend> = SimTimeout<T>;
    type ThreadLocalRng = <SimRuntime as AsyncRuntime>::ThreadLocalRng;

    fn spawn<T>(future: T) -> Self::JoinHandle<T::Output>
    where
        T: Future + OptionalSend + 'static,
        T::Output: OptionalSend + 'static,
    {
        let Some(process) = CURRENT.with(|current| current.borrow().clone()) else {
            return SimRuntime::spawn(future);
        };
        let future = Arc::new(TaskFuture(Mutex::new(Some(Box::pin(future)))));
        let slot: Weak<dyn TaskSlot> = Arc::downgrade(&(future.clone() as Arc<dyn TaskSlot>));
        {
            let mut inner = process.inner();
            // Tasks that have ended need no entry.
            if inner.tasks.len() % 256 == 255 {
                inner.tasks.retain(|task| task.strong_count() > 0);
            }
            inner.tasks.push(slot);
        }
        SimRuntime::spawn(Gate { process, future })
    }

    fn sleep(duration: Duration) -> Self::Sleep {
        SimRuntime::sleep(duration)
    }
    fn sleep_until(deadline: Self::Instant) -> Self::Sleep {
        SimRuntime::sleep_until(deadline)
    }
    fn timeout<R, F>(duration: Duration, future: F) -> Self::Timeout<R, F>
    where
        F: Future<Output = R> + OptionalSend,
    {
        SimRuntime::timeout(duration, future)
    }
    fn timeout_at<R, F>(deadline: Self::Instant, future: F) -> Self::Timeout<R, F>
    where
        F: Future<Output = R> + OptionalSend,
    {
        SimRuntime::timeout_at(deadline, future)
    }
    fn is_panic(join_error: &Self::JoinError) -> bool {
        SimRuntime::is_panic(join_error)
    }
    fn thread_rng() -> Self::ThreadLocalRng {
        SimRuntime::thread_rng()
    }

    type Mpsc = TokioMpsc;
    type Watch = SimWatch;
    type Oneshot = TokioOneshot;
    type Mutex<T: OptionalSend + 'static> = TokioMutex<T>;

    fn new(threads: usize) -> Self {
        Members(SimRuntime::new(threads))
    }
    fn block_on<F, T>(&mut self, future: F) -> T
    where
        F: Future<Output = T>,
    {
        self.0.block_on(future)
    }
    fn spawn_blocking<F, T>(work: F) -> impl Future<Output = Result<T, io::Error>> + Send
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        SimRuntime::spawn_blocking(work)
    }
}
