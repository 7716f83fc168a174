//! Tests invalid HTTP/2 frames of a client on a real socket: a table of frames with the reactions
//! that RFC 9113 and RFC 7541 require. The protocol's state machine has its own tests. These
//! check that the reaction is sent before the connection is closed, and that an error of one
//! stream does not close the connection.

use crate::bed::{PATIENCE, ProxyFixture};
use protocol::http2::ErrorCode;
use std::io::{Read, Write};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PUSH_PROMISE: u8 = 5;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
const WITH_PRIORITY: u8 = 0x20;
const WHOLE: u8 = END_STREAM | END_HEADERS;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    out.extend([kind, flags]);
    out.extend(stream.to_be_bytes());
    out.extend(payload);
    out
}

/// Encodes a field without compression.
fn field(name: &str, value: &str) -> Vec<u8> {
    let mut out = vec![0, name.len() as u8];
    out.extend(name.as_bytes());
    out.push(value.len() as u8);
    out.extend(value.as_bytes());
    out
}

fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let fields = fields.iter().map(|(name, value)| field(name, value));
    fields.collect::<Vec<_>>().concat()
}

/// Fields of a request that stays open without a response.
const HELD: [(&str, &str); 4] = [
    (":method", "POST"),
    (":scheme", "http"),
    (":authority", "h"),
    (":path", "/hold"),
];
const GET: [(&str, &str); 4] = [
    (":method", "GET"),
    (":scheme", "http"),
    (":authority", "h"),
    (":path", "/"),
];

fn held(stream: u32, flags: u8) -> Vec<u8> {
    frame(HEADERS, flags, stream, &block(&HELD))
}

fn get_with(more: &[(&str, &str)]) -> Vec<u8> {
    frame(HEADERS, WHOLE, 1, &block(&[&GET[..], more].concat()))
}

fn only(fields: &[(&str, &str)]) -> Vec<u8> {
    frame(HEADERS, WHOLE, 1, &block(fields))
}

fn without(at: usize) -> Vec<u8> {
    let mut fields = GET.to_vec();
    fields.remove(at);
    only(&fields)
}

fn setting(id: u16, value: u32) -> Vec<u8> {
    let payload = [&id.to_be_bytes()[..], &value.to_be_bytes()].concat();
    frame(SETTINGS, 0, 0, &payload)
}

fn rst(stream: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &8u32.to_be_bytes())
}

fn window(stream: u32, by: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, stream, &by.to_be_bytes())
}

