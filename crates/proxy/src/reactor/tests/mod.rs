//! What the reactor promises, tried with real sockets.

mod deadlines;
mod echo;
mod fuzz;
mod listeners;
mod pipes;
pub(crate) mod sockets;
mod tasks;
mod threads;

use super::{THREADS_MAX, run, spawn, stop};
use std::cell::RefCell;
use std::future::Future;
use std::rc::Rc;
use std::sync::{Condvar, Mutex, PoisonError};

/// Thread indexes are of the whole process, and tests run at the same time.
static IN_USE: Mutex<u64> = Mutex::new(0);
static FREED: Condvar = Condvar::new();

/// A thread index that no other test has.
pub(super) struct Lease(pub(super) usize);

impl Lease {
    pub(super) fn new() -> Lease {
        let mut used = IN_USE.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let free = (!*used).trailing_zeros() as usize;
            if free < THREADS_MAX {
                *used |= 1 << free;
                return Lease(free);
            }
            used = FREED.wait(used).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        *IN_USE.lock().unwrap_or_else(PoisonError::into_inner) &= !(1 << self.0);
        FREED.notify_one();
    }
}

/// Runs one future on a loop of its own and returns what it returns.
pub(crate) fn on_loop<F>(begin: impl FnOnce() -> F + 'static) -> F::Output
where
    F: Future + 'static,
    F::Output: 'static,
{
    /// Stops the loop also when the future panics.
    struct Stop(usize);
    impl Drop for Stop {
        fn drop(&mut self) {
            stop(self.0);
        }
    }
    let lease = Lease::new();
    let output = Rc::new(RefCell::new(None));
    let place = Rc::clone(&output);
    let thread = lease.0;
    run(thread, move || {
        spawn(async move {
            let _stop = Stop(thread);
            let value = begin().await;
            *place.borrow_mut() = Some(value);
        });
    })
    .expect("the loop runs");
    output.take().expect("the task under test panicked")
}

/// Lets the loop ask epoll once more.
pub(crate) async fn turn() {
    let before = super::now();
    while super::now() == before {
        super::yield_now().await;
    }
}
