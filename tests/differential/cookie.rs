//! Compares with HAProxy the cookies by which clients return to their servers.

use super::{Case, Family, Normal, WITH_SOCKET, case};

pub static FAMILY: Family = Family {
    global: WITH_SOCKET,
    cases: CASES,
    refused: &[],
    ..Family::named("cookie")
};

const PLAIN: &[u8] = b"GET /a HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
const SRV_A: &[u8] = b"GET /a HTTP/1.1\r\nHost: h\r\nCookie: SRV=a\r\nConnection: close\r\n\r\n";
const SRV_B: &[u8] = b"GET /a HTTP/1.1\r\nHost: h\r\nCookie: SRV=b\r\nConnection: close\r\n\r\n";
const SRV_BAD: &[u8] =
    b"GET /a HTTP/1.1\r\nHost: h\r\nCookie: SRV=none\r\nConnection: close\r\n\r\n";
const SID_PREFIXED: &[u8] =
    b"GET /a HTTP/1.1\r\nHost: h\r\nCookie: x=1; SID=b~val; y=2\r\nConnection: close\r\n\r\n";
const MANY: &[u8] =
    b"GET /a HTTP/1.1\r\nHost: h\r\nCookie: x=1; SRV=c; SID=c~v; y=2\r\nConnection: close\r\n\r\n";
const POST: &[u8] =
    b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx";
const OLD: &[u8] =
    b"GET /a HTTP/1.1\r\nHost: h\r\nCookie: SRV=b|AAAAA|AAAAA\r\nConnection: close\r\n\r\n";
const OLDER: &[u8] =
    b"GET /a HTTP/1.1\r\nHost: h\r\nCookie: SRV=b|ZZZZZ\r\nConnection: close\r\n\r\n";
const IGNORE: &[u8] =
    b"GET /ignore HTTP/1.1\r\nHost: h\r\nCookie: SRV=b\r\nConnection: close\r\n\r\n";
const FORCE: &[u8] =
    b"GET /force HTTP/1.1\r\nHost: h\r\nCookie: SRV=b\r\nConnection: close\r\n\r\n";
const QUOTED: &[u8] =
    b"GET /a HTTP/1.1\r\nHost: h\r\nCookie: SRV=\"b\"; x=\"SRV=a\"\r\nConnection: close\r\n\r\n";
const SPACED: &[u8] =
    b"GET /a HTTP/1.1\r\nHost: h\r\nCookie:   x = 1 ;  SRV = b ; y=2\r\nConnection: close\r\n\r\n";
const TWICE: &[u8] =
    b"GET /a HTTP/1.1\r\nHost: h\r\nCookie: SRV=a; SRV=b\r\nConnection: close\r\n\r\n";
const EMPTY: &[u8] = b"GET /a HTTP/1.1\r\nHost: h\r\nCookie: SRV=; x\r\nConnection: close\r\n\r\n";
const ALONE: &[u8] =
    b"GET /a HTTP/1.1\r\nHost: h\r\nCookie: SRV=c\r\nCookie: z=1\r\nConnection: close\r\n\r\n";
const P_QUOTED: &[u8] =
    b"GET /a HTTP/1.1\r\nHost: h\r\nCookie: SID=\"b~v\"\r\nConnection: close\r\n\r\n";
const P_SPACED: &[u8] =
    b"GET /a HTTP/1.1\r\nHost: h\r\nCookie:  SID = b~v ;x=1\r\nConnection: close\r\n\r\n";
const P_TWICE: &[u8] =
    b"GET /a HTTP/1.1\r\nHost: h\r\nCookie: SID=a~v; SID=b~w\r\nConnection: close\r\n\r\n";
const P_EMPTY: &[u8] =
    b"GET /a HTTP/1.1\r\nHost: h\r\nCookie: SID=b~; x=1\r\nConnection: close\r\n\r\n";
