//! Implements a connected stream socket on an event loop.
//!
//! The socket is registered once, and used only when epoll reports readiness: a `try_` function
//! returns `WouldBlock` without a system call when the socket is known to be not ready. A short
//! read or write is trusted: it proves that the socket is empty or full, so the next operation
//! waits for an edge. A short read is not trusted after the end of the stream, an error or urgent
//! data was announced, because data then remains without a further edge. (A peer on a Unix socket
//! that passes descriptors between its bytes is not announced: the bytes after the descriptors are
//! found with its next bytes or its end.)
//!
//! A socket stays on its event loop. A socket that outlives the event loop closes its descriptor
//! and refuses everything else with `NotConnected`.

use super::executor::{self, Core};
use super::poll::{Direction, Key, Readiness};
use rustix::event::epoll::EventFlags;
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::net::addr::SocketAddrArg;
use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendFlags, Shutdown, SocketFlags, SocketType,
    sockopt,
};
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::marker::PhantomData;
use std::mem::{ManuallyDrop, MaybeUninit};
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;
use std::{fmt, ptr};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Maximum slices of one vectored write; the kernel accepts no more.
const SLICES_MAX: usize = 1024;

/// The assumed readiness of a new socket, before the first epoll event. A wrong assumption costs
/// one system call; epoll corrects it in either direction.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Assumed {
    /// Not ready: a connection in progress.
    Nothing,
    /// Writable: a new connection whose peer sends later.
    #[default]
    Writable,
    /// Readable and writable: the peer has probably sent data already.
    Both,
}

impl Assumed {
    fn readiness(self) -> Readiness {
        match self {
            Assumed::Nothing => Readiness::NONE,
            Assumed::Writable => Readiness::WRITABLE,
            Assumed::Both => Readiness::READABLE | Readiness::WRITABLE,
        }
    }
}

/// A connected stream socket (TCP or Unix) that belongs to this thread's event loop and never moves
/// to another one. The `try_` functions never block. Dropping the socket closes it.
///
/// A `try_` function fails with `WouldBlock` if the socket is not ready or the task has used up its
/// budget, with `NotConnected` if this thread does not run the socket's event loop, and otherwise
/// as the system call does. `EINTR` is retried.
pub struct StreamSocket {
    fd: OwnedFd,
    key: Key,
    /// Makes the type not `Send`: the event loop of another thread does not know the key.
    here: PhantomData<*const ()>,
}

impl StreamSocket {
    /// Registers a connected socket and makes it nonblocking if necessary.
    ///
    /// # Errors
    /// Fails as fcntl(2) does, or as [`StreamSocket::from_nonblocking`].
    pub fn from_fd(fd: OwnedFd) -> io::Result<StreamSocket> {
        let flags = rustix::fs::fcntl_getfl(&fd)?;
        if !flags.contains(OFlags::NONBLOCK) {
            rustix::fs::fcntl_setfl(&fd, flags | OFlags::NONBLOCK)?;
        }
        StreamSocket::from_nonblocking(fd, Assumed::default())
    }

    /// Registers a socket that is known to be nonblocking, such as those of [`super::Listener`],
    /// with the given assumed readiness.
    ///
    /// # Errors
    /// Fails with `NotConnected` if this thread runs no event loop, otherwise as epoll_ctl(2) does.
    pub fn from_nonblocking(fd: OwnedFd, assumed: Assumed) -> io::Result<StreamSocket> {
        let events = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::PRI;
        let key = executor::with(|core| core.poller.add(fd.as_fd(), events, assumed.readiness()))
            .unwrap_or_else(|| Err(io::ErrorKind::NotConnected.into()))?;
        Ok(StreamSocket {
            fd,
            key,
            here: PhantomData,
        })
    }

    /// Starts a connection to `address`; [`StreamSocket::connected`] waits for it.
    ///
    /// # Errors
    /// Fails as socket(2) or setsockopt(2) does, or as [`StreamSocket::connect_with`]. `WouldBlock`
    /// means that the backlog of a Unix listener is full.
    pub fn connect(address: &rustix::net::SocketAddrAny) -> io::Result<StreamSocket> {
        let fd = rustix::net::socket_with(
            address.address_family(),
            SocketType::STREAM,
            SocketFlags::NONBLOCK | SocketFlags::CLOEXEC,
            None,
        )?;
        if matches!(
            address.address_family(),
            AddressFamily::INET | AddressFamily::INET6
        ) {
            sockopt::set_tcp_nodelay(&fd, true)?;
        }
        StreamSocket::connect_with(fd, address)
    }

