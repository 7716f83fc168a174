//! Tests that rules which change a method or a status never desynchronize a client: whether a
//! response has a body follows from the client's request and the final status.

use crate::bed::{ProxyFixture, ScriptedOrigin};
use crate::peer2::{Peer2, request};

/// Creates an origin that responds by path: with a length, chunks, the close, or no body;
/// `/second` responds with its name.
fn origin() -> ScriptedOrigin {
    ScriptedOrigin::new(|mut peer, _| {
        while let Some(head) = peer.head() {
            let line = head.lines().next().unwrap_or_default().to_owned();
            let (start, body) = match line.split(' ').nth(1).unwrap_or_default() {
                "/chunks" => (
                    "200 OK\r\nTransfer-Encoding: chunked\r\n",
                    "4\r\ndata\r\n0\r\n\r\n",
                ),
                "/close" => ("200 OK\r\n", "data"),
                "/204" => ("204 No Content\r\n", ""),
                "/304" => ("304 Not Modified\r\nContent-Length: 4\r\n", ""),
                "/second" => ("200 OK\r\nContent-Length: 6\r\n", "second"),
                _ => ("200 OK\r\nContent-Length: 4\r\n", "data"),
            };
            let body = if line.starts_with("HEAD") { "" } else { body };
            peer.send(format!("HTTP/1.1 {start}\r\n{body}"));
            if line.contains("/close") {
                return;
            }
        }
    })
}

/// A rule, the client's request, and the status and body that the client gets.
const CASES: [(&str, &str, &str); 21] = [
    ("http-request set-method GET", "HEAD /length", "200 "),
    ("http-request set-method GET", "HEAD /chunks", "200 "),
    ("http-request set-method POST", "HEAD /length", "200 "),
    ("http-request set-method HEAD", "GET /length", "200 "),
    ("http-request set-method HEAD", "GET /chunks", "200 "),
    ("http-request set-method CONNECT", "GET /length", "200 data"),
    ("http-response set-status 204", "GET /length", "204 "),
    ("http-response set-status 304", "GET /chunks", "304 "),
    ("http-after-response set-status 204", "GET /length", "204 "),
    ("http-after-response set-status 304", "GET /length", "304 "),
    ("http-response set-status 200", "GET /204", "200 "),
    ("http-response set-status 200", "GET /304", "200 "),
    ("http-response set-status 204", "GET /304", "204 "),
    ("http-after-response set-status 204", "GET /return", "204 "),
    ("http-after-response set-status 200", "GET /empty", "200 "),
    ("http-request set-method HEAD", "GET /return", "200 data"),
    ("http-request set-method GET", "HEAD /return", "200 "),
    ("http-request set-method GET", "HEAD /deny", "403 "),
    ("http-request set-method GET", "HEAD /stats", "200 "),
    ("http-request set-method GET", "HEAD /redirect", "302 "),
    ("http-request set-method GET", "HEAD /gzip", "200 "),
];

/// Returns the configuration of a case. Its rule does not affect the second request.
fn text(origin: &ScriptedOrigin, rule: &str) -> String {
    let front = format!(
        " http-request set-var(txn.path) path\n {rule} if !{{ var(txn.path) -m str /second }}\n \
         http-request return status 200 content-type text/plain string data if {{ path /return }}\n \
         http-request return status 204 if {{ path /empty }}\n \
         http-request redirect location /x if {{ path /redirect }}\n \
         http-request deny if {{ path /deny }}\n \
         stats enable\n stats uri /stats\n compression algo gzip"
    );
    origin.behind(&front, "")
}

#[test]
fn rewritten_method_or_status_keeps_http1_in_sync() {
    let origin = origin();
    for (rule, request, expected) in CASES {
        let bed = ProxyFixture::new(&text(&origin, rule));
        let mut client = bed.client();
        let accepts = if request.contains("/gzip") {
            "Accept-Encoding: gzip\r\n"
        } else {
            ""
        };
        client.send(format!("{request} HTTP/1.1\r\nHost: h\r\n{accepts}\r\n"));
        let answer = client.answer_of(request.starts_with("HEAD"));
        let seen = format!(
            "{} {}",
            answer.status,
            String::from_utf8_lossy(&answer.body)
        );
        assert_eq!(seen, expected, "{rule}: {request}");
        if answer.status == 204 {
            let head = answer.head.to_ascii_lowercase();
            assert!(!head.contains("content-length"), "{head}");
            assert!(!head.contains("transfer-encoding"), "{head}");
        }
        let second = client.ask("GET /second HTTP/1.1\r\nHost: h\r\n\r\n");
        assert_eq!(second, "200 second", "behind {rule}: {request}");
    }
}

#[test]
fn http2_stream_gets_no_data_after_its_end() {
    let origin = origin();
    for (rule, line, expected) in CASES {
        let bed = ProxyFixture::new(&text(&origin, rule));
        let mut client = Peer2::client(bed.client());
        let (method, path) = line.split_once(' ').unwrap();
        let id = client.fields(0, &request(method, path), true);
        let answer = client.answer(id);
        assert_eq!(answer.brief(), expected, "{rule}: {line}");
        if method == "GET" && answer.body.is_empty() {
            let announces = answer.head.contains("content-length: 4");
            assert!(!announces || expected == "304 ", "{}", answer.head);
        }
        assert_eq!(client.ask("/second"), "200 second", "behind {rule}: {line}");
    }
}

#[test]
fn server_connection_is_reused_after_an_unwanted_body() {
    let origin = origin();
    let bed = ProxyFixture::new(&text(&origin, "http-request set-method GET"));
    let mut client = bed.client();
    for path in ["/length", "/chunks", "/length"] {
        client.send(format!("HEAD {path} HTTP/1.1\r\nHost: h\r\n\r\n"));
        assert_eq!(client.answer_of(true).status, 200);
    }
    assert_eq!(
        client.ask("GET /second HTTP/1.1\r\nHost: h\r\n\r\n"),
        "200 second"
    );
    assert_eq!(origin.accepted(), 1);
}

#[test]
fn unwanted_body_without_length_closes_only_the_server() {
    let origin = origin();
    let bed = ProxyFixture::new(&text(&origin, "http-request set-method GET"));
    let mut client = bed.client();
    client.send("HEAD /close HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(client.answer_of(true).status, 200);
    let second = client.ask("GET /second HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(second, "200 second");
}

#[test]
fn client_that_expects_a_tunnel_is_not_read_further() {
    let origin = origin();
    for rule in [
        "http-request set-method GET",
        "http-request return status 200",
    ] {
        let bed = ProxyFixture::new(&text(&origin, rule));
        let mut client = bed.client();
        client.send("CONNECT h:80 HTTP/1.1\r\nHost: h:80\r\n\r\n");
        assert_eq!(client.answer().status, 200, "{rule}");
        _ = client.try_send("GET /second HTTP/1.1\r\nHost: h\r\n\r\n");
        assert!(!client.ends().contains("second"), "{rule}");
    }
}

#[test]
fn a_final_response_never_has_an_interim_status() {
    let origin = origin();
    for rule in [
        "http-response set-status 100",
        "http-after-response set-status 101",
    ] {
        let bed = ProxyFixture::new(&text(&origin, rule));
        let mut client = bed.client();
        client.send("GET /length HTTP/1.1\r\nHost: h\r\n\r\n");
        let end = client.ends();
        assert!(end == "FIN" || end == "RST", "{rule}: {end}");
    }
}
