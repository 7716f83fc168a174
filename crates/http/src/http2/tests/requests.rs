//! Tests the conversion of HTTP/2 requests, one rule per line.

use super::*;

const GET: Pairs<'_> = &[
    (":method", "GET"),
    (":scheme", "https"),
    (":path", "/p?a=b"),
    (":authority", "Ex.com"),
];
const GET_OUT: &str = "GET https://Ex.com/p?a=b HTTP/1.1|host: Ex.com|";

/// Returns `GET` with one of its fields changed, removed (`None`), or added.
fn changed<'a>(name: &'a str, value: Option<&'a str>) -> Vec<(&'a str, &'a str)> {
    let mut fields: Vec<_> = GET.iter().copied().filter(|(n, _)| *n != name).collect();
    fields.extend(value.map(|value| (name, value)));
    // Moves the pseudo-headers to the front, as HTTP/2 requires.
    fields.sort_by_key(|(n, _)| !n.starts_with(':'));
    fields
}

fn outcome(fields: &[(&str, &str)], end: bool) -> String {
    let (result, message) = request_of(fields, end);
    describe(result, &message)
}

#[test]
fn a_request_has_the_form_that_haproxy_shows() {
    let mut fields = GET.to_vec();
    fields.extend([
        ("cookie", "a=1"),
        ("user-agent", " u "),
        ("cookie", "b=2"),
        ("te", "trailers"),
        ("cookie", ""),
    ]);
    let expected = format!("{GET_OUT}user-agent: u|te: trailers|cookie: a=1; b=2|| none");
    assert_eq!(outcome(&fields, true), expected);
    assert_eq!(outcome(GET, true), format!("{GET_OUT}| none"));
    assert_eq!(outcome(GET, false), format!("{GET_OUT}| stream"));
    let (_, message) = request_of(GET, true);
    assert_eq!(message.version().number(), "2.0");
    assert_eq!(message.path_and_query(), b"/p?a=b");
}

#[test]
fn each_pseudo_header_has_its_rules() {
    #[rustfmt::skip]
    let table: &[(&str, Option<&str>, &str)] = &[
        (":method", None, "PseudoMissing"),
        (":scheme", None, "PseudoMissing"),
        (":path", None, "PseudoMissing"),
        (":authority", None, "GET /p?a=b HTTP/1.1|| none"),
        (":method", Some("get"), "get https://Ex.com/p?a=b HTTP/1.1|host: Ex.com|| none"),
        (":method", Some(""), "MethodMissing"),
        (":method", Some("GE T"), "MethodByte"),
        (":method", Some("GET\r\n"), "MethodByte"),
        (":method", Some("G(T"), "MethodByte"),
        (":method", Some("PRI"), "MethodByte"),
        (":scheme", Some("http"), "GET http://Ex.com/p?a=b HTTP/1.1|host: Ex.com|| none"),
        (":scheme", Some("coap+tcp"), "GET coap+tcp://Ex.com/p?a=b HTTP/1.1|host: Ex.com|| none"),
        (":scheme", Some(""), "Scheme"),
        (":scheme", Some("ht tp"), "Scheme"),
        (":scheme", Some("http://x/"), "Scheme"),
        (":scheme", Some("1a"), "Scheme"),
        (":scheme", Some("http\n"), "Scheme"),
        (":path", Some(""), "TargetForm"),
        (":path", Some("p"), "TargetForm"),
        (":path", Some("*"), "TargetForm"),
        (":path", Some("http://other/p"), "TargetForm"),
        (":path", Some("?a"), "TargetForm"),
        (":path", Some("//other/p"), "GET https://Ex.com//other/p HTTP/1.1|host: Ex.com|| none"),
        (":path", Some("/p#f"), "TargetByte"),
        (":path", Some("/p q"), "TargetByte"),
        (":path", Some("/p\tq"), "TargetByte"),
        (":path", Some("/ HTTP/1.1\r\nx: y\r\n\r\n"), "TargetByte"),
        (":path", Some("/\u{1}"), "TargetByte"),
        (":path", Some("/\u{7f}"), "TargetByte"),
        (":path", Some("/\u{e9}"), "TargetByte"),
        (":authority", Some(""), "AuthorityEmpty"),
        (":authority", Some(":443"), "AuthorityEmpty"),
        (":authority", Some("u:p@Ex.com"), "HostByte"),
        (":authority", Some("a b"), "HostByte"),
        (":authority", Some("a/b"), "HostByte"),
        (":authority", Some("a?b"), "HostByte"),
        (":authority", Some("a#b"), "HostByte"),
        (":authority", Some("a\\b"), "HostByte"),
        (":authority", Some("a\r\nx: y"), "HostByte"),
        (":authority", Some("a\0"), "HostByte"),
        (":authority", Some("a:80:443"), "HostByte"),
        (":authority", Some("a:8443"), "GET https://a:8443/p?a=b HTTP/1.1|host: a:8443|| none"),
        (":authority", Some("a:443"), "GET https://a/p?a=b HTTP/1.1|host: a|| none"),
        (":authority", Some("[::1]:444"), "GET https://[::1]:444/p?a=b HTTP/1.1|host: [::1]:444|| none"),
        (":protocol", Some("websocket"), "PseudoHeader"),
        (":status", Some("200"), "PseudoHeader"),
        (":x", Some("1"), "PseudoHeader"),
        (":", Some("1"), "PseudoHeader"),
        (":Method", Some("GET"), "PseudoHeader"),
    ];
    for (name, value, expected) in table {
        assert_eq!(
            outcome(&changed(name, *value), true),
            *expected,
            "{name} {value:?}"
        );
    }
}

