//! Tests when server connections are kept, shared and closed.

use crate::bed::{Gate, ProxyFixture, ScriptedOrigin, against_haproxy, settle};
use crate::hostile_tls::secure;
use proxy::running::ServeOptions;
use std::sync::{Mutex, mpsc};

const GET: &str = "GET /a HTTP/1.1\r\nHost: h\r\n\r\n";

/// Returns the server connections used by three sessions with two requests each, one session
/// after the other; then by three overlapping ones.
fn pattern(origin: &ScriptedOrigin, back: &str) -> String {
    let bed = ProxyFixture::new(&origin.behind("", back));
    let base = origin.accepted();
    let number = |said: String| {
        let number = said
            .split([' ', ':'])
            .nth(1)
            .and_then(|n| n.parse::<u64>().ok())
            .unwrap();
        char::from(b'a' + (number - base) as u8)
    };
    let mut out = String::new();
    for _ in 0..3 {
        let mut client = bed.client();
        out.push(number(client.ask(GET)));
        out.push(number(client.ask(GET)));
        out.push(' ');
        drop(client);
        settle();
    }
    let mut clients: Vec<_> = (0..3).map(|_| bed.client()).collect();
    for _ in 0..2 {
        for client in &mut clients {
            out.push(number(client.ask(GET)));
        }
        out.push(' ');
    }
    format!("{out}{}", bed.counted("back/s", "connect reuse"))
}

#[test]
fn http_reuse_has_haproxys_four_meanings() {
    for (back, connects) in [
        ("http-reuse never", "connect=6 reuse=6"),
        ("http-reuse safe", "connect=6 reuse=6"),
        ("http-reuse aggressive", "connect=1 reuse=11"),
        ("http-reuse always", "connect=1 reuse=11"),
        ("option http-server-close", "connect=12"),
        ("option httpclose", "connect=12"),
        (
            "option http-server-close\n option http-pretend-keepalive",
            "connect=12",
        ),
    ] {
        let origin = ScriptedOrigin::echo();
        let pattern = pattern(&origin, back);
        assert!(
            pattern.ends_with(&format!(" {connects}")),
            "{back}: {pattern}"
        );
        if back == "http-reuse never" {
            assert!(pattern.starts_with("aa bb cc def def "), "{pattern}");
        }
    }
}

#[test]
fn closed_idle_connection_uses_no_slot() {
    // The first two connections end after one response, while they are idle.
    let idle = Gate::default();
    let ends = idle.clone();
    let origin = ScriptedOrigin::new(move |mut peer, number| {
        while peer.head().is_some() {
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx");
            if number < 2 {
                ends.pass();
                break;
            }
        }
    });
    let bed = ProxyFixture::new(&origin.behind("", ""));
    for _ in 0..2 {
        bed.client().ask(GET);
        settle();
    }
    idle.open();
    settle();
    // The first request of a client goes out on a new connection, and the next ones reuse it.
    let mut client = bed.client();
    for _ in 0..3 {
        client.ask(GET);
        settle();
    }
    assert_eq!(origin.accepted(), 3);
}

/// Creates a proxy in front of this server whose idle connections do not expire.
fn without_age(origin: &ScriptedOrigin) -> ProxyFixture {
    ProxyFixture::new(&format!(
        "listen back\n bind 127.0.0.1:{{0}}\n http-reuse always\n server s 127.0.0.1:{} pool-purge-delay 1h\n",
        origin.port
    ))
}

#[test]
fn a_server_that_serves_one_connection_at_a_time_gets_the_end_of_an_idle_one_at_once() {
    const REQUESTS: u64 = 10;
    // The server closes its side of each idle connection, and serves the next one once the proxy
    // has closed the other.
    let (tell_end, ended) = mpsc::channel();
    let (lets_end, end) = mpsc::channel::<()>();
    let served = Mutex::new((tell_end, end));
    let origin = ScriptedOrigin::new(move |mut peer, _| {
        let one_at_a_time = served.lock().unwrap();
        peer.head().expect("a request");
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx");
        let _ = one_at_a_time.1.recv();
        peer.half_close();
        let _ = one_at_a_time.0.send(peer.ends());
    });
    let bed = without_age(&origin);
    for _ in 0..REQUESTS {
        assert_eq!(bed.client().ask(GET), "200 x");
        settle();
        lets_end.send(()).unwrap();
        // The proxy closes in an orderly way, which no server logs as a failure.
        assert_eq!(ended.recv().unwrap(), "FIN");
    }
    assert_eq!(origin.accepted(), REQUESTS);
}

