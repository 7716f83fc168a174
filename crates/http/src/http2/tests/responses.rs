//! Tests the conversion of HTTP/2 responses, one rule per line.

use super::*;

fn facts(head: bool, connect: bool, upgrade: Option<Upgrade>) -> RequestFacts {
    RequestFacts {
        head,
        connect,
        upgrade,
        ..RequestFacts::default()
    }
}

#[test]
fn each_response_has_one_reading() {
    let get = facts(false, false, None);
    let head = facts(true, false, None);
    let connect = facts(false, true, None);
    #[rustfmt::skip]
    let table: &[(&RequestFacts, bool, Pairs<'_>, &str)] = &[
        (&get, true, &[(":status", "200")], "HTTP/1.1 200 || none"),
        (&get, false, &[(":status", "200"), ("x", "1")], "HTTP/1.1 200 |x: 1|| stream"),
        (&get, false, &[(":status", "200"), ("content-length", "2"), ("content-length", "2")], "HTTP/1.1 200 |content-length: 2|| length 2"),
        (&get, false, &[(":status", "200"), ("content-length", "2"), ("content-length", "3")], "ContentLengthsDiffer"),
        (&get, true, &[(":status", "200"), ("content-length", "2")], "LengthWithoutBody"),
        (&get, true, &[(":status", "299"), ("set-cookie", "a"), ("set-cookie", "b")], "HTTP/1.1 299 |set-cookie: a|set-cookie: b|| none"),
        (&head, true, &[(":status", "200"), ("content-length", "10")], "HTTP/1.1 200 |content-length: 10|| none"),
        (&head, false, &[(":status", "200"), ("content-length", "10")], "HTTP/1.1 200 |content-length: 10|| none"),
        (&get, true, &[(":status", "304"), ("content-length", "10")], "HTTP/1.1 304 |content-length: 10|| none"),
        (&get, true, &[(":status", "204"), ("content-length", "0")], "HTTP/1.1 204 || none"),
        (&get, false, &[(":status", "100")], "HTTP/1.1 100 || none interim"),
        (&get, false, &[(":status", "103"), ("link", "x")], "HTTP/1.1 103 |link: x|| none interim"),
        (&get, true, &[(":status", "100")], "InterimEnd"),
        (&get, false, &[(":status", "101")], "UnexpectedUpgrade"),
        (&get, true, &[("x", "1")], "PseudoMissing"),
        (&get, true, &[("x", "1"), (":status", "200")], "PseudoMissing"),
        (&get, true, &[(":status", "200"), ("x", "1"), (":status", "200")], "PseudoHeader"),
        (&get, true, &[(":status", "200"), (":status", "200")], "PseudoHeader"),
        (&get, true, &[(":status", "200"), (":path", "/")], "PseudoHeader"),
        (&get, true, &[(":method", "GET"), (":status", "200")], "PseudoHeader"),
        (&get, true, &[(":status", "20")], "Status"),
        (&get, true, &[(":status", "2000")], "Status"),
        (&get, true, &[(":status", "099")], "Status"),
        (&get, true, &[(":status", "2 0")], "Status"),
        (&get, true, &[(":status", "200 OK\r\nx: y")], "Status"),
        (&get, true, &[(":status", "200"), ("X", "1")], "NameCase"),
        (&get, true, &[(":status", "200"), ("x", "a\r\nb: c")], "ControlByte"),
        (&get, true, &[(":status", "200"), ("connection", "close")], "ConnectionSpecific"),
        (&get, true, &[(":status", "200"), ("transfer-encoding", "chunked")], "ConnectionSpecific"),
        (&get, true, &[(":status", "200"), ("upgrade", "h2c")], "ConnectionSpecific"),
        (&get, true, &[(":status", "200"), ("keep-alive", "1")], "ConnectionSpecific"),
        (&get, true, &[(":status", "200"), ("te", "trailers")], "ConnectionSpecific"),
        (&connect, false, &[(":status", "200"), ("content-length", "5")], "HTTP/1.1 200 || tunnel"),
        (&connect, false, &[(":status", "403")], "HTTP/1.1 403 || stream"),
    ];
    for (facts, end, fields, expected) in table {
        let (result, message) = response_of(fields, *end, facts);
        assert_eq!(describe(result, &message), *expected, "{fields:?}");
    }
}

#[test]
fn a_websocket_that_is_accepted_is_http1s_101() {
    let mut request = HttpMessage::new();
    request
        .begin_request(b"GET", b"/", crate::message::HttpVersion::Http11)
        .unwrap();
    request
        .add(b"sec-websocket-key", b"dGhlIHNhbXBsZSBub25jZQ==")
        .unwrap();
    let facts = RequestFacts::of(&request, Some(Upgrade::WebSocket));
    assert!(!facts.checks_accept);
    let fields = [(":status", "200"), ("sec-websocket-protocol", "chat")];
    let (result, message) = response_of(&fields, false, &facts);
    assert_eq!(
        describe(result, &message),
        "HTTP/1.1 101 |sec-websocket-protocol: chat|connection: upgrade|upgrade: websocket|\
         sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=|| tunnel websocket"
    );
    let (result, message) = response_of(&[(":status", "403")], false, &facts);
    assert_eq!(describe(result, &message), "HTTP/1.1 403 || stream");
}

#[test]
fn own_websocket_key_is_verified_in_the_response() {
    let fields = [
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "https"),
        (":path", "/"),
        (":authority", "a"),
    ];
    let (result, request) = request_of(&fields, false);
    let facts = RequestFacts::of(&request, result.unwrap().upgrade);
    let right = facts.accept.unwrap();
    let right = std::str::from_utf8(right.as_bytes()).unwrap();
    for (accept, is_right) in [(right, true), ("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", false)] {
        let head = format!(
            "HTTP/1.1 101 Switching\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
             sec-websocket-accept: {accept}\r\n\r\n"
        );
        let mut answer = HttpMessage::new();
        let limits = Limits::default();
        let result = crate::http1::parse_response(head.as_bytes(), &facts, &limits, &mut answer);
        assert_eq!(result.is_ok(), is_right, "{result:?}");
    }
}

