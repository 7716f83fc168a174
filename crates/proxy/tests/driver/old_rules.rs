//! Tests rules of HAProxy 1.x over sockets: edits of message lines in every HTTP version, and
//! health checks answered before anything is read.

use crate::bed::{ProxyFixture, ScriptedOrigin, against_haproxy};
use crate::peer2::{Peer2, request};
use std::io::Read;

/// Creates an origin that returns the head that it received, and its own address.
fn showing() -> ScriptedOrigin {
    ScriptedOrigin::new(|mut peer, _| {
        while let Some(head) = peer.head() {
            let length = head.len();
            peer.send(format!(
                "HTTP/1.1 200 OK\r\nServer: IIS\r\nX-Powered-By: x\r\nLocation: http://www.example.com/there?a\r\n\
                 Content-Length: {length}\r\n\r\n{head}"
            ));
        }
    })
}

#[test]
fn old_line_rules_apply_to_every_request_and_response() {
    if against_haproxy() {
        return;
    }
    let origin = showing();
    let bed = ProxyFixture::new(&origin.behind(
        "reqirep ^(\\w+\\ )https:/(/.*)$ \\1http:/\\2\n reqrep ^X-Old:(.*) X-New:\\1\n reqadd X-Forwarded-Proto:\\ https\n \
         rspidel ^Server:.*$\n rspirep ^Location:\\s*http://.*?\\.example.com(/.*)$ Location:\\ \\1\n",
        "rspdel ^X-Powered-By:\n",
    ));
    let mut client = bed.client();
    for number in 0..3 {
        client.send(format!(
            "GET https://h/a{number} HTTP/1.1\r\nHost: h\r\nX-Old: {number}\r\nX-old: kept\r\n\r\n"
        ));
        let answer = client.answer();
        let seen = String::from_utf8_lossy(&answer.body).into_owned();
        assert!(
            seen.starts_with(&format!("GET http://h/a{number} HTTP/1.1\r\n")),
            "{seen}"
        );
        for line in [
            &*format!("x-new: {number}\r\n"),
            "x-old: kept\r\n",
            "x-forwarded-proto: https\r\n",
        ] {
            assert!(seen.contains(line), "{seen}");
        }
        assert!(
            answer.head.contains("location: /there?a\r\n"),
            "{}",
            answer.head
        );
        assert!(!answer.head.contains("server:"), "{}", answer.head);
        assert!(!answer.head.contains("x-powered-by:"), "{}", answer.head);
    }
}

#[test]
fn rules_refuse_hold_and_switch() {
    if against_haproxy() {
        return;
    }
    let origin = showing();
    let other = ScriptedOrigin::fixed("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nother");
    let bed = ProxyFixture::new(&format!(
        "frontend f\n bind 127.0.0.1:{{0}}\n timeout tarpit 10ms\n reqallow ^Host:\\ good\n reqdeny ^GET\\ /no\n \
         reqtarpit ^GET\\ /cgi-bin/\n reqsetbe ^GET\\ /other o\n acl blocked path /blocked\n block if blocked\n default_backend b\n\
         backend b\n acl fine status 200\n rspdeny ^X-Secret: if fine\n reqrep ^GET\\ /break GET\n server s 127.0.0.1:{}\n\
         backend o\n server s 127.0.0.1:{}\n",
        origin.port, other.port
    ));
    let ask = |target: &str, host: &str| {
        let text = bed.ask(&format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        (text.split(' ').nth(1).unwrap_or("").to_owned(), bed.end())
    };
    let rows = [
        ("/no", "h", "403", "403 PR"),
        ("/no", "good", "200", "200 --"),
        ("/cgi-bin/x", "h", "500", "500 PT"),
        ("/blocked", "good", "403", "403 PR"),
        ("/break", "h", "400", "400 PR"),
        ("/yes", "h", "200", "200 --"),
    ];
    for (target, host, status, end) in rows {
        assert_eq!(
            ask(target, host),
            (status.to_owned(), end.to_owned()),
            "{target}"
        );
    }
    assert!(
        bed.ask("GET /other HTTP/1.1\r\nHost: h\r\n\r\n")
            .ends_with("other")
    );
}

#[test]
fn clients_of_http2_pass_the_same_lines() {
    if against_haproxy() {
        return;
    }
    let origin = showing();
    let bed = ProxyFixture::new(&format!(
        "listen h\n bind 127.0.0.1:{{0}} proto h2\n reqrep ^([^\\ ]*)\\ /old/(.*) \\1\\ /new/\\2\n reqidel ^X-Gone:\n \
         rspidel ^server:\n server s 127.0.0.1:{}\n",
        origin.port
    ));
    let mut client = Peer2::client(bed.client());
    for _ in 0..2 {
        let fields = request("GET", "/old/x") + "x-gone: 1\nx-stays: 1\n";
        let stream = client.fields(0, &fields, true);
        let answer = client.answer(stream);
        let (head, body) = (
            answer.head,
            String::from_utf8_lossy(&answer.body).into_owned(),
        );
        assert!(!head.contains("server:"), "{head}");
        assert!(body.starts_with("GET /new/x HTTP/1.1\r\n"), "{body}");
        assert!(
            body.contains("x-stays: 1\r\n") && !body.contains("x-gone"),
            "{body}"
        );
    }
}

#[test]
fn checks_of_other_load_balancers_get_a_response_without_log() {
    if against_haproxy() {
        return;
    }
    let origin = showing();
    let bed = ProxyFixture::new(&format!(
        "listen h\n bind 127.0.0.1:{{0}}\n monitor-net 127.0.0.0/8\n server s 127.0.0.1:{0}\n\
         listen t\n mode tcp\n bind 127.0.0.1:{{1}}\n monitor-net 127.0.0.0/8\n server s 127.0.0.1:{0}\n\
         listen a\n mode health\n bind 127.0.0.1:{{2}}\n\
         listen c\n mode health\n option httpchk\n bind 127.0.0.1:{{3}}\n",
        origin.port
    ));
    for (port, expected) in [
        (0, "HTTP/1.0 200 OK\r\n\r\n"),
        (1, ""),
        (2, "OK\n"),
        (3, "HTTP/1.0 200 OK\r\n\r\n"),
    ] {
        let mut client = bed.client_of(port);
        client.send("GET / HTTP/1.0\r\n\r\n");
        let mut seen = String::new();
        client.socket.read_to_string(&mut seen).unwrap();
        assert_eq!(seen, expected, "{port}");
    }
    bed.no_more_ended();
    assert_eq!(origin.accepted(), 0);
}