#[test]
fn unexpected_server_data_closes_an_idle_connection() {
    let (tell_end, ended) = mpsc::channel();
    let idle = Gate::default();
    let speaks = idle.clone();
    let tell_end = Mutex::new(tell_end);
    let origin = ScriptedOrigin::new(move |mut peer, _| {
        peer.head().expect("a request");
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx");
        speaks.pass();
        peer.send("HTTP/1.1 408 Request Timeout\r\n\r\n");
        let _ = tell_end.lock().unwrap().send(peer.ends());
    });
    let bed = without_age(&origin);
    assert_eq!(bed.client().ask(GET), "200 x");
    settle();
    idle.open();
    assert_ne!(ended.recv().unwrap(), "open");
}

#[test]
fn reused_connection_lasts_until_its_server_ends_it() {
    let origin = ScriptedOrigin::echo();
    let bed = without_age(&origin);
    for number in 0..20 {
        let answer = bed.client().ask(GET);
        assert_eq!(answer, "200 0: GET /a ", "{number}");
        settle();
    }
    assert_eq!(origin.accepted(), 1);
}

#[test]
fn connection_with_a_proxy_header_is_not_shared() {
    let origin = ScriptedOrigin::new(|mut peer, number| {
        let header = peer.until("\r\n");
        assert!(
            header.starts_with("PROXY TCP4 127.0.0.1 127.0.0.1 "),
            "{header}"
        );
        while peer.head().is_some() {
            peer.send(format!(
                "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{number}"
            ));
        }
    });
    let bed = ProxyFixture::new(&format!(
        "listen back\n bind 127.0.0.1:{{0}}\n http-reuse always\n server s 127.0.0.1:{} send-proxy\n",
        origin.port
    ));
    let (mut one, mut two) = (bed.client(), bed.client());
    for _ in 0..3 {
        assert_eq!(one.ask(GET), "200 0");
        assert_eq!(two.ask(GET), "200 1");
    }
}

#[test]
fn only_what_can_be_repeated_is_repeated_when_a_kept_connection_closes() {
    if against_haproxy() {
        // HAProxy repeats none of these requests.
        return;
    }
    for (request, repeated) in [
        ("GET /a HTTP/1.1\r\nHost: h\r\n\r\n", true),
        (
            "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx",
            false,
        ),
        (
            "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n",
            false,
        ),
        // The request is idempotent, but its body is no longer available.
        (
            "PUT /a HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx",
            false,
        ),
    ] {
        // The server does not answer the second request on each connection.
        let origin = ScriptedOrigin::new(|mut peer, number| {
            peer.head();
            peer.try_send(format!(
                "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{number}"
            ));
            peer.head();
        });
        for first in [true, false] {
            let bed = ProxyFixture::new(&origin.behind("", "http-reuse always"));
            let mut client = bed.client();
            assert!(client.ask(GET).starts_with("200"));
            if first {
                client = bed.client();
            }
            bed.end();
            client.send(request);
            settle();
            let said = client.end(1);
            let wanted = match (repeated, first) {
                (true, _) => ("HTTP/1.1 200", "200 --"),
                (false, true) => ("HTTP/1.1 502", "502 SH"),
                // The client knows that persistent connections may close, and repeats the request.
                (false, false) => ("FIN", "0 SH"),
            };
            assert_eq!(
                (said.get(..12).unwrap_or(&said), &*bed.end()),
                wanted,
                "{request}"
            );
        }
    }
}

#[test]
fn request_on_a_closing_server_connection_is_retried_elsewhere() {
    if against_haproxy() {
        return;
    }
    let stopping = ScriptedOrigin::new(|mut peer, _| {
        peer.head();
        peer.try_send("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\ns");
        // The server does not answer the second request on the connection.
        peer.head();
    });
    let other = ScriptedOrigin::echo();
    let bed = ProxyFixture::new(&format!(
        "listen back\n bind 127.0.0.1:{{0}}\n http-reuse always\n balance first\n retries 3\n \
         option redispatch 1\n server s 127.0.0.1:{}\n server t 127.0.0.1:{}\n",
        stopping.port, other.port
    ));
    let mut client = bed.client();
    assert_eq!(client.ask(GET), "200 s");
    // Nothing listens on that port any longer.
    drop(stopping);
    assert_eq!(client.ask(GET), "200 0: GET /a ");
}

