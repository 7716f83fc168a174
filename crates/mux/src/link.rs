//! How the two ends of a stream are reached. A stream's code is the same for
//! every version of HTTP: it reads, writes, waits and breaks off by a [`Link`],
//! and only this file (with `body`, which knows how bodies are framed) knows
//! that HTTP/1 has the whole connection and HTTP/2 one stream of it.
//!
//! It parses nothing and decides nothing.

mod write;

pub use write::{WriteFailure, write_all, write_pieces};

use super::stream::MuxStream;
use super::watch::StreamWatch;
use http::message::{Fields, Message};
use protocol::http2::ErrorCode;
use reactor::{Buffer, Socket, after, with_deadline};
use std::io;
use std::task::{Context, Poll};
use tls::transport::Transport;

/// How a stream's client, or its server, is reached.
pub enum Link {
    /// A connection of its own: HTTP/1, or bytes of any kind.
    Http1(Transport),
    /// A stream of an HTTP/2 connection.
    Http2(MuxStream),
}

impl From<Transport> for Link {
    fn from(transport: Transport) -> Link {
        Link::Http1(transport)
    }
}

impl Link {
    /// The connection, where the stream has it for itself.
    pub fn transport(&self) -> Option<&Transport> {
        match self {
            Link::Http1(transport) => Some(transport),
            Link::Http2(_) => None,
        }
    }

    /// The socket, where what is written to it goes out as it is.
    pub fn plain(&self) -> Option<&Socket> {
        self.transport()?.plain()
    }

    /// Returns whether it is an HTTP/2 stream.
    #[inline]
    pub fn is_http2(&self) -> bool {
        matches!(self, Link::Http2(_))
    }

    /// A weak handle of the HTTP/2 stream, for queries only.
    pub fn watch(&self) -> Option<StreamWatch> {
        match self {
            Link::Http1(_) => None,
            Link::Http2(stream) => Some(stream.watch()),
        }
    }

    /// Reads into the room of a buffer: how many bytes of the body came, 0 at
    /// the end. `OutOfMemory` when there is no room, since 0 would lie.
    #[inline]
    pub fn read_into(&self, buffer: &mut Buffer) -> io::Result<usize> {
        match self {
            Link::Http1(transport) => transport.read_into(buffer),
            Link::Http2(stream) => stream.read_into(buffer),
        }
    }

    /// Ready when a read may find something: bytes, the end or an error.
    #[inline]
    pub fn poll_readable(&self, context: &mut Context<'_>) -> Poll<()> {
        match self {
            Link::Http1(transport) => transport.poll_readable(context),
            Link::Http2(stream) => stream.poll_readable(context),
        }
    }

    /// Waits until a read may find something.
    pub async fn readable(&self) {
        std::future::poll_fn(|context| self.poll_readable(context)).await;
    }

    /// Whether a read of a connection may find something, by what is known
    /// without a system call. What a stream of HTTP/2 leaves unread concerns
    /// nobody after it.
    pub fn is_readable(&self) -> bool {
        match self {
            Link::Http1(transport) => transport.is_readable(),
            Link::Http2(_) => false,
        }
    }

    /// Writes what fits of `data`: bytes of a tunnel.
    pub fn try_write(&self, data: &[u8]) -> io::Result<usize> {
        match self {
            Link::Http1(transport) => transport.try_write(data),
            Link::Http2(stream) => stream.try_write(data, false),
        }
    }

    /// Ready when a write may find room or an error.
    pub fn poll_writable(&self, context: &mut Context<'_>) -> Poll<()> {
        match self {
            Link::Http1(transport) => transport.poll_writable(context),
            Link::Http2(stream) => stream.poll_writable(context),
        }
    }

    /// Ready when all written bytes are sent. TLS may still hold the rest of its records;
    /// the driver sends the bytes of an HTTP/2 stream.
    pub fn poll_flush(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Link::Http1(transport) => transport.poll_flush(context),
            Link::Http2(_) => Poll::Ready(Ok(())),
        }
    }

    /// Whether a read's 0 was an end that nobody vouches for, see
    /// [`Transport::is_cut`].
    pub fn is_cut(&self) -> bool {
        match self {
            Link::Http1(transport) => transport.is_cut(),
            Link::Http2(_) => false,
        }
    }

    /// Ready when the peer is gone: it closed its side, its connection failed,
    /// or it gave this stream up.
    pub fn poll_gone(&self, context: &mut Context<'_>) -> Poll<()> {
        match self {
            Link::Http1(transport) => transport.poll_peer_closed(context),
            Link::Http2(stream) => stream.poll_gone(context),
        }
    }

    /// Whether the peer is gone, by what is known without a system call.
    pub fn is_gone(&self) -> bool {
        match self {
            Link::Http1(transport) => transport.is_peer_closed(),
            Link::Http2(stream) => stream.is_gone(),
        }
    }

    /// Whether a connection has ended or failed: a system call finds what no event
    /// has told yet.
    pub fn has_ended(&self) -> bool {
        match self {
            Link::Http1(transport) => transport.socket().has_ended(),
            link => link.is_gone(),
        }
    }

    /// Ends our direction; what was written is still delivered. `WouldBlock`
    /// where there is no room even for the end.
    pub fn shutdown_write(&self) -> io::Result<()> {
        match self {
            Link::Http1(transport) => transport.shutdown_write(),
            Link::Http2(stream) => stream.try_write(&[], true).map(drop),
        }
    }

    /// Makes the end of what was sent so far no orderly one: who reads it must
    /// not take it for the whole.
    pub fn break_off(&self) {
        match self {
            Link::Http1(transport) => _ = transport.set_linger_zero(),
            Link::Http2(stream) => stream.reset(ErrorCode::Cancel),
        }
    }

    /// Closes without telling the client. With a stream of HTTP/2 goes its whole
    /// connection.
    pub fn vanish(&self) {
        match self {
            Link::Http1(transport) => transport.vanish(),
            Link::Http2(stream) => stream.kill_connection(true),
        }
    }

    /// Whether a body that ends with its stream has come whole: all of it was
    /// read. HTTP/1 says that in other ways.
    #[inline]
    pub fn is_ended(&self) -> bool {
        match self {
            Link::Http1(_) => false,
            Link::Http2(stream) => stream.is_ended(),
        }
    }

    /// The trailers behind a body that has ended with its stream, once.
    pub fn trailers(&self) -> Option<Box<Fields>> {
        match self {
            Link::Http1(_) => None,
            Link::Http2(stream) => stream.take_trailers(),
        }
    }

    /// Sends a head behind which nothing is sent at once; `end`: nothing is at
    /// all. Says how many bytes count for it.
    pub async fn send_head(
        &self,
        head: &Message,
        end: bool,
        limit: Option<u32>,
    ) -> (u64, Result<(), WriteFailure>) {
        match self {
            Link::Http1(transport) => {
                let mut bytes = reactor::scratch();
                head.write_http1(&mut bytes);
                let sent = write_all(transport, &bytes, limit).await;
                (bytes.len() as u64, sent)
            }
            Link::Http2(stream) => {
                let sent = stream.send_head(head, end);
                (head.wire_len() as u64, sent.map_err(WriteFailure::Failed))
            }
        }
    }
}

/// Writes data to a stream of HTTP/2, and its end with it. `limit` gives, each
/// time that the peer takes no more, the milliseconds for which it may do so.
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
