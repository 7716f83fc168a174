//! Tests the modes of HTTP connections (keep-alive, close): which Connection header each side
//! gets, and that both sides agree.

use crate::bed::{ProxyFixture, ScriptedOrigin, against_haproxy, pause, settle, soon};

const GET: &str = "GET /a HTTP/1.1\r\nHost: h\r\n\r\n";

/// Returns what the server and the client learn about their connections, and whether the client's
/// stays open: "server: …, client: …, open".
fn told(front: &str, back: &str, request: &str) -> String {
    let origin = ScriptedOrigin::new(|mut peer, _| {
        while let Some(head) = peer.head() {
            let line = connection(&head);
            if !peer.try_send(format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{line}",
                line.len()
            )) {
                return;
            }
        }
    });
    let bed = ProxyFixture::new(&origin.behind(front, back));
    let mut client = bed.client();
    client.send(request);
    let answer = client.answer();
    let server = String::from_utf8_lossy(&answer.body).into_owned();
    format!(
        "server: {server}, client: {}, {}",
        connection(&answer.head),
        {
            settle();
            client.end(1)
        }
    )
}

fn connection(head: &str) -> String {
    let lower = head.to_ascii_lowercase();
    let line = lower.lines().find(|line| line.starts_with("connection:"));
    line.map_or("-", |line| line.trim_start_matches("connection: "))
        .to_owned()
}

#[test]
fn connection_options_apply_per_side() {
    const OLD: &str = "GET /a HTTP/1.0\r\nHost: h\r\n\r\n";
    const OLD_KEPT: &str = "GET /a HTTP/1.0\r\nHost: h\r\nConnection: keep-alive\r\n\r\n";
    const LAST: &str = "GET /a HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
    for (front, back, request, wanted) in [
        ("", "", GET, "server: -, client: -, open"),
        ("", "", LAST, "server: -, client: close, FIN"),
        ("", "", OLD, "server: keep-alive, client: close, FIN"),
        (
            "",
            "",
            OLD_KEPT,
            "server: keep-alive, client: keep-alive, open",
        ),
        (
            "option http-server-close",
            "",
            GET,
            "server: close, client: -, open",
        ),
        (
            "",
            "option http-server-close",
            GET,
            "server: close, client: -, open",
        ),
        (
            "option httpclose",
            "",
            GET,
            "server: close, client: close, FIN",
        ),
        (
            "",
            "option httpclose",
            GET,
            "server: close, client: -, open",
        ),
        (
            "",
            "option http-server-close\n option http-pretend-keepalive",
            GET,
            "server: -, client: -, open",
        ),
        (
            "option httpclose",
            "",
            OLD_KEPT,
            "server: -, client: close, FIN",
        ),
    ] {
        assert_eq!(
            told(front, back, request),
            wanted,
            "{front:?} {back:?} {request:?}"
        );
    }
}

#[test]
fn nolinger_truncates_nothing_that_was_sent() {
    let origin = ScriptedOrigin::new(|mut peer, _| {
        peer.head();
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 300000\r\nConnection: close\r\n\r\n");
        peer.send(vec![b'x'; 300_000]);
    });
    let bed = ProxyFixture::new(&origin.behind("option nolinger", "option nolinger"));
    if against_haproxy() {
        return;
    }
    for _ in 0..20 {
        let mut client = bed.client();
        client.send("GET /a HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
        pause(2);
        assert_eq!(client.answer().body.len(), 300_000);
    }
}

#[test]
fn data_after_the_last_request_does_not_truncate_the_response() {
    let origin = ScriptedOrigin::new(|mut peer, _| {
        peer.head();
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n");
        peer.send(vec![b'x'; 300_000]);
        peer.rest();
    });
    let bed = ProxyFixture::new(&origin.behind("", ""));
    for _ in 0..10 {
        let mut client = bed.client();
        client.send(
            "GET /a HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\nGET /b HTTP/1.1\r\nHost: h\r\n\r\n",
        );
        settle();
        client.send("GET /c HTTP/1.1\r\nHost: h\r\n\r\n");
        assert_eq!(client.answer().body.len(), 300_000);
    }
}

#[test]
fn a_connection_of_a_server_that_went_down_is_not_used() {
    if against_haproxy() {
        return;
    }
    let origin = ScriptedOrigin::echo();
    let bed = ProxyFixture::new(&origin.behind("", "http-reuse always"));
    assert!(bed.client().ask(GET).starts_with("200 0"));
    let config = bed.config();
    let server = &config
        .proxies
        .iter()
        .find(|p| &*p.name == "back")
        .unwrap()
        .servers[0]
        .state;
    settle();
    assert_eq!(
        server.idle.count.load(std::sync::atomic::Ordering::Relaxed),
        1
    );
    server.set_admin(
        model::state::AdminState::Maintenance,
        model::state::now_ms(),
    );
    assert_eq!(bed.client().ask(GET).get(..3), Some("503"));
    let idle = || server.idle.count.load(std::sync::atomic::Ordering::Relaxed);
    soon("closed", || idle() == 0);
}

#[test]
fn a_stream_that_ended_keeps_nothing_alive() {
    if against_haproxy() {
        return;
    }
    let origin = ScriptedOrigin::echo();
    let mut bed = ProxyFixture::new(&origin.behind("", ""));
    for _ in 0..20 {
        assert!(bed.client().ask(GET).starts_with("200 "));
    }
    settle();
    // The holders are this thread, the runtime, the worker, its stand-in session and the accept
    // loop. Idle streams hold the configuration, but no session.
    let held = bed.config_holders();
    for _ in 0..20 {
        assert!(bed.client().ask(GET).starts_with("200 "));
    }
    settle();
    assert_eq!(bed.config_holders(), held);
    bed.ours();
}
