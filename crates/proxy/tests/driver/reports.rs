//! Tests long reports of the proxy (statistics and metrics), which are produced while their
//! client reads.

use crate::bed::{ProxyFixture, against_haproxy};
use crate::peer::{ClientResponse, Peer};
use crate::peer2::{Peer2, PeerEvent, request};
use crate::sessions::Operator;
use model::config::StatsLevel;
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

/// Number of servers: the shortest report has some hundred kilobytes, JSON some ten megabytes.
const SERVERS: usize = 2000;

/// Returns a configuration with the statistics on `{0}`, and a backend with this name.
fn text(backend: &str, timeout: &str) -> String {
    let servers: String = (0..SERVERS)
        .map(|n| format!(" server {backend}-{n} 127.0.0.1:1\n"))
        .collect();
    format!(
        "frontend stats\n bind 127.0.0.1:{{0}}\n timeout client {timeout}\n stats enable\n stats uri /s\n \
         http-request use-service prometheus-exporter if {{ path /m }}\nbackend {backend}\n{servers}"
    )
}

fn get(path: &str, version: &str) -> String {
    format!("GET {path} {version}\r\nHost: h\r\n\r\n")
}

/// Removes the values that depend on the time from a report: in a CSV all but the first columns.
fn steady(path: &str, body: &[u8]) -> String {
    let body = String::from_utf8_lossy(body);
    let is_csv = path.contains("csv");
    let lines = body.lines().filter(|line| {
        !line.contains("last_change_seconds") && !line.contains("last_session_seconds")
    });
    lines
        .map(|line| {
            if is_csv {
                line.split(',').take(20).collect::<Vec<_>>().join(",") + "\n"
            } else {
                format!("{line}\n")
            }
        })
        .collect()
}

#[test]
fn long_reports_are_the_same_for_every_client() {
    let bed = ProxyFixture::new(&text("app", "30s"));
    let mut kept = bed.client();
    let mut second = Peer2::client(bed.client());
    for path in ["/s;csv?scope=app", "/m?scope=server"] {
        kept.send(get(path, "HTTP/1.1"));
        let chunked = kept.answer();
        let head = chunked.head.to_ascii_lowercase();
        assert!(head.contains("transfer-encoding: chunked\r\n"), "{head}");
        assert!(!head.contains("content-length"), "{head}");
        let expected = steady(path, &chunked.body);
        for n in [0, 1, SERVERS / 2, SERVERS - 1] {
            assert!(expected.contains(&format!("app-{n}")), "{path}: {n}");
        }
        let mut old = bed.client();
        old.send(get(path, "HTTP/1.0"));
        let ClientResponse { head, body, .. } = old.answer();
        let lower = head.to_ascii_lowercase();
        assert!(
            !lower.contains("chunked") && !lower.contains("content-length"),
            "{head}"
        );
        assert!(steady(path, &body) == expected, "{path}: HTTP/1.0");
        let stream = second.get(path);
        let answer = second.answer(stream);
        assert!(
            !answer.head.contains("transfer-encoding"),
            "{}",
            answer.head
        );
        assert!(steady(path, &answer.body) == expected, "{path}: HTTP/2");
        // A HEAD request gets the head only, and the connection stays usable.
        kept.send(format!("HEAD {path} HTTP/1.1\r\nHost: h\r\n\r\n"));
        assert_eq!(kept.answer_of(true).status, 200);
        let stream = second.fields(0, &request("HEAD", path), true);
        assert_eq!(second.answer(stream).brief(), "200 ");
    }
    let page = kept.ask(&get("/s", "HTTP/1.1"));
    assert!(page.contains(&format!("app-{}", SERVERS - 1)) && page.ends_with("</body></html>\n"));
}

#[test]
fn short_reports_have_a_length() {
    if against_haproxy() {
        return;
    }
    let bed = ProxyFixture::new(&text("app", "30s"));
    let mut client = bed.client();
    for (path, lines) in [("/s;csv?scope=stats", 2), ("/s;json-schema", 1)] {
        client.send(get(path, "HTTP/1.1"));
        let answer = client.answer();
        let head = answer.head.to_ascii_lowercase();
        assert!(head.contains("content-length: "), "{head}");
        assert!(!answer.body.is_empty());
        let count = answer.body.iter().filter(|byte| **byte == b'\n').count();
        assert_eq!(count, lines, "{path}");
    }
}

