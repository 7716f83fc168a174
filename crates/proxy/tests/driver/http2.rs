//! Tests HTTP/2 with clients and servers: requests of HTTP/2 use the same rules, queues, logs and
//! counters as those of HTTP/1.

use crate::bed::{ProxyFixture, ScriptedOrigin, against_haproxy, settle};
use crate::peer2::{Peer2, PeerEvent, request};
use crate::raw2;
use protocol::http2::ErrorCode;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Barrier};

/// Creates an HTTP/2 origin that responds "N: METHOD PATH BODY" with the number N of its
/// connection.
fn echo() -> ScriptedOrigin {
    echo_after(1)
}

/// Creates the same origin; no connection responds before there are this many.
fn echo_after(connections: usize) -> ScriptedOrigin {
    let all = Arc::new(Barrier::new(connections));
    ScriptedOrigin::new(move |peer, number| {
        let mut waits = true;
        let mut peer = Peer2::origin(peer);
        let mut open: Vec<(u32, String, Vec<u8>)> = Vec::new();
        loop {
            let ended = match peer.next() {
                PeerEvent::Fields(id, head, end) if !open.iter().any(|one| one.0 == id) => {
                    open.push((id, head, Vec::new()));
                    end.then_some(id)
                }
                PeerEvent::Data(id, data, end) => {
                    for one in open.iter_mut().filter(|one| one.0 == id) {
                        one.2.extend(&data);
                    }
                    end.then_some(id)
                }
                PeerEvent::Fields(id, ..) => Some(id),
                PeerEvent::Closed => return,
                _ => None,
            };
            let Some(at) = open.iter().position(|one| Some(one.0) == ended) else {
                continue;
            };
            if std::mem::take(&mut waits) {
                all.wait();
            }
            let (id, head, body) = open.remove(at);
            let value = |name: &str| {
                let line = head.lines().find(|line| line.starts_with(name));
                line.unwrap_or_default()[name.len()..].trim().to_owned()
            };
            let (method, path) = (value(":method:"), value(":path:"));
            let text = format!(
                "{number}: {method} {path} {}",
                String::from_utf8_lossy(&body)
            );
            peer.fields(id, ":status: 200\nx-origin: h2\n", false);
            peer.data(id, text.as_bytes(), true);
        }
    })
}

/// Returns the configuration of a proxy in front of an HTTP/2 server.
pub fn before(origin: &ScriptedOrigin, back: &str) -> String {
    format!(
        "frontend front\n bind 127.0.0.1:{{0}}\n default_backend back\n\
         backend back\n server s 127.0.0.1:{} proto h2\n{back}\n",
        origin.port
    )
}

#[test]
fn http2_requests_pass_rules_logs_and_counters() {
    let origin = ScriptedOrigin::echo();
    let front =
        " http-request deny if { path /no }\n http-request return status 418 if { path /tea }";
    let bed = ProxyFixture::new(&origin.behind(front, ""));
    let mut client = Peer2::client(bed.client());
    assert_eq!(client.ask("/a"), "200 0: GET /a ");
    assert_eq!(bed.end(), "200 --");
    assert!(client.ask("/no").starts_with("403 <html>"));
    assert_eq!(bed.end(), "403 PR");
    assert_eq!(client.ask("/tea"), "418 ");
    assert_eq!(bed.end(), "418 LR");
    let head = client.fields(0, &request("HEAD", "/h"), true);
    assert_eq!(client.answer(head).brief(), "200 ");
    bed.counts(
        "front",
        "req_tot dreq conn_tot",
        "req_tot=4 dreq=1 conn_tot=1",
    );
    bed.counts("back/s", "stot connect reuse", "stot=2 connect=1 reuse=1");
}

