//! Compares sticking with HAProxy's: `stick on`, `match`, `store-request` and `store-response`.

use super::{Case, Family, Normal, WITH_SOCKET, case};

pub static FAMILY: Family = Family {
    global: WITH_SOCKET,
    cases: CASES,
    refused: &[],
    ..Family::named("stick")
};

const GET: &[u8] = b"GET /a?u=one HTTP/1.1\r\nHost: h\r\nX-Key: one\r\nConnection: close\r\n\r\n";
const TWO: &[u8] = b"GET /a?u=two HTTP/1.1\r\nHost: h\r\nX-Key: two\r\nConnection: close\r\n\r\n";
const NONE: &[u8] = b"GET /a HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
const ONE: &[u8] = b"GET /one HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
const SESSION: &[u8] = b"GET /a HTTP/1.1\r\nX-Key: three\r\nConnection: close\r\n\r\n";
const COOKIE: &[u8] = b"GET /a HTTP/1.1\r\nCookie: x=1; SID=abc\r\nConnection: close\r\n\r\n";
const OTHER_COOKIE: &[u8] = b"GET /a HTTP/1.1\r\nCookie: SID=def\r\nConnection: close\r\n\r\n";
const SRV_B: &[u8] = b"GET /a HTTP/1.1\r\nX-Key: one\r\nCookie: SRV=b\r\nConnection: close\r\n\r\n";
const SRV_C: &[u8] = b"GET /a HTTP/1.1\r\nX-Key: one\r\nCookie: SRV=c\r\nConnection: close\r\n\r\n";
const ENTRIES: &[Normal] = &[Normal::Entries];