#[test]
fn report_is_produced_only_as_its_client_reads() {
    let bed = ProxyFixture::new(&text("app", "1s"));
    let mut client = bed.client();
    client.send(get("/s;json", "HTTP/1.1"));
    let ended = bed.ended(1).remove(0);
    assert_eq!(ended.brief(), "200 LR");
    // The rest is in socket buffers, or was never produced.
    let read = client.rest();
    assert!(!read.ends_with("0\r\n\r\n"), "{} bytes", read.len());
    let whole = bed.client().ask(&get("/s;json", "HTTP/1.1"));
    assert!(whole.ends_with("]\n") && ended.bytes_out < whole.len() as u64 / 2);

    let mut client = Peer2::client(bed.client());
    // The first request transfers the settings of both sides.
    client.ask("/s;csv?scope=stats");
    let stream = client.get("/s;json");
    let ended = bed.ended(3).remove(2);
    assert_eq!(ended.brief(), "200 LR");
    assert!(ended.bytes_out < 200_000, "{}", ended.bytes_out);
    let answer = loop {
        match client.next() {
            PeerEvent::Reset(id, _) if id == stream => break "reset",
            PeerEvent::Data(_, _, true) => break "complete",
            PeerEvent::Closed => break "closed",
            _ => {}
        }
    };
    assert_ne!(answer, "complete");
}

#[test]
fn report_continues_unchanged_over_a_reload() {
    if against_haproxy() {
        return;
    }
    let mut bed = ProxyFixture::new(&text("older", "30s"));
    let mut clients: Vec<(Peer, &str)> = Vec::new();
    for path in ["/s;json", "/s", "/m"] {
        let mut client = bed.client();
        client.send(get(path, "HTTP/1.1"));
        client.head().expect("a head");
        clients.push((client, path));
    }
    bed.change(&text("newer", "30s"));
    for (mut client, path) in clients {
        let body = String::from_utf8_lossy(&client.chunks()).into_owned();
        assert!(!body.contains("newer-"), "{path}");
        let mut names = BTreeSet::new();
        for rest in body.split("older-").skip(1) {
            let number = rest.split(|c: char| !c.is_ascii_digit()).next();
            names.extend(number.and_then(|number| number.parse::<usize>().ok()));
        }
        assert_eq!(names.len(), SERVERS, "{path}");
        client.send(get("/s;csv", "HTTP/1.1"));
        let next = client.answer();
        let next = String::from_utf8_lossy(&next.body);
        assert!(
            next.contains("newer-7,") && !next.contains("older-"),
            "{path}"
        );
    }
}

#[test]
fn long_replies_of_commands_are_produced_only_as_their_client_reads() {
    if against_haproxy() {
        return;
    }
    let mut bed = ProxyFixture::new(&text("app", "30s"));
    let operator = Operator::new(&mut bed);
    let last = format!("app/app-{}", SERVERS - 1);
    let weights = |text: &str| {
        let lines = text.lines().filter(|line| line.starts_with("app,app-"));
        let weights = lines.filter_map(|line| line.split(',').nth(18));
        weights.map(str::to_owned).collect::<Vec<_>>()
    };
    let (mut peer, ours) = UnixStream::pair().unwrap();
    operator.adopt(ours, StatsLevel::Admin);
    peer.write_all(b"show stat\n").unwrap();
    let mut first = [0; 1];
    peer.read_exact(&mut first).unwrap();
    // The response to this command has begun, and its end does not fit into the buffers of the
    // socket.
    operator.ask(&format!("set server {last} weight 7"));
    let mut text = String::new();
    peer.read_to_string(&mut text).unwrap();
    assert!(text.ends_with(",\n\n"));
    let weights = weights(&text);
    assert_eq!(
        (weights.len(), weights.last().unwrap().as_str()),
        (SERVERS, "7")
    );
    assert_eq!(weights[0], "1");
}
