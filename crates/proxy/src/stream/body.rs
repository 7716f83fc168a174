//! Forwards a message body from client to server or from server to client. The body is decoded by
//! the framing of the receiving side and encoded again for the sending side; at most one buffer
//! of it is in memory. Either side may be an HTTP/2 stream, whose frames mark the end of a body.
//! Then the number of bytes received is checked against the length that the head announced, since
//! the other side may have to rely on it.

use super::meter::Counting;
use super::splice;
use crate::compression::{Coded, Encoder, EncoderBroke, Flush};
use http::http1::{BodyLength, Chunk, ChunkHead, ChunkedDecoder, write_last_chunk};
use http::message::Fields;
use model::thread::current_thread_data;
use model::{cache, caching};
use mux::link::{PeerConnection, WriteFailure, write_all, write_data, write_pieces};
use reactor::{self, Buffer, Instant, after, pool_box, with_deadline};
use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

/// Maximum size in bytes of a body that is copied into the buffer of the head, to send both
/// together. Up to this size a copy is cheaper than a second buffer for the kernel.
const COPY_MAX: usize = 8192;

/// Number of chunks whose decoding costs a task one unit of its budget (`reactor::charge_budget`).
const CHUNKS_A_UNIT: usize = 4;
const DECODED_A_UNIT: usize = 256;
/// Number of bytes whose inspection, chunk by chunk, costs one unit of the budget.
const PEEKED_A_UNIT: usize = 16;
/// Number of bytes whose compression costs one unit of the budget.
const ENCODED_A_UNIT: usize = 4;
/// Time for which an encoder waits for the server or the client before it frees its memory.
const PARK_AFTER: Duration = Duration::from_millis(250);

#[derive(Debug)]
pub enum IncomingBody {
    Done,
    /// The number of bytes that are still to come.
    Length(u64),
    Chunked(Box<ChunkedDecoder>),
    UntilClose,
    /// The body ends with the sender's HTTP/2 stream. If the head announced a length: the number
    /// of bytes still to come.
    Stream(Option<u64>),
}

impl IncomingBody {
    pub fn new(from: &PeerConnection, length: BodyLength) -> IncomingBody {
        match length {
            BodyLength::None | BodyLength::Tunnel => IncomingBody::Done,
            BodyLength::Length(bytes) if from.is_http2() => IncomingBody::Stream(Some(bytes)),
            BodyLength::Length(0) => IncomingBody::Done,
            BodyLength::Length(bytes) => IncomingBody::Length(bytes),
            BodyLength::Chunked => IncomingBody::Chunked(Box::default()),
            BodyLength::UntilClose => IncomingBody::UntilClose,
            BodyLength::Stream => IncomingBody::Stream(None),
        }
    }

    pub fn is_done(&self) -> bool {
        matches!(self, IncomingBody::Done)
    }

    /// Returns a copy of the state, from which the body can be sent again as long as the input
    /// buffer still has all that was received since. None for chunks, which are decoded in the
    /// buffer, and for a body that ends with the connection.
    pub fn restart(&self) -> Option<IncomingBody> {
        match self {
            IncomingBody::Done => Some(IncomingBody::Done),
            IncomingBody::Length(left) => Some(IncomingBody::Length(*left)),
            IncomingBody::Stream(left) => Some(IncomingBody::Stream(*left)),
            IncomingBody::Chunked(_) | IncomingBody::UntilClose => None,
        }
    }

    /// Returns whether a request with this body needs chunks in HTTP/1: the length is not known in
    /// advance.
    pub fn needs_chunks(&self) -> bool {
        matches!(self, IncomingBody::Chunked(_) | IncomingBody::Stream(None))
    }

