//! Tests the conversion between HTTP versions (request smuggling): HTTP/2 requests that would
//! become different or two requests in HTTP/1, or in the next connection. The bytes that
//! reach the origin are checked exactly.

use crate::bed::{PATIENCE, Peer, ProxyFixture, ScriptedOrigin, against_haproxy, pause};
use crate::raw2::{DATA, END_STREAM, HEADERS, Raw, block, frame, headers};
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// Bytes that reached the origin, by connection.
type ReceivedBytes = Arc<Mutex<Vec<String>>>;

/// Creates an origin that records the bytes of each connection, responds to the first head,
/// and closes when its client does.
fn recorder() -> (ScriptedOrigin, ReceivedBytes) {
    let seen: ReceivedBytes = Arc::default();
    let note = Arc::clone(&seen);
    let origin = ScriptedOrigin::new(move |mut peer: Peer, _| {
        let mut all = Vec::new();
        let mut answered = false;
        loop {
            let more = peer.more();
            all.append(&mut peer.ahead);
            let head = all.windows(4).position(|four| four == b"\r\n\r\n");
            let whole = head.is_some_and(|at| is_whole(&all[..at], &all[at + 4..]));
            if whole && !answered {
                answered = true;
                peer.try_send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
                peer.half_close();
            }
            if !matches!(more, Ok(true)) {
                break;
            }
        }
        let text = all.escape_ascii().to_string();
        note.lock().unwrap().push(text);
    });
    (origin, seen)
}

fn is_whole(head: &[u8], body: &[u8]) -> bool {
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    if head.contains("transfer-encoding: chunked") {
        return body.ends_with(b"0\r\n\r\n");
    }
    let length = head.split_once("content-length: ");
    let length = length.and_then(|(_, rest)| rest.split("\r\n").next()?.parse().ok());
    body.len() >= length.unwrap_or(0)
}

/// Returns the fields of a request, completed by missing pseudo-header fields.
fn list(fields: &[(&'static str, &'static str)]) -> Vec<(Vec<u8>, Vec<u8>)> {
    fields
        .iter()
        .map(|(name, value)| (unescape(name), unescape(value)))
        .collect()
}

/// Decodes `\xNN` to one byte.
fn unescape(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("\\x") {
        out.extend(rest[..at].bytes());
        out.push(u8::from_str_radix(&rest[at + 2..at + 4], 16).unwrap());
        rest = &rest[at + 4..];
    }
    out.extend(rest.bytes());
    out
}

const M: (&str, &str) = (":method", "GET");
const POST: (&str, &str) = (":method", "POST");
const S: (&str, &str) = (":scheme", "http");
const A: (&str, &str) = (":authority", "h");
const P: (&str, &str) = (":path", "/a");

/// A request with data and trailers, and the bytes that may reach the origin: none if the
/// request is rejected.
struct Case {
    name: &'static str,
    fields: Vec<(&'static str, &'static str)>,
    data: Option<&'static str>,
    trailers: Vec<(&'static str, &'static str)>,
    reaches: Option<&'static str>,
}

fn case(name: &'static str, fields: &[(&'static str, &'static str)]) -> Case {
    Case {
        name,
        fields: fields.to_vec(),
        data: None,
        trailers: Vec::new(),
        reaches: None,
    }
}

/// Returns an ordinary request with one more field.
fn with(name: &'static str, value: &'static str) -> Case {
    case(name, &[M, S, A, P, (name, value)])
}

impl Case {
    fn named(mut self, name: &'static str) -> Case {
        self.name = name;
        self
    }

    fn data(mut self, data: &'static str) -> Case {
        self.data = Some(data);
        self
    }

    fn trailer(mut self, name: &'static str, value: &'static str) -> Case {
        self.trailers.push((name, value));
        self
    }

    fn reaches(mut self, bytes: &'static str) -> Case {
        self.reaches = Some(bytes);
        self
    }
}

