//! Tests rules whose effects are visible on sockets: rules that inspect servers' bytes, early
//! hints, lists changed by rules, priorities in queues.

use crate::bed::{PATIENCE, ProxyFixture, ScriptedOrigin, against_haproxy};
use crate::peer2::{Peer2, PeerEvent, request};
use std::sync::{Arc, Mutex, mpsc};

fn listen(lines: &str, origin: &ScriptedOrigin) -> String {
    format!(
        "listen back\n bind 127.0.0.1:{{0}}\n{lines} server s 127.0.0.1:{}\n",
        origin.port
    )
}

/// Creates a bed with these lines in front of the server line.
fn bed(lines: &str, origin: &ScriptedOrigin) -> ProxyFixture {
    ProxyFixture::new(&listen(lines, origin))
}

fn greets(text: &'static str) -> ScriptedOrigin {
    ScriptedOrigin::new(move |mut peer, _| {
        peer.send(text);
        peer.rest();
    })
}

#[test]
fn response_content_rules_accept_or_reject_bytes() {
    let origin = greets("220 hello");
    let lines = " mode tcp\n tcp-response inspect-delay 10s\n tcp-response content reject if { res.payload(0,3) -m str 220 }\n";
    let refused = bed(lines, &origin);
    assert_eq!(refused.client().ends(), "FIN");
    assert_eq!(refused.end(), "0 PD");
    // Only one bed can exist at a time.
    drop(refused);
    let lines = " mode tcp\n tcp-response inspect-delay 10s\n tcp-response content reject if { res.payload(0,3) -m str 421 }\n";
    let passed = bed(lines, &origin);
    let mut client = passed.client();
    assert_eq!(client.exactly(9), b"220 hello");
    client.half_close();
    assert_eq!(client.ends(), "FIN");
}

#[test]
fn client_data_passes_during_response_inspection() {
    let origin = ScriptedOrigin::new(|mut peer, _| {
        let got = peer.exactly(3);
        peer.send(&got);
        peer.rest();
    });
    let lines = " mode tcp\n tcp-response inspect-delay 10s\n tcp-response content accept if { res.len gt 2 }\n tcp-response content reject\n";
    let bed = bed(lines, &origin);
    let mut client = bed.client();
    client.send("one");
    assert_eq!(client.exactly(3), b"one");
}

#[test]
fn rule_closes_a_server_and_the_client_keeps_received_data() {
    let origin = greets("BYE");
    let lines = " mode tcp\n tcp-response inspect-delay 10s\n tcp-response content close if { res.payload(0,3) -m str BYE }\n";
    let bed = bed(lines, &origin);
    assert_eq!(bed.client().ends(), "BYE FIN");
    assert_eq!(bed.end(), "0 --");
}

#[test]
fn response_content_rules_reject_by_headers() {
    let origin = ScriptedOrigin::fixed("HTTP/1.1 200 OK\r\ncontent-length: 2\r\nx-a: b\r\n\r\nok");
    let lines = " mode http\n tcp-response inspect-delay 10s\n tcp-response content reject if { res.hdr(x-a) b }\n";
    let bed = bed(lines, &origin);
    let mut client = bed.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.ends(), "FIN");
}

