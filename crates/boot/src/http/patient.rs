//! Wraps the TCP connection of an HTTP client: applies a write timeout, sends file chunks in place
//! of their placeholders, and completes fetches when all data has been given to the system.

use super::body::UnsentContent;
use super::passing::is_holder;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

pub(super) struct TimeoutStream {
    stream: TcpStream,
    patience: Duration,
    /// Timer that runs while the client accepts no data.
    waits: Option<Pin<Box<Sleep>>>,
    unsent: UnsentContent,
}

impl TimeoutStream {
    /// Wraps a connection. `patience`: maximum time for which the client may accept no data.
    pub(super) fn new(
        stream: TcpStream,
        patience: Duration,
        unsent: UnsentContent,
    ) -> TimeoutStream {
        TimeoutStream {
            stream,
            patience,
            waits: None,
            unsent,
        }
    }

    fn pass(&mut self, context: &mut Context<'_>, length: usize) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.stream.poll_write_ready(context))?;
            let send = || self.unsent.chunks.send(&self.stream, length);
            match self.stream.try_io(Interest::WRITABLE, send) {
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                    ) => {}
                sent => return Poll::Ready(sent),
            }
        }
    }

    /// Applies the timeout to the result of a write: the timer runs while nothing is written.
    fn judge(
        &mut self,
        context: &mut Context<'_>,
        wrote: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if wrote.is_ready() {
            self.waits = None;
            return wrote;
        }
        let patience = self.patience;
        let waits = self.waits.get_or_insert_with(|| Box::pin(sleep(patience)));
        match waits.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncRead for TimeoutStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for TimeoutStream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[io::IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let mut pieces = bytes.iter();
        let own = pieces
            .position(|piece| is_holder(piece))
            .unwrap_or(bytes.len());
        let wrote = match bytes.split_at(own) {
            ([], [holder, ..]) => this.pass(context, holder.len()),
            (own, _) => Pin::new(&mut this.stream).poll_write_vectored(context, own),
        };
        this.judge(context, wrote)
    }

    fn is_write_vectored(&self) -> bool {
        // Returns true: otherwise hyper would merge pieces by copying, which would destroy the
        // placeholders.
        true
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let flushed = Pin::new(&mut this.stream).poll_flush(context);
        if let Poll::Ready(Ok(())) = flushed {
            this.unsent.fetches.complete();
        }
        flushed
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}
