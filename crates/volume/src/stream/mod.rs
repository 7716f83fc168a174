//! Buffers the data of non-blocking sockets. Payloads go between sockets and disk buffers without a
//! copy.

mod inbox;
mod outbox;

pub(crate) use inbox::{Inbox, Received};
pub(crate) use outbox::Outbox;

use rustix::event::epoll::{self, Event};
use rustix::io::Errno;
use rustix::time::Timespec;
use std::os::fd::OwnedFd;
use std::time::Instant;

/// Waits for events until a deadline. Returns the number of events.
///
/// # Errors
/// The system call fails.
pub(crate) fn wait(
    epoll: &OwnedFd,
    events: &mut [Event],
    deadline: Option<Instant>,
) -> Result<usize, Errno> {
    let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
    let timeout = left.and_then(|left| Timespec::try_from(left).ok());
    match epoll::wait(epoll, events, timeout.as_ref()) {
        // Counts an interruption as no event: the kernel interrupts the wait for io_uring work of
        // this thread, whose completions are available now.
        Err(Errno::INTR) => Ok(0),
        waited => waited,
    }
}