#[test]
fn pseudo_headers_come_first_and_once() {
    for name in [":method", ":scheme", ":path", ":authority"] {
        let again = GET.iter().find(|(n, _)| *n == name).unwrap();
        for at in [0, 4] {
            let mut fields = GET.to_vec();
            fields.insert(at, *again);
            assert_eq!(outcome(&fields, true), "PseudoHeader", "twice {name}");
        }
        let mut fields: Vec<_> = GET.iter().copied().filter(|f| f != again).collect();
        fields.extend([("x", "1"), *again]);
        if name != ":authority" {
            // A pseudo-header missing at the front is reported first.
            assert_eq!(outcome(&fields, true), "PseudoMissing");
        } else {
            assert_eq!(outcome(&fields, true), "PseudoHeader");
        }
    }
    assert_eq!(outcome(&[], true), "PseudoMissing");
}

#[test]
fn asterisk_is_for_options() {
    let options = [
        (":method", "OPTIONS"),
        (":scheme", "https"),
        (":path", "*"),
        (":authority", "ex.com"),
    ];
    let shown = "OPTIONS https://ex.com HTTP/1.1|host: ex.com|| none";
    assert_eq!(outcome(&options, true), shown);
    assert_eq!(outcome(&options[..3], true), "OPTIONS * HTTP/1.1|| none");
}

#[test]
fn each_header_has_its_rules() {
    #[rustfmt::skip]
    let table: &[(&str, &str, &str)] = &[
        ("x", "1", "x: 1"),
        ("x", "", "x: "),
        ("x", "a\u{1}\u{e9}b", "x: a\\x01\\xe9b"),
        ("X-a", "1", "NameCase"),
        ("x a", "1", "NameByte"),
        ("x ", "1", "NameByte"),
        ("x:", "1", "NameByte"),
        ("x\r\ny", "1", "NameByte"),
        ("x(", "1", "NameByte"),
        ("x\u{e9}", "1", "NameByte"),
        ("x\0", "1", "NameByte"),
        ("", "1", "NameMissing"),
        ("x", "a\r\nb: c", "ControlByte"),
        ("x", "a\nb: c", "ControlByte"),
        ("x", "a\rb", "ControlByte"),
        ("x", "a\0b", "ControlByte"),
        ("cookie", "a\nb", "ControlByte"),
        ("x", "\n", "ControlByte"),
        ("connection", "close", "ConnectionSpecific"),
        ("connection", "content-length", "ConnectionSpecific"),
        ("keep-alive", "1", "ConnectionSpecific"),
        ("proxy-connection", "close", "ConnectionSpecific"),
        ("transfer-encoding", "chunked", "ConnectionSpecific"),
        ("transfer-encoding", "identity", "ConnectionSpecific"),
        ("upgrade", "h2c", "ConnectionSpecific"),
        ("http2-settings", "AAMAAABkAARAAAAAAAIAAAAA", "ConnectionSpecific"),
        ("te", "trailers", "te: trailers"),
        ("te", "gzip", "ConnectionSpecific"),
        ("te", "trailers, gzip", "ConnectionSpecific"),
        ("te", "", "ConnectionSpecific"),
        ("host", "Ex.com", ""),
        ("host", "ex.COM:443", ""),
        ("host", "other.com", "HostMismatch"),
        ("host", "Ex.com:444", "HostMismatch"),
        ("host", "", "HostMismatch"),
        (":path", "/", "PseudoHeader"),
        ("content-length", "0", "content-length: 0"),
        ("content-length", "1", "LengthWithoutBody"),
        ("content-length", "x", "ContentLength"),
    ];
    for (name, value, expected) in table {
        let mut fields = GET.to_vec();
        if name.starts_with(':') {
            fields.push(("a", "1"));
        }
        fields.push((name, value));
        let got = outcome(&fields, true);
        let expected = match *expected {
            "" => format!("{GET_OUT}| none"),
            line if line.contains(": ") => format!("{GET_OUT}{line}|| none"),
            fault => fault.to_owned(),
        };
        assert_eq!(got, expected, "{name:?} {value:?}");
    }
}