    /// Decodes the beginning of `input` in place, so that body data without framing is at the
    /// front, and returns its length. The bytes after the body are left as they are.
    fn stage(&mut self, input: &mut Buffer) -> Result<Staged, BodyFailure> {
        match self {
            IncomingBody::Done => Ok(Staged {
                data: 0,
                trailers: None,
            }),
            IncomingBody::UntilClose => Ok(Staged {
                data: input.len(),
                trailers: None,
            }),
            IncomingBody::Stream(left) => {
                let data = input.len();
                if let Some(left) = left {
                    // Rejects bytes beyond the announced length, which would look like another
                    // request to an HTTP/1 server.
                    *left = left
                        .checked_sub(data as u64)
                        .ok_or(BodyFailure::Malformed(0))?;
                }
                Ok(Staged {
                    data,
                    trailers: None,
                })
            }
            IncomingBody::Length(left) => {
                let data = usize::try_from(*left)
                    .unwrap_or(usize::MAX)
                    .min(input.len());
                *left -= data as u64;
                if *left == 0 {
                    *self = IncomingBody::Done;
                }
                Ok(Staged {
                    data,
                    trailers: None,
                })
            }
            IncomingBody::Chunked(decoder) => {
                let data = unchunk(decoder, input)?;
                let mut trailers = None;
                if decoder.is_done() {
                    trailers = decoder.trailers().cloned().map(Box::new);
                    *self = IncomingBody::Done;
                }
                Ok(Staged { data, trailers })
            }
        }
    }

    /// Ends the body after the sender ended its stream and all data was decoded. Fails if the body
    /// is incomplete.
    fn end(&mut self) -> Result<(), BodyFailure> {
        match std::mem::replace(self, IncomingBody::Done) {
            IncomingBody::Stream(Some(1..)) => Err(BodyFailure::Malformed(0)),
            _ => Ok(()),
        }
    }

    /// Returns the part of the body that is at the front of a connection's input, without
    /// consuming it.
    pub fn peek(&self, from: &PeerConnection, input: &[u8]) -> Peeked {
        match self {
            IncomingBody::Done => Peeked {
                bytes: Vec::new(),
                whole: true,
            },
            IncomingBody::UntilClose | IncomingBody::Stream(_) => Peeked {
                bytes: input.to_vec(),
                whole: from.is_ended(),
            },
            IncomingBody::Length(left) => {
                let n = usize::try_from(*left)
                    .unwrap_or(usize::MAX)
                    .min(input.len());
                Peeked {
                    bytes: input[..n].to_vec(),
                    whole: n as u64 == *left,
                }
            }
            IncomingBody::Chunked(decoder) => {
                let mut decoder = (**decoder).clone();
                let (mut bytes, mut rest) = (Vec::new(), input);
                reactor::charge_budget(input.len() / PEEKED_A_UNIT);
                // Ignores invalid framing, which is detected again, and reported, when the body is
                // forwarded.
                while let Ok(Chunk::Data(data)) = decoder.next(&mut rest) {
                    bytes.extend_from_slice(data);
                }
                Peeked {
                    bytes,
                    whole: decoder.is_done(),
                }
            }
        }
    }

    /// Discards the rest of the body as far as it has arrived. Returns whether the body is then
    /// complete; false for a body in an HTTP/2 stream.
    pub fn discard(&mut self, input: &mut Buffer) -> bool {
        if matches!(self, IncomingBody::Stream(_)) {
            return false;
        }
        while !self.is_done() && !input.is_empty() {
            match self.stage(input) {
                Ok(staged) => input.consume(staged.data),
                Err(_) => return false,
            }
        }
        self.is_done()
    }
}

/// The part of a body that was decoded for inspection before the body is forwarded.
pub struct Peeked {
    pub bytes: Vec<u8>,
    /// The bytes are the whole body.
    pub whole: bool,
}

struct Staged {
    data: usize,
    trailers: Option<Box<Fields>>,
}

/// Moves the data of all chunks in a buffer to its front, without the framing, followed by the
/// bytes after the body.
fn unchunk(decoder: &mut ChunkedDecoder, input: &mut Buffer) -> Result<usize, BodyFailure> {
    let bytes = input.filled_mut();
    let (mut taken, mut data, mut chunks) = (0, 0, 0);
    loop {
        chunks += decoder.whole_chunks(bytes, &mut taken, &mut data);
        let mut rest = &bytes[taken..];
        let before = rest.len();
        let (length, more) = match decoder.next(&mut rest) {
            Ok(Chunk::Data(piece)) => (piece.len(), true),
            Ok(Chunk::NeedMore | Chunk::End) => (0, false),
            Err(_) => {
                // Leaves the invalid bytes in the buffer, after the decoded ones.
                let left = bytes.len() - taken;
                bytes.copy_within(taken.., data);
                input.truncate(data + left);
                return Err(BodyFailure::Malformed(data));
            }
        };
        taken += before - rest.len();
        bytes.copy_within(taken - length..taken, data);
        data += length;
        if !more {
            break;
        }
        chunks += 1;
    }
    reactor::charge_budget(chunks / CHUNKS_A_UNIT + bytes.len() / DECODED_A_UNIT);
    let left = bytes.len() - taken;
    bytes.copy_within(taken.., data);
    input.truncate(data + left);
    Ok(data)
}

