//! Decides whether a shared cache could store a response: `option checkcache` detects responses
//! with which a cache would give one user's cookie to everyone, and `cookie … nocache` must mark
//! such responses. The callers act on the result.

use crate::message::HttpMessage;

const CACHED: [u16; 11] = [200, 203, 204, 206, 300, 301, 404, 405, 410, 414, 501];
const SAFE: [&[u8]; 4] = [b"GET", b"HEAD", b"OPTIONS", b"TRACE"];
/// Directives of Cache-Control that keep a response out of shared caches.
const FORBIDDING: [&[u8]; 5] = [
    b"private",
    b"no-store",
    b"no-cache",
    b"max-age=0",
    b"s-maxage=0",
];
/// Beginning of a list of fields that must not be cached, with cookies as the first.
const SET_COOKIE_LIST: &[u8] = b"no-cache=\"set-cookie";

/// Parts of a response that a shared cache may store.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cacheability {
    pub response: bool,
    pub cookies: bool,
}

impl Cacheability {
    const NONE: Cacheability = Cacheability {
        response: false,
        cookies: false,
    };

    /// Evaluates a response like HAProxy: the last directive counts, and a response without any
    /// sign of freshness and without a validator is not stored.
    pub fn of(request: &HttpMessage, response: &HttpMessage) -> Cacheability {
        let fields = response.fields();
        let mut pragma = fields.values(b"pragma");
        if pragma.any(|value| value.eq_ignore_ascii_case(b"no-cache")) {
            return Cacheability::NONE;
        }
        let validators = [&b"expires"[..], b"last-modified", b"etag"];
        let mut is_meant = validators.iter().any(|name| fields.contains(name));
        let by_default = CACHED.contains(&response.status()) && SAFE.contains(&request.method());
        let mut may = Cacheability {
            response: by_default,
            cookies: by_default,
        };
        for directive in fields.values(b"cache-control") {
            let begins = |name: &[u8]| {
                let start = directive.get(..name.len());
                start.is_some_and(|start| start.eq_ignore_ascii_case(name))
            };
            let is = |name: &[u8]| directive.eq_ignore_ascii_case(name);
            if is(b"public") {
                (may.response, may.cookies) = (true, true);
            } else if FORBIDDING.iter().any(|name| is(name)) {
                may = Cacheability::NONE;
            } else if begins(SET_COOKIE_LIST) {
                may.cookies = false;
            } else {
                is_meant |= begins(b"max-age") || begins(b"s-maxage");
            }
        }
        if is_meant { may } else { Cacheability::NONE }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::HttpVersion;

    type Field = (&'static str, &'static str);

    const ETAG: Field = ("etag", "\"1\"");
    const NONE: Cacheability = Cacheability::NONE;
    const ALL: Cacheability = Cacheability {
        response: true,
        cookies: true,
    };
    const WITHOUT_COOKIES: Cacheability = Cacheability {
        response: true,
        cookies: false,
    };

    /// Method, status and fields of the response, and what may be stored.
    const RESPONSES: &[(&str, u16, &[Field], Cacheability)] = &[
        ("GET", 200, &[], NONE),
        ("GET", 200, &[ETAG], ALL),
        ("HEAD", 404, &[("last-modified", "x")], ALL),
        ("GET", 200, &[("expires", "x")], ALL),
        ("GET", 302, &[ETAG], NONE),
        ("POST", 200, &[ETAG], NONE),
        ("GET", 200, &[("cache-control", "public")], NONE),
        ("GET", 200, &[("cache-control", "must-revalidate")], NONE),
        ("POST", 200, &[ETAG, ("cache-control", "public")], ALL),
        ("GET", 302, &[("cache-control", "Public, max-age=5")], ALL),
        ("GET", 200, &[ETAG, ("pragma", "no-cache")], NONE),
        ("GET", 200, &[("cache-control", "max-age=60")], ALL),
        ("GET", 200, &[("cache-control", "s-maxage=60")], ALL),
        ("GET", 200, &[ETAG, ("cache-control", "x, private")], NONE),
        ("GET", 200, &[ETAG, ("cache-control", "no-store")], NONE),
        ("GET", 200, &[ETAG, ("cache-control", "max-age=0")], NONE),
        ("GET", 200, &[ETAG, ("cache-control", "s-maxage=0")], NONE),
        ("GET", 200, &[ETAG, ("cache-control", "no-cache")], NONE),
        (
            "GET",
            200,
            &[ETAG, ("cache-control", "private, public")],
            ALL,
        ),
        (
            "GET",
            200,
            &[ETAG, ("cache-control", "public, private")],
            NONE,
        ),
        (
            "GET",
            200,
            &[ETAG, ("cache-control", "no-cache=\"set-cookie\"")],
            WITHOUT_COOKIES,
        ),
        (
            "GET",
            200,
            &[ETAG, ("cache-control", "no-cache=\"Set-Cookie, x\"")],
            WITHOUT_COOKIES,
        ),
        (
            "GET",
            200,
            &[ETAG, ("cache-control", "no-cache=\"x\"")],
            ALL,
        ),
    ];

    #[test]
    fn caches_may_store_what_is_meant_for_them() {
        for (method, status, fields, wanted) in RESPONSES {
            let (mut request, mut response) = (HttpMessage::new(), HttpMessage::new());
            request
                .begin_request(method.as_bytes(), b"/", HttpVersion::Http11)
                .unwrap();
            response
                .begin_response(HttpVersion::Http11, *status, b"")
                .unwrap();
            for (name, value) in *fields {
                response.add(name.as_bytes(), value.as_bytes()).unwrap();
            }
            assert_eq!(
                Cacheability::of(&request, &response),
                *wanted,
                "{method} {status} {fields:?}"
            );
        }
    }
}