static CASES: &[Case] = &[
    case("stick on the address")
        .lines("default_backend @CASE@-b\n")
        .sections("backend @CASE@-b\nbalance roundrobin\nstick-table type ip size 10 expire 1h\nstick on src\nhttp-response set-header x-server %[srv_name]\nserver s1 @SERVER@\nserver s2 @SERVER@\nserver s3 @SERVER@\n")
        .send(&[NONE, b"@SOCKET@ show table @CASE@-b", NONE, NONE, b"@SOCKET@ show table @CASE@-b"])
        .normal(ENTRIES),
    case("stick on a parameter")
        .lines("default_backend @CASE@-b\n")
        .sections("backend @CASE@-b\nbalance roundrobin\nstick-table type string len 8 size 10 expire 1h\nstick on url_param(u)\nhttp-response set-header x-server %[srv_name]\nserver s1 @SERVER@\nserver s2 @SERVER@\nserver s3 @SERVER@\n")
        .send(&[GET, TWO, GET, TWO, NONE, NONE, GET, b"@SOCKET@ show table @CASE@-b"])
        .normal(ENTRIES),
    case("stick on a header, in another table")
        .lines("default_backend @CASE@-b\n")
        .sections("backend @CASE@-b\nbalance roundrobin\nstick on hdr(x-key) table @CASE@-t\nhttp-response set-header x-server %[srv_name]\nserver s1 @SERVER@\nserver s2 @SERVER@\nserver s3 @SERVER@\nbackend @CASE@-t\nstick-table type string size 10 expire 1h store conn_cnt,gpc0\n")
        .send(&[GET, TWO, GET, b"@SOCKET@ show table @CASE@-t"])
        .normal(ENTRIES),
    case("stick match and store-request")
        .lines("default_backend @CASE@-b\n")
        .sections("backend @CASE@-b\nbalance roundrobin\nstick-table type string size 10 expire 1h\nstick match hdr(x-key)\nstick store-request url_param(u)\nhttp-response set-header x-server %[srv_name]\nserver s1 @SERVER@\nserver s2 @SERVER@\nserver s3 @SERVER@\n")
        .send(&[GET, GET, TWO, TWO, GET, b"@SOCKET@ show table @CASE@-b"])
        .normal(ENTRIES),
    case("stick match finds what another rule stored")
        .lines("default_backend @CASE@-b\n")
        .sections("backend @CASE@-b\nbalance roundrobin\nstick-table type string size 10 expire 1h\nstick store-request url_param(u) if { path /a }\nstick match path,field(2,/) if { path /one }\nhttp-response set-header x-server %[srv_name]\nserver s1 @SERVER@\nserver s2 @SERVER@\nserver s3 @SERVER@\n")
        .send(&[GET, ONE, ONE, TWO, ONE, b"@SOCKET@ show table @CASE@-b"])
        .normal(ENTRIES),
    case("stick store-response")
        .lines("default_backend @CASE@-b\n")
        .sections("backend @CASE@-b\nbalance roundrobin\nstick-table type string size 10 expire 1h\nstick match hdr(x-key)\nstick store-response res.hdr(x-session)\nhttp-response set-header x-server %[srv_name]\nserver s1 @SERVER@\nserver s2 @SERVER@\nserver s3 @SERVER@\n")
        .server_says(b"HTTP/1.1 200 OK\r\nX-Session: three\r\nContent-Length: 0\r\n\r\n")
        .send(&[GET, GET, SESSION, SESSION, b"@SOCKET@ show table @CASE@-b"])
        .normal(ENTRIES),
    case("stick store-response of a cookie")
        .lines("default_backend @CASE@-b\n")
        .sections("backend @CASE@-b\nbalance roundrobin\nstick-table type string len 32 size 10 expire 1h\nstick on req.cook(SID)\nstick store-response res.cook(SID)\nhttp-response set-header x-server %[srv_name]\nserver s1 @SERVER@\nserver s2 @SERVER@\nserver s3 @SERVER@\n")
        .server_says(b"HTTP/1.1 200 OK\r\nSet-Cookie: SID=abc; path=/\r\nContent-Length: 0\r\n\r\n")
        .send(&[GET, COOKIE, COOKIE, OTHER_COOKIE, b"@SOCKET@ show table @CASE@-b"])
        .normal(ENTRIES),
    case("conditions of stick rules")
        .lines("default_backend @CASE@-b\n")
        .sections("backend @CASE@-b\nbalance roundrobin\nstick-table type string size 10 expire 1h\nstick on hdr(x-key) if { path /nothing }\nstick on url_param(u) unless { hdr(x-key) two }\nhttp-response set-header x-server %[srv_name]\nserver s1 @SERVER@\nserver s2 @SERVER@\nserver s3 @SERVER@\n")
        .send(&[GET, TWO, GET, TWO, b"@SOCKET@ show table @CASE@-b"])
        .normal(ENTRIES),
    case("a server that is down or drains is not stuck to")
        .lines("default_backend @CASE@-b\n")
        .sections("backend @CASE@-b\nbalance roundrobin\nstick-table type string size 10 expire 1h\nstick on hdr(x-key)\nhttp-response set-header x-server %[srv_name]\nserver s1 @SERVER@\nserver s2 @SERVER@\nserver s3 @SERVER@\n")
        .send(&[GET, b"@SOCKET@ disable server @CASE@-b/s1", GET, GET, b"@SOCKET@ show table @CASE@-b", b"@SOCKET@ enable server @CASE@-b/s1", GET, b"@SOCKET@ set server @CASE@-b/s2 state drain", GET, GET, b"@SOCKET@ show table @CASE@-b"])
        .normal(ENTRIES),
    case("an entry that is cleared, an entry that is set")
        .lines("default_backend @CASE@-b\n")
        .sections("backend @CASE@-b\nbalance roundrobin\nstick-table type string size 10 expire 1h\nstick on hdr(x-key)\nhttp-response set-header x-server %[srv_name]\nserver s1 @SERVER@\nserver s2 @SERVER@\nserver s3 @SERVER@\n")
        .send(&[GET, GET, b"@SOCKET@ clear table @CASE@-b", GET, b"@SOCKET@ set table @CASE@-b key two data.server_id 3", TWO, TWO])
        .normal(ENTRIES),
    case("a server that nobody sticks to")
        .lines("default_backend @CASE@-b\n")
        .sections("backend @CASE@-b\nbalance roundrobin\nstick-table type string size 10 expire 1h\nstick on hdr(x-key)\nhttp-response set-header x-server %[srv_name]\nserver s1 @SERVER@ non-stick\nserver s2 @SERVER@\n")
        .send(&[GET, GET, GET, b"@SOCKET@ show table @CASE@-b"])
        .normal(ENTRIES),
    case("a full server and ids")
        .lines("default_backend @CASE@-b\n")
        .sections("backend @CASE@-b\nbalance roundrobin\nstick-table type integer size 10 expire 1h\nstick on hdr(x-key),length\nhttp-response set-header x-server %[srv_name]\nserver s1 @SERVER@ id 10\nserver s2 @SERVER@ id 20\n")
        .send(&[GET, GET, TWO, b"@SOCKET@ show table @CASE@-b"])
        .normal(ENTRIES),
    case("srvkey addr")
        .lines("default_backend @CASE@-b\n")
        .sections("backend @CASE@-b\nbalance roundrobin\nstick-table type string size 10 expire 1h srvkey addr\nstick on hdr(x-key)\nhttp-response set-header x-server %[srv_name]\nserver s1 @SERVER@\nserver s2 @SERVER@\nserver s3 @SERVER@\n")
        .send(&[GET, GET, TWO, TWO])
        .normal(ENTRIES),
    case("the cookie counts before the table")
        .lines("default_backend @CASE@-b\n")
        .sections("backend @CASE@-b\nbalance roundrobin\ncookie SRV insert\nstick-table type string size 10 expire 1h\nstick on hdr(x-key)\nhttp-response set-header x-server %[srv_name]\nserver s1 @SERVER@ cookie a\nserver s2 @SERVER@ cookie b\nserver s3 @SERVER@ cookie c\n")
        .send(&[GET, SRV_C, GET, SRV_B, b"@SOCKET@ show table @CASE@-b"])
        .normal(ENTRIES),
    case("TCP sticks too")
        .lines("mode tcp\ndefault_backend @CASE@-b\n")
        .sections("backend @CASE@-b\nmode tcp\nbalance roundrobin\nstick-table type ip size 10 expire 1h\nstick on src\nserver s1 @SERVER@\nserver s2 @SERVER@\n")
        .send(&[NONE, NONE, b"@SOCKET@ show table @CASE@-b"])
        .normal(ENTRIES),
    case("TCP stores what content has")
        .lines("mode tcp\ntcp-request inspect-delay 5s\ntcp-request content accept if { req.len gt 4 }\ndefault_backend @CASE@-b\n")
        .sections("backend @CASE@-b\nmode tcp\nbalance roundrobin\nstick-table type binary len 4 size 10 expire 1h\nstick on req.payload(0,4)\nserver s1 @SERVER@\nserver s2 @SERVER@\n")
        .send(&[NONE, NONE, b"@SOCKET@ show table @CASE@-b"])
        .normal(ENTRIES),
];

#[test]
fn stick() {
    lab::skip_unless_installed!("haproxy");
    super::run::compare(&FAMILY);
}
