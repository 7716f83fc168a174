//! Compares with HAProxy the credentials in a request, user lists, and how a client is asked to
//! authenticate.

use super::{Case, Family, Sample, case, sample};

pub static FAMILY: Family = Family {
    samples: SAMPLES,
    cases: CASES,
    refused: REFUSED,
    ..Family::named("users")
};

/// A request with the credentials `a:b:c`.
const BASIC: &str = "GET / HTTP/1.1\r\nHost: h\r\nAuthorization: Basic YTpiOmM=\r\n";
const BEARER: &str =
    "GET / HTTP/1.1\r\nHost: h\r\nAuthorization: bearer  tok en\r\nX-Token: Bearer other\r\n";
/// A request with the credentials `nocolon`.
const WITHOUT_COLON: &str = "GET / HTTP/1.1\r\nHost: h\r\nAuthorization: Basic bm9jb2xvbg==\r\n";
/// A request with the credentials `a:b`, a zero byte and `c`.
const WITH_ZERO: &str = "GET / HTTP/1.1\r\nHost: h\r\nAuthorization: Basic YTpiAGM=\r\n";
const WITH_COMMA: &str = "GET / HTTP/1.1\r\nHost: h\r\nAuthorization: bAsic   YTpi, foo\r\n";
const TWICE: &str =
    "GET / HTTP/1.1\r\nHost: h\r\nAuthorization: Basic YTpi\r\nAuthorization: Basic Yzpk\r\n";
const DIGEST: &str = "GET / HTTP/1.1\r\nHost: h\r\nAuthorization: Digest YTpi\r\n";
const BARE: &str = "GET / HTTP/1.1\r\nHost: h\r\nAuthorization: Basic\r\n";

static SAMPLES: &[Sample] = &[
    sample("http_auth_user").asked(BASIC),
    sample("http_auth_pass").asked(BASIC),
    sample("http_auth_type").asked(BASIC),
    sample("http_auth_bearer").asked(BASIC),
    sample("http_auth_user").asked(BEARER),
    sample("http_auth_type").asked(BEARER),
    sample("http_auth_bearer").asked(BEARER),
    sample("http_auth_bearer(x-token)").asked(BEARER),
    sample("http_auth_bearer(x-none)")
        .asked(BEARER)
        .differs("bearer-header"),
    sample("http_auth_user").asked(WITHOUT_COLON),
    sample("http_auth_type").asked(WITHOUT_COLON),
    sample("http_auth_pass").asked(WITH_ZERO),
    sample("http_auth_user").asked(WITH_COMMA),
    sample("http_auth_pass").asked(WITH_COMMA),
    sample("http_auth_user").asked(TWICE),
    sample("http_auth_type").asked(DIGEST),
    sample("http_auth_type").asked(BARE),
    sample("http_auth_user"),
];

const LISTS: &str = "userlist @CASE@\n group even users ann\n group odd\n \
    user ann insecure-password hello\n user bob password $1$abcdefgh$cHJi5PXp/ki/ktXzqlk6I1 groups even,odd\n \
    user cid password $5$rounds=1000$saltsalt$eKLZU9t9OoPWrqOQsoTIKG0aYkZ5rGOoOQhiIvoSWX2\n";

static CASES: &[Case] = &[
    case("lists")
        .covers(&["fetch http_auth", "fetch http_auth_group", "http-request action auth"])
        .sections(LISTS)
        .lines(
            "http-request set-header x-user %[http_auth_group(@CASE@)]\n\
             http-request set-header x-even yes if { http_auth_group(@CASE@) even }\n\
             http-request set-header x-odd yes if { http_auth_group(@CASE@) odd }\n\
             http-request set-header x-both yes if { http_auth_group(@CASE@) even odd }\n\
             http-request auth realm The\\ site unless { http_auth(@CASE@) }",
        )
        .send(&[
            b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: h\r\nAuthorization: Basic YW5uOmhlbGxv\r\nConnection: close\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: h\r\nAuthorization: Basic Ym9iOnNlY3JldA==\r\nConnection: close\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: h\r\nAuthorization: Basic Y2lkOnNlY3JldA==\r\nConnection: close\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: h\r\nAuthorization: Basic Y2lkOmhlbGxv\r\nConnection: close\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: h\r\nAuthorization: Basic em9lOnNlY3JldA==\r\nConnection: close\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer YW5uOmhlbGxv\r\nConnection: close\r\n\r\n",
            b"HEAD / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
        ]),
    case("proxied")
        .sections("userlist @CASE@\n user ann insecure-password hello\n")
        .lines("option http-use-proxy-header\nhttp-request auth realm x unless { http_auth(@CASE@) }")
        .send(&[
            b"GET http://h/ HTTP/1.1\r\nHost: h\r\nAuthorization: Basic YW5uOmhlbGxv\r\nConnection: close\r\n\r\n",
            b"GET http://h/ HTTP/1.1\r\nHost: h\r\nProxy-Authorization: Basic YW5uOmhlbGxv\r\nConnection: close\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
        ]),
    case("quotes")
        .lines("http-request auth realm a\\\"b")
        .send(&[b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"])
        .differs("realm-quotes"),
    case("default-realm")
        .lines("http-request auth")
        .send(&[b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"]),
];

static REFUSED: &[&str] = &[
    "http-request auth realm",
    "http-request auth foo",
    "http-request deny if { http_auth }",
    "http-request deny if { http_auth(nosuch) }",
    "http-request deny if { http_auth_group(nosuch) x }",
    "http-request deny if { http_auth_bearer(a,b) -m found }",
];

#[test]
fn users() {
    lab::skip_unless_installed!("haproxy");
    super::run::compare(&FAMILY);
}
