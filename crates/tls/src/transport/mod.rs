//! Gives a connection one interface for every transport: a socket, or TLS over a socket, either
//! with FastCGI on top. Streams use all of them in the same way.

mod fastcgi;

use crate::session::Session;
use fastcgi::FastCgi;
use protocol::fcgi::FcgiRequest;
use reactor::{Buffer, StreamSocket};
use std::io::{self, IoSlice};
use std::mem::{ManuallyDrop, MaybeUninit};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::task::{Context, Poll};

/// The transport of a connection. Its functions have the contract of those of [`StreamSocket`].
///
/// Reads and writes return `WouldBlock` if they would have to wait, and otherwise the error of the
/// system call. TLS adds the errors of [`Session::read`] and [`Session::write`]. FastCGI adds
/// `InvalidData`: the application refused the request or sent an invalid response, or the body of
/// the request has an invalid chunk.
#[derive(Debug)]
pub struct ConnectionTransport {
    socket: StreamSocket,
    tls: Option<Box<Session>>,
    fastcgi: Option<Box<FastCgi>>,
}

/// A connection that moves from one thread's event loop to another's.
#[derive(Debug)]
pub struct Parts {
    fd: OwnedFd,
    session: Option<Box<Session>>,
    fastcgi: Option<Box<FastCgi>>,
}

impl From<StreamSocket> for ConnectionTransport {
    fn from(socket: StreamSocket) -> Self {
        ConnectionTransport {
            socket,
            tls: None,
            fastcgi: None,
        }
    }
}

impl Drop for ConnectionTransport {
    fn drop(&mut self) {
        if let Some(tls) = &self.tls {
            tls.queue_close_notify(&self.socket);
        }
    }
}

impl ConnectionTransport {
    pub fn socket(&self) -> &StreamSocket {
        &self.socket
    }

    /// Returns the socket if the connection has neither TLS nor FastCGI.
    pub fn plain(&self) -> Option<&StreamSocket> {
        (self.tls.is_none() && self.fastcgi.is_none()).then_some(&self.socket)
    }

    pub fn secure(&mut self, session: Session) {
        self.tls = Some(Box::new(session));
    }

    /// Removes the connection from the event loop, for another thread.
    ///
    /// # Errors
    /// The system call `epoll_ctl` fails. The connection is then closed.
    pub fn into_parts(self) -> io::Result<Parts> {
        let mut this = ManuallyDrop::new(self);
        let (session, fastcgi) = (this.tls.take(), this.fastcgi.take());
        // SAFETY: `this` is not dropped or used again, so the socket is moved out once; the other
        // fields hold nothing.
        let socket = unsafe { std::ptr::read(&this.socket) };
        Ok(Parts {
            fd: socket.into_fd()?,
            session,
            fastcgi,
        })
    }

    /// Adds a connection from another thread to this thread's event loop.
    ///
    /// # Errors
    /// The system call `epoll_ctl` fails, or the thread has no event loop (`NotConnected`). The
    /// connection is then closed.
    pub fn from_parts(parts: Parts) -> io::Result<ConnectionTransport> {
        let writable = reactor::Assumed::Writable;
        Ok(ConnectionTransport {
            socket: StreamSocket::from_nonblocking(parts.fd, writable)?,
            tls: parts.session,
            fastcgi: parts.fastcgi,
        })
    }

    pub fn switch_to_fastcgi(&mut self) {
        self.fastcgi = Some(Box::default());
    }

    pub fn is_fastcgi(&self) -> bool {
        self.fastcgi.is_some()
    }

    /// Begins a FastCGI request. Its body is written as in HTTP/1.
    pub fn begin_fastcgi(&self, request: &FcgiRequest<'_>) {
        if let Some(fastcgi) = &self.fastcgi {
            fastcgi.begin(request);
        }
    }

    /// Returns what the application wrote to STDERR for the request, and clears it.
    pub fn take_errors(&self) -> Vec<u8> {
        (self.fastcgi.as_ref()).map_or_else(Vec::new, |fastcgi| fastcgi.take_errors())
    }

