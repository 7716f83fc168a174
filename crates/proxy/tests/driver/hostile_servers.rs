//! Tests HTTP/2 servers that violate the protocol. Their clients get an error, or a response that
//! is recognizably incomplete, and other clients are served. Also sends random frames to the
//! whole proxy, as a client and as a server.

use crate::bed::{PATIENCE, ProxyFixture, ScriptedOrigin, against_haproxy, pause};
use crate::living::{self, apart};
use crate::peer2::{Answer2, Peer2};
use crate::raw2::{
    self, ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PADDED, PING,
    PRIORITY, PUSH_PROMISE, RST_STREAM, Raw, SETTINGS, WINDOW_UPDATE, block, frame, headers,
};
use lab::Random;
use std::time::Duration;

/// Result for the client of a server that violates the protocol.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Gets {
    /// An error of the proxy.
    Error,
    /// The beginning of a response, recognizably incomplete.
    Part,
    Whole,
    /// Any of these: the server's frames may end its connection sooner or later.
    Any,
}
use Gets::{Any, Error, Part, Whole};

struct Case {
    name: &'static str,
    method: &'static str,
    /// Frames that the server sends for a request on stream 1.
    frames: Vec<u8>,
    gets: Gets,
}

fn case(name: &'static str, gets: Gets, frames: &[Vec<u8>]) -> Case {
    Case {
        name,
        method: "GET",
        frames: frames.concat(),
        gets,
    }
}

impl Case {
    fn method(mut self, method: &'static str) -> Case {
        self.method = method;
        self
    }
}

fn answer(status: &str, fields: &[(&[u8], &[u8])], end: bool) -> Vec<u8> {
    let status = [(&b":status"[..], status.as_bytes())];
    headers(1, &block(&[&status[..], fields].concat()), end)
}

fn data(bytes: &[u8], end: bool) -> Vec<u8> {
    frame(DATA, if end { END_STREAM } else { 0 }, 1, bytes)
}

fn word(kind: u8, stream: u32, value: u32) -> Vec<u8> {
    frame(kind, 0, stream, &value.to_be_bytes())
}

fn heads() -> Vec<Case> {
    let with = |name, field: &'static [u8], value: &'static [u8]| {
        case(
            name,
            Error,
            &[answer("200", &[(field, value)], false), data(b"x", true)],
        )
    };
    let status = |name, status| case(name, Error, &[answer(status, &[], true)]);
    let only = |fields: &[(&[u8], &[u8])]| headers(1, &block(fields), true);
    vec![
        with("connection", b"connection", b"close"),
        with("keep-alive", b"keep-alive", b"timeout=5"),
        with("transfer-encoding", b"transfer-encoding", b"chunked"),
        with("upgrade", b"upgrade", b"h2c"),
        with("te", b"te", b"trailers"),
        with("a name in capitals", b"X-Up", b"x"),
        with("an empty name", b"", b"x"),
        with("a colon in a name", b"x:y", b"x"),
        with("CRLF in a name", b"x\r\ny", b"x"),
        with("CRLF in a value", b"x", b"y\r\nset-cookie: evil"),
        with("NUL in a value", b"x", b"y\0"),
        with("a second status", b":status", b"200"),
        with("a pseudo-header of requests", b":path", b"/"),
        with("an unknown pseudo-header", b":x", b"y"),
        with("a length with a sign", b"content-length", b"+1"),
        with("a length that is none", b"content-length", b"one"),
        with("lengths", b"content-length", b"1, 2"),
        status("no number", "abc"),
        status("a short status", "20"),
        status("a long status", "2000"),
        status("below all", "099"),
        status("an upgrade that HTTP/2 has not", "101"),
        status("an interim end", "103"),
        case("no status", Error, &[only(&[(b"x", b"y")])]),
        case("nothing", Error, &[only(&[])]),
        case(
            "a status behind others",
            Error,
            &[only(&[(b"x", b"y"), (b":status", b"200")])],
        ),
        case(
            "HPACK that is none",
            Error,
            &[headers(1, &[0xff; 20], true)],
        ),
        case(
            "a list that is too long",
            Error,
            &[answer(
                "200",
                &[(b"x", &[b'y'; 9_000]), (b"z", &[b'y'; 7_000])],
                true,
            )],
        ),
    ]
}