#[test]
fn bodies_and_trailers_pass_between_the_versions() {
    let origin = ScriptedOrigin::new(|mut peer, _| {
        let head = peer.head().unwrap();
        assert!(
            head.starts_with("POST /up HTTP/1.1\r\nhost: h\r\n"),
            "{head}"
        );
        assert!(head.contains("transfer-encoding: chunked\r\n"), "{head}");
        assert_eq!(
            peer.until("x-end: 1\r\n\r\n"),
            "5\r\nhello\r\n0\r\nx-end: 1\r\n\r\n"
        );
        peer.send(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n\
             3\r\nyes\r\n0\r\nX-Sum: 3\r\n\r\n",
        );
    });
    let bed = ProxyFixture::new(&origin.behind("", ""));
    let mut client = Peer2::client(bed.client());
    let id = client.fields(0, &request("POST", "/up"), false);
    client.data(id, b"hello", false);
    client.fields(id, "x-end: 1\n", true);
    let answer = client.answer(id);
    assert_eq!(answer.head, ":status: 200\n");
    assert_eq!(answer.body, b"yes");
    assert_eq!(answer.trailers, "x-sum: 3\n");
    assert_eq!(bed.end(), "200 --");
}

#[test]
fn a_body_of_any_size_passes_between_two_of_http2() {
    let origin = echo();
    let bed = ProxyFixture::new(&before(&origin, ""));
    let mut client = Peer2::client(bed.client());
    let id = client.fields(0, &request("POST", "/big"), false);
    let body = vec![b'x'; 1 << 20];
    client.data(id, &body, true);
    let answer = client.answer(id);
    assert_eq!(answer.body.len(), body.len() + "0: POST /big ".len());
    assert!(answer.head.contains("x-origin: h2\n"));
    assert_eq!(bed.end(), "200 --");
}

#[test]
fn a_client_of_http1_is_served_by_a_server_of_http2() {
    let origin = echo();
    let bed = ProxyFixture::new(&before(&origin, ""));
    let mut client = bed.client();
    client.send(
        "POST /p HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
    );
    let answer = client.answer();
    assert_eq!(answer.body, b"0: POST /p hi");
    assert!(
        answer.head.contains("transfer-encoding: chunked\r\n"),
        "{}",
        answer.head
    );
    // The connection serves further requests.
    assert_eq!(
        client.ask("GET /q HTTP/1.1\r\nHost: h\r\n\r\n"),
        "200 0: GET /q "
    );
    client.send("GET /r HTTP/1.0\r\nHost: h\r\n\r\n");
    assert_eq!(client.answer().body, b"0: GET /r ");
    assert_eq!(client.ends(), "FIN");
}

#[test]
fn premature_end_is_a_reset() {
    let origin = ScriptedOrigin::closing("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc");
    let bed = ProxyFixture::new(&origin.behind("", ""));
    let mut client = Peer2::client(bed.client());
    assert_eq!(client.ask("/a"), "200 abc reset");
    assert_eq!(bed.end(), "200 SD");
    // The connection serves further streams.
    assert_eq!(client.ask("/b"), "200 abc reset");
}

#[test]
fn stream_ends_when_its_client_gives_up() {
    let origin = ScriptedOrigin::new(|mut peer, _| {
        peer.head();
        peer.ends();
    });
    let bed = ProxyFixture::new(&origin.behind("", ""));
    let mut client = Peer2::client(bed.client());
    let id = client.get("/a");
    settle();
    client.reset(id, ErrorCode::Cancel);
    assert_eq!(bed.end(), "0 CD");
    bed.counts("back/s", "scur", "");
}

#[test]
fn many_streams_share_a_servers_connection() {
    for (reuse, wanted) in [("safe", 1), ("always", 1), ("never", 20)] {
        // A connection that has answered may be used again for the same client.
        let origin = echo_after(wanted);
        let bed = ProxyFixture::new(&before(&origin, &format!(" http-reuse {reuse}")));
        let mut client = Peer2::client(bed.client());
        let asked: Vec<u32> = (0..20).map(|n| client.get(&format!("/{n}"))).collect();
        for (n, id) in asked.into_iter().enumerate() {
            let said = client.answer(id).brief();
            assert!(said.ends_with(&format!(": GET /{n} ")), "{said}");
        }
        assert_eq!(origin.accepted(), wanted as u64, "{reuse}");
        bed.counts("back/s", "stot", "stot=20");
    }
}

