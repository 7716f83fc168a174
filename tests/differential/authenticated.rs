//! Compares with HAProxy servers that authenticate connections (NTLM, Negotiate): the client stays
//! on its server.

use super::{Case, Family, case};

pub static FAMILY: Family = Family {
    cases: CASES,
    ..Family::named("authenticated")
};

const NTLM: &[u8] =
    b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: NTLM\r\nContent-Length: 2\r\n\r\nno";
const NEGOTIATE: &[u8] = b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Negotiate oRQwEg==\r\n\
    WWW-Authenticate: NTLM\r\nContent-Length: 2\r\n\r\nno";
const PROXY: &[u8] = b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: NTLM\r\n\
    Content-Length: 2\r\n\r\nno";
const BASIC: &[u8] =
    b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"x\"\r\nContent-Length: 2\r\n\r\nno";

/// Three requests of one client connection.
const THREE: &[u8] = b"GET /1 HTTP/1.1\r\nHost: h\r\n\r\n\
    GET /2 HTTP/1.1\r\nHost: h\r\nAuthorization: NTLM TlRMTVNTUAAB\r\n\r\n\
    GET /3 HTTP/1.1\r\nHost: h\r\nAuthorization: NTLM TlRMTVNTUAAD\r\nConnection: close\r\n\r\n";

const THREE_BASIC: &[u8] = b"GET /1 HTTP/1.1\r\nHost: h\r\n\r\n\
    GET /2 HTTP/1.1\r\nHost: h\r\nAuthorization: Basic YTpi\r\n\r\n\
    GET /3 HTTP/1.1\r\nHost: h\r\nAuthorization: Basic YTpj\r\nConnection: close\r\n\r\n";

/// Two servers that take turns, unless the client stays; the response names the server.
const TWO: &str = "backend @CASE@\nbalance roundrobin\nhttp-response set-header x-server %s\n\
    server one @SERVER@\nserver two @SERVER@\n";
const ALWAYS: &str = "backend @CASE@\nbalance roundrobin\nhttp-reuse always\n\
    http-response set-header x-server %s\nserver one @SERVER@\nserver two @SERVER@\n";
const NEVER: &str = "backend @CASE@\nbalance roundrobin\nhttp-reuse never\n\
    http-response set-header x-server %s\nserver one @SERVER@\nserver two @SERVER@\n";
const CLOSING: &str = "backend @CASE@\nbalance roundrobin\noption http-server-close\n\
    http-response set-header x-server %s\nserver one @SERVER@\nserver two @SERVER@\n";

const fn stays(name: &'static str, sections: &'static str, response: &'static [u8]) -> Case {
    case(name)
        .lines("default_backend @CASE@")
        .sections(sections)
        .server_says(response)
        .send(&[THREE, THREE])
}

static CASES: &[Case] = &[
    stays("NTLM", TWO, NTLM),
    stays("NTLM with http-reuse always", ALWAYS, NTLM),
    stays("NTLM with http-reuse never", NEVER, NTLM),
    stays("NTLM with http-server-close", CLOSING, NTLM),
    stays("Negotiate", TWO, NEGOTIATE),
    stays("proxy authentication", TWO, PROXY),
    stays("Basic", TWO, BASIC).send(&[THREE_BASIC]),
    stays("Basic with http-reuse always", ALWAYS, BASIC).send(&[THREE_BASIC]),
];

#[test]
fn authenticated() {
    lab::skip_unless_installed!("haproxy");
    super::run::compare(&FAMILY);
}
