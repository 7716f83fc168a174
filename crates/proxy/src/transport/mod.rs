//! What carries the bytes of a connection: a socket, or TLS over one. Streams
//! read and write it without knowing which.

use crate::reactor::{Buffer, Socket};
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::BorrowedFd;
use std::task::{Context, Poll};

/// What carries the bytes of a connection. Its functions are those of
/// [`Socket`] and promise the same.
#[derive(Debug)]
pub struct Transport {
    socket: Socket,
}

impl From<Socket> for Transport {
    fn from(socket: Socket) -> Self {
        Transport { socket }
    }
}

impl Transport {
    /// Waits until a connection that was begun is made or has failed.
    pub async fn connected(&self) -> io::Result<()> {
        self.socket.connected().await
    }

    /// See [`Socket::try_read_uninit`].
    pub fn try_read_uninit(&self, buffer: &mut [MaybeUninit<u8>]) -> io::Result<usize> {
        self.socket.try_read_uninit(buffer)
    }

    /// Reads into the room of a buffer, see [`Buffer::read_from`].
    pub fn read_into(&self, buffer: &mut Buffer) -> io::Result<usize> {
        buffer.read_from(&self.socket)
    }

    /// See [`Socket::try_write`].
    pub fn try_write(&self, data: &[u8]) -> io::Result<usize> {
        self.socket.try_write(data)
    }

    /// See [`Socket::try_write_before`].
    pub fn try_write_before(&self, data: &[u8], more: bool) -> io::Result<usize> {
        self.socket.try_write_before(data, more)
    }

    /// See [`Socket::try_write_vectored_before`].
    pub fn try_write_vectored_before(
        &self,
        pieces: &[IoSlice<'_>],
        more: bool,
    ) -> io::Result<usize> {
        self.socket.try_write_vectored_before(pieces, more)
    }

    /// Ready when a read may find something: bytes, the end or an error.
    pub fn poll_readable(&self, context: &mut Context<'_>) -> Poll<()> {
        self.socket.poll_readable(context)
    }

    /// Ready when a write may find room or an error.
    pub fn poll_writable(&self, context: &mut Context<'_>) -> Poll<()> {
        self.socket.poll_writable(context)
    }

    /// Waits until a read may find something.
    pub async fn readable(&self) {
        std::future::poll_fn(|context| self.poll_readable(context)).await;
    }

    /// Waits until a write may find room.
    pub async fn writable(&self) {
        std::future::poll_fn(|context| self.poll_writable(context)).await;
    }

    /// Whether a read may find something, by what is known without a system call.
    pub fn is_readable(&self) -> bool {
        self.socket.is_readable()
    }

    /// Whether the peer has closed its side or the connection has failed, by
    /// what is known without a system call.
    pub fn is_peer_closed(&self) -> bool {
        self.socket.is_peer_closed()
    }

    /// Ready when the peer has closed its side or the connection has failed.
    pub fn poll_peer_closed(&self, context: &mut Context<'_>) -> Poll<()> {
        self.socket.poll_peer_closed(context)
    }

    /// Ends our direction; what was written is still delivered.
    pub fn shutdown_write(&self) -> io::Result<()> {
        self.socket.shutdown_write()
    }

    /// Makes the close a reset (TCP): what is not sent yet is thrown away.
    pub fn set_linger_zero(&self) -> io::Result<()> {
        self.socket.set_linger_zero()
    }

    /// The descriptor, for options and addresses.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.socket.fd()
    }
}
