//! Tests properties of the HTTP/1 parsers for any input: no panic, no dependence on how the bytes
//! arrived, and a forwarded message is parsed by the receiver as it was parsed here.

use super::requests::all_requests;
use super::responses::all_responses;
use super::*;
use crate::message::NAME_BYTES;
use proptest::prelude::*;

/// Asserts that an accepted head is the same after it is written and parsed again.
fn assert_one_reading(message: &HttpMessage, parsed: &Parsed, limits: &Limits) {
    let mut wire = Vec::new();
    message.write_http1(&mut wire);
    let mut again = HttpMessage::new();
    let result = parse_request(&wire, limits, &mut again);
    let shown = wire.escape_ascii();
    let Ok(ParseStatus::Done(second)) = result else {
        panic!("{result:?}: {shown}");
    };
    assert_eq!(second.consumed, wire.len(), "{shown}");
    assert_eq!(second.body, parsed.body, "{shown}");
    assert_eq!(second.upgrade, parsed.upgrade, "{shown}");
    assert_eq!(second.expect_continue, parsed.expect_continue, "{shown}");
    let mut twice = Vec::new();
    again.write_http1(&mut twice);
    assert_eq!(twice.escape_ascii().to_string(), shown.to_string());
    // There is one line per field, and no other line end.
    let line_feeds = wire.iter().filter(|b| **b == b'\n').count();
    assert_eq!(line_feeds, message.fields().len() + 2, "{shown}");
    assert!(!wire.contains(&0));
}

fn try_request(input: &[u8], limits: &Limits) {
    let mut message = HttpMessage::new();
    if let Ok(ParseStatus::Done(parsed)) = parse_request(input, limits, &mut message) {
        assert!(parsed.consumed <= input.len());
        assert_one_reading(&message, &parsed, limits);
    }
}

fn try_response(input: &[u8], facts: &RequestFacts) {
    let limits = Limits::default();
    let mut message = HttpMessage::new();
    let Ok(ParseStatus::Done(parsed)) = parse_response(input, facts, &limits, &mut message) else {
        return;
    };
    let mut wire = Vec::new();
    message.write_http1(&mut wire);
    let mut again = HttpMessage::new();
    let result = parse_response(&wire, facts, &limits, &mut again);
    let Ok(ParseStatus::Done(second)) = result else {
        panic!("{result:?}: {}", wire.escape_ascii());
    };
    assert_eq!((second.consumed, second.body), (wire.len(), parsed.body));
    let mut twice = Vec::new();
    again.write_http1(&mut twice);
    assert_eq!(twice, wire);
}

#[test]
fn every_prefix_of_an_accepted_request_is_incomplete() {
    let limits = Limits::default();
    for input in all_requests() {
        let mut message = HttpMessage::new();
        let Ok(ParseStatus::Done(parsed)) = parse_request(input, &limits, &mut message) else {
            continue;
        };
        let whole = request(&input[..parsed.consumed], &limits);
        for cut in 0..parsed.consumed {
            let got = request(&input[..cut], &limits);
            assert_eq!(got, "Incomplete", "{}", input[..cut].escape_ascii());
        }
        // The same message object parses the input again with each further byte.
        let mut reused = HttpMessage::new();
        for end in 0..=parsed.consumed {
            let result = parse_request(&input[..end], &limits, &mut reused);
            if end == parsed.consumed {
                assert_eq!(describe(result, &reused, &input[..end]), whole);
            }
        }
    }
}

#[test]
fn every_prefix_of_an_accepted_response_is_incomplete() {
    for (facts, input) in all_responses() {
        let mut message = HttpMessage::new();
        let result = parse_response(input, facts, &Limits::default(), &mut message);
        let Ok(ParseStatus::Done(parsed)) = result else {
            continue;
        };
        for cut in 0..parsed.consumed {
            let got = response(&input[..cut], facts);
            assert_eq!(got, "Incomplete", "{}", input[..cut].escape_ascii());
        }
    }
}

#[test]
fn a_refused_request_is_not_accepted_later_and_its_fault_stays() {
    let limits = Limits::default();
    for input in all_requests() {
        let whole = request(input, &limits);
        let mut first = None;
        for end in 0..=input.len() {
            let got = request(&input[..end], &limits);
            if got != "Incomplete" {
                first = Some(got);
                break;
            }
        }
        if whole.contains(" at ") {
            assert_eq!(first.as_deref(), Some(&*whole), "{}", input.escape_ascii());
        }
    }
}

