//! Tests TCP mode: bytes in both directions, orderly ends and resets.

use crate::bed::{ProxyFixture, ScriptedOrigin, against_haproxy, settle};

fn listen(origin: &ScriptedOrigin) -> String {
    format!(
        "listen back\n mode tcp\n bind 127.0.0.1:{{0}}\n server s 127.0.0.1:{}\n",
        origin.port
    )
}
const BACK: &str = "stot econ eresp wretr wredis cli_abrt srv_abrt lbtot bin bout";

#[test]
fn either_side_may_end_first() {
    let origin = ScriptedOrigin::new(|mut peer, _| {
        let text = peer.rest();
        peer.send(format!("got {text}"));
    });
    let bed = ProxyFixture::new(&listen(&origin));
    let mut client = bed.client();
    client.send("one");
    client.half_close();
    assert_eq!(client.ends(), "got one FIN");
    assert_eq!(bed.end(), "0 --");
    bed.counts("back/s", BACK, "stot=1 lbtot=1 bin=3 bout=7");
    let origin = ScriptedOrigin::new(|mut peer, _| {
        peer.send("hello");
        peer.half_close();
        assert_eq!(peer.rest(), "two");
    });
    drop(bed);
    let bed = ProxyFixture::new(&listen(&origin));
    let mut client = bed.client();
    assert_eq!(client.ends(), "hello FIN");
    client.send("two");
    drop(client);
    assert_eq!(bed.end(), "0 --");
}

#[test]
fn a_reset_of_one_side_ends_the_other() {
    let (tell, told) = std::sync::mpsc::channel();
    let tell = std::sync::Mutex::new(tell);
    let origin = ScriptedOrigin::new(move |mut peer, _| {
        peer.send("hello");
        let word = peer.exactly(1);
        if word == b"r" {
            peer.reset();
        } else if word == b"w" {
            tell.lock().unwrap().send(peer.ends()).unwrap();
        }
    });
    let bed = ProxyFixture::new(&listen(&origin));
    let mut client = bed.client();
    client.exactly(5);
    client.send("r");
    assert_eq!((&*client.ends(), &*bed.end()), ("FIN", "0 SD"));
    bed.counts(
        "back/s",
        BACK,
        "stot=1 eresp=1 srv_abrt=1 lbtot=1 bin=1 bout=5",
    );
    let mut client = bed.client();
    client.exactly(5);
    client.send("w");
    settle();
    client.reset();
    assert_eq!((&*told.recv().unwrap(), &*bed.end()), ("RST", "0 CD"));
    bed.counts(
        "back/s",
        BACK,
        "stot=2 eresp=1 cli_abrt=1 srv_abrt=1 lbtot=2 bin=2 bout=10",
    );
}

#[test]
fn tcp_connection_without_a_server_is_closed() {
    const GET: &str = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
    let bed = ProxyFixture::new(
        "listen back\n mode tcp\n retries 1\n timeout connect 30ms\n bind 127.0.0.1:{0}\n server s 127.0.0.1:1\n",
    );
    assert_eq!((&*bed.client().ends(), &*bed.end()), ("FIN", "0 SC"));
    bed.counts("back/s", BACK, "stot=2 econ=1 wretr=1 lbtot=1");
    // Data that the client has sent meanwhile must not turn the orderly end into a reset.
    let mut client = bed.client();
    client.send("hello");
    assert_eq!((&*client.ends(), &*bed.end()), ("FIN", "0 SC"));
    drop(bed);
    let bed = ProxyFixture::new("frontend front\n mode tcp\n bind 127.0.0.1:{0}\n");
    assert_eq!((&*bed.client().ends(), &*bed.end()), ("FIN", "0 SC"));
    bed.counts("front", "ereq stot dreq", "stot=1");
    drop(bed);
    let bed = ProxyFixture::new("frontend front\n mode http\n bind 127.0.0.1:{0}\n");
    let said = bed.ask(GET);
    assert_eq!((&said[9..12], &*bed.end()), ("503", "503 SC"));
    bed.counts(
        "front",
        "ereq stot dreq hrsp_5xx req_tot",
        "stot=1 hrsp_5xx=1 req_tot=1",
    );
    drop(bed);
    let bed = ProxyFixture::new(
        "listen back\n mode http\n bind 127.0.0.1:{0}\n server s 127.0.0.1:1 disabled\n",
    );
    let said = bed.ask(GET);
    assert_eq!((&said[9..12], &*bed.end()), ("503", "503 SC"));
    bed.counts(
        "back/BACKEND",
        "stot econ hrsp_5xx",
        "stot=1 econ=1 hrsp_5xx=1",
    );
}

/// Builds a ClientHello with a server name and protocols.
fn hello(name: &str, protocols: &[&str]) -> Vec<u8> {
    fn counted(content: &[u8]) -> Vec<u8> {
        [&(content.len() as u16).to_be_bytes()[..], content].concat()
    }
    let entry = [&[0][..], &counted(name.as_bytes())].concat();
    let names: Vec<u8> = protocols
        .iter()
        .flat_map(|name| [&[name.len() as u8][..], name.as_bytes()].concat())
        .collect();
    let extensions = [
        &[0, 0][..],
        &counted(&counted(&entry)),
        &[0, 16],
        &counted(&counted(&names)),
    ]
    .concat();
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.extend([0, 0, 2, 0x13, 0x01, 1, 0]);
    body.extend(counted(&extensions));
    let mut record = vec![0x16, 3, 1];
    record.extend((body.len() as u16 + 4).to_be_bytes());
    record.extend([1, 0]);
    record.extend((body.len() as u16).to_be_bytes());
    record.extend(body);
    record
}