/// HTTP/1 form of an ordinary request.
const PLAIN: &str = "GET /a HTTP/1.1\\r\\nhost: h\\r\\n\\r\\n";

fn names() -> Vec<Case> {
    vec![
        with("", "x").named("an empty name"),
        with("X-Up", "x").named("a name in capitals"),
        with("x y", "x").named("a space in a name"),
        with("x\t", "x").named("a tab in a name"),
        with("x:y", "x").named("a colon in a name"),
        with("x\r\nevil: 1\r\ny", "x").named("lines in a name"),
        with("x\ny", "x").named("LF in a name"),
        with("x\ry", "x").named("CR in a name"),
        with("x\0y", "x").named("NUL in a name"),
        with("x\\x80", "x").named("obs-text in a name"),
        with("x\x7f", "x").named("DEL in a name"),
        with("x(y)", "x").named("brackets in a name"),
        with(" x", "x").named("a leading space in a name"),
        with("host ", "x").named("host with a space"),
        with("content-length ", "5").named("content-length with a space"),
        with("transfer-encoding:", "chunked").named("transfer-encoding with a colon"),
        with(":x", "y").named("an unknown pseudo-header"),
        with(":status", "200").named("an answer's pseudo-header"),
        with(":", "y").named("a colon alone"),
        case("a pseudo-header behind others", &[M, S, A, ("x", "y"), P]),
    ]
}

fn values() -> Vec<Case> {
    vec![
        with("x", "a\r\nevil: 1").named("CRLF in a value"),
        with("x", "a\nevil: 1").named("LF in a value"),
        with("x", "a\rb").named("CR in a value"),
        with("x", "a\0b").named("NUL in a value"),
        with("x", "a\r\n\r\nGET /evil HTTP/1.1\r\n\r\n").named("a request in a value"),
        with("cookie", "a=b\r\nevil: 1").named("CRLF in a cookie"),
        with("host", "h\r\nevil: 1").named("CRLF in host"),
        with("connection", "x").named("connection"),
        with("connection", "close").named("connection: close"),
        with("keep-alive", "x").named("keep-alive"),
        with("proxy-connection", "x").named("proxy-connection"),
        with("upgrade", "h2c").named("upgrade"),
        with("http2-settings", "AAMAAABkAARAAAAAAAIAAAAA").named("http2-settings"),
        with("transfer-encoding", "chunked").named("transfer-encoding"),
        with("transfer-encoding", "identity").named("another transfer-encoding"),
        with("te", "trailers, chunked").named("te with more"),
        with("te", "chunked").named("te without trailers"),
        with("host", "other").named("host against authority"),
        with("x", " a ")
            .named("blanks around a value")
            .reaches("GET /a HTTP/1.1\\r\\nhost: h\\r\\nx: a\\r\\n\\r\\n"),
        with("te", "trailers")
            .named("te")
            .reaches("GET /a HTTP/1.1\\r\\nhost: h\\r\\nte: trailers\\r\\n\\r\\n"),
        with("host", "h")
            .named("the same host again")
            .reaches(PLAIN),
        case(
            "crumbs of cookies",
            &[M, S, A, P, ("cookie", "a=b"), ("cookie", "c=d")],
        )
        .reaches("GET /a HTTP/1.1\\r\\nhost: h\\r\\ncookie: a=b; c=d\\r\\n\\r\\n"),
    ]
}

