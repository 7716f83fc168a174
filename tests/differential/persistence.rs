//! Compares with HAProxy the rules and options that choose the server of a stream, and retries.

use super::{Case, Family, Normal, WITH_SOCKET, case};

pub static FAMILY: Family = Family {
    global: WITH_SOCKET,
    cases: CASES,
    refused: &[],
    ..Family::named("persistence")
};

const PLAIN: &[u8] = b"GET /a HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
const ONE: &[u8] = b"GET /one HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
const THREE: &[u8] = b"GET /three HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
const THREE_B: &[u8] =
    b"GET /three HTTP/1.1\r\nHost: h\r\nCookie: SRV=b\r\nConnection: close\r\n\r\n";
const NAMED: &[u8] = b"GET /one HTTP/1.1\r\nHost: h\r\nX-Server: s1\r\nConnection: close\r\n\r\n";
const NAMED_WRONG: &[u8] =
    b"GET /one HTTP/1.1\r\nHost: h\r\nX-Server: nobody\r\nConnection: close\r\n\r\n";
const NAMED_TARGET: &[u8] =
    b"GET /a HTTP/1.1\r\nHost: h\r\nX-Target: mine\r\nConnection: close\r\n\r\n";
const POST: &[u8] =
    b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx";
const PROBE: &[u8] = b"";
const HALF: &[u8] = b"GET / HTTP";

