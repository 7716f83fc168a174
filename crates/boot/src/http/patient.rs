//! A connection that does not wait for its client for ever, and that says when everything has been
//! given to the system.

use super::body::Fetches;
use super::passing::{Passing, is_holder};
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

/// A connection.
pub(super) struct Patient {
    stream: TcpStream,
    patience: Duration,
    /// Since the client takes nothing.
    waits: Option<Pin<Box<Sleep>>>,
    fetches: Fetches,
    passing: Passing,
}

impl Patient {
    /// A connection to a client that may take nothing for as long as `patience`.
    pub(super) fn new(
        stream: TcpStream,
        patience: Duration,
        (fetches, passing): (Fetches, Passing),
    ) -> Patient {
        Patient {
            stream,
            patience,
            waits: None,
            fetches,
            passing,
        }
    }

    /// Sends the chunk of a file of which this is the place holder.
    fn pass(&mut self, context: &mut Context<'_>, length: usize) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.stream.poll_write_ready(context))?;
            let send = || self.passing.send(&self.stream, length);
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

    /// What a write came to: without progress the time runs.
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
        let waits = { &mut self.waits }.get_or_insert_with(|| Box::pin(sleep(patience)));
        match waits.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncRead for Patient {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Patient {
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
        let own = { pieces.position(|piece| is_holder(piece)) }.unwrap_or(bytes.len());
        let wrote = match bytes.split_at(own) {
            ([], [holder, ..]) => this.pass(context, holder.len()),
            (own, _) => Pin::new(&mut this.stream).poll_write_vectored(context, own),
        };
        this.judge(context, wrote)
    }

    fn is_write_vectored(&self) -> bool {
        // Otherwise pieces would be copied together, and place holders be none any more.
        true
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let flushed = Pin::new(&mut this.stream).poll_flush(context);
        if let Poll::Ready(Ok(())) = flushed {
            this.fetches.complete();
        }
        flushed
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}
