//! Compares load balancing with HAProxy's: hashes of all kinds, and round robin.

use super::{Case, Family, WITH_SOCKET, case};

pub static FAMILY: Family = Family {
    global: WITH_SOCKET,
    cases: CASES,
    refused: &[],
    ..Family::named("balance")
};

const A: &[u8] = b"GET /a/b/c?id=1 HTTP/1.1\r\nHost: www.example.org\r\nConnection: close\r\n\r\n";
const B: &[u8] = b"GET /other/path HTTP/1.1\r\nHost: www.example.org\r\nConnection: close\r\n\r\n";
const C: &[u8] = b"GET /x?y=1 HTTP/1.1\r\nHost: www.example.org\r\nConnection: close\r\n\r\n";
const D: &[u8] = b"GET /a/b?id=22 HTTP/1.1\r\nHost: www.example.org\r\nConnection: close\r\n\r\n";
const N: &[u8] = b"GET /12345 HTTP/1.1\r\nHost: www.example.org\r\nConnection: close\r\n\r\n";
const E: &[u8] =
    b"GET /a/b/c?id=two HTTP/1.1\r\nHost: www.example.org\r\nConnection: close\r\n\r\n";
const F: &[u8] =
    b"GET /f?x=1&id=three&y=2 HTTP/1.1\r\nHost: www.example.org\r\nConnection: close\r\n\r\n";
const G: &[u8] = b"GET /g?id= HTTP/1.1\r\nHost: www.example.org\r\nConnection: close\r\n\r\n";
const ABSOLUTE: &[u8] = b"GET http://www.example.org/a/b/c?id=1 HTTP/1.1\r\nHost: www.example.org\r\nConnection: close\r\n\r\n";
const K1: &[u8] = b"GET /a HTTP/1.1\r\nHost: h\r\nX-Key: one\r\nConnection: close\r\n\r\n";
const K2: &[u8] = b"GET /a HTTP/1.1\r\nHost: h\r\nX-Key: two\r\nConnection: close\r\n\r\n";
const K3: &[u8] = b"GET /a HTTP/1.1\r\nHost: h\r\nX-Key: \r\nConnection: close\r\n\r\n";
const H1: &[u8] = b"GET /a HTTP/1.1\r\nHost: mail.example.com\r\nConnection: close\r\n\r\n";
const H2: &[u8] = b"GET /a HTTP/1.1\r\nHost: other.net:8080\r\nConnection: close\r\n\r\n";
const FORM: &[u8] =
    b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nConnection: close\r\n\r\nid=1";
const FORM2: &[u8] =
    b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\nConnection: close\r\n\r\nx=1&id=two";
const FORM3: &[u8] =
    b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\nConnection: close\r\n\r\nnothing=1";

/// A request with a key of its own in its target, a parameter and a header.
const ONE_KEY: &[u8] =
    b"GET /dir/0000?id=k0000 HTTP/1.1\r\nHost: h0000.example.org\r\nX-Key: v0000\r\n\r\n";
const KEYS: usize = 400;
const LAST: &[u8] =
    b"GET /last?id=last HTTP/1.1\r\nHost: h\r\nX-Key: last\r\nConnection: close\r\n\r\n";

/// Returns `KEYS` requests on one connection, each with other digits in place of the zeros, and
/// then the last request.
const fn keys() -> [u8; ONE_KEY.len() * KEYS + LAST.len()] {
    let mut all = [0; ONE_KEY.len() * KEYS + LAST.len()];
    let mut at = 0;
    while at < ONE_KEY.len() * KEYS {
        let (n, place) = (at / ONE_KEY.len(), at % ONE_KEY.len());
        all[at] = ONE_KEY[place];
        // Not the first byte of four zeros, which are three digits then.
        if all[at] == b'0' && ONE_KEY[place - 1] == b'0' {
            let following = (ONE_KEY[place + 1] == b'0') as usize
                + (ONE_KEY[place + 1] == b'0' && ONE_KEY[place + 2] == b'0') as usize;
            let unit = [1, 10, 100][following];
            all[at] = b'0' + (n / unit % 10) as u8;
        }
        at += 1;
    }
    let mut n = 0;
    while n < LAST.len() {
        all[at + n] = LAST[n];
        n += 1;
    }
    all
}
static MANY: [u8; ONE_KEY.len() * KEYS + LAST.len()] = keys();