#[test]
fn hosts_without_an_authority_agree_with_each_other() {
    let no_authority = changed(":authority", None);
    let with = |hosts: &[&'static str]| {
        let mut fields = no_authority.clone();
        fields.extend(hosts.iter().map(|host| ("host", *host)));
        outcome(&fields, true)
    };
    let shown = "GET /p?a=b HTTP/1.1|host: a|| none";
    assert_eq!(with(&["a"]), shown);
    assert_eq!(with(&["a", "a"]), shown);
    assert_eq!(with(&["a", "b"]), "HostsDiffer");
    assert_eq!(with(&["a b"]), "HostByte");
}

#[test]
fn lengths_have_one_reading() {
    let post = changed(":method", Some("POST"));
    #[rustfmt::skip]
    let table: &[(&[&str], &str)] = &[
        (&[], "| stream"),
        (&["3"], "content-length: 3|| length 3"),
        (&["0"], "content-length: 0|| none"),
        (&["3, 3"], "content-length: 3|| length 3"),
        (&["3", "3"], "content-length: 3|| length 3"),
        (&["03"], "content-length: 3|| length 3"),
        (&["3", "4"], "ContentLengthsDiffer"),
        (&["3, 4"], "ContentLengthsDiffer"),
        (&["+3"], "ContentLength"),
        (&["-3"], "ContentLength"),
        (&["0x3"], "ContentLength"),
        (&["3 3"], "ContentLength"),
        (&[""], "ContentLength"),
        (&["9223372036854775808"], "ContentLength"),
    ];
    for (lengths, expected) in table {
        let mut fields = post.clone();
        fields.extend(lengths.iter().map(|length| ("content-length", *length)));
        let got = outcome(&fields, false);
        let got = got
            .strip_prefix("POST https://Ex.com/p?a=b HTTP/1.1|host: Ex.com|")
            .unwrap_or(&got);
        assert_eq!(got, *expected, "{lengths:?}");
    }
    let mut fields = post;
    fields.extend([("content-length", "3"), ("expect", "100-continue")]);
    assert!(outcome(&fields, false).ends_with("|| length 3 expect"));
}

#[test]
fn connect_has_an_authority_and_nothing_else() {
    let connect = |authority: &'static str| {
        let fields = [(":method", "CONNECT"), (":authority", authority)];
        outcome(&fields, false)
    };
    let shown = "CONNECT ex.com:443 HTTP/1.1|host: ex.com|| none";
    assert_eq!(connect("ex.com:443"), shown);
    for odd in [
        "ex.com",
        "ex.com:",
        "ex.com:x",
        "u@ex.com:443",
        "/ex:443",
        "\u{e9}:1",
    ] {
        assert_eq!(connect(odd), "TargetForm", "{odd}");
    }
    assert_eq!(connect(""), "AuthorityEmpty");
    assert_eq!(connect(":443"), "AuthorityEmpty");
    assert_eq!(outcome(&[(":method", "CONNECT")], false), "PseudoMissing");
    for more in [(":path", "/"), (":scheme", "http")] {
        let fields = [(":method", "CONNECT"), (":authority", "ex.com:443"), more];
        assert_eq!(outcome(&fields, false), "PseudoHeader");
    }
    let fields = [
        (":method", "CONNECT"),
        (":authority", "ex.com:443"),
        ("content-length", "5"),
    ];
    assert_eq!(outcome(&fields, false), shown);
}

