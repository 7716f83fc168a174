//! Decodes chunked bodies, in any pieces and without copying the data, and encodes the heads of
//! chunks.
//!
//! The decoder is stricter than the parser of message heads: no bare line feed, no folding in
//! trailers. Extensions are dropped, because the proxy always writes its own chunks.

use super::fault::{FaultKind, HttpParseError};
use super::head;
use super::head::HeadLine;
use crate::message::Fields;

/// Maximum length of a chunk size line including extensions, bytes.
const CHUNK_LINE_MAX: usize = 1024;
const TRAILER_BYTES_MAX: usize = 8192;
const TRAILER_LINES_MAX: usize = 100;
/// Maximum length of a body, bytes; the same as for Content-Length.
const BODY_BYTES_MAX: u64 = i64::MAX as u64;

/// The next item of the body.
#[derive(PartialEq, Eq, Debug)]
pub enum Chunk<'a> {
    /// Data of the body, never empty.
    Data(&'a [u8]),
    NeedMore,
    /// The body has ended. The rest of the input does not belong to it.
    End,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum ChunkState {
    SizeStart,
    Size,
    SizeBlank,
    Extension,
    /// In a quoted string of an extension, which a line end must not split.
    Quoted,
    Escaped,
    /// Before the LF of a size line.
    SizeEnd,
    Data,
    DataCr,
    DataLf,
    Trailers,
    Done,
}

/// Decoder of one chunked body.
#[derive(Clone, Debug)]
pub struct ChunkedDecoder {
    state: ChunkState,
    /// Size of the current chunk while its size line is read, then the number of its bytes that
    /// are still to come.
    remaining: u64,
    line_bytes: u32,
    consumed: u64,
    body: u64,
    trailers: Option<Box<Trailers>>,
}

#[derive(Clone, Debug, Default)]
struct Trailers {
    line: Vec<u8>,
    bytes: usize,
    lines: usize,
    fields: Fields,
}

impl Default for ChunkedDecoder {
    fn default() -> Self {
        ChunkedDecoder::new()
    }
}

impl ChunkedDecoder {
    pub fn new() -> Self {
        ChunkedDecoder {
            state: ChunkState::SizeStart,
            remaining: 0,
            line_bytes: 0,
            consumed: 0,
            body: 0,
            trailers: None,
        }
    }

    /// Consumes the next item from the front of the input. After a fault the rest of the body
    /// cannot be read.
    ///
    /// # Errors
    /// The chunks are malformed (`ChunkSize`, `ChunkExtension`, `ChunkLineTooLong`, `ChunkEnd`,
    /// `BareLineFeed`) or announce too many bytes in total (`BodyTooLong`). The trailers are too
    /// long (`TrailersTooLong`), or a trailer is malformed (`BareLineFeed`, `ControlByte`,
    /// `ColonMissing`, `NameMissing`, `NameByte`).
    pub fn next<'a>(&mut self, input: &mut &'a [u8]) -> Result<Chunk<'a>, HttpParseError> {
        loop {
            match self.state {
                ChunkState::Done => return Ok(Chunk::End),
                ChunkState::Data if self.remaining == 0 => self.state = ChunkState::DataCr,
                ChunkState::Data => {
                    if input.is_empty() {
                        return Ok(Chunk::NeedMore);
                    }
                    let n =
                        usize::try_from(self.remaining).map_or(input.len(), |l| l.min(input.len()));
                    let (data, rest) = input.split_at(n);
                    *input = rest;
                    self.remaining -= n as u64;
                    self.consumed += n as u64;
                    return Ok(Chunk::Data(data));
                }
                ChunkState::Trailers => {
                    if !self.trailer(input)? {
                        return Ok(Chunk::NeedMore);
                    }
                }
                _ => {
                    let Some((byte, rest)) = input.split_first() else {
                        return Ok(Chunk::NeedMore);
                    };
                    self.step(*byte)?;
                    *input = rest;
                    self.consumed += 1;
                }
            }
        }
    }

    /// Decodes chunks that are complete in `bytes` from `*taken` on and have the usual notation.
    /// Their data is moved together after the `*data` bytes at the front. Returns the number of
    /// chunks. All other chunks are left to [`ChunkedDecoder::next`].
    pub fn whole_chunks(&mut self, bytes: &mut [u8], taken: &mut usize, data: &mut usize) -> usize {
        let (begin, mut count) = (*taken, 0);
        self.skip_to_size_line(bytes, taken);
        if self.state != ChunkState::SizeStart {
            self.consumed += (*taken - begin) as u64;
            return 0;
        }
        while let Some(&[b'1', b'\r', b'\n', byte, b'\r', b'\n']) = bytes.get(*taken..*taken + 6) {
            bytes[*data] = byte;
            self.body = self.body.saturating_add(1);
            *data += 1;
            *taken += 6;
            count += 1;
        }
        while let Some((line, size)) = usual_size(bytes.get(*taken..).unwrap_or_default()) {
            let from = *taken + line;
            let end = from + size;
            let whole = bytes.get(end..end + 2) == Some(b"\r\n");
            let body = self.body + size as u64;
            if !whole || body > BODY_BYTES_MAX {
                break;
            }
            bytes.copy_within(from..end, *data);
            self.body = body;
            *data += size;
            *taken = end + 2;
            count += 1;
        }
        self.consumed += (*taken - begin) as u64;
        count
    }

    fn skip_to_size_line(&mut self, bytes: &[u8], taken: &mut usize) {
        let rest = bytes.get(*taken..).unwrap_or_default();
        let line_end = match self.state {
            ChunkState::Data if self.remaining == 0 => &b"\r\n"[..],
            ChunkState::DataCr => b"\r\n",
            ChunkState::DataLf => b"\n",
            _ => return,
        };
        if rest.starts_with(line_end) {
            *taken += line_end.len();
            self.state = ChunkState::SizeStart;
        }
    }

    pub fn is_done(&self) -> bool {
        self.state == ChunkState::Done
    }

    /// Returns the number of body bytes announced so far.
    pub fn body_bytes(&self) -> u64 {
        self.body
    }

    /// Returns the trailer fields, once [`Chunk::End`] was returned. Fields that would frame or
    /// route a message are dropped.
    pub fn trailers(&self) -> Option<&Fields> {
        self.trailers
            .as_deref()
            .map(|t| &t.fields)
            .filter(|f| !f.is_empty())
    }

    fn fault<T>(&self, kind: FaultKind) -> Result<T, HttpParseError> {
        Err(HttpParseError {
            kind,
            at: self.consumed,
        })
    }

    fn step(&mut self, byte: u8) -> Result<(), HttpParseError> {
        match self.state {
            ChunkState::DataCr if byte == b'\r' => self.state = ChunkState::DataLf,
            ChunkState::DataCr if byte == b'\n' => return self.fault(FaultKind::BareLineFeed),
            ChunkState::DataLf if byte == b'\n' => self.state = ChunkState::SizeStart,
            ChunkState::DataCr | ChunkState::DataLf => return self.fault(FaultKind::ChunkEnd),
            ChunkState::SizeEnd if byte == b'\n' => self.chunk_begins()?,
            ChunkState::SizeEnd => return self.fault(FaultKind::ChunkExtension),
            _ => self.size_line(byte)?,
        }
        Ok(())
    }

    fn size_line(&mut self, byte: u8) -> Result<(), HttpParseError> {
        self.line_bytes += 1;
        if self.line_bytes as usize > CHUNK_LINE_MAX {
            return self.fault(FaultKind::ChunkLineTooLong);
        }
        if byte == b'\n' {
            return self.fault(FaultKind::BareLineFeed);
        }
        let digit = (byte as char).to_digit(16).map(u64::from);
        match (self.state, byte, digit) {
            (ChunkState::SizeStart, _, Some(digit)) => {
                self.remaining = digit;
                self.state = ChunkState::Size;
            }
            (ChunkState::Size, _, Some(digit)) => {
                if self.remaining > BODY_BYTES_MAX >> 4 {
                    return self.fault(FaultKind::BodyTooLong);
                }
                self.remaining = self.remaining << 4 | digit;
            }
            (ChunkState::SizeStart, _, None) => return self.fault(FaultKind::ChunkSize),
            (ChunkState::Extension | ChunkState::Quoted | ChunkState::Escaped, ..) => {
                self.extension(byte)?
            }
            (_, b'\r', _) => self.state = ChunkState::SizeEnd,
            (_, b';', _) => self.state = ChunkState::Extension,
            (_, b' ' | b'\t', _) => self.state = ChunkState::SizeBlank,
            _ => return self.fault(FaultKind::ChunkSize),
        }
        Ok(())
    }

    fn extension(&mut self, byte: u8) -> Result<(), HttpParseError> {
        self.state = match (self.state, byte) {
            (ChunkState::Extension, b'\r') => ChunkState::SizeEnd,
            (_, 0..=8 | 10..=31 | 0x7f) => return self.fault(FaultKind::ChunkExtension),
            (ChunkState::Extension, b'"') | (ChunkState::Escaped, _) => ChunkState::Quoted,
            (ChunkState::Quoted, b'"') => ChunkState::Extension,
            (ChunkState::Quoted, b'\\') => ChunkState::Escaped,
            (state, _) => state,
        };
        Ok(())
    }

    fn chunk_begins(&mut self) -> Result<(), HttpParseError> {
        self.line_bytes = 0;
        if self.remaining == 0 {
            self.state = ChunkState::Trailers;
            return Ok(());
        }
        self.body = match self.body.checked_add(self.remaining) {
            Some(sum) if sum <= BODY_BYTES_MAX => sum,
            _ => return self.fault(FaultKind::BodyTooLong),
        };
        self.state = ChunkState::Data;
        Ok(())
    }

    /// Consumes input up to the end of a trailer line. Returns false if the input ends before.
    fn trailer(&mut self, input: &mut &[u8]) -> Result<bool, HttpParseError> {
        // Recognizes the usual end without trailers, which needs no memory.
        if self.trailers.is_none() {
            if let [b'\r', b'\n', rest @ ..] = *input {
                *input = rest;
                self.consumed += 2;
                self.state = ChunkState::Done;
                return Ok(true);
            }
            if input.is_empty() {
                return Ok(false);
            }
        }
        let mut trailers = self.trailers.take().unwrap_or_default();
        let result = self.trailer_line(&mut trailers, input);
        self.trailers = Some(trailers);
        result
    }

    fn trailer_line(
        &mut self,
        t: &mut Trailers,
        input: &mut &[u8],
    ) -> Result<bool, HttpParseError> {
        let end = memchr::memchr(b'\n', input);
        let (part, rest) = input.split_at(end.map_or(input.len(), |e| e + 1));
        t.bytes += part.len();
        if t.bytes > TRAILER_BYTES_MAX {
            return self.fault(FaultKind::TrailersTooLong);
        }
        let line_at = self.consumed - t.line.len() as u64;
        t.line.extend_from_slice(part);
        *input = rest;
        self.consumed += part.len() as u64;
        if end.is_none() {
            return Ok(false);
        }
        let Some(line) = t.line.strip_suffix(b"\r\n") else {
            return Err(HttpParseError {
                kind: FaultKind::BareLineFeed,
                at: self.consumed - 1,
            });
        };
        if line.is_empty() {
            self.state = ChunkState::Done;
            return Ok(true);
        }
        t.lines += 1;
        if t.lines > TRAILER_LINES_MAX {
            return self.fault(FaultKind::TrailersTooLong);
        }
        let at = |fault: HttpParseError| HttpParseError {
            at: line_at + fault.at,
            ..fault
        };
        if let Some(odd) = memchr::memchr2(0, b'\r', line) {
            return Err(at(HttpParseError::new(FaultKind::ControlByte, odd)));
        }
        let line = HeadLine {
            bytes: line,
            whole: &t.line,
            at: 0,
        };
        let (name, value) = head::split(line, false).map_err(at)?;
        if !is_forbidden_trailer(name) {
            t.fields.push_checked(name, value);
        }
        t.line.clear();
        Ok(true)
    }
}

