//! Bytes of sockets that do not block: what came and nobody has taken yet, and what the other
//! side has not taken yet. Payloads go from and to buffers of the disk without a copy.

mod inbox;
mod outbox;

pub(crate) use inbox::{Inbox, Received};
pub(crate) use outbox::Outbox;

use rustix::event::epoll::{self, Event};
use rustix::io::Errno;
use rustix::time::Timespec;
use std::os::fd::OwnedFd;
use std::time::Instant;

/// Waits for events until a deadline. Returns how many there are.
///
/// # Errors
/// The system's.
pub(crate) fn wait(
    epoll: &OwnedFd,
    events: &mut [Event],
    deadline: Option<Instant>,
) -> Result<usize, Errno> {
    let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
    let timeout = left.and_then(|left| Timespec::try_from(left).ok());
    match epoll::wait(epoll, events, timeout.as_ref()) {
        // The kernel has work of the ring for this thread: its completions are there now.
        Err(Errno::INTR) => Ok(0),
        waited => waited,
    }
}
