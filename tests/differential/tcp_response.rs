//! Compares with HAProxy the actions of `tcp-response content`, and the rules that inspect the
//! bytes of a server.

use super::{Case, Family, case};

pub static FAMILY: Family = Family {
    cases: CASES,
    refused: REFUSED,
    ..Family::named("tcp-response")
};

const GET: &[u8] = b"GET /dir HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";

static CASES: &[Case] = &[
    case("content in TCP mode")
        .covers(&[
            "tcp-response content action accept",
            "tcp-response content action reject",
            "tcp-response content action close",
            "tcp-response content action set-log-level",
            "tcp-response content action set-nice",
            "tcp-response content action set-mark",
            "tcp-response content action set-tos",
            "fetch res.len",
            "fetch res.payload",
        ])
        .lines("mode tcp\ndefault_backend @CASE@")
        .sections(
            "backend @CASE@\nmode tcp\ntcp-response inspect-delay 10s\ntcp-response content set-log-level info\ntcp-response content set-nice 3\n\
             tcp-response content set-mark 3\ntcp-response content set-tos 3\ntcp-response content accept if { res.payload(0,3) -m str abc }\n\
             tcp-response content close if { res.payload(0,3) -m str BYE }\ntcp-response content reject if { res.len ge 3 }\nserver s @ECHO@\n",
        )
        .half_close()
        .send(&[b"abc, and more", b"xyz, and more", b"BYE", b"ab", b""]),
    case("content of messages")
        .covers(&[
            "tcp-response content action set-var",
            "tcp-response content action set-var-fmt",
            "tcp-response content action unset-var",
        ])
        .lines("http-response set-header x-vars %[var(txn.a)]/%[var(txn.b)]/%[var(txn.c)]\ndefault_backend @CASE@")
        .sections(
            "backend @CASE@\ntcp-response content set-var(txn.a) status\ntcp-response content set-var-fmt(txn.b) <%[status]>\n\
             tcp-response content set-var(txn.c) int(1)\ntcp-response content unset-var(txn.c)\ntcp-response content reject if { status 404 }\nserver s @SERVER@\n",
        )
        .send(&[GET]),
    case("rejected answers")
        .lines("default_backend @CASE@")
        .sections("backend @CASE@\ntcp-response content reject if { status 404 }\nserver s @SERVER@\n")
        .server_says(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
        .send(&[GET]),
    case("tables")
        .covers(&[
            "tcp-response content action sc-inc-gpc0",
            "tcp-response content action sc-inc-gpc1",
            "tcp-response content action sc-inc-gpc",
            "tcp-response content action sc-set-gpt0",
            "tcp-response content action sc-set-gpt",
        ])
        .lines(
            "http-request track-sc0 path table @CASE@\nhttp-request track-sc1 path table @CASE@-a\n\
             http-response set-header x-counts %[sc_get_gpc0(0)]-%[sc_get_gpc1(0)]-%[sc_get_gpc(1,1)]-%[sc_get_gpt0(0)]-%[sc_get_gpt(0,1)]\ndefault_backend @CASE@-b",
        )
        .sections(
            "backend @CASE@\nstick-table type string len 32 size 100 expire 1m store gpc0,gpc1,gpt0\n\
             backend @CASE@-a\nstick-table type string len 32 size 100 expire 1m store gpc(3),gpt(2)\nbackend @CASE@-b\n\
             tcp-response content sc-inc-gpc0(0)\ntcp-response content sc-inc-gpc1(0)\ntcp-response content sc-inc-gpc(1,1)\n\
             tcp-response content sc-set-gpt0(0) 7\ntcp-response content sc-set-gpt(0,1) status\nserver s @SERVER@\n",
        )
        .send(&[GET, GET]),
    case("newer ones")
        .covers(&[
            "tcp-response content action set-fc-mark",
            "tcp-response content action set-fc-tos",
            "tcp-response content action sc-add-gpc",
        ])
        .lines(
            "http-request track-sc0 path table @CASE@\nhttp-response set-status 299 if { sc_get_gpc(0,0) 5 }\ndefault_backend @CASE@-b",
        )
        .sections(
            "backend @CASE@\nstick-table type string len 32 size 100 expire 1m store gpc(1)\nbackend @CASE@-b\n\
             tcp-response content set-fc-mark 3\ntcp-response content set-fc-tos int(3)\ntcp-response content sc-add-gpc(0,0) 5\nserver s @SERVER@\n",
        )
        .server_says(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        .send(&[b"GET / HTTP/1.0\r\n\r\n"])
        .newer("<server>GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n<client>HTTP/1.1 299 Success\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"),
];

static REFUSED: &[&str] = &[
    "tcp-response content accept",
    "tcp-response foo",
    "tcp-response inspect-delay 5s",
];

#[test]
fn tcp_response() {
    lab::skip_unless_installed!("haproxy");
    super::run::compare(&FAMILY);
}
