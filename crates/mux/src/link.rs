//! Gives a proxied stream the same interface to its client and to its server for every version of
//! HTTP: read, write, wait and abort through a [`PeerConnection`]. A stream has an HTTP/1
//! connection to itself, but shares an HTTP/2 connection with others. Callers distinguish the two
//! only where the difference matters, such as the framing of bodies.

mod write;

pub use write::{WriteFailure, write_all, write_pieces};

use super::stream::MuxStream;
use super::watch::StreamWatch;
use http::message::{Fields, HttpMessage};
use protocol::http2::ErrorCode;
use reactor::{Buffer, StreamSocket, after, with_deadline};
use std::io;
use std::task::{Context, Poll};
use tls::transport::ConnectionTransport;

/// Connection to the client or the server of a stream.
pub enum PeerConnection {
    /// A separate connection: HTTP/1, or arbitrary bytes.
    Http1(ConnectionTransport),
    Http2(MuxStream),
}

impl From<ConnectionTransport> for PeerConnection {
    fn from(transport: ConnectionTransport) -> PeerConnection {
        PeerConnection::Http1(transport)
    }
}

impl PeerConnection {
    /// Returns the connection if the stream has it exclusively.
    pub fn transport(&self) -> Option<&ConnectionTransport> {
        match self {
            PeerConnection::Http1(transport) => Some(transport),
            PeerConnection::Http2(_) => None,
        }
    }

    /// Returns the socket if written bytes are sent unchanged.
    pub fn plain(&self) -> Option<&StreamSocket> {
        self.transport()?.plain()
    }

    #[inline]
    pub fn is_http2(&self) -> bool {
        matches!(self, PeerConnection::Http2(_))
    }

    pub fn watch(&self) -> Option<StreamWatch> {
        match self {
            PeerConnection::Http1(_) => None,
            PeerConnection::Http2(stream) => Some(stream.watch()),
        }
    }

    /// Reads body bytes into the free space of a buffer. Returns their number, 0 at the end.
    ///
    /// # Errors
    /// `OutOfMemory` if the buffer is full, because 0 would mean the end. Others as
    /// [`ConnectionTransport::read_into`] and [`MuxStream::read_into`].
    #[inline]
    pub fn read_into(&self, buffer: &mut Buffer) -> io::Result<usize> {
        match self {
            PeerConnection::Http1(transport) => transport.read_into(buffer),
            PeerConnection::Http2(stream) => stream.read_into(buffer),
        }
    }

    #[inline]
    pub fn poll_readable(&self, context: &mut Context<'_>) -> Poll<()> {
        match self {
            PeerConnection::Http1(transport) => transport.poll_readable(context),
            PeerConnection::Http2(stream) => stream.poll_readable(context),
        }
    }

    pub async fn readable(&self) {
        std::future::poll_fn(|context| self.poll_readable(context)).await;
    }

    /// Returns whether a read may return something, as far as known without a system call. False
    /// for HTTP/2, where unread bytes do not affect later streams.
    pub fn is_readable(&self) -> bool {
        match self {
            PeerConnection::Http1(transport) => transport.is_readable(),
            PeerConnection::Http2(_) => false,
        }
    }

    /// Writes as much of `data`, bytes of a tunnel, as the connection accepts.
    ///
    /// # Errors
    /// As [`ConnectionTransport::try_write`] and [`MuxStream::try_write`].
    pub fn try_write(&self, data: &[u8]) -> io::Result<usize> {
        match self {
            PeerConnection::Http1(transport) => transport.try_write(data),
            PeerConnection::Http2(stream) => stream.try_write(data, false),
        }
    }

    pub fn poll_writable(&self, context: &mut Context<'_>) -> Poll<()> {
        match self {
            PeerConnection::Http1(transport) => transport.poll_writable(context),
            PeerConnection::Http2(stream) => stream.poll_writable(context),
        }
    }

