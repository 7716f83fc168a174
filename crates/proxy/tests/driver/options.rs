//! Tests options of proxies and servers whose effects are visible to clients and servers.

use crate::bed::{PATIENCE, ProxyFixture, ScriptedOrigin, against_haproxy, pause, request_body};
use crate::clock::undisturbed;
use std::net::UdpSocket;
use std::time::{Duration, Instant};

const GET: &str = "GET /a?b HTTP/1.1\r\nHost: h\r\n\r\n";

/// Creates two servers that respond with their letter.
fn two() -> (ScriptedOrigin, ScriptedOrigin) {
    (
        ScriptedOrigin::fixed("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na"),
        ScriptedOrigin::fixed("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nb"),
    )
}

#[test]
fn redir_redirects_get_and_head_only() {
    let origin = ScriptedOrigin::echo();
    let bed = ProxyFixture::new(&format!(
        "listen h\n bind 127.0.0.1:{{0}}\n server s 127.0.0.1:{} redir http://img.example.com/x\n",
        origin.port
    ));
    for method in ["GET", "HEAD"] {
        let answer = bed.ask(&GET.replace("GET", method));
        assert!(answer.starts_with("HTTP/1.1 302 Found\r\n"), "{answer}");
        assert!(
            answer.contains("location: http://img.example.com/x/a?b\r\n"),
            "{answer}"
        );
        let ended = bed.ended(1).remove(0);
        assert_eq!(
            (ended.brief().as_str(), ended.server.as_str()),
            ("302 LC", "s")
        );
    }
    let mut client = bed.client();
    client.send("POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi");
    assert_eq!(client.answer().body, b"0: POST /a hi");
    assert_eq!(bed.end(), "200 --");
}

#[test]
fn a_redirection_by_an_empty_prefix_stays_on_its_host() {
    let origin = ScriptedOrigin::echo();
    let bed = ProxyFixture::new(&format!(
        "listen h\n bind 127.0.0.1:{{0}}\n server s 127.0.0.1:{} redir /\n",
        origin.port
    ));
    if against_haproxy() {
        return;
    }
    let answer = bed.ask("GET //evil.example/ HTTP/1.1\r\nHost: h\r\n\r\n");
    assert!(!answer.contains("location: //"), "{answer}");
}

#[test]
fn prefer_last_server_keeps_a_client_on_its_server() {
    let (a, b) = two();
    let text = |option: &str| {
        format!(
            "listen h\n {option}\n http-reuse never\n bind 127.0.0.1:{{0}}\n server a 127.0.0.1:{}\n server b 127.0.0.1:{}\n",
            a.port, b.port
        )
    };
    for (option, wanted) in [
        ("option prefer-last-server", "aaaabbbb"),
        ("", "ababababab"),
    ] {
        let bed = ProxyFixture::new(&text(option));
        let mut seen = String::new();
        for _ in 0..2 {
            let mut client = bed.client();
            for _ in 0..4 {
                seen += &client.ask(GET)[4..];
            }
        }
        assert!(wanted.starts_with(&seen), "{option}: {seen}");
    }
}

#[test]
fn checkcache_blocks_cacheable_responses_with_cookies() {
    let origin = ScriptedOrigin::new(|mut peer, _| {
        while let Some(head) = peer.head() {
            let fields = if head.contains("/private") {
                "ETag: \"1\"\r\nCache-Control: private\r\n"
            } else if head.contains("/bare") {
                ""
            } else {
                "ETag: \"1\"\r\n"
            };
            peer.send(format!(
                "HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\n{fields}Content-Length: 0\r\n\r\n"
            ));
        }
    });
    let bed = ProxyFixture::new(&origin.behind("", "option checkcache"));
    assert_eq!(bed.client().ask(GET).split(' ').next(), Some("502"));
    assert_eq!(bed.end(), "502 PH");
    for path in ["/private", "/bare"] {
        assert_eq!(bed.client().ask(&GET.replace("/a", path)), "200 ");
        assert_eq!(bed.end(), "200 --");
    }
    bed.counts("back/s", "dresp", "dresp=1");
    // Another fixture would wait until this one is dropped.
    drop(bed);
    // `nocache` marks the response first.
    let lines =
        " option checkcache\n cookie SRV insert indirect nocache dynamic\n dynamic-cookie-key k";
    let bed = ProxyFixture::new(&origin.behind("", lines));
    let mut client = bed.client();
    client.send(GET);
    let head = client.answer().head;
    assert!(head.contains("cache-control: private"), "{head}");
}

