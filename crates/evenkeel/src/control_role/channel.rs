//! Makes a [`Channel`] to another process usable by the tasks of a Tokio runtime: one task receives
//! and flushes, and all tasks may send.

use part::SharedFd;
use part::channel::{Channel, ChannelError, Received};
use part::lock;
use part::role::SupervisorMessage;
use rustix::event::PollFlags;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Mutex;
use std::time::Duration;
use tokio::io::unix::AsyncFd;
use tokio::io::{Interest, Ready};
use tokio::sync::Notify;

/// Pause before the next attempt to send after the kernel's buffer was full.
const REST: Duration = Duration::from_millis(5);

/// This process's end of a channel. All tasks may call [`AsyncChannel::send`]; a single task calls
/// [`AsyncChannel::exchange`], which writes and reads.
pub struct AsyncChannel {
    channel: Mutex<Channel>,
    ready: AsyncFd<OwnedFd>,
    send_ready: Notify,
}

impl AsyncChannel {
    /// Registers the channel with the Tokio runtime that calls this.
    pub fn new(channel: Channel) -> io::Result<AsyncChannel> {
        let same = channel.as_fd().try_clone_to_owned()?;
        Ok(AsyncChannel {
            channel: Mutex::new(channel),
            // SAFETY: `AsyncFd` owns the duplicate descriptor, which stays the same open file until
            // `AsyncFd` closes it.
            ready: unsafe { AsyncFd::register(same) }.map_err(io::Error::from)?,
            send_ready: Notify::new(),
        })
    }

    /// Queues a message: a notification (`ask` is zero), a request, or the response to a request.
    pub fn send(
        &self,
        ask: u64,
        message: &SupervisorMessage,
        descriptors: &[SharedFd],
    ) -> Result<(), ChannelError> {
        let sent = lock(&self.channel).send_numbered(ask, message, descriptors);
        self.send_ready.notify_one();
        sent
    }

    /// Sends queued messages and passes all received ones to `receive`, then waits until the
    /// channel is readable or writable or another message is queued.
    ///
    /// # Errors
    /// Returns an error if the channel can no longer be read or written: usually the other process
    /// ended.
    pub async fn exchange(&self, mut receive: impl FnMut(Received)) -> Result<(), ChannelError> {
        loop {
            let received = {
                let mut channel = lock(&self.channel);
                channel.flush()?;
                channel.receive()?
            };
            match received {
                Some(received) => receive(received),
                None => break,
            }
        }
        let (interest, rests) = {
            let channel = lock(&self.channel);
            let writes = channel.interest().contains(PollFlags::OUT);
            let interest = if writes {
                Interest::READABLE | Interest::WRITABLE
            } else {
                Interest::READABLE
            };
            (interest, channel.next_send_attempt().is_some())
        };
        tokio::select! {
            ready = self.ready.ready(interest) => {
                ready?.clear_ready_matching(Ready::ALL);
            }
            () = self.send_ready.notified() => {}
            () = tokio::time::sleep(REST), if rests => {}
        }
        Ok(())
    }
}
