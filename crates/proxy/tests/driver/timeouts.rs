//! Tests every timeout: the response to the client, the time, and the termination state in
//! the log.

use crate::bed::{ProxyFixture, ScriptedOrigin, against_haproxy, pause, settle};
use crate::clock::undisturbed;
use std::time::Instant;

const GET: &str = "GET /a HTTP/1.1\r\nHost: h\r\n\r\n";
const BACK: &str =
    "stot econ eresp wretr wredis hrsp_2xx hrsp_4xx hrsp_5xx cli_abrt srv_abrt lbtot";
const FRONT: &str = "ereq dreq hrsp_2xx hrsp_4xx hrsp_5xx req_tot";

/// Checks that this much time has passed, with a margin for a busy machine.
#[track_caller]
fn took(since: Instant, ms: u64) {
    let elapsed = since.elapsed().as_millis() as u64;
    assert!(
        (ms - 10..ms + 400).contains(&elapsed),
        "{elapsed} ms in place of {ms}"
    );
}

fn status(text: &str) -> &str {
    text.get(9..12).unwrap_or(text)
}

#[test]
fn request_headers_have_a_timeout() {
    undisturbed(|| {
        let origin = ScriptedOrigin::echo();
        // Expected timeouts of a silent, a slow, a persistent, and a persistent and slow client.
        for (front, silent, slow, kept, kept_slow) in [
            ("timeout http-request 150ms", 150, 150, 150, 150),
            ("timeout client 150ms", 150, 250, 150, 150),
            (
                "timeout http-request 150ms\n timeout http-keep-alive 100ms",
                150,
                150,
                100,
                150,
            ),
        ] {
            let bed = ProxyFixture::new(&origin.behind(front, ""));
            bed.client();
            assert_eq!(bed.end(), "400 CR");
            let at = Instant::now();
            let said = bed.client().ends();
            took(at, silent);
            assert_eq!((status(&said), &*bed.end()), ("408", "408 cR"), "{front}");
            let mut client = bed.client();
            let at = Instant::now();
            client.send("GET / HTTP/1.1\r\n");
            pause(100);
            client.send("Host: h\r\n");
            let said = client.ends();
            took(at, slow);
            assert_eq!((status(&said), &*bed.end()), ("408", "408 cR"), "{front}");
            bed.counts("front", FRONT, "ereq=3 hrsp_4xx=3 req_tot=3");
            let mut client = bed.client();
            assert!(client.ask(GET).starts_with("200"));
            let at = Instant::now();
            let said = client.ends();
            took(at, kept);
            assert_eq!((&*said, &*bed.end()), ("FIN", "200 --"), "{front}");
            let mut client = bed.client();
            assert!(client.ask(GET).starts_with("200"));
            bed.end();
            pause(50);
            let at = Instant::now();
            client.send("GET / HT");
            let said = client.ends();
            took(at, kept_slow);
            assert_eq!((status(&said), &*bed.end()), ("408", "408 cR"), "{front}");
            bed.no_more_ended();
        }
    });
}

#[test]
fn probes_are_ignored_with_the_option() {
    undisturbed(|| {
        let origin = ScriptedOrigin::echo();
        let bed = ProxyFixture::new(
            &origin.behind("option http-ignore-probes\n timeout http-request 50ms", ""),
        );
        bed.client();
        assert_eq!(bed.client().ends(), "FIN");
        bed.no_more_ended();
    });
}

#[test]
fn request_body_has_a_timeout_per_piece() {
    undisturbed(|| {
        if against_haproxy() {
            // HAProxy waits for `timeout server` and responds with 504.
            return;
        }
        let origin = ScriptedOrigin::new(|mut peer, _| {
            peer.rest();
        });
        let bed = ProxyFixture::new(
            &origin.behind("timeout client 150ms\n timeout http-request 100ms", ""),
        );
        let mut client = bed.client();
        let at = Instant::now();
        client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 20\r\n\r\n12345");
        pause(100);
        client.send("6789");
        let said = client.ends();
        took(at, 250);
        assert_eq!((status(&said), &*bed.end()), ("408", "408 cD"));
        bed.counts("back/s", BACK, "stot=1 cli_abrt=1 lbtot=1");
    });
}