    /// Returns the TLS session, for tests.
    #[cfg(test)]
    pub fn tls(&self) -> Option<&Session> {
        self.tls.as_deref()
    }

    /// Waits until a pending connect has succeeded or failed.
    ///
    /// # Errors
    /// The connect failed: the error of the socket.
    pub async fn connected(&self) -> io::Result<()> {
        self.socket.connected().await
    }

    /// Reads as [`StreamSocket::try_read_uninit`] does. TLS returns plaintext, FastCGI HTTP/1.
    ///
    /// # Errors
    /// See [`ConnectionTransport`].
    pub fn try_read_uninit(&self, buffer: &mut [MaybeUninit<u8>]) -> io::Result<usize> {
        match &self.fastcgi {
            None => self.receive(buffer),
            Some(fastcgi) => fastcgi.read(self, buffer),
        }
    }

    /// Reads bytes of the peer, before FastCGI interprets them.
    fn receive(&self, buffer: &mut [MaybeUninit<u8>]) -> io::Result<usize> {
        match &self.tls {
            None => self.socket.try_read_uninit(buffer),
            Some(tls) => tls.read(&self.socket, buffer),
        }
    }

    /// Writes bytes for the peer, without FastCGI.
    fn write_below_fastcgi(&self, pieces: &[IoSlice<'_>], more: bool) -> io::Result<usize> {
        match &self.tls {
            None => self.socket.try_write_vectored_before(pieces, more),
            Some(tls) => tls.write(&self.socket, pieces, more),
        }
    }

    /// Reads into the free space of a buffer, see [`Buffer::read_from`].
    ///
    /// # Errors
    /// `OutOfMemory` if the buffer is full. Others: see [`ConnectionTransport`].
    #[inline]
    pub fn read_into(&self, buffer: &mut Buffer) -> io::Result<usize> {
        match (&self.tls, &self.fastcgi) {
            (None, None) => buffer.read_from(&self.socket),
            _ => self.open_into(buffer),
        }
    }

    /// Reads with TLS or FastCGI. In a function of its own, because most connections have neither.
    #[inline(never)]
    fn open_into(&self, buffer: &mut Buffer) -> io::Result<usize> {
        if buffer.spare_capacity().is_empty() {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        let n = self.try_read_uninit(buffer.spare_capacity())?;
        // SAFETY: the read has filled the first n bytes.
        unsafe { buffer.commit(n) };
        Ok(n)
    }

    /// Writes as much of `data` as fits. TLS and FastCGI may keep accepted bytes until
    /// [`Self::flushed`].
    ///
    /// # Errors
    /// See [`ConnectionTransport`].
    pub fn try_write(&self, data: &[u8]) -> io::Result<usize> {
        self.try_write_before(data, false)
    }

    /// Variant of [`Self::try_write`]. `more`: other bytes follow at once.
    ///
    /// # Errors
    /// See [`ConnectionTransport`].
    pub fn try_write_before(&self, data: &[u8], more: bool) -> io::Result<usize> {
        match (&self.tls, &self.fastcgi) {
            (None, None) => self.socket.try_write_before(data, more),
            _ => self.try_write_vectored_before(&[IoSlice::new(data)], more),
        }
    }

    /// Variant of [`Self::try_write_before`] for several slices.
    ///
    /// # Errors
    /// See [`ConnectionTransport`].
    pub fn try_write_vectored_before(
        &self,
        pieces: &[IoSlice<'_>],
        more: bool,
    ) -> io::Result<usize> {
        match &self.fastcgi {
            None => self.write_below_fastcgi(pieces, more),
            Some(fastcgi) => fastcgi.write(self, pieces, more),
        }
    }

    pub fn poll_readable(&self, context: &mut Context<'_>) -> Poll<()> {
        if self.fastcgi.as_ref().is_some_and(|one| one.is_readable()) {
            return Poll::Ready(());
        }
        match &self.tls {
            None => self.socket.poll_readable(context),
            Some(tls) => tls.poll_readable(&self.socket, context),
        }
    }

    pub fn poll_writable(&self, context: &mut Context<'_>) -> Poll<()> {
        self.poll_room(context)
    }

    fn poll_room(&self, context: &mut Context<'_>) -> Poll<()> {
        match &self.tls {
            None => self.socket.poll_writable(context),
            Some(tls) => tls.poll_writable(&self.socket, context),
        }
    }

    /// Ready when all written bytes are in the kernel. Without TLS and FastCGI that is always so;
    /// TLS may hold the rest of its records, and FastCGI that of its own.
    pub fn poll_flush(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(fastcgi) = &self.fastcgi {
            std::task::ready!(fastcgi.poll_flush(self, context))?;
        }
        match &self.tls {
            None => Poll::Ready(Ok(())),
            Some(tls) => tls.poll_flush(&self.socket, context),
        }
    }

    pub fn is_flushed(&self) -> bool {
        self.tls.as_ref().is_none_or(|tls| tls.is_flushed())
            && self.fastcgi.as_ref().is_none_or(|one| one.is_flushed())
    }

    /// Waits until all written bytes are in the kernel.
    ///
    /// # Errors
    /// The errors of a write except `WouldBlock`, see [`ConnectionTransport`].
    pub async fn flushed(&self) -> io::Result<()> {
        std::future::poll_fn(|context| self.poll_flush(context)).await
    }

    pub async fn readable(&self) {
        std::future::poll_fn(|context| self.poll_readable(context)).await;
    }

    pub async fn writable(&self) {
        std::future::poll_fn(|context| self.poll_writable(context)).await;
    }

    /// Returns whether a read may return something. For a socket this needs no system call. TLS
    /// decrypts the received records, because they may contain no data.
    pub fn is_readable(&self) -> bool {
        if self.fastcgi.as_ref().is_some_and(|one| one.is_readable()) {
            return true;
        }
        match &self.tls {
            None => self.socket.is_readable(),
            Some(tls) => tls.is_readable(&self.socket),
        }
    }

    /// Returns whether the peer has closed its side or the connection has failed, as far as known
    /// without a system call.
    pub fn is_peer_closed(&self) -> bool {
        self.socket.is_peer_closed()
            || self.tls.as_ref().is_some_and(|tls| tls.is_closed())
            || self.fastcgi.as_ref().is_some_and(|one| one.is_spent())
    }

    /// Returns whether the end of the input is unauthenticated: TLS without close_notify. Data that
    /// only the end delimits may have been truncated.
    pub fn is_end_unauthenticated(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.is_truncated())
    }

    pub fn poll_peer_closed(&self, context: &mut Context<'_>) -> Poll<()> {
        match &self.tls {
            None => self.socket.poll_peer_closed(context),
            Some(tls) => tls.poll_closed(&self.socket, context),
        }
    }

    /// Closes the write direction. Written bytes are still delivered. TLS sends close_notify.
    ///
    /// # Errors
    /// The system call `shutdown` fails. `WouldBlock` if FastCGI records wait for space: the caller
    /// tries again when a write may find space.
    pub fn shutdown_write(&self) -> io::Result<()> {
        if let Some(fastcgi) = &self.fastcgi {
            fastcgi.finish_output(self)?;
        }
        match &self.tls {
            None => self.socket.shutdown_write(),
            Some(tls) => tls.shutdown_write(&self.socket),
        }
    }

    /// Lets the later close send a reset (TCP). Unsent bytes are discarded.
    ///
    /// # Errors
    /// The system call `setsockopt` fails.
    pub fn set_linger_zero(&self) -> io::Result<()> {
        self.suppress_close_notify();
        self.socket.set_linger_zero()
    }

    /// Suppresses further output, including the close_notify of TLS.
    pub fn suppress_close_notify(&self) {
        if let Some(tls) = &self.tls {
            tls.suppress_output();
        }
    }

    /// Closes without notifying the peer, as far as possible (see `StreamSocket::close_silently`).
    pub fn close_silently(&self) {
        self.suppress_close_notify();
        self.socket.close_silently();
    }

    pub fn fd(&self) -> BorrowedFd<'_> {
        self.socket.fd()
    }
}
