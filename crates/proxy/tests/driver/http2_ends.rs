//! Tests HTTP/2 streams that end too early: codes of resets, termination states and statuses in
//! logs, counters.

use crate::bed::{ProxyFixture, ScriptedOrigin, against_haproxy, settle};
use crate::http2::before;
use crate::peer2::{Peer2, PeerEvent, request};
use protocol::http2::ErrorCode;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};

/// Creates an HTTP/2 origin that calls a function for each head and reports other events.
fn origin(
    at_head: impl Fn(&mut Peer2, u32) + Send + Sync + 'static,
) -> (ScriptedOrigin, std::sync::mpsc::Receiver<PeerEvent>) {
    let (tell, told) = channel();
    let tell = Mutex::new(tell);
    let origin = ScriptedOrigin::new(move |peer, _| {
        let mut peer = Peer2::origin(peer);
        loop {
            match peer.next() {
                PeerEvent::Fields(id, ..) => at_head(&mut peer, id),
                PeerEvent::Closed => return,
                seen => _ = tell.lock().unwrap().send(seen),
            }
        }
    });
    (origin, told)
}

#[test]
fn a_stream_that_its_client_resets_ends_although_the_server_is_silent() {
    let (origin, told) = origin(|peer, id| {
        peer.fields(id, ":status: 200\n", false);
        peer.data(id, b"abc", false);
    });
    let bed = ProxyFixture::new(&before(&origin, ""));
    let mut client = Peer2::client(bed.client());
    let id = client.get("/");
    assert!(matches!(client.next(), PeerEvent::Fields(..)));
    assert_eq!(client.next(), PeerEvent::Data(id, b"abc".to_vec(), false));
    client.reset(id, ErrorCode::Cancel);
    assert_eq!(bed.end(), "200 CD");
    assert_eq!(told.recv().unwrap(), PeerEvent::Reset(1, ErrorCode::Cancel));
    bed.counts("back/s", "cli_abrt hrsp_2xx", "cli_abrt=1 hrsp_2xx=1");
}

#[test]
fn half_closed_client_gets_its_response() {
    let asked = Arc::new(Mutex::new(0));
    let count = Arc::clone(&asked);
    let origin = ScriptedOrigin::new(move |mut peer, _| {
        peer.head();
        *count.lock().unwrap() += 1;
        // Waits until the proxy has seen the end of the client's connection.
        settle();
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        peer.ends();
    });
    let bed = ProxyFixture::new(&origin.behind("", ""));
    let mut client = Peer2::client(bed.client());
    let id = client.get("/");
    client.half_close();
    assert_eq!(client.answer(id).brief(), "200 ok");
    assert_eq!(bed.end(), "200 --");
}

#[test]
fn client_that_closes_with_its_request_gets_a_response() {
    let origin = ScriptedOrigin::echo();
    let bed = ProxyFixture::new(&origin.behind("", ""));
    let mut client = Peer2::client(bed.client());
    assert_eq!(client.ask("/a"), "200 0: GET /a ");
    assert_eq!(bed.end(), "200 --");
    client.cork();
    let id = client.get("/b");
    client.half_close();
    assert_eq!(client.answer(id).brief(), "200 0: GET /b ");
    assert_eq!(bed.end(), "200 --");
}

#[test]
fn abortonclose_contacts_no_server_for_a_closed_client() {
    if against_haproxy() {
        // Skips the test, because HAProxy responds with 400.
        return;
    }
    let origin = ScriptedOrigin::echo();
    let bed = ProxyFixture::new(&origin.behind("", " option abortonclose"));
    // The kernel keeps a corked request for at most 200 ms. If this thread is paused for longer,
    // the end comes later than the request.
    let mut responses = 0;
    let came_together = (0..20).any(|_| {
        let mut client = Peer2::client(bed.client());
        assert_eq!(client.ask("/a"), "200 0: GET /a ");
        assert_eq!(bed.end(), "200 --");
        client.cork();
        client.get("/b");
        client.half_close();
        let end = bed.end();
        assert!(["0 CQ", "200 --"].contains(&end.as_str()), "{end}");
        responses += 1 + u32::from(end == "200 --");
        end == "0 CQ"
    });
    assert!(came_together);
    bed.counts("back/s", "hrsp_2xx", &format!("hrsp_2xx={responses}"));
}

#[test]
fn early_response_is_delivered_and_the_upload_discarded() {
    let (origin, _told) = origin(|peer, id| {
        peer.fields(id, ":status: 413\n", true);
        peer.reset(id, ErrorCode::NoError);
    });
    let bed = ProxyFixture::new(&before(&origin, ""));
    let mut client = Peer2::client(bed.client());
    let id = client.fields(0, &request("POST", "/"), false);
    client.data(id, b"abc", false);
    assert_eq!(client.answer(id).brief(), "413 ");
    assert_eq!(bed.end(), "413 --");
    client.data(id, b"defg", true);
    assert_eq!(client.ask("/"), "413 ");
}

