//! Tests the HTTP/2 connection, with helpers for frames as bytes and events as comparable values.

mod floods;
mod flow;
mod interop;

mod pair;
mod random;
mod rules;
mod types;

use super::super::frame::{
    CONTINUATION, DATA, FLAG_ACK, FLAG_END_HEADERS, FLAG_END_STREAM, FLAG_PADDED, FLAG_PRIORITY,
    GOAWAY, HEAD_BYTES, HEADERS, Http2FrameHeader, PING, PREFACE, PRIORITY, PUSH_PROMISE,
    RST_STREAM, SETTINGS, WINDOW_UPDATE,
};
use super::super::{ErrorCode, Http2Role, SendError, StreamId, Why};
use super::{Connection, Event, Limits, Options};

/// An event with copied data, for comparison.
#[derive(Clone, Debug, PartialEq, Eq)]
enum RecordedEvent {
    Headers {
        stream: u32,
        fields: Vec<(String, String)>,
        end: bool,
        trailers: bool,
        over: bool,
    },
    Data {
        stream: u32,
        data: Vec<u8>,
        end: bool,
    },
    Reset {
        stream: u32,
        code: ErrorCode,
        ours: bool,
    },
    Window(Option<u32>),
    Settings,
    GoAway {
        last: u32,
        code: ErrorCode,
    },
    Pong,
    Failed(ErrorCode, Why),
}

fn seen(event: Event<'_>) -> Option<RecordedEvent> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Some(match event {
        Event::NeedMore | Event::Progress => return None,
        Event::Headers {
            stream,
            fields,
            end_stream,
            trailers,
        } => RecordedEvent::Headers {
            stream: stream.0,
            fields: fields
                .iter()
                .map(|(name, value)| (text(name), text(value)))
                .collect(),
            end: end_stream,
            trailers,
            over: fields.is_overflowed(),
        },
        Event::Data {
            stream,
            data,
            end_stream,
        } => RecordedEvent::Data {
            stream: stream.0,
            data: data.to_vec(),
            end: end_stream,
        },
        Event::Reset { stream, code, ours } => RecordedEvent::Reset {
            stream: stream.0,
            code,
            ours,
        },
        Event::Window { stream } => RecordedEvent::Window(stream.map(|stream| stream.0)),
        Event::SettingsChanged => RecordedEvent::Settings,
        Event::GoAway { last, code } => RecordedEvent::GoAway { last: last.0, code },
        Event::Pong => RecordedEvent::Pong,
        Event::Failed(error) => RecordedEvent::Failed(error.code, error.why),
    })
}

/// Passes all of `input` to a connection whose owner consumes DATA at once.
fn feed_at(connection: &mut Connection, mut input: &[u8], now_ms: u64) -> Vec<RecordedEvent> {
    let mut all = Vec::new();
    loop {
        let (taken, event) = connection.receive(input, now_ms);
        let done = matches!(event, Event::NeedMore);
        let failed = matches!(event, Event::Failed(_));
        let one = seen(event);
        input = &input[taken..];
        if let Some(RecordedEvent::Data { stream, data, .. }) = &one {
            connection.consumed(StreamId(*stream), data.len() as u32);
        }
        all.extend(one);
        if done || failed {
            assert!(input.is_empty());
            return all;
        }
    }
}

fn feed(connection: &mut Connection, input: &[u8]) -> Vec<RecordedEvent> {
    feed_at(connection, input, 0)
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let head = Http2FrameHeader {
        length: payload.len() as u32,
        kind,
        flags,
        stream,
    };
    [&head.bytes(), payload].concat()
}

/// Returns a header block of literals that add nothing to the dynamic table.
fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in fields {
        out.push(0);
        for text in [name, value] {
            assert!(text.len() < 127);
            out.push(text.len() as u8);
            out.extend_from_slice(text.as_bytes());
        }
    }
    out
}

const GET: &[(&str, &str)] = &[
    (":method", "GET"),
    (":scheme", "http"),
    (":path", "/"),
    (":authority", "a"),
];
const OK: &[(&str, &str)] = &[(":status", "200")];

fn headers(stream: u32, flags: u8, fields: &[(&str, &str)]) -> Vec<u8> {
    frame(HEADERS, flags | FLAG_END_HEADERS, stream, &block(fields))
}

/// Returns a complete request without a body.
fn get(stream: u32) -> Vec<u8> {
    headers(stream, FLAG_END_STREAM, GET)
}

fn post(stream: u32) -> Vec<u8> {
    headers(stream, 0, GET)
}

fn data(stream: u32, flags: u8, content: &[u8]) -> Vec<u8> {
    frame(DATA, flags, stream, content)
}

fn window(stream: u32, bytes: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, stream, &bytes.to_be_bytes())
}

fn rst(stream: u32, code: ErrorCode) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &(code as u32).to_be_bytes())
}

