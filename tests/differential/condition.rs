//! Compares conditions with HAProxy's: flags of ACLs, matching methods, operators, predefined ACLs.

use super::{Case, Family, Normal, case};

pub static FAMILY: Family = Family {
    files: &[
        ("list.lst", "# comment\n\n/none\n/dir/File.html\n  /dir\n"),
        ("empty.lst", ""),
        ("reg.lst", "^/x\n^/d.r\n"),
        ("map.lst", "/dir/File.html value\n/x y\n"),
        ("int.lst", "1\n40:45\n"),
        ("ip.lst", "192.0.2.0/24\n10.1.0.0/16\n"),
    ],
    cases: CASES,
    refused: REFUSED,
    ..Family::named("condition")
};

const REQUEST: &[u8] = b"GET /dir/File.html?a=1 HTTP/1.1\r\nHost: www.Example.org:8080\r\nX-N: 42\r\nX-V: 3.1\r\nX-E:\r\nX-L: one, two,three\r\nX-Ip: 10.1.2.3\r\nX-Ip6: 2001:db8::5\r\nCookie: id=42\r\nConnection: close\r\n\r\n";

/// Every condition that is true adds its number to the response.
static CASES: &[Case] = &[case("conditions")
    .covers(&["http-request action add-header"])
    .lines(
        "http-request add-header x-yes 0 if { path /dir/File.html }\n\
         http-request add-header x-yes 1 if { path /dir/file.html }\n\
         http-request add-header x-yes 2 if { path -i /dir/file.html }\n\
         http-request add-header x-yes 3 if { path -m str /dir/File.html }\n\
         http-request add-header x-yes 4 if { path -m beg /dir }\n\
         http-request add-header x-yes 5 if { path -m beg -i /DIR }\n\
         http-request add-header x-yes 6 if { path -i -m beg /DIR }\n\
         http-request add-header x-yes 7 if { path -m end .html }\n\
         http-request add-header x-yes 8 if { path -m end -i .HTML }\n\
         http-request add-header x-yes 9 if { path -m sub File }\n\
         http-request add-header x-yes 10 if { path -m sub -i file }\n\
         http-request add-header x-yes 11 if { path -m dir dir }\n\
         http-request add-header x-yes 12 if { path -m dir /dir/ }\n\
         http-request add-header x-yes 13 if { path -m dir Fil }\n\
         http-request add-header x-yes 14 if { path -m dom dir }\n\
         http-request add-header x-yes 15 if { path -m dom File }\n\
         http-request add-header x-yes 16 if { path -m dom -i html }\n\
         http-request add-header x-yes 17 if { path -m reg ^/d.r/ }\n\
         http-request add-header x-yes 18 if { path -m reg -i ^/D.R/ }\n\
         http-request add-header x-yes 19 if { path -m reg ^/D }\n\
         http-request add-header x-yes 20 if { path -m len 14 }\n\
         http-request add-header x-yes 21 if { path -m len 10:20 }\n\
         http-request add-header x-yes 22 if { path -m len gt 5 }\n\
         http-request add-header x-yes 23 if { path -m len lt 5 }\n\
         http-request add-header x-yes 24 if { path -m found }\n\
         http-request add-header x-yes 25 if { path_beg /dir }\n\
         http-request add-header x-yes 26 if { path_end html }\n\
         http-request add-header x-yes 27 if { path_sub File }\n\
         http-request add-header x-yes 28 if { path_dir dir }\n\
         http-request add-header x-yes 29 if { path_dom File }\n\
         http-request add-header x-yes 30 if { path_reg ^/.*html$ }\n\
         http-request add-header x-yes 31 if { path_len 14 }\n\
         http-request add-header x-yes 32 if { path_len lt 3 }\n\
         http-request add-header x-yes 33 if { path -- -i }\n\
         http-request add-header x-yes 34 if { path /none /dir/File.html }\n\
         http-request add-header x-yes 35 if { path -f @DIR@/list.lst }\n\
         http-request add-header x-yes 36 if { path -i -f @DIR@/list.lst }\n\
         http-request add-header x-yes 37 if { path -f @DIR@/list.lst -f @DIR@/empty.lst }\n\
         http-request add-header x-yes 38 if { path -m beg -f @DIR@/list.lst }\n\
         http-request add-header x-yes 39 if { path -m reg -f @DIR@/reg.lst }\n\
         http-request add-header x-yes 40 if { path -M -f @DIR@/map.lst }\n\
         http-request add-header x-yes 41 if { path -m str -M -f @DIR@/map.lst }\n\
         http-request add-header x-yes 42 if { path -u 77 /dir/File.html }\n\
         http-request add-header x-yes 43 if { hdr(host) -m dom example.org }\n\
         http-request add-header x-yes 44 if { hdr(host) -i -m dom example.org }\n\
         http-request add-header x-yes 45 if { hdr(host) -m dom -i www }\n\
         http-request add-header x-yes 46 if { hdr_dom(host) -i example.org:8080 }\n\
         http-request add-header x-yes 47 if { hdr_beg(host) www. }\n\
         http-request add-header x-yes 48 if { hdr_end(host) :8080 }\n\
         http-request add-header x-yes 49 if { hdr_sub(host) Example }\n\
         http-request add-header x-yes 50 if { hdr_reg(host) ^www }\n\
         http-request add-header x-yes 51 if { hdr_dir(host) x }\n\
         http-request add-header x-yes 52 if { hdr_len(host) 20 }\n\
         http-request add-header x-yes 53 if { hdr(x-l) two }\n\
         http-request add-header x-yes 54 if { hdr(x-l) one\\ two }\n\
         http-request add-header x-yes 55 if { hdr(x-l) -m len 3 }\n\
         http-request add-header x-yes 56 if { hdr_cnt(x-l) 3 }\n\
         http-request add-header x-yes 57 if { hdr_cnt(x-l) gt 2 }\n\
         http-request add-header x-yes 58 if { hdr_cnt(x-l) ge 4 }\n\
         http-request add-header x-yes 59 if { hdr_cnt(x-none) 0 }\n\
         http-request add-header x-yes 60 if { hdr(x-none) -m found }\n\
         http-request add-header x-yes 61 if { hdr(x-e) -m found }\n\
         http-request add-header x-yes 62 if { hdr(x-e) -m len 0 }\n\
         http-request add-header x-yes 64 if { hdr_val(x-n) 42 }\n\
         http-request add-header x-yes 65 if { hdr_val(x-n) gt 41 }\n\
         http-request add-header x-yes 66 if { hdr_val(x-n) ge 42 }\n\
         http-request add-header x-yes 67 if { hdr_val(x-n) lt 42 }\n\
         http-request add-header x-yes 68 if { hdr_val(x-n) le 42 }\n\
         http-request add-header x-yes 69 if { hdr_val(x-n) eq 42 }\n\
         http-request add-header x-yes 70 if { hdr_val(x-n) eq 1 42 }\n\
         http-request add-header x-yes 71 if { hdr_val(x-n) 40:45 }\n\
         http-request add-header x-yes 72 if { hdr_val(x-n) 40: }\n\
         http-request add-header x-yes 73 if { hdr_val(x-n) :45 }\n\
         http-request add-header x-yes 74 if { hdr_val(x-n) 1:5 40:45 }\n\
         http-request add-header x-yes 75 if { hdr_val(x-n) gt 50 lt 60 }\n\
         http-request add-header x-yes 76 if { hdr_val(x-n) -m str 42 }\n\
         http-request add-header x-yes 77 if { hdr_val(x-n) -m bool }\n\
         http-request add-header x-yes 78 if { hdr_val(x-n) -m found }\n\
         http-request add-header x-yes 79 if { hdr_val(x-n) -f @DIR@/int.lst }\n\
         http-request add-header x-yes 80 if { hdr(x-n) -m int 42 }\n\
         http-request add-header x-yes 81 if { hdr(x-n) -m int gt 41 }\n\
         http-request add-header x-yes 82 if { hdr(x-n) -m bool }\n\
         http-request add-header x-yes 83 if { req.ver 1.1 }\n\
         http-request add-header x-yes 84 if { req.ver 1.0 }\n\
         http-request add-header x-yes 85 if { req.ver 1.0 1.1 }\n\
         http-request add-header x-yes 86 if { hdr_ip(x-ip) 10.0.0.0/8 }\n\
         http-request add-header x-yes 87 if { hdr_ip(x-ip) 10.1.2.3 }\n\
         http-request add-header x-yes 88 if { hdr_ip(x-ip) 10.1.0.0/255.255.0.0 }\n\
         http-request add-header x-yes 89 if { hdr_ip(x-ip) 11.0.0.0/8 }\n\
         http-request add-header x-yes 90 if { hdr_ip(x-ip) -f @DIR@/ip.lst }\n\
         http-request add-header x-yes 91 if { hdr_ip(x-ip6) 2001:db8::/32 }\n\
         http-request add-header x-yes 92 if { hdr_ip(x-ip6) 2001:db9::/32 }\n\
         http-request add-header x-yes 93 if { hdr_ip(x-ip6) 2001:db8::5 }\n\
         http-request add-header x-yes 94 if { hdr_ip(x-ip6) 10.0.0.0/8 }\n\
         http-request add-header x-yes 95 if { hdr_ip(x-ip) ::ffff:10.0.0.0/104 }\n\
         http-request add-header x-yes 96 if { hdr(x-ip) -m ip 10.0.0.0/8 }\n\
         http-request add-header x-yes 97 if { src 127.0.0.0/8 }\n\
         http-request add-header x-yes 98 if { src 127.0.0.1 }\n\
         http-request add-header x-yes 99 if { src ::1 }\n\
         http-request add-header x-yes 100 if { src 127.0.0.1/8 10.0.0.0/8 }\n\
         http-request add-header x-yes 101 if { src -n 127.0.0.1 }\n\
         http-request add-header x-yes 102 if { src -m found }\n\
         http-request add-header x-yes 103 if { src,ipmask(8) 127.0.0.0 }\n\
         http-request add-header x-yes 104 if { method GET }\n\
         http-request add-header x-yes 105 if { method POST }\n\
         http-request add-header x-yes 106 if { method GET POST }\n\
         http-request add-header x-yes 107 if { meth(GET) -m str GET }\n\
         http-request add-header x-yes 108 if { cook(id) 42 }\n\
         http-request add-header x-yes 109 if { cook(id) -m found }\n\
         http-request add-header x-yes 110 if { cook(no) -m found }\n\
         http-request add-header x-yes 111 if { cook_cnt(id) 1 }\n\
         http-request add-header x-yes 112 if { urlp(a) 1 }\n\
         http-request add-header x-yes 113 if { urlp(a) -m int 1 }\n\
         http-request add-header x-yes 114 if { urlp(b) -m found }\n\
         http-request add-header x-yes 115 if { url_param(a) -m reg ^[0-9]$ }\n\
         http-request add-header x-yes 116 if { always_true }\n\
         http-request add-header x-yes 117 if { always_false }\n\
         http-request add-header x-yes 118 if { bool(true) true }\n\
         http-request add-header x-yes 119 if { int(5) 5 }\n\
         http-request add-header x-yes 120 if { int(5) -m str 5 }\n\
         http-request add-header x-yes 121 if { int(5) -m len 1 }\n\
         http-request add-header x-yes 122 if { str(abc) -m bin 616263 }\n\
         http-request add-header x-yes 123 if { bin(616263) -m bin 616263 00 }\n\
         http-request add-header x-yes 124 if { bin(616263) -m str abc }\n\
         http-request add-header x-yes 125 if { bin(6162) -m len 2 }\n\
         http-request add-header x-yes 126 if { path,lower /dir/file.html }\n\
         http-request add-header x-yes 127 if { path,lower,length 14 }\n\
         http-request add-header x-yes 128 if { ssl_fc }\n\
         http-request add-header x-yes 129 if { fc_http_major 1 }\n\
         http-request add-header x-yes 130 if { base_beg www }\n\
         http-request add-header x-yes 131 if { base_reg Example }\n\
         http-request add-header x-yes 132 if { url_beg /dir }\n\
         http-request add-header x-yes 133 if { nbsrv(samples) ge 1 }\n\
         http-request add-header x-yes 134 if { srv_is_up(samples/s1) }\n\
         http-request add-header x-yes 135 if { be_conn(samples) lt 1000 }\n\
         http-request add-header x-yes 136 if { dst_port gt 1 }\n\
         http-request add-header x-yes 137 if { rand(1) 0 }\n\
         http-request add-header x-yes 138 if { path -m str /dir/File.html -i }\n\
         http-request add-header x-named 0 if TRUE\n\
         http-request add-header x-named 1 if FALSE\n\
         http-request add-header x-named 2 if HTTP\n\
         http-request add-header x-named 3 if HTTP_1.0\n\
         http-request add-header x-named 4 if HTTP_1.1\n\
         http-request add-header x-named 5 if HTTP_2.0\n\
         http-request add-header x-named 6 if HTTP_CONTENT\n\
         http-request add-header x-named 7 if HTTP_URL_ABS\n\
         http-request add-header x-named 8 if HTTP_URL_SLASH\n\
         http-request add-header x-named 9 if HTTP_URL_STAR\n\
         http-request add-header x-named 10 if LOCALHOST\n\
         http-request add-header x-named 11 if METH_CONNECT\n\
         http-request add-header x-named 12 if METH_DELETE\n\
         http-request add-header x-named 13 if METH_GET\n\
         http-request add-header x-named 14 if METH_HEAD\n\
         http-request add-header x-named 15 if METH_OPTIONS\n\
         http-request add-header x-named 16 if METH_POST\n\
         http-request add-header x-named 17 if METH_PUT\n\
         http-request add-header x-named 18 if METH_TRACE\n\
         http-request add-header x-named 19 if WAIT_END\n\
         http-request add-header x-named 20 if !TRUE\n\
         http-request add-header x-named 21 if METH_GET LOCALHOST\n\
         http-request add-header x-named 22 if METH_POST or LOCALHOST\n\
         http-request add-header x-named 23 if METH_POST || METH_GET\n\
         http-request add-header x-named 24 if !METH_POST LOCALHOST\n\
         http-request add-header x-named 25 if ! METH_POST\n\
         acl a path_beg /dir\n acl a path_beg /other\n acl b hdr(x-n) 42\n\
         http-request add-header x-own 1 if a\n http-request add-header x-own 2 unless a\n\
         http-request add-header x-own 3 if a b\n http-request add-header x-own 4 if a !b\n\
         http-request add-header x-own 5 if !a or b\n\
         default_backend @CASE@\n",
    )
    .sections("backend @CASE@\n server s @SERVER@")
    .send(&[REQUEST])
    .normal(&[Normal::HeaderOrder])];

static REFUSED: &[&str] = &[
    "http-request deny if { path -m nothing a }",
    "http-request deny if { src 127.0.0.1/33 }",
    "http-request deny if { src a.b.c.d.e }",
    "http-request deny if { int(1) a }",
    "http-request deny if { int(1) gt a }",
    "http-request deny if { path -f /no/such/file }",
    "http-request deny if { path -m reg ( }",
    "http-request deny if { bin(00) 00 }",
    "http-request deny if { path -m bin 0g }",
    "http-request deny if { path -m len a }",
    "http-request deny if { path -m int gt 5:6:7 }",
    "http-request deny if { path -x a }",
    "http-request deny if nothing",
    "http-request deny if { path a",
    "http-request deny if a { }",
    "http-request deny when TRUE",
    "acl",
    "acl a",
    "acl a nothing",
    "acl a/b path a",
    "http-request deny if { hdr_val(a) 5:4 }",
    "http-request deny if { var(txn.a) a }",
];

#[test]
fn condition() {
    lab::skip_unless_installed!("haproxy");
    super::run::compare(&FAMILY);
}