#[test]
fn max_reuse_bounds_the_streams_of_a_connection() {
    let origin = echo();
    let text = before(&origin, "").replace("proto h2", "proto h2 max-reuse 2");
    let bed = ProxyFixture::new(&format!("{text} http-reuse always\n"));
    let mut client = Peer2::client(bed.client());
    let said: String = (0..6).map(|_| client.ask("/")[4..5].to_owned()).collect();
    assert_eq!(said, "000111");
}

#[test]
fn private_connection_serves_only_its_client() {
    let origin = echo();
    let bed = ProxyFixture::new(&before(&origin, " http-reuse never"));
    for wanted in ["000", "111"] {
        let mut client = Peer2::client(bed.client());
        let said: String = (0..3).map(|_| client.ask("/")[4..5].to_owned()).collect();
        assert_eq!(said, wanted);
    }
}

#[test]
fn a_stream_that_the_server_refused_is_sent_again() {
    let refused = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&refused);
    let origin = ScriptedOrigin::new(move |peer, _| {
        let mut peer = Peer2::origin(peer);
        let mut body = Vec::new();
        loop {
            match peer.next() {
                PeerEvent::Fields(id, ..) if counted.fetch_add(1, Ordering::SeqCst) == 0 => {
                    peer.reset(id, ErrorCode::RefusedStream);
                }
                PeerEvent::Data(id, data, end) => {
                    body.extend(data);
                    if end {
                        peer.fields(id, ":status: 200\n", false);
                        peer.data(id, &body, true);
                    }
                }
                PeerEvent::Closed => return,
                _ => {}
            }
        }
    });
    let bed = ProxyFixture::new(&before(&origin, ""));
    let mut client = Peer2::client(bed.client());
    let id = client.fields(0, &request("POST", "/"), false);
    // The body arrives after the server's refusal and is still complete.
    let seen = Arc::clone(&refused);
    let at = std::time::Instant::now();
    while seen.load(Ordering::SeqCst) < 2 && at.elapsed() < crate::bed::PATIENCE {
        std::thread::yield_now();
    }
    client.data(id, b"once", true);
    assert_eq!(client.answer(id).brief(), "200 once");
    let ended = bed.ended(1).remove(0);
    assert_eq!(
        (ended.brief().as_str(), ended.retries.as_str()),
        ("200 --", "1")
    );
}

#[test]
fn websockets_pass_between_the_versions() {
    let of_http1 = ScriptedOrigin::new(|mut peer, _| {
        let head = peer.head().unwrap();
        assert!(head.starts_with("GET /ws HTTP/1.1\r\n"), "{head}");
        assert!(head.contains("upgrade: websocket\r\n"), "{head}");
        let key = head.split_once("sec-websocket-key: ").unwrap().1;
        let key = key.split("\r\n").next().unwrap();
        peer.send(format!(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Accept: {}\r\n\r\nhi",
            accept_of(key)
        ));
        assert_eq!(peer.exactly(5), b"hello");
        peer.send("bye");
    });
    let bed = ProxyFixture::new(&of_http1.behind("", ""));
    let mut client = Peer2::client(bed.client());
    let head = ":method: CONNECT\n:protocol: websocket\n:scheme: http\n:path: /ws\n:authority: h\n";
    let id = client.fields(0, head, false);
    client.data(id, b"hello", false);
    let answer = client.answer(id);
    assert!(answer.head.starts_with(":status: 200\n"), "{}", answer.head);
    assert_eq!(answer.brief(), "200 hibye");
}

#[test]
fn http1_websocket_reaches_an_http2_server() {
    let origin = ScriptedOrigin::new(|peer, _| {
        let mut peer = Peer2::origin(peer);
        loop {
            match peer.next() {
                PeerEvent::Fields(id, head, end) => {
                    assert!(head.contains(":protocol: websocket\n"), "{head}");
                    assert!(!head.contains("sec-websocket-key"), "{head}");
                    assert!(!end);
                    peer.fields(id, ":status: 200\n", false);
                }
                PeerEvent::Data(id, data, end) => peer.data(id, &data.to_ascii_uppercase(), end),
                PeerEvent::Closed => return,
                _ => {}
            }
        }
    });
    let bed = ProxyFixture::new(&before(&origin, ""));
    let mut client = bed.client();
    client.send(
        "GET /ws HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
    );
    let head = client.head().unwrap();
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    // RFC 6455 has the response to this key.
    assert!(
        head.contains("sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"),
        "{head}"
    );
    client.send("hello");
    assert_eq!(client.exactly(5), b"HELLO");
}