fn settings(entries: &[(u16, u32)]) -> Vec<u8> {
    let mut payload = Vec::new();
    for (id, value) in entries {
        payload.extend_from_slice(&id.to_be_bytes());
        payload.extend_from_slice(&value.to_be_bytes());
    }
    frame(SETTINGS, 0, 0, &payload)
}

/// Returns and removes the frames in the output.
fn sent(connection: &mut Connection) -> Vec<(Http2FrameHeader, Vec<u8>)> {
    let mut frames = Vec::new();
    let mut rest = connection.output();
    rest = rest.strip_prefix(PREFACE.as_slice()).unwrap_or(rest);
    while let Some((head, after)) = rest.split_first_chunk::<HEAD_BYTES>() {
        let head = Http2FrameHeader::read(head);
        let (payload, after) = after.split_at(head.length as usize);
        frames.push((head, payload.to_vec()));
        rest = after;
    }
    assert!(rest.is_empty());
    let all = connection.output().len();
    connection.output_consumed(all);
    assert!(connection.output().is_empty());
    frames
}

/// Returns the codes of GOAWAY and RST_STREAM in the output.
fn complaints(connection: &mut Connection) -> Vec<(u32, ErrorCode)> {
    let number = |bytes: &[u8]| u32::from_be_bytes(bytes.try_into().expect("four bytes"));
    sent(connection)
        .into_iter()
        .filter_map(|(head, payload)| match head.kind {
            GOAWAY => Some((0, ErrorCode::from(number(&payload[4..8])))),
            RST_STREAM => Some((head.stream, ErrorCode::from(number(&payload)))),
            _ => None,
        })
        .collect()
}

/// Returns a server after the preface and both SETTINGS.
fn server_with(options: Options) -> Connection {
    let mut connection = Connection::new(options);
    let start = [
        PREFACE.as_slice(),
        &settings(&[]),
        &frame(SETTINGS, FLAG_ACK, 0, &[]),
    ]
    .concat();
    assert_eq!(feed(&mut connection, &start), [RecordedEvent::Settings]);
    sent(&mut connection);
    connection
}

fn server() -> Connection {
    server_with(Options::new(Http2Role::Server))
}

/// Returns a client after both SETTINGS.
fn client_with(options: Options) -> Connection {
    let mut connection = Connection::new(options);
    let start = [settings(&[]), frame(SETTINGS, FLAG_ACK, 0, &[])].concat();
    assert_eq!(feed(&mut connection, &start), [RecordedEvent::Settings]);
    sent(&mut connection);
    connection
}

fn client() -> Connection {
    client_with(Options::new(Http2Role::Client))
}

fn list<'a>(fields: &'a [(&'a str, &'a str)]) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
    fields
        .iter()
        .map(|(name, value)| (name.as_bytes(), value.as_bytes()))
}

fn request(connection: &mut Connection, end: bool) -> StreamId {
    let stream = connection.open().expect("room");
    connection
        .send_headers(stream, list(GET), end)
        .expect("open");
    stream
}

fn requested(stream: u32, end: bool) -> RecordedEvent {
    let fields = GET
        .iter()
        .map(|(n, v)| (n.to_string(), v.to_string()))
        .collect();
    RecordedEvent::Headers {
        stream,
        fields,
        end,
        trailers: false,
        over: false,
    }
}

/// Expected reaction to a sequence of frames.
#[derive(Clone, Copy, Debug)]
enum ExpectedReaction {
    /// The connection fails with GOAWAY.
    Connection(ErrorCode, Why),
    /// The stream is reset with RST_STREAM, and the connection continues.
    Stream(u32, ErrorCode),
    Fine,
}

fn check(start: impl Fn() -> Connection, cases: &[(&str, Vec<Vec<u8>>, ExpectedReaction)]) {
    for (name, frames, answer) in cases {
        let all = frames.concat();
        // The frames arrive all at once, and then byte by byte.
        for step in [all.len().max(1), 1] {
            let mut connection = start();
            let mut events = Vec::new();
            for piece in all.chunks(step) {
                events.extend(feed(&mut connection, piece));
            }
            let complaints = complaints(&mut connection);
            let failure = events
                .iter()
                .find(|event| matches!(event, RecordedEvent::Failed(..)));
            match *answer {
                ExpectedReaction::Connection(code, why) => {
                    assert_eq!(failure, Some(&RecordedEvent::Failed(code, why)), "{name}");
                    assert_eq!(complaints.last(), Some(&(0, code)), "{name}");
                    assert!(connection.is_closed(), "{name}");
                }
                ExpectedReaction::Stream(stream, code) => {
                    assert_eq!(failure, None, "{name}");
                    assert_eq!(complaints, [(stream, code)], "{name}");
                    // The tables and windows are still correct.
                    let after = feed(&mut connection, &get(2001));
                    assert_eq!(after, [requested(2001, true)], "{name}");
                }
                ExpectedReaction::Fine => {
                    assert_eq!((failure, complaints), (None, vec![]), "{name}: {events:?}");
                }
            }
        }
    }
}
