//! Tests large bodies and tunnels whose bytes pass through a kernel pipe: the bytes arrive
//! complete and once, are counted, and fail in the same ways as copied ones.

use crate::bed::{
    Gate, Peer, ProxyFixture, ScriptedOrigin, against_haproxy, request_body, settle, soon,
};
use crate::clock::undisturbed;
use std::sync::OnceLock;

const GET: &str = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
/// Length in bytes that exceeds the buffers of both sockets of a connection.
const LENGTH: usize = 24_000_000;

/// Returns a pattern in which a lost, duplicated or moved block is visible, because its
/// period is a prime.
fn pattern(length: usize) -> &'static [u8] {
    static BYTES: OnceLock<Vec<u8>> = OnceLock::new();
    let bytes = BYTES.get_or_init(|| (0..LENGTH).map(|at| (at % 251) as u8).collect());
    &bytes[..length]
}

fn head(length: usize) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n")
}

/// Returns whether all bytes of a body were counted once, with those of a small head.
fn is_with_a_head(bytes: u64) -> bool {
    (LENGTH as u64 + 1..LENGTH as u64 + 200).contains(&bytes)
}

/// Returns the number of bytes that have left through pipes so far.
fn spliced() -> u64 {
    reactor::pipes().bytes
}

/// Checks that bytes went through pipes since `before`; HAProxy does not report that.
fn passed_unseen(before: u64) {
    assert!(
        against_haproxy() || spliced() > before,
        "all of it was copied"
    );
}

/// Checks that no pipe is in use after all streams have ended.
fn no_pipe_is_used() {
    soon("pipes are given back", || reactor::pipes().used == 0);
}

#[test]
fn large_response_survives_a_stalling_client() {
    let origin = ScriptedOrigin::new(|mut peer, _| {
        while peer.head().is_some() {
            // The beginning of the next response must not be the rest of this one.
            peer.send(head(LENGTH));
            if !peer.try_send(pattern(LENGTH)) {
                return;
            }
        }
    });
    let bed = ProxyFixture::new(&origin.behind("", ""));
    let before = spliced();
    let mut client = bed.client();
    client.send(GET);
    let answer = client.head().unwrap();
    // The client starts to read only when all buffers are full.
    settle();
    assert!(client.exactly(LENGTH) == pattern(LENGTH), "other bytes");
    client.send(GET);
    assert_eq!(client.head().unwrap(), answer);
    assert!(client.exactly(LENGTH) == pattern(LENGTH), "other bytes");
    assert_eq!(origin.accepted(), 1);
    let ended = bed.ended(2);
    for ended in &ended {
        assert_eq!(ended.brief(), "200 --");
        assert!(is_with_a_head(ended.bytes_out), "{ended:?}");
    }
    let sent = ended[0].bytes_out + ended[1].bytes_out;
    bed.counts("back/s", "bout", &format!("bout={sent}"));
    passed_unseen(before);
    no_pipe_is_used();
}

#[test]
fn a_large_upload_is_whole_and_counted() {
    let origin = ScriptedOrigin::new(|mut peer, _| {
        while let Some(head) = peer.head() {
            let body = request_body(&mut peer, &head);
            let same = body == pattern(LENGTH);
            let text = if same { "same" } else { "else" };
            peer.send(format!(
                "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n{text}"
            ));
        }
    });
    let bed = ProxyFixture::new(&origin.behind("", ""));
    let before = spliced();
    let mut client = bed.client();
    let ask = format!("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {LENGTH}\r\n\r\n");
    client.send(&ask);
    client.send(pattern(LENGTH));
    assert_eq!(client.answer().body, b"same");
    let ended = &bed.ended(1)[0];
    assert_eq!(ended.brief(), "200 --");
    assert!(is_with_a_head(ended.bytes_in), "{ended:?}");
    passed_unseen(before);
}

#[test]
fn a_body_that_ends_with_its_connection_is_whole_and_a_reset_is_no_end() {
    let all_came = Gate::default();
    let gate = all_came.clone();
    let origin = ScriptedOrigin::new(move |mut peer, _| {
        let cut = peer.head().unwrap().contains("/cut");
        peer.send("HTTP/1.1 200 OK\r\n\r\n");
        peer.send(pattern(LENGTH));
        if cut {
            gate.pass();
            peer.reset();
        }
    });
    let bed = ProxyFixture::new(&origin.behind("", ""));
    let before = spliced();
    let mut client = bed.client();
    client.send("GET / HTTP/1.0\r\n\r\n");
    client.head().unwrap();
    assert!(client.exactly(LENGTH) == pattern(LENGTH), "other bytes");
    assert_eq!(client.ends(), "FIN");
    assert_eq!(bed.end(), "200 --");
    passed_unseen(before);
    let mut client = bed.client();
    client.send("GET /cut HTTP/1.0\r\n\r\n");
    client.head().unwrap();
    assert!(client.exactly(LENGTH) == pattern(LENGTH), "other bytes");
    all_came.open();
    client.ends();
    assert_eq!(bed.end(), "200 SD");
}

