//! Compares with HAProxy the actions of `http-request`, and the requests that the server receives
//! after them.

use super::{Case, Family, Normal, case};

pub static FAMILY: Family = Family {
    global: "expose-experimental-directives",
    files: &[
        ("page.html", "<p>A page\r\n"),
        ("format.txt", "you asked for %[path] by %[method]\n"),
        (
            "whole.http",
            "HTTP/1.0 418 Teapot\r\nX-Whole: yes\r\nContent-Length: 3\r\n\r\ntea",
        ),
        ("request.map", "a one\nb two\n"),
        ("request.lst", "a\nb\n"),
    ],
    cases: CASES,
    refused: REFUSED,
    ..Family::named("http-request")
};

const GET: &[u8] = b"GET /dir/file.html?a=1&b=two HTTP/1.1\r\nHost: www.example.org\r\nX-List: one, two\r\nX-List: three\r\nX-Empty:\r\nConnection: close\r\n\r\n";
const ABSOLUTE: &[u8] = b"GET http://www.example.org/dir//file.html?a=1 HTTP/1.1\r\nHost: www.example.org\r\nConnection: close\r\n\r\n";
const OPTIONS: &[u8] = b"OPTIONS * HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
const POST: &[u8] = b"POST /form HTTP/1.1\r\nHost: h\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 11\r\nConnection: close\r\n\r\nname=value1";
const OLD: &[u8] = b"GET / HTTP/1.0\r\n\r\n";
const HEAD: &[u8] = b"HEAD / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";

