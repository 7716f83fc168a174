//! Tests HTTP messages, from the start line to the written bytes.

use super::*;

fn request(target: &str) -> HttpMessage {
    let mut m = HttpMessage::new();
    m.begin_request(b"GET", target.as_bytes(), HttpVersion::Http11)
        .unwrap();
    m.add(b"Host", b"h").unwrap();
    m
}

fn wire(m: &HttpMessage) -> String {
    let mut out = Vec::new();
    m.write_http1(&mut out);
    assert_eq!(out.len(), m.wire_len());
    String::from_utf8(out).unwrap()
}

#[test]
fn a_message_is_small() {
    assert!(
        size_of::<HttpMessage>() <= 112,
        "{}",
        size_of::<HttpMessage>()
    );
}

#[test]
fn a_request_writes_what_it_was_made_of() {
    let mut m = request("/a?b");
    m.add(b"X-Y", b"z").unwrap();
    assert_eq!(wire(&m), "GET /a?b HTTP/1.1\r\nhost: h\r\nx-y: z\r\n\r\n");
    m.set_version(HttpVersion::Http10);
    m.set_method(b"PURGE").unwrap();
    m.remove(b"host");
    assert_eq!(wire(&m), "PURGE /a?b HTTP/1.0\r\nx-y: z\r\n\r\n");
    assert_eq!(
        m.start(),
        Some(StartLine::Request {
            method: b"PURGE",
            target: b"/a?b",
            version: HttpVersion::Http10
        })
    );
    assert!(m.set_method(b"A B").is_err() && m.set_method(b"").is_err());
    m.clear();
    assert_eq!(m.start(), None);
    assert_eq!(
        (m.method(), m.target(), m.path(), m.status()),
        (&b""[..], &b""[..], &b""[..], 0)
    );
}

#[test]
fn a_response_writes_what_it_was_made_of() {
    let mut m = HttpMessage::new();
    m.begin_response(HttpVersion::Http11, 200, b"Fine so far")
        .unwrap();
    m.add(b"A", b"b").unwrap();
    assert_eq!(wire(&m), "HTTP/1.1 200 Fine so far\r\na: b\r\n\r\n");
    m.set_status(404, None).unwrap();
    m.set_version(HttpVersion::Http10);
    assert_eq!(wire(&m), "HTTP/1.0 404 Not Found\r\na: b\r\n\r\n");
    m.set_status(999, Some(b"")).unwrap();
    assert_eq!(wire(&m), "HTTP/1.0 999 \r\na: b\r\n\r\n");
    assert_eq!((m.status(), m.reason()), (999, &b""[..]));
    assert!(m.set_status(200, Some(b"a\r\nb: c")).is_err());
    m.set_status(20, None).unwrap();
    assert_eq!(m.status(), 500);
}

#[test]
fn the_parts_of_a_target_are_haproxys() {
    // Each row has a target, its path, its path with the query, and its query.
    let table = [
        ("/a/b?c", "/a/b", "/a/b?c", Some("c")),
        ("http://a/b?c", "/b", "/b?c", Some("c")),
        ("http://a", "", "", None),
        ("*", "", "", None),
        ("http://a/?", "/", "/?", Some("")),
        ("/a?", "/a", "/a?", Some("")),
        ("//a/b", "//a/b", "//a/b", None),
        ("http:///x", "/x", "/x", None),
        ("/a;b?c", "/a;b", "/a;b?c", Some("c")),
        ("/a/b?c?d", "/a/b", "/a/b?c?d", Some("c?d")),
        ("a:80", "", "", None),
        ("/http://x/y", "/http://x/y", "/http://x/y", None),
    ];
    for (target, path, pathq, query) in table {
        let m = request(target);
        assert_eq!(m.path(), path.as_bytes(), "{target}");
        assert_eq!(m.path_and_query(), pathq.as_bytes(), "{target}");
        assert_eq!(m.query(), query.map(str::as_bytes), "{target}");
    }
    assert_eq!(
        request("http://u:p@a:8/b").target_authority(),
        Some(&b"u:p@a:8"[..])
    );
    assert_eq!(request("/").target_authority(), None);
}

type Setter = fn(&mut HttpMessage, &[u8]) -> Result<(), MessageEditError>;