#[derive(Debug)]
pub enum BodyFailure {
    ReadTimeout,
    /// The sender closed the connection or aborted within the body.
    Truncated,
    /// The framing of the body is invalid at this offset of the input.
    Malformed(usize),
    /// The receiver accepted no data until its timeout expired.
    WriteTimeout,
    WriteFailed,
}

impl From<WriteFailure> for BodyFailure {
    fn from(failure: WriteFailure) -> Self {
        match failure {
            WriteFailure::Timeout => BodyFailure::WriteTimeout,
            WriteFailure::Failed(_) => BodyFailure::WriteFailed,
        }
    }
}

/// A copy of the body data that was sent, as long as it fits into a buffer.
pub struct BodyCopy<'k> {
    pub bytes: &'k mut Vec<u8>,
    /// Set to false if the body does not fit or has trailers.
    pub whole: &'k Cell<bool>,
    pub bytes_max: usize,
}

impl BodyCopy<'_> {
    fn keep(&mut self, data: &[u8], has_trailers: bool) {
        if has_trailers || self.bytes.len() + data.len() > self.bytes_max {
            self.whole.set(false);
            *self.bytes = Vec::new();
        }
        if self.whole.get() {
            self.bytes.extend_from_slice(data);
        }
    }
}

impl Encoding<'_> {
    fn feed(&mut self, data: &[u8], flush: Flush) -> Result<Vec<u8>, BodyFailure> {
        reactor::charge_budget(data.len() / ENCODED_A_UNIT);
        self.bytes.given += data.len() as u64;
        let now_ms = current_thread_data().now_ms();
        match self.encoder.feed(data, flush, now_ms) {
            Ok(coded) => {
                self.bytes.made += coded.len() as u64;
                Ok(coded)
            }
            // Fails, because the body cannot be completed in the coding that it began with.
            Err(EncoderBroke) => Err(BodyFailure::Truncated),
        }
    }
}

/// The transfer of one body from a sender to a receiver.
pub struct Copy<'c> {
    pub from: &'c PeerConnection,
    pub input: &'c mut Option<Buffer>,
    pub body: &'c mut IncomingBody,
    pub to: &'c PeerConnection,
    /// The receiver speaks HTTP/1 and gets chunks.
    pub chunked: bool,
    /// Timeout for the sender, milliseconds.
    pub read_ms: Option<u32>,
    /// Timeout for the receiver to accept data, milliseconds.
    pub write_ms: Option<u32>,
    /// Number of body bytes sent, without framing.
    pub bytes: &'c mut u64,
    /// Counts the bytes at once, not at the end of the stream (`option contstats`).
    pub meter: Option<Counting<'c>>,
    /// Updated with the time of the last data sent.
    pub sent_at: Option<&'c Cell<Instant>>,
    /// Keeps a copy of the data sent, to repeat the request.
    pub kept: Option<&'c mut BodyCopy<'c>>,
    pub encoder: Option<Encoding<'c>>,
    /// The cache entry that stores a copy of the body as received.
    pub cache: Option<&'c mut Option<Box<cache::Used>>>,
    pub drops_trailers: bool,
}

/// Waits for a future until the deadline. If it takes long, an idle encoder frees its memory
/// meanwhile.
async fn patient<F: Future>(
    future: F,
    deadline: Option<Instant>,
    encoder: Option<&mut Encoder>,
) -> Option<F::Output> {
    let mut future = pin!(future);
    if let Some(encoder) = encoder {
        let early = reactor::now() + PARK_AFTER;
        if deadline.is_none_or(|at| early < at) {
            if let Ok(output) = with_deadline(Some(early), future.as_mut()).await {
                return Some(output);
            }
            encoder.park();
        }
    }
    with_deadline(deadline, future).await.ok()
}

pub struct Encoding<'c> {
    pub encoder: &'c mut Encoder,
    pub bytes: &'c mut Coded,
}