/// Returns the length of a size line and the size in it, if the line consists of few digits and the
/// size is not 0.
#[inline]
fn usual_size(input: &[u8]) -> Option<(usize, usize)> {
    /// Maximum length of a size with the CR after it, bytes: sufficient for chunks below 256 MiB.
    const DIGITS_MAX: usize = 8;
    let mut size = 0;
    for (at, byte) in input.iter().take(DIGITS_MAX).enumerate() {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            b'A'..=b'F' => byte - b'A' + 10,
            b'\r' if size > 0 && input.get(at + 1) == Some(&b'\n') => return Some((at + 2, size)),
            _ => return None,
        };
        size = size << 4 | usize::from(digit);
    }
    None
}

/// Returns whether a trailer would change the framing, routing, sender or type of the message. A
/// recipient that merges trailers into the head must not find such fields.
pub(crate) fn is_forbidden_trailer(name: &[u8]) -> bool {
    const NAMES: &[&[u8]] = &[
        b"authorization",
        b"cache-control",
        b"connection",
        b"content-encoding",
        b"content-length",
        b"content-range",
        b"content-type",
        b"cookie",
        b"expect",
        b"host",
        b"keep-alive",
        b"max-forwards",
        b"proxy-authorization",
        b"proxy-connection",
        b"range",
        b"set-cookie",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    ];
    NAMES.iter().any(|n| name.eq_ignore_ascii_case(n))
}

/// Size line of a chunk, on the stack. The data is followed by `\r\n`.
#[derive(Clone, Copy, Debug)]
pub struct ChunkHead {
    bytes: [u8; 18],
    start: u8,
}

impl ChunkHead {
    /// Creates the size line of a chunk. The size must not be 0, which would end the body: see
    /// [`write_last_chunk`].
    pub fn new(size: u64) -> Self {
        let mut bytes = [0; 18];
        bytes[16..].copy_from_slice(b"\r\n");
        let mut at = 16;
        let mut left = size;
        loop {
            at -= 1;
            bytes[at] = b"0123456789ABCDEF"[(left & 15) as usize];
            left >>= 4;
            if left == 0 {
                break;
            }
        }
        ChunkHead {
            bytes,
            start: at as u8,
        }
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[usize::from(self.start)..]
    }
}

/// End of a body without trailers.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

pub fn write_last_chunk(trailers: Option<&Fields>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"0\r\n");
    if let Some(fields) = trailers {
        fields.write_lines(out);
    }
    out.extend_from_slice(b"\r\n");
}
