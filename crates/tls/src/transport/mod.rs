//! The transport of a connection: a socket, or TLS over one; and FastCGI over either.
//! Streams read and write it in the same way.

mod fastcgi;

use crate::session::Session;
use fastcgi::FastCgi;
use protocol::fcgi::Request;
use reactor::{Buffer, Socket};
use std::io::{self, IoSlice};
use std::mem::{ManuallyDrop, MaybeUninit};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::task::{Context, Poll};

/// The transport of a connection. Its functions have the contract of those of [`Socket`].
#[derive(Debug)]
pub struct Transport {
    socket: Socket,
    /// Its records, where there is TLS over the socket.
    tls: Option<Box<Session>>,
    /// Its bytes are requests and responses of FastCGI.
    fastcgi: Option<Box<FastCgi>>,
}

/// A connection between the loops of two threads.
#[derive(Debug)]
pub struct Parts {
    fd: OwnedFd,
    session: Option<Box<Session>>,
    fastcgi: Option<Box<FastCgi>>,
}

impl From<Socket> for Transport {
    fn from(socket: Socket) -> Self {
        Transport {
            socket,
            tls: None,
            fastcgi: None,
        }
    }
}

impl Drop for Transport {
    fn drop(&mut self) {
        if let Some(tls) = &self.tls {
            tls.goodbye(&self.socket);
        }
    }
}

impl Transport {
    /// The socket, for a handshake over it.
    pub fn socket(&self) -> &Socket {
        &self.socket
    }

    /// The socket where its bytes are those of the connection, without TLS or FastCGI.
    pub fn plain(&self) -> Option<&Socket> {
        (self.tls.is_none() && self.fastcgi.is_none()).then_some(&self.socket)
    }

    /// From here its bytes are carried in records.
    pub fn secure(&mut self, session: Session) {
        self.tls = Some(Box::new(session));
    }

    /// Leaves the loop, for another thread.
    pub fn into_parts(self) -> io::Result<Parts> {
        let mut this = ManuallyDrop::new(self);
        let (session, fastcgi) = (this.tls.take(), this.fastcgi.take());
        // SAFETY: `this` is not dropped or used again, so the socket is moved out once;
        // the other fields hold nothing.
        let socket = unsafe { std::ptr::read(&this.socket) };
        Ok(Parts {
            fd: socket.into_fd()?,
            session,
            fastcgi,
        })
    }

    /// Joins a connection to this thread's loop that left that of another one.
    pub fn from_parts(parts: Parts) -> io::Result<Transport> {
        let writable = reactor::Assumed::Writable;
        Ok(Transport {
            socket: Socket::from_nonblocking(parts.fd, writable)?,
            tls: parts.session,
            fastcgi: parts.fastcgi,
        })
    }

    /// From here it speaks FastCGI.
    pub fn speak_fastcgi(&mut self) {
        self.fastcgi = Some(Box::default());
    }

    /// Returns whether it is FastCGI.
    pub fn is_fastcgi(&self) -> bool {
        self.fastcgi.is_some()
    }

    /// Begins a request of FastCGI; its body is written as that of HTTP/1.
    pub fn begin_fastcgi(&self, request: &Request<'_>) {
        if let Some(fastcgi) = &self.fastcgi {
            fastcgi.begin(request);
        }
    }

    /// Takes what the application wrote to STDERR for the request.
    pub fn take_errors(&self) -> Vec<u8> {
        (self.fastcgi.as_ref()).map_or_else(Vec::new, |fastcgi| fastcgi.take_errors())
    }

    /// Its TLS, for tests of it.
    #[cfg(test)]
    pub fn tls(&self) -> Option<&Session> {
        self.tls.as_deref()
    }

    /// Waits until a connection that was begun is made or has failed.
    pub async fn connected(&self) -> io::Result<()> {
        self.socket.connected().await
    }

    /// See [`Socket::try_read_uninit`].
    pub fn try_read_uninit(&self, buffer: &mut [MaybeUninit<u8>]) -> io::Result<usize> {
        match &self.fastcgi {
            None => self.receive(buffer),
            Some(fastcgi) => fastcgi.read(self, buffer),
        }
    }

    /// Reads what the peer sent, below FastCGI.
    fn receive(&self, buffer: &mut [MaybeUninit<u8>]) -> io::Result<usize> {
        match &self.tls {
            None => self.socket.try_read_uninit(buffer),
            Some(tls) => tls.read(&self.socket, buffer),
        }
    }

