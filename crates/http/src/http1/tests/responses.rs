//! Tests the HTTP/1 response parser, compared with haproxy 2.6.12 as in [`super::requests`].

use super::*;

const GET: RequestFacts = RequestFacts {
    head: false,
    connect: false,
    upgrade: None,
    accept: None,
    checks_accept: false,
};
const HEAD: RequestFacts = RequestFacts { head: true, ..GET };
const CONNECT: RequestFacts = RequestFacts {
    connect: true,
    ..GET
};
const UPGRADE: RequestFacts = RequestFacts {
    upgrade: Some(Upgrade::Other),
    ..GET
};
const WEBSOCKET: RequestFacts = RequestFacts {
    upgrade: Some(Upgrade::WebSocket),
    ..GET
};

#[rustfmt::skip]
const RESPONSES: &[(&RequestFacts, &[u8], &str)] = &[
    (&GET, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc", "ContentLengthsDiffer at 17"),
    (&GET, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nab", "HTTP/1.1 200 OK|content-length: 2|| length 2 keep +2"),
    (&GET, b"HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nab", "ContentLength at 17"),
    (&GET, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "HTTP/1.1 200 OK|transfer-encoding: chunked|| chunked close +5"),
    (&GET, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "TransferCoding at 17"),
    (&GET, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nab", "TransferEncoding at 17"),
    (&GET, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\nab", "TransferEncoding at 17"),
    (&GET, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n", "TransferEncoding at 17"),
    (&GET, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked,\r\n\r\n0\r\n\r\n", "TransferEncoding at 17"),
    (&GET, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", "TransferEncoding at 17"),
    (&GET, b"HTTP/1.1 200 OK\r\nTransfer-Encoding:\r\n\r\nab", "TransferEncoding at 17"),
    (&GET, b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "HTTP/1.0 200 OK|transfer-encoding: chunked|| chunked close +5"),
    (&GET, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n", "HTTP/1.1 200 OK|transfer-encoding: chunked|| chunked keep +12"),
    (&GET, b"HTTP/1.1 200 OK\r\n\r\nabc", "HTTP/1.1 200 OK|| until-close close +3"),
    (&GET, b"HTTP/1.1 200 OK\r\n\r\nabc", "HTTP/1.1 200 OK|| until-close close +3"),
    (&GET, b"HTTP/1.0 200 OK\r\n\r\nabc", "HTTP/1.0 200 OK|| until-close close +3"),
    (&HEAD, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "HTTP/1.1 200 OK|content-length: 5|| none keep"),
    (&HEAD, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "HTTP/1.1 200 OK|transfer-encoding: chunked|| none keep"),
    (&HEAD, b"HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 200 OK|| none keep"),
    (&GET, b"HTTP/1.1 204 No\r\n\r\n", "HTTP/1.1 204 No|| none keep"),
    (&GET, b"HTTP/1.1 204 No\r\nContent-Length: 5\r\n\r\n", "HTTP/1.1 204 No|| none keep"),
    (&GET, b"HTTP/1.1 204 No\r\nTransfer-Encoding: chunked\r\n\r\n", "HTTP/1.1 204 No|| none keep"),
    (&GET, b"HTTP/1.1 304 No\r\nContent-Length: 5\r\n\r\n", "HTTP/1.1 304 No|content-length: 5|| none keep"),
    (&GET, b"HTTP/1.1 304 No\r\nTransfer-Encoding: chunked\r\n\r\n", "HTTP/1.1 304 No|transfer-encoding: chunked|| none keep"),
    (&GET, b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 100 Continue|| none keep interim +38"),
    (&GET, b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 103 Early|link: x|| none keep interim +38"),
    (&GET, b"HTTP/1.1 100 Continue\r\nContent-Length: 3\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 100 Continue|| none keep interim +38"),
    (&GET, b"HTTP/1.1 102 P\r\nTransfer-Encoding: chunked\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 102 P|| none keep interim +38"),
    (&GET, b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 103 Early|link: x|| none keep interim +38"),
    (&GET, b"HTTP/1.1 101 Sw\r\nConnection: upgrade\r\nUpgrade: foo\r\n\r\nraw", "UnexpectedUpgrade at 0"),
    (&UPGRADE, b"HTTP/1.1 101 Sw\r\nConnection: upgrade\r\nUpgrade: foo\r\n\r\nraw", "HTTP/1.1 101 Sw|connection: upgrade|upgrade: foo|| tunnel close upgrade +3"),
    (&UPGRADE, b"HTTP/1.1 101 Sw\r\n\r\nraw", "UnexpectedUpgrade at 0"),
    (&UPGRADE, b"HTTP/1.1 101 Sw\r\nConnection: upgrade\r\nUpgrade: foo\r\nContent-Length: 3\r\n\r\nraw", "HTTP/1.1 101 Sw|connection: upgrade|upgrade: foo|| tunnel close upgrade +3"),
    (&WEBSOCKET, b"HTTP/1.1 101 Sw\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nraw", "WebSocketKey at 0"),
    (&WEBSOCKET, b"HTTP/1.1 101 Sw\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\nraw", "HTTP/1.1 101 Sw|connection: upgrade|upgrade: websocket|sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=|| tunnel close websocket +3"),
    (&WEBSOCKET, b"HTTP/1.1 101 Sw\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: bad\r\n\r\nraw", "HTTP/1.1 101 Sw|connection: upgrade|upgrade: websocket|sec-websocket-accept: bad|| tunnel close websocket +3"),
    (&CONNECT, b"HTTP/1.1 200 OK\r\n\r\nraw", "HTTP/1.1 200 OK|| tunnel close +3"),
    (&CONNECT, b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nraw", "HTTP/1.1 200 OK|| tunnel close +3"),
    (&CONNECT, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nraw\r\n0\r\n\r\n", "HTTP/1.1 200 OK|| tunnel close +13"),
    (&CONNECT, b"HTTP/1.1 403 No\r\nContent-Length: 3\r\n\r\nraw", "HTTP/1.1 403 No|content-length: 3|| length 3 keep +3"),
    (&GET, b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 200 |content-length: 0|| none keep"),
    (&GET, b"HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 200 |content-length: 0|| none keep"),
    (&GET, b"HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n", "Status at 12"),
    (&GET, b"HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n", "Status at 9"),
    (&GET, b"HTTP/1.1 099 OK\r\nContent-Length: 0\r\n\r\n", "Status at 9"),
    (&GET, b"HTTP/1.1 600 OK\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 600 OK|content-length: 0|| none keep"),
    (&GET, b"HTTP/1.1 999 OK\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 999 OK|content-length: 0|| none keep"),
    (&GET, b"HTTP/1.1 000 OK\r\nContent-Length: 0\r\n\r\n", "Status at 9"),
    (&GET, b"HTTP/1.1 2x0 OK\r\nContent-Length: 0\r\n\r\n", "Status at 9"),
    (&GET, b"HTTP/1.1  200  OK  x \r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 200 OK  x |content-length: 0|| none keep"),
    (&GET, b"HTTP/1.1\t200\tOK\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 200 OK|content-length: 0|| none keep"),
    (&GET, b"HTTP/1.1 200 O\x01K\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 200 O\\x01K|content-length: 0|| none keep"),
    (&GET, b"HTTP/1.1 200 O\0K\r\nContent-Length: 0\r\n\r\n", "ControlByte at 14"),
    (&GET, b"HTTP/1.1 200 \xc3\xa9\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 200 \\xc3\\xa9|content-length: 0|| none keep"),
    (&GET, b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n", "Version at 0"),
    (&GET, b"HTTP/1.2 200 OK\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 200 OK|content-length: 0|| none keep"),
    (&GET, b"HTTP/0.9 200 OK\r\nContent-Length: 0\r\n\r\n", "Version at 0"),
    (&GET, b"ICY 200 OK\r\nContent-Length: 0\r\n\r\n", "Version at 0"),
    (&GET, b"http/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "Version at 0"),
    (&GET, b"\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 200 OK|content-length: 0|| none keep"),
    (&GET, b"<html>hello\r\n\r\n", "Version at 0"),
    (&GET, b"HTTP/1.1 200 OK\r\nX : a\r\nContent-Length: 0\r\n\r\n", "NameByte at 18"),
    (&GET, b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 200 OK|x: a   b|content-length: 0|| none keep"),
    (&GET, b"HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 0\r\n\r\n", "ControlByte at 21"),
    (&GET, b"HTTP/1.1 200 OK\r\nX: a\x01b\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 200 OK|x: a\\x01b|content-length: 0|| none keep"),
    (&GET, b"HTTP/1.1 200 OK\r\nX y: a\r\nContent-Length: 0\r\n\r\n", "NameByte at 18"),
    (&GET, b"HTTP/1.1 200 OK\r\nXyz\r\nContent-Length: 0\r\n\r\n", "ColonMissing at 20"),
    (&GET, b"HTTP/1.1 200 OK\nContent-Length: 0\n\n", "HTTP/1.1 200 OK|content-length: 0|| none keep"),
    (&GET, b"HTTP/1.1 200 OK\r\nX: a\rb\r\nContent-Length: 0\r\n\r\n", "ControlByte at 21"),
    (&GET, b"HTTP/1.1 200 OK\r\n\xc3X: a\r\nContent-Length: 0\r\n\r\n", "NameByte at 17"),
    (&GET, b"HTTP/1.1 200 OK\r\nConnection: close, foo\r\nKeep-Alive: x\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 200 OK|connection: foo|keep-alive: x|content-length: 0|| none close"),
    (&GET, b"HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nProxy-Connection: keep-alive\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 200 OK|proxy-connection: keep-alive|content-length: 0|| none keep"),
    (&GET, b"HTTP/1.1 200 OK\r\nConnection: upgrade\r\nUpgrade: h2c\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 200 OK|connection: upgrade|upgrade: h2c|content-length: 0|| none keep"),
    (&GET, b"HTTP/1.1 200 OK\r\nHost: x\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 200 OK|host: x|content-length: 0|| none keep"),
    (&GET, b"HTTP/1.1 200 OK\r\nTE: gzip\r\nTrailer: x\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 200 OK|trailer: x|content-length: 0|| none keep"),
    (&GET, b"HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nab", "HTTP/1.1 200 OK|content-length: 2|| length 2 keep +2"),
    (&GET, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 200 OK|content-length: 0|| none keep"),
    (&GET, b"HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n", "ContentLength at 17"),
    (&GET, b"HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551615\r\n\r\n", "ContentLength at 17"),
    (&GET, b"HTTP/1.1 200 OK\r\nContent-Length: x\r\nTransfer-Encoding: chunked\r\n\r\n", "ContentLength at 17"),
    (&GET, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n", "HTTP/1.1 200 OK|transfer-encoding: chunked|| chunked keep"),
    (&GET, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: \x0bchunked\r\n\r\n", "TransferEncoding at 17"),
    (&GET, b"HTTP/1.1 200 OK\r\nTransfer-Encoding : chunked\r\n\r\n", "NameByte at 34"),
    (&GET, b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nab", "HTTP/1.1 200 OK|content-length: 2|| length 2 close +2"),
    (&GET, b"HTTP/1.1 200 OK\r\nConnection: keep-alive\r\n\r\n", "HTTP/1.1 200 OK|| until-close close"),
    (&GET, b"HTTP/1.1 200 OK\r\nX: y\r\n\r\n\r\n", "HTTP/1.1 200 OK|x: y|| until-close close +2"),
    (&GET, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n 3\r\n\r\nab", "FoldedFraming at 36"),
    (&GET, b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\na", "HTTP/1.0 200 OK|content-length: 1|| length 1 keep +1"),
    (&GET, b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\na", "HTTP/1.0 200 OK|content-length: 1|| length 1 close +1"),
    (&GET, b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\na", "HTTP/1.0 200 OK|| until-close close +1"),
    (&GET, b"HTTP/1.1 205 R\r\n\r\n", "HTTP/1.1 205 R|| until-close close"),
    (&GET, b"HTTP/1.1 205 R\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 205 R|content-length: 0|| none keep"),
    (&GET, b"HTTP/1.1 199 X\r\n\r\n", "HTTP/1.1 199 X|| none keep interim"),
    (&GET, b"HTTP/1.1 200OK\r\n\r\n", "Status at 12"),
    (&GET, b"HTTP/1.1 -20 OK\r\n\r\n", "Status at 9"),
    (&GET, b"HTTP/1.1\r\n\r\n", "Status at 8"),
    (&GET, b"HTTP/1.1 \r\n\r\n", "Status at 9"),
    (&GET, b"HTTP/1.1200 OK\r\n\r\n", "Version at 0"),
    (&GET, b" HTTP/1.1 200 OK\r\n\r\n", "Version at 0"),
    (&GET, b"HTTP/1.1 200 O\rK\r\n\r\n", "ControlByte at 14"),
    (&GET, b"SSH-2.0-x", "Version at 0"),
    (&GET, b"HTT", "Incomplete"),
    (&GET, b"HTX", "Version at 0"),
    (&HEAD, b"HTTP/1.1 404 No\r\nContent-Length: 5\r\nConnection: close\r\n\r\n", "HTTP/1.1 404 No|content-length: 5|| none close"),
    (&HEAD, b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", "ContentLength at 17"),
    (&CONNECT, b"HTTP/1.1 299 OK\r\n\r\n", "HTTP/1.1 299 OK|| tunnel close"),
    (&CONNECT, b"HTTP/1.1 300 OK\r\n\r\n", "HTTP/1.1 300 OK|| until-close close"),
    (&UPGRADE, b"HTTP/1.1 101 S\r\nUpgrade: foo\r\n\r\n", "UnexpectedUpgrade at 0"),
    (&UPGRADE, b"HTTP/1.1 101 S\r\nConnection: upgrade\r\n\r\n", "UnexpectedUpgrade at 0"),
    (&UPGRADE, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 200 OK|content-length: 0|| none keep"),
    (&UPGRADE, b"HTTP/1.1 101 S\r\nConnection: upgrade, keep-alive\r\nUpgrade: websocket\r\n\r\n", "WebSocketKey at 0"),
];

#[test]
fn responses_have_one_reading_or_are_refused() {
    for (facts, input, expected) in RESPONSES {
        let got = response(input, facts);
        assert_eq!(got, *expected, "{facts:?} {}", input.escape_ascii());
    }
}

pub(super) fn all_responses() -> impl Iterator<Item = (&'static RequestFacts, &'static [u8])> {
    RESPONSES.iter().map(|(facts, input, _)| (*facts, *input))
}