fn accept_of(key: &str) -> String {
    let head = format!(
        "GET / HTTP/1.1\r\nhost: h\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-key: {key}\r\n\r\n"
    );
    let mut message = http::message::HttpMessage::new();
    let limits = http::http1::Limits::default();
    http::http1::parse_request(head.as_bytes(), &limits, &mut message).unwrap();
    let accept = http::websocket::Accept::of(&message).unwrap();
    String::from_utf8_lossy(accept.as_bytes()).into_owned()
}

#[test]
fn connect_makes_tunnels_over_http2() {
    let origin = ScriptedOrigin::new(|peer, _| {
        let mut peer = Peer2::origin(peer);
        loop {
            match peer.next() {
                PeerEvent::Fields(id, head, end) => {
                    assert!(
                        head.starts_with(":method: CONNECT\n:authority: h:80\n"),
                        "{head}"
                    );
                    assert!(!end);
                    peer.fields(id, ":status: 200\n", false);
                }
                PeerEvent::Data(id, data, end) => peer.data(id, &data.to_ascii_uppercase(), end),
                PeerEvent::Closed => return,
                _ => {}
            }
        }
    });
    let bed = ProxyFixture::new(&before(&origin, ""));
    let mut client = bed.client();
    client.send("CONNECT h:80 HTTP/1.1\r\nHost: h:80\r\n\r\n");
    assert!(client.head().unwrap().starts_with("HTTP/1.1 200"));
    client.send("hello");
    assert_eq!(client.exactly(5), b"HELLO");
    client.half_close();
    assert_eq!(client.ends(), "FIN");
    assert_eq!(bed.end(), "200 --");
    let mut client = Peer2::client(bed.client());
    let id = client.fields(0, ":method: CONNECT\n:authority: h:80\n", false);
    settle();
    client.data(id, b"abc", true);
    let answer = client.answer(id);
    assert_eq!(answer.brief(), "200 ABC", "{answer:?} {:?}", bed.ended(1));
}

