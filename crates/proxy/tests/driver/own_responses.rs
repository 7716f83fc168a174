//! Tests responses that the proxy generates itself, in every phase of a request and for every
//! kind of client. Each has an end that the client can recognize, or closes the connection.

use crate::bed::{ProxyFixture, ScriptedOrigin, against_haproxy, request_body};
use crate::peer2::{Peer2, request};
use lab::ScratchDirectory;

const BODY: &str = "<html>failed</html>\n";

/// Response files: the head without its empty line, and the body.
const FILES: &[(&str, &str)] = &[
    // Debian delivers its error files in this form.
    (
        "HTTP/1.0 502 Bad Gateway\r\nCache-Control: no-cache\r\nConnection: close\r\nContent-Type: text/html",
        BODY,
    ),
    ("HTTP/1.0 502 Bad Gateway", BODY),
    ("HTTP/1.0 502 Bad Gateway\r\nConnection: keep-alive", BODY),
    ("HTTP/1.0 502 Bad Gateway\r\nContent-Length: 20", BODY),
    ("HTTP/1.0 502 Bad Gateway", ""),
    ("HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/html", BODY),
    (
        "HTTP/1.1 502 Bad Gateway\r\nConnection: close\r\nContent-Length: 20",
        BODY,
    ),
    ("HTTP/1.1 502 Bad Gateway\r\nContent-Length: 20", BODY),
    ("HTTP/1.1 502 Bad Gateway", ""),
    ("HTTP/1.1 204 No Content", ""),
    ("HTTP/1.0 304 Not Modified\r\nContent-Length: 5", ""),
];

/// Paths for the phases in which the proxy generates a response.
const PHASES: &[&str] = &[
    "deny",
    "deny-file",
    "return-file",
    "return-group",
    "tarpit",
    "auth",
    "rewrite",
    "monitor",
    "none",
    "refused",
    "junk",
    "cut",
    "closing",
    "silent",
    "response-deny",
    "response-deny-file",
    "response-return-file",
    "response-return-default",
    "response-return-group",
    "response-rewrite",
    "retried",
    "cookie",
    "server-close",
    "after-response",
];

/// Creates a server whose path selects the response.
fn server() -> ScriptedOrigin {
    ScriptedOrigin::new(|mut peer, _| {
        while let Some(head) = peer.head() {
            request_body(&mut peer, &head);
            let path = head.split(' ').nth(1).unwrap_or_default();
            let bytes = match path {
                "/junk" | "/retried" | "/server-close" | "/after-response" => "no response\r\n\r\n",
                "/cut" => "HTTP/1.1 200 OK\r\nContent-",
                "/closing" => "",
                "/silent" => {
                    peer.ends();
                    return;
                }
                "/cookie" => {
                    "HTTP/1.1 200 OK\r\nETag: \"1\"\r\nSet-Cookie: a=b\r\nContent-Length: 2\r\n\r\nok"
                }
                _ => "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
            };
            let whole = bytes.ends_with("ok");
            let bytes = if head.starts_with("HEAD ") {
                bytes.trim_end_matches("ok")
            } else {
                bytes
            };
            if !peer.try_send(bytes) || !whole {
                return;
            }
        }
    })
}