/// Builds a head with a length.
fn length(n: &'static [u8], end: bool) -> Vec<u8> {
    answer("200", &[(b"content-length", n)], end)
}

/// Builds a head in front of a body.
fn plain() -> Vec<u8> {
    answer("200", &[], false)
}

fn trailers(fields: &[(&[u8], &[u8])], end: bool) -> Vec<u8> {
    headers(1, &block(fields), end)
}

fn bodies() -> Vec<Case> {
    vec![
        case(
            "longer than declared",
            Part,
            &[length(b"3", false), data(b"ab", false), data(b"cdef", true)],
        ),
        case(
            "shorter than declared",
            Part,
            &[length(b"30", false), data(b"abc", true)],
        ),
        case("declared, and none", Error, &[length(b"5", true)]),
        case("data before the head", Error, &[data(b"x", true)]),
        case(
            "data behind the end",
            Any,
            &[plain(), data(b"x", true), data(b"y", true)],
        ),
        case(
            "a head behind the end",
            Any,
            &[answer("200", &[], true), answer("200", &[], true)],
        ),
    ]
}

fn ends() -> Vec<Case> {
    vec![
        case(
            "trailers that are no end",
            Part,
            &[plain(), data(b"x", false), trailers(&[(b"x", b"y")], false)],
        ),
        case(
            "a status in trailers",
            Part,
            &[
                plain(),
                data(b"x", false),
                trailers(&[(b":status", b"200")], true),
            ],
        ),
        case(
            "a length in trailers",
            Part,
            &[
                plain(),
                data(b"x", false),
                trailers(&[(b"content-length", b"1")], true),
            ],
        ),
        case(
            "a connection in trailers",
            Part,
            &[
                plain(),
                data(b"x", false),
                trailers(&[(b"connection", b"x")], true),
            ],
        ),
        case(
            "CRLF in trailers",
            Part,
            &[
                plain(),
                data(b"x", false),
                trailers(&[(b"x", b"y\r\n\r\nHTTP/1.1 200 OK")], true),
            ],
        ),
    ]
}

fn without_bodies() -> Vec<Case> {
    vec![
        case(
            "a body for HEAD",
            Any,
            &[length(b"5", false), data(b"hello", true)],
        )
        .method("HEAD"),
        case("a length for HEAD", Whole, &[length(b"5", true)]).method("HEAD"),
        case(
            "a body of a 204",
            Any,
            &[answer("204", &[], false), data(b"hello", true)],
        ),
        case(
            "a body of a 304",
            Any,
            &[answer("304", &[], false), data(b"hello", true)],
        ),
        case(
            "a thousand interim answers",
            Any,
            &[
                answer("103", &[], false).repeat(1000),
                answer("200", &[], true),
            ],
        ),
        case(
            "interim answers without end",
            Error,
            &[answer("103", &[(b"x", &[b'y'; 4000])], false).repeat(1000)],
        ),
    ]
}

fn setting(id: u16, value: u32) -> Vec<u8> {
    let entry = [&id.to_be_bytes()[..], &value.to_be_bytes()].concat();
    frame(SETTINGS, 0, 0, &entry)
}

fn away(last: u32, code: u32) -> Vec<u8> {
    let payload = [last.to_be_bytes(), code.to_be_bytes()].concat();
    frame(GOAWAY, 0, 0, &payload)
}

fn connections() -> Vec<Case> {
    vec![
        case(
            "a promise",
            Error,
            &[frame(PUSH_PROMISE, END_HEADERS, 1, &[0, 0, 0, 2, 0x88])],
        ),
        case(
            "a stream of its own",
            Error,
            &[headers(2, &block(&[(b":status", b"200")]), true)],
        ),
        case(
            "a stream of ours that is not open",
            Error,
            &[headers(7, &block(&[(b":status", b"200")]), true)],
        ),
        case(
            "data on a stream that is not open",
            Error,
            &[frame(DATA, 0, 9, b"x")],
        ),
        case("a reset", Error, &[word(RST_STREAM, 1, 8)]),
        case("a refusal", Error, &[word(RST_STREAM, 1, 7)]),
        case(
            "a reset behind the head",
            Part,
            &[plain(), data(b"x", false), word(RST_STREAM, 1, 8)],
        ),
        case(
            "a reset without an error behind the head",
            Part,
            &[plain(), data(b"x", false), word(RST_STREAM, 1, 0)],
        ),
        case(
            "a reset of a stream that is not open",
            Error,
            &[word(RST_STREAM, 9, 8)],
        ),
        case("goes away without us", Error, &[away(0, 0)]),
        case(
            "goes away behind us",
            Whole,
            &[away(1, 0), answer("200", &[], true)],
        ),
        case(
            "goes away in the middle",
            Whole,
            &[plain(), away(1, 0), data(b"x", true)],
        ),
        case("goes away with an error", Error, &[away(0, 11)]),
    ]
}

