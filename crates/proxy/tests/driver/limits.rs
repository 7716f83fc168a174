//! Tests the connection and rate limits of frontends and of the process. Those of servers and
//! descriptors are tested in `overload`, the settings of listeners in `settings`.

use crate::bed::{ProxyFixture, ScriptedOrigin};
use crate::clock::turns;
use proxy::running::ServeOptions;
use std::time::Instant;

const GET: &str = "GET /a HTTP/1.1\r\nHost: h\r\n\r\n";
const CLOSE: &str = "GET /a HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";

#[test]
fn connections_beyond_maxconn_wait_and_are_served() {
    let origin = ScriptedOrigin::echo();
    for threads in [1, 2] {
        for (front, most) in [("backlog 100\n maxconn 2", 100), ("", 2)] {
            let options = ServeOptions {
                threads,
                connections_max: most,
            };
            let bed = ProxyFixture::with(&origin.behind(front, ""), &options);
            let mut held: Vec<_> = (0..2).map(|_| bed.client()).collect();
            for client in &mut held {
                assert!(client.ask(GET).starts_with("200 "));
            }
            let mut waiting: Vec<_> = (0..4).map(|_| bed.client()).collect();
            for client in &mut waiting {
                client.send(CLOSE);
            }
            turns(5);
            // Threads that look at the same moment may pass the limit by one.
            let now = bed.counted("front", "scur");
            let now: u32 = now.trim_start_matches("scur=").parse().unwrap();
            assert!((2..=1 + threads as u32).contains(&now), "{now} connections");
            drop(held);
            for client in &mut waiting {
                assert_eq!(client.answer().status, 200);
            }
        }
    }
}

#[test]
fn rate_limit_sessions_makes_connections_wait() {
    let origin = ScriptedOrigin::echo();
    let bed = ProxyFixture::new(&origin.behind("rate-limit sessions 10", ""));
    let at = Instant::now();
    for _ in 0..14 {
        assert!(bed.client().ask(GET).starts_with("200 "));
    }
    assert!(at.elapsed().as_millis() > 200, "{:?}", at.elapsed());
}
