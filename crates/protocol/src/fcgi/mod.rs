//! Implements FastCGI 1.0 as a web server speaks it, with one request at a time on a connection:
//! the parameters and the body of a request become records, and the records of the response
//! become HTTP/1.1 ([`Connection`]). So the code for HTTP/1 handles such a connection like any
//! other, and only begins its requests in another way.
//!
//! The response of a CGI program has a head without a status line: `Status` sets the status;
//! without it, `Location` sets 302, otherwise the status is 200. The body ends with the request.
//! Without a length in its head it is sent in chunks, or with its length if it is complete before
//! the head is read.

mod params;
mod response;

pub use params::{Params, TooLong};
pub use response::HEAD_BYTES_MAX;

use response::Response;

const HEADER_BYTES: usize = 8;
const VERSION: u8 = 1;
/// Id of the request in records; a connection carries one request at a time.
const REQUEST_ID: u16 = 1;
/// Maximum content length of a sent record, in bytes.
const CONTENT_MAX: usize = 32 * 1024;
/// Number of unsent bytes from which on no more of a request body is accepted.
const WAITING_MAX: usize = 64 * 1024;
/// Number of bytes of STDERR that are kept for each request; further ones are dropped.
pub const ERRORS_MAX: usize = 8 * 1024;
/// Maximum length of a management record (capabilities, unknown type) in bytes. Such records are
/// ignored; a longer one is an error.
const MANAGEMENT_MAX: usize = 1024;