#[test]
fn response_headers_and_body_pieces_have_a_timeout() {
    undisturbed(|| {
        let origin = ScriptedOrigin::new(|mut peer, _| {
            let head = peer.head().unwrap();
            if head.contains("/slowhead") {
                for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok" {
                    peer.try_send([*byte]);
                    pause(10);
                }
            } else if head.contains("/body") {
                peer.try_send("HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nsome");
            }
            peer.rest();
        });
        let bed = ProxyFixture::new(&origin.behind("", "timeout server 150ms"));
        for what in ["silent", "slowhead"] {
            let mut client = bed.client();
            let at = Instant::now();
            client.send(format!("GET /{what} HTTP/1.1\r\nHost: h\r\n\r\n"));
            // The client's connection is kept, because the client made no mistake.
            assert_eq!(client.answer().status, 504);
            took(at, 150);
            assert_eq!(bed.end(), "504 sH", "{what}");
        }
        let mut client = bed.client();
        let at = Instant::now();
        client.send("GET /body HTTP/1.1\r\nHost: h\r\n\r\n");
        let said = client.ends();
        assert!(said.ends_with("some FIN"), "{said}");
        took(at, 150);
        assert_eq!(bed.end(), "200 sD");
        bed.counts("front", FRONT, "hrsp_2xx=1 hrsp_5xx=2 req_tot=3");
        bed.counts(
            "back/s",
            BACK,
            "stot=3 eresp=2 hrsp_2xx=1 srv_abrt=1 lbtot=3",
        );
        // The server is not silent while it is still being sent the request.
        let mut client = bed.client();
        let at = Instant::now();
        client.send("POST /upload HTTP/1.1\r\nHost: h\r\nContent-Length: 20\r\n\r\n");
        for _ in 0..20 {
            pause(20);
            client.send("x");
        }
        assert_eq!(client.answer().status, 504);
        took(at, 530);
        assert_eq!(bed.end(), "504 sH");
    });
}

#[test]
fn connect_timeout_applies() {
    undisturbed(|| {
        // The queue of this listener is full, so connections to it stay incomplete.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        rustix::net::listen(&listener, 0).unwrap();
        let at = listener.local_addr().unwrap();
        let _held: Vec<_> = (0..2)
            .filter_map(|_| {
                std::net::TcpStream::connect_timeout(&at, std::time::Duration::from_millis(50)).ok()
            })
            .collect();
        let bed = ProxyFixture::new(&format!(
            "frontend front\n bind 127.0.0.1:{{0}}\n default_backend back\nbackend back\n timeout connect 60ms\n retries 1\n server s {at}\n"
        ));
        let mut client = bed.client();
        let began = Instant::now();
        client.send(GET);
        assert_eq!(client.answer().status, 503);
        // Two attempts are made; the pause between them is only for servers that refuse.
        took(began, 120);
        assert_eq!(bed.end(), "503 sC");
        bed.counts("front", FRONT, "hrsp_5xx=1 req_tot=1");
        bed.counts("back/s", BACK, "stot=2 econ=1 wretr=1 lbtot=1");
    });
}

#[test]
fn queue_is_left_by_timeout_and_client_abort() {
    undisturbed(|| {
        let origin = ScriptedOrigin::new(|mut peer, _| {
            peer.head();
            // The response is sent long after both waiting clients have left.
            pause(1500);
            peer.try_send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
        });
        for (option, goes) in [("", "503 sQ"), ("option abortonclose", "0 CQ")] {
            let bed = ProxyFixture::new(&format!(
                "listen back\n bind 127.0.0.1:{{0}}\n timeout queue 100ms\n {option}\n server s 127.0.0.1:{} maxconn 1\n",
                origin.port
            ));
            let mut first = bed.client();
            first.send(GET);
            settle();
            let mut second = bed.client();
            let at = Instant::now();
            second.send(GET);
            pause(20);
            bed.counts("back/s", "qcur", "");
            bed.counts("back/BACKEND", "qcur scur", "qcur=1 scur=2");
            assert_eq!(second.answer().status, 503);
            took(at, 100);
            assert_eq!(bed.end(), "503 sQ");
            let mut third = bed.client();
            third.send(GET);
            pause(20);
            third.half_close();
            let said = third.ends();
            assert_eq!(status(&said), if goes == "503 sQ" { "503" } else { "FIN" });
            assert_eq!(bed.end(), goes);
            assert_eq!(first.answer().status, 200);
            assert_eq!(bed.end(), "200 --");
            bed.counts("back/BACKEND", "qcur scur", "");
        }
    });
}

