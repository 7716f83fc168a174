//! Tests properties of the HTTP/2 conversion for any field list and any message.

use super::*;
use crate::http1::{ParseStatus, parse_request, parse_response};
use proptest::prelude::*;

#[rustfmt::skip]
const VALUES: &[&[u8]] = &[
    b"1", b"GET", b"POST", b"CONNECT", b"OPTIONS", b"HEAD", b"https", b"http", b"/", b"/a?b", b"*", b"a", b"a:443", b"a:80", b"b", b"websocket", b"h2c", b"foo", b"chunked", b"trailers", b"close", b"0", b"5", b"5, 5", b"100-continue", b"200", b"100", b"101", b"204", b"", b" a ", b"a\r\nb: c", b"a\0", b"/ HTTP/1.1\r\n\r\n", b"u@a", b"[::1]:1",
];

#[rustfmt::skip]
const NAMES: &[&[u8]] = &[
    b"host", b"content-length", b"transfer-encoding", b"connection", b"upgrade", b"te", b"expect", b"cookie", b"x-a", b"x-b", b"keep-alive", b"sec-websocket-key", b"http2-settings", b":method", b":path", b":status", b"trailer", b"Host",
];

fn value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        proptest::sample::select(VALUES).prop_map(<[u8]>::to_vec),
        proptest::collection::vec(any::<u8>(), 0..8),
        "[ -~]{0,10}".prop_map(String::into_bytes),
    ]
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        8 => proptest::sample::select(NAMES)
        .prop_map(<[u8]>::to_vec),
        1 => proptest::collection::vec(any::<u8>(), 0..6),
        3 => "[a-z-]{1,8}".prop_map(String::into_bytes),
    ]
}

type OwnedField = (Vec<u8>, Vec<u8>);

/// Generates lists that are often nearly valid.
fn fields(
    front: &'static [(&'static str, &'static [&'static str])],
) -> impl Strategy<Value = Vec<OwnedField>> {
    let pseudo: Vec<_> = front
        .iter()
        .map(|(name, usual)| {
            let value = prop_oneof![
                9 => proptest::sample::select(*usual).prop_map(|v| v.as_bytes().to_vec()),
                1 => value(),
            ];
            let name = name.as_bytes().to_vec();
            proptest::option::weighted(0.9, value)
                .prop_map(move |value| value.map(|value| (name.clone(), value)))
        })
        .collect();
    (pseudo, proptest::collection::vec((name(), value()), 0..5))
        .prop_map(|(front, rest)| front.into_iter().flatten().chain(rest).collect())
}

const REQUEST: &[(&str, &[&str])] = &[
    (":method", &["GET", "POST", "HEAD", "OPTIONS", "CONNECT"]),
    (":scheme", &["http", "https"]),
    (":path", &["/", "/a?b=c", "//x", "*"]),
    (":authority", &["a", "a:443", "b.example:8080"]),
];
const TUNNEL: &[(&str, &[&str])] = &[
    (":method", &["CONNECT"]),
    (":protocol", &["websocket", "foo"]),
    (":scheme", &["http", "https"]),
    (":path", &["/"]),
    (":authority", &["a", "a:443"]),
];
const RESPONSE: &[(&str, &[&str])] = &[(":status", &["200", "204", "304", "404", "100", "103"])];

fn list_of(fields: &[OwnedField]) -> FieldList {
    let mut list = FieldList::new(1 << 16, 100);
    for (name, value) in fields {
        list.push(name, value);
    }
    list
}

/// Asserts that an accepted request, as written for HTTP/1, is one request that HTTP/1 parses in
/// the same way.
fn assert_no_smuggling(message: &HttpMessage, parsed: &Parsed) {
    let mut wire = Vec::new();
    write_request(message, parsed.body == BodyLength::Stream, &mut wire);
    let shown = wire.escape_ascii().to_string();
    let mut again = HttpMessage::new();
    let Ok(ParseStatus::Done(second)) = parse_request(&wire, &Limits::default(), &mut again) else {
        panic!("not read again: {shown}");
    };
    assert_eq!(second.consumed, wire.len(), "{shown}");
    let body = match parsed.body {
        BodyLength::Stream => BodyLength::Chunked,
        body => body,
    };
    assert_eq!(second.body, body, "{shown}");
    assert_eq!(second.upgrade, parsed.upgrade, "{shown}");
    assert_eq!(second.expect_continue, parsed.expect_continue, "{shown}");
    let mut twice = Vec::new();
    again.write_http1(&mut twice);
    assert_eq!(twice.escape_ascii().to_string(), shown);
}

