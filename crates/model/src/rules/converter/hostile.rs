//! Feeds arbitrary bytes, as clients could send them, to the converters that parse protocols. Each
//! converter must end, and must not return more than its input allows.

use crate::compiled::Expression;
use crate::config::ProxyKind;
use crate::rules::{SampleValue, Usage};
use crate::transaction::sample;
use proptest::prelude::*;
use std::sync::LazyLock;

/// Converters under test; true if the output must not be longer than the input.
const CONVERTERS: [(&str, bool); 22] = [
    ("json_query('$.a.b[1]')", true),
    ("json_query('$.a',int)", false),
    ("json_query('$')", true),
    ("protobuf(1.2.3)", true),
    ("protobuf(1,sint64)", false),
    ("protobuf(2,double)", false),
    ("protobuf(3,string)", true),
    ("ungrpc(1.1)", true),
    ("mqtt_is_valid", false),
    ("mqtt_field_value(connect,client_identifier)", true),
    ("mqtt_field_value(connack,18)", false),
    ("fix_is_valid", false),
    ("fix_tag_value(35)", true),
    ("jwt_header_query('$.alg')", true),
    ("jwt_payload_query", true),
    ("jwt_verify(HS256,secret)", false),
    ("rfc7239_is_valid", false),
    ("rfc7239_field(for)", true),
    ("rfc7239_n2nn", false),
    ("language(de;en,fr)", false),
    ("url_dec,ub64dec", true),
    ("b64dec,hex,json(utf8ps)", false),
];

static EXPRESSIONS: LazyLock<Vec<(Expression, &str, bool)>> = LazyLock::new(|| {
    let usage = Usage::http_request(ProxyKind::Listen);
    let made = CONVERTERS.map(|(text, bounded)| {
        let expression = sample::expression(&format!("req.body,{text}"), usage);
        let expression = expression.unwrap_or_else(|error| panic!("{text}: {}", error.message));
        (expression, text, bounded)
    });
    made.into()
});

fn run(body: &[u8]) {
    let head = format!(
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let stream = sample::request(&[head.as_bytes(), body].concat());
    for (expression, text, bounded) in &*EXPRESSIONS {
        if let Some(value) = expression.evaluate(&stream)
            && *bounded
            && !matches!(value, SampleValue::Int(_) | SampleValue::Bool(_))
        {
            assert!(value.size() <= body.len(), "{text}");
        }
    }
}

/// Generates bytes that are typical of these protocols, mixed with arbitrary ones.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        any::<u8>().prop_map(|byte| vec![byte]),
        prop::sample::select(vec![
            &b"{\"a\":"[..],
            b"{",
            b"}",
            b"[",
            b"]",
            b"\"",
            b"\\",
            b"\\u",
            b"\\ud83d\\ude00",
            b",",
            b":1",
            b"-1e400",
            b"\x0a\x04",
            b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
            b"\0\0\0\0\x09",
            b"\x10\x0c\0\x04MQTT\x05\x02\0\x3c",
            b"\x20\x02\0\0",
            b"8=FIX.4.4\x019=5\x0135=A\x01",
            b"10=000\x01",
            b"eyJhIjoxfQ",
            b".",
            b"for=\"[::1]:80\"",
            b";by=_x",
            b"de;q=0.5",
            b"%2",
        ])
        .prop_map(<[u8]>::to_vec),
    ];
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn whatever_a_client_sends_is_read_to_an_end(body in bytes()) {
        run(&body);
    }

    #[test]
    fn any_bytes_are(body in prop::collection::vec(any::<u8>(), 0..300)) {
        run(&body);
    }
}

#[test]
fn what_is_long_or_deep_is_read_to_an_end() {
    const LONG: usize = 200_000;
    for piece in [
        &b"["[..],
        b"{\"a\":",
        b"{\"a\":[1,",
        b"\\",
        b"\"",
        b"\x0a\x7f",
        b"\x0a\0",
        b"1=1\x01",
        b"for=a,",
        b"a;q=1,",
        b"\x80",
        b"%",
    ] {
        let body: Vec<u8> = piece.iter().copied().cycle().take(LONG).collect();
        run(&body);
    }
}