/// Describes a frame of the proxy, if it is relevant to the test.
fn told(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Option<String> {
    let code = |bytes: &[u8]| {
        let number = u32::from_be_bytes(bytes[..4].try_into().unwrap());
        format!("{:?}", ErrorCode::from(number))
    };
    match kind {
        GOAWAY => Some(format!("goaway {}", code(&payload[4..]))),
        RST_STREAM => Some(format!("reset {stream} {}", code(payload))),
        PING if flags & 1 == 1 => Some("pong".to_owned()),
        // 0x88 as the first field of a response is the 200 of HPACK's static table.
        HEADERS if payload[0] == 0x88 => Some(format!("answer {stream}")),
        HEADERS => Some(format!("refusal {stream}")),
        _ => None,
    }
}

/// Sends bytes behind the preface, then a PING, and reads until the proxy reacts as wanted or
/// in another final way.
fn meets(bed: &ProxyFixture, sent: &[Vec<u8>], wanted: &str) -> String {
    let mut socket = bed.client().socket;
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let whole = [&sent.concat()[..], &frame(PING, 0, 0, &[0; 8])].concat();
    socket.write_all(&whole).unwrap();
    let (mut bytes, mut seen) = (Vec::new(), Vec::new());
    loop {
        let mut piece = [0; 4096];
        let n = socket.read(&mut piece).unwrap_or(0);
        if n == 0 {
            seen.push("closed".to_owned());
            return seen.join(", ");
        }
        bytes.extend_from_slice(&piece[..n]);
        while bytes.len() >= 9 {
            let length = u32::from_be_bytes([0, bytes[0], bytes[1], bytes[2]]) as usize;
            if bytes.len() < 9 + length {
                break;
            }
            let stream = u32::from_be_bytes(bytes[5..9].try_into().unwrap());
            seen.extend(told(bytes[3], bytes[4], stream, &bytes[9..9 + length]));
            bytes.drain(..9 + length);
            // Looks for the expected reaction among all received ones, because their order is not
            // fixed.
            if seen.iter().any(|one| one == wanted) {
                return wanted.to_owned();
            }
            if wanted != "pong" && seen.iter().any(|one| one.starts_with("goaway")) {
                return seen.join(", ");
            }
        }
    }
}

/// Checks a table. A `goaway` must also close the connection; after a `reset` another stream
/// on it must be served.
fn check(cases: &[(&str, Vec<Vec<u8>>, &str)]) {
    let bed = ProxyFixture::new(
        "frontend front\n bind 127.0.0.1:{0} proto h2\n timeout tarpit 1h\n\
         http-request tarpit if { path /hold }\n http-request return status 200\n",
    );
    for (name, frames, wanted) in cases {
        let begin = [PREFACE, &frame(SETTINGS, 0, 0, b"")].concat();
        let mut sent = vec![begin.clone()];
        sent.extend(frames.iter().cloned());
        assert_eq!(meets(&bed, &sent, wanted), *wanted, "{name}");
        if wanted.starts_with("goaway") {
            let all = meets(&bed, &sent, "closed");
            assert!(all.starts_with(wanted), "{name}: {all}");
        } else if wanted.starts_with("reset") {
            sent.push(frame(HEADERS, WHOLE, 1001, &block(&GET)));
            assert_eq!(meets(&bed, &sent, "answer 1001"), "answer 1001", "{name}");
        }
    }
}

#[test]
fn frames_follow_section_4() {
    check(&[
        ("GET", vec![get_with(&[])], "answer 1"),
        ("an unknown kind", vec![frame(0x16, 0, 0, b"abc")], "pong"),
        ("unknown flags", vec![frame(PING, 0x16, 0, &[1; 8])], "pong"),
        (
            "the reserved bit",
            vec![frame(PING, 0, 1 << 31, &[1; 8])],
            "pong",
        ),
        (
            "the longest frame",
            vec![held(1, END_HEADERS), frame(DATA, 0, 1, &[0; 16_384])],
            "pong",
        ),
        (
            "DATA that is too long",
            vec![held(1, END_HEADERS), frame(DATA, 0, 1, &[0; 16_385])],
            "goaway FrameSizeError",
        ),
        (
            "HEADERS that are too long",
            vec![frame(HEADERS, WHOLE, 1, &[0; 16_385])],
            "goaway FrameSizeError",
        ),
    ]);
}

#[test]
fn fragmented_head_follows_section_4() {
    let continued = frame(HEADERS, END_STREAM, 1, &block(&GET)[..5]);
    check(&[
        (
            "PRIORITY between HEADERS and CONTINUATION",
            vec![continued.clone(), frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 9])],
            "goaway ProtocolError",
        ),
        (
            "an unknown frame there",
            vec![continued.clone(), frame(0x16, 0, 1, b"")],
            "goaway ProtocolError",
        ),
        (
            "HEADERS of another stream there",
            vec![continued.clone(), frame(HEADERS, WHOLE, 3, &block(&GET))],
            "goaway ProtocolError",
        ),
        (
            "CONTINUATION of another stream",
            vec![
                continued.clone(),
                frame(CONTINUATION, END_HEADERS, 3, &block(&GET)[5..]),
            ],
            "goaway ProtocolError",
        ),
        (
            "CONTINUATION in pieces",
            vec![
                continued,
                frame(CONTINUATION, 0, 1, &block(&GET)[5..7]),
                frame(CONTINUATION, END_HEADERS, 1, &block(&GET)[7..]),
            ],
            "answer 1",
        ),
        (
            "CONTINUATION behind the end",
            vec![
                held(1, END_HEADERS),
                frame(CONTINUATION, END_HEADERS, 1, b""),
            ],
            "goaway ProtocolError",
        ),
        (
            "CONTINUATION of no stream",
            vec![frame(CONTINUATION, END_HEADERS, 0, b"")],
            "goaway ProtocolError",
        ),
    ]);
}