    /// Does the same as [`StreamSocket::connect`] with a socket of the caller, nonblocking and not
    /// connected: bound to a source address, marked, or with other options.
    ///
    /// # Errors
    /// Fails as connect(2) does, or as [`StreamSocket::from_nonblocking`]. A connection in progress
    /// is no error.
    pub fn connect_with(fd: OwnedFd, address: &impl SocketAddrArg) -> io::Result<StreamSocket> {
        let assumed = match rustix::net::connect(&fd, address) {
            Ok(()) => Assumed::Writable,
            Err(Errno::INPROGRESS | Errno::INTR) => Assumed::Nothing,
            Err(error) => return Err(error.into()),
        };
        // Registers the socket after the connect, because before it, the socket would be reported
        // as hung up.
        StreamSocket::from_nonblocking(fd, assumed)
    }

    /// Waits until a pending connection is established or has failed.
    ///
    /// # Errors
    /// Returns the error with which the connection failed (`SO_ERROR`), or `NotConnected` if this
    /// thread does not run the socket's event loop.
    pub async fn connected(&self) -> io::Result<()> {
        self.writable().await;
        let known = executor::with(|core| core.poller.readiness(self.key))
            .flatten()
            .ok_or(io::ErrorKind::NotConnected)?;
        if known.intersects(Readiness::FAILED | Readiness::CLOSED)
            && let Some(error) = self.take_error()?
        {
            return Err(error);
        }
        Ok(())
    }