#[test]
fn proto_decides_what_a_listener_speaks() {
    let origin = ScriptedOrigin::echo();
    let text = origin.behind("", "").replace(":{0}", ":{0} proto h1");
    let bed = ProxyFixture::new(&text);
    assert!(
        bed.ask("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
            .starts_with("HTTP/1.1 400")
    );
    drop(bed);
    let text = origin.behind("", "").replace(":{0}", ":{0} proto h2");
    let bed = ProxyFixture::new(&text);
    assert_eq!(Peer2::client(bed.client()).ask("/a"), "200 0: GET /a ");
}

#[test]
fn a_rule_that_rejects_ends_the_connection() {
    let origin = ScriptedOrigin::echo();
    let bed = ProxyFixture::new(&origin.behind(" http-request reject if { path /no }", ""));
    let mut client = Peer2::client(bed.client());
    assert_eq!(client.ask("/a"), "200 0: GET /a ");
    client.get("/no");
    assert_eq!(
        client.next(),
        PeerEvent::Reset(3, ErrorCode::EnhanceYourCalm)
    );
    loop {
        match client.next() {
            PeerEvent::GoAway(code) => {
                assert_eq!(code, ErrorCode::EnhanceYourCalm);
                break;
            }
            PeerEvent::Closed => panic!("no GOAWAY"),
            _ => {}
        }
    }
}

#[test]
fn an_upgrade_of_any_name_becomes_a_tunnel_to_a_server_of_http2() {
    let origin = ScriptedOrigin::new(|peer, _| {
        let mut peer = Peer2::origin(peer);
        loop {
            match peer.next() {
                PeerEvent::Fields(id, head, end) => {
                    assert!(!end && head.contains(":method: CONNECT\n"), "{head}");
                    assert!(head.contains(":protocol: custom\n"), "{head}");
                    peer.fields(id, ":status: 200\n", false);
                }
                PeerEvent::Data(id, data, end) => peer.data(id, &data, end),
                PeerEvent::Closed => return,
                _ => {}
            }
        }
    });
    let bed = ProxyFixture::new(&before(&origin, ""));
    let mut client = bed.client();
    client.send("GET /up HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: custom\r\n\r\n");
    let head = client.head().unwrap();
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    assert!(head.contains("upgrade: custom\r\n"), "{head}");
    client.send("ping");
    assert_eq!(client.exactly(4), b"ping");
}

#[test]
fn removed_upgrade_header_gives_an_ordinary_http2_request() {
    let origin = echo();
    let bed = ProxyFixture::new(&before(&origin, "http-request del-header upgrade"));
    let mut client = bed.client();
    let upgrade = "GET /up HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: custom\r\n\r\n";
    assert_eq!(client.ask(upgrade), "200 0: GET /up ");
}

#[test]
fn client_may_finish_its_upload_after_an_early_response() {
    let origin = echo();
    let bed = ProxyFixture::new(&origin.behind(" http-request deny", ""));
    let mut client = Peer2::client(bed.client());
    let early = client.fields(0, &request("POST", "/up"), false);
    assert!(client.answer(early).brief().starts_with("403 "));
    client.data(early, &[b'x'; 200_000], true);
    let next = client.get("/a");
    loop {
        match client.next() {
            PeerEvent::Reset(id, code) => panic!("stream {id} was reset: {code:?}"),
            PeerEvent::Fields(id, ..) if id == next => break,
            _ => {}
        }
    }
}

/// Some clients no longer read once they have a response with a length, but go on to send: they
/// need the window for the rest of their upload before the response (curl 7.88).
#[test]
fn short_upload_gets_its_window_before_an_early_response() {
    if against_haproxy() {
        return;
    }
    let bed = ProxyFixture::new(
        "frontend f\n bind 127.0.0.1:{0}\n http-request return status 200 content-type text/plain string hi\n",
    );
    let limit = 1 << 20;
    for (length, expected) in [
        (Some(300_000), Some(300_000)),
        (Some(10), None),
        (Some(limit), Some(limit)),
        (Some(limit + 1), None),
        (None, Some(limit)),
    ] {
        let mut client = raw2::Raw::client(bed.client());
        let mut block = raw2::method("POST", "/up");
        if let Some(length) = length {
            raw2::field(b"content-length", length.to_string().as_bytes(), &mut block);
        }
        client.send(raw2::headers(1, &block, false));
        let mut window = 65_535;
        let granted = loop {
            let frame = client.next().expect("the response");
            match (frame.kind, frame.stream) {
                (raw2::WINDOW_UPDATE, 1) => {
                    let grown = frame.payload.first_chunk().map(|n| u32::from_be_bytes(*n));
                    window += grown.unwrap_or_default() as usize;
                }
                (raw2::HEADERS, 1) => break (window > 65_535).then_some(window),
                _ => {}
            }
        };
        assert_eq!(granted, expected, "{length:?}");
        if length != Some(300_000) {
            continue;
        }
        // Sends the whole upload without reading further frames of the proxy, because it fits into
        // the window.
        for n in 0..20 {
            let flags = if n == 19 { raw2::END_STREAM } else { 0 };
            client.send(raw2::frame(raw2::DATA, flags, 1, &[b'x'; 15_000]));
        }
        client.send(raw2::headers(3, &raw2::get("/next"), true));
        loop {
            let frame = client.next().expect("the next response");
            assert_ne!(frame.kind, raw2::RST_STREAM, "{frame:?}");
            assert_ne!(frame.kind, raw2::GOAWAY, "{frame:?}");
            if (frame.kind, frame.stream) == (raw2::HEADERS, 3) {
                break;
            }
        }
    }
}