#[test]
fn passed_through_tls_is_routed_by_sni() {
    let site = |name: &'static str| ScriptedOrigin::new(move |mut peer, _| peer.send(name));
    let (shop, acme, rest) = (site("shop"), site("acme"), site("rest"));
    let bed = ProxyFixture::new(&format!(
        "frontend front\n mode tcp\n bind 127.0.0.1:{{0}}\n tcp-request inspect-delay 10s\n \
         tcp-request content accept if {{ req.ssl_hello_type 1 }}\n \
         use_backend acme if {{ req.ssl_alpn acme-tls/1 }}\n \
         use_backend shop if {{ req.ssl_sni -i shop.example }} {{ req.ssl_ver 3.1:3.3 }}\n \
         default_backend rest\n\
         backend shop\n mode tcp\n server s 127.0.0.1:{}\n\
         backend acme\n mode tcp\n server s 127.0.0.1:{}\n\
         backend rest\n mode tcp\n tcp-request inspect-delay 10s\n \
         tcp-request content reject if {{ req.ssl_sni -m end .bad }}\n \
         server b 127.0.0.1:{}\n",
        shop.port, acme.port, rest.port
    ));
    for (name, protocols, wanted) in [
        ("Shop.example", &["h2", "http/1.1"][..], "shop FIN"),
        ("shop.example", &["acme-tls/1"], "acme FIN"),
        ("shop.example", &["h2", "acme-tls/1"], "shop FIN"),
        ("b.example", &[], "rest FIN"),
        ("shop.bad", &[], "FIN"),
    ] {
        let mut client = bed.client();
        client.send(hello(name, protocols));
        assert_eq!(client.ends(), wanted, "{name} {protocols:?}");
    }
}

#[test]
fn content_rules_see_late_bytes() {
    let says = |word: &'static str| {
        ScriptedOrigin::new(move |mut peer, _| {
            peer.send(word);
            peer.half_close();
            peer.rest();
        })
    };
    let (found, other) = (says("found"), says("other"));
    let accept = "tcp-request content accept if { req.len gt 2 }";
    let captures = "tcp-request content capture req.payload(0,3) len 9";
    let sets = "tcp-request content set-var(sess.x) req.payload(0,3)";
    let captured = "{ capture.req.hdr(0) abc }";
    let set = "{ var(sess.x) -m str abc }";
    for (rules, condition, expected) in [
        // The rule waits for its value.
        (captures.to_owned(), captured, "found FIN"),
        // A condition waits, and then the rules before it see the bytes, too.
        (format!("{captures}\n {accept}"), captured, "found FIN"),
        (format!("{sets}\n {accept}"), set, "found FIN"),
        (
            format!("{sets}\n tcp-request content reject if {set}\n {accept}"),
            set,
            "FIN",
        ),
        (
            format!("tcp-request content set-priority-class req.len\n {accept}"),
            "{ prio_class 3 }",
            "found FIN",
        ),
        // No condition waits, and the rule does not either.
        (sets.to_owned(), set, "other FIN"),
    ] {
        let bed = ProxyFixture::new(&format!(
            "frontend f\n mode tcp\n bind 127.0.0.1:{{0}}\n tcp-request inspect-delay 10s\n {rules}\n \
             use_backend found if {condition}\n default_backend other\n\
             backend found\n mode tcp\n server s 127.0.0.1:{}\n\
             backend other\n mode tcp\n server s 127.0.0.1:{}\n",
            found.port, other.port
        ));
        for pieces in [vec!["abc"], vec!["a", "bc"], vec!["a", "b", "c"]] {
            let mut client = bed.client();
            settle();
            for piece in pieces {
                client.try_send(piece);
                settle();
            }
            assert_eq!(client.ends(), expected, "{rules}");
        }
    }
}

#[test]
fn content_rules_count_once_for_any_fragmentation() {
    if against_haproxy() {
        // haproxy evaluates the rules, and counts, again whenever bytes arrive.
        return;
    }
    let origin = ScriptedOrigin::new(|mut peer, _| {
        peer.rest();
    });
    let bed = ProxyFixture::new(&format!(
        "listen l\n mode tcp\n bind 127.0.0.1:{{0}}\n stick-table type ip size 10 store gpc0\n \
         tcp-request inspect-delay 10s\n tcp-request content track-sc0 src\n \
         tcp-request content sc-inc-gpc0(0)\n \
         tcp-request content reject if {{ req.len gt 2 }} {{ sc0_get_gpc0 gt 1 }}\n \
         tcp-request content accept if {{ req.len gt 2 }}\n server s 127.0.0.1:{}\n",
        origin.port
    ));
    let mut client = bed.client();
    for piece in ["a", "b", "c"] {
        client.send(piece);
        settle();
    }
    client.half_close();
    assert_eq!(client.ends(), "FIN");
    assert_eq!(bed.end(), "0 --");
}