#[test]
fn extended_connect_is_an_upgrade() {
    let fields = |protocol, more: Pairs<'static>| {
        let mut fields = vec![
            (":method", "CONNECT"),
            (":protocol", protocol),
            (":scheme", "https"),
            (":path", "/ws"),
            (":authority", "ex.com"),
        ];
        fields.extend(more);
        fields
    };
    let (result, message) = request_of(
        &fields(
            "websocket",
            &[("sec-websocket-version", "13"), ("content-length", "9")],
        ),
        false,
    );
    let shown = describe(result, &message);
    let front = "GET https://ex.com/ws HTTP/1.1|host: ex.com|sec-websocket-version: 13|\
                 upgrade: websocket|connection: upgrade|sec-websocket-key: ";
    assert!(shown.starts_with(front), "{shown}");
    assert!(shown.ends_with("==|| none websocket"), "{shown}");
    assert!(crate::websocket::Accept::of(&message).is_some());
    let facts = RequestFacts::of(&message, result.unwrap().upgrade);
    assert!(facts.accept.is_some() && facts.checks_accept);
    let keyed = fields(
        "WebSocket",
        &[("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")],
    );
    assert_eq!(
        outcome(&keyed, false),
        "GET https://ex.com/ws HTTP/1.1|host: ex.com|sec-websocket-key: \
         dGhlIHNhbXBsZSBub25jZQ==|upgrade: WebSocket|connection: upgrade|| none websocket"
    );
    assert_eq!(
        outcome(&fields("foo", &[]), false),
        "GET https://ex.com/ws HTTP/1.1|host: ex.com|upgrade: foo|connection: upgrade|| none upgrade"
    );
    for odd in ["h2c", "H2C", "", "foo, h2c", "foo\r\nx: y", "foo/1"] {
        assert_eq!(outcome(&fields(odd, &[]), false), "Protocol", "{odd}");
    }
    for without in [":scheme", ":path", ":authority"] {
        let mut fields = fields("websocket", &[]);
        fields.retain(|(name, _)| *name != without);
        assert_eq!(outcome(&fields, false), "PseudoMissing", "{without}");
    }
}

#[test]
fn oversized_heads_are_reported() {
    let mut small = FieldList::new(60, 10);
    for (name, value) in GET {
        small.push(name.as_bytes(), value.as_bytes());
    }
    let limits = Limits::default();
    let mut message = HttpMessage::new();
    let fault = request(&small, true, &limits, &mut message).unwrap_err();
    assert_eq!(fault.kind.http2_status(), Some(431));
    let value = "v".repeat(limits.head_bytes);
    let mut fields = GET.to_vec();
    fields.push(("x", &value));
    assert_eq!(outcome(&fields, true), "HeadTooLong");
    let mut fields = GET.to_vec();
    fields.extend([("x", "1"); 99]);
    assert!(outcome(&fields, true).starts_with(GET_OUT));
    fields.push(("x", "1"));
    assert_eq!(outcome(&fields, true), "TooManyHeaders");
    // Split cookies count as one header.
    let mut fields = GET.to_vec();
    fields.extend([("cookie", "a=1"); 300]);
    assert!(outcome(&fields, true).starts_with(GET_OUT));
}

#[test]
fn http2_violations_reset_and_http_violations_get_an_error() {
    use crate::http1::FaultKind::*;
    for kind in [
        PseudoHeader,
        PseudoMissing,
        NameCase,
        NameByte,
        ControlByte,
        TargetByte,
    ] {
        assert_eq!(kind.http2_status(), None, "{kind:?}");
    }
    for kind in [
        ConnectionSpecific,
        ContentLength,
        ContentLengthsDiffer,
        LengthWithoutBody,
    ] {
        assert_eq!(kind.http2_status(), None, "{kind:?}");
    }
    for kind in [
        MethodByte,
        Scheme,
        HostByte,
        HostMismatch,
        AuthorityEmpty,
        Protocol,
    ] {
        assert_eq!(kind.http2_status(), Some(400), "{kind:?}");
    }
}

#[test]
fn trailers_are_checked_like_heads() {
    let taken = |fields: &[(&str, &str)]| match trailers(&list(fields)) {
        Err(fault) => format!("{:?}", fault.kind),
        Ok(fields) => {
            let mut out = Vec::new();
            fields.write_lines(&mut out);
            out.escape_ascii().to_string().replace("\\r\\n", "|")
        }
    };
    #[rustfmt::skip]
    let table: &[(Pairs<'_>, &str)] = &[
        (&[], ""),
        (&[("grpc-status", "0"), ("grpc-message", "")], "grpc-status: 0|grpc-message: |"),
        (&[("x", "1"), ("cookie", "a=1"), ("authorization", "b")], "x: 1|"),
        (&[(":path", "/")], "PseudoHeader"),
        (&[(":status", "200")], "PseudoHeader"),
        (&[("X", "1")], "NameCase"),
        (&[("x", "a\r\nb")], "ControlByte"),
        (&[("x y", "1")], "NameByte"),
        (&[("content-length", "1")], "ConnectionSpecific"),
        (&[("host", "a")], "ConnectionSpecific"),
        (&[("transfer-encoding", "chunked")], "ConnectionSpecific"),
        (&[("connection", "close")], "ConnectionSpecific"),
        (&[("te", "trailers")], "ConnectionSpecific"),
    ];
    for (fields, expected) in table {
        assert_eq!(taken(fields), *expected, "{fields:?}");
    }
    let long = "v".repeat(20_000);
    assert_eq!(taken(&[("x", &long)]), "TrailersTooLong");
}