#[derive(Clone, Copy)]
enum Who {
    Quiet,
    /// The server sends without end.
    Loud,
    /// The server closes its sending side.
    Ending,
}

const CLIENT: &str = "0 cD";
const SERVER: &str = "0 sD";

/// Server, settings, whether the client closes its sending side, the log, and the time.
const TUNNELS: [(Who, &str, bool, &str, u64); 12] = [
    (
        Who::Quiet,
        "timeout client 100ms\n timeout server 300ms",
        false,
        CLIENT,
        100,
    ),
    (
        Who::Quiet,
        "timeout client 300ms\n timeout server 100ms",
        false,
        SERVER,
        100,
    ),
    (
        Who::Quiet,
        "timeout client 100ms\n timeout server 100ms",
        false,
        CLIENT,
        100,
    ),
    (Who::Quiet, "timeout tunnel 100ms", false, CLIENT, 100),
    (Who::Quiet, "timeout client-fin 100ms", true, SERVER, 500),
    (Who::Quiet, "timeout server-fin 100ms", true, SERVER, 100),
    (Who::Ending, "timeout client-fin 100ms", false, CLIENT, 100),
    (Who::Ending, "timeout server-fin 100ms", false, CLIENT, 500),
    (
        Who::Ending,
        "timeout tunnel 300ms\n timeout client-fin 100ms",
        false,
        CLIENT,
        100,
    ),
    (
        Who::Quiet,
        "timeout tunnel 300ms\n timeout server-fin 100ms",
        true,
        SERVER,
        100,
    ),
    (
        Who::Loud,
        "timeout client 200ms\n timeout server 100ms",
        false,
        CLIENT,
        200,
    ),
    (
        Who::Loud,
        "timeout client 100ms\n timeout server 300ms",
        false,
        CLIENT,
        100,
    ),
];

#[test]
fn tunnel_uses_the_timeout_of_the_awaited_side() {
    undisturbed(|| {
        let quiet = ScriptedOrigin::new(|mut peer, _| {
            peer.rest();
            pause(2000);
        });
        let loud = ScriptedOrigin::new(|mut peer, _| while peer.try_send([0; 65536]) {});
        let ending = ScriptedOrigin::new(|mut peer, _| {
            peer.half_close();
            peer.rest();
            pause(2000);
        });
        for (who, settings, client_ends, log, ms) in TUNNELS {
            let origin = match who {
                Who::Quiet => &quiet,
                Who::Loud => &loud,
                Who::Ending => &ending,
            };
            let bed = ProxyFixture::new(&format!(
                "listen back\n mode tcp\n bind 127.0.0.1:{{0}}\n timeout client 500ms\n \
             timeout server 500ms\n {settings}\n server s 127.0.0.1:{}\n",
                origin.port
            ));
            let mut peer = bed.client();
            let at = Instant::now();
            peer.send("x");
            if client_ends {
                peer.half_close();
            }
            assert_eq!(bed.end(), log, "{settings}");
            // haproxy closes one direction after the other.
            if !against_haproxy() {
                took(at, ms);
            }
            drop(peer);
        }
    });
}

#[test]
fn tarpit_holds_a_client_until_timeout_or_close() {
    undisturbed(|| {
        let origin = ScriptedOrigin::echo();
        let bed =
            ProxyFixture::new(&origin.behind("timeout tarpit 150ms\n http-request tarpit", ""));
        let mut client = bed.client();
        let at = Instant::now();
        client.send(GET);
        assert_eq!(client.answer().status, 500);
        took(at, 150);
        assert_eq!(bed.end(), "500 PT");
        bed.counts("front", FRONT, "dreq=1 hrsp_5xx=1 req_tot=1");
        let mut client = bed.client();
        client.send(GET);
        pause(20);
        drop(client);
        assert_eq!(bed.end(), "500 PT");
    });
}