    /// Writes what the peer is to have, below FastCGI.
    fn carry(&self, pieces: &[IoSlice<'_>], more: bool) -> io::Result<usize> {
        match &self.tls {
            None => self.socket.try_write_vectored_before(pieces, more),
            Some(tls) => tls.write(&self.socket, pieces, more),
        }
    }

    /// Reads into the room of a buffer, see [`Buffer::read_from`].
    #[inline]
    pub fn read_into(&self, buffer: &mut Buffer) -> io::Result<usize> {
        match (&self.tls, &self.fastcgi) {
            (None, None) => buffer.read_from(&self.socket),
            _ => self.open_into(buffer),
        }
    }

    /// Reads by TLS or FastCGI. Out of line: most of what reads has none.
    #[inline(never)]
    fn open_into(&self, buffer: &mut Buffer) -> io::Result<usize> {
        if buffer.spare().is_empty() {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        let n = self.try_read_uninit(buffer.spare())?;
        // SAFETY: the read has filled the first n bytes.
        unsafe { buffer.commit(n) };
        Ok(n)
    }

    /// See [`Socket::try_write`].
    pub fn try_write(&self, data: &[u8]) -> io::Result<usize> {
        self.try_write_before(data, false)
    }

    /// See [`Socket::try_write_before`].
    pub fn try_write_before(&self, data: &[u8], more: bool) -> io::Result<usize> {
        match (&self.tls, &self.fastcgi) {
            (None, None) => self.socket.try_write_before(data, more),
            _ => self.try_write_vectored_before(&[IoSlice::new(data)], more),
        }
    }

    /// See [`Socket::try_write_vectored_before`].
    pub fn try_write_vectored_before(
        &self,
        pieces: &[IoSlice<'_>],
        more: bool,
    ) -> io::Result<usize> {
        match &self.fastcgi {
            None => self.carry(pieces, more),
            Some(fastcgi) => fastcgi.write(self, pieces, more),
        }
    }

    /// Ready when a read may find something: bytes, the end or an error.
    pub fn poll_readable(&self, context: &mut Context<'_>) -> Poll<()> {
        if self.fastcgi.as_ref().is_some_and(|one| one.is_readable()) {
            return Poll::Ready(());
        }
        match &self.tls {
            None => self.socket.poll_readable(context),
            Some(tls) => tls.poll_readable(&self.socket, context),
        }
    }

    /// Ready when a write may find room or an error.
    pub fn poll_writable(&self, context: &mut Context<'_>) -> Poll<()> {
        self.poll_room(context)
    }

    /// As `poll_room`, below FastCGI.
    fn poll_room(&self, context: &mut Context<'_>) -> Poll<()> {
        match &self.tls {
            None => self.socket.poll_writable(context),
            Some(tls) => tls.poll_writable(&self.socket, context),
        }
    }

    /// Ready when everything that was taken by a write is with the kernel. A
    /// socket takes nothing that is not; TLS may hold the rest of its records.
    pub fn poll_flush(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(fastcgi) = &self.fastcgi {
            std::task::ready!(fastcgi.poll_flush(self, context))?;
        }
        match &self.tls {
            None => Poll::Ready(Ok(())),
            Some(tls) => tls.poll_flush(&self.socket, context),
        }
    }

    /// Whether everything that was taken by a write is with the kernel.
    pub fn is_flushed(&self) -> bool {
        self.tls.as_ref().is_none_or(|tls| tls.is_flushed())
            && self.fastcgi.as_ref().is_none_or(|one| one.is_flushed())
    }

    /// Waits until everything that was taken by a write is with the kernel.
    pub async fn flushed(&self) -> io::Result<()> {
        std::future::poll_fn(|context| self.poll_flush(context)).await
    }

    /// Waits until a read may find something.
    pub async fn readable(&self) {
        std::future::poll_fn(|context| self.poll_readable(context)).await;
    }

    /// Waits until a write may find room.
    pub async fn writable(&self) {
        std::future::poll_fn(|context| self.poll_writable(context)).await;
    }

    /// Whether a read may find something: of a socket by what is known without
    /// a system call; TLS opens what has come, since that may be no data.
    pub fn is_readable(&self) -> bool {
        if self.fastcgi.as_ref().is_some_and(|one| one.is_readable()) {
            return true;
        }
        match &self.tls {
            None => self.socket.is_readable(),
            Some(tls) => tls.is_readable(&self.socket),
        }
    }

    /// Whether the peer has closed its side or the connection has failed, by
    /// what is known without a system call.
    pub fn is_peer_closed(&self) -> bool {
        self.socket.is_peer_closed()
            || self.tls.as_ref().is_some_and(|tls| tls.is_closed())
            || self.fastcgi.as_ref().is_some_and(|one| one.is_spent())
    }

    /// Whether a read's 0 was an end that nobody vouches for: TLS without a
    /// goodbye. What is only delimited by the end may have been cut off.
    pub fn is_cut(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.is_cut())
    }

    /// Ready when the peer has closed its side or the connection has failed.
    pub fn poll_peer_closed(&self, context: &mut Context<'_>) -> Poll<()> {
        match &self.tls {
            None => self.socket.poll_peer_closed(context),
            Some(tls) => tls.poll_closed(&self.socket, context),
        }
    }

    /// Ends our direction; what was written is still delivered. TLS says goodbye.
    pub fn shutdown_write(&self) -> io::Result<()> {
        match &self.tls {
            None => self.socket.shutdown_write(),
            Some(tls) => tls.shutdown_write(&self.socket),
        }
    }

    /// Makes the close a reset (TCP): what is not sent yet is thrown away.
    pub fn set_linger_zero(&self) -> io::Result<()> {
        self.silence();
        self.socket.set_linger_zero()
    }

    /// Suppresses further output, including the close_notify of TLS.
    pub fn silence(&self) {
        if let Some(tls) = &self.tls {
            tls.silence();
        }
    }

    /// Closes without telling the peer, as far as that can be (see [`Socket::vanish`]).
    pub fn vanish(&self) {
        self.silence();
        self.socket.vanish();
    }

    /// The descriptor, for options and addresses.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.socket.fd()
    }
}