    /// Ready when all written bytes are sent. TLS may still hold the rest of its records;
    /// the driver sends the bytes of an HTTP/2 stream.
    pub fn poll_flush(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            PeerConnection::Http1(transport) => transport.poll_flush(context),
            PeerConnection::Http2(_) => Poll::Ready(Ok(())),
        }
    }

    /// Returns whether the end of the input is unauthenticated, as
    /// [`ConnectionTransport::is_end_unauthenticated`] does. False for HTTP/2, which marks the end
    /// itself.
    pub fn is_end_unauthenticated(&self) -> bool {
        match self {
            PeerConnection::Http1(transport) => transport.is_end_unauthenticated(),
            PeerConnection::Http2(_) => false,
        }
    }

    /// Ready when the peer has closed its side, its connection has failed, or it has reset this
    /// stream.
    pub fn poll_gone(&self, context: &mut Context<'_>) -> Poll<()> {
        match self {
            PeerConnection::Http1(transport) => transport.poll_peer_closed(context),
            PeerConnection::Http2(stream) => stream.poll_gone(context),
        }
    }

    /// Returns whether the peer is gone, as far as known without a system call.
    pub fn is_gone(&self) -> bool {
        match self {
            PeerConnection::Http1(transport) => transport.is_peer_closed(),
            PeerConnection::Http2(stream) => stream.is_gone(),
        }
    }

    /// Returns whether a connection has ended or failed. A system call detects what no event has
    /// reported yet.
    pub fn has_ended(&self) -> bool {
        match self {
            PeerConnection::Http1(transport) => transport.socket().has_peer_closed(),
            link => link.is_gone(),
        }
    }

    /// Closes the write direction. Written bytes are still delivered.
    ///
    /// # Errors
    /// HTTP/1: as [`ConnectionTransport::shutdown_write`]. HTTP/2: `ConnectionReset` if the stream
    /// is lost, has not sent its head, or has ended already.
    pub fn shutdown_write(&self) -> io::Result<()> {
        match self {
            PeerConnection::Http1(transport) => transport.shutdown_write(),
            PeerConnection::Http2(stream) => stream.try_write(&[], true).map(drop),
        }
    }

    /// Aborts the output, so that its receiver does not take it for complete.
    pub fn abort_output(&self) {
        match self {
            PeerConnection::Http1(transport) => _ = transport.set_linger_zero(),
            PeerConnection::Http2(stream) => stream.reset(ErrorCode::Cancel),
        }
    }

    /// Closes without notifying the client. For HTTP/2 this ends the whole connection.
    pub fn close_silently(&self) {
        match self {
            PeerConnection::Http1(transport) => transport.close_silently(),
            PeerConnection::Http2(stream) => stream.kill_connection(true),
        }
    }

    /// Returns whether a body that ends with its stream was read completely. Always false for
    /// HTTP/1, which marks the end in other ways.
    #[inline]
    pub fn is_ended(&self) -> bool {
        match self {
            PeerConnection::Http1(_) => false,
            PeerConnection::Http2(stream) => stream.is_ended(),
        }
    }

    /// Returns the trailers after a body that has ended with its stream, once.
    pub fn trailers(&self) -> Option<Box<Fields>> {
        match self {
            PeerConnection::Http1(_) => None,
            PeerConnection::Http2(stream) => stream.take_trailers(),
        }
    }

    /// Sends a head. The body, if any, follows later; with `end` there is none. Returns the size of
    /// the head for the counters, bytes.
    pub async fn send_head(
        &self,
        head: &HttpMessage,
        end: bool,
        limit: Option<u32>,
    ) -> (u64, Result<(), WriteFailure>) {
        match self {
            PeerConnection::Http1(transport) => {
                let mut bytes = reactor::scratch();
                head.write_http1(&mut bytes);
                let sent = write_all(transport, &bytes, limit).await;
                (bytes.len() as u64, sent)
            }
            PeerConnection::Http2(stream) => {
                let sent = stream.send_head(head, end);
                (head.wire_len() as u64, sent.map_err(WriteFailure::Failed))
            }
        }
    }
}

/// Writes data to an HTTP/2 stream, and its end if requested. `limit` is the timeout in
/// milliseconds of each wait for the peer.
///
/// # Errors
/// `Timeout` if a wait exceeds `limit`. `Failed` with the error of [`MuxStream::try_write`].
pub async fn write_data(
    stream: &MuxStream,
    mut data: &[u8],
    end: bool,
    limit: Option<u32>,
) -> Result<(), WriteFailure> {
    if data.is_empty() && !end {
        return Ok(());
    }
    loop {
        match stream.try_write(data, end) {
            Ok(n) => {
                data = data.get(n..).unwrap_or_default();
                if data.is_empty() {
                    return Ok(());
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                with_deadline(after(limit), stream.writable()).await?;
            }
            Err(error) => return Err(WriteFailure::Failed(error)),
        }
    }
}