#[test]
fn a_request_is_not_repeated_once_its_server_has_begun_to_respond() {
    let origin = ScriptedOrigin::new(|mut peer, number| {
        peer.head();
        peer.try_send(format!(
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{number}"
        ));
        peer.head();
        peer.try_send("HTTP/1.1 102 Processing\r\n\r\n");
    });
    let bed = ProxyFixture::new(&origin.behind("", "http-reuse always"));
    assert!(bed.client().ask(GET).starts_with("200"));
    let said = bed.ask("GET /a HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    assert_eq!(said.matches("HTTP/1.1 102").count(), 1, "{said}");
    assert!(said.contains("HTTP/1.1 502"), "{said}");
    assert_eq!(origin.accepted(), 1);
}

/// Binds a socket to this port, without listening, so that it refuses connections; None if
/// the port is in use.
fn hold(port: u16) -> Option<std::os::fd::OwnedFd> {
    use rustix::net::{AddressFamily, SocketType, bind, socket};
    let held = socket(AddressFamily::INET, SocketType::STREAM, None).ok()?;
    let at = std::net::SocketAddr::from(([127, 0, 0, 1], port));
    bind(&held, &at).ok()?;
    Some(held)
}

#[test]
fn connection_with_a_client_port_is_not_shared() {
    if against_haproxy() {
        return;
    }
    let text = |offset: i32| {
        format!(
            "listen l\n bind 127.0.0.1:{{0}}\n bind 127.0.0.1:{{1}}\n http-reuse always\n retries 0\n\
             server s 127.0.0.1:{offset:+}\n"
        )
    };
    let mut bed = ProxyFixture::new(&text(1));
    // The port is bound but not listened on, so that no other test uses it.
    let (origin, _held) = loop {
        let origin = ScriptedOrigin::echo();
        let other = i32::from(origin.port) + i32::from(bed.ports[1]) - i32::from(bed.ports[0]);
        if let Some(held) = u16::try_from(other).ok().and_then(hold) {
            break (origin, held);
        }
    };
    let offset = i32::from(origin.port) - i32::from(bed.ports[0]);
    bed.change(&text(offset));
    let get = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
    let mut first = bed.client();
    assert_eq!(first.ask(get), "200 0: GET / ");
    // A request to another frontend port goes to another server port, on which nothing listens.
    let other = bed.client_of(1).ask(get);
    assert!(other.starts_with("503 "), "{other}");
    // The client keeps its own connection to the server.
    assert_eq!(first.ask(get), "200 0: GET / ");
}

#[test]
fn dispatch_connection_is_not_shared() {
    let origin = ScriptedOrigin::echo();
    let bed = ProxyFixture::new(&format!(
        "listen l\n bind 127.0.0.1:{{0}}\n http-reuse always\n dispatch 127.0.0.1:{}\n",
        origin.port
    ));
    let mut clients = [bed.client(), bed.client()];
    for round in 0..3 {
        for (number, client) in clients.iter_mut().enumerate() {
            let said = client.ask(GET);
            assert_eq!(said, format!("200 {number}: GET /a "), "round {round}");
        }
    }
    assert_eq!(origin.accepted(), 2);
}

/// Returns the number of connections to the server `s` of `back` for 40 clients on four
/// threads, which send one request after the other while all stay connected.
fn connections_on_four_threads(text: &str) -> String {
    let options = ServeOptions {
        threads: 4,
        connections_max: 20_000,
    };
    let bed = ProxyFixture::with(text, &options);
    let mut clients = Vec::new();
    for _ in 0..40 {
        let mut client = bed.client();
        assert!(client.ask(GET).starts_with("200 "));
        clients.push(client);
    }
    bed.counted("back/s", "connect reuse")
}

#[test]
fn idle_connections_of_other_threads_are_reused_first() {
    let origin = ScriptedOrigin::echo();
    for (back, counted) in [
        ("http-reuse always", "connect=1 reuse=39"),
        // A connection that a first request may not reuse is not taken from another thread, either.
        ("http-reuse safe", "connect=40"),
    ] {
        let text = origin.behind("", back);
        assert_eq!(connections_on_four_threads(&text), counted, "{back}");
    }
}

#[test]
fn connections_over_tls_move_between_threads_with_their_keys() {
    let origin = ScriptedOrigin::echo();
    // The TLS listener of `secured` is on `{0}`.
    let (_files, secured) = secure(&origin);
    let secured = secured
        .replace("{0}", "{3}")
        .replace("frontend front", "frontend tls");
    let secured = secured.replace("backend back", "backend origin");
    let secured = secured.replace("default_backend back", "default_backend origin");
    let text = format!(
        "frontend front\n bind 127.0.0.1:{{0}}\n default_backend back\n\
         backend back\n http-reuse always\n server s 127.0.0.1:{{3}} ssl verify none\n{secured}"
    );
    assert_eq!(connections_on_four_threads(&text), "connect=1 reuse=39");
}