#[test]
fn reset_while_waiting_for_a_body_contacts_no_server() {
    let origin = ScriptedOrigin::echo();
    let bed = ProxyFixture::new(&origin.behind(" option http-buffer-request", ""));
    let mut client = Peer2::client(bed.client());
    let id = client.fields(0, &request("POST", "/"), false);
    client.data(id, b"abc", false);
    settle();
    client.reset(id, ErrorCode::Cancel);
    assert_eq!(bed.end(), "0 CR");
    assert_eq!(origin.accepted(), 0);
    bed.counts("front", "ereq", "ereq=1");
}

#[test]
fn invalid_http_gets_the_error_page() {
    let origin = ScriptedOrigin::echo();
    let bed = ProxyFixture::new(&origin.behind("", ""));
    let mut client = Peer2::client(bed.client());
    for (head, n) in [
        (":method: G T\n:scheme: http\n:authority: h\n:path: /\n", 1),
        (":method: GET\n:scheme: h t\n:authority: h\n:path: /\n", 2),
        (
            ":method: GET\n:scheme: http\n:authority: a b\n:path: /\n",
            3,
        ),
    ] {
        let id = client.fields(0, head, true);
        let answer = client.answer(id).brief();
        assert!(answer.starts_with("400 <html><body><h1>400"), "{answer}");
        assert_eq!(bed.end(), "400 PR", "{head}");
        bed.counts("front", "ereq", &format!("ereq={n}"));
    }
    // The connection serves further streams.
    assert_eq!(client.ask("/a"), "200 0: GET /a ");
}

#[test]
fn monitors_may_speak_http2() {
    let origin = ScriptedOrigin::echo();
    let bed = ProxyFixture::new(&origin.behind(" monitor-uri /alive", ""));
    let mut client = Peer2::client(bed.client());
    let answer = client.ask("/alive");
    assert!(answer.starts_with("200 <html><body><h1>200 OK"), "{answer}");
    assert!(client.ask("/alive?x").starts_with("200 0: GET /alive?x"));
}

#[test]
fn counters_use_the_servers_status_before_rules() {
    let origin = ScriptedOrigin::echo();
    let rules = " http-response set-status 418 if { var(txn.p) -m str /tea }\n \
                 http-response deny if { var(txn.p) -m str /no }";
    let front = " http-request set-var(txn.p) path";
    let bed = ProxyFixture::new(&origin.behind(front, rules));
    let mut client = Peer2::client(bed.client());
    assert!(client.ask("/tea").starts_with("418"));
    assert!(client.ask("/no").starts_with("502"));
    bed.counts("back/s", "hrsp_2xx hrsp_4xx hrsp_5xx", "hrsp_2xx=2");
    bed.counts(
        "front",
        "hrsp_2xx hrsp_4xx hrsp_5xx",
        "hrsp_4xx=1 hrsp_5xx=1",
    );
}

const WEB_SOCKET: &str = "GET /ws HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\n\
     Upgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
     Sec-WebSocket-Version: 13\r\n\r\n";

#[test]
fn option_ws_selects_the_http_version() {
    // A server that speaks HTTP/2 on its first connection, for what is no
    // WebSocket, and HTTP/1 on the second.
    let origin = ScriptedOrigin::new(|mut peer, number| {
        if number == 1 {
            assert!(peer.head().unwrap().starts_with("GET /ws HTTP/1.1\r\n"));
            peer.send(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\n\
                 Upgrade: websocket\r\n\
                 Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\nhello",
            );
            peer.ends();
            return;
        }
        let mut peer = Peer2::origin(peer);
        loop {
            match peer.next() {
                PeerEvent::Fields(id, ..) => {
                    peer.fields(id, ":status: 200\n", false);
                    peer.data(id, b"two", true);
                }
                PeerEvent::Closed => return,
                _ => {}
            }
        }
    });
    let text = before(&origin, "").replace("proto h2", "proto h2 ws h1");
    let bed = ProxyFixture::new(&text);
    let mut client = bed.client();
    let plain = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
    assert_eq!(client.ask(plain), "200 two");
    let mut socket = bed.client();
    socket.send(WEB_SOCKET);
    assert!(socket.head().unwrap().starts_with("HTTP/1.1 101"));
    assert_eq!(socket.exactly(5), b"hello");
    // Other requests are served as before.
    assert_eq!(client.ask(plain), "200 two");
    assert_eq!(origin.accepted(), 2);
}

#[test]
fn websockets_may_need_http2_where_nothing_else_does() {
    let origin = ScriptedOrigin::new(|mut peer, number| {
        if number == 1 {
            peer.head();
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\none");
            peer.ends();
            return;
        }
        let mut peer = Peer2::origin(peer);
        loop {
            match peer.next() {
                PeerEvent::Fields(id, head, _) => {
                    assert!(head.contains(":protocol: websocket\n"), "{head}");
                    peer.fields(id, ":status: 200\n", false);
                    peer.data(id, b"hello", false);
                }
                PeerEvent::Closed => return,
                _ => {}
            }
        }
    });
    let text = before(&origin, "").replace("proto h2", "ws h2");
    let bed = ProxyFixture::new(&text);
    let mut socket = bed.client();
    socket.send(WEB_SOCKET);
    assert!(socket.head().unwrap().starts_with("HTTP/1.1 101"));
    assert_eq!(socket.exactly(5), b"hello");
    assert_eq!(
        bed.client().ask("GET / HTTP/1.1\r\nHost: h\r\n\r\n"),
        "200 one"
    );
}