#[test]
fn a_client_of_http1_gets_a_body_that_ends() {
    use crate::http1::{ConnectionMode, to_client};
    use crate::message::HttpVersion;
    let get = RequestFacts::default();
    let shown = |fields: &[(&str, &str)], end, facts: &RequestFacts, version| {
        let (result, mut message) = response_of(fields, end, facts);
        let parsed = result.unwrap();
        response_to_http1(&mut message, &parsed, facts).unwrap();
        let framing = to_client(version, true, ConnectionMode::KeepAlive, &message, &parsed);
        framing.apply(&mut message).unwrap();
        let text = describe(Ok(parsed), &message);
        (
            text.split("||").next().unwrap().to_owned(),
            framing.keep_alive,
        )
    };
    let ok = [(":status", "200")];
    let chunked = "HTTP/1.1 200 |transfer-encoding: chunked".to_owned();
    assert_eq!(
        shown(&ok, false, &get, HttpVersion::Http11),
        (chunked, true)
    );
    let close = "HTTP/1.1 200 |connection: close".to_owned();
    assert_eq!(shown(&ok, false, &get, HttpVersion::Http10), (close, false));
    let empty = "HTTP/1.1 200 |content-length: 0".to_owned();
    assert_eq!(shown(&ok, true, &get, HttpVersion::Http11), (empty, true));
    let head = facts(true, false, None);
    assert_eq!(
        shown(&ok, true, &head, HttpVersion::Http11).0,
        "HTTP/1.1 200 "
    );
    let unchanged = [(":status", "304")];
    assert_eq!(
        shown(&unchanged, true, &get, HttpVersion::Http11).0,
        "HTTP/1.1 304 "
    );
}
