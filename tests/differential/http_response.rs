//! Compares with HAProxy the actions of `http-response`.

use super::{Case, Family, Normal, case};

pub static FAMILY: Family = Family {
    files: &[
        ("page.html", "<p>A page\r\n"),
        (
            "whole.http",
            "HTTP/1.0 418 Teapot\r\nX-Whole: yes\r\nContent-Length: 3\r\n\r\ntea",
        ),
        ("response.map", "a one\nb two\n"),
        ("response.lst", "a\nb\n"),
    ],
    cases: CASES,
    refused: REFUSED,
    ..Family::named("http-response")
};

const GET: &[u8] =
    b"GET /dir/file.html?a=1 HTTP/1.1\r\nHost: www.example.org\r\nConnection: close\r\n\r\n";
const HEAD: &[u8] = b"HEAD / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
const OLD: &[u8] = b"GET / HTTP/1.0\r\n\r\n";
const POST: &[u8] =
    b"POST /form HTTP/1.1\r\nHost: h\r\nContent-Length: 11\r\nConnection: close\r\n\r\nname=value1";

const ANSWER: &[u8] = b"HTTP/1.1 200 Fine\r\nServer: origin\r\nX-List: one, two\r\nX-List: three\r\nX-Empty:\r\nSet-Cookie: a=b; path=/\r\n\
    Set-Cookie: c=d\r\nContent-Length: 4\r\n\r\nbody";
const CHUNKED: &[u8] = b"HTTP/1.1 404 Not here\r\nTransfer-Encoding: chunked\r\nX-List: one\r\n\r\n4\r\nbody\r\n0\r\n\r\n";