#[test]
fn header_blocks_follow_hpack() {
    let headers = |block: &[u8]| vec![frame(HEADERS, WHOLE, 1, block)];
    let behind = |bytes: &[u8]| headers(&[&block(&GET)[..], bytes].concat());
    let failed = "goaway CompressionError";
    check(&[
        ("index 0", headers(&[0x80]), failed),
        ("an index that is none", headers(&[0xff, 0x60]), failed),
        (
            "an index without end",
            headers(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
            failed,
        ),
        (
            "a table that is too large",
            headers(&[0x3f, 0xff, 0xff, 0x7f]),
            failed,
        ),
        ("a size behind a field", behind(&[0x20]), failed),
        ("a string that is cut", behind(&[0, 5, b'a']), failed),
        (
            "a Huffman code with too much padding",
            behind(&[0, 1, b'a', 0x83, 0x1f, 0xff, 0xff]),
            failed,
        ),
        (
            "a Huffman code with zeros for padding",
            behind(&[0, 1, b'a', 0x81, 0x18]),
            failed,
        ),
        (
            "a Huffman code with the end in it",
            behind(&[0, 1, b'a', 0x84, 0xff, 0xff, 0xff, 0xff]),
            failed,
        ),
        (
            "a size in front",
            headers(&[&[0x20][..], &block(&GET)].concat()),
            "answer 1",
        ),
        (
            "a Huffman code",
            behind(&[0, 1, b'a', 0x81, 0x1f]),
            "answer 1",
        ),
    ]);
}

#[test]
fn streams_follow_section_5() {
    let refused = "goaway ProtocolError";
    let ended = [held(1, WHOLE)];
    let gone = [held(1, END_HEADERS), rst(1)];
    let with = |first: &[Vec<u8>], last: Vec<u8>| [first, &[last]].concat();
    let many: Vec<_> = (0..101).map(|n| held(n * 2 + 1, WHOLE)).collect();
    check(&[
        (
            "DATA of an idle stream",
            vec![frame(DATA, 0, 1, b"a")],
            refused,
        ),
        ("RST_STREAM of an idle stream", vec![rst(1)], refused),
        (
            "WINDOW_UPDATE of an idle stream",
            vec![window(1, 1)],
            refused,
        ),
        (
            "PRIORITY of an idle stream",
            vec![frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 9])],
            "pong",
        ),
        (
            "DATA behind the end",
            with(&ended, frame(DATA, 0, 1, b"a")),
            "reset 1 StreamClosed",
        ),
        (
            "HEADERS behind the end",
            with(&ended, frame(HEADERS, WHOLE, 1, &block(&GET))),
            "reset 1 StreamClosed",
        ),
        (
            "WINDOW_UPDATE behind the end",
            with(&ended, window(1, 1)),
            "pong",
        ),
        ("RST_STREAM behind the end", with(&ended, rst(1)), "pong"),
        (
            "DATA behind RST_STREAM",
            with(&gone, frame(DATA, 0, 1, b"a")),
            "reset 1 StreamClosed",
        ),
        (
            "HEADERS behind RST_STREAM",
            with(&gone, frame(HEADERS, WHOLE, 1, &block(&GET))),
            "reset 1 StreamClosed",
        ),
        ("RST_STREAM behind RST_STREAM", with(&gone, rst(1)), "pong"),
        (
            "an even number",
            vec![frame(HEADERS, WHOLE, 2, &block(&GET))],
            refused,
        ),
        (
            "a lower number",
            vec![held(5, WHOLE), frame(HEADERS, WHOLE, 3, &block(&GET))],
            refused,
        ),
        ("too many", with(&many, rst(1)), "reset 201 RefusedStream"),
        (
            "PUSH_PROMISE of a client",
            vec![frame(PUSH_PROMISE, END_HEADERS, 1, &[0, 0, 0, 2])],
            refused,
        ),
    ]);
}

#[test]
fn stream_frames_follow_section_6() {
    let (refused, size) = ("goaway ProtocolError", "goaway FrameSizeError");
    let padded = |length: u8| {
        frame(
            HEADERS,
            WHOLE | PADDED,
            1,
            &[&[length][..], &block(&GET)].concat(),
        )
    };
    let on = |stream, kind| frame(kind, 0, stream, &[0; 8]);
    check(&[
        ("DATA of no stream", vec![on(0, DATA)], refused),
        (
            "DATA that is padding and more",
            vec![held(1, END_HEADERS), frame(DATA, PADDED, 1, &[9, 0])],
            refused,
        ),
        (
            "HEADERS of no stream",
            vec![frame(HEADERS, WHOLE, 0, &block(&GET))],
            refused,
        ),
        (
            "HEADERS that are padding and more",
            vec![padded(250)],
            refused,
        ),
        (
            "HEADERS that are too short for their priority",
            vec![frame(HEADERS, WHOLE | WITH_PRIORITY, 1, &[0; 4])],
            size,
        ),
        (
            "PRIORITY of no stream",
            vec![frame(PRIORITY, 0, 0, &[0; 5])],
            refused,
        ),
        (
            "PRIORITY of another length",
            vec![held(1, END_HEADERS), frame(PRIORITY, 0, 1, &[0; 4])],
            "reset 1 FrameSizeError",
        ),
        ("RST_STREAM of no stream", vec![rst(0)], refused),
        (
            "RST_STREAM of another length",
            vec![held(1, END_HEADERS), frame(RST_STREAM, 0, 1, &[0; 3])],
            size,
        ),
    ]);
}

