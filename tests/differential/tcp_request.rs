//! Compares with HAProxy the actions of `tcp-request connection`, `session` and `content`.

use super::{Case, Family, Normal, case};

pub static FAMILY: Family = Family {
    cases: CASES,
    refused: REFUSED,
    ..Family::named("tcp-request")
};

const GET: &[u8] = b"GET /dir/file.html?a=1 HTTP/1.1\r\nHost: www.example.org\r\nX-Ip: 198.51.100.7\r\nConnection: close\r\n\r\n";
const POST: &[u8] =
    b"POST /form HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc";
/// A PROXY header before a request.
const PROXIED: &[u8] = b"PROXY TCP4 192.0.2.1 192.0.2.2 1000 2000\r\nGET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
/// A NetScaler Client IP header in the legacy form before a request.
const NETSCALER: &[u8] = b"\0\0\0\x05\0\0\0\x28\
    \x45\0\0\x28\0\0\0\0\x40\x06\0\0\xc0\0\x02\x01\xc6\x33\x64\x02\x30\x39\0\x50\0\0\0\0\0\0\0\0\x50\0\0\0\0\0\0\0\
    GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
const NETSCALER_STANDARD: &[u8] = b"\0\0\0\x05\0\0\0\x34\0\0\0\x28\
    \x45\0\0\x28\0\0\0\0\x40\x06\0\0\xc0\0\x02\x01\xc6\x33\x64\x02\x30\x39\0\x50\0\0\0\0\0\0\0\0\x50\0\0\0\0\0\0\0\
    GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
const TABLES: &str = "backend @CASE@\nstick-table type ip size 100 expire 1m store gpc0,gpc1,gpt0\n\
    backend @CASE@-a\nstick-table type ip size 100 expire 1m store gpc(3),gpt(2)\n";
const ARRAY: &str = "backend @CASE@\nstick-table type ip size 100 expire 1m store gpc(1)\n";
const NOTHING: &str = "<client>HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n";
const PLAIN: &[u8] = b"GET / HTTP/1.0\r\n\r\n";

