//! Tests the delivery of responses from the HTTP cache, through sockets.

use crate::bed::{ProxyFixture, ScriptedOrigin};

const GET: &str = "GET /a HTTP/1.1\r\nHost: h\r\n\r\n";
const RULES: &str = "http-request cache-use c\nhttp-response cache-store c\n";

/// Returns the configuration of a proxy with a cache in front of an origin.
fn text(origin: &ScriptedOrigin, more: &str) -> String {
    let rules = format!("{RULES}{more}");
    origin.behind("", &rules) + "\ncache c\n total-max-size 4\n max-object-size 100000\n"
}

/// Creates an origin that responds with the number of each request.
fn counting() -> ScriptedOrigin {
    use std::sync::atomic::{AtomicU32, Ordering};
    let number = AtomicU32::new(0);
    ScriptedOrigin::new(move |mut peer, _| {
        while let Some(head) = peer.head() {
            let n = number.fetch_add(1, Ordering::Relaxed);
            let answer = match head.split(' ').nth(1).unwrap() {
                "/private" => {
                    "Cache-Control: private\r\nContent-Length: 1\r\n\r\n".to_owned()
                        + &n.to_string()
                }
                "/chunks" => format!(
                    "Cache-Control: max-age=100\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{n}\r\n2\r\nab\r\n0\r\n\r\n"
                ),
                "/cut" => {
                    peer.send("HTTP/1.1 200 OK\r\nCache-Control: max-age=100\r\nContent-Length: 9\r\n\r\nhalf");
                    return;
                }
                _ => format!("Cache-Control: max-age=100\r\nContent-Length: 1\r\n\r\n{n}"),
            };
            peer.send(format!("HTTP/1.1 200 OK\r\n{answer}"));
        }
    })
}

#[test]
fn second_request_is_served_from_the_cache() {
    let origin = counting();
    let bed = ProxyFixture::new(&text(
        &origin,
        "http-response set-header x-hit %[res.cache_hit]",
    ));
    let mut client = bed.client();
    assert_eq!(client.ask(GET), "200 0");
    assert_eq!(bed.end(), "200 --");
    client.send(GET);
    let answer = client.answer();
    assert_eq!(answer.body, b"0");
    let head = answer.head.to_lowercase();
    assert!(
        head.contains("age: 0\r\n") && head.contains("x-hit: 1"),
        "{head}"
    );
    assert_eq!(bed.end(), "200 LR");
    assert_eq!(
        client.ask("GET /a HTTP/1.1\r\nHost: other\r\n\r\n"),
        "200 1"
    );
    assert_eq!(
        client.ask("GET /a HTTP/1.1\r\nHost: h\r\nAuthorization: x\r\n\r\n"),
        "200 2"
    );
    assert_eq!(
        client.ask("POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n"),
        "200 3"
    );
    assert_eq!(
        client.ask("GET /private HTTP/1.1\r\nHost: h\r\n\r\n"),
        "200 4"
    );
    assert_eq!(
        client.ask("GET /private HTTP/1.1\r\nHost: h\r\n\r\n"),
        "200 5"
    );
    assert_eq!(
        client.ask("GET /chunks HTTP/1.1\r\nHost: h\r\n\r\n"),
        "200 6ab"
    );
    assert_eq!(
        client.ask("GET /chunks HTTP/1.1\r\nHost: h\r\n\r\n"),
        "200 6ab"
    );
    assert_eq!(client.ask(GET), "200 7", "the POST made it stale");
    client.send("HEAD /a HTTP/1.1\r\nHost: h\r\n\r\n");
    assert!(client.answer_of(true).head.contains("200"));
    assert_eq!(client.ask(GET), "200 7", "in step");
}

#[test]
fn only_an_unsafe_request_that_succeeds_makes_its_own_entry_stale() {
    let origin = ScriptedOrigin::new(|mut peer, _| {
        let mut number = 0;
        while let Some(head) = peer.head() {
            number += 1;
            let status = if head.contains("/no") {
                "403 Forbidden"
            } else {
                "200 OK"
            };
            peer.send(format!(
                "HTTP/1.1 {status}\r\nCache-Control: max-age=100\r\nContent-Length: 1\r\n\r\n{number}"
            ));
        }
    });
    let more = "http-request set-path /no if { method POST } { path /b }\n";
    let rules = format!("{RULES}{more}");
    let cache = "\ncache c\n total-max-size 4\n max-object-size 100000\n";
    let bed = ProxyFixture::new(&(origin.behind("", &rules) + cache));
    let mut client = bed.client();
    let ask = |client: &mut crate::peer::Peer, method: &str, path: &str| {
        client.ask(&format!(
            "{method} {path} HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n"
        ))
    };
    assert_eq!(ask(&mut client, "GET", "/a"), "200 1");
    assert_eq!(ask(&mut client, "GET", "/b"), "200 2");
    assert_eq!(ask(&mut client, "POST", "/b"), "403 3");
    assert_eq!(ask(&mut client, "GET", "/b"), "200 2", "it failed");
    assert_eq!(ask(&mut client, "OPTIONS", "/a"), "200 4");
    assert_eq!(ask(&mut client, "GET", "/a"), "200 1", "it is safe");
    assert_eq!(ask(&mut client, "DELETE", "/a"), "200 5");
    assert_eq!(ask(&mut client, "GET", "/b"), "200 2", "another entry");
    assert_eq!(ask(&mut client, "GET", "/a"), "200 6");
    assert_eq!(ask(&mut client, "PATCH", "/a"), "200 7");
    assert_eq!(ask(&mut client, "GET", "/a"), "200 8");
}

#[test]
fn partial_response_is_not_cached_and_reload_keeps_the_cache() {
    let origin = counting();
    let first = text(&origin, "");
    let mut bed = ProxyFixture::new(&first);
    let cut = "GET /cut HTTP/1.1\r\nHost: h\r\n\r\n";
    for _ in 0..2 {
        assert!(bed.ask(cut).ends_with("half"));
    }
    let mut client = bed.client();
    assert_eq!(client.ask(GET), "200 2");
    bed.change(&text(&origin, "http-response set-header x-new 1"));
    let mut client = bed.client();
    client.send(GET);
    let answer = client.answer();
    assert_eq!(answer.body, b"2", "kept");
    assert!(answer.head.contains("x-new: 1"), "{}", answer.head);
    bed.change(&first.replace("total-max-size 4", "total-max-size 5"));
    assert_eq!(bed.client().ask(GET), "200 3", "another cache");
}
