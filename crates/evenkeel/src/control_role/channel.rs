//! A channel to another process in a Tokio process.

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

/// Minimum pause of the channel: the kernel's buffer is full.
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
            // SAFETY: the descriptor is owned by the value that watches it, is the same
            // for all of its life, and is closed behind that.
            ready: unsafe { AsyncFd::register(same) }.map_err(io::Error::from)?,
            send_ready: Notify::new(),
        })
    }

    /// Sends a message, a numbered request, or the response to one. If the other process has ended,
    /// the message is lost.
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

    /// Sends what waits, passes the received messages on, and waits until there is more to do.
    ///
    /// # Errors
    /// The other process has ended.
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
