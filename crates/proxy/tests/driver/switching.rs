//! Tests client connections that begin in TCP mode and are switched to HTTP.

use crate::bed::{ProxyFixture, ScriptedOrigin, against_haproxy};
use crate::peer2::Peer2;

const TWO: &str = "GET /a HTTP/1.1\r\nHost: h\r\n\r\n";

/// Creates a frontend in TCP mode with these lines, and a backend in HTTP mode that returns
/// properties of the request.
fn bed(lines: &str) -> ProxyFixture {
    ProxyFixture::new(&format!(
        "frontend front\n mode tcp\n bind 127.0.0.1:{{0}}\n{lines} default_backend back\n\
         backend back\n mode http\n tcp-request content set-var(txn.path) path\n \
         http-request return content-type text/plain lf-string %[var(txn.path)]-%[var(txn.seen)]-%[hdr(x-front)]\n"
    ))
}

#[test]
fn http_backend_switches_a_tcp_connection_to_http() {
    let bed = bed(
        " tcp-request inspect-delay 10s\n tcp-request content set-var(txn.seen) req.payload(0,3)\n",
    );
    let mut client = bed.client();
    for _ in 0..2 {
        assert!(client.ask(TWO).starts_with("200 /a-"));
    }
    let mut second = Peer2::client(bed.client());
    assert!(second.ask("/b").contains("/b-"));
    assert!(second.ask("/c").contains("/c-"));
}

#[test]
fn invalid_and_silent_clients_get_an_error_after_switching() {
    let bed = bed(" timeout http-request 100ms\n");
    let mut client = bed.client();
    client.send("junk\r\n\r\n");
    assert_eq!(client.answer().status, 400);
    assert_eq!(bed.client().answer().status, 408);
}

#[test]
fn a_rule_switches_and_the_frontends_rules_of_http_run() {
    let bed = bed(
        " tcp-request inspect-delay 10s\n tcp-request content switch-mode http if HTTP\n tcp-request content set-var(txn.seen) str(behind)\n \
         http-request set-header x-front yes\n http-request set-var(txn.seen) str(http)\n",
    );
    let mut client = bed.client();
    for _ in 0..2 {
        assert_eq!(client.ask(TWO), "200 /a-http-yes");
    }
    assert!(
        Peer2::client(bed.client())
            .ask("/b")
            .contains("/b-http-yes")
    );
}

#[test]
fn http2_preface_counts_as_http_in_rules() {
    let lines = " tcp-request inspect-delay 10s\n tcp-request content switch-mode http if HTTP\n tcp-request content reject\n \
                 http-request set-header x-front yes\n http-request set-var(txn.seen) str(http)\n";
    let bed = bed(lines);
    assert_eq!(bed.client().ask(TWO), "200 /a-http-yes");
    let mut second = Peer2::client(bed.client());
    assert!(second.ask("/b").contains("/b-http-yes"));
}

#[test]
fn a_listener_of_no_protocol_lets_no_connection_become_http() {
    for front in [
        "tcp-request inspect-delay 10s\n tcp-request content switch-mode http if HTTP",
        "",
    ] {
        let bed = ProxyFixture::new(&format!(
            "frontend front\n mode tcp\n bind 127.0.0.1:{{0}} proto none\n {front}\n default_backend back\n\
             backend back\n mode http\n http-request return\n"
        ));
        let mut client = bed.client();
        client.send(TWO);
        let end = client.ends();
        assert!(matches!(&*end, "FIN" | "RST"), "{front}: {end}");
    }
}

#[test]
fn connection_without_a_switch_stays_a_tunnel() {
    let origin = ScriptedOrigin::new(|mut peer, _| {
        let got = peer.exactly(4);
        peer.send(&got);
        peer.rest();
    });
    let bed = ProxyFixture::new(&format!(
        "frontend front\n mode tcp\n bind 127.0.0.1:{{0}}\n tcp-request inspect-delay 10s\n \
         tcp-request content switch-mode http if HTTP\n use_backend web if HTTP\n default_backend raw\n\
         backend web\n mode http\n http-request return\nbackend raw\n mode tcp\n server s 127.0.0.1:{}\n",
        origin.port
    ));
    let mut client = bed.client();
    client.send("\x16abc");
    assert_eq!(client.exactly(4), b"\x16abc");
    drop(client);
    assert_eq!(bed.client().ask(TWO), "200 ");
}

#[test]
fn rule_selects_the_http_version() {
    let first = bed(" tcp-request content switch-mode http proto h1\n");
    assert_eq!(first.client().ask(TWO), "200 /a--");
    let mut client = first.client();
    client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    if !against_haproxy() {
        assert_eq!(client.answer().status, 400);
    }
    drop((client, first));
    let second = bed(" tcp-request content switch-mode http proto h2\n");
    assert!(Peer2::client(second.client()).ask("/b").contains("/b--"));
}

#[test]
fn http2_preface_is_ignored_with_the_option() {
    let bed = ProxyFixture::new(
        "listen h\n mode http\n option disable-h2-upgrade\n bind 127.0.0.1:{0}\n http-request return\n",
    );
    let mut client = bed.client();
    client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    assert_eq!(client.answer().status, 400);
    assert_eq!(bed.client().ask(TWO), "200 ");
}
