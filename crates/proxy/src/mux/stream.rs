//! What the user of a stream holds of it.

use super::shared::Shared;
use crate::http1::{Fault, Limits, Parsed, RequestFacts};
use crate::message::{Fields, Message};
use crate::reactor::Buffer;
use protocol::http2::ErrorCode;
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll};

/// Why a stream is no more although one of its sides had not ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Gone {
    /// The peer reset it, or we did for an error of the peer's.
    Reset(ErrorCode),
    /// The peer has not looked at it and will not (GOAWAY with a lower last
    /// stream, REFUSED_STREAM, or the connection closed before the request was
    /// written): it can be repeated on another connection whatever its method.
    Refused,
    /// The connection is lost.
    Lost,
}

/// Why no head of an answer came.
#[derive(Debug)]
pub enum HeadFailure {
    /// The stream is gone.
    Gone(Gone),
    /// The head was none; the stream has been reset.
    Fault(Fault),
}

/// One stream of an HTTP/2 connection. Dropping it before both sides have
/// ended resets it.
pub struct MuxStream {
    shared: Rc<Shared>,
    slot: u32,
}

impl MuxStream {
    /// The number of the stream; 0 for one to a server that has sent nothing yet.
    pub fn id(&self) -> u32 {
        todo!()
    }

    /// Ready when a read finds something: data, the end, or a failure.
    pub fn poll_readable(&self, context: &mut Context<'_>) -> Poll<()> {
        todo!()
    }

    /// Waits until a read finds something.
    pub async fn readable(&self) {
        poll_fn(|context| self.poll_readable(context)).await;
    }

    /// Whether a read would find something now.
    pub fn is_readable(&self) -> bool {
        todo!()
    }

    /// Moves data of the body that has come into the room of a buffer: 0 is the
    /// end of the body, `WouldBlock` that none is there, `OutOfMemory` that the
    /// buffer is full, `ConnectionReset` that the stream is [`Self::gone`]. The
    /// peer may send as much again.
    pub fn read_into(&self, buffer: &mut Buffer) -> io::Result<usize> {
        todo!()
    }

    /// Whether the peer has ended its side and all of it was read.
    pub fn is_ended(&self) -> bool {
        todo!()
    }

    /// The trailers of the body, once, after its end.
    pub fn take_trailers(&self) -> Option<Box<Fields>> {
        todo!()
    }

    /// Ready when a write may find room or a failure.
    pub fn poll_writable(&self, context: &mut Context<'_>) -> Poll<()> {
        todo!()
    }

    /// Waits until a write may find room.
    pub async fn writable(&self) {
        poll_fn(|context| self.poll_writable(context)).await;
    }

    /// Sends the head of an answer to a client, interim (1xx) or final. Never
    /// blocks: a stream has few heads. Cannot end with an interim one.
    pub fn send_head(&self, head: &Message, end: bool) -> io::Result<()> {
        todo!()
    }

    /// Sends the head of a request to a server; the stream gets its number now.
    /// `facts` and `limits` are for the answer. `ConnectionRefused` when the
    /// connection takes no more streams: use another one.
    pub fn send_request(
        &self,
        head: &Message,
        (facts, limits): (RequestFacts, Limits),
        end: bool,
    ) -> io::Result<()> {
        todo!()
    }

    /// Sends what fits of a body's data. `end` counts only when all of `data`,
    /// which may be nothing, was taken. `WouldBlock` while the peer's window or
    /// the connection's output is full.
    pub fn try_write(&self, data: &[u8], end: bool) -> io::Result<usize> {
        todo!()
    }

    /// Ends our side with trailers.
    pub fn send_trailers(&self, trailers: &Fields) -> io::Result<()> {
        todo!()
    }

    /// Whether we have ended our side.
    pub fn has_sent_end(&self) -> bool {
        todo!()
    }

    /// Why the stream is no more, if it is. What came before can still be read.
    pub fn gone(&self) -> Option<Gone> {
        todo!()
    }

    /// Whether the peer has reset the stream or the connection is lost.
    pub fn is_gone(&self) -> bool {
        self.gone().is_some()
    }

    /// Ready when the peer has reset the stream or the connection is lost. The
    /// only waiter of its kind; readers and writers can wait besides.
    pub fn poll_gone(&self, context: &mut Context<'_>) -> Poll<()> {
        todo!()
    }

    /// Ends both sides at once.
    pub fn reset(&self, code: ErrorCode) {
        todo!()
    }

    /// The next head of the answer, interim or final, into `into`; what was
    /// there is forgotten. An interim one says so by `Parsed::interim`.
    pub fn poll_head(
        &self,
        context: &mut Context<'_>,
        into: &mut Message,
    ) -> Poll<Result<Parsed, HeadFailure>> {
        todo!()
    }

    /// Waits for the next head of the answer.
    pub async fn head(&self, into: &mut Message) -> Result<Parsed, HeadFailure> {
        poll_fn(|context| self.poll_head(context, into)).await
    }
}