fn pseudo_headers() -> Vec<Case> {
    vec![
        case("no method", &[S, A, P]),
        case("no scheme", &[M, A, P]),
        case("no path", &[M, S, A]),
        case("method twice", &[M, M, S, A, P]),
        case("path twice", &[M, S, A, P, (":path", "/b")]),
        case("scheme twice", &[M, S, S, A, P]),
        case("authority twice", &[M, S, A, A, P]),
        case("an empty method", &[(":method", ""), S, A, P]),
        case(
            "a space in the method",
            &[(":method", "GET /evil HTTP/1.1\r\nx:"), S, A, P],
        ),
        case("a blank in the method", &[(":method", "GET "), S, A, P]),
        case("PRI", &[(":method", "PRI"), S, A, P]),
        case("NUL in the method", &[(":method", "G\0T"), S, A, P]),
        case("an empty path", &[M, S, A, (":path", "")]),
        case("a path without a slash", &[M, S, A, (":path", "a")]),
        case("an absolute path", &[M, S, A, (":path", "http://evil/a")]),
        case("a star for GET", &[M, S, A, (":path", "*")]),
        case("a space in the path", &[M, S, A, (":path", "/a HTTP/1.1")]),
        case(
            "CRLF in the path",
            &[M, S, A, (":path", "/a HTTP/1.1\r\nevil: 1\r\n")],
        ),
        case("a tab in the path", &[M, S, A, (":path", "/a\tb")]),
        case("NUL in the path", &[M, S, A, (":path", "/a\0b")]),
        case("DEL in the path", &[M, S, A, (":path", "/a\x7f")]),
        case("obs-text in the path", &[M, S, A, (":path", "/\\xff")]),
    ]
}

fn authorities() -> Vec<Case> {
    vec![
        case("an empty authority", &[M, S, (":authority", ""), P]),
        case(
            "a space in the authority",
            &[M, S, (":authority", "h evil"), P],
        ),
        case(
            "CRLF in the authority",
            &[M, S, (":authority", "h\r\nevil: 1"), P],
        ),
        case(
            "a slash in the authority",
            &[M, S, (":authority", "h/evil"), P],
        ),
        case(
            "a query in the authority",
            &[M, S, (":authority", "h?evil"), P],
        ),
        case(
            "a comma in the authority, as names may have",
            &[M, S, (":authority", "h,i"), P],
        )
        .reaches("GET /a HTTP/1.1\\r\\nhost: h,i\\r\\n\\r\\n"),
        case("NUL in the authority", &[M, S, (":authority", "h\0"), P]),
        case(
            "a port that is none, as in HTTP/1",
            &[M, S, (":authority", "h:i"), P],
        )
        .reaches("GET /a HTTP/1.1\\r\\nhost: h:i\\r\\n\\r\\n"),
    ]
}

fn schemes_and_tunnels() -> Vec<Case> {
    vec![
        case("an empty scheme", &[M, (":scheme", ""), A, P]),
        case(
            "CRLF in the scheme",
            &[M, (":scheme", "http\r\nevil: 1"), A, P],
        ),
        case(
            "a URL in the scheme",
            &[M, (":scheme", "http://evil/?"), A, P],
        ),
        case(
            ":protocol without CONNECT",
            &[M, (":protocol", "websocket"), S, A, P],
        ),
        case("CONNECT with a path", &[(":method", "CONNECT"), A, P]),
        case(
            "CONNECT with a scheme",
            &[(":method", "CONNECT"), S, (":authority", "h:1")],
        ),
        case("CONNECT without a port", &[(":method", "CONNECT"), A]),
        case("CONNECT for nobody", &[(":method", "CONNECT")]),
        case(
            "CONNECT with CRLF",
            &[(":method", "CONNECT"), (":authority", "h:1\r\nx: 1")],
        ),
        case(
            "a tunnel of HTTP/2 by extended CONNECT",
            &[(":method", "CONNECT"), (":protocol", "h2c"), S, A, P],
        ),
        case(
            "CRLF in the protocol",
            &[
                (":method", "CONNECT"),
                (":protocol", "x\r\nevil: 1"),
                S,
                A,
                P,
            ],
        ),
        case(
            "two hosts without an authority",
            &[M, S, P, ("host", "h"), ("host", "evil")],
        ),
    ]
}