#[test]
fn response_inspection_does_not_delay_the_request() {
    let (heads, seen) = std::sync::mpsc::channel();
    let origin = ScriptedOrigin::new(move |mut peer, _| {
        let _ = heads.send(peer.head());
        peer.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        peer.rest();
    });
    let lines = " mode http\n tcp-response inspect-delay 10s\n tcp-response content accept unless WAIT_END\n tcp-response content reject\n";
    let bed = bed(lines, &origin);
    let mut client = bed.client();
    client.send("GET /seen HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.ends(), "FIN");
    let head = seen.recv_timeout(PATIENCE).unwrap().unwrap_or_default();
    assert!(head.starts_with("GET /seen "), "{head}");
}

#[test]
fn early_hints_precede_the_response() {
    let origin = ScriptedOrigin::fixed("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
    let lines = " mode http\n http-request early-hint link </a>\n http-request early-hint link </b>\n http-request set-header a b\n http-request early-hint link </c>\n";
    let bed = bed(lines, &origin);
    let mut client = bed.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let wanted = "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\nlink: </b>\r\n\r\n\
                  HTTP/1.1 103 Early Hints\r\nlink: </c>\r\n\r\nHTTP/1.1 200 OK\r\n";
    let got = client.exactly(wanted.len());
    assert_eq!(String::from_utf8_lossy(&got), wanted);
}

#[test]
fn rules_change_maps_and_lists_for_later_requests() {
    if against_haproxy() {
        return;
    }
    let folder = std::env::temp_dir().join(format!("evenkeel-rules-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let (map, list) = (folder.join("m.map"), folder.join("a.lst"));
    std::fs::write(&map, "/old kept\n").unwrap();
    std::fs::write(&list, "192.0.2.1\n").unwrap();
    let (map, list) = (map.display(), list.display());
    let bed = ProxyFixture::new(&format!(
        "frontend www\n mode http\n bind 127.0.0.1:{{0}}\n acl put path_beg /put\n acl take path_beg /take\n \
         http-request set-map({map}) %[url_param(k)] %[url_param(v)] if put\n \
         http-request add-acl({list}) %[src] if put\n http-request del-map({map}) %[url_param(k)] if take\n \
         http-request del-acl({list}) %[src] if take\n \
         http-request return status 200 hdr x-found %[url_param(k),map({map},none)] hdr x-listed yes if {{ src -f {list} }}\n \
         http-request return status 200 hdr x-found %[url_param(k),map({map},none)]\n"
    ));
    let ask = |target: &str| bed.ask(&format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n"));
    assert!(ask("/?k=/old").contains("x-found: kept\r\n"));
    assert!(ask("/?k=a").contains("x-found: none\r\n"));
    let answer = ask("/put?k=a&v=1");
    assert!(answer.contains("x-found: 1\r\n") && answer.contains("x-listed: yes\r\n"));
    assert!(ask("/put?k=a&v=2").contains("x-found: 2\r\n"));
    assert!(ask("/?k=a").contains("x-found: 2\r\n"));
    let answer = ask("/take?k=a");
    assert!(answer.contains("x-found: none\r\n") && !answer.contains("x-listed"));
    assert!(ask("/?k=/old").contains("x-found: kept\r\n"));
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn exporter_uses_haproxys_metric_names() {
    let origin = ScriptedOrigin::fixed("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
    let lines = " mode http\n http-request use-service prometheus-exporter if { path /metrics }\n";
    let bed = bed(lines, &origin);
    let ask = |target: &str| bed.ask(&format!("GET {target} HTTP/1.0\r\nHost: h\r\n\r\n"));
    let all = ask("/metrics");
    for line in [
        "# TYPE haproxy_frontend_http_responses_total counter\n",
        "haproxy_frontend_status{proxy=\"back\",state=\"UP\"} 1\n",
        "haproxy_server_status{proxy=\"back\",server=\"s\",state=\"UP\"} 1\n",
        "haproxy_process_nbproc 1\n",
    ] {
        assert!(all.contains(line), "{line}");
    }
    let servers = ask("/metrics?scope=server");
    assert!(
        servers.contains("haproxy_server_current_queue{") && !servers.contains("haproxy_frontend")
    );
    assert!(ask("/metrics?scope=other").starts_with("HTTP/1.1 400 "));
}

#[test]
fn header_name_options_are_respected() {
    let origin = ScriptedOrigin::new(|mut peer, _| {
        while let Some(head) = peer.head() {
            let seen = head.replace("\r\n", "|");
            peer.send(format!(
                "HTTP/1.1 200 OK\r\nx-seen: {seen}\r\ncontent-length: 0\r\n\r\n"
            ));
        }
    });
    let ask =
        |lines: &str, request: &str| bed(&format!(" mode http\n{lines}"), &origin).ask(request);
    let odd = "GET / HTTP/1.1\r\nHost: h\r\nX_a: 1\r\nX-b: 2\r\n\r\n";
    let answer = ask(" option http-restrict-req-hdr-names delete\n", odd);
    assert!(answer.contains("|x-b: 2|") && !answer.contains("x_a"));
    let answer = ask(" option http-restrict-req-hdr-names reject\n", odd);
    assert!(answer.starts_with("HTTP/1.1 403 "));
    let answer = ask(" option originalto\n", odd);
    assert!(answer.contains("|x-original-to: 127.0.0.1|"));
}

#[test]
fn forwarded_header_has_the_configured_parameters() {
    if against_haproxy() {
        return;
    }
    let origin = ScriptedOrigin::new(|mut peer, _| {
        while let Some(head) = peer.head() {
            let seen = head.replace("\r\n", "|");
            peer.send(format!(
                "HTTP/1.1 200 OK\r\nx-seen: {seen}\r\ncontent-length: 0\r\n\r\n"
            ));
        }
    });
    for (option, wanted) in [
        ("", "proto=http;for=127.0.0.1"),
        ("host by", "host=\"h.example\";by=127.0.0.1"),
        ("for-expr str(abc)", "for=_abc"),
        (
            "for-expr str(_abc) for_port-expr int(10)",
            "for=\"_abc:10\"",
        ),
        (
            "host-expr str(x.example) by-expr str(_p) for for_port-expr int(7)",
            "host=\"x.example\";by=_p;for=\"127.0.0.1:7\"",
        ),
    ] {
        let bed = bed(
            &format!(" mode http\n option forwarded {option}\n"),
            &origin,
        );
        let answer = bed.ask("GET / HTTP/1.1\r\nHost: h.example\r\n\r\n");
        assert!(
            answer.contains(&format!("|forwarded: {wanted}|")),
            "{option}: {answer}"
        );
    }
}

#[test]
fn rule_expects_a_proxy_header_conditionally() {
    let lines = " mode http\n tcp-request connection expect-proxy layer4 if { src 127.0.0.0/8 }\n http-request return status 200 hdr x-src %[src],%[fc_rcvd_proxy]\n";
    let origin = ScriptedOrigin::echo();
    let bed = bed(lines, &origin);
    let answer = bed.ask("PROXY TCP4 192.0.2.7 192.0.2.8 1 2\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n");
    assert!(answer.contains("x-src: 192.0.2.7,1\r\n"), "{answer}");
}

#[test]
fn body_that_came_with_the_headers_is_visible_to_rules() {
    let origin = ScriptedOrigin::fixed("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let lines = " mode http\n http-request deny if { req.body -m sub evil }\n \
        http-request deny deny_status 401 if { req.body_param(user) -m str root }\n \
        http-request deny deny_status 413 if { req.body_size gt 20 }\n";
    let bodies = [
        ("x=evil", 403),
        ("user=root&a=b", 401),
        ("user=anna", 200),
        (&*"a".repeat(21), 413),
    ];
    let bed = bed(lines, &origin);
    for (body, status) in bodies {
        let length = body.len();
        for rest in [
            format!("Content-Length: {length}\r\n\r\n{body}"),
            format!("Transfer-Encoding: chunked\r\n\r\n{length:x}\r\n{body}\r\n0\r\n\r\n"),
        ] {
            let answer = bed.ask(&format!(
                "POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n{rest}"
            ));
            let head = format!("HTTP/1.1 {status} ");
            assert!(answer.starts_with(&head), "{rest}: {answer}");
        }
        let mut client = Peer2::client(bed.client());
        client.cork();
        let stream = client.fields(0, &request("POST", "/"), false);
        client.data(stream, body.as_bytes(), true);
        client.half_close();
        assert_eq!(
            client.answer(stream).brief().get(..3),
            Some(&*status.to_string())
        );
    }
}

#[test]
fn early_hints_precede_the_response_over_http2() {
    let origin = ScriptedOrigin::fixed("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
    let lines = " mode http\n http-request early-hint link </a>\n";
    let bed = bed(lines, &origin);
    let mut client = Peer2::client(bed.client());
    let asked = client.get("/");
    let hint = loop {
        match client.next() {
            PeerEvent::Fields(id, text, end) if id == asked => break (text, end),
            PeerEvent::Closed => panic!("closed"),
            _ => {}
        }
    };
    assert_eq!(hint, (":status: 103\nlink: </a>\n".to_owned(), false));
    let answer = client.answer(asked);
    assert!(answer.head.starts_with(":status: 200\n"), "{answer:?}");
}

#[test]
fn queue_is_ordered_by_class_then_arrival() {
    let (release, wait) = mpsc::channel::<()>();
    let (wait, served) = (Mutex::new(wait), Arc::new(Mutex::new(Vec::new())));
    let seen = Arc::clone(&served);
    let origin = ScriptedOrigin::new(move |mut peer, _| {
        while let Some(head) = peer.head() {
            let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
            seen.lock().unwrap().push(path.clone());
            if path == "/first" {
                let _ = wait.lock().unwrap().recv();
            }
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        }
    });
    let bed = ProxyFixture::new(&format!(
        "listen back\n mode http\n bind 127.0.0.1:{{0}}\n timeout queue 30s\n http-request set-priority-class hdr(x-class)\n \
         http-request set-priority-offset hdr(x-offset)\n server s 127.0.0.1:{} maxconn 1\n",
        origin.port
    ));
    let ask = |path: &str, class: i32, offset: i32| {
        let mut client = bed.client();
        client.send(format!(
            "GET {path} HTTP/1.1\r\nHost: h\r\nX-Class: {class}\r\nX-Offset: {offset}\r\nConnection: close\r\n\r\n"
        ));
        client
    };
    let mut clients = vec![ask("/first", 0, 0)];
    crate::bed::soon("the first request is served", || {
        !served.lock().unwrap().is_empty()
    });
    for (n, (path, class, offset)) in [
        ("/usual", 0, 0),
        ("/late", 0, 500_000),
        ("/last", 5, 0),
        ("/urgent", -5, 0),
        ("/usual-too", 0, 0),
        ("/early", 0, -500_000),
    ]
    .into_iter()
    .enumerate()
    {
        clients.push(ask(path, class, offset));
        bed.counts("back/BACKEND", "qcur", &format!("qcur={}", n + 1));
    }
    release.send(()).unwrap();
    for client in &mut clients {
        assert_eq!(client.answer().status, 200);
    }
    let wanted = [
        "/first",
        "/urgent",
        "/early",
        "/usual",
        "/usual-too",
        "/late",
        "/last",
    ];
    assert_eq!(*served.lock().unwrap(), wanted);
}

#[test]
fn rules_continue_after_a_wait() {
    if against_haproxy() {
        return;
    }
    let origin = ScriptedOrigin::echo();
    let lines = " mode http\n http-request pause 10ms\n http-request pause int(5)\n http-request pause hdr(none)\n http-request return status 200 hdr x-a b\n";
    let bed = bed(lines, &origin);
    let answer = bed.ask("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    assert!(answer.contains("x-a: b\r\n"), "{answer}");
}

#[test]
fn trailers_are_dropped_by_option() {
    if against_haproxy() {
        return;
    }
    let origin = ScriptedOrigin::fixed(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nx-t: u\r\n\r\n",
    );
    for (option, wanted) in [
        ("", "2\r\nok\r\n0\r\nx-t: u\r\n\r\n"),
        (
            " option http-drop-response-trailers\n",
            "2\r\nok\r\n0\r\n\r\n",
        ),
    ] {
        let bed = bed(&format!(" mode http\n{option}"), &origin);
        let mut client = bed.client();
        client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
        client.head();
        let got = client.exactly(wanted.len());
        assert_eq!(String::from_utf8_lossy(&got), wanted);
    }
}

#[test]
fn a_header_of_a_return_without_a_value_is_left_out_and_an_empty_error_file_is_silence() {
    let origin = ScriptedOrigin::echo();
    let lines = " http-request deny errorfile /dev/null if { path /null }\n \
                 http-request return status 200 hdr x-none %[req.hdr(none)] hdr x-some %[path]\n";
    let bed = bed(lines, &origin);
    let mut client = bed.client();
    client.send("GET /a HTTP/1.1\r\nHost: h\r\n\r\n");
    let head = client.answer().head.to_lowercase();
    assert!(head.contains("x-some: /a\r\n"), "{head}");
    assert!(!head.contains("x-none"), "{head}");
    client.send("GET /null HTTP/1.1\r\nHost: h\r\n\r\n");
    let end = client.ends();
    assert!(end == "FIN" || end == "RST", "{end}");
}

#[test]
fn monitor_uri_matches_every_form() {
    let origin = ScriptedOrigin::echo();
    for (uri, of_path, of_url) in [
        ("/health", "200", "200"),
        ("http://h/health", "200 0: GET", "200"),
    ] {
        let bed = bed(&format!(" monitor-uri {uri}\n"), &origin);
        let mut client = bed.client();
        let path = client.ask("GET /health HTTP/1.1\r\nHost: h\r\n\r\n");
        assert!(path.starts_with(of_path), "{uri}: {path}");
        let url = client.ask("GET http://h/health HTTP/1.1\r\nHost: h\r\n\r\n");
        assert!(
            url.starts_with(of_url) && !url.contains("GET"),
            "{uri}: {url}"
        );
    }
}

#[test]
fn byte_rules_decide_as_early_as_possible() {
    let origin = ScriptedOrigin::echo();
    // The delay is longer than any test waits.
    let begin = " mode tcp\n tcp-request inspect-delay 1h\n";
    let accepts = "tcp-request content accept if { req.payload(0,0) -m sub good }";
    let text = format!("{begin} {accepts}\n tcp-request content reject\n");
    let first = bed(&text, &origin);
    let said = first.client().ask("GET /good HTTP/1.1\r\n\r\n");
    assert_eq!(said, "200 0: GET /good ");
    drop(first);
    let rejects = "tcp-request content reject unless { req.payload(0,0),fix_is_valid }";
    let second = bed(&format!("{begin} {rejects}\n"), &origin);
    let mut client = second.client();
    client.send("8=FIX.4.0\u{1}9=5\u{1}35=A\u{1}");
    client.send("10=000\u{1}");
    assert_eq!(client.ends(), "FIN");
}

#[test]
fn backend_name_that_does_not_exist_selects_the_default() {
    let origins = [
        "HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\ndefault",
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nother",
    ]
    .map(ScriptedOrigin::fixed);
    let text = format!(
        "frontend front\n bind 127.0.0.1:{{0}}\n mode http\n \
         use_backend %[req.hdr(tenant)] if {{ path_beg /tenant }}\n use_backend other\n \
         default_backend main\n\
         backend main\n mode http\n server s 127.0.0.1:{}\n\
         backend other\n mode http\n server s 127.0.0.1:{}\n",
        origins[0].port, origins[1].port
    );
    let bed = ProxyFixture::new(&text);
    for (path, tenant, body) in [
        ("/", "unknown", "other"),
        ("/tenant", "unknown", "default"),
        ("/tenant", "", "default"),
        ("/tenant", "other", "other"),
        ("/tenant", "main", "default"),
    ] {
        let answer = bed.ask(&format!(
            "GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\ntenant: {tenant}\r\n\r\n"
        ));
        assert!(answer.contains(body), "{path} {tenant}: {answer}");
    }
}

#[test]
fn server_name_that_does_not_exist_leaves_the_choice_to_load_balancing() {
    let origins = [
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nfirst",
        "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nsecond",
    ]
    .map(ScriptedOrigin::fixed);
    let text = format!(
        "listen front\n bind 127.0.0.1:{{0}}\n mode http\n balance first\n \
         use-server %[req.hdr(wanted)] if {{ path_beg /named }}\n \
         use-server down if {{ path_beg /down }}\n use-server b if {{ always_true }}\n \
         server a 127.0.0.1:{}\n server b 127.0.0.1:{}\n server down 127.0.0.1:1 disabled\n",
        origins[0].port, origins[1].port
    );
    let bed = ProxyFixture::new(&text);
    for (path, wanted, body) in [
        ("/", "a", "second"),
        ("/named", "a", "first"),
        ("/named", "unknown", "first"),
        ("/named", "", "first"),
        ("/named", "b", "second"),
        ("/named", "down", "second"),
        ("/down", "", "second"),
    ] {
        let answer = bed.ask(&format!(
            "GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\nwanted: {wanted}\r\n\r\n"
        ));
        assert!(answer.contains(body), "{path} {wanted}: {answer}");
    }
}

#[test]
fn forced_persistence_leaves_the_server_to_no_other() {
    let origin = ScriptedOrigin::fixed("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
    let text = format!(
        "listen front\n bind 127.0.0.1:{{0}}\n mode http\n option redispatch\n retries 2\n \
         cookie C insert indirect\n force-persist if {{ path /forced }}\n \
         server a 127.0.0.1:{} cookie a\n server refuses 127.0.0.1:1 cookie r\n \
         server disabled 127.0.0.1:1 cookie d disabled\n",
        origin.port
    );
    let bed = ProxyFixture::new(&text);
    for (path, cookie, status) in [
        ("/", "r", "200"),
        ("/", "d", "200"),
        ("/forced", "a", "200"),
        ("/forced", "r", "503"),
        ("/forced", "d", "503"),
    ] {
        let answer = bed.ask(&format!(
            "GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\nCookie: C={cookie}\r\n\r\n"
        ));
        let answered = answer.split(' ').nth(1);
        assert_eq!(answered, Some(status), "{path} {cookie}: {answer}");
    }
}

#[test]
fn rules_read_the_rates_of_proxies_and_servers() {
    let origin = ScriptedOrigin::echo();
    let line = " http-response set-header rates \
                %[fe_req_rate],%[fe_sess_rate],%[be_sess_rate(back)],%[srv_sess_rate(back/s)]";
    let bed = ProxyFixture::new(&origin.behind(line, ""));
    // Each rule counts this request; a pause of more than a second would hide it.
    let has_all = (0..20).any(|_| {
        let mut client = bed.client();
        client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
        let head = client.answer().head;
        let (_, rates) = head.split_once("rates: ").expect(&head);
        let rates = rates.lines().next().unwrap_or_default();
        rates.split(',').all(|rate| rate.trim() != "0")
    });
    assert!(has_all);
}
