//! Tests failing clients and servers: the error that the client gets, the termination state in
//! the log, and the counters.

use crate::bed::{Gate, ProxyFixture, ScriptedOrigin, against_haproxy, pause, settle};

const GET: &str = "GET /a HTTP/1.1\r\nHost: h\r\n\r\n";
const FRONT: &str = "ereq dreq hrsp_2xx hrsp_4xx hrsp_5xx req_tot";
const BACK: &str =
    "stot econ eresp wretr wredis hrsp_2xx hrsp_4xx hrsp_5xx cli_abrt srv_abrt lbtot";

/// A fault of a server, and its expected effects.
struct ServerFault {
    name: &'static str,
    answer: &'static str,
    /// Status line that the client gets, or the whole response, and the end of its connection.
    client: &'static str,
    log: &'static str,
    front: &'static str,
    back: &'static str,
    server: &'static str,
}

const FAULTS: &[ServerFault] = &[
    ServerFault {
        name: "closes without an answer",
        answer: "",
        client: "502",
        log: "502 SH",
        front: "hrsp_5xx=1 req_tot=1",
        back: "stot=1 eresp=1 hrsp_5xx=1 lbtot=1",
        server: "stot=1 eresp=1 lbtot=1",
    },
    ServerFault {
        name: "closes in the head",
        answer: "HTTP/1.1 200 OK\r\nContent-",
        client: "502",
        log: "502 SH",
        front: "hrsp_5xx=1 req_tot=1",
        back: "stot=1 eresp=1 hrsp_5xx=1 lbtot=1",
        server: "stot=1 eresp=1 lbtot=1",
    },
    ServerFault {
        name: "says nonsense",
        answer: "nonsense\r\n\r\n",
        client: "502",
        log: "502 PH",
        front: "hrsp_5xx=1 req_tot=1",
        back: "stot=1 eresp=1 hrsp_5xx=1 lbtot=1",
        server: "stot=1 eresp=1 lbtot=1",
    },
    ServerFault {
        name: "two lengths",
        answer: "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
        client: "502",
        log: "502 PH",
        front: "hrsp_5xx=1 req_tot=1",
        back: "stot=1 eresp=1 hrsp_5xx=1 lbtot=1",
        server: "stot=1 eresp=1 lbtot=1",
    },
    ServerFault {
        name: "closes in the body",
        answer: "HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nnot all",
        client: "200",
        log: "200 SD",
        front: "hrsp_2xx=1 req_tot=1",
        back: "stot=1 eresp=1 hrsp_2xx=1 srv_abrt=1 lbtot=1",
        server: "stot=1 eresp=1 hrsp_2xx=1 srv_abrt=1 lbtot=1",
    },
    ServerFault {
        name: "closes in the chunks",
        answer: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        client: "200",
        log: "200 SD",
        front: "hrsp_2xx=1 req_tot=1",
        back: "stot=1 eresp=1 hrsp_2xx=1 srv_abrt=1 lbtot=1",
        server: "stot=1 eresp=1 hrsp_2xx=1 srv_abrt=1 lbtot=1",
    },
];

#[test]
fn truncated_response_is_reported_counted_and_logged() {
    for fault in FAULTS {
        let origin = ScriptedOrigin::closing(fault.answer);
        let bed = ProxyFixture::new(&origin.behind("", ""));
        let text = bed.ask(GET);
        let end = bed.end();
        assert_eq!(
            text.get(9..12),
            Some(fault.client),
            "{}: {text}",
            fault.name
        );
        assert_eq!(end, fault.log, "{}", fault.name);
        bed.counts("front", FRONT, fault.front);
        bed.counts("back/BACKEND", BACK, fault.back);
        bed.counts("back/s", BACK, fault.server);
    }
}

#[test]
fn malformed_chunks_end_the_response() {
    let origin = ScriptedOrigin::fixed(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nnonsense\r\n",
    );
    let bed = ProxyFixture::new(&origin.behind("", ""));
    assert!(bed.ask(GET).starts_with("HTTP/1.1 502 "));
    assert_eq!(bed.end(), "502 PH");
    bed.counts("back/s", BACK, "stot=1 eresp=1 lbtot=1");
    drop(bed);
    // The client gets no error page once a part of the response was sent.
    let origin = ScriptedOrigin::new(|mut peer, _| {
        peer.head();
        peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
        pause(50);
        peer.try_send("nonsense\r\n");
        peer.rest();
    });
    let bed = ProxyFixture::new(&origin.behind("", ""));
    let text = bed.ask(GET);
    assert!(text.ends_with("5\r\nhello\r\n"), "{text}");
    assert_eq!(bed.end(), "200 SD");
}