/// Returns requests that HAProxy 2.6 forwards although RFC 9113 or RFC 9110 forbid them, and
/// those that must not be rejected.
fn stricter() -> Vec<Case> {
    vec![
        case(
            "a user in the authority",
            &[M, S, (":authority", "evil@h"), P],
        ),
        case(
            "a user in the authority, against host",
            &[M, S, (":authority", "evil@h"), P, ("host", "h")],
        ),
        case("a fragment", &[M, S, A, (":path", "/a#b")]),
        case("half an address", &[M, S, (":authority", "[::1"), P]),
        case("a space in host", &[M, S, P, ("host", "h evil")]),
        case("a slash in host", &[M, S, P, ("host", "h/evil")]),
        case("two slashes", &[M, S, A, (":path", "//evil/a")])
            .reaches("GET //evil/a HTTP/1.1\\r\\nhost: h\\r\\n\\r\\n"),
        // HAProxy 2.6 sends the server a URL.
        case("a scheme of its own", &[M, (":scheme", "javascript"), A, P]).reaches(PLAIN),
        case(
            "the port of the scheme",
            &[M, S, (":authority", "h:80"), P, ("host", "h")],
        )
        .reaches(PLAIN),
        case(
            "OPTIONS of all",
            &[(":method", "OPTIONS"), S, A, (":path", "*")],
        )
        .reaches("OPTIONS * HTTP/1.1\\r\\nhost: h\\r\\n\\r\\n"),
        with("x", "a\tb")
            .named("a tab in a value")
            .reaches("GET /a HTTP/1.1\\r\\nhost: h\\r\\nx: a\\tb\\r\\n\\r\\n"),
    ]
}

fn lengths() -> Vec<Case> {
    let post = |name: &'static str, length: &'static str| {
        case(name, &[POST, S, A, P, ("content-length", length)])
    };
    vec![
        post("a length and no body", "5"),
        post("a length with a sign", "+5").data("hello"),
        post("a negative length", "-1").data("hello"),
        post("a length in hexadecimal", "0x5").data("hello"),
        post("a length that is empty", "").data("hello"),
        post("a length above 64 bits", "18446744073709551621").data("hello"),
        post("two lengths in one", "5, 6").data("hello"),
        case(
            "two lengths",
            &[
                POST,
                S,
                A,
                P,
                ("content-length", "5"),
                ("content-length", "6"),
            ],
        )
        .data("hello"),
        case(
            "a length and transfer-encoding",
            &[
                POST,
                S,
                A,
                P,
                ("content-length", "5"),
                ("transfer-encoding", "chunked"),
            ],
        )
        .data("hello"),
        post("the right length", "5")
            .data("hello")
            .reaches("POST /a HTTP/1.1\\r\\nhost: h\\r\\ncontent-length: 5\\r\\n\\r\\nhello"),
        case("no length", &[POST, S, A, P])
            .data("0\r\n\r\nGET /evil HTTP/1.1\r\n\r\n")
            .reaches(
                "POST /a HTTP/1.1\\r\\nhost: h\\r\\ntransfer-encoding: chunked\\r\\n\\r\\n\
             1B\\r\\n0\\r\\n\\r\\nGET /evil HTTP/1.1\\r\\n\\r\\n\\r\\n0\\r\\n\\r\\n",
            ),
    ]
}

fn run(bed: &ProxyFixture, seen: &ReceivedBytes, case: &Case) -> String {
    let mut client = Raw::client(bed.client());
    let fields = list(&case.fields);
    let fields: Vec<_> = fields.iter().map(|(n, v)| (&n[..], &v[..])).collect();
    let more = case.data.is_some() || !case.trailers.is_empty();
    client.send(headers(1, &block(&fields), !more));
    if let Some(data) = case.data {
        let end = if case.trailers.is_empty() {
            END_STREAM
        } else {
            0
        };
        client.send(frame(DATA, end, 1, data.as_bytes()));
    }
    if !case.trailers.is_empty() {
        let trailers = list(&case.trailers);
        let trailers: Vec<_> = trailers.iter().map(|(n, v)| (&n[..], &v[..])).collect();
        client.send(headers(1, &block(&trailers), true));
    }
    let outcome = client.outcome(1);
    drop(client);
    if case.reaches.is_some() {
        let at = Instant::now();
        while seen.lock().unwrap().is_empty() && at.elapsed() < PATIENCE {
            pause(1);
        }
    }
    outcome
}