#[test]
fn targets_are_rewritten_as_haproxy_does() {
    let (path, pathq, query, uri): (Setter, Setter, Setter, Setter) = (
        HttpMessage::set_path,
        HttpMessage::set_path_and_query,
        HttpMessage::set_query,
        HttpMessage::set_target,
    );
    let table: &[(&str, Setter, &str, &str, &str)] = &[
        ("/a/b?c=d", path, "/n", "/n?c=d", "h"),
        ("/a/b?c=d", pathq, "/n?q", "/n?q", "h"),
        ("/a/b?c=d", query, "q=1", "/a/b?q=1", "h"),
        ("/a/b?c=d", query, "?q=1", "/a/b??q=1", "h"),
        ("/a/b?c=d", uri, "/u?x", "/u?x", "h"),
        ("/a/b?c=d", uri, "http://z/u", "http://z/u", "z"),
        ("/a/b?c=d", uri, "http://u@z:8/u", "http://u@z:8/u", "z:8"),
        ("/a/b?c=d", query, "", "/a/b?", "h"),
        ("/a/b?c=d", path, "/n?x", "/n?x?c=d", "h"),
        ("http://h/a/b?c=d", path, "/n", "http://h/n?c=d", "h"),
        ("http://h/a/b?c=d", pathq, "/n?q", "http://h/n?q", "h"),
        ("http://h/a/b?c=d", query, "q=1", "http://h/a/b?q=1", "h"),
        ("http://h/a/b?c=d", uri, "/u?x", "/u?x", "h"),
        ("http://h", path, "/n", "/n", "h"),
        ("http://h", pathq, "/n?q", "/n?q", "h"),
        ("http://h", query, "", "http://h", "h"),
        ("*", path, "/n", "/n", "h"),
        ("*", pathq, "/n?q", "/n?q", "h"),
        ("/a?", path, "/n", "/n?", "h"),
        ("/a", query, "q=1", "/a?q=1", "h"),
        ("/a", query, "", "/a", "h"),
        // Here HAProxy writes a target that no server can parse.
        ("/a/b?c=d", path, "", "/?c=d", "h"),
        ("/a/b?c=d", path, "n", "/n?c=d", "h"),
        ("http://h/a/b?c=d", path, "n", "http://h/n?c=d", "h"),
        ("http://h", query, "q=1", "http://h/?q=1", "h"),
        ("*", query, "q=1", "*", "h"),
    ];
    for (target, set, value, expected, host) in table {
        let mut m = request(target);
        set(&mut m, value.as_bytes()).unwrap();
        let expected = format!("GET {expected} HTTP/1.1\r\nhost: {host}\r\n\r\n");
        assert_eq!(wire(&m), expected, "{target} {value}");
    }
    for bad in ["z y", "/a\r\n", "/\0", "/\t", "/\u{7f}"] {
        let mut m = request("/a");
        for set in [path, pathq, query, uri] {
            assert!(set(&mut m, bad.as_bytes()).is_err());
        }
        assert_eq!(m.target(), b"/a");
    }
}

#[test]
fn the_host_of_an_absolute_target_follows_the_header() {
    let mut m = request("http://h/a?c");
    m.set(b"Host", b"zz").unwrap();
    assert_eq!(wire(&m), "GET http://zz/a?c HTTP/1.1\r\nhost: zz\r\n\r\n");
}

#[test]
fn replaced_host_is_replaced_in_an_absolute_target() {
    let mut m = request("http://h/a?c");
    m.replace_value(0, b"zz").unwrap();
    assert_eq!(wire(&m), "GET http://zz/a?c HTTP/1.1\r\nhost: zz\r\n\r\n");
    let mut m = request("/a");
    m.replace_value(0, b"zz").unwrap();
    assert_eq!(wire(&m), "GET /a HTTP/1.1\r\nhost: zz\r\n\r\n");
}

#[test]
fn target_and_host_change_together_or_not_at_all() {
    type EditHost = fn(&mut HttpMessage, &[u8]) -> Result<(), MessageEditError>;
    let set: EditHost = |m, host| m.set(b"Host", host);
    let replace: EditHost = |m, host| m.replace_value(0, host);
    let set_target: EditHost = |m, host| m.set_target(&[b"http://", host, b"/a"].concat());
    for edit in [set, replace, set_target] {
        let mut m = request("http://h/a");
        let before = wire(&m);
        // The new host adds eight bytes to the target and eight to the header.
        for limit in before.len() - 2..before.len() + 14 {
            m.set_limit(limit);
            assert_eq!(edit(&mut m, b"hhhhhhhhh"), Err(MessageEditError::Full));
            assert_eq!(wire(&m), before, "{limit}");
        }
        m.set_limit(before.len() + 14);
        edit(&mut m, b"hhhhhhhhh").unwrap();
        assert_eq!(
            wire(&m),
            "GET http://hhhhhhhhh/a HTTP/1.1\r\nhost: hhhhhhhhh\r\n\r\n"
        );
        let before = wire(&m);
        assert!(edit(&mut m, b"a\rb").is_err());
        assert_eq!(wire(&m), before);
    }
    // The new target adds a host to a request that had none.
    let mut m = request("/a");
    m.remove(b"host");
    m.set_limit(m.fields().wire_len() + 14);
    assert_eq!(m.set_target(b"http://h/a"), Err(MessageEditError::Full));
    assert_eq!(wire(&m), "GET /a HTTP/1.1\r\n\r\n");
}

#[test]
fn the_limit_counts_the_start_line() {
    let mut m = request("/");
    m.set_limit(40);
    assert_eq!(m.set_path(&[b'/'; 40]), Err(MessageEditError::Full));
    assert_eq!(m.add(b"x", &[b'y'; 40]), Err(MessageEditError::Full));
    assert_eq!(wire(&m), "GET / HTTP/1.1\r\nhost: h\r\n\r\n");
}