#[test]
fn settings_follow_section_6() {
    let (refused, size) = ("goaway ProtocolError", "goaway FrameSizeError");
    check(&[
        (
            "SETTINGS of a stream",
            vec![frame(SETTINGS, 0, 1, b"")],
            refused,
        ),
        (
            "SETTINGS of another length",
            vec![frame(SETTINGS, 0, 0, &[0; 5])],
            size,
        ),
        (
            "SETTINGS that say yes and more",
            vec![frame(SETTINGS, 1, 0, &[0; 6])],
            size,
        ),
        (
            "push that is neither on nor off",
            vec![setting(2, 2)],
            refused,
        ),
        (
            "a window that is too large",
            vec![setting(4, 1 << 31)],
            "goaway FlowControlError",
        ),
        (
            "frames that are too short",
            vec![setting(5, 16_383)],
            refused,
        ),
        (
            "frames that are too long",
            vec![setting(5, 1 << 24)],
            refused,
        ),
        (
            "a setting that nobody knows",
            vec![setting(0xff, 1)],
            "pong",
        ),
    ]);
}

#[test]
fn connection_frames_follow_section_6() {
    let (refused, size) = ("goaway ProtocolError", "goaway FrameSizeError");
    let on = |stream, kind| frame(kind, 0, stream, &[0; 8]);
    check(&[
        ("PING of a stream", vec![on(1, PING)], refused),
        (
            "PING of another length",
            vec![frame(PING, 0, 0, &[0; 6])],
            size,
        ),
        (
            "PING that nobody asked for",
            vec![frame(PING, 1, 0, &[7; 8])],
            "pong",
        ),
        ("GOAWAY of a stream", vec![on(1, GOAWAY)], refused),
        (
            "GOAWAY of another length",
            vec![frame(GOAWAY, 0, 0, &[0; 7])],
            size,
        ),
        ("a window of nothing", vec![window(0, 0)], refused),
        (
            "a stream's window of nothing",
            vec![held(1, END_HEADERS), window(1, 0)],
            "reset 1 ProtocolError",
        ),
        (
            "WINDOW_UPDATE of another length",
            vec![frame(WINDOW_UPDATE, 0, 0, &[0; 3])],
            size,
        ),
        (
            "a window beyond its end",
            vec![window(0, (1 << 31) - 1)],
            "goaway FlowControlError",
        ),
        (
            "a stream's window beyond its end",
            vec![held(1, END_HEADERS), window(1, (1 << 31) - 1)],
            "reset 1 FlowControlError",
        ),
        (
            "a stream's window that a setting drives beyond its end",
            vec![
                held(1, END_HEADERS),
                window(1, (1 << 31) - 65_536),
                setting(4, 65_536),
            ],
            "goaway FlowControlError",
        ),
    ]);
}

#[test]
fn header_fields_follow_section_8() {
    let reset = "reset 1 ProtocolError";
    check(&[
        (
            "a capital letter",
            vec![get_with(&[("X-Test", "ok")])],
            reset,
        ),
        (
            "an unknown pseudo-header",
            vec![only(&[&[(":test", "ok")], &GET[..]].concat())],
            reset,
        ),
        (
            "a response's",
            vec![only(&[&GET[..], &[(":status", "200")]].concat())],
            reset,
        ),
        (
            "one behind others",
            vec![get_with(&[("a", "b"), (":authority", "h")])],
            reset,
        ),
        (
            "one in trailers",
            vec![
                held(1, END_HEADERS),
                frame(HEADERS, WHOLE, 1, &block(&[(":method", "GET")])),
            ],
            reset,
        ),
        (
            "connection",
            vec![get_with(&[("connection", "keep-alive")])],
            reset,
        ),
        ("keep-alive", vec![get_with(&[("keep-alive", "5")])], reset),
        (
            "proxy-connection",
            vec![get_with(&[("proxy-connection", "x")])],
            reset,
        ),
        (
            "transfer-encoding",
            vec![get_with(&[("transfer-encoding", "chunked")])],
            reset,
        ),
        ("upgrade", vec![get_with(&[("upgrade", "h2c")])], reset),
        (
            "te: gzip",
            vec![get_with(&[("te", "trailers, deflate")])],
            reset,
        ),
        (
            "te: trailers",
            vec![get_with(&[("te", "trailers")])],
            "answer 1",
        ),
    ]);
}

