//! Provides HTTP/2 peers without a state machine for tests: frames as bytes, in any order and
//! form, to violate the protocol.

use crate::peer::Peer;
use protocol::http2::hpack::Decoder;
use protocol::http2::{FieldList, PREFACE};
use std::io::Read;
use std::time::{Duration, Instant};

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PUSH_PROMISE: u8 = 5;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

pub const END_STREAM: u8 = 1;
pub const ACK: u8 = 1;
pub const END_HEADERS: u8 = 4;
pub const PADDED: u8 = 8;

pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = payload.len() as u32;
    let mut out = length.to_be_bytes()[1..].to_vec();
    out.extend([kind, flags]);
    out.extend(stream.to_be_bytes());
    out.extend(payload);
    out
}

/// Encodes an HPACK integer behind the bits of its prefix.
fn integer(first: u8, bits: u32, mut n: usize, out: &mut Vec<u8>) {
    let most = (1 << bits) - 1;
    if n < most {
        out.push(first | n as u8);
        return;
    }
    out.push(first | most as u8);
    n -= most;
    while n >= 128 {
        out.push(n as u8 | 128);
        n >>= 7;
    }
    out.push(n as u8);
}

/// Encodes a field as a literal without indexing, whatever its bytes.
pub fn field(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    out.push(0);
    integer(0, 7, name.len(), out);
    out.extend(name);
    integer(0, 7, value.len(), out);
    out.extend(value);
}

/// Encodes a field that is added to the dynamic table.
pub fn indexed_field(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    out.push(0x40);
    integer(0, 7, name.len(), out);
    out.extend(name);
    integer(0, 7, value.len(), out);
    out.extend(value);
}

pub fn block(fields: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in fields {
        field(name, value, &mut out);
    }
    out
}

/// Returns the block of a GET request for a path of host `h`.
pub fn get(path: &str) -> Vec<u8> {
    method("GET", path)
}

/// Returns the block of a request with this method for a path of host `h`.
pub fn method(method: &str, path: &str) -> Vec<u8> {
    block(&[
        (b":method", method.as_bytes()),
        (b":scheme", b"http"),
        (b":authority", b"h"),
        (b":path", path.as_bytes()),
    ])
}

pub fn headers(stream: u32, block: &[u8], end: bool) -> Vec<u8> {
    let flags = END_HEADERS | if end { END_STREAM } else { 0 };
    frame(HEADERS, flags, stream, block)
}

pub fn reset(stream: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes())
}

