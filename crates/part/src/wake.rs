//! Wakes a thread that waits in poll(2), by a descriptor that another thread makes readable.

use rustix::event::{EventfdFlags, eventfd};
use rustix::io::Errno;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Descriptor that is readable from [`WakeEvent::wake`] until [`WakeEvent::reset`].
#[derive(Debug)]
pub struct WakeEvent(OwnedFd);

impl WakeEvent {
    /// Creates an event that is not readable.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn new() -> Result<WakeEvent, Errno> {
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        Ok(WakeEvent(eventfd(0, flags)?))
    }

    pub fn wake(&self) {
        // Ignores a failure: the write fails only if the counter is full, and then the event is
        // readable.
        let _ = rustix::io::write(&self.0, &1_u64.to_ne_bytes());
    }

    /// Resets the event. Returns whether it was readable.
    pub fn reset(&self) -> bool {
        rustix::io::read(&self.0, &mut [0; 8]).is_ok()
    }
}

impl AsFd for WakeEvent {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