#[test]
fn accepted_messages_have_one_reading() {
    let relaxed = Limits {
        accept_invalid: true,
        ..Limits::default()
    };
    for input in all_requests() {
        try_request(input, &Limits::default());
        try_request(input, &relaxed);
    }
    for (facts, input) in all_responses() {
        try_response(input, facts);
    }
}

#[test]
fn every_byte_in_every_position_is_classified() {
    let accepted = |input: &[u8]| !request(input, &Limits::default()).contains(" at ");
    for byte in 0..=255u8 {
        let put =
            |before: &str, after: &str| [before.as_bytes(), &[byte], after.as_bytes()].concat();
        let token = NAME_BYTES[byte as usize] != 0;
        let blank = matches!(byte, b' ' | b'\t');
        let end = "\r\n\r\n";
        let method = put("G", "T / HTTP/1.1\r\n\r\n");
        assert_eq!(accepted(&method), token, "method {byte:#x}");
        let target = put("GET /a", "b HTTP/1.1\r\n\r\n");
        let target_ok = (b'!'..=b'~').contains(&byte) && byte != b'#';
        assert_eq!(accepted(&target), target_ok, "target {byte:#x}");
        let name = put("GET / HTTP/1.1\r\na", "b: c\r\n\r\n");
        assert_eq!(accepted(&name), token || byte == b':', "name {byte:#x}");
        let before_colon = put("GET / HTTP/1.1\r\na", ": c\r\n\r\n");
        assert_eq!(
            accepted(&before_colon),
            token || byte == b':',
            "colon {byte:#x}"
        );
        let value = put("GET / HTTP/1.1\r\na: b", "d: c\r\n\r\n");
        let ends = matches!(byte, 0 | b'\r');
        assert_eq!(accepted(&value), !ends, "value {byte:#x}");
        let length = put("POST / HTTP/1.1\r\nContent-Length: 1", end);
        let length_ok = byte.is_ascii_digit() || blank || byte == b'\n';
        assert_eq!(accepted(&length), length_ok, "length {byte:#x}");
        for (before, after) in [("", "chunked"), ("chunk", "ed"), ("chunked", "")] {
            let before = format!("POST / HTTP/1.1\r\nTransfer-Encoding: {before}");
            let coding = put(&before, &format!("{after}{end}"));
            let outside = after.is_empty() || after == "chunked";
            let lone_feed = byte == b'\n' && after.is_empty();
            let ok = (blank && outside) || lone_feed;
            assert_eq!(accepted(&coding), ok, "coding {byte:#x} {before} {after}");
        }
        let version = put("GET / HTTP/1.", end);
        assert_eq!(
            accepted(&version),
            byte.is_ascii_digit(),
            "version {byte:#x}"
        );
    }
}

#[test]
fn heads_are_bounded() {
    let limits = Limits::default();
    let head = |bytes: usize| {
        let fixed = b"GET / HTTP/1.1\r\nX: \r\n\r\n".len();
        let value = vec![b'v'; bytes - fixed];
        [b"GET / HTTP/1.1\r\nX: ", &value[..], b"\r\n\r\n"].concat()
    };
    assert!(request(&head(limits.head_bytes), &limits).contains("keep"));
    let too_long = head(limits.head_bytes + 1);
    let fault = format!("HeadTooLong at {}", limits.head_bytes);
    assert_eq!(request(&too_long, &limits), fault);
    assert_eq!(request(&too_long[..limits.head_bytes], &limits), fault);
    assert_eq!(
        request(&too_long[..limits.head_bytes - 1], &limits),
        "Incomplete"
    );
    let target = [b"GET /", &[b'a'; 20_000][..], b" HTTP/1.1\r\n\r\n"].concat();
    assert_eq!(request(&target, &limits), fault);
    let lines = |n: usize| [b"GET / HTTP/1.1\r\n", &b"a: b\r\n".repeat(n)[..], b"\r\n"].concat();
    assert!(request(&lines(100), &limits).contains("keep"));
    assert!(request(&lines(101), &limits).starts_with("TooManyHeaders"));
    let folds = [
        b"GET / HTTP/1.1\r\na: b\r\n",
        &b" c\r\n".repeat(3000)[..],
        b"\r\n",
    ]
    .concat();
    assert!(request(&folds, &limits).contains("keep"));
}

#[test]
fn http2_preface_is_recognised() {
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    for cut in 0..preface.len() {
        assert_eq!(http2_preface(&preface[..cut]), Preface::Partial);
    }
    assert_eq!(http2_preface(preface), Preface::Yes);
    assert_eq!(http2_preface(b"PRI * HTTP/1.1\r\n"), Preface::No);
    assert_eq!(http2_preface(b"GET"), Preface::No);
}