/// Returns the first bytes of a client: the preface and SETTINGS.
pub fn preface() -> Vec<u8> {
    [&PREFACE[..], &frame(SETTINGS, 0, 0, b"")].concat()
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RawFrame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

pub struct Raw {
    pub peer: Peer,
    decoder: Decoder,
}

impl Raw {
    /// Creates an end that has sent nothing yet.
    pub fn new(peer: Peer) -> Raw {
        Raw {
            peer,
            decoder: Decoder::new(4096),
        }
    }

    /// Creates a client that has sent its preface.
    pub fn client(mut peer: Peer) -> Raw {
        peer.try_send(preface());
        Raw::new(peer)
    }

    /// Creates an origin that has read the preface and sent its settings.
    pub fn origin(mut peer: Peer) -> Option<Raw> {
        while peer.ahead.len() < PREFACE.len() {
            if !matches!(peer.more(), Ok(true)) {
                return None;
            }
        }
        peer.exactly(PREFACE.len());
        peer.try_send(frame(SETTINGS, 0, 0, b""));
        Some(Raw::new(peer))
    }

    /// Sends as much as the other side accepts; returns false if the connection has ended.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.peer.try_send(bytes)
    }

    /// Returns the next frame; None at the end of the connection.
    pub fn next(&mut self) -> Option<RawFrame> {
        loop {
            if let Some(head) = self.peer.ahead.first_chunk::<9>() {
                let [a, b, c, kind, flags, s, t, u, v] = *head;
                let length = u32::from_be_bytes([0, a, b, c]) as usize;
                let stream = u32::from_be_bytes([s & 0x7f, t, u, v]);
                if self.peer.ahead.len() >= 9 + length {
                    let payload = self.peer.exactly(9 + length).split_off(9);
                    return Some(RawFrame {
                        kind,
                        flags,
                        stream,
                        payload,
                    });
                }
            }
            if !matches!(self.peer.more(), Ok(true)) {
                return None;
            }
        }
    }

    /// Decodes the fields of a received block to lines.
    pub fn fields(&mut self, block: &[u8]) -> String {
        let mut list = FieldList::new(1 << 20, 1000);
        self.decoder.decode(block, &mut list).expect("a block");
        let line = |(name, value): (&[u8], &[u8])| {
            format!("{}: {}\n", name.escape_ascii(), value.escape_ascii())
        };
        list.iter().map(line).collect()
    }

    /// Returns the outcome of a stream: "200", "431", "RST 1", "GOAWAY 11", "closed".
    /// Acknowledges SETTINGS and ignores the content of responses.
    pub fn outcome(&mut self, stream: u32) -> String {
        let mut status = String::new();
        loop {
            let Some(frame) = self.next() else {
                return "closed".to_owned();
            };
            let ended = frame.flags & END_STREAM != 0;
            match frame.kind {
                SETTINGS if frame.flags & ACK == 0 => {
                    self.send(self::frame(SETTINGS, ACK, 0, b""));
                }
                HEADERS => {
                    let fields = self.fields(&frame.payload);
                    if frame.stream == stream && status.is_empty() {
                        let first = fields.lines().next().unwrap_or_default();
                        status = first.trim_start_matches(":status: ").to_owned();
                    }
                    if frame.stream == stream && ended {
                        return status;
                    }
                    if frame.stream == stream && status.starts_with('1') {
                        status.clear();
                    }
                }
                DATA if frame.stream == stream && ended => return status,
                RST_STREAM if frame.stream == stream => {
                    let code = code(&frame.payload);
                    return format!("{status} RST {code}").trim().to_owned();
                }
                GOAWAY if code(&frame.payload[4..]) != 0 => {
                    return format!("GOAWAY {}", code(&frame.payload[4..]));
                }
                _ => {}
            }
        }
    }

    /// Sends pieces until the connection ends or none is left, and reads meanwhile, unless
    /// `deaf`. Returns the error code that ended the connection; None: not ended.
    pub fn flood(&mut self, pieces: impl Iterator<Item = Vec<u8>>, deaf: bool) -> Option<u32> {
        let mut socket = self.peer.socket.try_clone().unwrap();
        let mut open = true;
        for piece in pieces {
            open = self.send(piece);
            if !open {
                break;
            }
            if deaf {
                continue;
            }
            socket.set_nonblocking(true).unwrap();
            let mut bytes = [0; 65536];
            while let Ok(n) = socket.read(&mut bytes) {
                self.peer.ahead.extend(&bytes[..n]);
                if n == 0 {
                    open = false;
                    break;
                }
            }
            socket.set_nonblocking(false).unwrap();
            if !open {
                break;
            }
        }
        let mut last = None;
        let wait = Duration::from_secs(if open { 1 } else { 30 });
        let _ = self.peer.socket.set_read_timeout(Some(wait));
        let at = Instant::now();
        while let Some(frame) = self.next() {
            if frame.kind == GOAWAY {
                last = Some(code(&frame.payload[4..]));
            }
            if at.elapsed() > wait {
                break;
            }
        }
        let _ = self
            .peer
            .socket
            .set_read_timeout(Some(crate::bed::PATIENCE));
        last
    }
}

/// Decodes an error code, or a stream number, of four bytes.
pub fn code(bytes: &[u8]) -> u32 {
    let four = bytes.first_chunk().copied().unwrap_or_default();
    u32::from_be_bytes(four)
}