fn windows() -> Vec<Case> {
    vec![
        case("a window above all", Error, &[setting(4, 1 << 31)]),
        case("frames of no bytes", Error, &[setting(5, 0)]),
        case("a push that it may not have", Error, &[setting(2, 2)]),
        case("half a setting", Error, &[frame(SETTINGS, 0, 0, &[0; 5])]),
        case("a window by nothing", Error, &[word(WINDOW_UPDATE, 0, 0)]),
        case(
            "a stream's window by nothing",
            Error,
            &[word(WINDOW_UPDATE, 1, 0)],
        ),
        case(
            "a window that overflows",
            Error,
            &[word(WINDOW_UPDATE, 0, 0x7fff_ffff)],
        ),
        case(
            "a frame that is too long",
            Error,
            &[frame(DATA, 0, 1, &[0; 20_000])],
        ),
    ]
}

fn broken() -> Vec<Case> {
    vec![
        case(
            "padding beyond its frame",
            Part,
            &[plain(), frame(DATA, PADDED, 1, &[9, 0])],
        ),
        case(
            "CONTINUATION of nothing",
            Error,
            &[frame(CONTINUATION, END_HEADERS, 1, &[0x88])],
        ),
        case(
            "a head that is interrupted",
            Error,
            &[frame(HEADERS, 0, 1, &[0x88]), frame(PING, 0, 0, &[0; 8])],
        ),
        case(
            "a head without an end",
            Error,
            &[
                frame(HEADERS, 0, 1, &[0x88]),
                frame(CONTINUATION, 0, 1, &[0x88]).repeat(100),
            ],
        ),
        case("a short PING", Error, &[frame(PING, 0, 0, &[0; 7])]),
        case(
            "a flood of PINGs",
            Error,
            &[frame(PING, 0, 0, &[0; 8]).repeat(5_000)],
        ),
        case(
            "a flood of SETTINGS",
            Error,
            &[frame(SETTINGS, 0, 0, &[]).repeat(5_000)],
        ),
        case(
            "a flood of empty data",
            Any,
            &[plain(), data(b"", false).repeat(5_000)],
        ),
        case(
            "a flood of WINDOW_UPDATEs",
            Error,
            &[word(WINDOW_UPDATE, 0, 1).repeat(50_000)],
        ),
        case(
            "a flood of unknown frames",
            Error,
            &[frame(99, 0, 0, b"x").repeat(5_000)],
        ),
        case(
            "another protocol",
            Error,
            &[b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()],
        ),
        case("nothing but the end", Error, &[]),
    ]
}

/// Creates an HTTP/2 server that responds to `/good`, and to `/bad/N` by case N, and then
/// closes.
fn server(cases: Vec<Vec<u8>>) -> ScriptedOrigin {
    ScriptedOrigin::new(move |peer, _| {
        let Some(mut raw) = Raw::origin(peer) else {
            return;
        };
        while let Some(seen) = raw.next() {
            match seen.kind {
                SETTINGS if seen.flags & ACK == 0 => {
                    raw.send(frame(SETTINGS, ACK, 0, b""));
                }
                HEADERS => {
                    let fields = raw.fields(&seen.payload);
                    let path = fields.lines().find(|line| line.starts_with(":path"));
                    let path = path.unwrap_or_default().trim_start_matches(":path: ");
                    let Some(number) = path.strip_prefix("/bad/") else {
                        let good = block(&[(b":status", b"200"), (b"content-length", b"2")]);
                        raw.send(headers(seen.stream, &good, false));
                        raw.send(frame(DATA, END_STREAM, seen.stream, b"ok"));
                        continue;
                    };
                    let number: usize = number.parse().unwrap();
                    raw.send(&cases[number]);
                    raw.peer.half_close();
                    raw.peer.rest();
                    return;
                }
                _ => {}
            }
        }
    })
}

