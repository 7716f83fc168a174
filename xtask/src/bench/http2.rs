//! Implements the client side of HTTP/2 without IO: accepts bytes, and returns encoded requests and
//! the number of complete responses. Supports only what the benchmark needs, and is strict where an
//! incorrect proxy could look fast: the status, the length and the bytes of every response.
//!
//! The client does no IO and has no flow control (its windows are practically endless). It is no
//! reference implementation: unexpected input is a fault.

use std::fmt;

use super::answer::Expected;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const FRAME_HEAD_BYTES: usize = 9;
/// Longest frame that may arrive: the client announces no other limit.
const FRAME_BYTES_MAX: usize = 16 * 1024;
/// Receive window of a stream: larger than every response.
const STREAM_WINDOW_BYTES: u32 = 16 * 1024 * 1024;
/// Receive window of the connection, renewed when half of it is used.
const WINDOW_BYTES: u32 = 1 << 30;
/// Minimum size of the proxy's header table, on which the first request relies.
const TABLE_BYTES: u32 = 4096;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
const PRIORITY: u8 = 32;

/// Fault in the proxy's output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A frame longer than allowed, or too short for what it is.
    FrameLength,
    /// A frame of this type is not allowed here.
    Frame(u8),
    /// The proxy ended the connection with that code.
    GoAway(u32),
    /// The proxy ended a stream with that code.
    Reset(u32),
    /// The proxy allows fewer streams, or a smaller table, than the case needs.
    Settings,
    /// A frame of this stream, which has no request in progress.
    Stream(u32),
    Status,
    /// The body is not what the origin sent.
    Body,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FrameLength => write!(f, "a frame has an impossible length"),
            Self::Frame(kind) => write!(f, "a frame of type {kind} has no place here"),
            Self::GoAway(code) => write!(f, "GOAWAY with code {code}"),
            Self::Reset(code) => write!(f, "RST_STREAM with code {code}"),
            Self::Settings => write!(f, "its settings are too small for the case"),
            Self::Stream(id) => write!(f, "stream {id} carries no request"),
            Self::Status => write!(f, "the status is not 200"),
            Self::Body => write!(f, "the body is not the origin's"),
        }
    }
}

#[derive(Debug)]
struct Stream {
    id: u32,
    /// Bytes of the body so far, once the head is complete.
    body_bytes: Option<usize>,
}

#[derive(Debug)]
pub struct Client {
    streams: Vec<Stream>,
    streams_max: usize,
    next_id: u32,
    first_request: Vec<u8>,
    /// First bytes of an incomplete frame.
    ahead: Vec<u8>,
    window_used: u32,
    /// Encoded frames that are not sent yet.
    pub output: Vec<u8>,
}

/// Header fields that repeat from request to request.
const REPEATED: [u8; 6] = [
    0x82, // GET
    0x87, // https
    0xc1, // path, entry 65 by the first request
    0xc0, // authority
    0xbf, // user-agent
    0xbe, // accept
];

impl Client {
    /// Creates a connection that requests one path, on up to `streams_max` streams at once.
    pub fn new(path: &str, streams_max: usize) -> Self {
        let mut first_request = vec![0x82, 0x87];
        // Adds literals to the tables of both ends, so that, as with a browser, each later request
        // has only a few bytes.
        for (name, value) in [
            (4_u8, path),
            (1, "www.example.com"),
            (58, "bench"),
            (19, "*/*"),
        ] {
            first_request.push(0x40 | name);
            first_request.push(value.len() as u8);
            first_request.extend_from_slice(value.as_bytes());
        }
        let mut client = Self {
            streams: Vec::with_capacity(streams_max),
            streams_max,
            next_id: 1,
            first_request,
            ahead: Vec::new(),
            window_used: 0,
            output: PREFACE.to_vec(),
        };
        let mut settings = Vec::new();
        // Disables pushes, and sets the window of a stream.
        for (id, value) in [(2_u16, 0_u32), (4, STREAM_WINDOW_BYTES)] {
            settings.extend_from_slice(&id.to_be_bytes());
            settings.extend_from_slice(&value.to_be_bytes());
        }
        client.frame(SETTINGS, 0, 0, &settings);
        client.frame(WINDOW_UPDATE, 0, 0, &(WINDOW_BYTES - 65_535).to_be_bytes());
        client
    }

    fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let length = (payload.len() as u32).to_be_bytes();
        self.output.extend_from_slice(&length[1..]);
        self.output.extend_from_slice(&[kind, flags]);
        self.output.extend_from_slice(&stream.to_be_bytes());
        self.output.extend_from_slice(payload);
    }

    /// Returns whether another request may begin.
    pub fn has_room(&self) -> bool {
        self.streams.len() < self.streams_max
    }

    pub fn request(&mut self) {
        let id = self.next_id;
        self.next_id += 2;
        let flags = END_STREAM | END_HEADERS;
        if id == 1 {
            let block = std::mem::take(&mut self.first_request);
            self.frame(HEADERS, flags, id, &block);
        } else {
            self.frame(HEADERS, flags, id, &REPEATED);
        }
        self.streams.push(Stream {
            id,
            body_bytes: None,
        });
    }

    /// Processes received bytes. Returns the number of responses that they complete.
    pub fn take(&mut self, bytes: &[u8], expected: Expected<'_>) -> Result<u64, Fault> {
        let mut complete = 0;
        let mut bytes = bytes;
        // Collects a frame that arrives in pieces.
        let mut ahead = std::mem::take(&mut self.ahead);
        if !ahead.is_empty() {
            ahead.extend_from_slice(bytes);
            bytes = &ahead;
        }
        while let Some((head, rest)) = bytes.split_first_chunk::<FRAME_HEAD_BYTES>() {
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            if length > FRAME_BYTES_MAX {
                return Err(Fault::FrameLength);
            }
            let Some((payload, rest)) = rest.split_at_checked(length) else {
                break;
            };
            let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]) & 0x7fff_ffff;
            complete += u64::from(self.pass(head[3], head[4], stream, payload, expected)?);
            bytes = rest;
        }
        self.ahead.extend_from_slice(bytes);
        Ok(complete)
    }

    fn pass(
        &mut self,
        kind: u8,
        flags: u8,
        stream: u32,
        payload: &[u8],
        expected: Expected<'_>,
    ) -> Result<bool, Fault> {
        match kind {
            HEADERS => self.head(flags, stream, payload, expected),
            DATA => self.data(flags, stream, payload, expected),
            SETTINGS if flags & ACK == 0 => {
                self.settings(payload)?;
                self.frame(SETTINGS, ACK, 0, &[]);
                Ok(false)
            }
            PING if flags & ACK == 0 => {
                self.frame(PING, ACK, 0, payload);
                Ok(false)
            }
            SETTINGS | PING | WINDOW_UPDATE => Ok(false),
            RST_STREAM => Err(Fault::Reset(number(payload, 0)?)),
            GOAWAY => Err(Fault::GoAway(number(payload, 4)?)),
            other => Err(Fault::Frame(other)),
        }
    }

    fn settings(&self, payload: &[u8]) -> Result<(), Fault> {
        for setting in payload.chunks(6) {
            let value = number(setting, 2)?;
            let enough = match setting {
                [0, 1, ..] => value >= TABLE_BYTES,
                [0, 3, ..] => value as usize >= self.streams_max,
                _ => true,
            };
            if !enough {
                return Err(Fault::Settings);
            }
        }
        Ok(())
    }

    fn head(
        &mut self,
        flags: u8,
        id: u32,
        payload: &[u8],
        expected: Expected<'_>,
    ) -> Result<bool, Fault> {
        if flags & END_HEADERS == 0 {
            return Err(Fault::FrameLength);
        }
        let mut block = unpadded(flags, payload)?;
        if flags & PRIORITY != 0 {
            block = block.get(5..).ok_or(Fault::FrameLength)?;
        }
        // The status 200 has its own entry in the static table, which every encoder uses.
        if fields_of(block).first() != Some(&0x88) {
            return Err(Fault::Status);
        }
        let at = self.place_of(id)?;
        self.streams[at].body_bytes = Some(0);
        if flags & END_STREAM == 0 {
            return Ok(false);
        }
        self.end(at, expected)
    }

    fn data(
        &mut self,
        flags: u8,
        id: u32,
        payload: &[u8],
        expected: Expected<'_>,
    ) -> Result<bool, Fault> {
        // Padding counts against the window, too.
        self.window_used += payload.len() as u32;
        if self.window_used > WINDOW_BYTES / 2 {
            let used = std::mem::take(&mut self.window_used);
            self.frame(WINDOW_UPDATE, 0, 0, &used.to_be_bytes());
        }
        let data = unpadded(flags, payload)?;
        let at = self.place_of(id)?;
        let offset = self.streams[at].body_bytes.ok_or(Fault::Status)?;
        let same = expected.body.get(offset..offset + data.len());
        if same.is_none_or(|same| expected.compare && same != data) {
            return Err(Fault::Body);
        }
        self.streams[at].body_bytes = Some(offset + data.len());
        if flags & END_STREAM == 0 {
            return Ok(false);
        }
        self.end(at, expected)
    }

    fn end(&mut self, at: usize, expected: Expected<'_>) -> Result<bool, Fault> {
        let stream = self.streams.swap_remove(at);
        if stream.body_bytes == Some(expected.body.len()) {
            Ok(true)
        } else {
            Err(Fault::Body)
        }
    }

    fn place_of(&self, id: u32) -> Result<usize, Fault> {
        let found = self.streams.iter().position(|stream| stream.id == id);
        found.ok_or(Fault::Stream(id))
    }
}

