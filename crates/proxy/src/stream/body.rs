//! Moving a message's body from one side to the other: decoded by its framing,
//! encoded again in our own form, never buffered beyond one buffer.

use super::session::after;
use super::write::{WriteFailure, write_all, write_both};
use crate::http1::{BodyLength, ChunkedDecoder, chunk_head, last_chunk};
use crate::message::Fields;
use crate::reactor::{Buffer, Socket, with_deadline};
use std::io;

/// A body of at most so many bytes is copied behind its head and sent with it:
/// cheaper than a second piece for the kernel to gather.
const COPY_MAX: usize = 8192;

/// A body that is being received.
#[derive(Debug)]
pub enum Body {
    /// Nothing more comes.
    Done,
    /// So many bytes.
    Length(u64),
    /// In chunks.
    Chunked(Box<ChunkedDecoder>),
    /// Until the sender closes.
    UntilClose,
}

impl Body {
    /// A body that begins.
    pub fn new(length: BodyLength) -> Body {
        match length {
            BodyLength::None | BodyLength::Length(0) => Body::Done,
            BodyLength::Length(bytes) => Body::Length(bytes),
            BodyLength::Chunked => Body::Chunked(Box::default()),
            BodyLength::UntilClose => Body::UntilClose,
        }
    }

    /// Whether all of it came.
    pub fn is_done(&self) -> bool {
        matches!(self, Body::Done)
    }

    /// What the front of `input` holds: bytes of framing to skip, then bytes of
    /// the body. Zero of both: more input is needed, or it is done.
    fn next(&mut self, input: &[u8]) -> Result<Piece, BodyFailure> {
        match self {
            Body::Done => Ok(Piece { skip: 0, data: 0, trailers: None }),
            Body::UntilClose => Ok(Piece { skip: 0, data: input.len(), trailers: None }),
            Body::Length(left) => {
                let data = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
                *left -= data as u64;
                if *left == 0 {
                    *self = Body::Done;
                }
                Ok(Piece { skip: 0, data, trailers: None })
            }
            Body::Chunked(decoder) => {
                let piece = decoder.next(input).map_err(|_| BodyFailure::Malformed)?;
                let trailers = piece.done.then(|| decoder.take_trailers());
                if piece.done {
                    *self = Body::Done;
                }
                Ok(Piece { skip: piece.skip, data: piece.data, trailers })
            }
        }
    }
}

struct Piece {
    skip: usize,
    data: usize,
    trailers: Option<Fields>,
}

/// Why a body did not arrive whole.
#[derive(Debug)]
pub enum BodyFailure {
    /// The sender was silent for too long.
    ReadTimeout,
    /// The sender closed or broke off.
    Truncated,
    /// The sender's framing is wrong.
    Malformed,
    /// The receiver took nothing for too long.
    WriteTimeout,
    /// The receiver's connection failed.
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

/// One body on its way.
pub struct Copy<'c> {
    /// The sender.
    pub from: &'c Socket,
    /// What came from it and was not used.
    pub input: &'c mut Option<Buffer>,
    /// What is still to come.
    pub body: &'c mut Body,
    /// The receiver.
    pub to: &'c Socket,
    /// The receiver gets chunks.
    pub chunked: bool,
    /// How long the sender may be silent, milliseconds.
    pub read_ms: Option<u32>,
    /// How long the receiver may take nothing, milliseconds.
    pub write_ms: Option<u32>,
    /// Bytes of the body that were sent, framing not counted.
    pub bytes: u64,
}

impl Copy<'_> {
    /// Sends `head` and then the whole body.
    pub async fn run(&mut self, head: &mut Vec<u8>) -> Result<(), BodyFailure> {
        let mut head = Some(head);
        loop {
            let mut moved = false;
            if let Some(input) = self.input.as_mut().filter(|i| !i.is_empty()) {
                let piece = self.body.next(input.filled())?;
                input.consume(piece.skip);
                moved = piece.skip + piece.data > 0;
                let data = &input.filled()[..piece.data];
                send(self.to, &mut head, data, self.chunked, self.write_ms).await?;
                input.consume(piece.data);
                self.bytes += piece.data as u64;
                if let Some(trailers) = piece.trailers.filter(|_| self.chunked) {
                    let mut end = Vec::new();
                    last_chunk(&trailers, &mut end);
                    write_all(self.to, &end, self.write_ms).await?;
                    return Ok(());
                }
            } else if let Some(head) = head.take() {
                write_all(self.to, head, self.write_ms).await?;
            }
            if self.body.is_done() {
                return Ok(());
            }
            if !moved && !self.fill().await? {
                *self.body = Body::Done;
                if self.chunked {
                    write_all(self.to, b"0\r\n\r\n", self.write_ms).await?;
                }
                return Ok(());
            }
        }
    }

    /// Reads more. False: the sender ended, where that is the end of the body.
    async fn fill(&mut self) -> Result<bool, BodyFailure> {
        if self.input.as_ref().is_some_and(|input| input.is_empty()) {
            // Nothing is held while waiting.
            *self.input = None;
        }
        loop {
            let readable = self.from.readable();
            with_deadline(after(self.read_ms), readable).await.map_err(|_| BodyFailure::ReadTimeout)?;
            let input = self.input.get_or_insert_with(Buffer::take);
            match input.read_from(self.from) {
                Ok(0) if matches!(self.body, Body::UntilClose) => return Ok(false),
                Ok(0) => return Err(BodyFailure::Truncated),
                Ok(_) => return Ok(true),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // A line of framing that is longer than the buffer.
                Err(error) if error.kind() == io::ErrorKind::OutOfMemory => {
                    if input.filled().len() == input.capacity() {
                        return Err(BodyFailure::Malformed);
                    }
                    input.compact();
                }
                Err(_) => return Err(BodyFailure::Truncated),
            }
        }
    }
}

/// Sends a piece, behind the head if that is still to be sent.
async fn send(
    to: &Socket,
    head: &mut Option<&mut Vec<u8>>,
    data: &[u8],
    chunked: bool,
    write_ms: Option<u32>,
) -> Result<(), BodyFailure> {
    let first = head.take();
    if data.is_empty() {
        if let Some(head) = first {
            write_all(to, head, write_ms).await?;
        }
        return Ok(());
    }
    if !chunked {
        return match first {
            Some(head) if data.len() <= COPY_MAX => {
                head.extend_from_slice(data);
                Ok(write_all(to, head, write_ms).await?)
            }
            Some(head) => Ok(write_both(to, head, data, write_ms).await?),
            None => Ok(write_all(to, data, write_ms).await?),
        };
    }
    let mut front = first.map(std::mem::take).unwrap_or_default();
    chunk_head(data.len() as u64, &mut front);
    if data.len() <= COPY_MAX {
        front.extend_from_slice(data);
        front.extend_from_slice(b"\r\n");
        return Ok(write_all(to, &front, write_ms).await?);
    }
    write_both(to, &front, data, write_ms).await?;
    Ok(write_all(to, b"\r\n", write_ms).await?)
}
