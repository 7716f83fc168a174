//! Tests the HTTP/1 request parser, byte by byte. All rows were compared with haproxy 2.6.12;
//! rows note where that is laxer. The expected result shows the head as written with `|` for line
//! ends, then the body, then whether the connection stays open, then the number of remaining
//! bytes.

use super::*;

fn check(table: &[(&[u8], &str)]) {
    for (input, expected) in table {
        let got = request(input, &Limits::default());
        assert_eq!(got, *expected, "{}", input.escape_ascii());
    }
}

#[rustfmt::skip]
const START_LINES_AND_HOSTS: &[(&[u8], &str)] = &[
    (b"POST / HTTP/1.0\r\nHost: a\r\n\r\n", "POST / HTTP/1.0|host: a|| none close"),
    (b"POST / HTTP/1.1\r\nHost: a\r\n\r\n", "POST / HTTP/1.1|host: a|| none keep"),
    (b"GET / HTTP/1.1\r\n Host: a\r\n\r\n", "FoldedFirstLine at 16"),
    (b"GET / HTTP/1.1\nHost: a\n\n", "GET / HTTP/1.1|host: a|| none keep"),
    (b"GET / HTTP/1.1\r\n\r\n", "GET / HTTP/1.1|| none keep"),
    (b"GET / HTTP/1.0\r\n\r\n", "GET / HTTP/1.0|| none close"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", "GET / HTTP/1.1|host: a|| none keep"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "HostsDiffer at 16"),
    (b"GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", "HostByte at 16"), // HAProxy 2.6 accepts it
    (b"GET / HTTP/1.1\r\nHost:\r\n\r\n", "GET / HTTP/1.1|host: || none keep"),
    (b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", "HostByte at 16"), // HAProxy 2.6 accepts it
    (b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", "HostByte at 16"), // HAProxy 2.6 accepts it
    (b"GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", "HostByte at 16"), // HAProxy 2.6 accepts it
    (b"GET / HTTP/1.1\r\nHost: a:99999\r\n\r\n", "GET / HTTP/1.1|host: a:99999|| none keep"),
    (b"GET / HTTP/1.1\r\nHost: a:b\r\n\r\n", "GET / HTTP/1.1|host: a:b|| none keep"),
    (b"GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n", "GET http://a/ HTTP/1.1|host: a|| none keep"),
    (b"GET http://a/ HTTP/1.1\r\nHost: b\r\n\r\n", "HostMismatch at 4"),
    (b"GET http://a/ HTTP/1.1\r\n\r\n", "GET http://a/ HTTP/1.1|| none keep"),
    (b"GET http://a:80/ HTTP/1.1\r\nHost: a\r\n\r\n", "GET http://a/ HTTP/1.1|host: a|| none keep"),
    (b"GET http://a/ HTTP/1.1\r\nHost: a:80\r\n\r\n", "GET http://a/ HTTP/1.1|host: a:80|| none keep"),
    (b"GET http://A/ HTTP/1.1\r\nHost: a\r\n\r\n", "GET http://A/ HTTP/1.1|host: a|| none keep"),
    (b"GET https://a:443/ HTTP/1.1\r\nHost: a\r\n\r\n", "GET https://a/ HTTP/1.1|host: a|| none keep"),
    (b"GET http://u:p@a/ HTTP/1.1\r\nHost: a\r\n\r\n", "GET http://u:p@a/ HTTP/1.1|host: a|| none keep"),
    (b"GET http://a HTTP/1.1\r\nHost: a\r\n\r\n", "GET http://a/ HTTP/1.1|host: a|| none keep"),
    (b"GET http://a?x HTTP/1.1\r\nHost: a\r\n\r\n", "TargetForm at 4"),
    (b"GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n", "TargetForm at 4"), // HAProxy 2.6 accepts it
    (b"GET http: HTTP/1.1\r\nHost: a\r\n\r\n", "TargetForm at 4"),
    (b"GET ws://a/ HTTP/1.1\r\nHost: a\r\n\r\n", "GET ws://a/ HTTP/1.1|host: a|| none keep"),
    (b"GET foo:bar HTTP/1.1\r\nHost: a\r\n\r\n", "TargetForm at 4"),
    (b"CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n", "CONNECT a:80 HTTP/1.1|host: a|| none keep"),
    (b"CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n", "CONNECT a:80 HTTP/1.1|host: a|| none keep"),
    (b"CONNECT a HTTP/1.1\r\nHost: a\r\n\r\n", "TargetForm at 8"),
    (b"CONNECT / HTTP/1.1\r\nHost: a\r\n\r\n", "TargetForm at 8"),
    (b"CONNECT a:80 HTTP/1.1\r\nHost: b:80\r\n\r\n", "HostMismatch at 8"),
    (b"CONNECT http://a:80/ HTTP/1.1\r\nHost: a:80\r\n\r\n", "TargetForm at 8"), // HAProxy 2.6 accepts it
    (b"CONNECT a:x HTTP/1.1\r\nHost: a:x\r\n\r\n", "TargetForm at 8"),
    (b"CONNECT * HTTP/1.1\r\nHost: a:80\r\n\r\n", "TargetForm at 8"),
    (b"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n", "CONNECT a:443 HTTP/1.1|host: a|| none keep"),
    (b"CONNECT a:8080 HTTP/1.1\r\nHost: a\r\n\r\n", "HostMismatch at 8"),
    (b"CONNECT [::1]:80 HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", "CONNECT [::1]:80 HTTP/1.1|host: [::1]|| none keep"),
    (b"CONNECT :80 HTTP/1.1\r\nHost: :80\r\n\r\n", "TargetForm at 8"), // HAProxy 2.6 accepts it
    (b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "OPTIONS * HTTP/1.1|host: a|| none keep"),
    (b"GET * HTTP/1.1\r\nHost: a\r\n\r\n", "TargetForm at 4"), // HAProxy 2.6 accepts it
    (b"OPTIONS http://a HTTP/1.1\r\nHost: a\r\n\r\n", "OPTIONS http://a HTTP/1.1|host: a|| none keep"),
    (b"GET http://u:p@a:80/x HTTP/1.1\r\nHost: a:80\r\n\r\n", "GET http://u:p@a/x HTTP/1.1|host: a|| none keep"),
    (b"GET http://: HTTP/1.1\r\nHost: :80\r\n\r\n", "GET http://:/ HTTP/1.1|host: :80|| none keep"),
    (b"CONNECT a:80 HTTP/1.1\r\nHost: a:\r\n\r\n", "CONNECT a:80 HTTP/1.1|host: a:|| none keep"),
    (b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", "CONNECT a:443 HTTP/1.1|host: a|| none keep"),
    (b"CONNECT a:8443 HTTP/1.1\r\nHost: a:8443\r\n\r\n", "CONNECT a:8443 HTTP/1.1|host: a:8443|| none keep"),
    (b"OPTIONS *x HTTP/1.1\r\nHost: a\r\n\r\n", "TargetForm at 8"), // HAProxy 2.6 accepts it
    (b"GET a HTTP/1.1\r\nHost: a\r\n\r\n", "TargetForm at 4"), // HAProxy 2.6 accepts it
    (b"GET ?a HTTP/1.1\r\nHost: a\r\n\r\n", "TargetForm at 4"),
    (b"GET //a HTTP/1.1\r\nHost: a\r\n\r\n", "GET //a HTTP/1.1|host: a|| none keep"),
    (b"GET /#f HTTP/1.1\r\nHost: a\r\n\r\n", "TargetByte at 5"),
    (b"GET /a?b#f HTTP/1.1\r\nHost: a\r\n\r\n", "TargetByte at 8"),
    (b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n", "Version at 6"),
    (b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", "GET / HTTP/1.1|host: a|| none keep"),
    (b"GET /  HTTP/1.1\r\nHost: a\r\n\r\n", "GET / HTTP/1.1|host: a|| none keep"),
    (b"GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", "GET / HTTP/1.1|host: a|| none keep"),
    (b"GET /\tHTTP/1.1\r\nHost: a\r\n\r\n", "GET / HTTP/1.1|host: a|| none keep"),
    (b" GET / HTTP/1.1\r\nHost: a\r\n\r\n", "MethodMissing at 0"),
    (b"GET / /b HTTP/1.1\r\nHost: a\r\n\r\n", "Version at 6"),
    (b"get / HTTP/1.1\r\nHost: a\r\n\r\n", "get / HTTP/1.1|host: a|| none keep"),
    (b"G@T / HTTP/1.1\r\nHost: a\r\n\r\n", "MethodByte at 1"),
    (b"G!T / HTTP/1.1\r\nHost: a\r\n\r\n", "G!T / HTTP/1.1|host: a|| none keep"),
    (b"FOO / HTTP/1.1\r\nHost: a\r\n\r\n", "FOO / HTTP/1.1|host: a|| none keep"),
    (b"GET / http/1.1\r\nHost: a\r\n\r\n", "Version at 6"),
    (b"GET / HTTP/1.2\r\nHost: a\r\n\r\n", "GET / HTTP/1.1|host: a|| none keep"),
    (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", "Version at 6"), // HAProxy 2.6 accepts it
    (b"GET / HTTP/0.9\r\nHost: a\r\n\r\n", "Version at 6"), // HAProxy 2.6 accepts it
    (b"GET / HTTP/1.10\r\nHost: a\r\n\r\n", "Version at 6"),
    (b"GET / HTTP/11\r\nHost: a\r\n\r\n", "Version at 6"),
    (b"GET / HTTP/1.\r\nHost: a\r\n\r\n", "Version at 6"),
    (b"GET / HTTPS/1.1\r\nHost: a\r\n\r\n", "Version at 6"),
    (b"GET / RTSP/1.0\r\nHost: a\r\n\r\n", "Version at 6"),
    (b"GET / HTTP/3.1\r\nHost: a\r\n\r\n", "Version at 6"), // HAProxy 2.6 accepts it
    (b"GET / HTTP/1.3\r\nHost: a\r\n\r\n", "GET / HTTP/1.1|host: a|| none keep"),
    (b"GET /\r\n\r\n", "Http09 at 5"),
    (b"GET /\r\n", "Http09 at 5"),
    (b"GET / \r\n\r\n", "Http09 at 6"),
    (b"GET\r\n\r\n", "Http09 at 3"),
    (b"POST /\r\n\r\n", "Http09 at 6"),
    (b"GET / \r\nHost: a\r\n\r\n", "Http09 at 6"),
    (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "Http2Preface at 0"),
    (b"PRI * HTTP/1.1\r\nHost: a\r\n\r\n", "Http2Preface at 0"),
    (b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET / HTTP/1.1|host: a|| none keep"),
    (b"\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET / HTTP/1.1|host: a|| none keep"),
    (b"\n\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET / HTTP/1.1|host: a|| none keep"),
    (b"\r\rGET / HTTP/1.1\r\nHost: a\r\n\r\n", "MethodByte at 0"),
    (b"GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n", "ControlByte at 5"),
    (b"GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n", "TargetByte at 5"),
    (b"GET /\x7f HTTP/1.1\r\nHost: a\r\n\r\n", "TargetByte at 5"),
    (b"GET /\x80 HTTP/1.1\r\nHost: a\r\n\r\n", "TargetByte at 5"),
    (b"GET /\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n", "TargetByte at 5"),
    (b"GET /\"<>\\^`{|} HTTP/1.1\r\nHost: a\r\n\r\n", "GET /\\\"<>\\\\^`{|} HTTP/1.1|host: a|| none keep"),
    (b"GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n", "GET /%zz HTTP/1.1|host: a|| none keep"),
    (b"GET /[] HTTP/1.1\r\nHost: a\r\n\r\n", "GET /[] HTTP/1.1|host: a|| none keep"),
    (b"GET http://a:80/x HTTP/1.1\r\nHost: a:80\r\n\r\n", "GET http://a/x HTTP/1.1|host: a|| none keep"),
    (b"GET http://a:8080/x HTTP/1.1\r\nHost: a:8080\r\n\r\n", "GET http://a:8080/x HTTP/1.1|host: a:8080|| none keep"),
    (b"GET http://a:/x HTTP/1.1\r\nHost: a\r\n\r\n", "GET http://a/x HTTP/1.1|host: a|| none keep"),
    (b"GET HTTP://a:80/x HTTP/1.1\r\nHost: a\r\n\r\n", "GET HTTP://a/x HTTP/1.1|host: a|| none keep"),
    (b"GET http://a:443/x HTTP/1.1\r\nHost: a\r\n\r\n", "HostMismatch at 4"),
    (b"GET ws://a:80/x HTTP/1.1\r\nHost: a\r\n\r\n", "HostMismatch at 4"),
    (b"GET http://[::1]:80/x HTTP/1.1\r\nHost: [::1]\r\n\r\n", "GET http://[::1]/x HTTP/1.1|host: [::1]|| none keep"),
    (b"GET http://u@a:80/x HTTP/1.1\r\nHost: a\r\n\r\n", "GET http://u@a/x HTTP/1.1|host: a|| none keep"),
    (b"GET http://a/x HTTP/1.1\r\nHost: \r\n\r\n", "HostMismatch at 4"),
    (b"GET http://u@a/x HTTP/1.1\r\nHost: u@a\r\n\r\n", "HostByte at 27"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nHost: A\r\n\r\n", "GET / HTTP/1.1|host: a|| none keep"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nHost:\r\n\r\n", "HostsDiffer at 16"),
    (b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", "NameByte at 20"),
    (b"GET / HTTP/1.1\r\nHost:\r\n a\r\n\r\n", "FoldedFraming at 23"), // HAProxy 2.6 accepts it
    (b"GET / HTTP/1.1\r\nHost: a\\b\r\n\r\n", "HostByte at 16"), // HAProxy 2.6 accepts it
    (b"GET / HTTP/1.1\r\nHost: a?b\r\n\r\n", "HostByte at 16"), // HAProxy 2.6 accepts it
    (b"GET / HTTP/1.1\r\nHost: a#b\r\n\r\n", "HostByte at 16"), // HAProxy 2.6 accepts it
    (b"GET / HTTP/1.1\r\nHost: a,b\r\n\r\n", "GET / HTTP/1.1|host: a,b|| none keep"),
    (b"GET / HTTP/1.1\r\nHost: a\x01\r\n\r\n", "HostByte at 16"), // HAProxy 2.6 accepts it
    (b"GET / HTTP/1.1\r\nHost: a_b\r\n\r\n", "GET / HTTP/1.1|host: a_b|| none keep"),
    (b"GET / HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n", "GET / HTTP/1.1|host: [::1]:8080|| none keep"),
    (b"GET / HTTP/1.1\r\nHost: \xc3\xa9.fr\r\n\r\n", "GET / HTTP/1.1|host: \\xc3\\xa9.fr|| none keep"),
    (b"GET / HTTP/1.1\r\nHost: 'a'\r\n\r\n", "GET / HTTP/1.1|host: \\'a\\'|| none keep"),
    (b"GET / HTTP/1.1\r\nHost: <a>\r\n\r\n", "HostByte at 16"), // HAProxy 2.6 accepts it
    (b"GET / HTTP/1.1\r\nHost: a;b\r\n\r\n", "GET / HTTP/1.1|host: a;b|| none keep"),
    (b"CONNECT a:80 HTTP/1.1\r\n\r\n", "CONNECT a:80 HTTP/1.1|| none keep"),
    (b"CONNECT a:80 HTTP/1.0\r\n\r\n", "CONNECT a:80 HTTP/1.0|| none close"),
    (b"CONNECT a:80 HTTP/1.1\r\nHost: a:443\r\n\r\n", "HostMismatch at 8"),
    (b"CONNECT a: HTTP/1.1\r\nHost: a\r\n\r\n", "TargetForm at 8"),
    (b"CONNECT a:123456 HTTP/1.1\r\nHost: a:123456\r\n\r\n", "TargetForm at 8"), // HAProxy 2.6 accepts it
    (b"CONNECT a/b:80 HTTP/1.1\r\nHost: a/b:80\r\n\r\n", "TargetForm at 8"),
    (b"connect a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n", "TargetForm at 8"), // HAProxy 2.6 accepts it
    (b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", "Version at 7"),
    (b"GET / HTTP/1.1\tx\r\nHost: a\r\n\r\n", "Version at 6"),
    (b"GET / HTTP/1.1\r\r\nHost: a\r\n\r\n", "ControlByte at 14"),
    (b"GET /\r HTTP/1.1\r\nHost: a\r\n\r\n", "ControlByte at 5"),
    (b"GET /\x0b HTTP/1.1\r\nHost: a\r\n\r\n", "TargetByte at 5"),
    (b"GET\x0b/ HTTP/1.1\r\nHost: a\r\n\r\n", "MethodByte at 3"),
    (b"GET / HTTP/1.1\0\r\nHost: a\r\n\r\n", "ControlByte at 14"),
    (b"\0GET / HTTP/1.1\r\nHost: a\r\n\r\n", "MethodByte at 0"),
    (b"GET / HTTP/01.1\r\nHost: a\r\n\r\n", "Version at 6"),
    (b"GET / HTTP/1.01\r\nHost: a\r\n\r\n", "Version at 6"),
    (b"GET / HTTP/1,1\r\nHost: a\r\n\r\n", "Version at 6"),
    (b"GET / HTTP/-1.1\r\nHost: a\r\n\r\n", "Version at 6"),
    (b"GET / HTTP/1.1.1\r\nHost: a\r\n\r\n", "Version at 6"),
    (b"GET / HTTP /1.1\r\nHost: a\r\n\r\n", "Version at 6"),
    (b"GET / HTTP/a.b\r\nHost: a\r\n\r\n", "Version at 6"),
    (b"GET / \tHTTP/1.1\r\nHost: a\r\n\r\n", "GET / HTTP/1.1|host: a|| none keep"),
    (b"GET\t \t/\t \tHTTP/1.1\r\nHost: a\r\n\r\n", "GET / HTTP/1.1|host: a|| none keep"),
    (b"/ HTTP/1.1\r\nHost: a\r\n\r\n", "MethodByte at 0"),
    (b"GET HTTP/1.1\r\nHost: a\r\n\r\n", "Http09 at 12"),
    (b"GET  HTTP/1.1\r\nHost: a\r\n\r\n", "Http09 at 13"),
    (b"HTTP/1.1 200 OK\r\n\r\n", "MethodByte at 4"),
    (b"\x16\x03\x01\x02\0\x01\0\x01", "MethodByte at 0"),
    (b"SSH-2.0-OpenSSH\r\n", "Http09 at 15"),
    (b"GET:/ HTTP/1.1\r\nHost: a\r\n\r\n", "MethodByte at 3"),
    (b"GET /\xe2\x80\xa8 HTTP/1.1\r\nHost: a\r\n\r\n", "TargetByte at 5"),
    (b"\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\n\r\n", "GET / HTTP/1.1|| none keep"),
    (b"\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\n\r\n", "TooManyBlankLines at 34"), // HAProxy 2.6 accepts it
    (b"\n\r\nGET / HTTP/1.1\r\n\r\n", "GET / HTTP/1.1|| none keep"),
    (b"\r\n GET / HTTP/1.1\r\n\r\n", "MethodMissing at 2"),
    (b"\xef\xbb\xbfGET / HTTP/1.1\r\n\r\n", "MethodByte at 0"),
];

#[rustfmt::skip]
const FRAMING: &[(&[u8], &str)] = &[
    (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc", "ContentLengthsDiffer at 25"),
    (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nab", "POST / HTTP/1.1|host: a|content-length: 2|| length 2 keep +2"),
    (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2, 2\r\n\r\nab", "POST / HTTP/1.1|host: a|content-length: 2|| length 2 keep +2"),
    (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2,3\r\n\r\nab", "ContentLengthsDiffer at 26"),
    (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2,\r\n\r\nab", "ContentLength at 26"),
    (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 02\r\n\r\nab", "POST / HTTP/1.1|host: a|content-length: 2|| length 2 keep +2"),
    (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nContent-Length: 02\r\n\r\nab", "POST / HTTP/1.1|host: a|content-length: 2|| length 2 keep +2"),
    (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +2\r\n\r\nab", "ContentLength at 26"),
    (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -2\r\n\r\nab", "ContentLength at 26"),
    (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x2\r\n\r\nab", "ContentLength at 26"),
    (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2 \r\n\r\nab", "POST / HTTP/1.1|host: a|content-length: 2|| length 2 keep +2"),
    (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1 2\r\n\r\nab", "ContentLength at 26"),
    (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\nab", "ContentLength at 26"),
    (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999999\r\n\r\nab", "ContentLength at 26"),
    (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551615\r\n\r\nab", "ContentLength at 26"), // HAProxy 2.6 accepts it
    (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9223372036854775807\r\n\r\nab", "POST / HTTP/1.1|host: a|content-length: 9223372036854775807|| length 9223372036854775807 keep +2"),
    (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9223372036854775808\r\n\r\nab", "ContentLength at 26"),
    (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2;a\r\n\r\nab", "ContentLength at 26"),
    (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: '2'\r\n\r\nab", "ContentLength at 26"),
    (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "POST / HTTP/1.1|host: a|transfer-encoding: chunked|| chunked close +5"),
    (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n0\r\n\r\n", "POST / HTTP/1.1|host: a|transfer-encoding: chunked|| chunked close +5"),
    (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked,\r\n\r\n0\r\n\r\n", "TransferEncoding at 26"), // HAProxy 2.6 accepts it
    (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: ,chunked\r\n\r\n0\r\n\r\n", "TransferEncoding at 26"),
    (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", "TransferEncoding at 26"),
    (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "TransferEncoding at 26"),
    (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "TransferCoding at 26"),
    (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "TransferCoding at 26"),
    (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n", "TransferEncoding at 26"),
    (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n0\r\n\r\n", "TransferEncoding at 26"),
    (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n", "TransferEncoding at 26"),
    (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n", "TransferCoding at 26"),
    (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n0\r\n\r\n", "POST / HTTP/1.1|host: a|transfer-encoding: chunked|| chunked keep +5"),
    (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n\r\n0\r\n\r\n", "TransferEncoding at 26"),
    (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n", "TransferEncoding at 26"),
    (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n", "TransferEncoding at 26"),
    (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", "TransferEncoding at 26"),
    (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\x0b\r\n\r\n0\r\n\r\n", "TransferEncoding at 26"),
    (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n", "NameByte at 43"),
    (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer_Encoding: chunked\r\n\r\n", "POST / HTTP/1.1|host: a|transfer_encoding: chunked|| none keep"),
    (b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "POST / HTTP/1.0|host: a|transfer-encoding: chunked|| chunked close +5"),
    (b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", "POST / HTTP/1.0|host: a|transfer-encoding: chunked|| chunked close +5"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n", "GET / HTTP/1.1|host: a|transfer-encoding: chunked|| chunked keep +11"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab", "GET / HTTP/1.1|host: a|content-length: 2|| length 2 keep +2"),
    (b"GET / HTTP/1.0\r\nContent-Length: 2\r\n\r\nab", "UnexpectedBody at 16"),
    (b"HEAD / HTTP/1.0\r\nContent-Length: 2\r\n\r\nab", "UnexpectedBody at 17"),
    (b"DELETE / HTTP/1.0\r\nContent-Length: 2\r\n\r\nab", "UnexpectedBody at 19"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n 2\r\n\r\nab", "FoldedFraming at 42"), // HAProxy 2.6 accepts it
    (b"CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\nContent-Length: 3\r\n\r\nabc", "CONNECT a:80 HTTP/1.1|host: a|| none close +3"),
    (b"POST / HTTP/1.1\r\nHost: a\r\nExpect: foo\r\nContent-Length: 0\r\n\r\n", "POST / HTTP/1.1|host: a|expect: foo|content-length: 0|| none keep"),
    (b"POST / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: foo\r\nContent-Length: 2\r\n\r\nab", "POST / HTTP/1.1|host: a|content-length: 2|| length 2 keep +2"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nConnection: content-length, host\r\nContent-Length: 0\r\n\r\n", "GET / HTTP/1.1|host: a|content-length: 0|| none keep"),
    (b"GET / HTTP/1.0\r\nContent-Length: 0\r\n\r\n", "GET / HTTP/1.0|content-length: 0|| none close"),
    (b"TRACE / HTTP/1.0\r\nContent-Length: 2\r\n\r\nab", "TRACE / HTTP/1.0|content-length: 2|| length 2 close +2"),
    (b"OPTIONS / HTTP/1.0\r\nContent-Length: 2\r\n\r\nab", "OPTIONS / HTTP/1.0|content-length: 2|| length 2 close +2"),
    (b"PUT / HTTP/1.0\r\nContent-Length: 2\r\n\r\nab", "PUT / HTTP/1.0|content-length: 2|| length 2 close +2"),
    (b"GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "UnexpectedBody at 16"),
    (b"HEAD / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab", "HEAD / HTTP/1.1|host: a|content-length: 2|| length 2 keep +2"),
    (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", "POST / HTTP/1.1|host: a|content-length: 0|| none keep"),
    (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 00\r\n\r\n", "POST / HTTP/1.1|host: a|content-length: 0|| none keep"),
    (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nX: y\r\nContent-Length: 2\r\n\r\nab", "POST / HTTP/1.1|host: a|content-length: 2|x: y|| length 2 keep +2"),
    (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nContent-Length:\r\n\r\nab", "ContentLength at 26"),
    (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ,2\r\n\r\nab", "ContentLength at 26"),
    (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2,,2\r\n\r\nab", "ContentLength at 26"),
    (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\t,\t2\r\n\r\nab", "POST / HTTP/1.1|host: a|content-length: 2|| length 2 keep +2"),
    (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2.0\r\n\r\nab", "ContentLength at 26"),
    (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2e1\r\n\r\nab", "ContentLength at 26"),
    (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\x0b\r\n\r\nab", "ContentLength at 26"),
    (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: \x0c2\r\n\r\nab", "ContentLength at 26"),
    (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: \"2\"\r\n\r\nab", "ContentLength at 26"),
    (b"POST / HTTP/1.1\r\nHost: a\r\ncontent-LENGTH: 2\r\n\r\nab", "POST / HTTP/1.1|host: a|content-length: 2|| length 2 keep +2"),
    (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length\r\n\r\n", "ColonMissing at 40"),
    (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length : 2\r\n\r\nab", "NameByte at 40"),
    (b"POST / HTTP/1.1\r\nHost: a\r\nContent_Length: 2\r\n\r\n", "POST / HTTP/1.1|host: a|content_length: 2|| none keep"),
    (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\0\r\n\r\nab", "ControlByte at 43"),
    (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9223372036854775807, 9223372036854775807\r\n\r\n", "POST / HTTP/1.1|host: a|content-length: 9223372036854775807|| length 9223372036854775807 keep"),
    (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\x80\r\n\r\na", "ContentLength at 26"),
    (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "ContentLength at 26"),
    (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "ContentLengthsDiffer at 26"),
    (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n0\r\n\r\n", "POST / HTTP/1.1|host: a|transfer-encoding: chunked|| chunked close +5"),
    (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: CHUNKED\r\n\r\n0\r\n\r\n", "POST / HTTP/1.1|host: a|transfer-encoding: chunked|| chunked keep +5"),
    (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:chunked\r\n\r\n0\r\n\r\n", "POST / HTTP/1.1|host: a|transfer-encoding: chunked|| chunked keep +5"),
    (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\tchunked\t\r\n\r\n0\r\n\r\n", "POST / HTTP/1.1|host: a|transfer-encoding: chunked|| chunked keep +5"),
    (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \r\n chunked\r\n\r\n0\r\n\r\n", "FoldedFraming at 47"), // HAProxy 2.6 accepts it
    (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunk\r\n ed\r\n\r\n0\r\n\r\n", "FoldedFraming at 52"),
    (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n", "TransferEncoding at 26"),
    (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "TransferCoding at 26"),
    (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "TransferEncoding at 26"), // HAProxy 2.6 accepts it
    (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding:\r\n\r\n0\r\n\r\n", "TransferEncoding at 26"), // HAProxy 2.6 accepts it
    (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked x\r\n\r\n0\r\n\r\n", "TransferEncoding at 26"),
    (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chun ked\r\n\r\n0\r\n\r\n", "TransferEncoding at 26"),
    (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: deflate, gzip, chunked\r\n\r\n0\r\n\r\n", "TransferCoding at 26"),
    (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked,chunked\r\n\r\n0\r\n\r\n", "TransferEncoding at 26"),
    (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\0\r\n\r\n0\r\n\r\n", "ControlByte at 52"),
    (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \0chunked\r\n\r\n0\r\n\r\n", "ControlByte at 45"),
    (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\xa0\r\n\r\n0\r\n\r\n", "TransferEncoding at 26"),
    (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chun\\ked\r\n\r\n0\r\n\r\n", "TransferEncoding at 26"),
    (b"POST / HTTP/1.1\r\nHost: a\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "FoldedFraming at 26"), // HAProxy 2.6 accepts it
    (b"POST / HTTP/1.1\r\nHost: a\r\nX: y\r\n Transfer-Encoding: chunked\r\n\r\n", "POST / HTTP/1.1|host: a|x: y   Transfer-Encoding: chunked|| none keep"),
    (b"POST / HTTP/1.1\r\nHost: a\r\nX: y\rTransfer-Encoding: chunked\r\n\r\n", "ControlByte at 30"),
    (b"POST / HTTP/1.1\r\nHost: a\r\nX: y\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "POST / HTTP/1.1|host: a|x: y|transfer-encoding: chunked|| chunked keep +5"),
    (b"POST / HTTP/1.1\r\nHost: a\r\nX: y\r\n\rTransfer-Encoding: chunked\r\n\r\n", "ControlByte at 32"),
    (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", "POST / HTTP/1.1|host: a|transfer-encoding: chunked|| chunked keep"),
    (b"POST / HTTP/1.1\r\nHost: a\r\n\xffTransfer-Encoding: chunked\r\n\r\n", "NameByte at 26"),
    (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding\xff: chunked\r\n\r\n", "NameByte at 43"),
    (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding;: chunked\r\n\r\n", "NameByte at 43"),
    (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding\r\n : chunked\r\n\r\n", "ColonMissing at 43"),
    (b"POST / HTTP/1.1\r\nHost: a\r\nX-Transfer-Encoding: chunked\r\n\r\n", "POST / HTTP/1.1|host: a|x-transfer-encoding: chunked|| none keep"),
    (b"CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "CONNECT a:80 HTTP/1.1|host: a|| none close +5"),
];

#[rustfmt::skip]
const HOP_BY_HOP: &[(&[u8], &str)] = &[
    (b"GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n", "GET / HTTP/1.1|host: a|expect: 100-continue|| none keep expect"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", "GET / HTTP/1.1|host: a|connection: Upgrade|upgrade: websocket|sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==|| none keep websocket"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: foo\r\n\r\n", "GET / HTTP/1.1|host: a|connection: Upgrade|upgrade: foo|| none keep upgrade"),
    (b"GET / HTTP/1.0\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: foo\r\n\r\n", "GET / HTTP/1.0|host: a|| none close"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\n\r\n", "GET / HTTP/1.1|host: a|| none keep"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nConnection: ,, ,close,\r\n\r\n", "GET / HTTP/1.1|host: a|| none close"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nConnection:\r\n\r\n", "GET / HTTP/1.1|host: a|| none keep"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nConnection: foo, keep-alive ,  bar\r\nConnection: close , baz\r\n\r\n", "GET / HTTP/1.1|host: a|connection: foo,bar|connection: baz|| none close"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Key: \r\n\r\n", "WebSocketKey at 25"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: foo, websocket\r\nConnection: upgrade\r\n\r\n", "WebSocketKey at 25"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: WebSocket\r\nConnection: upgrade\r\n\r\n", "WebSocketKey at 25"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: WebSocket\r\nConnection: UPGRADE\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", "GET / HTTP/1.1|host: a|upgrade: WebSocket|connection: UPGRADE|sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==|| none keep websocket"),
    (b"GET / HTTP/1.0\r\nHost: a\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n", "GET / HTTP/1.0|host: a|| none close"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nConnection: upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAA\r\n\r\n", "GET / HTTP/1.1|host: a|connection: HTTP2-Settings|| none keep"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: h2c, foo\r\nConnection: upgrade\r\n\r\n", "GET / HTTP/1.1|host: a|connection: upgrade|upgrade: foo|| none keep upgrade"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n", "GET / HTTP/1.1|host: a|| none keep"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade:\r\nConnection: upgrade\r\n\r\n", "GET / HTTP/1.1|host: a|| none keep"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "GET / HTTP/1.1|host: a|| none close"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Close\r\n\r\n", "GET / HTTP/1.1|host: a|| none close"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\n\r\n", "GET / HTTP/1.1|host: a|| none keep"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, close\r\n\r\n", "GET / HTTP/1.1|host: a|| none close"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close, keep-alive\r\n\r\n", "GET / HTTP/1.1|host: a|| none close"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nConnection: closed\r\n\r\n", "GET / HTTP/1.1|host: a|connection: closed|| none keep"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nConnection: \"close\"\r\n\r\n", "GET / HTTP/1.1|host: a|connection: \\\"close\\\"|| none keep"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close;x\r\n\r\n", "GET / HTTP/1.1|host: a|connection: close;x|| none keep"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nProxy-Connection: close\r\n\r\n", "GET / HTTP/1.1|host: a|proxy-connection: close|| none keep"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nKeep-Alive: 5\r\nConnection: keep-alive\r\n\r\n", "GET / HTTP/1.1|host: a|keep-alive: 5|| none keep"),
    (b"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", "GET / HTTP/1.0|| none keep"),
    (b"GET / HTTP/1.0\r\nConnection: close\r\n\r\n", "GET / HTTP/1.0|| none close"),
    (b"GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n", "GET / HTTP/1.0|| none close"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\n\r\n", "GET / HTTP/1.1|host: a|te: trailers|| none keep"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nTE: gzip\r\n\r\n", "GET / HTTP/1.1|host: a|| none keep"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nTE: gzip, Trailers\r\n\r\n", "GET / HTTP/1.1|host: a|te: trailers|| none keep"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nTE: gzip\r\nTE: trailers\r\n\r\n", "GET / HTTP/1.1|host: a|te: trailers|| none keep"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nTE:\r\n\r\n", "GET / HTTP/1.1|host: a|| none keep"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\n\r\n", "GET / HTTP/1.1|host: a|expect: 100-Continue|| none keep expect"),
    (b"GET / HTTP/1.0\r\nExpect: 100-continue\r\n\r\n", "GET / HTTP/1.0|expect: 100-continue|| none close"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue, foo\r\n\r\n", "GET / HTTP/1.1|host: a|expect: 100-continue, foo|| none keep expect"),
];

#[rustfmt::skip]
const FIELDS: &[(&[u8], &str)] = &[
    (b"GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n", "GET / HTTP/1.1|host: a|x: a   b|| none keep"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n\tb  \r\n\t\r\n\r\n", "GET / HTTP/1.1|host: a|x: a  \\tb|| none keep"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nX:\r\n b\r\n\r\n", "GET / HTTP/1.1|host: a|x: b|| none keep"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n \r\n\r\n", "GET / HTTP/1.1|host: a|x: a|| none keep"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nX: a  \r\n    b\r\n\r\n", "GET / HTTP/1.1|host: a|x: a      b|| none keep"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nX : a\r\n\r\n", "NameByte at 26"),
    (b"GET / HTTP/1.1\r\nHost: a\r\n: a\r\n\r\n", "NameMissing at 25"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n", "ColonMissing at 26"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nX:a\r\n\r\n", "GET / HTTP/1.1|host: a|x: a|| none keep"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nX:\r\n\r\n", "GET / HTTP/1.1|host: a|x: || none keep"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nX:   \t a \t \r\n\r\n", "GET / HTTP/1.1|host: a|x: a|| none keep"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n", "ControlByte at 29"), // HAProxy 2.6 accepts it
    (b"GET / HTTP/1.1\r\nHost: a\r\nX\0: a\r\n\r\n", "ControlByte at 26"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n", "ControlByte at 29"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nX: a\nY: b\r\n\r\n", "GET / HTTP/1.1|host: a|x: a|y: b|| none keep"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nX: a\r\r\n\r\n", "ControlByte at 29"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nX: a\x01b\r\n\r\n", "GET / HTTP/1.1|host: a|x: a\\x01b|| none keep"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nX: a\x7fb\r\n\r\n", "GET / HTTP/1.1|host: a|x: a\\x7fb|| none keep"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nX: a\xffb\r\n\r\n", "GET / HTTP/1.1|host: a|x: a\\xffb|| none keep"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nX\xff: ab\r\n\r\n", "NameByte at 26"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nX(: ab\r\n\r\n", "NameByte at 26"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nX[: ab\r\n\r\n", "NameByte at 26"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nX Y: ab\r\n\r\n", "NameByte at 26"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nX\t: ab\r\n\r\n", "NameByte at 26"),
    (b"GET / HTTP/1.1\r\nHost: a\r\n\rX: a\r\n\r\n", "ControlByte at 25"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n\n", "GET / HTTP/1.1|host: a|x: a|| none keep"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nX: a\n\r\n", "GET / HTTP/1.1|host: a|x: a|| none keep"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nX0: a\r\nX1: a\r\nX2: a\r\nX3: a\r\nX4: a\r\nX5: a\r\nX6: a\r\nX7: a\r\nX8: a\r\nX9: a\r\nX10: a\r\nX11: a\r\nX12: a\r\nX13: a\r\nX14: a\r\nX15: a\r\nX16: a\r\nX17: a\r\nX18: a\r\nX19: a\r\nX20: a\r\nX21: a\r\nX22: a\r\nX23: a\r\nX24: a\r\nX25: a\r\nX26: a\r\nX27: a\r\nX28: a\r\nX29: a\r\nX30: a\r\nX31: a\r\nX32: a\r\nX33: a\r\nX34: a\r\nX35: a\r\nX36: a\r\nX37: a\r\nX38: a\r\nX39: a\r\nX40: a\r\nX41: a\r\nX42: a\r\nX43: a\r\nX44: a\r\nX45: a\r\nX46: a\r\nX47: a\r\nX48: a\r\nX49: a\r\nX50: a\r\nX51: a\r\nX52: a\r\nX53: a\r\nX54: a\r\nX55: a\r\nX56: a\r\nX57: a\r\nX58: a\r\nX59: a\r\nX60: a\r\nX61: a\r\nX62: a\r\nX63: a\r\nX64: a\r\nX65: a\r\nX66: a\r\nX67: a\r\nX68: a\r\nX69: a\r\nX70: a\r\nX71: a\r\nX72: a\r\nX73: a\r\nX74: a\r\nX75: a\r\nX76: a\r\nX77: a\r\nX78: a\r\nX79: a\r\nX80: a\r\nX81: a\r\nX82: a\r\nX83: a\r\nX84: a\r\nX85: a\r\nX86: a\r\nX87: a\r\nX88: a\r\nX89: a\r\nX90: a\r\nX91: a\r\nX92: a\r\nX93: a\r\nX94: a\r\nX95: a\r\nX96: a\r\nX97: a\r\nX98: a\r\n\r\n", "GET / HTTP/1.1|host: a|x0: a|x1: a|x2: a|x3: a|x4: a|x5: a|x6: a|x7: a|x8: a|x9: a|x10: a|x11: a|x12: a|x13: a|x14: a|x15: a|x16: a|x17: a|x18: a|x19: a|x20: a|x21: a|x22: a|x23: a|x24: a|x25: a|x26: a|x27: a|x28: a|x29: a|x30: a|x31: a|x32: a|x33: a|x34: a|x35: a|x36: a|x37: a|x38: a|x39: a|x40: a|x41: a|x42: a|x43: a|x44: a|x45: a|x46: a|x47: a|x48: a|x49: a|x50: a|x51: a|x52: a|x53: a|x54: a|x55: a|x56: a|x57: a|x58: a|x59: a|x60: a|x61: a|x62: a|x63: a|x64: a|x65: a|x66: a|x67: a|x68: a|x69: a|x70: a|x71: a|x72: a|x73: a|x74: a|x75: a|x76: a|x77: a|x78: a|x79: a|x80: a|x81: a|x82: a|x83: a|x84: a|x85: a|x86: a|x87: a|x88: a|x89: a|x90: a|x91: a|x92: a|x93: a|x94: a|x95: a|x96: a|x97: a|x98: a|| none keep"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nX0: a\r\nX1: a\r\nX2: a\r\nX3: a\r\nX4: a\r\nX5: a\r\nX6: a\r\nX7: a\r\nX8: a\r\nX9: a\r\nX10: a\r\nX11: a\r\nX12: a\r\nX13: a\r\nX14: a\r\nX15: a\r\nX16: a\r\nX17: a\r\nX18: a\r\nX19: a\r\nX20: a\r\nX21: a\r\nX22: a\r\nX23: a\r\nX24: a\r\nX25: a\r\nX26: a\r\nX27: a\r\nX28: a\r\nX29: a\r\nX30: a\r\nX31: a\r\nX32: a\r\nX33: a\r\nX34: a\r\nX35: a\r\nX36: a\r\nX37: a\r\nX38: a\r\nX39: a\r\nX40: a\r\nX41: a\r\nX42: a\r\nX43: a\r\nX44: a\r\nX45: a\r\nX46: a\r\nX47: a\r\nX48: a\r\nX49: a\r\nX50: a\r\nX51: a\r\nX52: a\r\nX53: a\r\nX54: a\r\nX55: a\r\nX56: a\r\nX57: a\r\nX58: a\r\nX59: a\r\nX60: a\r\nX61: a\r\nX62: a\r\nX63: a\r\nX64: a\r\nX65: a\r\nX66: a\r\nX67: a\r\nX68: a\r\nX69: a\r\nX70: a\r\nX71: a\r\nX72: a\r\nX73: a\r\nX74: a\r\nX75: a\r\nX76: a\r\nX77: a\r\nX78: a\r\nX79: a\r\nX80: a\r\nX81: a\r\nX82: a\r\nX83: a\r\nX84: a\r\nX85: a\r\nX86: a\r\nX87: a\r\nX88: a\r\nX89: a\r\nX90: a\r\nX91: a\r\nX92: a\r\nX93: a\r\nX94: a\r\nX95: a\r\nX96: a\r\nX97: a\r\nX98: a\r\nX99: a\r\n\r\n", "TooManyHeaders at 807"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nX0: a\r\nX1: a\r\nX2: a\r\nX3: a\r\nX4: a\r\nX5: a\r\nX6: a\r\nX7: a\r\nX8: a\r\nX9: a\r\nX10: a\r\nX11: a\r\nX12: a\r\nX13: a\r\nX14: a\r\nX15: a\r\nX16: a\r\nX17: a\r\nX18: a\r\nX19: a\r\nX20: a\r\nX21: a\r\nX22: a\r\nX23: a\r\nX24: a\r\nX25: a\r\nX26: a\r\nX27: a\r\nX28: a\r\nX29: a\r\nX30: a\r\nX31: a\r\nX32: a\r\nX33: a\r\nX34: a\r\nX35: a\r\nX36: a\r\nX37: a\r\nX38: a\r\nX39: a\r\nX40: a\r\nX41: a\r\nX42: a\r\nX43: a\r\nX44: a\r\nX45: a\r\nX46: a\r\nX47: a\r\nX48: a\r\nX49: a\r\nX50: a\r\nX51: a\r\nX52: a\r\nX53: a\r\nX54: a\r\nX55: a\r\nX56: a\r\nX57: a\r\nX58: a\r\nX59: a\r\nX60: a\r\nX61: a\r\nX62: a\r\nX63: a\r\nX64: a\r\nX65: a\r\nX66: a\r\nX67: a\r\nX68: a\r\nX69: a\r\nX70: a\r\nX71: a\r\nX72: a\r\nX73: a\r\nX74: a\r\nX75: a\r\nX76: a\r\nX77: a\r\nX78: a\r\nX79: a\r\nX80: a\r\nX81: a\r\nX82: a\r\nX83: a\r\nX84: a\r\nX85: a\r\nX86: a\r\nX87: a\r\nX88: a\r\nX89: a\r\nX90: a\r\nX91: a\r\nX92: a\r\nX93: a\r\nX94: a\r\nX95: a\r\nX96: a\r\nX97: a\r\nX98: a\r\nX99: a\r\nX100: a\r\n\r\n", "TooManyHeaders at 807"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nX0: a\r\nX1: a\r\nX2: a\r\nX3: a\r\nX4: a\r\nX5: a\r\nX6: a\r\nX7: a\r\nX8: a\r\nX9: a\r\nX10: a\r\nX11: a\r\nX12: a\r\nX13: a\r\nX14: a\r\nX15: a\r\nX16: a\r\nX17: a\r\nX18: a\r\nX19: a\r\nX20: a\r\nX21: a\r\nX22: a\r\nX23: a\r\nX24: a\r\nX25: a\r\nX26: a\r\nX27: a\r\nX28: a\r\nX29: a\r\nX30: a\r\nX31: a\r\nX32: a\r\nX33: a\r\nX34: a\r\nX35: a\r\nX36: a\r\nX37: a\r\nX38: a\r\nX39: a\r\nX40: a\r\nX41: a\r\nX42: a\r\nX43: a\r\nX44: a\r\nX45: a\r\nX46: a\r\nX47: a\r\nX48: a\r\nX49: a\r\nX50: a\r\nX51: a\r\nX52: a\r\nX53: a\r\nX54: a\r\nX55: a\r\nX56: a\r\nX57: a\r\nX58: a\r\nX59: a\r\nX60: a\r\nX61: a\r\nX62: a\r\nX63: a\r\nX64: a\r\nX65: a\r\nX66: a\r\nX67: a\r\nX68: a\r\nX69: a\r\nX70: a\r\nX71: a\r\nX72: a\r\nX73: a\r\nX74: a\r\nX75: a\r\nX76: a\r\nX77: a\r\nX78: a\r\nX79: a\r\nX80: a\r\nX81: a\r\nX82: a\r\nX83: a\r\nX84: a\r\nX85: a\r\nX86: a\r\nX87: a\r\nX88: a\r\nX89: a\r\nX90: a\r\nX91: a\r\nX92: a\r\nX93: a\r\nX94: a\r\nX95: a\r\nX96: a\r\nX97: a\r\nX98: a\r\nX99: a\r\nX100: a\r\nX101: a\r\n\r\n", "TooManyHeaders at 807"),
    (b"GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n", "FoldedFraming at 25"), // HAProxy 2.6 accepts it
    (b"GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n\tz\r\n\r\n", "GET / HTTP/1.1|host: a|x: y  \\tz|| none keep"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n z", "GET / HTTP/1.1|host: a|x: y|| none keep +2"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nX: \r\n \r\n \r\n\r\n", "GET / HTTP/1.1|host: a|x: || none keep"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n: z\r\n\r\n", "NameMissing at 31"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nX:y:z\r\n\r\n", "GET / HTTP/1.1|host: a|x: y:z|| none keep"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nX:: y\r\n\r\n", "GET / HTTP/1.1|host: a|x: : y|| none keep"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nX: \x0by\x0b\r\n\r\n", "GET / HTTP/1.1|host: a|x: \\x0by\\x0b|| none keep"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n\0\r\n\r\n", "ControlByte at 31"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n\x0b: z\r\n\r\n", "NameByte at 31"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nX\r\n: y\r\n\r\n", "ColonMissing at 26"),
    (b"GET / HTTP/1.1\r\nHost: a\r\n\"X\": y\r\n\r\n", "NameByte at 25"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nX@Y: z\r\n\r\n", "NameByte at 26"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nX/Y: z\r\n\r\n", "NameByte at 26"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nX=Y: z\r\n\r\n", "NameByte at 26"),
    (b"GET / HTTP/1.1\r\nHost: a\r\n!#$%&'*+-.^_`|~: z\r\n\r\n", "GET / HTTP/1.1|host: a|!#$%&\\'*+-.^_`|~: z|| none keep"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nX: \xff\xfe\r\n\r\n", "GET / HTTP/1.1|host: a|x: \\xff\\xfe|| none keep"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nX: a\\\r\n\r\n", "GET / HTTP/1.1|host: a|x: a\\\\|| none keep"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nX: \"a\r\n\r\n", "GET / HTTP/1.1|host: a|x: \\\"a|| none keep"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nx: 1\r\nX: 2\r\nx: 3\r\n\r\n", "GET / HTTP/1.1|host: a|x: 1|x: 2|x: 3|| none keep"),
    (b"GET / HTTP/1.1\r\nHost: a\r\n\r\nleft over", "GET / HTTP/1.1|host: a|| none keep +9"),
];

#[test]
fn start_lines_and_hosts_have_one_reading_or_are_refused() {
    check(START_LINES_AND_HOSTS);
}

#[test]
fn body_lengths_have_one_reading_or_are_refused() {
    check(FRAMING);
}

#[test]
fn hop_by_hop_headers_are_not_forwarded() {
    check(HOP_BY_HOP);
}

#[test]
fn header_fields_have_one_reading_or_are_refused() {
    check(FIELDS);
}

pub(super) fn all_requests() -> impl Iterator<Item = &'static [u8]> {
    [START_LINES_AND_HOSTS, FRAMING, HOP_BY_HOP, FIELDS]
        .into_iter()
        .flatten()
        .map(|(input, _)| *input)
}