static CASES: &[Case] = &[
    case("use-server")
        .lines("default_backend @CASE@-b\n")
        .sections("backend @CASE@-b\nbalance roundrobin\nuse-server s3 if { path /three }\nuse-server s2 unless { path /one }\nuse-server %[req.hdr(x-server)] if { req.hdr(x-server) -m found }\nhttp-response set-header x-server %[srv_name]\nserver s1 @SERVER@\nserver s2 @SERVER@\nserver s3 @SERVER@\n")
        .send(&[THREE, PLAIN, ONE, ONE, NAMED, NAMED_WRONG]),
    case("use-server of a server that is down")
        .lines("default_backend @CASE@-b\n")
        .sections("backend @CASE@-b\nbalance roundrobin\nuse-server s3 if { path /three }\nhttp-response set-header x-server %[srv_name]\nserver s1 @SERVER@\nserver s2 @SERVER@\nserver s3 @SERVER@\n")
        .send(&[THREE, b"@SOCKET@ disable server @CASE@-b/s3", THREE, THREE]),
    case("use-server counts behind force and before cookies")
        .lines("default_backend @CASE@-b\n")
        .sections("backend @CASE@-b\nbalance roundrobin\ncookie SRV insert indirect\nuse-server s3 if { path /three }\nhttp-response set-header x-server %[srv_name]\nserver s1 @SERVER@ cookie a\nserver s2 @SERVER@ cookie b\nserver s3 @SERVER@ cookie c\n")
        .send(&[THREE_B, THREE]),
    case("retry-on a status")
        .lines("default_backend @CASE@-b\n")
        .sections("backend @CASE@-b\nretry-on 503\nretries 2\nhttp-response set-header x-server %[srv_name]\nserver s1 @SERVER@\n")
        .server_says(b"HTTP/1.1 503 Busy\r\nContent-Length: 1\r\n\r\nx")
        .send(&[PLAIN, POST]),
    case("retry-on several")
        .lines("default_backend @CASE@-b\n")
        .sections("backend @CASE@-b\nretry-on 500 502 503 conn-failure\nretries 2\nhttp-response set-header x-server %[srv_name]\nserver s1 @SERVER@\n")
        .server_says(b"HTTP/1.1 503 Busy\r\nContent-Length: 1\r\n\r\nx")
        .send(&[PLAIN, POST]),
    case("retry-on all")
        .lines("default_backend @CASE@-b\n")
        .sections("backend @CASE@-b\nretry-on all-retryable-errors\nretries 2\nhttp-response set-header x-server %[srv_name]\nserver s1 @SERVER@\n")
        .server_says(b"HTTP/1.1 503 Busy\r\nContent-Length: 1\r\n\r\nx")
        .send(&[PLAIN, POST]),
    case("retry-on none")
        .lines("default_backend @CASE@-b\n")
        .sections("backend @CASE@-b\nretry-on none\nretries 2\nhttp-response set-header x-server %[srv_name]\nserver s1 @SERVER@\n")
        .server_says(b"HTTP/1.1 503 Busy\r\nContent-Length: 1\r\n\r\nx")
        .send(&[PLAIN, POST]),
    case("no retries")
        .lines("default_backend @CASE@-b\n")
        .sections("backend @CASE@-b\nretry-on 503\nretries 0\nhttp-response set-header x-server %[srv_name]\nserver s1 @SERVER@\n")
        .server_says(b"HTTP/1.1 503 Busy\r\nContent-Length: 1\r\n\r\nx")
        .send(&[PLAIN, POST]),
    case("retry-on an empty answer")
        .lines("default_backend @CASE@-b\n")
        .sections("backend @CASE@-b\nretry-on empty-response\nretries 2\nserver s1 @SERVER@\n")
        .server_says(b"")
        .send(&[PLAIN]),
    case("retry-on an answer that is none")
        .lines("default_backend @CASE@-b\n")
        .sections("backend @CASE@-b\nretry-on junk-response\nretries 2\nserver s1 @SERVER@\n")
        .server_says(b"nothing of HTTP\r\n\r\n")
        .send(&[PLAIN]),
    case("http-send-name-header")
        .lines("default_backend @CASE@-b\n")
        .sections("backend @CASE@-b\nbalance roundrobin\nhttp-send-name-header X-Target\nhttp-response set-header x-server %[srv_name]\nserver s1 @SERVER@\nserver s2 @SERVER@\nserver s3 @SERVER@\n")
        .send(&[PLAIN, PLAIN, NAMED_TARGET]),
    case("allbackups off")
        .lines("default_backend @CASE@-b\n")
        .sections("backend @CASE@-b\nbalance roundrobin\nhttp-response set-header x-server %[srv_name]\nserver s1 @SERVER@\nserver s2 @SERVER@ backup\nserver s3 @SERVER@ backup\n")
        .send(&[PLAIN, PLAIN, b"@SOCKET@ disable server @CASE@-b/s1", PLAIN, PLAIN, PLAIN, b"@SOCKET@ disable server @CASE@-b/s2", PLAIN, b"@SOCKET@ enable server @CASE@-b/s1", PLAIN]),
    case("allbackups")
        .lines("default_backend @CASE@-b\n")
        .sections("backend @CASE@-b\nbalance roundrobin\noption allbackups\nhttp-response set-header x-server %[srv_name]\nserver s1 @SERVER@\nserver s2 @SERVER@ backup\nserver s3 @SERVER@ backup\n")
        .send(&[PLAIN, PLAIN, b"@SOCKET@ disable server @CASE@-b/s1", PLAIN, PLAIN, PLAIN, PLAIN, b"@SOCKET@ disable server @CASE@-b/s2", PLAIN, b"@SOCKET@ enable server @CASE@-b/s1", PLAIN]),
    case("probes that say nothing")
        .half_close()
        .lines("option http-ignore-probes\ndefault_backend @CASE@-b\n")
        .sections("backend @CASE@-b\nserver s1 @SERVER@\n")
        .send(&[PROBE, HALF, PLAIN])
        .normal(&[Normal::HeaderOrder]),
    case("probes that say nothing, told")
        .half_close()
        .lines("default_backend @CASE@-b\n")
        .sections("backend @CASE@-b\nserver s1 @SERVER@\n")
        .send(&[HALF, PLAIN])
        .normal(&[Normal::HeaderOrder]),
    case("dispatch")
        .lines("default_backend @CASE@-b\n")
        .sections("backend @CASE@-b\ndispatch @SERVER@\n")
        .send(&[PLAIN]),
];

#[test]
fn persistence() {
    lab::skip_unless_installed!("haproxy");
    super::run::compare(&FAMILY);
}