/// Classifies what an HTTP/1 client got.
fn of_text(text: &str, to_head: bool) -> Gets {
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return Error;
    };
    let bodiless = to_head || head.contains(" 204 ") || head.contains(" 304 ");
    let length = head.split_once("content-length: ");
    let length = length.and_then(|(_, rest)| rest.split("\r\n").next()?.parse::<usize>().ok());
    if head.starts_with("HTTP/1.1 50") {
        Error
    } else if head.starts_with("HTTP/1.1 1") {
        of_text(body, to_head)
    } else if head.contains("transfer-encoding: chunked") && !bodiless {
        if body.ends_with("0\r\n\r\n") {
            Whole
        } else {
            Part
        }
    } else if length.is_some_and(|n| n != body.len()) && !bodiless {
        Part
    } else {
        assert!(!bodiless || body.is_empty(), "{text}");
        Whole
    }
}

/// Classifies what an HTTP/2 client got.
fn of_answer(answer: &Answer2) -> Gets {
    if answer.head.starts_with(":status: 50") {
        Error
    } else if answer.reset.is_some() {
        Part
    } else {
        Whole
    }
}

#[test]
fn protocol_violations_of_servers_are_detected() {
    let cases: Vec<Case> = [
        heads(),
        bodies(),
        ends(),
        without_bodies(),
        connections(),
        windows(),
        broken(),
    ]
    .into_iter()
    .flatten()
    .collect();
    assert!(cases.len() > 70);
    let origin = server(cases.iter().map(|case| case.frames.clone()).collect());
    let text = format!(
        "frontend front\n bind 127.0.0.1:{{0}}\n default_backend back\n\
         backend back\n retries 1\n timeout connect 100ms\n server s 127.0.0.1:{} proto h2\n",
        origin.port
    );
    let bed = ProxyFixture::new(&text);
    let mut wrong = Vec::new();
    for (n, case) in cases.iter().enumerate() {
        let mut old = bed.client();
        let method = case.method;
        old.send(format!(
            "{method} /bad/{n} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
        ));
        let text = old.rest();
        let mut new = Peer2::client(bed.client());
        let stream = new.fields(
            0,
            &crate::peer2::request(method, &format!("/bad/{n}")),
            true,
        );
        let answer = new.answer(stream);
        assert_eq!(new.ask("/good"), "200 ok", "{}", case.name);
        for (got, seen) in [
            (of_text(&text, method == "HEAD"), text),
            (of_answer(&answer), format!("{answer:?}")),
        ] {
            // A body that violates the protocol at once may get an error response.
            let fine = got == case.gets || case.gets == Any || (case.gets, got) == (Part, Error);
            if against_haproxy() {
                println!("{}: {got:?}", case.name);
            } else if !fine {
                let seen: String = seen.chars().take(200).collect();
                wrong.push(format!(
                    "{}: {got:?} not {:?}: {seen:?}",
                    case.name, case.gets
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    bed.counts("back/s", "scur qcur", "");
}

/// Whatever a rule adds, an HTTP/1 client knows where a response without a body ends: by its
/// length, or because the connection is closed.
#[test]
fn response_without_body_ends_for_an_http1_client_with_a_full_head() {
    let origin = server(vec![answer("200", &[(b"a", b"b")], true)]);
    let text = format!(
        "frontend front\n bind 127.0.0.1:{{0}}\n default_backend back\n\
         backend back\n timeout connect 100ms\n http-response set-header a %[var(txn.pad)]\n \
         http-response set-header pad %[var(txn.pad)]\n \
         http-request set-var(txn.pad) req.hdr(pad)\n server s 127.0.0.1:{} proto h2\n",
        origin.port
    );
    let bed = ProxyFixture::new(&text);
    let mut without_length = 0;
    for bytes in 8_100..8_250 {
        let mut client = bed.client();
        let pad = "p".repeat(bytes);
        client.send(format!(
            "GET /bad/0 HTTP/1.1\r\nHost: h\r\nPad: {pad}\r\n\r\n"
        ));
        let head = client.until("\r\n\r\n");
        if head.starts_with("HTTP/1.1 200") && !head.contains("content-length: 0") {
            without_length += 1;
            assert_eq!(client.rest(), "", "{bytes}");
        }
    }
    assert!(without_length > 0, "no head was full");
}

#[test]
fn a_server_that_allows_no_streams_gets_none_and_its_clients_an_error() {
    if against_haproxy() {
        return;
    }
    let origin = ScriptedOrigin::new(|peer, _| {
        let Some(mut raw) = Raw::origin(peer) else {
            return;
        };
        raw.send(frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 0]));
        while let Some(seen) = raw.next() {
            if seen.kind == HEADERS {
                raw.send(word(RST_STREAM, seen.stream, 7));
            }
        }
    });
    let text = format!(
        "frontend front\n bind 127.0.0.1:{{0}}\n default_backend back\n\
         backend back\n timeout connect 200ms\n timeout server 1s\n timeout queue 1s\n\
         server s 127.0.0.1:{} proto h2\n",
        origin.port
    );
    let bed = ProxyFixture::new(&text);
    for _ in 0..5 {
        let answer = bed.ask("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
        assert!(answer.starts_with("HTTP/1.1 50"), "{answer}");
    }
    bed.counts("back/s", "scur qcur", "");
    assert!(origin.accepted() < 100, "{} connections", origin.accepted());
}

fn random_bytes(random: &mut Random, most: usize) -> Vec<u8> {
    (0..random.index(most + 1))
        .map(|_| random.index(256) as u8)
        .collect()
}

/// Builds a random header block, valid about half of the time.
fn random_block(random: &mut Random, client: bool) -> Vec<u8> {
    let lengths: [&[u8]; 4] = [b"0", b"5", b"1000", b"18446744073709551615"];
    let mut out = match (client, random.index(10)) {
        (_, 0) => return random_bytes(random, 40),
        (true, 1) => raw2::method("HEAD", "/a"),
        (true, 2) => block(&[(b":method", b"CONNECT"), (b":authority", b"h:1")]),
        (true, 3..6) => raw2::method("POST", "/a"),
        (true, _) => raw2::get("/a"),
        (false, 1) => block(&[(b":status", b"100")]),
        (false, 2) => block(&[(b":status", b"204")]),
        (false, 3) => block(&[(b":status", b"304")]),
        (false, _) => block(&[(b":status", b"200")]),
    };
    if random.index(4) == 0 {
        raw2::field(b"content-length", random.pick(&lengths), &mut out);
    }
    if random.index(8) == 0 {
        raw2::indexed_field(b"x", &random_bytes(random, 2000), &mut out);
    }
    out
}

/// Builds a random frame, valid in its place about half of the time.
fn random_frame(random: &mut Random, client: bool, next: &mut u32) -> Vec<u8> {
    let stream = match random.index(12) {
        0 => 0,
        1 => random.index(20) as u32,
        _ => next.saturating_sub(2 * random.index(4) as u32).max(1),
    };
    let windows = [0, 1, 100, 65_535, 1 << 20, 0x7fff_ffff, 1 << 31];
    let end = random.pick(&[0, 0, END_STREAM]);
    match random.index(22) {
        0..7 => {
            if client {
                *next += 2;
            }
            let flags = random.pick(&[END_HEADERS, END_HEADERS, END_HEADERS, 0]);
            let head = random_block(random, client);
            frame(
                HEADERS,
                flags | end,
                if client { *next } else { stream },
                &head,
            )
        }
        7..12 => {
            let bytes = random.pick(&[0, 5, 5, 1000, 16_384]);
            frame(DATA, end, stream, &vec![7; bytes])
        }
        12 => frame(DATA, PADDED | end, stream, &random_bytes(random, 300)),
        13 => frame(
            CONTINUATION,
            random.pick(&[0, END_HEADERS]),
            stream,
            &random_block(random, client),
        ),
        14 => word(RST_STREAM, stream, random.index(16) as u32),
        15 => word(
            WINDOW_UPDATE,
            random.pick(&[0, stream]),
            random.pick(&windows),
        ),
        16 => {
            let id = 1 + random.index(8) as u16;
            let value = random.pick(&windows).to_be_bytes();
            frame(SETTINGS, 0, 0, &[&id.to_be_bytes()[..], &value].concat())
        }
        17 => frame(PING, random.pick(&[0, ACK]), 0, &[7; 8]),
        18 => frame(PRIORITY, 0, stream, &[0, 0, 0, 3, 1]),
        19 => headers(stream, &block(&[(b"x", b"y")]), true),
        20 => frame(GOAWAY, 0, 0, &[0; 8]),
        _ => {
            let kind = random.index(14) as u8;
            let flags = random.index(256) as u8;
            frame(kind, flags, stream, &random_bytes(random, 30))
        }
    }
}

/// Sends random frames and ends the connection in a random way.
fn play(raw: &mut Raw, random: &mut Random, client: bool) {
    let mut next = if client { 1 } else { 3 };
    for _ in 0..random.index(40) {
        let mut bytes = random_frame(random, client, &mut next);
        if random.index(60) == 0 {
            bytes.truncate(random.index(bytes.len()));
        }
        if !raw.send(bytes) {
            return;
        }
        if random.index(10) == 0 {
            let short = Some(Duration::from_millis(1));
            let _ = raw.peer.socket.set_read_timeout(short);
            let _ = raw.peer.more();
            raw.peer.ahead.clear();
        }
    }
    let _ = raw.peer.socket.set_read_timeout(Some(PATIENCE));
    match random.index(3) {
        0 => {}
        1 => raw.peer.half_close(),
        _ => {
            raw.peer.half_close();
            raw.peer.rest();
        }
    }
}

const SEEDS: u64 = 500;

#[test]
fn random_frames_in_both_roles_break_nothing_and_leave_nothing() {
    if against_haproxy() {
        return;
    }
    apart(
        "hostile_servers::random_frames_in_both_roles_break_nothing_and_leave_nothing",
        || {
            let (good, echo) = (server(Vec::new()), ScriptedOrigin::echo());
            let seeds = std::sync::atomic::AtomicU64::new(0);
            let wild = ScriptedOrigin::new(move |peer, _| {
                let seed = seeds.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                if let Some(mut raw) = Raw::origin(peer) {
                    play(&mut raw, &mut Random::new(seed + 1_000_000), false);
                }
            });
            let text = format!(
                "defaults\n mode http\n timeout client 200ms\n timeout server 200ms\n timeout connect 200ms\n\
                 frontend front\n bind 127.0.0.1:{{0}}\n default_backend back\n\
                 frontend old\n bind 127.0.0.1:{{2}}\n default_backend old\n\
                 frontend wild\n bind 127.0.0.1:{{1}}\n default_backend wild\n\
                 backend back\n server s 127.0.0.1:{} proto h2\n\
                 backend wild\n retries 0\n server s 127.0.0.1:{} proto h2\n\
                 backend old\n server s 127.0.0.1:{}\n",
                good.port, wild.port, echo.port
            );
            let bed = ProxyFixture::new(&text);
            let mut marks = Vec::new();
            for seed in 0..SEEDS {
                let mut random = Random::new(seed);
                let port = random.index(3);
                let mut raw = Raw::client(bed.client_of(port));
                play(&mut raw, &mut random, true);
                drop(raw);
                // A misbehaving server needs a client that sends requests.
                let mut old = bed.client_of(1);
                old.try_send("POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello");
                old.half_close();
                if seed % 20 == 0 {
                    assert_eq!(Peer2::client(bed.client()).ask("/good"), "200 ok", "{seed}");
                }
                if seed % 100 == 99 {
                    at_rest(&bed);
                    println!("{} bytes live behind seed {seed}", living::bytes());
                    marks.push(living::bytes());
                }
            }
            // Pools fill up to their bounds; what leaks grows every time.
            let grown = marks.windows(2).map(|two| two[1].saturating_sub(two[0]));
            assert!(
                grown.min().is_some_and(|least| least < 1 << 20),
                "{marks:?}"
            );
        },
    );
}

/// Waits until no stream and no client connection is left.
fn at_rest(bed: &ProxyFixture) {
    bed.counts("back/s", "scur qcur", "");
    bed.counts("front", "scur", "");
    ProxyFixture::forget_ended();
    pause(50);
}
