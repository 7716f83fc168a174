//! Tests forwarded responses of every kind: without bodies, interim, upgrades, early, malformed.

use crate::bed::{ProxyFixture, ScriptedOrigin, pause, request_body, settle};

const GET: &str = "GET /a HTTP/1.1\r\nHost: h\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[test]
fn responses_without_bodies_keep_the_connection_in_sync() {
    let origin = ScriptedOrigin::new(|mut peer, _| {
        while let Some(head) = peer.head() {
            let answer = match head.split(' ').nth(1).unwrap() {
                "/204" => "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n",
                "/304" => "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
                "/head" => "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
                "/headc" => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
                "/empty" => "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
                "/chunk0" => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
                _ => OK,
            };
            peer.send(answer);
        }
    });
    let bed = ProxyFixture::new(&origin.behind("", ""));
    let mut client = bed.client();
    for (request, to_head) in [
        ("GET /204", true),
        ("GET /304", true),
        ("HEAD /head", true),
        ("HEAD /headc", true),
        ("GET /empty", false),
        ("GET /chunk0", false),
    ] {
        client.send(format!("{request} HTTP/1.1\r\nHost: h\r\n\r\n"));
        client.answer_of(to_head);
        assert_eq!(client.ask(GET), "200 ok", "{request}");
    }
    assert_eq!(origin.accepted(), 1);
}

#[test]
fn response_ended_by_close_is_forwarded() {
    let origin = ScriptedOrigin::closing("HTTP/1.1 200 OK\r\n\r\nuntil the end");
    let bed = ProxyFixture::new(&origin.behind("", ""));
    let mut client = bed.client();
    client.send(GET);
    assert_eq!(client.answer().body, b"until the end");
    assert_eq!(bed.end(), "200 --");
    let text = bed.ask("GET /a HTTP/1.0\r\n\r\n");
    assert!(text.ends_with("\r\n\r\nuntil the end"), "{text}");
}

#[test]
fn trailers_pass_in_both_directions() {
    let origin = ScriptedOrigin::new(|mut peer, _| {
        while let Some(_head) = peer.head() {
            let body = peer.until("0\r\n");
            let trailers = peer.until("\r\n\r\n");
            assert!(body.contains("5\r\nhello\r\n"), "{body}");
            assert!(trailers.to_lowercase().contains("x-up: 1"), "{trailers}");
            peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nyes\r\n0\r\nX-Down: 2\r\n\r\n");
        }
    });
    let bed = ProxyFixture::new(&origin.behind("", ""));
    let mut client = bed.client();
    for _ in 0..3 {
        client.send("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Up: 1\r\n\r\n");
        let text = client.until("\r\n\r\n") + &client.until("\r\n\r\n");
        assert!(
            text.to_lowercase()
                .ends_with("3\r\nyes\r\n0\r\nx-down: 2\r\n\r\n"),
            "{text}"
        );
    }
}