static CASES: &[Case] = &[
    case("balance uri by the default")
        .lines("default_backend @CASE@-b\n")
        .sections("backend @CASE@-b\nbalance uri\nhttp-response set-header x-server %[srv_name]\nserver s1 @SERVER@\nserver s2 @SERVER@\nserver s3 @SERVER@\n")
        .send(&[A, B, C, D, N]),
    case("balance uri by sdbm")
        .lines("default_backend @CASE@-b\n")
        .sections("backend @CASE@-b\nbalance uri\nhash-type map-based sdbm\nhttp-response set-header x-server %[srv_name]\nserver s1 @SERVER@\nserver s2 @SERVER@\nserver s3 @SERVER@\n")
        .send(&[A, B, C, D, N]),
    case("balance uri by sdbm avalanche")
        .lines("default_backend @CASE@-b\n")
        .sections("backend @CASE@-b\nbalance uri\nhash-type map-based sdbm avalanche\nhttp-response set-header x-server %[srv_name]\nserver s1 @SERVER@\nserver s2 @SERVER@\nserver s3 @SERVER@\n")
        .send(&[A, B, C, D, N]),
    case("balance uri by djb2")
        .lines("default_backend @CASE@-b\n")
        .sections("backend @CASE@-b\nbalance uri\nhash-type map-based djb2\nhttp-response set-header x-server %[srv_name]\nserver s1 @SERVER@\nserver s2 @SERVER@\nserver s3 @SERVER@\n")
        .send(&[A, B, C, D, N]),
    case("balance uri by djb2 avalanche")
        .lines("default_backend @CASE@-b\n")
        .sections("backend @CASE@-b\nbalance uri\nhash-type map-based djb2 avalanche\nhttp-response set-header x-server %[srv_name]\nserver s1 @SERVER@\nserver s2 @SERVER@\nserver s3 @SERVER@\n")
        .send(&[A, B, C, D, N]),
    case("balance uri by wt6")
        .lines("default_backend @CASE@-b\n")
        .sections("backend @CASE@-b\nbalance uri\nhash-type map-based wt6\nhttp-response set-header x-server %[srv_name]\nserver s1 @SERVER@\nserver s2 @SERVER@\nserver s3 @SERVER@\n")
        .send(&[A, B, C, D, N]),
    case("balance uri by wt6 avalanche")
        .lines("default_backend @CASE@-b\n")
        .sections("backend @CASE@-b\nbalance uri\nhash-type map-based wt6 avalanche\nhttp-response set-header x-server %[srv_name]\nserver s1 @SERVER@\nserver s2 @SERVER@\nserver s3 @SERVER@\n")
        .send(&[A, B, C, D, N]),
    case("balance uri by crc32")
        .lines("default_backend @CASE@-b\n")
        .sections("backend @CASE@-b\nbalance uri\nhash-type map-based crc32\nhttp-response set-header x-server %[srv_name]\nserver s1 @SERVER@\nserver s2 @SERVER@\nserver s3 @SERVER@\n")
        .send(&[A, B, C, D, N]),
    case("balance uri by crc32 avalanche")
        .lines("default_backend @CASE@-b\n")
        .sections("backend @CASE@-b\nbalance uri\nhash-type map-based crc32 avalanche\nhttp-response set-header x-server %[srv_name]\nserver s1 @SERVER@\nserver s2 @SERVER@\nserver s3 @SERVER@\n")
        .send(&[A, B, C, D, N]),
    case("balance uri whole")
        .lines("default_backend @CASE@-b\n")
        .sections("backend @CASE@-b\nbalance uri whole\nhttp-response set-header x-server %[srv_name]\nserver s1 @SERVER@\nserver s2 @SERVER@\nserver s3 @SERVER@\n")
        .send(&[A, B, C, D, E]),
    case("balance uri of a length")
        .lines("default_backend @CASE@-b\n")
        .sections("backend @CASE@-b\nbalance uri len 3\nhttp-response set-header x-server %[srv_name]\nserver s1 @SERVER@\nserver s2 @SERVER@\nserver s3 @SERVER@\n")
        .send(&[A, B, C, D]),
    case("balance uri of a depth")
        .lines("default_backend @CASE@-b\n")
        .sections("backend @CASE@-b\nbalance uri depth 1\nhttp-response set-header x-server %[srv_name]\nserver s1 @SERVER@\nserver s2 @SERVER@\nserver s3 @SERVER@\n")
        .send(&[A, B, C, D]),
    case("balance uri path-only")
        .lines("default_backend @CASE@-b\n")
        .sections("backend @CASE@-b\nbalance uri path-only\nhttp-response set-header x-server %[srv_name]\nserver s1 @SERVER@\nserver s2 @SERVER@\nserver s3 @SERVER@\n")
        .send(&[A, ABSOLUTE, D]),
    case("balance uri of a whole URL")
        .lines("default_backend @CASE@-b\n")
        .sections("backend @CASE@-b\nbalance uri\nhttp-response set-header x-server %[srv_name]\nserver s1 @SERVER@\nserver s2 @SERVER@\nserver s3 @SERVER@\n")
        .send(&[ABSOLUTE, A]),
    case("balance url_param")
        .lines("default_backend @CASE@-b\n")
        .sections("backend @CASE@-b\nbalance url_param id\nhttp-response set-header x-server %[srv_name]\nserver s1 @SERVER@\nserver s2 @SERVER@\nserver s3 @SERVER@\n")
        .send(&[A, E, F, G, C]),
    case("balance url_param of a form")
        .lines("default_backend @CASE@-b\n")
        .sections("backend @CASE@-b\nbalance url_param id check_post\nhttp-response set-header x-server %[srv_name]\nserver s1 @SERVER@\nserver s2 @SERVER@\nserver s3 @SERVER@\n")
        .send(&[A, FORM, FORM2, FORM3]),
    case("balance hdr")
        .lines("default_backend @CASE@-b\n")
        .sections("backend @CASE@-b\nbalance hdr(X-Key)\nhttp-response set-header x-server %[srv_name]\nserver s1 @SERVER@\nserver s2 @SERVER@\nserver s3 @SERVER@\n")
        .send(&[K1, K2, K3, A]),
    case("balance hdr(host)")
        .lines("default_backend @CASE@-b\n")
        .sections("backend @CASE@-b\nbalance hdr(host)\nhttp-response set-header x-server %[srv_name]\nserver s1 @SERVER@\nserver s2 @SERVER@\nserver s3 @SERVER@\n")
        .send(&[A, H1, H2]),
    case("balance hdr use_domain_only")
        .lines("default_backend @CASE@-b\n")
        .sections("backend @CASE@-b\nbalance hdr(host) use_domain_only\nhttp-response set-header x-server %[srv_name]\nserver s1 @SERVER@\nserver s2 @SERVER@\nserver s3 @SERVER@\n")
        .send(&[A, H1, H2]),
    case("balance source")
        .lines("default_backend @CASE@-b\n")
        .sections("backend @CASE@-b\nbalance source\nhttp-response set-header x-server %[srv_name]\nserver s1 @SERVER@\nserver s2 @SERVER@\nserver s3 @SERVER@\n")
        .send(&[A, A]),
    case("balance hash")
        .lines("default_backend @CASE@-b\n")
        .sections("backend @CASE@-b\nbalance hash path\nhttp-response set-header x-server %[srv_name]\nserver s1 @SERVER@\nserver s2 @SERVER@\nserver s3 @SERVER@\n")
        .send(&[A, B, C]),
    case("balance hash of a number")
        .lines("default_backend @CASE@-b\n")
        .sections("backend @CASE@-b\nbalance hash url_param(id),length\nhttp-response set-header x-server %[srv_name]\nserver s1 @SERVER@\nserver s2 @SERVER@\nserver s3 @SERVER@\n")
        .send(&[A, E, F, G]),
    case("balance roundrobin")
        .lines("default_backend @CASE@-b\n")
        .sections("backend @CASE@-b\nbalance roundrobin\nhttp-response set-header x-server %[srv_name]\nserver s1 @SERVER@\nserver s2 @SERVER@\nserver s3 @SERVER@\n")
        .send(&[A, A, A, A]),
    case("balance static-rr")
        .lines("default_backend @CASE@-b\n")
        .sections("backend @CASE@-b\nbalance static-rr\nhttp-response set-header x-server %[srv_name]\nserver s1 @SERVER@\nserver s2 @SERVER@\nserver s3 @SERVER@\n")
        .send(&[A, A, A, A]),
    case("balance first")
        .lines("default_backend @CASE@-b\n")
        .sections("backend @CASE@-b\nbalance first\nhttp-response set-header x-server %[srv_name]\nserver s1 @SERVER@\nserver s2 @SERVER@\nserver s3 @SERVER@\n")
        .send(&[A, A]),
    case("balance leastconn")
        .lines("default_backend @CASE@-b\n")
        .sections("backend @CASE@-b\nbalance leastconn\nhttp-response set-header x-server %[srv_name]\nserver s1 @SERVER@\nserver s2 @SERVER@\nserver s3 @SERVER@\n")
        // Sends no fourth request, whose server would depend on the connection that ends first.
        .send(&[A, A, A]),
    case("weights and hashes")
        .lines("default_backend @CASE@-b\n")
        .sections("backend @CASE@-b\nbalance uri\nhash-type map-based djb2\nhttp-response set-header x-server %[srv_name]\nserver s1 @SERVER@ weight 10\nserver s2 @SERVER@ weight 20\nserver s3 @SERVER@ weight 5\n")
        .send(&[A, B, C, D, N, E]),
    case("weights and turns")
        .lines("default_backend @CASE@-b\n")
        .sections("backend @CASE@-b\nbalance roundrobin\nhttp-response set-header x-server %[srv_name]\nserver s1 @SERVER@ weight 10\nserver s2 @SERVER@ weight 20\nserver s3 @SERVER@ weight 5\n")
        .send(&[A, A, A, A, A, A, A, A])
        .differs("turns-of-weights"),
    case("weights and static turns")
        .lines("default_backend @CASE@-b\n")
        .sections("backend @CASE@-b\nbalance static-rr\nhttp-response set-header x-server %[srv_name]\nserver s1 @SERVER@ weight 10\nserver s2 @SERVER@ weight 20\nserver s3 @SERVER@ weight 5\n")
        .send(&[A, A, A, A, A, A, A, A]),
    case("hashes while servers come and go")
        .lines("default_backend @CASE@-b\n")
        .sections("backend @CASE@-b\nbalance uri\nhttp-response set-header x-server %[srv_name]\nserver s1 @SERVER@\nserver s2 @SERVER@\nserver s3 @SERVER@\n")
        .send(&[A, B, C, D, b"@SOCKET@ disable server @CASE@-b/s2", A, B, C, D, b"@SOCKET@ enable server @CASE@-b/s2", A, B, C, D]),
    case("a ring by the default")
        .lines("default_backend @CASE@-b\n")
        .sections("backend @CASE@-b\nhttp-response set-header x-server %[srv_name]\nbalance uri\nhash-type consistent\nserver s1 @SERVER@\nserver s2 @SERVER@\nserver s3 @SERVER@\n")
        .send(&[&MANY]),
    case("a ring of servers of other weights and ids")
        .lines("default_backend @CASE@-b\n")
        .sections("backend @CASE@-b\nhttp-response set-header x-server %[srv_name]\nbalance uri\nhash-type consistent\nserver s1 @SERVER@ weight 10\nserver s2 @SERVER@ weight 25 id 77\nserver s3 @SERVER@ weight 1\nserver s4 @SERVER@ weight 256\nserver s5 @SERVER@ backup\nserver s6 @SERVER@ weight 0\n")
        .send(&[&MANY]),
    case("a ring by sdbm")
        .lines("default_backend @CASE@-b\n")
        .sections("backend @CASE@-b\nhttp-response set-header x-server %[srv_name]\nbalance hdr(x-key)\nhash-type consistent sdbm\nserver s1 @SERVER@\nserver s2 @SERVER@\nserver s3 @SERVER@\nserver s4 @SERVER@\nserver s5 @SERVER@ weight 3\n")
        .send(&[&MANY]),
    case("a ring by djb2")
        .lines("default_backend @CASE@-b\n")
        .sections("backend @CASE@-b\nhttp-response set-header x-server %[srv_name]\nbalance hdr(x-key)\nhash-type consistent djb2\nserver s1 @SERVER@\nserver s2 @SERVER@\nserver s3 @SERVER@\nserver s4 @SERVER@\nserver s5 @SERVER@ weight 3\n")
        .send(&[&MANY]),
    case("a ring by wt6 avalanche")
        .lines("default_backend @CASE@-b\n")
        .sections("backend @CASE@-b\nhttp-response set-header x-server %[srv_name]\nbalance hdr(x-key)\nhash-type consistent wt6 avalanche\nserver s1 @SERVER@\nserver s2 @SERVER@\nserver s3 @SERVER@\nserver s4 @SERVER@\nserver s5 @SERVER@ weight 3\n")
        .send(&[&MANY]),
    case("a ring by crc32")
        .lines("default_backend @CASE@-b\n")
        .sections("backend @CASE@-b\nhttp-response set-header x-server %[srv_name]\nbalance hdr(x-key)\nhash-type consistent crc32\nserver s1 @SERVER@\nserver s2 @SERVER@\nserver s3 @SERVER@\nserver s4 @SERVER@\nserver s5 @SERVER@ weight 3\n")
        .send(&[&MANY]),
    case("a ring by a parameter")
        .lines("default_backend @CASE@-b\n")
        .sections("backend @CASE@-b\nhttp-response set-header x-server %[srv_name]\nbalance url_param id\nhash-type consistent\nserver s1 @SERVER@\nserver s2 @SERVER@\nserver s3 @SERVER@\n")
        .send(&[&MANY]),
    case("a ring by an expression")
        .lines("default_backend @CASE@-b\n")
        .sections("backend @CASE@-b\nhttp-response set-header x-server %[srv_name]\nbalance hash req.hdr(host),sdbm\nhash-type consistent crc32\nserver s1 @SERVER@\nserver s2 @SERVER@\nserver s3 @SERVER@\n")
        .send(&[&MANY, A, H1, H2]),
    case("a ring by a main part of a name")
        .lines("default_backend @CASE@-b\n")
        .sections("backend @CASE@-b\nhttp-response set-header x-server %[srv_name]\nbalance hdr(host) use_domain_only\nhash-type consistent\nserver s1 @SERVER@\nserver s2 @SERVER@\nserver s3 @SERVER@\n")
        .send(&[A, H1, H2]),
    case("a ring by the source")
        .lines("default_backend @CASE@-b\n")
        .sections("backend @CASE@-b\nhttp-response set-header x-server %[srv_name]\nbalance source\nhash-type consistent\nserver s1 @SERVER@\nserver s2 @SERVER@\nserver s3 @SERVER@\n")
        .send(&[A, A]),
    case("a ring with a bound")
        .lines("default_backend @CASE@-b\n")
        .sections("backend @CASE@-b\nhttp-response set-header x-server %[srv_name]\nbalance uri\nhash-type consistent\nhash-balance-factor 120\nserver s1 @SERVER@\nserver s2 @SERVER@\nserver s3 @SERVER@\n")
        .send(&[&MANY]),
    case("a ring while servers come, go and change")
        .lines("default_backend @CASE@-b\n")
        .sections("backend @CASE@-b\nhttp-response set-header x-server %[srv_name]\nbalance uri\nhash-type consistent\nserver s1 @SERVER@ weight 10\nserver s2 @SERVER@ weight 25 id 77\nserver s3 @SERVER@ weight 1\nserver s4 @SERVER@ weight 256\nserver s5 @SERVER@ backup\nserver s6 @SERVER@ weight 0\n")
        .send(&[b"@SOCKET@ disable server @CASE@-b/s4", &MANY, b"@SOCKET@ set weight @CASE@-b/s1 100", b"@SOCKET@ set weight @CASE@-b/s6 30", &MANY, b"@SOCKET@ enable server @CASE@-b/s4", b"@SOCKET@ set weight @CASE@-b/s4 10%", &MANY]),
    case("a ring of backups")
        .lines("default_backend @CASE@-b\n")
        .sections("backend @CASE@-b\nhttp-response set-header x-server %[srv_name]\nbalance uri\nhash-type consistent\noption allbackups\nserver s1 @SERVER@ disabled\nserver s2 @SERVER@ backup\nserver s3 @SERVER@ backup weight 2\n")
        .send(&[&MANY]),
];

#[test]
fn balance() {
    lab::skip_unless_installed!("haproxy");
    super::run::compare(&FAMILY);
}
