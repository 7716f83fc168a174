//! Tests the fields that are sent over HTTP/2 for an HTTP/1 message.

use super::*;
use crate::http1::{ParseStatus, parse_request, parse_response};

fn joined<'a>(fields: impl Iterator<Item = outgoing::HeaderPair<'a>>) -> String {
    fields
        .map(|(name, value)| format!("{}={}", name.escape_ascii(), value.escape_ascii()))
        .collect::<Vec<_>>()
        .join(" ")
}

fn http1_request(head: &str) -> (Parsed, HttpMessage) {
    let mut message = HttpMessage::new();
    match parse_request(head.as_bytes(), &Limits::default(), &mut message) {
        Ok(ParseStatus::Done(parsed)) => (parsed, message),
        other => panic!("{head:?}: {other:?}"),
    }
}

fn sent(head: &str) -> String {
    let (_, message) = http1_request(head);
    match outgoing::request(&message, b"http") {
        Ok(fields) => joined(fields.iter()),
        Err(why) => format!("{why:?}"),
    }
}

#[test]
fn requests_of_http1_leave_their_connection_behind() {
    #[rustfmt::skip]
    let table = [
        ("GET /a?b HTTP/1.1\r\nUser-Agent: x\r\nHost: Ex.com:8080\r\nCookie: a=1; b=2\r\nTE: trailers, gzip\r\n\r\n",
         ":method=GET :scheme=http :authority=Ex.com:8080 :path=/a?b user-agent=x cookie=a=1; b=2 te=trailers"),
        ("GET /a HTTP/1.0\r\nX-B: 1\r\n\r\n", ":method=GET :scheme=http :path=/a x-b=1"),
        ("GET https://u.com/a?b HTTP/1.1\r\nHost: u.com\r\n\r\n", ":method=GET :scheme=https :authority=u.com :path=/a?b"),
        ("GET http://u:p@u.com HTTP/1.1\r\n\r\n", ":method=GET :scheme=http :authority=u.com :path=/"),
        ("OPTIONS * HTTP/1.1\r\nHost: u\r\n\r\n", ":method=OPTIONS :scheme=http :authority=u :path=*"),
        ("OPTIONS http://u HTTP/1.1\r\nHost: u\r\n\r\n", ":method=OPTIONS :scheme=http :authority=u :path=*"),
        ("GET / HTTP/1.1\r\nHost: u\r\nConnection: x-b, close\r\nKeep-Alive: 1\r\nProxy-Connection: 1\r\nUpgrade: h2c\r\nHTTP2-Settings: a\r\nX-C: 1\r\n\r\n",
         ":method=GET :scheme=http :authority=u :path=/ x-c=1"),
        ("POST / HTTP/1.1\r\nHost: u\r\nTransfer-Encoding: chunked\r\nTrailer: x\r\n\r\n",
         ":method=POST :scheme=http :authority=u :path=/ trailer=x"),
        ("POST / HTTP/1.1\r\nHost: u\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n",
         ":method=POST :scheme=http :authority=u :path=/ content-length=3 expect=100-continue"),
        ("CONNECT u.com:443 HTTP/1.1\r\nHost: u.com\r\n\r\n", ":method=CONNECT :authority=u.com:443"),
        ("GET /a HTTP/1.1\r\nHost: u\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
         ":method=CONNECT :scheme=http :authority=u :path=/a :protocol=websocket sec-websocket-version=13"),
        ("GET /a HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", "Authority"),
        ("GET /a HTTP/1.1\r\nHost: u\r\nUpgrade: foo\r\nConnection: Upgrade\r\n\r\n", ":method=CONNECT :scheme=http :authority=u :path=/a :protocol=foo"),
        ("GET /a HTTP/1.1\r\nHost: u\r\nUpgrade: websocket\r\n\r\n", ":method=GET :scheme=http :authority=u :path=/a"),
    ];
    for (head, expected) in table {
        assert_eq!(sent(head), expected, "{head}");
    }
}

#[test]
fn responses_of_http1_leave_their_connection_behind() {
    let get = RequestFacts::default();
    let upgrade = RequestFacts {
        upgrade: Some(Upgrade::WebSocket),
        ..get
    };
    let upgraded = "HTTP/1.1 101 Yes\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\
                    Sec-WebSocket-Accept: a\r\nSec-WebSocket-Protocol: chat\r\n\r\n";
    #[rustfmt::skip]
    let table = [
        (&get, false, "HTTP/1.1 200 Very Fine\r\nConnection: close, X-Foo\r\nKeep-Alive: 3\r\nUpgrade: h2c\r\nX-Foo: 1\r\nSet-Cookie: a\r\nSet-Cookie: b\r\nProxy-Connection: 1\r\nTransfer-Encoding: chunked\r\nTrailer: x\r\n\r\n",
         ":status=200 x-foo=1 set-cookie=a set-cookie=b trailer=x"),
        (&get, false, "HTTP/1.1 304 No\r\nContent-Length: 10\r\n\r\n", ":status=304 content-length=10"),
        (&get, false, "HTTP/1.1 103 Early\r\nLink: x\r\n\r\n", ":status=103 link=x"),
        (&upgrade, true, upgraded, ":status=200 sec-websocket-protocol=chat"),
        // Without extended CONNECT a 101 is unexpected; with it no other success opens a tunnel.
        (&upgrade, false, upgraded, ":status=502 sec-websocket-protocol=chat"),
        (&upgrade, true, "HTTP/1.1 200 OK\r\nX: 1\r\n\r\n", ":status=502 x=1"),
        (&upgrade, true, "HTTP/1.1 403 No\r\nX: 1\r\n\r\n", ":status=403 x=1"),
    ];
    for (facts, extended, head, expected) in table {
        let mut message = HttpMessage::new();
        parse_response(head.as_bytes(), facts, &Limits::default(), &mut message).unwrap();
        let fields = outgoing::response(&message, extended).unwrap();
        assert_eq!(joined(fields.iter()), expected, "{head}");
    }
}

