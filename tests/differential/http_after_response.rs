//! Compares with HAProxy the actions of `http-after-response`, which apply to responses of servers
//! and to the proxy's own.

use super::{Case, Family, Normal, case};

pub static FAMILY: Family = Family {
    files: &[("after.map", "a one\nb two\n")],
    cases: CASES,
    refused: REFUSED,
    ..Family::named("http-after-response")
};

const GET: &[u8] =
    b"GET /dir/file.html?a=1 HTTP/1.1\r\nHost: www.example.org\r\nConnection: close\r\n\r\n";
const POST: &[u8] =
    b"POST /form HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc";
const BROKEN: &[u8] = b"GET / HTTP/1.1\r\nHost\r\n\r\n";

const ANSWER: &[u8] = b"HTTP/1.1 200 Fine\r\nServer: origin\r\nX-List: one, two\r\nX-List: three\r\nContent-Length: 4\r\n\r\nbody";

static CASES: &[Case] = &[
    case("headers")
        .covers(&[
            "http-after-response action set-header",
            "http-after-response action add-header",
            "http-after-response action del-header",
            "http-after-response action replace-header",
            "http-after-response action replace-value",
            "http-after-response action set-status",
            "http-after-response action allow",
            "http-after-response action strict-mode",
        ])
        .lines(
            "http-request deny if { path / }\nhttp-request redirect location /x if { path /redirect }\nhttp-after-response set-header X-New %[status]\n\
             http-after-response strict-mode off\nhttp-after-response add-header x-list four\nhttp-after-response replace-value x-list t(.*) T\\1\n\
             http-after-response replace-header x-list (.*),(.*) \\2,\\1\nhttp-after-response del-header server\nhttp-after-response set-status 429 reason Much if { status 403 }\n\
             http-after-response allow if METH_POST\nhttp-after-response set-header x-last yes\ndefault_backend @CASE@",
        )
        .sections("backend @CASE@\nhttp-after-response set-header x-back yes\nhttp-response deny if METH_POST\nserver s @SERVER@\n")
        .server_says(ANSWER)
        .send(&[
            GET,
            POST,
            b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
            b"GET /redirect HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
        ]),
    case("no request")
        .lines("http-after-response set-header x-after %[status]")
        .send(&[BROKEN])
        .normal(&[Normal::HeaderOrder]),
    case("no server")
        .lines("http-after-response set-header x-after %[status]")
        .send(&[GET]),
    case("variables")
        .covers(&[
            "http-after-response action set-var",
            "http-after-response action set-var-fmt",
            "http-after-response action unset-var",
        ])
        .lines(
            "http-request set-var(txn.path) path\nhttp-response set-var(res.b) status\nhttp-after-response set-var(res.a) status\n\
             http-after-response set-var-fmt(txn.c) <%[var(res.a)]>\nhttp-after-response unset-var(txn.path) if METH_POST\n\
             http-after-response set-header x-vars %[var(res.a)]/%[var(res.b)]/%[var(txn.c)]/%[var(txn.path)]\ndefault_backend @CASE@",
        )
        .sections("backend @CASE@\nserver s @SERVER@\n")
        .server_says(ANSWER)
        .send(&[GET, POST]),
    case("capture")
        .covers(&["http-after-response action capture"])
        .lines(
            "declare capture response len 3\nhttp-after-response capture res.hdr(server) id 0\n\
             http-after-response set-header x-captured %[capture.res.hdr(0)]\ndefault_backend @CASE@",
        )
        .sections("backend @CASE@\nserver s @SERVER@\n")
        .server_says(ANSWER)
        .send(&[GET]),
    case("tables")
        .covers(&[
            "http-after-response action sc-inc-gpc0",
            "http-after-response action sc-inc-gpc1",
            "http-after-response action sc-inc-gpc",
            "http-after-response action sc-set-gpt0",
            "http-after-response action sc-set-gpt",
        ])
        .lines(
            "http-request track-sc0 path table @CASE@\nhttp-request track-sc1 path table @CASE@-a\nhttp-after-response sc-inc-gpc0(0)\nhttp-after-response sc-inc-gpc1(0)\n\
             http-after-response sc-inc-gpc(1,1)\nhttp-after-response sc-set-gpt0(0) 7\nhttp-after-response sc-set-gpt(0,1) status\n\
             http-after-response set-header x-counts %[sc_get_gpc0(0)]-%[sc_get_gpc1(0)]-%[sc_get_gpc(1,1)]-%[sc_get_gpt0(0)]-%[sc_get_gpt(0,1)]\n\
             http-request return status 204",
        )
        .sections(
            "backend @CASE@\nstick-table type string len 32 size 100 expire 1m store gpc0,gpc1,gpt0\n\
             backend @CASE@-a\nstick-table type string len 32 size 100 expire 1m store gpc(3),gpt(2)\n",
        )
        .send(&[b"GET / HTTP/1.0\r\n\r\n"])
        .newer("<client>HTTP/1.1 204 No Content\r\nx-counts: 1-1-1-7-204\r\nconnection: close\r\n\r\n"),
    case("later ones")
        .covers(&[
            "http-after-response action set-map",
            "http-after-response action del-map",
            "http-after-response action set-log-level",
            "http-after-response action sc-add-gpc",
        ])
        .lines(
            "http-request track-sc0 path table @CASE@\nhttp-after-response sc-add-gpc(0,0) 5\n\
             http-after-response set-map(@DIR@/after.map) a %[status]\nhttp-after-response del-map(@DIR@/after.map) b\n\
             http-after-response set-log-level err\n\
             http-after-response set-header x-all %[str(a),map(@DIR@/after.map,none)]-%[str(b),map(@DIR@/after.map,none)]-%[sc_get_gpc(0,0)]\n\
             http-request return status 204",
        )
        .sections("backend @CASE@\nstick-table type string len 32 size 100 expire 1m store gpc(1)\n")
        .send(&[b"GET / HTTP/1.0\r\n\r\n"])
        .newer("<client>HTTP/1.1 204 No Content\r\nx-all: 204-none-5\r\nconnection: close\r\n\r\n"),
];

static REFUSED: &[&str] = &[
    "http-after-response foo",
    "http-after-response deny",
    "http-after-response return",
    "http-after-response redirect location /",
    "http-after-response track-sc0 src",
    "http-after-response set-tos 3",
    "http-after-response add-acl(/dev/null) x",
];

#[test]
fn http_after_response() {
    lab::skip_unless_installed!("haproxy");
    super::run::compare(&FAMILY);
}
