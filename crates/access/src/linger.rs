//! Closes a connection only after its unread input was read and discarded, at most 16 MiB within
//! two seconds (lingering close): closing with unread input would cause a reset, which can discard
//! the last response.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// Time for which input is discarded after the shutdown, until the client closes the connection.
const LIMIT: Duration = Duration::from_secs(2);
const BYTES_MAX: usize = 16 << 20;
const READ_BYTES: usize = 4 << 10;

/// Connection that is closed only after its input was read and discarded.
#[derive(Debug)]
pub struct Linger<S> {
    stream: S,
    /// Set at the shutdown: the end of the time in which input is discarded, and the number of
    /// bytes that may still be discarded.
    ends: Option<(Pin<Box<Sleep>>, usize)>,
}

impl<S> Linger<S> {
    pub fn new(stream: S) -> Linger<S> {
        Linger { stream, ends: None }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Linger<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(context, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Linger<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Linger { stream, ends } = self.get_mut();
        if ends.is_none() {
            ready!(Pin::new(&mut *stream).poll_shutdown(context))?;
        }
        let (limit, dropped) = ends.get_or_insert_with(|| (Box::pin(sleep(LIMIT)), 0));
        let mut bytes = [0; READ_BYTES];
        while *dropped < BYTES_MAX && limit.as_mut().poll(context).is_pending() {
            let mut buffer = ReadBuf::new(&mut bytes);
            match ready!(Pin::new(&mut *stream).poll_read(context, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => *dropped += buffer.filled().len(),
                // Stops: the client has closed, or the connection broke.
                Ok(()) | Err(_) => break,
            }
        }
        Poll::Ready(Ok(()))
    }
}