#[test]
fn a_client_that_expects_100_gets_it_from_the_server_and_then_uploads() {
    let origin = ScriptedOrigin::new(|mut peer, _| {
        while let Some(head) = peer.head() {
            peer.send("HTTP/1.1 100 Continue\r\n\r\n");
            let body = request_body(&mut peer, &head);
            peer.send(format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n",
                body.len()
            ));
            peer.send(body);
        }
    });
    let bed = ProxyFixture::new(&origin.behind("", ""));
    let mut client = bed.client();
    for _ in 0..2 {
        client.send(
            "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n",
        );
        assert_eq!(client.until("\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
        assert_eq!(client.ask("body"), "200 body");
    }
    assert_eq!(bed.end(), "200 --");
}

#[test]
fn client_may_upload_without_receiving_100() {
    let origin = ScriptedOrigin::echo();
    let bed = ProxyFixture::new(&origin.behind("", ""));
    let mut client = bed.client();
    client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n");
    settle();
    assert_eq!(client.ask("body"), "200 0: POST / body");
}

#[test]
fn final_response_instead_of_100_is_forwarded_at_once() {
    let origin = ScriptedOrigin::new(|mut peer, _| {
        peer.head();
        peer.send("HTTP/1.1 417 No\r\nContent-Length: 2\r\n\r\nno");
        peer.rest();
    });
    let bed = ProxyFixture::new(&origin.behind("", ""));
    let mut client = bed.client();
    client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!(client.answer().status, 417);
}

#[test]
fn interim_responses_reach_http_1_1_clients() {
    let origin = ScriptedOrigin::fixed(
        "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    );
    let bed = ProxyFixture::new(&origin.behind("", ""));
    let mut client = bed.client();
    for _ in 0..2 {
        client.send(GET);
        assert!(client.until("\r\n\r\n").starts_with("HTTP/1.1 103 "));
        assert!(client.until("\r\n\r\n").starts_with("HTTP/1.1 102 "));
        assert_eq!(client.answer().body, b"ok");
    }
}

#[test]
fn upload_continues_after_an_early_response() {
    let origin = ScriptedOrigin::new(|mut peer, number| {
        while let Some(head) = peer.head() {
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nearly");
            let body = request_body(&mut peer, &head);
            assert_eq!(body.len(), 200_000 * (number == 0) as usize);
        }
    });
    let bed = ProxyFixture::new(&origin.behind("", ""));
    let mut client = bed.client();
    client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 200000\r\n\r\n");
    assert_eq!(client.answer().body, b"early");
    for _ in 0..20 {
        client.send([b'x'; 10_000]);
        pause(2);
    }
    // The next response on the connection is still assigned to the right request.
    assert_eq!(
        client.ask("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 200000\r\n\r\n"),
        "200 early"
    );
    client.send(vec![b'y'; 200_000]);
    for ended in bed.ended(2) {
        assert_eq!(
            (ended.brief(), ended.bytes_in > 200_000),
            ("200 --".to_owned(), true)
        );
    }
    assert_eq!(origin.accepted(), 1);
}

#[test]
fn early_response_with_close_is_forwarded() {
    let origin = ScriptedOrigin::new(|mut peer, _| {
        peer.head();
        peer.send("HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig");
    });
    let bed = ProxyFixture::new(&origin.behind("", ""));
    for _ in 0..5 {
        let mut client = bed.client();
        client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 20000000\r\n\r\n");
        let mut sender = client.socket.try_clone().unwrap();
        let upload = std::thread::spawn(move || {
            use std::io::Write;
            for _ in 0..2000 {
                if sender.write_all(&[b'x'; 10_000]).is_err() {
                    return;
                }
            }
        });
        let answer = client.answer();
        assert_eq!((answer.status, &answer.body[..]), (413, &b"big"[..]));
        drop(client);
        upload.join().unwrap();
    }
}

#[test]
fn upgrade_becomes_a_tunnel_with_buffered_bytes() {
    let origin = ScriptedOrigin::new(|mut peer, _| {
        peer.head().unwrap();
        peer.send("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: foo\r\n\r\nhello from the server");
        assert_eq!(peer.exactly(10), b"from behin");
        peer.send("bye");
        assert_eq!(peer.rest(), "d");
        peer.send("late");
    });
    let bed = ProxyFixture::new(&origin.behind("", ""));
    let mut client = bed.client();
    client.send(
        "GET /up HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: foo\r\n\r\nfrom behind",
    );
    let head = client.until("\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    assert_eq!(client.exactly(24), b"hello from the serverbye");
    client.half_close();
    assert_eq!(client.rest(), "late");
    assert_eq!(bed.end(), "101 --");
}

#[test]
fn connect_becomes_a_tunnel() {
    let origin = ScriptedOrigin::new(|mut peer, _| {
        assert!(
            peer.head()
                .unwrap()
                .starts_with("CONNECT a.example:443 HTTP/1.1\r\n")
        );
        peer.send("HTTP/1.1 200 Connected\r\n\r\nserver speaks");
        assert_eq!(peer.exactly(6), b"client");
        peer.send("!");
    });
    let bed = ProxyFixture::new(&origin.behind("", ""));
    let mut client = bed.client();
    client.send("CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\nclient");
    client.until("\r\n\r\n");
    assert_eq!(client.rest(), "server speaks!");
    drop(client);
    assert_eq!(bed.end(), "200 --");
}

#[test]
fn refused_connect_is_an_ordinary_response() {
    let origin = ScriptedOrigin::fixed("HTTP/1.1 405 No\r\nContent-Length: 2\r\n\r\nno");
    let bed = ProxyFixture::new(&origin.behind("", ""));
    let mut client = bed.client();
    client.send("CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n");
    assert_eq!(client.answer().body, b"no");
}

#[test]
fn a_tunnel_holds_its_slot_of_the_server() {
    let origin = ScriptedOrigin::new(|mut peer, _| {
        let head = peer.head().unwrap();
        if head.contains("pgrade") {
            peer.send("HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: foo\r\n\r\n");
            peer.rest();
        } else {
            peer.send(OK);
        }
    });
    let text = format!(
        "listen l\n bind 127.0.0.1:{{0}}\n timeout queue 100ms\n server s 127.0.0.1:{} maxconn 1\n",
        origin.port
    );
    let bed = ProxyFixture::new(&text);
    let mut tunnel = bed.client();
    tunnel.send("GET /up HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: foo\r\n\r\n");
    tunnel.until("\r\n\r\n");
    assert!(bed.ask(GET).starts_with("HTTP/1.1 503 "));
    assert_eq!(bed.end(), "503 sQ");
    drop(tunnel);
    assert_eq!(bed.end(), "101 --");
    assert_eq!(bed.client().ask(GET), "200 ok");
}

#[test]
fn time_in_a_queue_is_logged_also_without_a_slot() {
    for (mode, option, letters, server) in [
        ("http", "timeout queue 100ms", "503 sQ", "<NOSRV>"),
        ("tcp", "timeout queue 100ms", "0 sQ", "<NOSRV>"),
        ("http", "option abortonclose", "0 CQ", "<NOSRV>"),
        // The stream belongs to one server, and waits in that server's queue.
        (
            "http",
            "timeout queue 100ms\n use-server s if TRUE",
            "503 sQ",
            "s",
        ),
    ] {
        let text = format!(
            "listen o\n bind 127.0.0.1:{{1}}\n mode tcp\n tcp-request inspect-delay 60s\n \
             tcp-request content reject if WAIT_END\n\
             listen l\n bind 127.0.0.1:{{0}}\n mode {mode}\n {option}\n server s 127.0.0.1:{{1}} maxconn 1\n"
        );
        let bed = ProxyFixture::new(&text);
        let mut holder = bed.client();
        holder.send(GET);
        bed.counts("l/s", "scur", "scur=1");
        let mut waits = bed.client();
        waits.send(GET);
        if letters == "0 CQ" {
            bed.counts("l/BACKEND", "qcur", "qcur=1");
            drop(waits);
        }
        let ended = &bed.ended(1)[0];
        assert_eq!(ended.brief(), letters, "{mode} {option}");
        assert_eq!(ended.server, server, "{mode} {option}");
        let waited = ended
            .queue_ms
            .unwrap_or_else(|| panic!("{mode} {option}: no time"));
        assert!(letters == "0 CQ" || waited >= 99, "{waited} ms");
        let queues = if server == "s" { "1/0" } else { "0/1" };
        assert_eq!(ended.queues, queues, "{mode} {option}");
    }
}

#[test]
fn bytes_after_a_response_reach_nobody() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
        "HTTP/1.1 204 OK\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
    ] {
        let origin = ScriptedOrigin::fixed(answer);
        let bed = ProxyFixture::new(&origin.behind("", ""));
        let mut client = bed.client();
        for n in 1..4 {
            client.send(GET);
            let first = client.answer();
            assert!(first.status == 204 || first.body == b"ok");
            assert_eq!(origin.accepted(), n);
        }
    }
}

#[test]
fn late_bytes_close_an_idle_connection() {
    let origin = ScriptedOrigin::new(|mut peer, number| {
        while peer.head().is_some() {
            peer.send(format!(
                "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{number}"
            ));
            pause(20);
            if !peer.try_send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil") {
                return;
            }
        }
    });
    let bed = ProxyFixture::new(&origin.behind("", ""));
    let mut client = bed.client();
    assert_eq!(client.ask(GET), "200 0");
    pause(60);
    assert_eq!(client.ask(GET), "200 1");
}