mod kind {
    pub const BEGIN_REQUEST: u8 = 1;
    pub const END_REQUEST: u8 = 3;
    pub const PARAMS: u8 = 4;
    pub const STDIN: u8 = 5;
    pub const STDOUT: u8 = 6;
    pub const STDERR: u8 = 7;
    pub const GET_VALUES_RESULT: u8 = 10;
    pub const UNKNOWN_TYPE: u8 = 11;
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Length {
    None,
    Bytes(u64),
    Chunked,
}

#[derive(Clone, Copy, Debug)]
pub struct FcgiRequest<'r> {
    pub params: &'r Params,
    pub length: Length,
    /// The request is HEAD, whose response has no body.
    pub head: bool,
    /// The application should keep the connection open.
    pub keep: bool,
    /// The value of `Date` in a response that has none.
    pub date: &'r [u8],
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FcgiError {
    /// A record has another version, an unexpected type or request id, or an invalid length.
    #[error("a malformed FastCGI record")]
    Record,
    /// The head of a response is longer than [`HEAD_BYTES_MAX`], or is invalid.
    #[error("a malformed head of a FastCGI response")]
    Head,
    /// The application refused the request (overloaded, or not its role).
    #[error("the FastCGI application refused the request")]
    Refused,
    /// The response ended before its head was complete, or before its announced length.
    #[error("the FastCGI response ended early")]
    Short,
    #[error("a malformed chunk")]
    Chunk,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stdin {
    Done,
    Bytes(u64),
    Chunks(Chunks),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Chunks {
    /// Reading the size of a chunk: its value so far, and whether its digits have ended.
    Size(u64, bool),
    Data(u64),
    /// After the data of a chunk: the next byte of CR LF.
    DataEnd(u8),
    /// In the lines after the last chunk: number of bytes of the current line.
    Trailer(u64),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Incoming {
    Header,
    Content {
        kind: u8,
        left: usize,
        padding: usize,
    },
    Padding(usize),
}

/// A connection to an application, with one request at a time. No other request may begin once
/// [`Connection::is_spent`] is true.
#[derive(Debug)]
pub struct Connection {
    out: Vec<u8>,
    sent: usize,
    stdin: Stdin,
    incoming: Incoming,
    /// Bytes of a record header, or of content that must arrive completely before it is parsed.
    part: Vec<u8>,
    response: Response,
    errors: Vec<u8>,
    busy: bool,
    keep: bool,
    spent: bool,
    fault: Option<FcgiError>,
}

impl Default for Connection {
    fn default() -> Self {
        Connection {
            out: Vec::new(),
            sent: 0,
            stdin: Stdin::Done,
            incoming: Incoming::Header,
            part: Vec::new(),
            response: Response::default(),
            errors: Vec::new(),
            busy: false,
            keep: true,
            spent: false,
            fault: None,
        }
    }
}

fn header(kind: u8, length: usize, out: &mut Vec<u8>) {
    let length = u16::try_from(length).unwrap_or(u16::MAX);
    let [id_high, id_low] = REQUEST_ID.to_be_bytes();
    let [high, low] = length.to_be_bytes();
    out.extend_from_slice(&[VERSION, kind, id_high, id_low, high, low, 0, 0]);
}

impl Connection {
    /// Begins a request. Its records are then available in [`Connection::outgoing`].
    pub fn begin(&mut self, request: &FcgiRequest<'_>) {
        let keep = u8::from(request.keep);
        header(kind::BEGIN_REQUEST, HEADER_BYTES, &mut self.out);
        // BEGIN_REQUEST: role 1 (responder), and the flag that keeps the connection open.
        self.out.extend_from_slice(&[0, 1, keep, 0, 0, 0, 0, 0]);
        for content in request.params.records() {
            header(kind::PARAMS, content.len(), &mut self.out);
            self.out.extend_from_slice(content);
        }
        header(kind::PARAMS, 0, &mut self.out);
        self.stdin = match request.length {
            Length::None | Length::Bytes(0) => Stdin::Done,
            Length::Bytes(bytes) => Stdin::Bytes(bytes),
            Length::Chunked => Stdin::Chunks(Chunks::Size(0, false)),
        };
        if self.stdin == Stdin::Done {
            header(kind::STDIN, 0, &mut self.out);
        }
        (self.busy, self.keep) = (true, request.keep);
        self.errors.clear();
        self.response
            .begin(request.head, request.keep, request.date);
    }

    pub fn outgoing(&self) -> &[u8] {
        self.out.get(self.sent..).unwrap_or_default()
    }

    /// Removes `bytes` sent bytes from the front of the output.
    pub fn sent(&mut self, bytes: usize) {
        self.sent += bytes;
        if self.sent >= self.out.len() {
            self.sent = 0;
            self.out.clear();
            if self.out.capacity() > 2 * WAITING_MAX {
                self.out = Vec::new();
            }
        }
    }

    /// Accepts bytes of the request's body; returns their number, 0 while too many wait to be sent.
    ///
    /// # Errors
    /// The body has invalid chunks, or an earlier call returned an error.
    pub fn write(&mut self, data: &[u8]) -> Result<usize, FcgiError> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        let mut taken = 0;
        while taken < data.len() && self.outgoing().len() < WAITING_MAX {
            let rest = &data[taken..];
            taken += match self.stdin {
                // Drops the bytes: the body is complete, or the application has ended the response
                // early.
                Stdin::Done => rest.len(),
                Stdin::Bytes(left) => {
                    let count = self.content(rest, left);
                    self.stdin = Stdin::Bytes(left - count as u64);
                    if left == count as u64 {
                        self.end_body();
                    }
                    count
                }
                Stdin::Chunks(state) => {
                    let (count, next) = self.chunk(state, rest).inspect_err(|fault| {
                        self.fault = Some(*fault);
                    })?;
                    if let Some(next) = next {
                        self.stdin = Stdin::Chunks(next);
                    } else {
                        self.end_body();
                    }
                    count
                }
            };
        }
        Ok(taken)
    }

    fn end_body(&mut self) {
        self.stdin = Stdin::Done;
        header(kind::STDIN, 0, &mut self.out);
    }

    fn content(&mut self, data: &[u8], left: u64) -> usize {
        let left = usize::try_from(left).unwrap_or(usize::MAX);
        let count = data.len().min(left).min(CONTENT_MAX);
        if count > 0 {
            header(kind::STDIN, count, &mut self.out);
            self.out.extend_from_slice(&data[..count]);
        }
        count
    }

    /// Handles bytes of a chunked body; returns their number and the next state. None: the body has
    /// ended.
    fn chunk(&mut self, state: Chunks, data: &[u8]) -> Result<(usize, Option<Chunks>), FcgiError> {
        let first = data.first().copied().unwrap_or_default();
        Ok(match state {
            Chunks::Size(size, over) => {
                let next = match (first, over) {
                    (b'\n', _) if size == 0 => Chunks::Trailer(0),
                    (b'\n', _) => Chunks::Data(size),
                    (b'\r' | b';' | b' ' | b'\t', false) => Chunks::Size(size, true),
                    (_, true) => Chunks::Size(size, true),
                    (digit, false) => {
                        let digit = char::from(digit).to_digit(16).ok_or(FcgiError::Chunk)?;
                        let size = size.checked_mul(16).ok_or(FcgiError::Chunk)?;
                        Chunks::Size(size + u64::from(digit), false)
                    }
                };
                (1, Some(next))
            }
            Chunks::Data(left) => {
                let count = self.content(data, left);
                let left = left - count as u64;
                let next = match left {
                    0 => Chunks::DataEnd(0),
                    left => Chunks::Data(left),
                };
                (count, Some(next))
            }
            Chunks::DataEnd(at) => match (at, first) {
                (0, b'\r') => (1, Some(Chunks::DataEnd(1))),
                (1, b'\n') => (1, Some(Chunks::Size(0, false))),
                _ => return Err(FcgiError::Chunk),
            },
            // Skips trailers, which FastCGI cannot carry.
            Chunks::Trailer(bytes) => match first {
                b'\n' if bytes == 0 => (1, None),
                b'\n' => (1, Some(Chunks::Trailer(0))),
                b'\r' => (1, Some(Chunks::Trailer(bytes))),
                _ => (1, Some(Chunks::Trailer(bytes + 1))),
            },
        })
    }

    /// Parses bytes of the connection. Read the response before the next call, so that no more than
    /// one read's worth is buffered.
    ///
    /// # Errors
    /// The bytes are not records of a valid response, or the application refused the request. The
    /// connection is unusable then.
    pub fn receive(&mut self, mut bytes: &[u8]) -> Result<(), FcgiError> {
        while !bytes.is_empty() {
            let taken = self.receive_some(bytes).inspect_err(|fault| {
                (self.fault, self.spent) = (Some(*fault), true);
            })?;
            bytes = bytes.get(taken..).unwrap_or_default();
        }
        Ok(())
    }

    fn receive_some(&mut self, bytes: &[u8]) -> Result<usize, FcgiError> {
        match self.incoming {
            Incoming::Header => {
                let count = bytes.len().min(HEADER_BYTES - self.part.len());
                self.part.extend_from_slice(&bytes[..count]);
                if self.part.len() == HEADER_BYTES {
                    self.begin_record()?;
                }
                Ok(count)
            }
            Incoming::Content {
                kind,
                left,
                padding,
            } => {
                let count = bytes.len().min(left);
                self.take(kind, &bytes[..count])?;
                self.go_on(kind, left - count, padding)?;
                Ok(count)
            }
            Incoming::Padding(left) => {
                let count = bytes.len().min(left);
                self.incoming = match left - count {
                    0 => Incoming::Header,
                    left => Incoming::Padding(left),
                };
                Ok(count)
            }
        }
    }

    fn begin_record(&mut self) -> Result<(), FcgiError> {
        let header: [u8; HEADER_BYTES] = self.part[..].try_into().map_err(|_| FcgiError::Record)?;
        self.part.clear();
        let [version, kind, id_high, id_low, high, low, padding, _] = header;
        let id = u16::from_be_bytes([id_high, id_low]);
        let length = usize::from(u16::from_be_bytes([high, low]));
        let is_own = match kind {
            kind::STDOUT | kind::STDERR => self.busy && id == REQUEST_ID,
            kind::END_REQUEST => self.busy && id == REQUEST_ID && length == HEADER_BYTES,
            kind::GET_VALUES_RESULT | kind::UNKNOWN_TYPE => id == 0 && length <= MANAGEMENT_MAX,
            _ => false,
        };
        if version != VERSION || !is_own {
            return Err(FcgiError::Record);
        }
        self.go_on(kind, length, padding.into())
    }

    fn go_on(&mut self, kind: u8, left: usize, padding: usize) -> Result<(), FcgiError> {
        self.incoming = match (left, padding) {
            (0, 0) => Incoming::Header,
            (0, padding) => Incoming::Padding(padding),
            (left, padding) => Incoming::Content {
                kind,
                left,
                padding,
            },
        };
        match (left, kind) {
            (0, kind::END_REQUEST) => self.end_request(),
            _ => Ok(()),
        }
    }

    fn take(&mut self, kind: u8, content: &[u8]) -> Result<(), FcgiError> {
        match kind {
            kind::STDOUT => self.response.take(content),
            kind::STDERR => {
                let room = ERRORS_MAX.saturating_sub(self.errors.len());
                let kept = content.get(..room.min(content.len()));
                self.errors.extend_from_slice(kept.unwrap_or_default());
                Ok(())
            }
            kind::END_REQUEST => {
                self.part.extend_from_slice(content);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn end_request(&mut self) -> Result<(), FcgiError> {
        // Four bytes with the exit status of the application, then the status of the protocol.
        let status = self.part.get(4).copied();
        self.part.clear();
        if status != Some(0) {
            return Err(FcgiError::Refused);
        }
        // Allows no further request if the connection must close, or if a part of the request's
        // body is unsent, which would be taken for the next request.
        self.spent |= !self.keep || self.stdin != Stdin::Done;
        self.stdin = Stdin::Done;
        self.busy = false;
        self.response.end()?;
        self.spent |= self.response.is_surplus();
        Ok(())
    }

    /// Reads bytes of the response as HTTP/1.1; returns their number, 0 if none are available.
    pub fn read(&mut self, into: &mut [u8]) -> usize {
        self.response.read(into)
    }

    pub fn is_readable(&self) -> bool {
        self.response.waiting() > 0
    }

    pub fn is_spent(&self) -> bool {
        self.spent || self.fault.is_some()
    }

    pub fn fault(&self) -> Option<FcgiError> {
        self.fault
    }

    /// Returns and clears the STDERR of the request, at most [`ERRORS_MAX`] bytes.
    pub fn take_errors(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.errors)
    }
}

#[cfg(test)]
mod tests;