#[test]
fn requests_ambiguous_in_http1_reach_no_server() {
    let (origin, seen) = recorder();
    let bed = ProxyFixture::new(&origin.behind("", ""));
    let mut wrong = Vec::new();
    let cases: Vec<Case> = [
        names(),
        values(),
        pseudo_headers(),
        authorities(),
        schemes_and_tunnels(),
        lengths(),
        stricter(),
    ]
    .into_iter()
    .flatten()
    .collect();
    assert!(cases.len() > 60);
    for case in &cases {
        let outcome = run(&bed, &seen, case);
        // When this request arrives at the origin, all bytes that were sent to the origin before
        // have arrived.
        let mut good = Raw::client(bed.client());
        good.send(headers(1, &crate::raw2::get("/good"), true));
        assert_eq!(good.outcome(1), "200", "{}", case.name);
        let is_good = |one: &String| one.starts_with("GET /good ");
        let at = Instant::now();
        while !seen.lock().unwrap().iter().any(is_good) && at.elapsed() < PATIENCE {
            pause(1);
        }
        let mut reached = std::mem::take(&mut *seen.lock().unwrap());
        reached.retain(|one| !is_good(one));
        let refused = outcome != "200";
        let fine = match case.reaches {
            None => refused && reached.is_empty(),
            Some(bytes) => !refused && reached == [bytes],
        };
        if against_haproxy() {
            println!("{}: {outcome} {reached:?}", case.name);
        } else if !fine {
            wrong.push(format!("{}: {outcome} {reached:?}", case.name));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn body_of_wrong_length_is_never_a_complete_request() {
    let (origin, seen) = recorder();
    let bed = ProxyFixture::new(&origin.behind("", ""));
    let post = |name, length| case(name, &[POST, S, A, P, ("content-length", length)]);
    let plain = |name| case(name, &[POST, S, A, P]);
    let cases = [
        post("shorter than declared", "50").data("hello"),
        post("longer than declared", "3").data("helloGET /evil HTTP/1.1\r\n\r\n"),
        post("trailers before the end", "50")
            .data("hello")
            .trailer("x", "y"),
        plain("a pseudo-header in trailers")
            .data("hello")
            .trailer(":path", "/evil"),
        plain("content-length in trailers")
            .data("hello")
            .trailer("content-length", "5"),
        plain("transfer-encoding in trailers")
            .data("hello")
            .trailer("transfer-encoding", "chunked"),
        plain("host in trailers")
            .data("hello")
            .trailer("host", "evil"),
        plain("connection in trailers")
            .data("hello")
            .trailer("connection", "close"),
        plain("CRLF in trailers")
            .data("hello")
            .trailer("x", "y\r\n\r\nGET /evil HTTP/1.1\r\n\r\n"),
        plain("capitals in trailers")
            .data("hello")
            .trailer("X", "y"),
        plain("an empty name in trailers")
            .data("hello")
            .trailer("", "y"),
    ];
    for case in &cases {
        let outcome = run(&bed, &seen, case);
        if against_haproxy() {
            println!("{}: {outcome}", case.name);
            continue;
        }
        assert!(outcome.contains("RST 1"), "{}: {outcome}", case.name);
        settled_without(&bed, &seen, case.name);
    }
}

/// Checks that the bytes at the origin are no whole request, and no second one.
fn settled_without(bed: &ProxyFixture, seen: &ReceivedBytes, name: &str) {
    bed.counts("back/s", "scur", "");
    let at = Instant::now();
    // The origin notes a connection when it has ended.
    loop {
        let reached = seen.lock().unwrap().clone();
        for one in &reached {
            let (head, body) = one.split_once("\\r\\n\\r\\n").unwrap_or((one, ""));
            let chunked = head.contains("transfer-encoding: chunked");
            assert!(!chunked || !body.contains("0\\r\\n"), "{name}: {one}");
            assert!(!body.contains("evil"), "{name}: {one}");
            let length = head.split_once("content-length: ").map(|(_, rest)| rest);
            let length = length.and_then(|rest| rest.split("\\r").next()?.parse::<usize>().ok());
            assert!(length.is_none_or(|n| body.len() < n), "{name}: {one}");
        }
        // Ends when the origin has recorded the connection, which the proxy closes because its
        // request is truncated, or after 300 ms without a record.
        if !reached.is_empty() || at.elapsed().as_millis() > 300 {
            seen.lock().unwrap().clear();
            return;
        }
        pause(5);
    }
}

#[test]
fn data_for_a_refused_tunnel_reaches_no_server() {
    const EVIL: &[u8] = b"GET /evil HTTP/1.1\r\nHost: evil\r\n\r\n";
    let (origin, seen) = recorder();
    let bed = ProxyFixture::new(&origin.behind("", ""));
    let extended = |protocol| {
        let connect = (":method", "CONNECT");
        vec![connect, (":protocol", protocol), S, A, P]
    };
    let tunnels = [
        extended("websocket"),
        extended("x"),
        vec![(":method", "CONNECT"), (":authority", "h:1")],
    ];
    for fields in tunnels {
        let mut client = Raw::client(bed.client());
        let fields = list(&fields);
        let fields: Vec<_> = fields.iter().map(|(n, v)| (&n[..], &v[..])).collect();
        // Sends data before the server has responded to the request for a tunnel. The server
        // accepts a plain CONNECT, so the data that follows belongs to its tunnel.
        let tunnel = fields.iter().all(|(name, _)| *name != b":protocol");
        client.send(headers(1, &block(&fields), false));
        client.send(frame(DATA, 0, 1, EVIL));
        if tunnel {
            client.send(frame(DATA, END_STREAM, 1, b""));
        }
        client.outcome(1);
        drop(client);
        let at = Instant::now();
        while seen.lock().unwrap().is_empty() && at.elapsed() < PATIENCE {
            pause(1);
        }
        let reached = std::mem::take(&mut *seen.lock().unwrap());
        assert_eq!(reached.len(), 1, "{reached:?}");
        let behind = reached[0].split_once("\\r\\n\\r\\n").map(|(_, rest)| rest);
        assert!(tunnel || behind == Some(""), "{reached:?}");
    }
}

/// Creates an HTTP/2 origin that records all its requests.
fn recorder2() -> (ScriptedOrigin, ReceivedBytes) {
    let seen: ReceivedBytes = Arc::default();
    let note = Arc::clone(&seen);
    let origin = ScriptedOrigin::new(move |peer: Peer, _| {
        let Some(mut raw) = Raw::origin(peer) else {
            return;
        };
        while let Some(one) = raw.next() {
            match one.kind {
                HEADERS => {
                    let text = raw.fields(&one.payload);
                    let first = text.starts_with(':');
                    note.lock().unwrap().push(text);
                    if !first || one.flags & END_STREAM != 0 {
                        raw.send(headers(one.stream, &block(&[(b":status", b"200")]), true));
                    }
                }
                DATA => {
                    let text = format!("{}\n", one.payload.escape_ascii());
                    note.lock().unwrap().push(text);
                    if one.flags & END_STREAM != 0 {
                        raw.send(headers(one.stream, &block(&[(b":status", b"200")]), true));
                    }
                }
                _ => {}
            }
        }
    });
    (origin, seen)
}

/// Returns HTTP/1 requests, and the exact request that reaches an HTTP/2 server, if any.
fn old_requests() -> Vec<(&'static str, Option<&'static str>)> {
    const GET: &str = ":method: GET\n:scheme: http\n:authority: h\n:path: /a\n";
    vec![
        ("GET /a HTTP/1.1\r\nHost: h\r\n\r\n", Some(GET)),
        (
            "GET /a HTTP/1.1\r\nHost: h\r\nConnection: x, close\r\nKeep-Alive: 5\r\nProxy-Connection: x\r\n\r\n",
            Some(GET),
        ),
        (
            "GET /a HTTP/1.1\r\nHost: h\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\nConnection: upgrade, http2-settings\r\n\r\n",
            Some(GET),
        ),
        (
            // The value `chunked` is removed, because an HTTP/2 stream has no chunks.
            "GET /a HTTP/1.1\r\nHost: h\r\nTE: chunked, trailers\r\n\r\n",
            Some(":method: GET\n:scheme: http\n:authority: h\n:path: /a\nte: trailers\n"),
        ),
        ("GET /a HTTP/1.1\r\nHost: h\r\n:path: /evil\r\n\r\n", None),
        ("GET /a HTTP/1.1\r\nHost: h\r\n:method: EVIL\r\n\r\n", None),
        ("GET /a HTTP/1.1\r\nHost: h\r\n: x\r\n\r\n", None),
        ("GET /a HTTP/1.1\r\nHost: h\r\nX y: z\r\n\r\n", None),
        ("GET /a HTTP/1.1\r\nHost: h\r\nX : z\r\n\r\n", None),
        ("GET /a HTTP/1.1\r\nHost: h\r\nX: a\rb\r\n\r\n", None),
        ("GET /a HTTP/1.1\r\nHost: h\r\nX: a\0b\r\n\r\n", None),
        ("GET /a HTTP/1.1\r\nHost: h\r\nHost: evil\r\n\r\n", None),
        ("GET /a HTTP/1.1\r\nHost: h evil\r\n\r\n", None),
        ("GET http://evil/a HTTP/1.1\r\nHost: h\r\n\r\n", None),
        ("GET a HTTP/1.1\r\nHost: h\r\n\r\n", None),
        ("GET /a\tb HTTP/1.1\r\nHost: h\r\n\r\n", None),
        ("GET /a b HTTP/1.1\r\nHost: h\r\n\r\n", None),
        ("G(T /a HTTP/1.1\r\nHost: h\r\n\r\n", None),
        (
            "POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked, x\r\n\r\n0\r\n\r\n",
            None,
        ),
        (
            "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
            None,
        ),
        (
            "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: +5\r\n\r\nhello",
            None,
        ),
        (
            "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello",
            Some(
                ":method: POST\n:scheme: http\n:authority: h\n:path: /a\ncontent-length: 5\nhello\n",
            ),
        ),
        (
            "POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5;evil\r\nhello\r\n0\r\n\r\n",
            Some(":method: POST\n:scheme: http\n:authority: h\n:path: /a\nhello\n"),
        ),
        (
            "POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nContent-Length: 9\r\nHost: evil\r\nX: y\r\nTransfer-Encoding: x\r\n\r\n",
            Some(":method: POST\n:scheme: http\n:authority: h\n:path: /a\nhello\nx: y\n"),
        ),
    ]
}

#[test]
fn connection_headers_are_dropped_for_http2_servers() {
    let (origin, seen) = recorder2();
    let text = format!(
        "frontend front\n bind 127.0.0.1:{{0}}\n default_backend back\n\
         backend back\n server s 127.0.0.1:{} proto h2\n",
        origin.port
    );
    let bed = ProxyFixture::new(&text);
    let mut wrong = Vec::new();
    for (request, reaches) in old_requests() {
        let mut client = bed.client();
        client.send(request);
        let status = client.answer().status;
        assert_eq!(
            bed.client().ask("GET /good HTTP/1.1\r\nHost: h\r\n\r\n"),
            "200 "
        );
        let mut reached = std::mem::take(&mut *seen.lock().unwrap());
        reached.retain(|one| !one.contains(":path: /good\n"));
        let reached = reached.concat();
        let fine = (status == 200) == reaches.is_some() && reached == reaches.unwrap_or_default();
        if against_haproxy() {
            println!("{request:?}: {status} {reached:?}");
        } else if !fine {
            wrong.push(format!("{request:?}: {status} {reached:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