    /// Reads into `buffer`. 0 is the end of the stream (or an empty buffer).
    ///
    /// # Errors
    /// As described at [`StreamSocket`]; the system call is recv(2).
    pub fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        // SAFETY: the slice covers the same bytes as possibly uninitialised; `try_read_uninit` only
        // writes initialised ones.
        let buffer = unsafe { &mut *(ptr::from_mut(buffer) as *mut [MaybeUninit<u8>]) };
        self.try_read_uninit(buffer)
    }

    /// Reads into an uninitialised buffer: when `n` is returned, its first `n` bytes are
    /// initialised.
    ///
    /// # Errors
    /// As [`StreamSocket::try_read`].
    pub fn try_read_uninit(&self, buffer: &mut [MaybeUninit<u8>]) -> io::Result<usize> {
        let length = buffer.len();
        if length == 0 {
            return Ok(0);
        }
        self.run_when_ready(Readiness::READABLE, |core| {
            let (filled, _) = rustix::net::recv(&self.fd, &mut *buffer, RecvFlags::DONTWAIT)?;
            let n = filled.0.len();
            core.charge_bytes(n);
            // Keeps the socket readable after 0, because every later read also returns the end of
            // the stream.
            if n < length && n > 0 {
                let trusted = core
                    .poller
                    .readiness(self.key)
                    .is_some_and(|known| !known.intersects(Readiness::NO_TRUST));
                if trusted {
                    core.poller.clear(self.key, Readiness::READABLE);
                }
            }
            Ok(n)
        })
    }

    /// Writes as much of `data` as fits.
    ///
    /// # Errors
    /// As described at [`StreamSocket`]; the system call is send(2).
    pub fn try_write(&self, data: &[u8]) -> io::Result<usize> {
        self.try_write_before(data, false)
    }

    /// Does the same as [`StreamSocket::try_write`]. With `more` the kernel may hold back a partial
    /// segment for the bytes that are written next, which should follow at once (it waits 200 ms at
    /// most).
    ///
    /// # Errors
    /// As [`StreamSocket::try_write`].
    pub fn try_write_before(&self, data: &[u8], more: bool) -> io::Result<usize> {
        if data.is_empty() {
            return Ok(0);
        }
        self.run_when_ready(Readiness::WRITABLE, |core| {
            let flags = send_flags(more);
            let n = rustix::net::send(&self.fd, data, flags)?;
            core.charge_bytes(n);
            if n < data.len() {
                core.poller.clear(self.key, Readiness::WRITABLE);
            }
            Ok(n)
        })
    }

    /// Writes as much of several slices as fits, in one system call.
    ///
    /// # Errors
    /// As described at [`StreamSocket`]; the system call is sendmsg(2).
    pub fn try_write_vectored(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        self.try_write_vectored_before(pieces, false)
    }

    /// Does the same as [`StreamSocket::try_write_vectored`], with `more` as in
    /// [`StreamSocket::try_write_before`].
    ///
    /// # Errors
    /// As [`StreamSocket::try_write_vectored`].
    pub fn try_write_vectored_before(
        &self,
        pieces: &[IoSlice<'_>],
        more: bool,
    ) -> io::Result<usize> {
        let pieces = pieces.get(..SLICES_MAX).unwrap_or(pieces);
        let length = pieces.iter().map(|piece| piece.len()).sum::<usize>();
        if length == 0 {
            return Ok(0);
        }
        self.run_when_ready(Readiness::WRITABLE, |core| {
            let flags = send_flags(more);
            let mut control = SendAncillaryBuffer::default();
            let n = rustix::net::sendmsg(&self.fd, pieces, &mut control, flags)?;
            core.charge_bytes(n);
            if n < length {
                core.poller.clear(self.key, Readiness::WRITABLE);
            }
            Ok(n)
        })
    }

    /// Runs any other operation on the descriptor (splice, recvmsg) that reads or writes.
    /// `operation` is called when the socket may be ready, again after EINTR, and its `WouldBlock`
    /// is remembered. It must therefore return `WouldBlock` only for this socket, not for the pipe
    /// on the other side of a splice.
    ///
    /// # Errors
    /// As described at [`StreamSocket`]; the system call is that of `operation`.
    pub fn try_operation<R>(
        &self,
        reads: bool,
        mut operation: impl FnMut(BorrowedFd<'_>) -> Result<R, Errno>,
    ) -> io::Result<R> {
        let needed = if reads {
            Readiness::READABLE
        } else {
            Readiness::WRITABLE
        };
        self.run_when_ready(needed, |_| operation(self.fd.as_fd()))
    }

    /// Runs the common part of all operations: no system call without readiness or budget, retry
    /// after EINTR, record of `WouldBlock`.
    #[inline]
    fn run_when_ready<R>(
        &self,
        needed: Readiness,
        mut operation: impl FnMut(&Core) -> Result<R, Errno>,
    ) -> io::Result<R> {
        executor::with(|core| {
            match core.poller.readiness(self.key) {
                None => return Err(io::ErrorKind::NotConnected.into()),
                Some(known) if !known.intersects(needed) => {
                    return Err(io::ErrorKind::WouldBlock.into());
                }
                Some(_) => {}
            }
            if !core.has_operation_budget() {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            // Repeats after EINTR only; the loop ends, because each further round needs another
            // signal.
            loop {
                match operation(core) {
                    Ok(value) => {
                        core.charge_operation();
                        return Ok(value);
                    }
                    Err(Errno::INTR) => {}
                    Err(Errno::AGAIN) => {
                        core.poller.clear(self.key, needed);
                        return Err(io::ErrorKind::WouldBlock.into());
                    }
                    Err(error) => return Err(error.into()),
                }
            }
        })
        .unwrap_or_else(|| Err(io::ErrorKind::NotConnected.into()))
    }

    pub fn poll_readable(&self, context: &mut Context<'_>) -> Poll<()> {
        self.poll_ready(Direction::Read, Readiness::READABLE, context)
    }

    pub fn poll_writable(&self, context: &mut Context<'_>) -> Poll<()> {
        self.poll_ready(Direction::Write, Readiness::WRITABLE, context)
    }

    fn poll_ready(
        &self,
        direction: Direction,
        needed: Readiness,
        context: &mut Context<'_>,
    ) -> Poll<()> {
        executor::with(|core| match core.poller.readiness(self.key) {
            Some(known) if !known.intersects(needed) => {
                core.poller.wait_for(self.key, direction, context.waker());
                Poll::Pending
            }
            Some(_) if !core.has_operation_budget() => {
                // Wakes the task, which is queued again anyway, because the waker of an executor
                // within the task needs a wake.
                context.waker().wake_by_ref();
                Poll::Pending
            }
            // Is ready without an event loop, because the operation then returns the error.
            Some(_) | None => Poll::Ready(()),
        })
        .unwrap_or(Poll::Ready(()))
    }

    pub async fn readable(&self) {
        poll_fn(|context| self.poll_readable(context)).await;
    }

    pub async fn writable(&self) {
        poll_fn(|context| self.poll_writable(context)).await;
    }

    fn readiness(&self) -> Readiness {
        executor::with(|core| core.poller.readiness(self.key))
            .flatten()
            .unwrap_or(Readiness::NONE)
    }

    /// Returns whether a read may return data, as far as known without a system call. An idle
    /// connection to a server should not be readable.
    pub fn is_readable(&self) -> bool {
        self.readiness().intersects(Readiness::READABLE)
    }

    /// Checks with the kernel whether data is left to read, so that [`StreamSocket::is_readable`]
    /// is exact. For a caller that read all the bytes it wanted and does not know whether they
    /// were the last.
    pub fn check_readable(&self) {
        if !self.is_readable() {
            return;
        }
        let mut byte = [0; 1];
        let flags = RecvFlags::DONTWAIT | RecvFlags::PEEK;
        if let Err(Errno::AGAIN) = rustix::net::recv(&self.fd, &mut byte, flags) {
            executor::with(|core| core.poller.clear(self.key, Readiness::READABLE));
        }
    }

    /// Returns whether the peer has closed its side or the connection has failed, as far as known
    /// without a system call. Bytes may still be left to read.
    pub fn is_peer_closed(&self) -> bool {
        self.readiness().intersects(Readiness::PEER_CLOSED)
    }

    /// Checks with the kernel whether the peer has closed; the kernel knows this before the event
    /// is processed.
    pub fn has_peer_closed(&self) -> bool {
        let mut byte = [0; 1];
        let flags = RecvFlags::DONTWAIT | RecvFlags::PEEK;
        match rustix::net::recv(&self.fd, &mut byte, flags) {
            Ok((_, length)) => length == 0,
            Err(Errno::AGAIN | Errno::INTR) => false,
            Err(_) => true,
        }
    }

    /// Returns `Ready` when the peer has closed its side or the connection has failed, also while
    /// bytes wait to be read. The task waits in the slot of readers.
    pub fn poll_peer_closed(&self, context: &mut Context<'_>) -> Poll<()> {
        executor::with(|core| match core.poller.readiness(self.key) {
            Some(known) if !known.intersects(Readiness::PEER_CLOSED) => {
                core.poller
                    .wait_for(self.key, Direction::Read, context.waker());
                Poll::Pending
            }
            Some(_) | None => Poll::Ready(()),
        })
        .unwrap_or(Poll::Ready(()))
    }

    /// Wakes `waker` once, when the peer sends, closes or fails. For an idle connection. The waker
    /// of an earlier reader is dropped.
    pub fn watch(&self, waker: &Waker) {
        executor::with(|core| core.poller.set_reader(self.key, Some(waker)));
    }

    /// Ends [`StreamSocket::watch`], so that the next reader does not wake that waker.
    pub fn unwatch(&self) {
        executor::with(|core| core.poller.set_reader(self.key, None));
    }

    /// Returns and clears the pending error of the socket.
    ///
    /// # Errors
    /// Fails only if getsockopt(2) fails.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        Ok(sockopt::socket_error(&self.fd)?.err().map(io::Error::from))
    }

    /// Ends the sending direction; written data is still delivered. A connection that is already
    /// closed is no error.
    ///
    /// # Errors
    /// Fails if shutdown(2) fails with another error than `ENOTCONN`.
    pub fn shutdown_write(&self) -> io::Result<()> {
        match rustix::net::shutdown(&self.fd, Shutdown::Write) {
            Ok(()) | Err(Errno::NOTCONN) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Makes the close a reset (TCP): unsent data is discarded.
    ///
    /// # Errors
    /// Fails only if setsockopt(2) fails.
    pub fn set_linger_zero(&self) -> io::Result<()> {
        Ok(sockopt::set_socket_linger(&self.fd, Some(Duration::ZERO))?)
    }

    /// Makes the close silent: nothing is sent, not even a reset, so the peer keeps its side open
    /// until it times out. Uses TCP_REPAIR if the process has permission. Otherwise the close is a
    /// reset that reaches only the next hop.
    pub fn close_silently(&self) {
        if !self.enable_tcp_repair() {
            self.reset_within_one_hop();
        }
    }

    /// Makes the close a reset that reaches only the next hop.
    pub(crate) fn reset_within_one_hop(&self) {
        // One of the two fails: a socket is either IPv4 or IPv6.
        let _ = sockopt::set_ip_ttl(&self.fd, 1);
        let _ = sockopt::set_ipv6_unicast_hops(&self.fd, Some(1));
        let _ = self.set_linger_zero();
    }

    /// Switches the connection to the state in which its close sends nothing; returns false without
    /// permission.
    fn enable_tcp_repair(&self) -> bool {
        use nix::libc;
        let on: libc::c_int = 1;
        // SAFETY: TCP_REPAIR takes one int, which is live for the call.
        let result = unsafe {
            libc::setsockopt(
                self.fd.as_raw_fd(),
                libc::IPPROTO_TCP,
                libc::TCP_REPAIR,
                (&raw const on).cast(),
                size_of::<libc::c_int>() as libc::socklen_t,
            )
        };
        result == 0
    }

    /// Returns the descriptor, for options and addresses. Reads and writes must use
    /// [`StreamSocket::try_operation`].
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    pub fn downgrade(&self) -> WeakSocket {
        WeakSocket {
            fd: self.fd.as_raw_fd(),
            key: self.key,
            here: PhantomData,
        }
    }

    /// Removes the socket from the event loop and returns the descriptor, for another thread or
    /// process.
    ///
    /// # Errors
    /// Fails if epoll_ctl(2) cannot remove the descriptor, which is then closed.
    pub fn into_fd(self) -> io::Result<OwnedFd> {
        let this = ManuallyDrop::new(self);
        // SAFETY: `this` is not dropped or used again, so the descriptor is moved out once.
        let fd = unsafe { ptr::read(&this.fd) };
        executor::with(|core| match core.poller.readiness(this.key) {
            Some(_) => {
                core.poller.release(this.key);
                core.poller.deregister(fd.as_fd())
            }
            None => Ok(()),
        })
        .unwrap_or(Ok(()))?;
        Ok(fd)
    }
}

/// A handle for queries on a socket that another owner holds. The handle keeps nothing open, and
/// does not use the descriptor after the socket has released it.
#[derive(Clone, Copy, Debug)]
pub struct WeakSocket {
    fd: RawFd,
    key: Key,
    /// Makes the type not `Send`, like [`StreamSocket`].
    here: PhantomData<*const ()>,
}

impl WeakSocket {
    /// Calls `ask` with the descriptor; returns `None` when the descriptor is not open or belongs
    /// to another event loop.
    pub fn with_fd<R>(&self, ask: impl FnOnce(BorrowedFd<'_>) -> R) -> Option<R> {
        executor::with(|core| core.poller.readiness(self.key)).flatten()?;
        // SAFETY: the event loop knows the key, so the socket has not been dropped or given away:
        // both release the key first. The descriptor stays open until `ask` returns, because only
        // this thread can drop the socket.
        Some(ask(unsafe { BorrowedFd::borrow_raw(self.fd) }))
    }
}

impl Drop for StreamSocket {
    fn drop(&mut self) {
        // Releases the key, so that events are dropped if a duplicate keeps the socket open.
        // Otherwise closing removes the descriptor from epoll.
        executor::with(|core| core.poller.release(self.key));
    }
}

impl fmt::Debug for StreamSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket")
            .field("fd", &self.fd)
            .field("readiness", &self.readiness())
            .finish_non_exhaustive()
    }
}

fn send_flags(more: bool) -> SendFlags {
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    if more { flags | SendFlags::MORE } else { flags }
}

/// Waits for readiness and tries the operation, until the result is not `WouldBlock`. The loop
/// ends, because `WouldBlock` clears the readiness or the budget is used up.
macro_rules! poll_operation {
    ($ready:expr, $operation:expr) => {
        loop {
            ready!($ready);
            match $operation {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return Poll::Ready(result),
            }
        }
    };
}

impl AsyncRead for StreamSocket {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        poll_operation!(self.poll_readable(context), {
            // SAFETY: no byte of the buffer is made uninitialised.
            let spare = unsafe { buffer.unfilled_mut() };
            self.try_read_uninit(spare).map(|n| {
                // SAFETY: the kernel has written n bytes.
                unsafe { buffer.assume_init(n) };
                buffer.advance(n);
            })
        })
    }
}

impl AsyncWrite for StreamSocket {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        poll_operation!(self.poll_writable(context), self.try_write(data))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        poll_operation!(self.poll_writable(context), self.try_write_vectored(pieces))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.shutdown_write())
    }
}
