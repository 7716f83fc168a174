//! Tests `option accept-invalid-http-request`: input that is accepted only with the option, and
//! input that is never accepted.

use super::*;

#[rustfmt::skip]
const RELAXED: &[(&[u8], &str)] = &[
    (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n", "POST / HTTP/1.1|host: a|transfer-encoding: chunked|| chunked keep +5"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nX : a\r\n\r\n", "GET / HTTP/1.1|host: a|x: a|| none keep"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nX\xff: ab\r\n\r\n", "GET / HTTP/1.1|host: a|x\\xff: ab|| none keep"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nX(: ab\r\n\r\n", "GET / HTTP/1.1|host: a|x(: ab|| none keep"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nX[: ab\r\n\r\n", "GET / HTTP/1.1|host: a|x[: ab|| none keep"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nX Y: ab\r\n\r\n", "GET / HTTP/1.1|host: a|x y: ab|| none keep"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nX\t: ab\r\n\r\n", "GET / HTTP/1.1|host: a|x: ab|| none keep"),
    (b"GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", "GET / HTTP/1.1|host: a, b|| none keep"),
    (b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", "GET / HTTP/1.1|host: a b|| none keep"),
    (b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", "GET / HTTP/1.1|host: a/b|| none keep"),
    (b"GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", "GET / HTTP/1.1|host: u@a|| none keep"),
    (b"GET http://a/ HTTP/1.1\r\nHost: b\r\n\r\n", "GET http://a/ HTTP/1.1|host: a|| none keep"),
    (b"GET http://a?x HTTP/1.1\r\nHost: a\r\n\r\n", "GET http://a?x HTTP/1.1|host: a|| none keep"),
    (b"GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n", "GET http:///x HTTP/1.1|host: a|| none keep"),
    (b"GET http: HTTP/1.1\r\nHost: a\r\n\r\n", "GET http: HTTP/1.1|host: a|| none keep"),
    (b"GET foo:bar HTTP/1.1\r\nHost: a\r\n\r\n", "GET foo:bar HTTP/1.1|host: a|| none keep"),
    (b"CONNECT a HTTP/1.1\r\nHost: a\r\n\r\n", "CONNECT a HTTP/1.1|host: a|| none keep"),
    (b"CONNECT / HTTP/1.1\r\nHost: a\r\n\r\n", "CONNECT / HTTP/1.1|host: a|| none keep"),
    (b"CONNECT a:80 HTTP/1.1\r\nHost: b:80\r\n\r\n", "CONNECT a:80 HTTP/1.1|host: b:80|| none keep"),
    (b"CONNECT http://a:80/ HTTP/1.1\r\nHost: a:80\r\n\r\n", "CONNECT http://a/ HTTP/1.1|host: a|| none keep"),
    (b"CONNECT a:x HTTP/1.1\r\nHost: a:x\r\n\r\n", "CONNECT a:x HTTP/1.1|host: a:x|| none keep"),
    (b"CONNECT * HTTP/1.1\r\nHost: a:80\r\n\r\n", "CONNECT * HTTP/1.1|host: a:80|| none keep"),
    (b"CONNECT a:8080 HTTP/1.1\r\nHost: a\r\n\r\n", "CONNECT a:8080 HTTP/1.1|host: a|| none keep"),
    (b"CONNECT :80 HTTP/1.1\r\nHost: :80\r\n\r\n", "CONNECT :80 HTTP/1.1|host: :80|| none keep"),
    (b"OPTIONS *x HTTP/1.1\r\nHost: a\r\n\r\n", "OPTIONS *x HTTP/1.1|host: a|| none keep"),
    (b"GET a HTTP/1.1\r\nHost: a\r\n\r\n", "GET a HTTP/1.1|host: a|| none keep"),
    (b"GET ?a HTTP/1.1\r\nHost: a\r\n\r\n", "GET ?a HTTP/1.1|host: a|| none keep"),
    (b"GET /#f HTTP/1.1\r\nHost: a\r\n\r\n", "GET /#f HTTP/1.1|host: a|| none keep"),
    (b"GET /a?b#f HTTP/1.1\r\nHost: a\r\n\r\n", "GET /a?b#f HTTP/1.1|host: a|| none keep"),
    (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", "GET / HTTP/1.1|host: a|| none keep"),
    (b"GET / HTTP/0.9\r\nHost: a\r\n\r\n", "GET / HTTP/1.0|host: a|| none close"),
    (b"GET / HTTP/1.10\r\nHost: a\r\n\r\n", "GET / HTTP/1.1|host: a|| none keep"),
    (b"GET / HTTP/3.1\r\nHost: a\r\n\r\n", "GET / HTTP/1.1|host: a|| none keep"),
    (b"GET /\r\n\r\n", "GET / HTTP/1.0|| none close +2"),
    (b"GET /\r\n", "GET / HTTP/1.0|| none close"),
    (b"GET / \r\n\r\n", "GET / HTTP/1.0|| none close +2"),
    (b"GET / \r\nHost: a\r\n\r\n", "GET / HTTP/1.0|| none close +11"),
    (b"GET /\x80 HTTP/1.1\r\nHost: a\r\n\r\n", "GET /\\x80 HTTP/1.1|host: a|| none keep"),
    (b"GET /\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n", "GET /\\xc3\\xa9 HTTP/1.1|host: a|| none keep"),
    (b"GET http://a:443/x HTTP/1.1\r\nHost: a\r\n\r\n", "GET http://a:443/x HTTP/1.1|host: a:443|| none keep"),
    (b"GET ws://a:80/x HTTP/1.1\r\nHost: a\r\n\r\n", "GET ws://a:80/x HTTP/1.1|host: a:80|| none keep"),
    (b"GET http://a/x HTTP/1.1\r\nHost: \r\n\r\n", "GET http://a/x HTTP/1.1|host: a|| none keep"),
    (b"GET http://u@a/x HTTP/1.1\r\nHost: u@a\r\n\r\n", "GET http://u@a/x HTTP/1.1|host: a|| none keep"),
    (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length : 2\r\n\r\nab", "POST / HTTP/1.1|host: a|content-length: 2|| length 2 keep +2"),
    (b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", "GET / HTTP/1.1|host: a|| none keep"),
    (b"GET / HTTP/1.1\r\nHost: a\\b\r\n\r\n", "GET / HTTP/1.1|host: a\\\\b|| none keep"),
    (b"GET / HTTP/1.1\r\nHost: a?b\r\n\r\n", "GET / HTTP/1.1|host: a?b|| none keep"),
    (b"GET / HTTP/1.1\r\nHost: a#b\r\n\r\n", "GET / HTTP/1.1|host: a#b|| none keep"),
    (b"GET / HTTP/1.1\r\nHost: a\x01\r\n\r\n", "GET / HTTP/1.1|host: a\\x01|| none keep"),
    (b"GET / HTTP/1.1\r\nHost: <a>\r\n\r\n", "GET / HTTP/1.1|host: <a>|| none keep"),
    (b"CONNECT a:80 HTTP/1.1\r\nHost: a:443\r\n\r\n", "CONNECT a:80 HTTP/1.1|host: a:443|| none keep"),
    (b"CONNECT a: HTTP/1.1\r\nHost: a\r\n\r\n", "CONNECT a: HTTP/1.1|host: a|| none keep"),
    (b"CONNECT a:123456 HTTP/1.1\r\nHost: a:123456\r\n\r\n", "CONNECT a:123456 HTTP/1.1|host: a:123456|| none keep"),
    (b"CONNECT a/b:80 HTTP/1.1\r\nHost: a/b:80\r\n\r\n", "CONNECT a/b:80 HTTP/1.1|host: a/b:80|| none keep"),
    (b"connect a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n", "connect a:80 HTTP/1.1|host: a:80|| none keep"),
    (b"GET / HTTP/01.1\r\nHost: a\r\n\r\n", "GET / HTTP/1.1|host: a|| none keep"),
    (b"GET / HTTP/1.01\r\nHost: a\r\n\r\n", "GET / HTTP/1.1|host: a|| none keep"),
    (b"GET HTTP/1.1\r\nHost: a\r\n\r\n", "Http09 at 12"),
    (b"GET http://a:80/\r\n", "Http09 at 16"),
    (b"GET  HTTP/1.1\r\nHost: a\r\n\r\n", "Http09 at 13"),
    (b"GET /\xe2\x80\xa8 HTTP/1.1\r\nHost: a\r\n\r\n", "GET /\\xe2\\x80\\xa8 HTTP/1.1|host: a|| none keep"),
    (b"GET / HTTP/1.1\r\nHost: a\r\n\"X\": y\r\n\r\n", "GET / HTTP/1.1|host: a|\\\"x\\\": y|| none keep"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nX@Y: z\r\n\r\n", "GET / HTTP/1.1|host: a|x@y: z|| none keep"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nX/Y: z\r\n\r\n", "GET / HTTP/1.1|host: a|x/y: z|| none keep"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nX=Y: z\r\n\r\n", "GET / HTTP/1.1|host: a|x=y: z|| none keep"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc", "ContentLengthsDiffer at 25"),
    (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked,\r\n\r\n0\r\n\r\n", "TransferEncoding at 26"),
    (b"GET / HTTP/1.1\r\n Host: a\r\n\r\n", "FoldedFirstLine at 16"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n", "ControlByte at 29"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nX\0: a\r\n\r\n", "ControlByte at 26"),
    (b"G@T / HTTP/1.1\r\nHost: a\r\n\r\n", "MethodByte at 1"),
    (b"GET / RTSP/1.0\r\nHost: a\r\n\r\n", "Version at 6"),
    (b"GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n", "ControlByte at 5"),
    (b"POST / HTTP/1.1\r\nHost: a\r\n\xffTransfer-Encoding: chunked\r\n\r\n", "NameByte at 26"),
    (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding\xff: chunked\r\n\r\n", "NameByte at 43"),
    (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding;: chunked\r\n\r\n", "NameByte at 43"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n\x0b: z\r\n\r\n", "NameByte at 31"),
];

#[test]
fn relaxed_parsing_allows_odd_bytes_but_one_reading() {
    let limits = Limits {
        accept_invalid: true,
        ..Limits::default()
    };
    for (input, expected) in RELAXED {
        let got = request(input, &limits);
        assert_eq!(got, *expected, "{}", input.escape_ascii());
    }
}
