//! Tests connection limits of listeners, frontends and the process, and the distribution of
//! connections over threads.

use crate::bed::{PATIENCE, Peer, ProxyFixture, ScriptedOrigin, against_haproxy, pause, soon};
use crate::clock::{turns, undisturbed};
use crate::hostile_tls::secure;
use proxy::running::ServeOptions;
use std::time::{Duration, Instant};

/// Timeout in milliseconds for anything that has to happen.
const SOON: u64 = PATIENCE.as_millis() as u64;
const GET: &str = "GET /a HTTP/1.1\r\nHost: h\r\n\r\n";

fn answered(client: &mut Peer, within_ms: u64) -> bool {
    client
        .socket
        .set_read_timeout(Some(Duration::from_millis(within_ms)))
        .unwrap();
    let head = client.head();
    client.socket.set_read_timeout(Some(PATIENCE)).unwrap();
    head.is_some()
}

fn asking(bed: &ProxyFixture, n: usize) -> Vec<Peer> {
    let ask = |_| {
        let mut client = bed.client();
        client.send(GET);
        client
    };
    (0..n).map(ask).collect()
}

#[test]
fn listener_respects_its_maxconn() {
    let origin = ScriptedOrigin::echo();
    let text = origin.behind("", "").replace("{0}", "{0} maxconn 2");
    let bed = ProxyFixture::new(&text);
    let mut clients = asking(&bed, 3);
    assert!(answered(&mut clients[0], SOON) && answered(&mut clients[1], SOON));
    assert!(!answered(&mut clients[2], 200), "a third one was served");
    drop(clients.remove(0));
    assert!(
        answered(&mut clients[1], SOON),
        "the third one was forgotten"
    );
}

#[test]
fn frontend_respects_its_maxconn() {
    let origin = ScriptedOrigin::echo();
    let bed = ProxyFixture::with(
        &origin.behind(" maxconn 3", ""),
        &ServeOptions {
            threads: 2,
            connections_max: 20_000,
        },
    );
    let mut clients = asking(&bed, 6);
    let mut served = [false; 6];
    let mut look = || {
        for (client, served) in clients.iter_mut().zip(&mut served) {
            *served = *served || answered(client, 10);
        }
        served.iter().filter(|served| **served).count()
    };
    soon("three are served", || look() >= 3);
    turns(5);
    assert_eq!(look(), 3);
    let mut served = served.to_vec();
    // The served clients disconnect one after the other.
    for _ in 0..3 {
        let gone = served.iter().position(|served| *served).unwrap();
        drop(clients.remove(gone));
        served.remove(gone);
    }
    for (client, _) in clients.iter_mut().zip(served).filter(|(_, served)| !served) {
        assert!(answered(client, SOON), "one who waited was forgotten");
    }
}

#[test]
fn process_respects_its_maxconn() {
    let origin = ScriptedOrigin::echo();
    let bed = ProxyFixture::with(
        &origin.behind("", ""),
        &ServeOptions {
            threads: 1,
            connections_max: 2,
        },
    );
    let mut clients = asking(&bed, 3);
    assert!(answered(&mut clients[0], SOON) && answered(&mut clients[1], SOON));
    assert!(!answered(&mut clients[2], 200));
    drop(clients.remove(0));
    assert!(answered(&mut clients[1], SOON));
}

/// Returns how many of `n` simultaneous clients are served in the first moments, how long
/// those lasted, and whether all clients are served in the end.
fn served_at_once(text: &str, n: usize) -> (usize, Duration, bool) {
    let bed = ProxyFixture::new(text);
    let began = Instant::now();
    let mut clients = asking(&bed, n);
    pause(250);
    let mut waiting: Vec<&mut Peer> = clients.iter_mut().collect();
    waiting.retain_mut(|client| !answered(client, 10));
    let (first, within) = (n - waiting.len(), began.elapsed());
    while !waiting.is_empty() && began.elapsed() < PATIENCE {
        waiting.retain_mut(|client| !answered(client, 20));
    }
    (first, within, waiting.is_empty())
}

#[test]
fn rate_limits_delay_connections() {
    undisturbed(|| {
        let origin = ScriptedOrigin::echo();
        for (front, global) in [
            (" rate-limit sessions 8", ""),
            ("", "global\n maxconnrate 8\n"),
            ("", "global\n maxsessrate 8\n"),
        ] {
            let text = format!("{global}{}", origin.behind(front, ""));
            let (first, within, all) = served_at_once(&text, 16);
            let most = 10 + within.as_millis() as usize * 8 / 1000;
            assert!(
                (8..=most).contains(&first),
                "{front}{global}: {first} at once"
            );
            assert!(all, "{front}{global}: some were never served");
        }
    });
}

#[test]
fn a_small_maxaccept_serves_everyone() {
    let origin = ScriptedOrigin::echo();
    let text = format!("global\n tune.maxaccept 1\n{}", origin.behind("", ""));
    assert!(served_at_once(&text, 30).2);
}

#[test]
fn connections_are_spread_over_the_threads() {
    let origin = ScriptedOrigin::echo();
    let bed = ProxyFixture::with(
        &origin.behind("", ""),
        &ServeOptions {
            threads: 2,
            connections_max: 2000,
        },
    );
    let mut clients = asking(&bed, 60);
    assert!(clients.iter_mut().all(|client| answered(client, SOON)));
    let loads = [reactor::load(0), reactor::load(1)];
    assert!(loads[0].abs_diff(loads[1]) <= 8, "{loads:?}");
}

#[test]
fn a_head_larger_than_the_usual_buffer_passes_where_bufsize_allows_it() {
    let origin = ScriptedOrigin::echo();
    let text = format!("global\n tune.bufsize 200000\n{}", origin.behind("", ""));
    let bed = ProxyFixture::new(&text);
    let long = "x".repeat(150_000);
    let answer = bed.ask(&format!(
        "GET /a HTTP/1.1\r\nHost: h\r\nConnection: close\r\nX-Long: {long}\r\n\r\n"
    ));
    assert!(
        answer.ends_with("GET /a "),
        "{}",
        &answer[..answer.len().min(200)]
    );
}

#[test]
fn rates_include_clients_that_have_not_completed_a_handshake() {
    if against_haproxy() {
        return;
    }
    let origin = ScriptedOrigin::echo();
    let (_files, text) = secure(&origin);
    for limit in ["maxsslrate", "maxsessrate"] {
        let options = ServeOptions {
            threads: 2,
            connections_max: 2000,
        };
        let most = 20;
        let began = Instant::now();
        let text = format!("global\n {limit} {most}\n{text}");
        let bed = ProxyFixture::with(&text, &options);
        let _silent: Vec<_> = (0..100).map(|_| bed.client()).collect();
        let mut sessions = 0;
        soon(
            "more than the clients of the first second are accepted",
            || {
                let counted = bed.counted("front", "scur");
                // Uses 0 for a missing value, because `counted` leaves out counters that are 0.
                sessions = counted
                    .strip_prefix("scur=")
                    .map_or(0, |n| n.parse().unwrap());
                sessions > most
            },
        );
        let allowed = most + 1 + began.elapsed().as_millis() as u64 * most / 1000;
        assert!(sessions <= allowed, "{limit}: {sessions} of {allowed}");
    }
}
