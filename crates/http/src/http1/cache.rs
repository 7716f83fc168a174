//! Cacheability of responses: `option checkcache` detects responses with which a shared cache would
//! give one user's cookie to everyone. A value; the reaction is elsewhere.

use crate::message::{HttpMessage, split_values};

/// Status codes whose responses are cached by default.
const CACHED: [u16; 11] = [200, 203, 204, 206, 300, 301, 404, 405, 410, 414, 501];
/// Methods whose responses are cached by default.
const SAFE: [&[u8]; 4] = [b"GET", b"HEAD", b"OPTIONS", b"TRACE"];
/// Directives of Cache-Control that keep a response, or its cookie, out of shared caches.
const FORBIDDING: [&[u8]; 6] = [
    b"private",
    b"no-store",
    b"no-cache",
    b"max-age=0",
    b"s-maxage=0",
    b"no-cache=\"set-cookie\"",
];

/// Returns whether a response sets a cookie and a shared cache may store it.
pub fn shares_cookie(request: &HttpMessage, response: &HttpMessage) -> bool {
    if response.get(b"set-cookie").is_none() {
        return false;
    }
    let (mut public, mut forbidden) = (false, false);
    for line in response.fields().get_all(b"cache-control") {
        for directive in split_values(line) {
            public |= directive.eq_ignore_ascii_case(b"public");
            forbidden |= forbids(directive);
        }
    }
    let mut pragma = response.fields().get_all(b"pragma").flat_map(split_values);
    if forbidden || pragma.any(|value| value.eq_ignore_ascii_case(b"no-cache")) {
        return false;
    }
    public || (CACHED.contains(&response.status()) && SAFE.contains(&request.method()))
}

/// Returns whether a shared cache may store a response, for `cookie … nocache`. Unlike `option
/// checkcache`, this requires an indication that the response is meant to be stored.
pub fn is_cacheable(request: &HttpMessage, response: &HttpMessage) -> bool {
    if !CACHED.contains(&response.status()) || !SAFE.contains(&request.method()) {
        return false;
    }
    let fields = response.fields();
    let mut meant = [&b"expires"[..], b"last-modified", b"etag"]
        .iter()
        .any(|name| fields.contains(name));
    for directive in fields.values(b"cache-control") {
        let sole_cookie = directive
            .get(..SET_COOKIE_LIST.len())
            .is_some_and(|d| d.eq_ignore_ascii_case(SET_COOKIE_LIST));
        if forbids(directive) && !sole_cookie {
            return false;
        }
        let begins = |name: &[u8]| {
            let start = directive.get(..name.len());
            start.is_some_and(|start| start.eq_ignore_ascii_case(name))
        };
        meant |= begins(b"max-age=") || begins(b"s-maxage=");
    }
    let mut pragma = fields.values(b"pragma");
    meant && !pragma.any(|value| value.eq_ignore_ascii_case(b"no-cache"))
}

/// Beginning of a list of fields that must not be cached, with cookies as the first.
const SET_COOKIE_LIST: &[u8] = b"no-cache=\"set-cookie";

fn forbids(directive: &[u8]) -> bool {
    // Matches a list that begins with the field, `no-cache="set-cookie, x"`, complete or split at
    // its comma.
    const LIST: &[u8] = SET_COOKIE_LIST;
    let listed = directive
        .get(..LIST.len())
        .is_some_and(|d| d.eq_ignore_ascii_case(LIST))
        && matches!(directive.get(LIST.len()), None | Some(b'"' | b',' | b' '));
    listed
        || FORBIDDING
            .iter()
            .any(|known| directive.eq_ignore_ascii_case(known))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::HttpVersion;

    type Field = (&'static str, &'static str);

    const COOKIE: Field = ("set-cookie", "a=b");

    /// Method, status and fields of the response, and whether its cookie is shared.
    const ANSWERS: &[(&str, u16, &[Field], bool)] = &[
        ("GET", 200, &[], false),
        ("GET", 200, &[COOKIE], true),
        ("HEAD", 404, &[COOKIE], true),
        ("GET", 302, &[COOKIE], false),
        ("POST", 200, &[COOKIE], false),
        ("POST", 200, &[COOKIE, ("cache-control", "public")], true),
        ("GET", 302, &[COOKIE, ("cache-control", "Public")], true),
        ("GET", 200, &[COOKIE, ("pragma", "no-cache")], false),
        ("GET", 200, &[COOKIE, ("cache-control", "max-age=60")], true),
        (
            "GET",
            200,
            &[COOKIE, ("cache-control", "x, private")],
            false,
        ),
        ("GET", 200, &[COOKIE, ("cache-control", "no-store")], false),
        ("GET", 200, &[COOKIE, ("cache-control", "max-age=0")], false),
        (
            "GET",
            200,
            &[COOKIE, ("cache-control", "s-maxage=0")],
            false,
        ),
        ("GET", 200, &[COOKIE, ("cache-control", "no-cache")], false),
        (
            "GET",
            200,
            &[COOKIE, ("cache-control", "no-cache=\"set-cookie\"")],
            false,
        ),
        (
            "GET",
            200,
            &[COOKIE, ("cache-control", "no-cache=\"set-cookie, x\"")],
            false,
        ),
        (
            "GET",
            200,
            &[COOKIE, ("cache-control", "no-cache=\"x\"")],
            true,
        ),
    ];

    #[test]
    fn a_cookie_is_shared_where_a_cache_may_keep_the_answer() {
        for (method, status, fields, shares) in ANSWERS {
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
                shares_cookie(&request, &response),
                *shares,
                "{method} {status} {fields:?}"
            );
        }
    }
}
