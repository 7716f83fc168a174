//! Implements a listening socket on an event loop. Several event loops may listen on one socket,
//! each through its own [`Listener`].
//!
//! The socket is registered edge-triggered and exclusive: a new connection wakes one of the
//! sleeping event loops, and that one accepts until no connection is left. No connection therefore
//! stays in the backlog, with two exceptions that this module handles. A listener that is removed
//! while connections may wait makes the other event loops check. A listener whose owner wants no
//! connections for a while must call [`Listener::pause`], or it may receive the edge while another
//! event loop sleeps. Level-triggered registration would also need a system call for each pause,
//! and would return in every turn until then.
//!
//! A listener never closes an accepted connection and does not limit their number.

use super::executor::{self, Core};
use super::inbox;
use super::poll::{Direction, Key, Readiness};
use rustix::event::epoll::EventFlags;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::net::{SocketAddrAny, SocketFlags};
use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::marker::PhantomData;
use std::sync::Arc;
use std::task::{Context, Poll};

/// A connection and the address of its peer.
type Accepted = (OwnedFd, Option<SocketAddrAny>);

/// Maximum number of consecutive connections that were reset before they were accepted: these are
/// ignored, then the error is returned.
const ABORTED_MAX: usize = 64;

/// A listening stream socket on this thread's event loop.
#[derive(Debug)]
pub struct Listener {
    fd: Arc<OwnedFd>,
    key: Cell<Option<Key>>,
    /// Makes the type not `Send`: the event loop of another thread does not know the key.
    here: PhantomData<*const ()>,
}

impl Listener {
    /// Registers a listening socket and makes it nonblocking if necessary.
    ///
    /// # Errors
    /// As [`Listener::from_shared`].
    pub fn from_fd(fd: OwnedFd) -> io::Result<Listener> {
        Listener::from_shared(Arc::new(fd))
    }

    /// Does the same as [`Listener::from_fd`] for a descriptor that several threads share: one
    /// descriptor is enough for all of them.
    ///
    /// # Errors
    /// Fails with `NotConnected` if this thread runs no event loop, otherwise as fcntl(2) or
    /// epoll_ctl(2) does.
    pub fn from_shared(fd: Arc<OwnedFd>) -> io::Result<Listener> {
        let flags = rustix::fs::fcntl_getfl(&fd)?;
        if !flags.contains(OFlags::NONBLOCK) {
            rustix::fs::fcntl_setfl(&fd, flags | OFlags::NONBLOCK)?;
        }
        let listener = Listener {
            fd,
            key: Cell::new(None),
            here: PhantomData,
        };
        listener.resume()?;
        Ok(listener)
    }

    /// Returns the next connection, nonblocking and close-on-exec, with the address of its peer if
    /// the address family has one.
    ///
    /// # Errors
    /// Fails with `NotConnected` if the thread no longer runs the event loop to which the listener
    /// belongs, otherwise as epoll_ctl(2) or accept4(2) does. Errors of the process (`EMFILE`,
    /// `ENFILE`, `ENOBUFS`, `ENOMEM`) are returned at once: pause the listener and call again
    /// later. Errors of single connections are skipped, unless many follow each other.
    pub async fn accept(&self) -> io::Result<(OwnedFd, Option<SocketAddrAny>)> {
        self.resume()?;
        poll_fn(|context| self.poll_accept(context)).await
    }

    fn poll_accept(&self, context: &mut Context<'_>) -> Poll<io::Result<Accepted>> {
        let gone = || Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        let Some(key) = self.key.get() else {
            return gone();
        };
        executor::with(|core| match core.poller.readiness(key) {
            None => gone(),
            Some(known) if !known.intersects(Readiness::READABLE) => {
                core.poller.wait_for(key, Direction::Read, context.waker());
                Poll::Pending
            }
            Some(_) if !core.has_operation_budget() => {
                context.waker().wake_by_ref();
                Poll::Pending
            }
            Some(_) => self.accept_now(core, key, context),
        })
        .unwrap_or_else(gone)
    }

    fn accept_now(
        &self,
        core: &Core,
        key: Key,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<Accepted>> {
        match self.try_accept() {
            Ok(accepted) => {
                core.charge_operation();
                Poll::Ready(Ok(accepted))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                core.poller.clear(key, Readiness::READABLE);
                core.poller.wait_for(key, Direction::Read, context.waker());
                Poll::Pending
            }
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    /// Accepts a connection without waiting, also while paused. To leave a socket to another
    /// process, call [`Listener::pause`], then accept the remaining connections with this function:
    /// this event loop may have received their edge, and the other process would not be notified.
    ///
    /// # Errors
    /// Fails with `WouldBlock` if no connection waits, otherwise as accept4(2) does. Errors of
    /// single connections are skipped, unless many follow each other.
    pub fn try_accept(&self) -> io::Result<(OwnedFd, Option<SocketAddrAny>)> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let mut last = Errno::CONNABORTED;
        for _ in 0..ABORTED_MAX {
            match rustix::net::acceptfrom_with(self.fd(), flags) {
                Ok(accepted) => return Ok(accepted),
                // Skips an error that concerns one connection, not the listener.
                Err(
                    error @ (Errno::CONNABORTED
                    | Errno::INTR
                    | Errno::PROTO
                    | Errno::NETDOWN
                    | Errno::NETUNREACH
                    | Errno::HOSTDOWN
                    | Errno::HOSTUNREACH
                    | Errno::NONET
                    | Errno::NOPROTOOPT),
                ) => last = error,
                Err(error) => return Err(error.into()),
            }
        }
        Err(last.into())
    }

    /// Removes the socket from epoll until the next [`Listener::accept`], so that new connections
    /// wake other event loops. Connections wait in the backlog meanwhile.
    pub fn pause(&self) {
        let Some(key) = self.key.take() else { return };
        executor::with(|core| {
            let Some(known) = core.poller.readiness(key) else {
                return;
            };
            core.poller.release(key);
            // Removes the socket from epoll, because closing alone would not do that while other
            // threads hold duplicates. The call can only fail for a descriptor that is not
            // registered.
            let _ = core.poller.deregister(self.fd());
            if known.intersects(Readiness::READABLE) {
                inbox::check_remote_listeners(core.thread());
            }
        });
    }

    fn resume(&self) -> io::Result<()> {
        if self.key.get().is_some() {
            return Ok(());
        }
        let key = executor::with(|core| {
            let events = EventFlags::IN | EventFlags::EXCLUSIVE;
            core.poller.add(self.fd(), events, Readiness::LISTENER)
        })
        .unwrap_or_else(|| Err(io::ErrorKind::NotConnected.into()))?;
        self.key.set(Some(key));
        Ok(())
    }

    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.pause();
    }
}
