//! What carries the bytes of a connection: a socket, or TLS over one. Streams
//! read and write it without knowing which.

use crate::reactor::{Buffer, Socket};
use crate::tls;
use std::io::{self, IoSlice};
use std::mem::{ManuallyDrop, MaybeUninit};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::task::{Context, Poll};

/// What carries the bytes of a connection. Its functions are those of
/// [`Socket`] and promise the same.
#[derive(Debug)]
pub struct Transport {
    socket: Socket,
    /// Its records, where there is TLS over the socket.
    tls: Option<Box<tls::Session>>,
}

impl From<Socket> for Transport {
    fn from(socket: Socket) -> Self {
        Transport { socket, tls: None }
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

    /// The socket where its bytes are those of the connection, without TLS.
    pub fn plain(&self) -> Option<&Socket> {
        self.tls.is_none().then_some(&self.socket)
    }

    /// From here its bytes are carried in records.
    pub fn secure(&mut self, session: tls::Session) {
        self.tls = Some(Box::new(session));
    }

    /// Leaves the loop, for another thread.
    pub fn into_parts(self) -> io::Result<(OwnedFd, Option<Box<tls::Session>>)> {
        let mut this = ManuallyDrop::new(self);
        let session = this.tls.take();
        // SAFETY: `this` is not dropped or used again, so the socket is moved out once;
        // the other field holds nothing.
        let socket = unsafe { std::ptr::read(&this.socket) };
        Ok((socket.into_fd()?, session))
    }

    /// Its TLS, for tests of it.
    #[cfg(test)]
    pub(crate) fn tls(&self) -> Option<&tls::Session> {
        self.tls.as_deref()
    }

    /// Whether its bytes are carried by TLS.
    pub fn is_secure(&self) -> bool {
        self.tls.is_some()
    }

    /// Waits until a connection that was begun is made or has failed.
    pub async fn connected(&self) -> io::Result<()> {
        self.socket.connected().await
    }

    /// See [`Socket::try_read_uninit`].
    pub fn try_read_uninit(&self, buffer: &mut [MaybeUninit<u8>]) -> io::Result<usize> {
        match &self.tls {
            None => self.socket.try_read_uninit(buffer),
            Some(tls) => tls.read(&self.socket, buffer),
        }
    }

    /// Reads into the room of a buffer, see [`Buffer::read_from`].
    #[inline]
    pub fn read_into(&self, buffer: &mut Buffer) -> io::Result<usize> {
        match &self.tls {
            None => buffer.read_from(&self.socket),
            Some(tls) => self.open_into(tls, buffer),
        }
    }

    /// Reads by TLS. Out of line: most of what reads has none.
    #[inline(never)]
    fn open_into(&self, tls: &tls::Session, buffer: &mut Buffer) -> io::Result<usize> {
        if buffer.spare().is_empty() {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        let n = tls.read(&self.socket, buffer.spare())?;
        // SAFETY: the session has filled the first n bytes.
        unsafe { buffer.commit(n) };
        Ok(n)
    }

    /// See [`Socket::try_write`].
    pub fn try_write(&self, data: &[u8]) -> io::Result<usize> {
        self.try_write_before(data, false)
    }

    /// See [`Socket::try_write_before`].
    pub fn try_write_before(&self, data: &[u8], more: bool) -> io::Result<usize> {
        match &self.tls {
            None => self.socket.try_write_before(data, more),
            Some(tls) => tls.write(&self.socket, &[IoSlice::new(data)], more),
        }
    }

    /// See [`Socket::try_write_vectored_before`].
    pub fn try_write_vectored_before(
        &self,
        pieces: &[IoSlice<'_>],
        more: bool,
    ) -> io::Result<usize> {
        match &self.tls {
            None => self.socket.try_write_vectored_before(pieces, more),
            Some(tls) => tls.write(&self.socket, pieces, more),
        }
    }

    /// Ready when a read may find something: bytes, the end or an error.
    pub fn poll_readable(&self, context: &mut Context<'_>) -> Poll<()> {
        match &self.tls {
            None => self.socket.poll_readable(context),
            Some(tls) => tls.poll_readable(&self.socket, context),
        }
    }

    /// Ready when a write may find room or an error.
    pub fn poll_writable(&self, context: &mut Context<'_>) -> Poll<()> {
        match &self.tls {
            None => self.socket.poll_writable(context),
            Some(tls) => tls.poll_writable(&self.socket, context),
        }
    }

    /// Ready when everything that was taken by a write is with the kernel. A
    /// socket takes nothing that is not; TLS may hold the rest of its records.
    pub fn poll_flush(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &self.tls {
            None => Poll::Ready(Ok(())),
            Some(tls) => tls.poll_flush(&self.socket, context),
        }
    }

    /// Whether everything that was taken by a write is with the kernel.
    pub fn is_flushed(&self) -> bool {
        self.tls.as_ref().is_none_or(|tls| tls.is_flushed())
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
        match &self.tls {
            None => self.socket.is_readable(),
            Some(tls) => tls.is_readable(&self.socket),
        }
    }

    /// Whether the peer has closed its side or the connection has failed, by
    /// what is known without a system call.
    pub fn is_peer_closed(&self) -> bool {
        self.socket.is_peer_closed() || self.tls.as_ref().is_some_and(|tls| tls.is_closed())
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

    /// Nothing more is sent, not even TLS's goodbye.
    pub fn silence(&self) {
        if let Some(tls) = &self.tls {
            tls.silence();
        }
    }

    /// The descriptor, for options and addresses.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.socket.fd()
    }
}