#[test]
fn pseudo_headers_and_characters_follow_section_8() {
    let reset = "reset 1 ProtocolError";
    check(&[
        ("no method", vec![without(0)], reset),
        ("no scheme", vec![without(1)], reset),
        ("no path", vec![without(3)], reset),
        ("no authority", vec![without(2)], "answer 1"),
        (
            "two methods",
            vec![only(&[&GET[..1], &GET].concat())],
            reset,
        ),
        ("two paths", vec![only(&[&GET[3..], &GET].concat())], reset),
        (
            "two schemes",
            vec![only(&[&GET[1..2], &GET].concat())],
            reset,
        ),
        (
            "an empty path",
            vec![only(&[&GET[..3], &[(":path", "")]].concat())],
            reset,
        ),
        (
            "a line break in a value",
            vec![get_with(&[("a", "b\r\nc: d")])],
            reset,
        ),
        ("a zero in a value", vec![get_with(&[("a", "b\0c")])], reset),
        ("a blank in a name", vec![get_with(&[("a b", "c")])], reset),
        ("no name", vec![get_with(&[("", "c")])], reset),
        (
            "CONNECT with a path",
            vec![only(&[&[(":method", "CONNECT")], &GET[1..]].concat())],
            reset,
        ),
    ]);
}

#[test]
fn lengths_and_trailers_follow_section_8() {
    let reset = "reset 1 ProtocolError";
    let body = |length: &str, pieces: &[&[u8]]| {
        let fields = [&HELD[..], &[("content-length", length)]].concat();
        let mut out = vec![frame(HEADERS, END_HEADERS, 1, &block(&fields))];
        for (piece, at) in pieces.iter().zip(1..) {
            let flags = if at == pieces.len() { END_STREAM } else { 0 };
            out.push(frame(DATA, flags, 1, piece));
        }
        out
    };
    check(&[
        ("less than was announced", body("9", &[b"abc"]), reset),
        ("more than was announced", body("2", &[b"abc"]), reset),
        ("more in two pieces", body("4", &[b"abc", b"def"]), reset),
        (
            "a length that is none",
            vec![get_with(&[("content-length", "0x1")])],
            reset,
        ),
        (
            "lengths that differ",
            vec![get_with(&[("content-length", "1, 2")])],
            reset,
        ),
        (
            "trailers that do not end the stream",
            vec![
                held(1, END_HEADERS),
                frame(HEADERS, END_HEADERS, 1, &block(&[("a", "b")])),
            ],
            reset,
        ),
        (
            "a method that no version of HTTP has",
            vec![only(&[&[(":method", "G T")], &GET[1..]].concat())],
            "refusal 1",
        ),
        (
            "a scheme that is none",
            vec![only(&[&GET[..1], &[(":scheme", "1:")], &GET[2..]].concat())],
            "refusal 1",
        ),
    ]);
}

#[test]
fn invalid_http2_preface_closes_the_connection() {
    let bed = ProxyFixture::new(
        "frontend front\n bind 127.0.0.1:{0} proto h2\n http-request return status 200\n",
    );
    let other = [b"GET / HTTP/1.1\r\nHost: h\r\n\r\n".to_vec()];
    assert_eq!(meets(&bed, &other, "closed"), "closed");
    let refused = "goaway ProtocolError";
    let no_settings = [PREFACE.to_vec(), frame(PING, 0, 0, &[0; 8])];
    assert_eq!(meets(&bed, &no_settings, refused), refused);
    let said_yes = [PREFACE.to_vec(), frame(SETTINGS, 1, 0, b"")];
    assert_eq!(meets(&bed, &said_yes, refused), refused);
}