#[test]
fn reset_by_the_server_is_handled_as_a_close() {
    let origin = ScriptedOrigin::new(|mut peer, _| {
        peer.head();
        peer.reset();
    });
    let bed = ProxyFixture::new(&origin.behind("", ""));
    assert!(bed.ask(GET).starts_with("HTTP/1.1 502 "));
    assert_eq!(bed.end(), "502 SH");
    // HAProxy counts this response error twice.
    bed.counts(
        "back/s",
        BACK,
        if against_haproxy() {
            "stot=1 eresp=2 lbtot=1"
        } else {
            "stot=1 eresp=1 lbtot=1"
        },
    );
}

#[test]
fn a_head_that_is_too_long_is_refused_on_both_sides() {
    let origin = ScriptedOrigin::new(|mut peer, _| {
        if let Some(head) = peer.head() {
            let n = if head.contains("/bomb") { 100_000 } else { 10 };
            peer.try_send(format!(
                "HTTP/1.1 200 OK\r\nX: {}\r\nContent-Length: 2\r\n\r\nok",
                "x".repeat(n)
            ));
            pause(50);
        }
    });
    let bed = ProxyFixture::new(&origin.behind("", ""));
    assert!(
        bed.ask("GET /bomb HTTP/1.1\r\nHost: h\r\n\r\n")
            .starts_with("HTTP/1.1 502 ")
    );
    assert_eq!(bed.end(), "502 PH");
    let mut client = bed.client();
    client.try_send(format!(
        "GET / HTTP/1.1\r\nHost: h\r\nX: {}\r\n\r\n",
        "y".repeat(100_000)
    ));
    let text = client.rest();
    assert!(text.starts_with("HTTP/1.1 400 "), "{text:?}");
    assert_eq!(bed.end(), "400 PR");
    assert_eq!(bed.client().ask(GET), "200 ok");
}

#[test]
fn malformed_request_gets_400() {
    let origin = ScriptedOrigin::echo();
    let bed = ProxyFixture::new(&origin.behind("", ""));
    for text in [
        "nonsense\r\n\r\n",
        "GET / HTTP/1.1\r\nA b: c\r\n\r\n",
        "GET / HTTP/1.1\r\nHost h\r\n\r\n",
    ] {
        let answer = bed.ask(text);
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
        assert_eq!(bed.end(), "400 PR");
    }
    bed.counts("front", FRONT, "ereq=3 hrsp_4xx=3 req_tot=3");
}

#[test]
fn http2_preface_gets_400_on_an_http1_listener() {
    if against_haproxy() {
        return;
    }
    let origin = ScriptedOrigin::echo();
    let bed = ProxyFixture::new(&origin.behind("", "").replace(":{0}", ":{0} proto h1"));
    assert!(
        bed.ask("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0")
            .starts_with("HTTP/1.1 400 ")
    );
    assert_eq!(bed.end(), "400 PR");
}

#[test]
fn client_abort_before_a_complete_request_is_handled() {
    let origin = ScriptedOrigin::echo();
    let bed = ProxyFixture::new(&origin.behind("", ""));
    // The client closes without sending anything.
    drop(bed.client());
    assert_eq!(bed.end(), "400 CR");
    bed.counts("front", FRONT, "ereq=1 hrsp_4xx=1 req_tot=1");
    // The client ends its sending within a head.
    let mut client = bed.client();
    client.send("GET / HT");
    client.half_close();
    let said = client.ends();
    assert!(
        said.starts_with("HTTP/1.1 400 ") && said.ends_with(" FIN"),
        "{said}"
    );
    assert_eq!(bed.end(), "400 CR");
    bed.counts("front", FRONT, "ereq=2 hrsp_4xx=2 req_tot=2");
    // The client ends its sending within a body.
    let mut client = bed.client();
    client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nabc");
    settle();
    client.half_close();
    let said = client.ends();
    assert_eq!((&*said, &*bed.end()), ("FIN", "0 CD"));
    bed.counts("front", FRONT, "ereq=2 hrsp_4xx=2 req_tot=3");
    bed.counts("back/s", BACK, "stot=1 cli_abrt=1 lbtot=1");
    // The end of an idle persistent connection is not an error.
    let mut client = bed.client();
    assert!(client.ask(GET).starts_with("200 "));
    assert_eq!(bed.end(), "200 --");
    drop(client);
    bed.no_more_ended();
}

