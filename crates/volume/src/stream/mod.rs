//! Bytes of sockets that do not block: what came and nobody has taken yet, and what the other
//! side has not taken yet. Payloads go from and to buffers of the disk without a copy.

mod inbox;
mod outbox;

pub(crate) use inbox::{Inbox, Received};
pub(crate) use outbox::Outbox;

use rustix::event::epoll::{self, Event};
use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendFlags, sendmsg};
use rustix::time::Timespec;
use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Instant;

/// What carries bytes, and does not block.
pub(crate) trait Bytes {
    /// Receives what there is into these slices; zero: there will be no more.
    ///
    /// # Errors
    /// The connection is gone, or nothing has come ([`Errno::AGAIN`]).
    fn read(&mut self, slices: &mut [IoSliceMut<'_>]) -> Result<usize, Errno>;

    /// Sends what the other side takes now.
    ///
    /// # Errors
    /// The connection is gone, or it takes nothing ([`Errno::AGAIN`]).
    fn write(&mut self, slices: &[IoSlice<'_>]) -> Result<usize, Errno>;
}

impl Bytes for BorrowedFd<'_> {
    fn read(&mut self, slices: &mut [IoSliceMut<'_>]) -> Result<usize, Errno> {
        rustix::io::readv(*self, slices)
    }

    fn write(&mut self, slices: &[IoSlice<'_>]) -> Result<usize, Errno> {
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        sendmsg(*self, slices, &mut SendAncillaryBuffer::default(), flags)
    }
}

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
