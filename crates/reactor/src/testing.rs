//! Runs one future on an event loop, for the tests of this crate and of others.

use crate::{THREADS_MAX, run, spawn, stop};
use rustix::fd::OwnedFd;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use std::cell::RefCell;
use std::future::Future;
use std::rc::Rc;
use std::sync::{Condvar, Mutex, PoisonError};

/// Thread indexes in use, as bits. The indexes belong to the whole process, and tests run in
/// parallel.
static IN_USE: Mutex<u64> = Mutex::new(0);
static FREED: Condvar = Condvar::new();

/// A thread index that no other test of this process uses.
pub struct ThreadIndex(pub usize);

impl Default for ThreadIndex {
    fn default() -> ThreadIndex {
        let mut used = IN_USE.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let free = (!*used).trailing_zeros() as usize;
            if free < THREADS_MAX {
                *used |= 1 << free;
                return ThreadIndex(free);
            }
            used = FREED.wait(used).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Drop for ThreadIndex {
    fn drop(&mut self) {
        *IN_USE.lock().unwrap_or_else(PoisonError::into_inner) &= !(1 << self.0);
        FREED.notify_one();
    }
}

/// Runs one future on its own event loop and returns its result.
pub fn on_loop<F>(begin: impl FnOnce() -> F + 'static) -> F::Output
where
    F: Future + 'static,
    F::Output: 'static,
{
    /// Stops the event loop also when the future panics.
    struct Stop(usize);
    impl Drop for Stop {
        fn drop(&mut self) {
            stop(self.0);
        }
    }
    let lease = ThreadIndex::default();
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

/// Lets the event loop poll epoll once more.
pub async fn turn() {
    let before = crate::now();
    while crate::now() == before {
        crate::yield_now().await;
    }
}

/// Returns the two descriptors of a pair of nonblocking Unix sockets.
pub fn descriptors() -> (OwnedFd, OwnedFd) {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None)
        .expect("the kernel makes a pair of sockets")
}