static CASES: &[Case] = &[
    case("accepted connections")
        .covers(&["tcp-request connection action accept", "tcp-request connection action reject"])
        .lines("tcp-request connection accept if { src 127.0.0.0/8 }\ntcp-request connection reject\nhttp-request return")
        .send(&[GET]),
    case("rejected connections")
        .lines("tcp-request connection reject if { src 127.0.0.0/8 }\nhttp-request return")
        .send(&[b""]),
    case("addresses of connections")
        .covers(&[
            "tcp-request connection action set-src",
            "tcp-request connection action set-src-port",
            "tcp-request connection action set-dst",
            "tcp-request connection action set-dst-port",
        ])
        .lines(
            "tcp-request connection set-src ipv4(192.0.2.7)\ntcp-request connection set-src-port int(1234)\ntcp-request connection set-dst ipv6(2001:db8::1)\n\
             tcp-request connection set-dst-port int(77)\nhttp-request return content-type text/plain lf-string %[src]:%[src_port]-%[dst]:%[dst_port]",
        )
        .send(&[GET])
        .normal(&[Normal::ClientPort]),
    case("variables of connections")
        .covers(&[
            "tcp-request connection action set-var",
            "tcp-request connection action set-var-fmt",
            "tcp-request connection action unset-var",
            "tcp-request connection action set-mark",
            "tcp-request connection action set-tos",
        ])
        .lines(
            "tcp-request connection set-var(sess.a) src\ntcp-request connection set-var-fmt(sess.b) <%[var(sess.a)]>\ntcp-request connection set-var(sess.c) int(1)\n\
             tcp-request connection unset-var(sess.c)\ntcp-request connection set-mark 3\ntcp-request connection set-tos 0x10\n\
             http-request return content-type text/plain lf-string %[var(sess.a)]/%[var(sess.b)]/%[var(sess.c)]",
        )
        .send(&[GET]),
    case("NetScaler headers")
        .covers(&["tcp-request connection action expect-netscaler-cip"])
        .bind("accept-netscaler-cip 5")
        .lines(
            "tcp-request connection expect-netscaler-cip layer4 if { src 127.0.0.0/8 }\nhttp-request return content-type text/plain lf-string %[src]:%[src_port]-%[dst]:%[dst_port]",
        )
        .send(&[NETSCALER, NETSCALER_STANDARD, GET]),
    case("expected headers")
        .covers(&["tcp-request connection action expect-proxy"])
        .lines(
            "tcp-request connection expect-proxy layer4 if { src 127.0.0.0/8 }\nhttp-request return content-type text/plain lf-string %[src]:%[src_port]-%[dst]:%[dst_port]",
        )
        .send(&[PROXIED, GET])
        .normal(&[Normal::ClientPort]),
    case("tables of connections")
        .covers(&[
            "tcp-request connection action track-sc0",
            "tcp-request connection action track-sc1",
            "tcp-request connection action track-sc2",
            "tcp-request connection action sc-inc-gpc0",
            "tcp-request connection action sc-inc-gpc1",
            "tcp-request connection action sc-inc-gpc",
            "tcp-request connection action sc-set-gpt0",
            "tcp-request connection action sc-set-gpt",
        ])
        .lines(
            "tcp-request connection track-sc0 src table @CASE@\ntcp-request connection track-sc1 src table @CASE@-a\ntcp-request connection track-sc2 dst table @CASE@\n\
             tcp-request connection sc-inc-gpc0(0)\ntcp-request connection sc-inc-gpc1(2)\ntcp-request connection sc-inc-gpc(1,1)\n\
             tcp-request connection sc-set-gpt0(0) 5\ntcp-request connection sc-set-gpt(1,1) 4\n\
             http-request return content-type text/plain lf-string %[sc_get_gpc0(0)]-%[sc_get_gpc1(2)]-%[sc_get_gpc(1,1)]-%[sc_get_gpt0(0)]-%[sc_get_gpt(1,1)]",
        )
        .sections(TABLES)
        .send(&[GET, GET]),
    case("accepted sessions")
        .covers(&["tcp-request session action accept", "tcp-request session action reject"])
        .lines("tcp-request session accept if { src 127.0.0.0/8 }\ntcp-request session reject\nhttp-request return")
        .send(&[GET]),
    case("rejected sessions")
        .lines("tcp-request session reject if { src 127.0.0.0/8 }\nhttp-request return")
        .send(&[b""]),
    case("addresses of sessions")
        .covers(&[
            "tcp-request session action set-src",
            "tcp-request session action set-src-port",
            "tcp-request session action set-dst",
            "tcp-request session action set-dst-port",
        ])
        .lines(
            "tcp-request session set-src ipv4(192.0.2.7)\ntcp-request session set-src-port int(1234)\ntcp-request session set-dst ipv4(192.0.2.9)\n\
             tcp-request session set-dst-port int(77)\nhttp-request return content-type text/plain lf-string %[src]:%[src_port]-%[dst]:%[dst_port]",
        )
        .send(&[GET]),
    case("variables of sessions")
        .covers(&[
            "tcp-request session action set-var",
            "tcp-request session action set-var-fmt",
            "tcp-request session action unset-var",
            "tcp-request session action set-mark",
            "tcp-request session action set-tos",
        ])
        .lines(
            "tcp-request session set-var(sess.a) src\ntcp-request session set-var-fmt(sess.b) <%[var(sess.a)]>\ntcp-request session set-var(sess.c) int(1)\n\
             tcp-request session unset-var(sess.c)\ntcp-request session set-mark 3\ntcp-request session set-tos 0x10\n\
             http-request return content-type text/plain lf-string %[var(sess.a)]/%[var(sess.b)]/%[var(sess.c)]",
        )
        .send(&[GET]),
    case("tables of sessions")
        .covers(&[
            "tcp-request session action track-sc0",
            "tcp-request session action track-sc1",
            "tcp-request session action track-sc2",
            "tcp-request session action sc-inc-gpc0",
            "tcp-request session action sc-inc-gpc1",
            "tcp-request session action sc-inc-gpc",
            "tcp-request session action sc-set-gpt0",
            "tcp-request session action sc-set-gpt",
        ])
        .lines(
            "tcp-request session track-sc0 src table @CASE@\ntcp-request session track-sc1 src table @CASE@-a\ntcp-request session track-sc2 dst table @CASE@\n\
             tcp-request session sc-inc-gpc0(0)\ntcp-request session sc-inc-gpc1(2)\ntcp-request session sc-inc-gpc(1,1)\n\
             tcp-request session sc-set-gpt0(0) 5\ntcp-request session sc-set-gpt(1,1) int(8)\n\
             http-request return content-type text/plain lf-string %[sc_get_gpc0(0)]-%[sc_get_gpc1(2)]-%[sc_get_gpc(1,1)]-%[sc_get_gpt0(0)]-%[sc_get_gpt(1,1)]",
        )
        .sections(TABLES)
        .send(&[GET, GET]),
    case("content of messages")
        .covers(&[
            "tcp-request content action accept",
            "tcp-request content action reject",
            "tcp-request content action capture",
            "tcp-request content action set-var",
            "tcp-request content action set-var-fmt",
            "tcp-request content action unset-var",
        ])
        .lines(
            "tcp-request content set-var(txn.a) path\ntcp-request content set-var-fmt(txn.b) <%[method]>\ntcp-request content set-var(txn.c) int(1)\n\
             tcp-request content unset-var(txn.c)\ntcp-request content capture path len 5\ntcp-request content accept if METH_GET\n\
             tcp-request content reject if { path / }\ntcp-request content set-var(txn.b) str(end)\n\
             http-request return content-type text/plain lf-string %[var(txn.a)]/%[var(txn.b)]/%[var(txn.c)]/%[capture.req.hdr(0)]",
        )
        .send(&[GET, POST, b"POST / HTTP/1.0\r\n\r\n"]),
    case("addresses of content")
        .covers(&[
            "tcp-request content action set-src",
            "tcp-request content action set-src-port",
            "tcp-request content action set-dst",
            "tcp-request content action set-dst-port",
        ])
        .lines(
            "tcp-request content set-src hdr(x-ip)\ntcp-request content set-src-port int(1234)\ntcp-request content set-dst ipv4(192.0.2.9)\n\
             tcp-request content set-dst-port int(77)\nhttp-request return content-type text/plain lf-string %[src]:%[src_port]-%[dst]:%[dst_port]",
        )
        .send(&[GET, POST]),
    case("content in TCP mode")
        .covers(&[
            "tcp-request content action set-priority-class",
            "tcp-request content action set-priority-offset",
            "tcp-request content action set-nice",
            "tcp-request content action set-log-level",
            "tcp-request content action set-mark",
            "tcp-request content action set-tos",
        ])
        .lines(
            "mode tcp\ntcp-request inspect-delay 10s\ntcp-request content set-priority-class int(3)\ntcp-request content set-priority-offset int(3)\n\
             tcp-request content set-nice 3\ntcp-request content set-log-level info\ntcp-request content set-mark 3\ntcp-request content set-tos 3\n\
             tcp-request content accept if { req.payload(0,3) -m str abc }\ntcp-request content reject if { req.len ge 3 }\ndefault_backend @CASE@",
        )
        .sections("backend @CASE@\nmode tcp\ntcp-request content reject if { req.payload(0,4) -m str abcd }\nserver s @ECHO@\n")
        .half_close()
        .send(&[b"abc, and more", b"xyz, and more", b"ab", b"abcd", b""]),
    case("tables of content")
        .covers(&[
            "tcp-request content action track-sc0",
            "tcp-request content action track-sc1",
            "tcp-request content action track-sc2",
            "tcp-request content action sc-inc-gpc0",
            "tcp-request content action sc-inc-gpc1",
            "tcp-request content action sc-inc-gpc",
            "tcp-request content action sc-set-gpt0",
            "tcp-request content action sc-set-gpt",
        ])
        .lines(
            "tcp-request content track-sc0 src table @CASE@\ntcp-request content track-sc1 src table @CASE@-a\ntcp-request content track-sc2 hdr_ip(x-ip) table @CASE@\n\
             tcp-request content sc-inc-gpc0(0)\ntcp-request content sc-inc-gpc1(2)\ntcp-request content sc-inc-gpc(1,1)\n\
             tcp-request content sc-set-gpt0(0) 5\ntcp-request content sc-set-gpt(1,1) path,length\n\
             http-request return content-type text/plain lf-string %[sc_get_gpc0(0)]-%[sc_get_gpc1(2)]-%[sc_get_gpc(1,1)]-%[sc_get_gpt0(0)]-%[sc_get_gpt(1,1)]",
        )
        .sections(TABLES)
        .send(&[GET, POST, GET]),
    case("switched to HTTP")
        .covers(&["tcp-request content action switch-mode"])
        .lines(
            "mode tcp\ntcp-request inspect-delay 10s\ntcp-request content switch-mode http if HTTP\ntcp-request content reject if HTTP\n\
             http-request set-header x-front %[src_port,length]\ndefault_backend @CASE@",
        )
        .sections("backend @CASE@\nmode http\ntcp-request content set-var(txn.path) path\nhttp-request set-header x-back %[var(txn.path)]\nserver s @SERVER@\n")
        .send(&[
            GET,
            POST,
            b"GET /one HTTP/1.1\r\nHost: h\r\n\r\nGET /two HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
        ])
        .normal(&[Normal::Numbers]),
    case("led to a backend of HTTP")
        .lines(
            "mode tcp\ntcp-request inspect-delay 10s\ntcp-request content set-var(txn.front) req.payload(0,3) if { req.len ge 4 }\ndefault_backend @CASE@",
        )
        .sections("backend @CASE@\nmode http\nhttp-request set-header x-back %[var(txn.front)]\nserver s @SERVER@\n")
        .send(&[GET, POST, b"junk\r\n\r\n"])
        .normal(&[Normal::HeaderOrder]),
    case("newer ones of connections")
        .covers(&[
            "tcp-request connection action set-fc-mark",
            "tcp-request connection action set-fc-tos",
            "tcp-request connection action sc-add-gpc",
        ])
        .lines(
            "tcp-request connection set-fc-mark 3\ntcp-request connection set-fc-tos int(3)\ntcp-request connection track-sc0 src table @CASE@\n\
             tcp-request connection sc-add-gpc(0,0) 5\nhttp-request return status 204 if { sc_get_gpc(0,0) 5 }",
        )
        .sections(ARRAY)
        .send(&[PLAIN])
        .newer(NOTHING),
    case("newer ones of sessions")
        .covers(&[
            "tcp-request session action set-fc-mark",
            "tcp-request session action set-fc-tos",
            "tcp-request session action sc-add-gpc",
        ])
        .lines(
            "tcp-request session set-fc-mark 3\ntcp-request session set-fc-tos int(3)\ntcp-request session track-sc0 src table @CASE@\n\
             tcp-request session sc-add-gpc(0,0) 5\nhttp-request return status 204 if { sc_get_gpc(0,0) 5 }",
        )
        .sections(ARRAY)
        .send(&[PLAIN])
        .newer(NOTHING),
    case("newer ones of content")
        .covers(&[
            "tcp-request content action set-fc-mark",
            "tcp-request content action set-fc-tos",
            "tcp-request content action set-bc-mark",
            "tcp-request content action set-bc-tos",
            "tcp-request content action set-retries",
            "tcp-request content action sc-add-gpc",
        ])
        .lines(
            "tcp-request content set-fc-mark 3\ntcp-request content set-fc-tos int(3)\ntcp-request content set-bc-mark 3\ntcp-request content set-bc-tos int(3)\n\
             tcp-request content set-retries 2\ntcp-request content track-sc0 src table @CASE@\n\
             tcp-request content sc-add-gpc(0,0) 5\nhttp-request return status 204 if { sc_get_gpc(0,0) 5 }",
        )
        .sections(ARRAY)
        .send(&[PLAIN])
        .newer(NOTHING),
];

static REFUSED: &[&str] = &[
    "tcp-request foo accept",
    "tcp-request connection foo",
    "tcp-request connection accept foo",
    "tcp-request connection expect-proxy",
    "tcp-request connection expect-proxy layer7",
    "tcp-request connection set-var(txn) src",
    "tcp-request session expect-proxy layer4",
    "tcp-request session foo",
    "tcp-request content foo",
    "tcp-request content capture path",
    "tcp-request content expect-proxy layer4",
    "tcp-request content switch-mode",
    "tcp-request content switch-mode tcp",
    "tcp-request content switch-mode http proto h9",
    "tcp-request content set-priority-class",
    "tcp-request inspect-delay",
    "tcp-request inspect-delay x",
];

#[test]
fn tcp_request() {
    lab::skip_unless_installed!("haproxy");
    super::run::compare(&FAMILY);
}