#[test]
fn proxy_connection_header_applies_with_its_option() {
    if against_haproxy() {
        // HAProxy 2.6 reads the option and does nothing.
        return;
    }
    let origin = ScriptedOrigin::echo();
    let bed = ProxyFixture::new(&origin.behind("option http-use-proxy-header", ""));
    let header = "HTTP/1.1\r\nHost: h\r\nProxy-Connection: close\r\n\r\n";
    let mut client = bed.client();
    client.send(format!("GET /a {header}"));
    client.answer();
    client.send(format!("GET http://h/a {header}"));
    let answer = client.answer();
    assert!(answer.head.contains("connection: close"), "{}", answer.head);
    assert_eq!(client.ends(), "FIN");
}

#[test]
fn buffered_request_reaches_the_server_only_when_complete() {
    let origin = ScriptedOrigin::new(|mut peer, _| {
        while let Some(head) = peer.head() {
            let expects = head.to_lowercase().contains("expect");
            let body = request_body(&mut peer, &head);
            peer.send(format!(
                "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n{} {expects}",
                body.len()
            ));
        }
    });
    let bed = ProxyFixture::new(&origin.behind(
        "option http-buffer-request\n timeout http-request 300ms",
        "",
    ));
    let post = "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n";
    let mut client = bed.client();
    client.send(format!("{post}Expect: 100-continue\r\n\r\n"));
    assert_eq!(client.until("\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
    assert_eq!(origin.accepted(), 0);
    client.send("hello");
    assert_eq!(client.answer().body, b"5 false");
    let mut slow = bed.client();
    slow.send(format!("{post}\r\nhe"));
    assert_eq!(slow.answer().status, 408);
    assert_eq!(origin.accepted(), 1);
    assert_eq!(
        (bed.end(), bed.end()),
        ("200 --".to_owned(), "408 cR".to_owned())
    );
    // HAProxy 2.6 sends nothing in reply; later versions answer, too.
    if !against_haproxy() {
        let mut gone = bed.client();
        gone.send(format!("{post}\r\nhe"));
        gone.half_close();
        assert_eq!(gone.answer().status, 400);
        assert_eq!((origin.accepted(), bed.end()), (1, "400 CR".to_owned()));
    }
}

#[test]
fn logasap_logs_at_the_start_of_the_response() {
    if against_haproxy() {
        return;
    }
    let log = UdpSocket::bind("127.0.0.1:0").unwrap();
    log.set_read_timeout(Some(PATIENCE)).unwrap();
    let origin = ScriptedOrigin::new(|mut peer, _| {
        peer.head();
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc");
        while matches!(peer.more(), Ok(true)) {}
    });
    let front = format!(
        "timeout client 1s\n option logasap\n log 127.0.0.1:{} local0\n log-format \"@ %ts %ST B=%B Tt=%Tt\"",
        log.local_addr().unwrap().port()
    );
    model::log::start(model::log::Sink::open([]), Box::new(|_| {})).unwrap();
    let bed = ProxyFixture::new(&origin.behind(&front, "timeout server 1s"));
    let mut client = bed.client();
    client.send(GET);
    client.until("abc");
    let mut line = [0; 1000];
    let n = log.recv(&mut line).unwrap();
    let line = String::from_utf8_lossy(&line[..n]).into_owned();
    assert!(
        line.contains("@ -- 200 B=+") && line.contains(" Tt=+"),
        "{line}"
    );
    client.reset();
    bed.end();
    log.set_read_timeout(Some(std::time::Duration::from_millis(100)))
        .unwrap();
    assert!(log.recv(&mut [0; 1000]).is_err(), "logged twice");
}

#[test]
fn error_log_format_applies_to_invalid_input_only() {
    if against_haproxy() {
        return;
    }
    let log = UdpSocket::bind("127.0.0.1:0").unwrap();
    log.set_read_timeout(Some(PATIENCE)).unwrap();
    let origin = ScriptedOrigin::fixed("HTTP/1.1 500 E\r\nContent-Length: 0\r\n\r\n");
    let front = format!(
        "log 127.0.0.1:{} local0\n log-format \"@%ST %HU %ID\"\n error-log-format \"@ERROR %ST\"\n \
         unique-id-format id-%[path]\n http-request deny if {{ path /deny }}\n \
         http-request redirect location /x if {{ path /redirect }}",
        log.local_addr().unwrap().port()
    );
    model::log::start(model::log::Sink::open([]), Box::new(|_| {})).unwrap();
    let bed = ProxyFixture::new(&origin.behind(&front, ""));
    let line = |request: &str| {
        bed.ask(request);
        let mut line = [0; 1000];
        let n = log.recv(&mut line).unwrap();
        let line = String::from_utf8_lossy(&line[..n]).into_owned();
        line.split_once('@')
            .map(|(_, text)| text.trim_end().to_owned())
    };
    for (path, status) in [("/", 500), ("/deny", 403), ("/redirect", 302)] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
        assert_eq!(line(&request), Some(format!("{status} {path} id-{path}")));
    }
    assert_eq!(line("BAD\r\n\r\n").as_deref(), Some("ERROR 400"));
}

#[test]
fn independent_streams_times_both_directions_of_a_side() {
    undisturbed(|| {
        let origin = ScriptedOrigin::new(|mut peer, _| {
            // The client sends all the time, as a ticker does, and is never answered.
            while peer.try_send("tick") {
                pause(50);
            }
        });
        for (option, ends) in [("option independent-streams", true), ("", false)] {
            let bed = ProxyFixture::new(&format!(
                "listen t\n mode tcp\n {option}\n timeout client 300ms\n timeout server 300ms\n bind 127.0.0.1:{{0}}\n \
             server s 127.0.0.1:{}\n",
                origin.port
            ));
            let mut client = bed.client();
            let began = Instant::now();
            while began.elapsed() < Duration::from_millis(900) && matches!(client.more(), Ok(true))
            {
            }
            drop(client);
            let ended = bed.ended(1).remove(0);
            assert_eq!(ended.state == "cD", ends, "{option}: {ended:?}");
        }
    });
}

#[test]
fn max_reuse_limits_requests_per_connection() {
    for (options, connections) in [("max-reuse 1", 3), ("pool-max-conn 0", 6), ("", 1)] {
        let origin = ScriptedOrigin::echo();
        let bed = ProxyFixture::new(&format!(
            "listen h\n http-reuse always\n bind 127.0.0.1:{{0}}\n server s 127.0.0.1:{} {options}\n",
            origin.port
        ));
        let mut client = bed.client();
        for _ in 0..6 {
            assert!(client.ask(GET).starts_with("200 "));
        }
        // HAProxy 2.6 does not count the requests that one client sends on a connection.
        let same = !against_haproxy() || options != "max-reuse 1";
        assert!(
            !same || origin.accepted() == connections,
            "{options}: {}",
            origin.accepted()
        );
    }
}

#[test]
fn idle_connections_to_servers_are_kept_as_the_share_of_files_allows() {
    if against_haproxy() {
        return;
    }
    for (tune, connections) in [("tune.pool-low-fd-ratio 100", 1), ("", 1)] {
        let origin = ScriptedOrigin::echo();
        let text = format!(
            "global\n {tune}\n{}",
            origin.behind("", "http-reuse always")
        );
        let bed = ProxyFixture::new(&text);
        let mut client = bed.client();
        for _ in 0..4 {
            assert!(client.ask(GET).starts_with("200 "));
        }
        assert_eq!(origin.accepted(), connections, "{tune}");
    }
}

#[test]
fn idle_clients_stay_at_a_soft_stop_with_the_option() {
    if against_haproxy() {
        return;
    }
    let origin = ScriptedOrigin::echo();
    for (option, how) in [("option idle-close-on-response", "open"), ("", "FIN")] {
        let mut bed = ProxyFixture::new(&origin.behind(option, ""));
        let mut client = bed.client();
        client.ask(GET);
        let running = bed.ours().take().unwrap();
        running.soft_stop();
        let end = if how == "open" {
            client.end(1300)
        } else {
            client.ends()
        };
        assert_eq!(end, how, "{option}");
        if how == "open" {
            assert!(client.ask(GET).starts_with("200 "));
            assert_eq!(client.ends(), "FIN");
        }
        running.wait().unwrap();
    }
}
