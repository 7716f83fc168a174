//! Responses that the proxy makes itself, in every phase of a request and for every kind of
//! client: each has an end that the client can see, or closes the connection.

use crate::bed::{Bed, Origin, against_haproxy, request_body};
use crate::peer2::{Peer2, request};
use lab::Scratch;

const BODY: &str = "<html>failed</html>\n";

/// Files of responses: the head without its empty line, and the body.
const FILES: &[(&str, &str)] = &[
    // As Debian delivers them.
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

/// Where in the life of a request the proxy responds itself; the paths that lead there.
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

/// A server whose responses are what the path says.
fn server() -> Origin {
    Origin::new(|mut peer, _| {
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
                "/cookie" => "HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\nContent-Length: 2\r\n\r\nok",
                _ => "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
            };
            let whole = bytes.ends_with("ok");
            let bytes = match head.starts_with("HEAD ") {
                true => bytes.trim_end_matches("ok"),
                false => bytes,
            };
            if !peer.try_send(bytes) || !whole {
                return;
            }
        }
    })
}

/// A proxy with this file in every place that can have one.
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

/// The status in the status line of a file.
fn status_of(head: &str) -> u16 {
    head[9..12].parse().unwrap()
}

/// A proxy whose responses are those of one of [`FILES`], which is written first.
fn bed_with(files: &Scratch, at: usize, origin: u16) -> Bed {
    let (head, body) = FILES[at];
    let file = files
        .write(&format!("{at}.http"), format!("{head}\r\n\r\n{body}"))
        .unwrap();
    let dead = lab::free_port().unwrap();
    let file = file.display().to_string();
    Bed::new(&text(&file, status_of(head), origin, dead))
}

/// A client: method, version, further header, body of its request.
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
    let files = Scratch::new().unwrap();
    for (at, (head, body)) in FILES.iter().enumerate() {
        let bed = bed_with(&files, at, origin.port);
        for phase in PHASES {
            if against_haproxy() && matches!(*phase, "response-rewrite" | "cookie") {
                continue;
            }
            for client in CLIENTS {
                if *phase == "cookie" && client.0 == "POST" {
                    // No cache keeps the response.
                    continue;
                }
                meets(&bed, phase, client, (head, body));
            }
        }
    }
}

/// Sends a request and another one behind it.
fn meets(
    bed: &Bed,
    phase: &str,
    (method, version, header, sent): &(&str, &str, &str, &str),
    (head, body): (&str, &str),
) {
    let what = format!("{phase}, {method} of HTTP/{version} {header:?}, file {head:?}");
    let big = match phase.contains("rewrite") {
        true => format!("Big: {}\r\n", "b".repeat(3000)),
        false => String::new(),
    };
    let mut client = bed.client();
    client.send(format!(
        "{method} /{phase} HTTP/{version}\r\nHost: h\r\n{header}{big}\r\n{sent}\
         GET /second HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
    ));
    let answer = client.answer_of(*method == "HEAD");
    let is_bodiless = *method == "HEAD" || matches!(answer.status, 204 | 304);
    let expected = match is_bodiless {
        true => "",
        false => body,
    };
    assert_eq!(String::from_utf8_lossy(&answer.body), expected, "{what}");
    assert!(
        answer.head.matches("\r\nconnection: ").count() <= 1,
        "{what}"
    );
    let line = |text: &str| answer.head.to_ascii_lowercase().contains(text);
    let is_old = answer.head.starts_with("HTTP/1.0");
    let is_framed = line("\r\ncontent-length: ") || matches!(answer.status, 204 | 304);
    let says_keep = match is_old || *version == "1.0" {
        true => line("\r\nconnection: keep-alive"),
        false => !line("\r\nconnection: close"),
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
    let files = Scratch::new().unwrap();
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
fn refusals_of_what_is_no_request_close() {
    let files = Scratch::new().unwrap();
    let file = files
        .write("old.http", format!("HTTP/1.0 400 Bad\r\n\r\n{BODY}"))
        .unwrap();
    let file = file.display();
    let bed = Bed::new(&format!(
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
        let bed = Bed::new(&format!(
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
    let bed = Bed::new(
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
    let files = Scratch::new().unwrap();
    let file = files
        .write("old.http", format!("HTTP/1.0 502 Bad\r\n\r\n{BODY}"))
        .unwrap();
    let origin = Origin::fixed(
        "HTTP/1.1 200 OK\r\nCache-Control: max-age=100\r\nContent-Length: 2\r\n\r\nok",
    );
    for (page, silent) in [
        (file.display().to_string(), false),
        ("/dev/null".into(), true),
    ] {
        let bed = Bed::new(&format!(
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
        match silent {
            true => assert_eq!(end, "FIN"),
            false => assert_eq!(end, format!("HTTP/1.0 502 Bad\r\n\r\n{BODY} FIN")),
        }
    }
}