#[test]
fn an_upload_that_is_malformed_gets_400() {
    let origin = ScriptedOrigin::echo();
    let bed = ProxyFixture::new(&origin.behind("", ""));
    let mut client = bed.client();
    client.send("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
    settle();
    client.send("nonsense\r\n");
    let said = client.ends();
    assert!(said.starts_with("HTTP/1.1 400 "), "{said}");
    assert_eq!(bed.end(), "400 PH");
    bed.counts("front", FRONT, "ereq=1 hrsp_4xx=1 req_tot=1");
    bed.counts("back/s", BACK, "stot=1 lbtot=1");
}

#[test]
fn truncated_upload_injects_no_error_page() {
    let origin = ScriptedOrigin::new(|mut peer, _| {
        peer.head();
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nbegun");
        peer.rest();
    });
    let bed = ProxyFixture::new(&origin.behind("", ""));
    let mut client = bed.client();
    client.send("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
    client.until("begun");
    client.send("nonsense\r\n");
    let said = client.ends();
    assert_eq!((&*said, &*bed.end()), ("FIN", "200 PD"));
}

#[test]
fn client_close_while_waiting_needs_abortonclose_or_reset() {
    for (option, half, reset, back) in [
        (
            "",
            "200 --",
            "200 CD",
            "stot=2 hrsp_2xx=2 cli_abrt=1 lbtot=2",
        ),
        (
            " option abortonclose",
            "400 CH",
            "400 CH",
            "stot=2 cli_abrt=2 lbtot=2",
        ),
    ] {
        let gate = Gate::default();
        let waits = gate.clone();
        let origin = ScriptedOrigin::new(move |mut peer, _| {
            peer.head();
            waits.pass();
            peer.try_send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        });
        let bed = ProxyFixture::new(&format!(
            "listen back\n bind 127.0.0.1:{{0}}\n server s 127.0.0.1:{}\n{option}\n",
            origin.port
        ));
        let mut client = bed.client();
        client.send(GET);
        settle();
        client.half_close();
        settle();
        gate.open();
        let said = client.ends();
        assert!(said.ends_with(" FIN"), "{said}");
        assert_eq!(bed.end(), half);
        gate.close();
        let mut client = bed.client();
        client.send(GET);
        settle();
        client.reset();
        settle();
        gate.open();
        // HAProxy logs "0 CD" here with `abortonclose`.
        if !against_haproxy() {
            assert_eq!(bed.end(), reset);
            bed.counts("back/s", BACK, back);
        }
    }
}

#[test]
fn client_abort_during_the_response_is_counted() {
    let origin = ScriptedOrigin::new(|mut peer, _| {
        peer.head();
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n");
        while peer.try_send([0; 65536]) {}
    });
    let bed = ProxyFixture::new(&origin.behind("", ""));
    let mut client = bed.client();
    client.send(GET);
    client.until("\r\n\r\n");
    client.reset();
    assert_eq!(bed.end(), "200 CD");
    bed.counts("front", FRONT, "hrsp_2xx=1 req_tot=1");
    bed.counts("back/s", BACK, "stot=1 hrsp_2xx=1 cli_abrt=1 lbtot=1");
}

#[test]
fn refusing_server_is_retried_then_redispatched() {
    let origin = ScriptedOrigin::echo();
    let dead = "server dead 127.0.0.1:1";
    let alive = format!("{dead}\n server s 127.0.0.1:{}", origin.port);
    // Status, state, retries, server; the backend's and the dead server's counters.
    let failed = |n: u32| {
        let wretr = if n > 0 {
            format!("wretr={n} ")
        } else {
            String::new()
        };
        (
            format!("503 SC {n} dead"),
            format!("stot=1 econ=1 {wretr}hrsp_5xx=1 lbtot=1"),
            format!("stot={} econ=1 {wretr}lbtot=1", n + 1),
        )
    };
    let moved = (
        "200 -- +1 s".to_owned(),
        "stot=1 wredis=1 hrsp_2xx=1 lbtot=2".to_owned(),
        "stot=1 wredis=1 lbtot=1".to_owned(),
    );
    for (settings, servers, (log, back, server)) in [
        ("", dead, failed(3)),
        ("retries 1", dead, failed(1)),
        ("retries 0", dead, failed(0)),
        ("option redispatch", dead, failed(3)),
        ("balance first", &*alive, failed(3)),
        ("option redispatch\n balance first", &*alive, moved.clone()),
        (
            "option redispatch 2\n balance first",
            &*alive,
            moved.clone(),
        ),
        (
            "option redispatch -2\n balance first",
            &*alive,
            moved.clone(),
        ),
        (
            "option redispatch\n balance roundrobin",
            &*alive,
            moved.clone(),
        ),
        (
            "option redispatch\n balance leastconn",
            &*alive,
            moved.clone(),
        ),
    ] {
        let bed = ProxyFixture::new(&format!(
            "frontend front\n bind 127.0.0.1:{{0}}\n default_backend back\nbackend back\n \
             timeout connect 20ms\n {settings}\n {servers}\n"
        ));
        bed.client().ask(GET);
        let ended = bed.ended(1).remove(0);
        let seen = format!("{} {} {}", ended.brief(), ended.retries, ended.server);
        assert_eq!(seen, log, "{settings}");
        bed.counts("back/BACKEND", BACK, &back);
        bed.counts("back/dead", BACK, &server);
    }
}