/// Returns the configuration of a proxy with this file wherever one is possible.
fn text(file: &str, status: u16, port: u16, dead: u16) -> String {
    let pages: String = [200, 401, 403, 500, 502, 503, 504]
        .map(|status| format!(" errorfile {status} {file}\n"))
        .concat();
    let big = "%[req.hdr(big)]".repeat(5);
    let backend =
        |name: &str, lines: &str| format!("backend {name}\n server s 127.0.0.1:{port}\n {lines}\n");
    let mut text = format!(
        "http-errors group\n errorfile 502 {file}\n\
         defaults paged\n mode http\n timeout client 10s\n timeout server 10s\n timeout connect 5s\n \
         timeout tarpit 10ms\n retries 0\n{pages}\
         frontend front from paged\n bind 127.0.0.1:{{0}}\n monitor-uri /monitor\n \
         http-request deny if {{ path /deny }}\n \
         http-request deny errorfile {file} if {{ path /deny-file }}\n \
         http-request return errorfile {file} if {{ path /return-file }}\n \
         http-request return status 502 errorfiles group if {{ path /return-group }}\n \
         http-request tarpit if {{ path /tarpit }}\n \
         http-request auth realm x if {{ path /auth }}\n \
         http-request set-header x {big} if {{ path /rewrite }}\n \
         use_backend %[path,field(2,/)] if !{{ path /second }}\n default_backend second\n\
         backend none\nbackend refused\n server s 127.0.0.1:{dead}\n"
    );
    for (name, lines) in [
        ("second", String::new()),
        ("junk", String::new()),
        ("cut", String::new()),
        ("closing", String::new()),
        ("silent", "timeout server 20ms".into()),
        ("response-deny", "http-response deny".into()),
        (
            "response-deny-file",
            format!("http-response deny errorfile {file}"),
        ),
        (
            "response-return-file",
            format!("http-response return errorfile {file}"),
        ),
        (
            "response-return-default",
            "http-response return status 502 default-errorfiles".into(),
        ),
        (
            "response-return-group",
            "http-response return status 502 errorfiles group".into(),
        ),
        (
            "response-rewrite",
            format!(
                "http-request set-var(txn.big) req.hdr(big)\n http-response set-header x {}",
                "%[var(txn.big)]".repeat(6)
            ),
        ),
        ("retried", "retry-on junk-response\n retries 1".into()),
        ("cookie", "option checkcache".into()),
        ("server-close", "option http-server-close".into()),
        (
            "after-response",
            format!("http-after-response set-status {status}\n http-after-response set-header x y"),
        ),
    ] {
        text += &backend(name, &lines);
    }
    text
}

fn status_of(head: &str) -> u16 {
    head[9..12].parse().unwrap()
}

/// Creates a proxy that responds with one of [`FILES`], which is written first.
fn bed_with(files: &ScratchDirectory, at: usize, origin: u16) -> ProxyFixture {
    let (head, body) = FILES[at];
    let file = files
        .write(&format!("{at}.http"), format!("{head}\r\n\r\n{body}"))
        .unwrap();
    let dead = lab::free_port().unwrap();
    let file = file.display().to_string();
    ProxyFixture::new(&text(&file, status_of(head), origin, dead))
}

/// Clients: method, version, additional header, request body.
const CLIENTS: &[(&str, &str, &str, &str)] = &[
    ("GET", "1.1", "", ""),
    ("GET", "1.1", "Connection: close\r\n", ""),
    ("GET", "1.0", "", ""),
    ("GET", "1.0", "Connection: keep-alive\r\n", ""),
    ("HEAD", "1.1", "", ""),
    ("POST", "1.1", "Content-Length: 3\r\n", "abc"),
];

#[test]
fn every_own_response_is_framed_or_closes() {
    let origin = server();
    let files = ScratchDirectory::new().unwrap();
    for (at, (head, body)) in FILES.iter().enumerate() {
        let bed = bed_with(&files, at, origin.port);
        for phase in PHASES {
            if against_haproxy() && matches!(*phase, "response-rewrite" | "cookie") {
                continue;
            }
            for client in CLIENTS {
                if *phase == "cookie" && client.0 == "POST" {
                    // No cache stores this response.
                    continue;
                }
                meets(&bed, phase, client, head, body);
            }
        }
    }
}

/// Sends a request, and another one behind it.
fn meets(
    bed: &ProxyFixture,
    phase: &str,
    (method, version, header, sent): &(&str, &str, &str, &str),
    head: &str,
    body: &str,
) {
    let what = format!("{phase}, {method} of HTTP/{version} {header:?}, file {head:?}");
    let big = if phase.contains("rewrite") {
        format!("Big: {}\r\n", "b".repeat(3000))
    } else {
        String::new()
    };
    let mut client = bed.client();
    client.send(format!(
        "{method} /{phase} HTTP/{version}\r\nHost: h\r\n{header}{big}\r\n{sent}\
         GET /second HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
    ));
    let answer = client.answer_of(*method == "HEAD");
    let is_bodiless = *method == "HEAD" || matches!(answer.status, 204 | 304);
    let expected = if is_bodiless { "" } else { body };
    assert_eq!(String::from_utf8_lossy(&answer.body), expected, "{what}");
    assert!(
        answer.head.matches("\r\nconnection: ").count() <= 1,
        "{what}"
    );
    let line = |text: &str| answer.head.to_ascii_lowercase().contains(text);
    let is_old = answer.head.starts_with("HTTP/1.0");
    let is_framed = line("\r\ncontent-length: ") || matches!(answer.status, 204 | 304);
    let says_keep = if is_old || *version == "1.0" {
        line("\r\nconnection: keep-alive")
    } else {
        !line("\r\nconnection: close")
    };
    let wishes = !header.contains("close") && (*version == "1.1" || header.contains("keep-alive"));
    let keeps = wishes && is_framed;
    if !against_haproxy() {
        assert_eq!(says_keep, keeps, "{what}: {}", answer.head);
    }
    match client.answer_if_any() {
        Some(second) => {
            assert!(says_keep && is_framed, "{what}: {}", answer.head);
            assert_eq!(second.body, b"ok", "{what}");
        }
        None => assert!(!says_keep, "{what}: {}", answer.head),
    }
    assert_eq!(client.ends(), "FIN", "{what}");
}