const PIPELINE: &[u8] = b"GET /1 HTTP/1.1\r\nHost: h\r\nCookie: SRV=b\r\n\r\nGET /2 HTTP/1.1\r\nHost: h\r\n\r\nGET /3 HTTP/1.1\r\nHost: h\r\nCookie: SRV=c\r\nConnection: close\r\n\r\n";
const DATES: &[Normal] = &[Normal::Dates];

static CASES: &[Case] = &[
    case("insert")
        .lines("default_backend @CASE@-b\n")
        .sections("backend @CASE@-b\nbalance roundrobin\ncookie SRV insert\nhttp-response set-header x-server %[srv_name]\nserver s1 @SERVER@ cookie a\nserver s2 @SERVER@ cookie b\nserver s3 @SERVER@ cookie c\n")
        .server_says(b"HTTP/1.1 200 OK\r\nSet-Cookie: SID=val; path=/\r\nSet-Cookie: x=y\r\nContent-Length: 0\r\n\r\n")
        .send(&[PLAIN, SRV_A, SRV_B, SRV_BAD, SID_PREFIXED, MANY, POST])
        .normal(DATES),
    case("insert indirect")
        .lines("default_backend @CASE@-b\n")
        .sections("backend @CASE@-b\nbalance roundrobin\ncookie SRV insert indirect\nhttp-response set-header x-server %[srv_name]\nserver s1 @SERVER@ cookie a\nserver s2 @SERVER@ cookie b\nserver s3 @SERVER@ cookie c\n")
        .server_says(b"HTTP/1.1 200 OK\r\nSet-Cookie: SID=val; path=/\r\nSet-Cookie: x=y\r\nContent-Length: 0\r\n\r\n")
        .send(&[PLAIN, SRV_A, SRV_B, SRV_BAD, SID_PREFIXED, MANY, POST])
        .normal(DATES),
    case("insert indirect nocache")
        .lines("default_backend @CASE@-b\n")
        .sections("backend @CASE@-b\nbalance roundrobin\ncookie SRV insert indirect nocache\nhttp-response set-header x-server %[srv_name]\nserver s1 @SERVER@ cookie a\nserver s2 @SERVER@ cookie b\nserver s3 @SERVER@ cookie c\n")
        .server_says(b"HTTP/1.1 200 OK\r\nSet-Cookie: SID=val; path=/\r\nSet-Cookie: x=y\r\nContent-Length: 0\r\n\r\n")
        .send(&[PLAIN, SRV_A, SRV_B, SRV_BAD, SID_PREFIXED, MANY, POST])
        .normal(DATES),
    case("insert nocache")
        .lines("default_backend @CASE@-b\n")
        .sections("backend @CASE@-b\nbalance roundrobin\ncookie SRV insert nocache\nhttp-response set-header x-server %[srv_name]\nserver s1 @SERVER@ cookie a\nserver s2 @SERVER@ cookie b\nserver s3 @SERVER@ cookie c\n")
        .server_says(b"HTTP/1.1 200 OK\r\nSet-Cookie: SID=val; path=/\r\nSet-Cookie: x=y\r\nContent-Length: 0\r\n\r\n")
        .send(&[PLAIN, SRV_A, SRV_B, SRV_BAD, SID_PREFIXED, MANY, POST])
        .normal(DATES),
    case("insert postonly")
        .lines("default_backend @CASE@-b\n")
        .sections("backend @CASE@-b\nbalance roundrobin\ncookie SRV insert postonly\nhttp-response set-header x-server %[srv_name]\nserver s1 @SERVER@ cookie a\nserver s2 @SERVER@ cookie b\nserver s3 @SERVER@ cookie c\n")
        .server_says(b"HTTP/1.1 200 OK\r\nSet-Cookie: SID=val; path=/\r\nSet-Cookie: x=y\r\nContent-Length: 0\r\n\r\n")
        .send(&[PLAIN, SRV_A, SRV_B, SRV_BAD, SID_PREFIXED, MANY, POST])
        .normal(DATES),
    case("insert preserve")
        .lines("default_backend @CASE@-b\n")
        .sections("backend @CASE@-b\nbalance roundrobin\ncookie SRV insert indirect preserve\nhttp-response set-header x-server %[srv_name]\nserver s1 @SERVER@ cookie a\nserver s2 @SERVER@ cookie b\nserver s3 @SERVER@ cookie c\n")
        .server_says(b"HTTP/1.1 200 OK\r\nSet-Cookie: SID=val; path=/\r\nSet-Cookie: x=y\r\nContent-Length: 0\r\n\r\n")
        .send(&[PLAIN, SRV_A, SRV_B, SRV_BAD, SID_PREFIXED, MANY, POST])
        .normal(DATES),
    case("insert with a domain")
        .lines("default_backend @CASE@-b\n")
        .sections("backend @CASE@-b\nbalance roundrobin\ncookie SRV insert domain .example.com domain www.example.org\nhttp-response set-header x-server %[srv_name]\nserver s1 @SERVER@ cookie a\nserver s2 @SERVER@ cookie b\nserver s3 @SERVER@ cookie c\n")
        .server_says(b"HTTP/1.1 200 OK\r\nSet-Cookie: SID=val; path=/\r\nSet-Cookie: x=y\r\nContent-Length: 0\r\n\r\n")
        .send(&[PLAIN, SRV_A, SRV_B, SRV_BAD, SID_PREFIXED, MANY, POST])
        .normal(DATES),
    case("insert httponly secure")
        .lines("default_backend @CASE@-b\n")
        .sections("backend @CASE@-b\nbalance roundrobin\ncookie SRV insert httponly secure\nhttp-response set-header x-server %[srv_name]\nserver s1 @SERVER@ cookie a\nserver s2 @SERVER@ cookie b\nserver s3 @SERVER@ cookie c\n")
        .server_says(b"HTTP/1.1 200 OK\r\nSet-Cookie: SID=val; path=/\r\nSet-Cookie: x=y\r\nContent-Length: 0\r\n\r\n")
        .send(&[PLAIN, SRV_A, SRV_B, SRV_BAD, SID_PREFIXED, MANY, POST])
        .normal(DATES),
    case("insert with attributes")
        .lines("default_backend @CASE@-b\n")
        .sections("backend @CASE@-b\nbalance roundrobin\ncookie SRV insert attr \"SameSite=None\" attr Partitioned\nhttp-response set-header x-server %[srv_name]\nserver s1 @SERVER@ cookie a\nserver s2 @SERVER@ cookie b\nserver s3 @SERVER@ cookie c\n")
        .server_says(b"HTTP/1.1 200 OK\r\nSet-Cookie: SID=val; path=/\r\nSet-Cookie: x=y\r\nContent-Length: 0\r\n\r\n")
        .send(&[PLAIN, SRV_A, SRV_B, SRV_BAD, SID_PREFIXED, MANY, POST])
        .normal(DATES),
    case("rewrite")
        .lines("default_backend @CASE@-b\n")
        .sections("backend @CASE@-b\nbalance roundrobin\ncookie SRV rewrite\nhttp-response set-header x-server %[srv_name]\nserver s1 @SERVER@ cookie a\nserver s2 @SERVER@ cookie b\nserver s3 @SERVER@ cookie c\n")
        .server_says(b"HTTP/1.1 200 OK\r\nSet-Cookie: SID=val; path=/\r\nSet-Cookie: x=y\r\nContent-Length: 0\r\n\r\n")
        .send(&[PLAIN, SRV_A, SRV_B, SRV_BAD, SID_PREFIXED, MANY, POST])
        .normal(DATES),
    case("rewrite of another")
        .lines("default_backend @CASE@-b\n")
        .sections("backend @CASE@-b\nbalance roundrobin\ncookie SID rewrite\nhttp-response set-header x-server %[srv_name]\nserver s1 @SERVER@ cookie a\nserver s2 @SERVER@ cookie b\nserver s3 @SERVER@ cookie c\n")
        .server_says(b"HTTP/1.1 200 OK\r\nSet-Cookie: SID=val; path=/\r\nSet-Cookie: x=y\r\nContent-Length: 0\r\n\r\n")
        .send(&[PLAIN, SRV_A, SRV_B, SRV_BAD, SID_PREFIXED, MANY, POST])
        .normal(DATES),
    case("prefix")
        .lines("default_backend @CASE@-b\n")
        .sections("backend @CASE@-b\nbalance roundrobin\ncookie SID prefix\nhttp-response set-header x-server %[srv_name]\nserver s1 @SERVER@ cookie a\nserver s2 @SERVER@ cookie b\nserver s3 @SERVER@ cookie c\n")
        .server_says(b"HTTP/1.1 200 OK\r\nSet-Cookie: SID=val; path=/\r\nSet-Cookie: x=y\r\nContent-Length: 0\r\n\r\n")
        .send(&[PLAIN, SRV_A, SRV_B, SRV_BAD, SID_PREFIXED, MANY, POST])
        .normal(DATES),
    case("prefix indirect")
        .lines("default_backend @CASE@-b\n")
        .sections("backend @CASE@-b\nbalance roundrobin\ncookie SID prefix nocache\nhttp-response set-header x-server %[srv_name]\nserver s1 @SERVER@ cookie a\nserver s2 @SERVER@ cookie b\nserver s3 @SERVER@ cookie c\n")
        .server_says(b"HTTP/1.1 200 OK\r\nSet-Cookie: SID=val; path=/\r\nSet-Cookie: x=y\r\nContent-Length: 0\r\n\r\n")
        .send(&[PLAIN, SRV_A, SRV_B, SRV_BAD, SID_PREFIXED, MANY, POST])
        .normal(DATES),
    case("passive")
        .lines("default_backend @CASE@-b\n")
        .sections("backend @CASE@-b\nbalance roundrobin\ncookie SRV\nhttp-response set-header x-server %[srv_name]\nserver s1 @SERVER@ cookie a\nserver s2 @SERVER@ cookie b\nserver s3 @SERVER@ cookie c\n")
        .server_says(b"HTTP/1.1 200 OK\r\nSet-Cookie: SID=val; path=/\r\nSet-Cookie: x=y\r\nContent-Length: 0\r\n\r\n")
        .send(&[PLAIN, SRV_A, SRV_B, SRV_BAD, SID_PREFIXED, MANY, POST])
        .normal(DATES),
    case("passive indirect")
        .lines("default_backend @CASE@-b\n")
        .sections("backend @CASE@-b\nbalance roundrobin\ncookie SRV indirect\nhttp-response set-header x-server %[srv_name]\nserver s1 @SERVER@ cookie a\nserver s2 @SERVER@ cookie b\nserver s3 @SERVER@ cookie c\n")
        .server_says(b"HTTP/1.1 200 OK\r\nSet-Cookie: SID=val; path=/\r\nSet-Cookie: x=y\r\nContent-Length: 0\r\n\r\n")
        .send(&[PLAIN, SRV_A, SRV_B, SRV_BAD, SID_PREFIXED, MANY, POST])
        .normal(DATES),
    case("passive preserve")
        .lines("default_backend @CASE@-b\n")
        .sections("backend @CASE@-b\nbalance roundrobin\ncookie SRV preserve indirect\nhttp-response set-header x-server %[srv_name]\nserver s1 @SERVER@ cookie a\nserver s2 @SERVER@ cookie b\nserver s3 @SERVER@ cookie c\n")
        .server_says(b"HTTP/1.1 200 OK\r\nSet-Cookie: SID=val; path=/\r\nSet-Cookie: x=y\r\nContent-Length: 0\r\n\r\n")
        .send(&[PLAIN, SRV_A, SRV_B, SRV_BAD, SID_PREFIXED, MANY, POST])
        .normal(DATES),
    case("insert, where the server says its own")
        .lines("default_backend @CASE@-b\n")
        .sections("backend @CASE@-b\nbalance roundrobin\ncookie SRV insert\nhttp-response set-header x-server %[srv_name]\nserver s1 @SERVER@ cookie a\nserver s2 @SERVER@ cookie b\nserver s3 @SERVER@ cookie c\n")
        .server_says(b"HTTP/1.1 200 OK\r\nSet-Cookie: SRV=own; path=/; HttpOnly\r\nCache-Control: public\r\nContent-Length: 0\r\n\r\n")
        .send(&[PLAIN, SRV_B, SRV_BAD])
        .normal(DATES),
    case("insert indirect, where the server says its own")
        .lines("default_backend @CASE@-b\n")
        .sections("backend @CASE@-b\nbalance roundrobin\ncookie SRV insert indirect\nhttp-response set-header x-server %[srv_name]\nserver s1 @SERVER@ cookie a\nserver s2 @SERVER@ cookie b\nserver s3 @SERVER@ cookie c\n")
        .server_says(b"HTTP/1.1 200 OK\r\nSet-Cookie: SRV=own; path=/; HttpOnly\r\nCache-Control: public\r\nContent-Length: 0\r\n\r\n")
        .send(&[PLAIN, SRV_B, SRV_BAD])
        .normal(DATES),
    case("insert preserve, where the server says its own")
        .lines("default_backend @CASE@-b\n")
        .sections("backend @CASE@-b\nbalance roundrobin\ncookie SRV insert indirect preserve\nhttp-response set-header x-server %[srv_name]\nserver s1 @SERVER@ cookie a\nserver s2 @SERVER@ cookie b\nserver s3 @SERVER@ cookie c\n")
        .server_says(b"HTTP/1.1 200 OK\r\nSet-Cookie: SRV=own; path=/; HttpOnly\r\nCache-Control: public\r\nContent-Length: 0\r\n\r\n")
        .send(&[PLAIN, SRV_B, SRV_BAD])
        .normal(DATES),
    case("rewrite, where the server says its own")
        .lines("default_backend @CASE@-b\n")
        .sections("backend @CASE@-b\nbalance roundrobin\ncookie SRV rewrite\nhttp-response set-header x-server %[srv_name]\nserver s1 @SERVER@ cookie a\nserver s2 @SERVER@ cookie b\nserver s3 @SERVER@ cookie c\n")
        .server_says(b"HTTP/1.1 200 OK\r\nSet-Cookie: SRV=own; path=/; HttpOnly\r\nCache-Control: public\r\nContent-Length: 0\r\n\r\n")
        .send(&[PLAIN, SRV_B, SRV_BAD])
        .normal(DATES),
    case("passive, where the server says its own")
        .lines("default_backend @CASE@-b\n")
        .sections("backend @CASE@-b\nbalance roundrobin\ncookie SRV\nhttp-response set-header x-server %[srv_name]\nserver s1 @SERVER@ cookie a\nserver s2 @SERVER@ cookie b\nserver s3 @SERVER@ cookie c\n")
        .server_says(b"HTTP/1.1 200 OK\r\nSet-Cookie: SRV=own; path=/; HttpOnly\r\nCache-Control: public\r\nContent-Length: 0\r\n\r\n")
        .send(&[PLAIN, SRV_B, SRV_BAD])
        .normal(DATES),
    case("passive indirect, where the server says its own")
        .lines("default_backend @CASE@-b\n")
        .sections("backend @CASE@-b\nbalance roundrobin\ncookie SRV indirect\nhttp-response set-header x-server %[srv_name]\nserver s1 @SERVER@ cookie a\nserver s2 @SERVER@ cookie b\nserver s3 @SERVER@ cookie c\n")
        .server_says(b"HTTP/1.1 200 OK\r\nSet-Cookie: SRV=own; path=/; HttpOnly\r\nCache-Control: public\r\nContent-Length: 0\r\n\r\n")
        .send(&[PLAIN, SRV_B, SRV_BAD])
        .normal(DATES),
    case("insert indirect nocache, where the server says its own")
        .lines("default_backend @CASE@-b\n")
        .sections("backend @CASE@-b\nbalance roundrobin\ncookie SRV insert indirect nocache\nhttp-response set-header x-server %[srv_name]\nserver s1 @SERVER@ cookie a\nserver s2 @SERVER@ cookie b\nserver s3 @SERVER@ cookie c\n")
        .server_says(b"HTTP/1.1 200 OK\r\nSet-Cookie: SRV=own; path=/; HttpOnly\r\nCache-Control: public\r\nContent-Length: 0\r\n\r\n")
        .send(&[PLAIN, SRV_B, SRV_BAD])
        .normal(DATES),
    case("maxidle and maxlife")
        .lines("default_backend @CASE@-b\n")
        .sections("backend @CASE@-b\nbalance roundrobin\ncookie SRV insert maxidle 30m maxlife 8h\nhttp-response set-header x-server %[srv_name]\nserver s1 @SERVER@ cookie a\nserver s2 @SERVER@ cookie b\nserver s3 @SERVER@ cookie c\n")
        .send(&[PLAIN, SRV_B, OLD, OLDER, SRV_BAD])
        .normal(DATES),
    case("maxidle and maxlife of an indirect cookie")
        .lines("default_backend @CASE@-b\n")
        .sections("backend @CASE@-b\nbalance roundrobin\ncookie SRV insert indirect maxidle 30m maxlife 8h\nhttp-response set-header x-server %[srv_name]\nserver s1 @SERVER@ cookie a\nserver s2 @SERVER@ cookie b\nserver s3 @SERVER@ cookie c\n")
        .send(&[PLAIN, SRV_B, OLD, SRV_BAD])
        .normal(DATES),
    case("a dynamic cookie")
        .lines("default_backend @CASE@-b\n")
        .sections("backend @CASE@-b\nbalance roundrobin\ncookie SRV insert indirect dynamic\ndynamic-cookie-key key\nhttp-response set-header x-server %[srv_name]\nserver s1 127.0.0.1:1000\nserver s2 127.0.0.1:1001\n")
        .send(&[PLAIN])
        .normal(DATES),
    case("servers without cookies")
        .lines("default_backend @CASE@-b\n")
        .sections("backend @CASE@-b\nbalance roundrobin\ncookie SRV insert\nhttp-response set-header x-server %[srv_name]\nserver s1 @SERVER@\nserver s2 @SERVER@ cookie b\n")
        .send(&[PLAIN, PLAIN, SRV_B, SRV_A])
        .normal(DATES),
    case("servers that are down, drain, and come back")
        .lines("default_backend @CASE@-b\n")
        .sections("backend @CASE@-b\nbalance roundrobin\ncookie SRV insert indirect\nhttp-response set-header x-server %[srv_name]\nserver s1 @SERVER@ cookie a\nserver s2 @SERVER@ cookie b\nserver s3 @SERVER@ cookie c\n")
        .send(&[SRV_B, b"@SOCKET@ disable server @CASE@-b/s2", SRV_B, b"@SOCKET@ enable server @CASE@-b/s2", SRV_B, b"@SOCKET@ set server @CASE@-b/s2 state drain", SRV_B, PLAIN, PLAIN, PLAIN, b"@SOCKET@ set server @CASE@-b/s2 state ready", SRV_B, b"@SOCKET@ set server @CASE@-b/s2 weight 0", SRV_B, PLAIN, PLAIN, PLAIN])
        .normal(DATES),
    case("persistence to servers that are down")
        .lines("default_backend @CASE@-b\n")
        .sections("backend @CASE@-b\nbalance roundrobin\noption persist\ncookie SRV insert\nhttp-response set-header x-server %[srv_name]\nserver s1 @SERVER@ cookie a\nserver s2 @SERVER@ cookie b\nserver s3 @SERVER@ cookie c\n")
        .send(&[SRV_B, b"@SOCKET@ disable server @CASE@-b/s2", SRV_B])
        .normal(DATES),
    case("ignore-persist and force-persist")
        .lines("default_backend @CASE@-b\n")
        .sections("backend @CASE@-b\nbalance roundrobin\ncookie SRV insert indirect\nignore-persist if { path /ignore }\nforce-persist if { path /force }\nhttp-response set-header x-server %[srv_name]\nserver s1 @SERVER@ cookie a\nserver s2 @SERVER@ cookie b\nserver s3 @SERVER@ cookie c\n")
        .send(&[SRV_B, IGNORE, IGNORE, b"@SOCKET@ disable server @CASE@-b/s2", SRV_B, FORCE])
        .normal(DATES),
    case("redispatch from a refusing server")
        .lines("default_backend @CASE@-b\n")
        .sections("backend @CASE@-b\nbalance roundrobin\noption redispatch\nretries 1\ncookie SRV insert indirect\nhttp-response set-header x-server %[srv_name]\nserver s1 @SERVER@ cookie a\nserver s2 127.0.0.1:1 cookie b\n")
        .send(&[SRV_A, SRV_B])
        .normal(DATES),
    case("letters of cookies in the answer")
        .lines("default_backend @CASE@-b\n")
        .sections("backend @CASE@-b\nbalance roundrobin\ncookie SRV insert indirect\nhttp-response set-header x-server %[srv_name]\nserver s1 @SERVER@ cookie a\nserver s2 @SERVER@ cookie b\nserver s3 @SERVER@ cookie c\n")
        .send(&[SRV_A])
        .normal(DATES),
    case("quotes, blanks, and many cookies")
        .lines("default_backend @CASE@-b\n")
        .sections("backend @CASE@-b\nbalance roundrobin\ncookie SRV insert indirect\nhttp-response set-header x-server %[srv_name]\nserver s1 @SERVER@ cookie a\nserver s2 @SERVER@ cookie b\nserver s3 @SERVER@ cookie c\n")
        .send(&[QUOTED, SPACED, TWICE, EMPTY, ALONE])
        .normal(DATES),
    case("quotes, blanks, and many cookies, with a prefix")
        .lines("default_backend @CASE@-b\n")
        .sections("backend @CASE@-b\nbalance roundrobin\ncookie SID prefix\nhttp-response set-header x-server %[srv_name]\nserver s1 @SERVER@ cookie a\nserver s2 @SERVER@ cookie b\nserver s3 @SERVER@ cookie c\n")
        .server_says(b"HTTP/1.1 200 OK\r\nSet-Cookie: SID=val; path=/\r\nSet-Cookie: x=y\r\nContent-Length: 0\r\n\r\n")
        .send(&[P_QUOTED, P_SPACED, P_TWICE, P_EMPTY])
        .normal(DATES),
    case("a pipeline of requests")
        .lines("default_backend @CASE@-b\n")
        .sections("backend @CASE@-b\nbalance roundrobin\ncookie SRV insert indirect nocache\nhttp-response set-header x-server %[srv_name]\nserver s1 @SERVER@ cookie a\nserver s2 @SERVER@ cookie b\nserver s3 @SERVER@ cookie c\n")
        .send(&[PIPELINE])
        .normal(DATES),
];

#[test]
fn cookie() {
    lab::skip_unless_installed!("haproxy");
    super::run::compare(&FAMILY);
}