/// Asserts that the parser accepts the fields that are sent for a message.
fn assert_sendable(message: &HttpMessage, parsed: &Parsed) {
    let fields = match outgoing::request(message, b"https") {
        Ok(fields) => fields,
        Err(outgoing::Unsendable::Target) => {
            assert!(message.target() == b"*" && message.method() != b"OPTIONS");
            return;
        }
        Err(why) => {
            assert_eq!(why, outgoing::Unsendable::Authority);
            assert!(crate::websocket::protocol_of(message).is_some());
            return;
        }
    };
    let mut list = FieldList::new(1 << 20, 1000);
    for (name, value) in fields.iter() {
        list.push(name, value);
    }
    let end = matches!(parsed.body, BodyLength::None | BodyLength::Length(0));
    let mut again = HttpMessage::new();
    let result = request(&list, end, &Limits::default(), &mut again);
    assert!(result.is_ok(), "{result:?}: {list:?}");
    assert_eq!(
        crate::websocket::is_request(&again),
        crate::websocket::is_request(message)
    );
    let has_host = message
        .get(b"host")
        .is_some_and(|host| !matches!(host, [] | [b':', ..]));
    let has_authority = message.get(b"host").is_none() && message.target_authority().is_some();
    assert_eq!(again.get(b"host").is_some(), has_host || has_authority);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn an_accepted_request_is_the_same_to_http1(
        fields in prop_oneof![3 => fields(REQUEST), 1 => fields(TUNNEL)],
        end in any::<bool>(),
    ) {
        let mut message = HttpMessage::new();
        let result = request(&list_of(&fields), end, &Limits::default(), &mut message);
        if let Ok(parsed) = result {
            assert_sendable(&message, &parsed);
            assert_no_smuggling(&message, &parsed);
        }
    }

    #[test]
    fn an_accepted_response_is_the_same_to_http1(
        fields in fields(RESPONSE),
        end in any::<bool>(),
        (head, connect, websocket) in any::<(bool, bool, bool)>(),
    ) {
        let facts = RequestFacts {
            head,
            connect,
            upgrade: websocket.then_some(Upgrade::WebSocket),
            ..RequestFacts::default()
        };
        let limits = Limits::default();
        let mut message = HttpMessage::new();
        let result = response(&list_of(&fields), end, &facts, &limits, &mut message);
        let Ok(parsed) = result else { return Ok(()) };
        if parsed.upgrade.is_some() {
            // Skips an upgrade, whose response has no accept value, because there was no key.
            return Ok(());
        }
        let mut wire = Vec::new();
        message.write_http1(&mut wire);
        let mut again = HttpMessage::new();
        let Ok(ParseStatus::Done(second)) = parse_response(&wire, &facts, &limits, &mut again) else {
            panic!("not read again: {}", wire.escape_ascii());
        };
        prop_assert_eq!(second.consumed, wire.len());
        prop_assert_eq!(second.interim, parsed.interim);
        let body = match parsed.body {
            // Without a length HTTP/1 uses the close; a driver adds a length.
            BodyLength::Stream => BodyLength::UntilClose,
            BodyLength::None if second.body == BodyLength::UntilClose => BodyLength::UntilClose,
            body => body,
        };
        prop_assert_eq!(second.body, body);
        let sent = outgoing::response(&message, false).unwrap();
        let mut list = FieldList::new(1 << 20, 1000);
        for (name, value) in sent.iter() {
            list.push(name, value);
        }
        let mut third = HttpMessage::new();
        prop_assert!(response(&list, end, &facts, &limits, &mut third).is_ok());
    }

    #[test]
    fn accepted_trailers_are_the_same_to_http1_and_http2(
        fields in proptest::collection::vec((name(), value()), 0..5),
    ) {
        if let Ok(taken) = trailers(&list_of(&fields)) {
            let mut list = FieldList::new(1 << 20, 1000);
            for (name, value) in outgoing::trailers(&taken) {
                list.push(name, value);
            }
            prop_assert_eq!(list.len(), taken.len());
            prop_assert!(trailers(&list).is_ok());
            let mut wire = Vec::new();
            taken.write_lines(&mut wire);
            let lines = wire.iter().filter(|b| **b == b'\n').count();
            prop_assert_eq!(lines, taken.len());
        }
    }

    #[test]
    fn accepted_http1_requests_can_be_sent_over_http2(
        method in "(GET|POST|HEAD|OPTIONS|CONNECT|get|PURGE)",
        target in "(/|/[!-~]{0,6}|\\*|http://a/b|https://a:443|http://a:80/|a:443)",
        fields in proptest::collection::vec((name(), value()), 0..5),
        version in "(1\\.0|1\\.1)",
    ) {
        let mut head = format!("{method} {target} HTTP/{version}\r\n").into_bytes();
        for (name, value) in fields {
            head.extend_from_slice(&name);
            head.extend_from_slice(b": ");
            head.extend_from_slice(&value);
            head.extend_from_slice(b"\r\n");
        }
        head.extend_from_slice(b"\r\n");
        let mut message = HttpMessage::new();
        let result = parse_request(&head, &Limits::default(), &mut message);
        if let Ok(ParseStatus::Done(parsed)) = result {
            assert_sendable(&message, &parsed);
        }
    }

    #[test]
    fn http1_responses_can_be_sent_over_http2(
        status in "(200|204|304|404|100|103|101|299)",
        fields in proptest::collection::vec((name(), value()), 0..5),
        (head, connect) in any::<(bool, bool)>(),
    ) {
        let mut wire = format!("HTTP/1.1 {status} Some reason\r\n").into_bytes();
        for (name, value) in fields {
            wire.extend_from_slice(&name);
            wire.extend_from_slice(b": ");
            wire.extend_from_slice(&value);
            wire.extend_from_slice(b"\r\n");
        }
        wire.extend_from_slice(b"\r\n");
        let facts = RequestFacts { head, connect, ..RequestFacts::default() };
        let limits = Limits::default();
        let mut message = HttpMessage::new();
        let result = parse_response(&wire, &facts, &limits, &mut message);
        let Ok(ParseStatus::Done(parsed)) = result else { return Ok(()) };
        let end = parsed.body == BodyLength::None && !parsed.interim;
        let sent = outgoing::response(&message, false).unwrap();
        let mut list = FieldList::new(1 << 20, 1000);
        for (name, value) in sent.iter() {
            list.push(name, value);
        }
        let mut again = HttpMessage::new();
        let result = response(&list, end, &facts, &limits, &mut again);
        prop_assert!(result.is_ok(), "{:?}: {:?}", result, wire.escape_ascii().to_string());
        prop_assert_eq!(again.status(), message.status());
    }
}