#[test]
fn http2_client_gets_own_responses_whole() {
    let origin = server();
    let files = ScratchDirectory::new().unwrap();
    for (at, (head, body)) in FILES.iter().enumerate() {
        let bed = bed_with(&files, at, origin.port);
        let status = status_of(head);
        let mut client = Peer2::client(bed.client());
        for phase in PHASES {
            let mut fields = request("GET", &format!("/{phase}"));
            if phase.contains("rewrite") {
                fields += &format!("big: {}\n", "b".repeat(3000));
            }
            let stream = client.fields(0, &fields, true);
            let answer = client.answer(stream);
            assert_eq!(
                answer.brief(),
                format!("{status} {body}"),
                "{phase}, {head:?}"
            );
            assert!(
                !answer.head.contains("connection"),
                "{phase}: {}",
                answer.head
            );
        }
        assert_eq!(client.ask("/second"), "200 ok");
    }
}

#[test]
fn refusal_of_an_invalid_request_closes() {
    let files = ScratchDirectory::new().unwrap();
    let file = files
        .write("old.http", format!("HTTP/1.0 400 Bad\r\n\r\n{BODY}"))
        .unwrap();
    let file = file.display();
    let bed = ProxyFixture::new(&format!(
        "listen l\n bind 127.0.0.1:{{0}}\n timeout http-request 50ms\n errorfile 400 {file}\n \
         errorfile 408 {file}\n http-request wait-for-body time 20ms\n"
    ));
    for request in [
        "GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n",
    ] {
        let mut client = bed.client();
        client.send(request);
        let end = client.ends();
        assert!(
            end.ends_with(&format!("\r\n\r\n{BODY} FIN")),
            "{request:?}: {end}"
        );
        assert_eq!(end.matches("HTTP/1").count(), 1, "{end}");
    }
}

#[test]
fn rules_do_not_break_the_framing_of_own_responses() {
    for rule in [
        "http-after-response del-header content-length",
        "http-after-response set-header content-length 3",
        "http-after-response add-header content-length 3",
        "http-after-response set-header transfer-encoding chunked",
        "http-after-response del-header .* -m reg",
        "http-after-response set-status 204",
        "http-after-response set-status 404",
    ] {
        let bed = ProxyFixture::new(&format!(
            "listen l\n bind 127.0.0.1:{{0}}\n http-request deny if {{ path / }}\n \
             http-request return status 200 content-type text/plain string ok\n {rule}\n"
        ));
        let mut client = bed.client();
        client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\nGET /b HTTP/1.1\r\nHost: h\r\n\r\n");
        let first = client.answer();
        assert!(
            first.status == 204 || first.body.ends_with(b"</html>\n"),
            "{rule}: {first:?}"
        );
        let second = client.answer();
        assert!(
            second.status == 204 || second.body == b"ok",
            "{rule}: {second:?}"
        );
        let mut client = Peer2::client(bed.client());
        assert!(
            client.ask("/").ends_with("</html>\n") || rule.ends_with("204"),
            "{rule}"
        );
    }
}

#[test]
fn rules_that_switch_protocols_keep_the_name_of_the_protocol() {
    let bed = ProxyFixture::new(
        "listen l\n bind 127.0.0.1:{0}\n http-request return status 200 hdr connection upgrade hdr upgrade \
         chat\n http-after-response set-status 101 if { res.hdr(upgrade) -m found }\n",
    );
    let mut client = bed.client();
    client.send("GET / HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: chat\r\n\r\n");
    let end = client.ends().to_ascii_lowercase();
    assert!(end.starts_with("http/1.1 101 "), "{end}");
    assert!(end.contains("\r\nconnection: upgrade\r\n"), "{end}");
    assert!(
        !end.contains("close") && !end.contains("content-length"),
        "{end}"
    );
}