impl Copy<'_> {
    /// Sends `head` (already sent if the receiver speaks HTTP/2) and then the whole body.
    pub async fn run(&mut self, head: &mut Vec<u8>) -> Result<(), BodyFailure> {
        let mut streaming = true;
        loop {
            let waiting = self.input.as_ref().is_some_and(|input| !input.is_empty());
            if waiting || !head.is_empty() {
                self.send(head).await?;
            }
            if self.body.is_done() {
                return Ok(());
            }
            if streaming && splice::fits(self) {
                streaming = pool_box(splice::run(self)).await?;
                continue;
            }
            let came = self.fill().await?;
            if came == 0 {
                self.body.end()?;
                return self.send_end(head).await;
            }
            streaming = came >= splice::PIECE_MIN;
        }
    }

    /// Sends the head, if it was not sent yet, and all body data received so far, in one write if
    /// possible.
    async fn send(&mut self, head: &mut Vec<u8>) -> Result<(), BodyFailure> {
        let (length, full, trailers) = self.stage()?;
        // Expects more data if the body filled the buffer to its end.
        let more = full && !self.body.is_done();
        let data = self.input.as_ref().map_or(&[][..], Buffer::filled);
        let data = data.get(..length).unwrap_or_default();
        if let Some(kept) = &mut self.kept {
            kept.keep(data, trailers.is_some());
        }
        if let Some(cache) = &mut self.cache {
            caching::piece(cache, data);
        }
        let flush = match self.body.is_done() {
            true => Flush::End,
            // Flushes the compressor if no more data is waiting, so that the receiver gets the data
            // at once.
            false if !full => Flush::All,
            false => Flush::No,
        };
        let sent = match &mut self.encoder {
            None => {
                self.write(head, data, trailers, more).await?;
                let sent = data.len();
                self.take(length);
                sent
            }
            Some(encoding) => {
                let coded = encoding.feed(data, flush)?;
                // Frees the buffer before the write, so that it is not held while the receiver
                // accepts nothing.
                self.take(length);
                self.send_coded(head, coded, trailers, more).await?
            }
        };
        self.count(sent as u64);
        Ok(())
    }

    fn take(&mut self, length: usize) {
        if let Some(input) = self.input.as_mut() {
            input.consume(length);
            if self.encoder.is_some() && input.is_empty() {
                *self.input = None;
            }
        }
    }

    async fn send_coded(
        &mut self,
        head: &mut Vec<u8>,
        coded: Vec<u8>,
        trailers: Option<Box<Fields>>,
        more: bool,
    ) -> Result<usize, BodyFailure> {
        let mut encoder = self.encoder.take();
        let parks = encoder.as_mut().map(|encoding| &mut *encoding.encoder);
        let write = self.write(head, &coded, trailers, more);
        // Needs no deadline here, because the write has the timeout of the receiver.
        let written = patient(write, None, parks).await;
        let written = written.unwrap_or(Err(BodyFailure::WriteTimeout));
        let sent = coded.len();
        if let Some(encoding) = &mut encoder {
            encoding.encoder.recycle(coded);
        }
        self.encoder = encoder;
        written.map(|()| sent)
    }

    /// Writes a piece of the body with the framing for the receiver. The head precedes the first
    /// piece; the end follows the last.
    async fn write(
        &self,
        head: &mut Vec<u8>,
        data: &[u8],
        trailers: Option<Box<Fields>>,
        more: bool,
    ) -> Result<(), BodyFailure> {
        let sent = data.len();
        match self.to {
            PeerConnection::Http1(to) => {
                let mut end = Vec::new();
                if self.chunked {
                    if sent > 0 {
                        head.extend_from_slice(ChunkHead::new(sent as u64).as_bytes());
                        end.extend_from_slice(b"\r\n");
                    }
                    if self.body.is_done() {
                        write_last_chunk(trailers.as_deref(), &mut end);
                    }
                }
                if sent + end.len() <= COPY_MAX {
                    head.extend_from_slice(data);
                    head.extend_from_slice(&end);
                    write_all(to, head, self.write_ms).await?;
                } else {
                    write_pieces(to, [head, data, &end], more, self.write_ms).await?;
                }
                head.clear();
            }
            PeerConnection::Http2(to) => {
                let ends = self.body.is_done();
                write_data(to, data, ends && trailers.is_none(), self.write_ms).await?;
                if let Some(trailers) = trailers {
                    to.send_trailers(&trailers).map_err(WriteFailure::Failed)?;
                }
            }
        }
        Ok(())
    }

    pub(super) fn count(&mut self, sent: u64) {
        *self.bytes += sent;
        if let Some(meter) = &mut self.meter {
            meter.count(sent);
        }
        if let Some(sent_at) = self.sent_at {
            sent_at.set(reactor::now());
        }
    }

    /// Decodes the front of the input as body data. Returns the number of bytes, whether they fill
    /// the buffer to its end, and the trailers if the body is complete.
    fn stage(&mut self) -> Result<(usize, bool, Option<Box<Fields>>), BodyFailure> {
        let Some(input) = self.input.as_mut() else {
            return Ok((0, false, None));
        };
        let full = input.spare_capacity().is_empty();
        let mut staged = self.body.stage(input)?;
        if matches!(self.body, IncomingBody::Stream(_)) && self.from.is_ended() {
            self.body.end()?;
            staged.trailers = self.from.trailers();
        }
        if self.drops_trailers {
            staged.trailers = None;
        }
        Ok((staged.data, full, staged.trailers))
    }

    /// Sends the end of a body that the sender marked separately, after the last data.
    async fn send_end(&mut self, head: &mut Vec<u8>) -> Result<(), BodyFailure> {
        let trailers = self.from.trailers().filter(|_| !self.drops_trailers);
        if let Some(kept) = &mut self.kept {
            kept.keep(&[], trailers.is_some());
        }
        let rest = match &mut self.encoder {
            None => Vec::new(),
            Some(encoding) => encoding.feed(&[], Flush::End)?,
        };
        let sent = rest.len();
        match self.to {
            PeerConnection::Http1(to) => {
                if self.chunked {
                    if sent > 0 {
                        head.extend_from_slice(ChunkHead::new(sent as u64).as_bytes());
                        head.extend_from_slice(&rest);
                        head.extend_from_slice(b"\r\n");
                    }
                    write_last_chunk(trailers.as_deref(), head);
                    write_all(to, head, self.write_ms).await?;
                    head.clear();
                }
            }
            PeerConnection::Http2(to) => {
                write_data(to, &rest, trailers.is_none(), self.write_ms).await?;
                if let Some(trailers) = trailers {
                    to.send_trailers(&trailers).map_err(WriteFailure::Failed)?;
                }
            }
        }
        self.count(sent as u64);
        Ok(())
    }

    /// Reads more input and returns its length. 0 means that the sender has ended, which its
    /// framing permits; the caller compares an announced length with what has arrived.
    async fn fill(&mut self) -> Result<usize, BodyFailure> {
        loop {
            if self.input.as_ref().is_some_and(|input| input.is_empty()) {
                // Frees the buffer, so that an idle transfer holds no memory.
                *self.input = None;
            }
            let (from, to) = (self.from, self.to);
            // Also watches the receiver: a stream that the receiver has reset is not read any
            // longer, however long the sender is silent.
            let readable = poll_fn(|context| match (from.poll_readable(context), to) {
                (Poll::Ready(()), _) => Poll::Ready(Ok(())),
                (Poll::Pending, PeerConnection::Http2(to)) => to.poll_lost(context).map(Err),
                (Poll::Pending, PeerConnection::Http1(_)) => Poll::Pending,
            });
            let deadline = after(self.read_ms);
            let encoder = self.encoder.as_mut().map(|encoding| &mut *encoding.encoder);
            patient(readable, deadline, encoder)
                .await
                .ok_or(BodyFailure::ReadTimeout)?
                .map_err(|()| BodyFailure::WriteFailed)?;
            let input = self.input.get_or_insert_with(Buffer::take);
            match self.from.read_into(input) {
                // Fails if a TLS connection ended without close_notify: an attacker may have cut
                // it, so the body does not count as complete.
                Ok(0)
                    if matches!(
                        self.body,
                        IncomingBody::UntilClose | IncomingBody::Stream(_)
                    ) && !self.from.is_end_unauthenticated() =>
                {
                    return Ok(0);
                }
                Ok(0) => return Err(BodyFailure::Truncated),
                Ok(n) => {
                    reactor::yield_to_ready_tasks(n).await;
                    return Ok(n);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error)
                    if error.kind() == io::ErrorKind::OutOfMemory
                        && input.len() < input.capacity() =>
                {
                    input.compact();
                }
                Err(_) => return Err(BodyFailure::Truncated),
            }
        }
    }
}