/// Generates pieces of heads, valid and invalid ones.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let words: Vec<&[u8]> = vec![
        b"GET ",
        b"POST ",
        b"CONNECT ",
        b"/",
        b"/a?b ",
        b"* ",
        b"http://a/ ",
        b"a:80 ",
        b"HTTP/1.1",
        b"HTTP/1.0",
        b"HTTP/2.0",
        b"\r\n",
        b"\r\n",
        b"\r\n",
        b"\n",
        b"\r",
        b"\0",
        b"Host: a",
        b"Host: b",
        b"Content-Length: 1",
        b"Content-Length: 2, 2",
        b"Transfer-Encoding: chunked",
        b"Transfer-Encoding: gzip",
        b"Connection: close",
        b"Connection: upgrade, x",
        b"Upgrade: h2c, foo",
        b"Upgrade: websocket",
        b"TE: trailers, x",
        b"Expect: 100-continue",
        b"X: y",
        b" folded",
        b"\t",
        b":",
        b",",
        b"HTTP/1.1 200 OK",
        b"HTTP/1.0 204 ",
        b"HTTP/1.1 101 S",
        b"Host : a",
    ];
    prop_oneof![
        8 => prop::sample::select(words).prop_map(<[u8]>::to_vec),
        1 => any::<u8>().prop_map(|b| vec![b]),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn mutated_requests_never_panic_and_have_one_reading(
        which in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        insert in any::<bool>(),
        other in prop::option::of((any::<prop::sample::Index>(), piece())),
        relaxed in any::<bool>(),
    ) {
        let all: Vec<&[u8]> = all_requests().collect();
        let mut input = which.get(&all).to_vec();
        let at = at.index(input.len());
        if insert { input.insert(at, byte) } else { input[at] = byte }
        if let Some((at, piece)) = other {
            let at = at.index(input.len());
            input.splice(at..at, piece);
        }
        try_request(&input, &Limits { accept_invalid: relaxed, ..Limits::default() });
        try_response(&input, &RequestFacts::default());
    }

    #[test]
    fn heads_of_random_pieces_never_panic_and_have_one_reading(
        pieces in prop::collection::vec(piece(), 0..14),
        relaxed in any::<bool>(),
        facts in prop::sample::select(vec![
            RequestFacts::default(),
            RequestFacts { head: true, ..RequestFacts::default() },
            RequestFacts { connect: true, ..RequestFacts::default() },
            RequestFacts { upgrade: Some(Upgrade::Other), ..RequestFacts::default() },
        ]),
    ) {
        let body: Vec<u8> = pieces.concat();
        let limits = Limits { accept_invalid: relaxed, ..Limits::default() };
        for start in ["", "GET / HTTP/1.1\r\n", "POST /x HTTP/1.0\r\n", "HTTP/1.1 200 OK\r\n"] {
            let input = [start.as_bytes(), &body, b"\r\n\r\n"].concat();
            try_request(&input, &limits);
            try_response(&input, &facts);
        }
    }

    #[test]
    fn heads_accepted_by_both_parsers_read_the_same(
        pieces in prop::collection::vec(piece(), 0..10),
    ) {
        let input = [b"POST /x HTTP/1.1\r\n", &pieces.concat()[..], b"\r\n\r\n"].concat();
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut theirs = httparse::Request::new(&mut headers);
        let mut ours = HttpMessage::new();
        let (Ok(httparse::Status::Complete(consumed)), Ok(ParseStatus::Done(parsed))) = (
            theirs.parse(&input),
            parse_request(&input, &Limits::default(), &mut ours),
        ) else {
            return Ok(());
        };
        prop_assert_eq!(consumed, parsed.consumed);
        // Headers that are rewritten or merged are covered by the tables.
        let rewritten = [
            "host", "connection", "content-length", "transfer-encoding", "te", "upgrade",
            "http2-settings",
        ];
        let theirs: Vec<(String, Vec<u8>)> = theirs.headers.iter()
            .map(|h| (h.name.to_ascii_lowercase(), h.value.to_vec()))
            .filter(|(name, _)| !rewritten.contains(&name.as_str()))
            .collect();
        let ours: Vec<(String, Vec<u8>)> = ours.fields().iter()
            .map(|(n, v)| (String::from_utf8(n.to_vec()).unwrap(), v.to_vec()))
            .filter(|(name, _)| !rewritten.contains(&name.as_str()))
            .collect();
        prop_assert_eq!(theirs, ours);
    }
}