static CASES: &[Case] = &[
    case("headers")
        .covers(&[
            "http-response action set-header",
            "http-response action add-header",
            "http-response action del-header",
            "http-response action replace-header",
            "http-response action replace-value",
        ])
        .lines(
            "http-response set-header X-New %[status]-%[capture.req.method]\nhttp-response add-header x-list four\nhttp-response replace-value x-list t(.*) T\\1\n\
             http-response replace-header set-cookie (.*) \"\\1; Secure\"\nhttp-response del-header server\nhttp-response del-header x-em -m beg\n\
             http-response set-header x-none \"%[res.hdr(none)]\"\noption httplog\ndefault_backend @CASE@",
        )
        .sections("backend @CASE@\nhttp-response set-header x-new first\nhttp-response add-header x-back yes if { status 200 }\nserver s @SERVER@\n")
        .server_says(ANSWER)
        .send(&[GET, OLD, POST]),
    case("status")
        .covers(&["http-response action set-status", "http-response action allow"])
        .lines("http-response allow if METH_POST\nhttp-response set-status 503 reason \"Slow  down\" if METH_GET\nhttp-response set-status 299\ndefault_backend @CASE@")
        .sections("backend @CASE@\nhttp-response set-status 204 if { status 404 }\nserver s @SERVER@\n")
        .server_says(ANSWER)
        .send(&[GET, HEAD, POST, OLD]),
    case("chunks")
        .lines("http-response set-status 200 if { status 404 }\nhttp-response set-header x-list %[res.hdr(x-list)],two\ndefault_backend @CASE@")
        .sections("backend @CASE@\nserver s @SERVER@\n")
        .server_says(CHUNKED)
        .send(&[GET]),
    case("chunks to HTTP/1.0")
        .lines("default_backend @CASE@")
        .sections("backend @CASE@\nserver s @SERVER@\n")
        .server_says(CHUNKED)
        .send(&[OLD])
        .differs("chunks-to-old-clients"),
    case("deny")
        .covers(&["http-response action deny"])
        .lines("http-request set-var(txn.path) path\nhttp-response deny if METH_GET\nhttp-response deny status 503 content-type text/plain string no hdr x-a <%[var(txn.path)]>\ndefault_backend @CASE@")
        .sections("backend @CASE@\nserver s @SERVER@\n")
        .server_says(ANSWER)
        .send(&[GET, POST]),
    case("return")
        .covers(&["http-response action return"])
        .lines(
            "http-response return status 201 content-type text/html file @DIR@/page.html hdr x-a b if METH_GET\n\
             http-response return errorfile @DIR@/whole.http if METH_POST\nhttp-response return\ndefault_backend @CASE@",
        )
        .sections("backend @CASE@\nserver s @SERVER@\n")
        .server_says(ANSWER)
        .send(&[GET, POST, HEAD]),
    case("formats over the answer")
        .lines("http-response return status 201 content-type text/plain lf-string <%[status]>\ndefault_backend @CASE@")
        .sections("backend @CASE@\nserver s @SERVER@\n")
        .server_says(ANSWER)
        .send(&[GET])
        .differs("response-formats"),
    case("redirect")
        .covers(&["http-response action redirect"])
        .lines("http-response redirect location /login?%[status] code 303 if { status 200 }\ndefault_backend @CASE@")
        .sections("backend @CASE@\nserver s @SERVER@\n")
        .server_says(ANSWER)
        .send(&[GET, POST, HEAD]),
    case("variables")
        .covers(&[
            "http-response action set-var",
            "http-response action set-var-fmt",
            "http-response action unset-var",
            "http-response action capture",
        ])
        .lines(
            "http-request set-var(txn.path) path\nhttp-request set-var(req.gone) path\ndeclare capture response len 3\nhttp-response capture res.hdr(server) id 0\n\
             http-response set-var(res.a) status\nhttp-response set-var-fmt(txn.b) <%[var(res.a)]-%[var(txn.path)]>\nhttp-response unset-var(txn.path)\n\
             http-response set-header x-vars %[var(res.a)]/%[var(txn.b)]/%[var(txn.path)]/%[var(req.gone)]/%[capture.res.hdr(0)]\ndefault_backend @CASE@",
        )
        .sections("backend @CASE@\nserver s @SERVER@\n")
        .server_says(ANSWER)
        .send(&[GET, POST]),
    case("lists")
        .covers(&[
            "http-response action set-map",
            "http-response action del-map",
            "http-response action add-acl",
            "http-response action del-acl",
        ])
        .lines(
            "http-response set-map(@DIR@/response.map) a %[status]\nhttp-response del-map(@DIR@/response.map) b\nhttp-response add-acl(@DIR@/response.lst) %[res.hdr(server)]\n\
             http-response del-acl(@DIR@/response.lst) b\nhttp-response set-header x-maps %[str(a),map(@DIR@/response.map,none)]-%[str(b),map(@DIR@/response.map,none)]\n\
             http-response set-header x-in yes if { res.hdr(server) -f @DIR@/response.lst }\nhttp-response set-header x-b yes if { str(b) -f @DIR@/response.lst }\n\
             default_backend @CASE@",
        )
        .sections("backend @CASE@\nserver s @SERVER@\n")
        .server_says(ANSWER)
        .send(&[GET, POST]),
    case("limits")
        .covers(&[
            "http-response action set-nice",
            "http-response action set-log-level",
            "http-response action set-tos",
            "http-response action set-mark",
            "http-response action strict-mode",
        ])
        .lines(
            "http-response set-nice -5\nhttp-response set-log-level err\nhttp-response set-tos 8\nhttp-response set-mark 0x7\nhttp-response strict-mode on\n\
             default_backend @CASE@",
        )
        .sections("backend @CASE@\nserver s @SERVER@\n")
        .server_says(ANSWER)
        .send(&[GET]),
    case("packets to clients, and limits")
        .covers(&[
            "http-response action set-fc-mark",
            "http-response action set-fc-tos",
            "http-response action set-timeout",
        ])
        .lines("http-response set-fc-mark int(3)\nhttp-response set-fc-tos 3\ndefault_backend @CASE@")
        .sections("backend @CASE@\nhttp-response set-timeout server 5s\nhttp-response set-status 299\nserver s @SERVER@\n")
        .server_says(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        .send(&[b"GET / HTTP/1.0\r\n\r\n"])
        .newer("<server>GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n<client>HTTP/1.1 299 Success\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"),
    case("tables")
        .covers(&[
            "http-response action track-sc0",
            "http-response action track-sc1",
            "http-response action track-sc2",
            "http-response action sc-inc-gpc0",
            "http-response action sc-inc-gpc1",
            "http-response action sc-set-gpt0",
        ])
        .lines(
            "http-response track-sc0 status table @CASE@\nhttp-response track-sc1 res.hdr(server) table @CASE@\nhttp-response track-sc2 res.hdr(none) table @CASE@\n\
             http-response sc-inc-gpc0(0)\nhttp-response sc-inc-gpc1(1)\nhttp-response sc-inc-gpc0(2)\nhttp-response sc-set-gpt0(0) int(9),add(1)\n\
             http-response set-header x-counts %[sc_get_gpc0(0)]-%[sc_get_gpc1(1)]-%[sc_get_gpc0(2)]-%[sc_get_gpt0(0)]\ndefault_backend @CASE@-b",
        )
        .sections("backend @CASE@\nstick-table type string len 32 size 100 expire 1m store gpc0,gpc1,gpt0\nbackend @CASE@-b\nserver s @SERVER@\n")
        .server_says(ANSWER)
        .send(&[GET, GET]),
    case("tables with arrays")
        .covers(&["http-response action sc-inc-gpc", "http-response action sc-set-gpt"])
        .lines(
            "http-request track-sc0 path table @CASE@\nhttp-response sc-inc-gpc(2,0)\nhttp-response sc-set-gpt(1,0) status\n\
             http-response set-header x-counts %[sc_get_gpc(2,0)]-%[sc_get_gpt(1,0)]\ndefault_backend @CASE@-b",
        )
        .sections("backend @CASE@\nstick-table type string len 32 size 100 expire 1m store gpc(3),gpt(2)\nbackend @CASE@-b\nserver s @SERVER@\n")
        .server_says(ANSWER)
        .send(&[GET, GET]),
    case("amounts of counters")
        .covers(&["http-response action sc-add-gpc"])
        .lines(
            "http-request track-sc0 path table @CASE@\nhttp-response sc-add-gpc(0,0) status\nhttp-response set-status 299 if { sc_get_gpc(0,0) 200 }\ndefault_backend @CASE@-b",
        )
        .sections("backend @CASE@\nstick-table type string len 32 size 100 expire 1m store gpc(1)\nbackend @CASE@-b\nserver s @SERVER@\n")
        .server_says(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        .send(&[b"GET / HTTP/1.0\r\n\r\n"])
        .newer("<server>GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n<client>HTTP/1.1 299 Success\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"),
    case("cache")
        .covers(&["http-response action cache-store"])
        .lines("http-request cache-use @CASE@\nhttp-response cache-store @CASE@ if { status 200 }\ndefault_backend @CASE@-b")
        .sections("cache @CASE@\ntotal-max-size 4\nmax-age 60\nbackend @CASE@-b\nserver s @SERVER@\n")
        .server_says(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nCache-Control: no-store\r\n\r\nfree")
        .send(&[GET, GET])
        .normal(&[Normal::HeaderOrder]),
];

static REFUSED: &[&str] = &[
    "http-response foo",
    "http-response set-path /",
    "http-response tarpit",
    "http-response reject",
    "http-response set-status 99",
    "http-response set-status 1000",
    "http-response set-header x %[path]x%[",
    "http-response capture res.hdr(x) len 4",
    "http-response capture res.hdr(x) id 4",
    "http-response cache-use x",
    "http-response early-hint link x",
    "http-response deny deny_status",
];

#[test]
fn http_response() {
    lab::skip_unless_installed!("haproxy");
    super::run::compare(&FAMILY);
}