#[test]
fn truncated_server_response_ends_the_response() {
    let origin = ScriptedOrigin::new(|mut peer, _| {
        let resets = peer.head().unwrap().contains("/reset");
        peer.send(head(2 * LENGTH));
        peer.send(pattern(LENGTH));
        if resets {
            // The server reads nothing of the request's body.
            peer.reset();
        }
    });
    let bed = ProxyFixture::new(&origin.behind("", ""));
    for (target, at_least) in [("/close", LENGTH), ("/reset", 0)] {
        let mut client = bed.client();
        client.send(format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n"));
        client.head().unwrap();
        while matches!(client.more(), Ok(true)) {}
        let came = client.ahead.len();
        assert!(came >= at_least && came <= LENGTH, "{target}: {came}");
        assert!(client.ahead == pattern(came), "other bytes");
        let ended = &bed.ended(1)[0];
        assert_eq!(ended.brief(), "200 SD", "{target}");
        assert!(ended.bytes_out >= came as u64, "{target}: {ended:?}");
    }
    no_pipe_is_used();
}

#[test]
fn client_abort_ends_a_spliced_response() {
    let origin = ScriptedOrigin::new(|mut peer, _| {
        peer.head();
        peer.send(head(LENGTH));
        peer.try_send(pattern(LENGTH));
    });
    let bed = ProxyFixture::new(&origin.behind("", ""));
    let mut client = bed.client();
    client.send(GET);
    client.exactly(100_000);
    client.reset();
    assert_eq!(bed.end(), "200 CD");
    no_pipe_is_used();
}

#[test]
fn timeouts_apply_within_a_large_body() {
    undisturbed(|| {
        let origin = ScriptedOrigin::new(|mut peer, _| {
            peer.head();
            peer.send(head(LENGTH + 1));
            peer.try_send(pattern(LENGTH));
            peer.rest();
        });
        let bed = ProxyFixture::new(&origin.behind("", "timeout server 1s"));
        let mut client = bed.client();
        client.send(GET);
        client.head().unwrap();
        assert!(client.exactly(LENGTH) == pattern(LENGTH), "other bytes");
        assert_eq!(client.ends(), "FIN");
        assert_eq!(bed.end(), "200 sD");
        drop(bed);
        let bed = ProxyFixture::new(&origin.behind(" timeout client 1s", ""));
        let mut client = bed.client();
        client.send(GET);
        // The client does not read, so `timeout client` ends the connection amid the body (`cD`).
        assert_eq!(bed.end(), "200 cD");
        while matches!(client.more(), Ok(true)) {}
        assert!(client.ahead.len() < LENGTH, "it did not get it all");
        no_pipe_is_used();
    });
}

/// Sends the pattern from a separate thread, and closes the sending side.
fn sends(peer: &Peer) -> std::thread::JoinHandle<()> {
    let mut peer = Peer::new(peer.socket.try_clone().unwrap());
    std::thread::spawn(move || {
        peer.send(pattern(LENGTH));
        peer.half_close();
    })
}

#[test]
fn tunnel_directions_are_independent() {
    let origin = ScriptedOrigin::new(|mut peer, _| {
        let sender = sends(&peer);
        assert!(peer.exactly(LENGTH) == pattern(LENGTH), "other bytes");
        assert_eq!(peer.ends(), "FIN");
        sender.join().unwrap();
    });
    let bed = ProxyFixture::new(&format!(
        "listen back\n mode tcp\n bind 127.0.0.1:{{0}}\n server s 127.0.0.1:{}\n",
        origin.port
    ));
    let before = spliced();
    let mut client = bed.client();
    let sender = sends(&client);
    // The data fills all buffers first.
    settle();
    assert!(client.exactly(LENGTH) == pattern(LENGTH), "other bytes");
    assert_eq!(client.ends(), "FIN");
    sender.join().unwrap();
    assert_eq!(bed.end(), "0 --");
    bed.counts("back/s", "bin bout", &format!("bin={LENGTH} bout={LENGTH}"));
    passed_unseen(before);
    no_pipe_is_used();
}

#[test]
fn tunnel_ends_when_one_side_resets_or_stalls() {
    undisturbed(|| {
        let origin = ScriptedOrigin::new(|mut peer, _| {
            peer.exactly(1);
            peer.try_send(pattern(LENGTH));
        });
        let bed = ProxyFixture::new(&format!(
            "listen back\n mode tcp\n timeout client 1s\n \
             bind 127.0.0.1:{{0}}\n server s 127.0.0.1:{}\n",
            origin.port
        ));
        let mut client = bed.client();
        client.send("x");
        client.exactly(100_000);
        client.reset();
        assert_eq!(bed.end(), "0 CD");
        let mut client = bed.client();
        client.send("x");
        assert_eq!(bed.end(), "0 cD");
        drop(client);
        no_pipe_is_used();
    });
}

#[test]
fn nosplice_has_all_bytes_copied() {
    let origin = ScriptedOrigin::new(|mut peer, _| {
        peer.head();
        peer.send(head(1_000_000));
        peer.send(pattern(1_000_000));
    });
    let text = format!("global\n nosplice\n{}", origin.behind("", ""));
    let bed = ProxyFixture::new(&text);
    let before = spliced();
    let mut client = bed.client();
    client.send(GET);
    client.head().unwrap();
    assert!(client.exactly(1_000_000) == pattern(1_000_000), "others");
    assert_eq!(spliced(), before);
    assert_eq!(bed.end(), "200 --");
}