static CASES: &[Case] = &[
    case("headers")
        .covers(&[
            "http-request action set-header",
            "http-request action add-header",
            "http-request action del-header",
            "http-request action replace-header",
            "http-request action replace-value",
        ])
        .lines(
            "http-request set-header X-New %[path]-%[method]\n\
             http-request set-header x-empty filled\n\
             http-request add-header x-list four\n\
             http-request add-header X-Blank \"%[hdr(none)]\"\n\
             http-request replace-value x-list t(.*) T\\1\n\
             http-request replace-header user-agent (.*) [\\1]\n\
             http-request replace-header x-list ^(.*),(.*)$ \\2;\\1;\\0\n\
             http-request del-header x-l -m beg if METH_POST\n\
             http-request del-header x-gone\n\
             http-request del-header x- -m beg if { path /none }\n\
             default_backend @CASE@",
        )
        .sections("backend @CASE@\nhttp-request set-header x-new %[hdr(x-new)]-again\nserver s @SERVER@\n")
        .send(&[GET, ABSOLUTE, OPTIONS, POST, OLD]),
    case("host")
        .lines("http-request set-header Host other.example.org\nhttp-request del-header x-list\ndefault_backend @CASE@")
        .sections("backend @CASE@\nserver s @SERVER@\n")
        .send(&[GET, ABSOLUTE, OLD]),
    case("delete by methods")
        .lines(
            "http-request del-header list -m end\nhttp-request del-header mpt -m sub\nhttp-request del-header ^x-[a-c] -m reg\n\
             default_backend @CASE@",
        )
        .sections("backend @CASE@\nserver s @SERVER@\n")
        .send(&[GET]),
    case("target")
        .covers(&[
            "http-request action set-path",
            "http-request action set-query",
            "http-request action set-method",
        ])
        .lines("http-request set-path /new%[path]\nhttp-request set-query %[query,upper]&x\nhttp-request set-method PUT\ndefault_backend @CASE@")
        .sections("backend @CASE@\nserver s @SERVER@\n")
        .send(&[GET, ABSOLUTE, OPTIONS, OLD]),
    case("path and query")
        .covers(&["http-request action set-pathq"])
        .lines("http-request set-pathq /new%[pathq]\ndefault_backend @CASE@")
        .sections("backend @CASE@\nserver s @SERVER@\n")
        .send(&[GET, ABSOLUTE, OPTIONS, OLD]),
    case("no query")
        .lines("http-request set-query \"%[hdr(none)]\"\ndefault_backend @CASE@")
        .sections("backend @CASE@\nserver s @SERVER@\n")
        .send(&[GET, ABSOLUTE, OLD]),
    case("uri")
        .covers(&["http-request action set-uri"])
        .lines(
            "http-request set-uri http://other.example.org%[pathq] if { path_beg /dir }\n\
             http-request set-uri /plain if { path / }\ndefault_backend @CASE@",
        )
        .sections("backend @CASE@\nserver s @SERVER@\n")
        .send(&[GET, ABSOLUTE, OLD]),
    case("replace target")
        .covers(&[
            "http-request action replace-path",
            "http-request action replace-pathq",
            "http-request action replace-uri",
        ])
        .lines(
            "http-request replace-path /dir/(.*) /other/\\1\n\
             http-request replace-pathq (.*)a=1(.*) \\1c=3\\2\n\
             http-request replace-uri ^http://([^/]*)(.*) http://x.\\1\\2\n\
             http-request replace-path ^none$ x\ndefault_backend @CASE@",
        )
        .sections("backend @CASE@\nserver s @SERVER@\n")
        .send(&[GET, ABSOLUTE, OPTIONS, OLD]),
    case("allow and deny")
        .covers(&["http-request action allow", "http-request action deny"])
        .lines(
            "http-request allow if { path_beg /dir }\nhttp-request deny if METH_GET\nhttp-request deny deny_status 429 if METH_POST\n\
             http-request deny status 418 content-type text/plain string tea hdr x-tea %[method]\ndefault_backend @CASE@",
        )
        .sections("backend @CASE@\nserver s @SERVER@\n")
        .send(&[GET, POST, OLD, HEAD, OPTIONS]),
    case("deny in a backend")
        .lines("http-request allow\ndefault_backend @CASE@")
        .sections("backend @CASE@\nhttp-request deny status 503 unless { path / }\nserver s @SERVER@\n")
        .send(&[GET, OLD]),
    case("return")
        .covers(&["http-request action return"])
        .lines(
            "http-request return status 201 content-type text/html file @DIR@/page.html hdr x-a 1 hdr x-b %[path] if METH_GET HTTP_1.0\n\
             http-request return content-type text/plain lf-file @DIR@/format.txt if { path_beg /dir }\n\
             http-request return errorfile @DIR@/whole.http if METH_POST\n\
             http-request return status 404 default-errorfiles if { method OPTIONS }\n\
             http-request return",
        )
        .send(&[OLD, GET, POST, OPTIONS, HEAD]),
    case("tarpit")
        .covers(&["http-request action tarpit"])
        .lines("timeout tarpit 10ms\nhttp-request tarpit deny_status 403 if METH_GET\nhttp-request tarpit")
        .send(&[GET, POST]),
    case("reject")
        .covers(&["http-request action reject"])
        .lines("http-request reject if METH_GET\nhttp-request return")
        .send(&[GET, POST]),
    case("redirect")
        .covers(&["http-request action redirect"])
        .lines(
            "http-request redirect location http://x%[path] code 307 if METH_GET\nhttp-request redirect prefix https://h drop-query append-slash set-cookie a=b if METH_POST\n\
             http-request redirect scheme https clear-cookie c= code 301",
        )
        .send(&[GET, ABSOLUTE, POST, HEAD, OLD]),
    case("variables")
        .covers(&[
            "http-request action set-var",
            "http-request action set-var-fmt",
            "http-request action unset-var",
        ])
        .lines(
            "http-request set-var(txn.a) path\nhttp-request set-var-fmt(req.b) <%[var(txn.a)]>\nhttp-request set-var(sess.c) int(7),add(1)\n\
             http-request unset-var(txn.a) if METH_POST\nhttp-request set-header x-a %[var(txn.a)] \n\
             http-request set-header x-b %[var(req.b)]\nhttp-request set-header x-c %[var(sess.c)]\ndefault_backend @CASE@",
        )
        .sections("backend @CASE@\nserver s @SERVER@\n")
        .send(&[GET, POST]),
    case("set-var with conditions")
        .lines(
            "http-request set-var(txn.a,ifnotexists) str(one)\nhttp-request set-var(txn.a,ifnotexists) str(two)\n\
             http-request set-var(txn.a,ifexists) path\nhttp-request return lf-string %[var(txn.a)] content-type text/plain",
        )
        .send(&[GET]),
    case("capture")
        .covers(&["http-request action capture"])
        .lines(
            "declare capture request len 4\nhttp-request capture path len 100\nhttp-request capture method id 0\n\
             http-request set-header x-captured %[capture.req.hdr(0)]-%[capture.req.hdr(1)]\ndefault_backend @CASE@",
        )
        .sections("backend @CASE@\nserver s @SERVER@\n")
        .send(&[GET, POST, OPTIONS]),
    case("addresses")
        .covers(&[
            "http-request action set-src",
            "http-request action set-src-port",
            "http-request action set-dst",
            "http-request action set-dst-port",
        ])
        .lines(
            "http-request set-src hdr(x-ip) if { hdr(x-ip) -m found }\nhttp-request set-src-port int(1234)\nhttp-request set-dst ipv4(192.0.2.8)\nhttp-request set-dst-port int(65536),add(5)\n\
             http-request return content-type text/plain lf-string %[src]:%[src_port]-%[dst]:%[dst_port]",
        )
        .send(&[
            GET,
            b"GET / HTTP/1.1\r\nHost: h\r\nX-Ip: 198.51.100.7\r\nConnection: close\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: h\r\nX-Ip: 2001:db8::7\r\nConnection: close\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: h\r\nX-Ip: nobody\r\nConnection: close\r\n\r\n",
        ])
        .normal(&[Normal::ClientPort]),
    case("lists")
        .covers(&[
            "http-request action set-map",
            "http-request action del-map",
            "http-request action add-acl",
            "http-request action del-acl",
        ])
        .lines(
            "http-request set-map(@DIR@/request.map) a changed\nhttp-request set-map(@DIR@/request.map) %[path] %[method]\nhttp-request del-map(@DIR@/request.map) b\n\
             http-request add-acl(@DIR@/request.lst) %[path]\nhttp-request del-acl(@DIR@/request.lst) a\n\
             http-request set-header x-a %[str(a),map(@DIR@/request.map,none)]\nhttp-request set-header x-b %[str(b),map(@DIR@/request.map,none)]\n\
             http-request set-header x-path %[path,map(@DIR@/request.map,none)]\n\
             http-request set-header x-in yes if { path -f @DIR@/request.lst }\nhttp-request set-header x-in-a yes if { str(a) -f @DIR@/request.lst }\n\
             default_backend @CASE@",
        )
        .sections("backend @CASE@\nserver s @SERVER@\n")
        .send(&[GET, POST, OLD]),
    case("hints")
        .covers(&["http-request action early-hint"])
        .lines(
            "http-request early-hint link \"</a.css>; rel=preload\"\nhttp-request early-hint link </b.js>\n\
             http-request early-hint x-other %[path] if METH_GET\nhttp-request return",
        )
        .send(&[GET, POST, OLD]),
    case("body")
        .covers(&["http-request action wait-for-body"])
        .lines("http-request wait-for-body time 10s at-least 5\nhttp-request set-header x-body %[req.body]\ndefault_backend @CASE@")
        .sections("backend @CASE@\nserver s @SERVER@\n")
        .send(&[
            POST,
            GET,
            b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n",
            b"POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc",
        ]),
    case("no body comes")
        .lines("http-request wait-for-body time 50ms\nhttp-request return")
        .send(&[b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nConnection: close\r\n\r\nab"]),
    case("strictness")
        .covers(&["http-request action strict-mode"])
        .lines(
            "http-request strict-mode off if METH_POST\nhttp-request set-header x-long \"%[str(abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz),base64,base64,base64,base64,base64,base64,base64,base64,base64,base64,base64,base64,base64,base64,base64,base64]\"\n\
             http-request set-header x-after yes\nhttp-request del-header x-long\ndefault_backend @CASE@",
        )
        .sections("backend @CASE@\nserver s @SERVER@\n")
        .send(&[GET, POST]),
    case("normal targets")
        .covers(&["http-request action normalize-uri"])
        .lines(
            "http-request normalize-uri fragment-strip\nhttp-request normalize-uri path-merge-slashes\nhttp-request normalize-uri path-strip-dot\n\
             http-request normalize-uri path-strip-dotdot full\nhttp-request normalize-uri percent-decode-unreserved\nhttp-request normalize-uri percent-to-uppercase strict\n\
             http-request normalize-uri query-sort-by-name\ndefault_backend @CASE@",
        )
        .sections("backend @CASE@\nserver s @SERVER@\n")
        .send(&[
            GET,
            ABSOLUTE,
            OPTIONS,
            b"GET //a/./b/../../../c%2f%41%zz?z=1&a=2&b HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
            b"GET //a/./b/../../../c%2f%41?z=1&a=2&b&a=1&&=x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
        ]),
    case("limits")
        .covers(&[
            "http-request action set-timeout",
            "http-request action set-priority-class",
            "http-request action set-priority-offset",
            "http-request action disable-l7-retry",
            "http-request action set-nice",
            "http-request action set-log-level",
            "http-request action set-tos",
            "http-request action set-mark",
            "http-request action wait-for-handshake",
        ])
        .lines(
            "http-request set-priority-class int(5000)\nhttp-request set-priority-offset int(-5)\nhttp-request disable-l7-retry\nhttp-request set-nice 5000\n\
             http-request set-log-level silent\nhttp-request set-tos 0x20\nhttp-request set-mark 7\nhttp-request wait-for-handshake\ndefault_backend @CASE@",
        )
        .sections(
            "backend @CASE@\nhttp-request set-timeout server 5s\nhttp-request set-timeout tunnel int(1000)\n\
             http-request set-header x-limits %[be_server_timeout]-%[cur_server_timeout]-%[cur_tunnel_timeout]\nserver s @SERVER@\n",
        )
        .send(&[GET, POST]),
    case("packets to servers, and retries")
        .covers(&[
            "http-request action set-fc-mark",
            "http-request action set-fc-tos",
            "http-request action set-bc-mark",
            "http-request action set-bc-tos",
            "http-request action set-retries",
        ])
        .lines(
            "http-request set-fc-mark int(3)\nhttp-request set-fc-tos 3\nhttp-request set-bc-mark 5\nhttp-request set-bc-tos int(32)\nhttp-request set-retries 1\n\
             http-request return status 204",
        )
        .send(&[b"GET / HTTP/1.0\r\n\r\n"])
        .newer("<client>HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n"),
    case("pauses")
        .covers(&["http-request action pause"])
        .lines(
            "http-request pause 10ms\nhttp-request pause int(5)\nhttp-request pause hdr(none)\nhttp-request return status 204",
        )
        .send(&[b"GET / HTTP/1.0\r\n\r\n"])
        .newer("<client>HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n"),
    case("tables")
        .covers(&[
            "http-request action track-sc0",
            "http-request action track-sc1",
            "http-request action track-sc2",
            "http-request action sc-inc-gpc0",
            "http-request action sc-inc-gpc1",
            "http-request action sc-set-gpt0",
        ])
        .lines(
            "http-request track-sc0 path table @CASE@\nhttp-request track-sc1 method table @CASE@\nhttp-request track-sc2 hdr(none) table @CASE@\n\
             http-request sc-inc-gpc0(0)\nhttp-request sc-inc-gpc1(1)\nhttp-request sc-inc-gpc0(2)\nhttp-request sc-set-gpt0(0) int(9),add(1)\n\
             http-request return content-type text/plain lf-string %[sc_get_gpc0(0)]-%[sc_get_gpc1(1)]-%[sc_get_gpc0(2)]-%[sc_get_gpt0(0)]",
        )
        .sections("backend @CASE@\nstick-table type string len 32 size 100 expire 1m store gpc0,gpc1,gpt0\n")
        .send(&[GET, GET, POST]),
    case("tables with arrays")
        .covers(&["http-request action sc-inc-gpc", "http-request action sc-set-gpt"])
        .lines(
            "http-request track-sc0 path table @CASE@\nhttp-request sc-inc-gpc(2,0)\nhttp-request sc-inc-gpc(5,0)\nhttp-request sc-set-gpt(1,0) 44\n\
             http-request return content-type text/plain lf-string %[sc_get_gpc(2,0)]-%[sc_get_gpc(5,0)]-%[sc_get_gpt(1,0)]",
        )
        .sections("backend @CASE@\nstick-table type string len 32 size 100 expire 1m store gpc(3),gpt(2)\n")
        .send(&[GET, GET, POST]),
    case("amounts of counters")
        .covers(&["http-request action sc-add-gpc"])
        .lines(
            "http-request track-sc0 path table @CASE@\nhttp-request sc-add-gpc(0,0) 5\nhttp-request sc-add-gpc(0,0) int(2)\n\
             http-request return status 200 content-type text/plain lf-string %[sc_get_gpc(0,0)]",
        )
        .sections("backend @CASE@\nstick-table type string len 32 size 100 expire 1m store gpc(1)\n")
        .send(&[b"GET / HTTP/1.0\r\n\r\n"])
        .newer("<client>HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-type: text/plain\r\nconnection: close\r\n\r\n7"),
    case("cache")
        .covers(&["http-request action cache-use"])
        .lines("http-request cache-use @CASE@\nhttp-response cache-store @CASE@\ndefault_backend @CASE@-b")
        .sections("cache @CASE@\ntotal-max-size 4\nmax-age 60\nbackend @CASE@-b\nserver s @SERVER@\n")
        .server_says(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nCache-Control: max-age=60\r\n\r\nkept")
        .send(&[
            b"GET /kept HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
            b"GET /kept HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
        ])
        .normal(&[Normal::HeaderOrder]),
];

static REFUSED: &[&str] = &[
    "http-request",
    "http-request foo",
    "http-request set-header x",
    "http-request set-header x %[foo]",
    "http-request del-header",
    "http-request del-header x -m foo",
    "http-request replace-header x (",
    "http-request replace-header x a \\1%[",
    "http-request set-path",
    "http-request set-status 200",
    "http-request deny status 99",
    "http-request deny foo",
    "http-request return status 99",
    "http-request return file /no/such/file",
    "http-request redirect foo /",
    "http-request set-var(foo) path",
    "http-request set-var(txn.a)",
    "http-request unset-var(foo.a)",
    "http-request capture path",
    "http-request capture path id 9",
    "http-request set-src",
    "http-request add-acl(x)",
    "http-request early-hint link",
    "http-request wait-for-body",
    "http-request wait-for-body time",
    "http-request strict-mode maybe",
    "http-request set-timeout foo 5s",
    "http-request set-timeout server 5s",
    "http-request set-mark x",
    "http-request set-log-level foo",
    "http-request set-priority-class 5",
    "http-request track-sc0",
    "http-request track-sc0 src table none",
    "http-request sc-inc-gpc0(99)",
    "http-request cache-use none",
    "http-request use-service none",
    "http-request do-resolve(txn.a,none) path",
    "http-request close",
    "http-request accept",
];

#[test]
fn http_request() {
    lab::skip_unless_installed!("haproxy");
    super::run::compare(&FAMILY);
}