#[test]
fn rule_that_refuses_a_cached_response_frames_its_own() {
    let files = ScratchDirectory::new().unwrap();
    let file = files
        .write("old.http", format!("HTTP/1.0 502 Bad\r\n\r\n{BODY}"))
        .unwrap();
    let origin = ScriptedOrigin::fixed(
        "HTTP/1.1 200 OK\r\nCache-Control: max-age=100\r\nContent-Length: 2\r\n\r\nok",
    );
    for (page, silent) in [
        (file.display().to_string(), false),
        ("/dev/null".into(), true),
    ] {
        let bed = ProxyFixture::new(&format!(
            "cache c\n total-max-size 1\nlisten l\n bind 127.0.0.1:{{0}}\n errorfile 502 {page}\n \
             http-request cache-use c\n http-response cache-store c\n \
             http-response deny if {{ res.cache_hit }}\n server s 127.0.0.1:{}\n",
            origin.port
        ));
        let get = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
        assert_eq!(bed.client().ask(get), "200 ok");
        let mut client = bed.client();
        client.send([get, get].concat());
        let end = client.ends();
        if silent {
            assert_eq!(end, "FIN")
        } else {
            assert_eq!(end, format!("HTTP/1.0 502 Bad\r\n\r\n{BODY} FIN"))
        }
    }
}

/// Rules that write a Connection field into responses, and whether the connection ends.
const CONNECTION_RULES: &[(&str, bool)] = &[
    (
        "http-request return status 200 content-type text/plain string ok hdr Connection close",
        true,
    ),
    (
        "http-request return status 200 content-type text/plain string ok hdr Connection keep-alive",
        false,
    ),
    ("http-response set-header Connection close", true),
    ("http-response add-header Connection Close", true),
    ("http-after-response set-header Connection close", true),
    ("http-after-response set-header Connection x,close", true),
    (
        "http-after-response set-header Connection keep-alive",
        false,
    ),
    ("http-after-response set-header Connection closed", false),
    ("http-response del-header Connection", false),
    ("http-request set-header Connection close", false),
];

#[test]
fn close_of_a_rule_ends_the_connection() {
    for of_server in ["", "Connection: close\r\n", "Connection: keep-alive\r\n"] {
        let response = format!("HTTP/1.1 200 OK\r\n{of_server}Content-Length: 2\r\n\r\nok");
        let origin = ScriptedOrigin::fixed(response.leak());
        for (rule, closes) in CONNECTION_RULES {
            let bed = ProxyFixture::new(&format!(
                "listen l\n bind 127.0.0.1:{{0}}\n {rule}\n server s 127.0.0.1:{}\n",
                origin.port
            ));
            for (version, header) in [
                ("1.1", ""),
                ("1.1", "Connection: close\r\n"),
                ("1.0", ""),
                ("1.0", "Connection: keep-alive\r\n"),
            ] {
                let what = format!("{rule}, server {of_server:?}, HTTP/{version} {header:?}");
                let mut client = bed.client();
                client.send(format!(
                    "GET / HTTP/{version}\r\nHost: h\r\n{header}\r\n\
                     GET /b HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
                ));
                let first = client.answer();
                assert_eq!(first.body, b"ok", "{what}");
                let keeps = if version == "1.1" {
                    header.is_empty()
                } else {
                    !header.is_empty()
                };
                let head = first.head.to_ascii_lowercase();
                assert_eq!(
                    head.contains("connection: keep-alive"),
                    keeps && !closes && version == "1.0",
                    "{what}: {head}"
                );
                assert_eq!(
                    client.answer_if_any().is_some(),
                    keeps && !closes,
                    "{what}: {head}"
                );
                assert_eq!(client.ends(), "FIN", "{what}");
            }
        }
    }
}

#[test]
fn close_of_a_rule_ends_the_connection_to_the_server() {
    let origin = ScriptedOrigin::new(|mut peer, number| {
        while let Some(head) = peer.head() {
            let closes = head
                .to_ascii_lowercase()
                .contains("\r\nconnection: close\r\n");
            let text = format!("{number} {closes}");
            peer.send(format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}",
                text.len()
            ));
        }
    });
    let bed = ProxyFixture::new(&format!(
        "listen l\n bind 127.0.0.1:{{0}}\n \
         http-request set-header Connection close if {{ path /close }}\n server s 127.0.0.1:{}\n",
        origin.port
    ));
    let mut client = bed.client();
    let mut served = |path: &str| {
        client.send(format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n"));
        String::from_utf8(client.answer().body).unwrap()
    };
    let all = ["/", "/close", "/"].map(&mut served);
    assert_eq!(all, ["0 false", "0 true", "1 false"]);
}