/// Returns a field block without the table size updates at its start.
fn fields_of(block: &[u8]) -> &[u8] {
    let mut block = block;
    while let Some((&first, rest)) = block.split_first()
        && first & 0xe0 == 0x20
    {
        // Skips the continuation bytes of a number that does not fit into the first byte.
        let more = rest.iter().take_while(|&&byte| byte & 0x80 != 0).count();
        let skipped = if first & 0x1f == 0x1f { more + 1 } else { 0 };
        block = rest.get(skipped..).unwrap_or_default();
    }
    block
}

fn number(payload: &[u8], offset: usize) -> Result<u32, Fault> {
    let bytes = payload.get(offset..offset + 4);
    let bytes = bytes.and_then(|bytes| <[u8; 4]>::try_from(bytes).ok());
    bytes.map(u32::from_be_bytes).ok_or(Fault::FrameLength)
}

fn unpadded(flags: u8, payload: &[u8]) -> Result<&[u8], Fault> {
    if flags & PADDED == 0 {
        return Ok(payload);
    }
    let (&padding, rest) = payload.split_first().ok_or(Fault::FrameLength)?;
    let end = rest.len().checked_sub(usize::from(padding));
    end.map(|end| &rest[..end]).ok_or(Fault::FrameLength)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: Expected<'_> = Expected {
        gzip: false,
        body: b"0123456789",
        compare: true,
    };

    fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![0, 0, payload.len() as u8, kind, flags, 0, 0, 0, stream];
        frame.extend_from_slice(payload);
        frame
    }

    fn asked(requests: usize) -> Client {
        let mut client = Client::new("/bench/10", 4);
        for _ in 0..requests {
            client.request();
        }
        client.output.clear();
        client
    }

    #[test]
    fn an_answer_is_complete_wherever_it_is_cut() {
        let good = [
            frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100]),
            frame(HEADERS, END_HEADERS, 1, &[0x3f, 0x10, 0x88]),
            frame(DATA, PADDED, 1, b"\x0201234xx"),
            frame(DATA, END_STREAM, 1, b"56789"),
        ]
        .concat();
        for cut in 1..good.len() {
            let mut client = asked(1);
            let first = client.take(&good[..cut], BODY).unwrap();
            let second = client.take(&good[cut..], BODY).unwrap();
            assert_eq!(first + second, 1, "cut at {cut}");
            assert_eq!(client.output, frame(SETTINGS, ACK, 0, &[]));
            assert!(client.streams.is_empty());
        }
    }

    #[test]
    fn every_wrong_answer_has_its_fault() {
        let head = frame(HEADERS, END_HEADERS, 1, &[0x88]);
        let table: &[(Vec<u8>, Fault)] = &[
            (frame(HEADERS, END_HEADERS, 1, &[0x8d]), Fault::Status),
            (frame(HEADERS, END_HEADERS, 3, &[0x88]), Fault::Stream(3)),
            (frame(DATA, END_STREAM, 1, b"0123456789"), Fault::Status),
            (
                [head.clone(), frame(DATA, END_STREAM, 1, b"012")].concat(),
                Fault::Body,
            ),
            (
                [head.clone(), frame(DATA, 0, 1, b"x")].concat(),
                Fault::Body,
            ),
            (frame(RST_STREAM, 0, 1, &[0, 0, 0, 7]), Fault::Reset(7)),
            (
                frame(GOAWAY, 0, 0, &[0, 0, 0, 1, 0, 0, 0, 11]),
                Fault::GoAway(11),
            ),
            (frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 1]), Fault::Settings),
            (frame(5, 0, 1, &[]), Fault::Frame(5)),
            (vec![1, 0, 0, DATA, 0, 0, 0, 0, 1], Fault::FrameLength),
        ];
        for (bytes, fault) in table {
            assert_eq!(asked(1).take(bytes, BODY), Err(*fault), "{bytes:?}");
        }
    }

    #[test]
    fn streams_are_counted_and_pings_answered() {
        let mut client = asked(4);
        assert!(!client.has_room());
        let ping = frame(PING, 0, 0, b"12345678");
        assert_eq!(client.take(&ping, BODY), Ok(0));
        assert_eq!(client.output, frame(PING, ACK, 0, b"12345678"));
    }
}