#[test]
fn header_names_forbidden_in_http2_are_dropped() {
    let limits = Limits {
        accept_invalid: true,
        ..Limits::default()
    };
    let head = b"GET / HTTP/1.1\r\nHost: u\r\nodd name: 1\r\nx: 1\r\n\r\n";
    let mut message = HttpMessage::new();
    parse_request(head, &limits, &mut message).unwrap();
    assert!(message.fields().contains(b"odd name"));
    let fields = outgoing::request(&message, b"http").unwrap();
    let expected = ":method=GET :scheme=http :authority=u :path=/ x=1";
    assert_eq!(joined(fields.iter()), expected);
    assert!(outgoing::response(&message, false).is_err());
}

#[test]
fn forbidden_trailers_are_dropped() {
    let mut trailers = crate::message::Fields::new();
    for name in ["x-t", "connection", "content-length", "grpc-status", "te"] {
        trailers.add(name.as_bytes(), b"1").unwrap();
    }
    assert_eq!(joined(outgoing::trailers(&trailers)), "x-t=1 grpc-status=1");
}

/// Parses the HTTP/1 form of a request, as its server would.
fn at_http1(message: &HttpMessage, parsed: &Parsed) -> HttpMessage {
    let mut wire = Vec::new();
    write_request(message, parsed.body == BodyLength::Stream, &mut wire);
    let mut read = HttpMessage::new();
    let outcome = parse_request(&wire, &Limits::default(), &mut read);
    assert!(matches!(outcome, Ok(ParseStatus::Done(_))), "{outcome:?}");
    read
}

#[test]
fn a_server_of_http1_gets_a_path_and_chunks() {
    let written = |fields: &[(&str, &str)], end| {
        let (result, message) = request_of(fields, end);
        let parsed = result.unwrap();
        let message = at_http1(&message, &parsed);
        describe(Ok(parsed), &message)
    };
    let front = [(":scheme", "https"), (":authority", "ex.com")];
    let of = |method, path| [&front[..], &[(":method", method), (":path", path)]].concat();
    assert_eq!(
        written(&of("GET", "/p?a"), true),
        "GET /p?a HTTP/1.1|host: ex.com|| none"
    );
    assert_eq!(
        written(&of("GET", "/p?a"), false),
        "GET /p?a HTTP/1.1|host: ex.com|transfer-encoding: chunked|| stream"
    );
    assert_eq!(
        written(&of("OPTIONS", "*"), true),
        "OPTIONS * HTTP/1.1|host: ex.com|| none"
    );
    let connect = [(":method", "CONNECT"), (":authority", "ex.com:443")];
    assert_eq!(
        written(&connect, false),
        "CONNECT ex.com:443 HTTP/1.1|host: ex.com|| none"
    );
    // A target changed by rules is forwarded.
    let (result, mut message) = request_of(&of("GET", "/p?a"), true);
    message.set_path(b"/new").unwrap();
    message.set(b"host", b"other").unwrap();
    let message = at_http1(&message, &result.unwrap());
    assert_eq!(message.target(), b"/new?a");
    let (result, mut message) = request_of(&of("GET", "/p?a"), true);
    message.set_target(b"http://other.com/zz").unwrap();
    let message = at_http1(&message, &result.unwrap());
    assert_eq!(message.target(), b"http://other.com/zz");
    assert_eq!(message.get(b"host"), Some(&b"other.com"[..]));
    // HTTP/1 requests are not changed.
    let (parsed, message) = http1_request("GET http://u/a HTTP/1.1\r\nHost: u\r\n\r\n");
    let message = at_http1(&message, &parsed);
    assert_eq!(message.target(), b"http://u/a");
}

/// Tests a head without space for framing: without it the body would be parsed as the next request.
#[test]
fn full_head_still_declares_chunked_encoding() {
    let fields = [
        (":method", "POST"),
        (":scheme", "https"),
        (":authority", "ex.com"),
        (":path", "/p"),
    ];
    let (result, mut message) = request_of(&fields, false);
    message.set_limit(message.wire_len());
    assert!(message.add(b"transfer-encoding", b"chunked").is_err());
    let read = at_http1(&message, &result.unwrap());
    assert_eq!(read.get(b"transfer-encoding"), Some(&b"chunked"[..]));
}
