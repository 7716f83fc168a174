//! Limits: of frontends, servers, the process, of descriptors; soft stop.

use crate::bed::{Bed, Origin, PATIENCE, against_haproxy, pause};
use proxy::runtime::ServeOptions;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

const GET: &str = "GET /a HTTP/1.1\r\nHost: h\r\n\r\n";
const CLOSE: &str = "GET /a HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";

#[test]
fn connections_beyond_maxconn_wait_and_are_served() {
    let origin = Origin::echo();
    for threads in [1, 2] {
        for (front, most) in [("backlog 100\n maxconn 2", 100), ("", 2)] {
            let options = ServeOptions {
                threads,
                connections_max: most,
            };
            let bed = Bed::with(&origin.behind(front, ""), &options);
            let mut held: Vec<_> = (0..2).map(|_| bed.client()).collect();
            for client in &mut held {
                assert!(client.ask(GET).starts_with("200 "));
            }
            let mut waiting: Vec<_> = (0..4).map(|_| bed.client()).collect();
            for client in &mut waiting {
                client.send(CLOSE);
            }
            pause(100);
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
fn a_server_never_has_more_sessions_than_its_maxconn() {
    let now = Arc::new(AtomicU32::new(0));
    let most = Arc::new(AtomicU32::new(0));
    let (in_now, in_most) = (now.clone(), most.clone());
    let origin = Origin::new(move |mut peer, _| {
        while peer.head().is_some() {
            in_most.fetch_max(in_now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            pause(3);
            in_now.fetch_sub(1, Ordering::SeqCst);
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        }
    });
    let options = ServeOptions {
        threads: 2,
        connections_max: 100,
    };
    let text = format!(
        "listen back\n bind 127.0.0.1:{{0}}\n server s 127.0.0.1:{} maxconn 3\n",
        origin.port
    );
    let bed = Bed::with(&text, &options);
    let mut clients: Vec<_> = (0..20).map(|_| bed.client()).collect();
    for _ in 0..5 {
        for client in &mut clients {
            client.send(GET);
        }
        for client in &mut clients {
            assert_eq!(client.answer().body, b"ok");
        }
    }
    assert_eq!(most.load(Ordering::SeqCst), 3);
    bed.counts("back/s", "scur qcur", "");
}

#[test]
fn rate_limit_sessions_makes_connections_wait() {
    let origin = Origin::echo();
    let bed = Bed::new(&origin.behind("rate-limit sessions 10", ""));
    let at = Instant::now();
    for _ in 0..14 {
        assert!(bed.client().ask(GET).starts_with("200 "));
    }
    assert!(at.elapsed().as_millis() > 200, "{:?}", at.elapsed());
}

#[test]
fn a_soft_stop_ends_idle_sessions_and_lets_the_others_finish() {
    if against_haproxy() {
        return;
    }
    let origin = Origin::new(|mut peer, _| {
        while let Some(head) = peer.head() {
            pause(if head.contains("/slow") { 200 } else { 0 });
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        }
    });
    let options = ServeOptions {
        threads: 2,
        connections_max: 100,
    };
    let mut bed = Bed::with(&origin.behind("", ""), &options);
    let mut idle: Vec<_> = (0..6).map(|_| bed.client()).collect();
    for client in &mut idle {
        assert_eq!(client.ask(GET), "200 ok");
    }
    let mut busy = bed.client();
    busy.send("GET /slow HTTP/1.1\r\nHost: h\r\n\r\n");
    pause(50);
    let running = bed.ours().take().unwrap();
    let at = Instant::now();
    running.soft_stop();
    for client in &mut idle {
        assert_eq!(client.end(100), "FIN");
    }
    assert!(at.elapsed().as_millis() < 100, "{:?}", at.elapsed());
    let answer = busy.answer();
    assert_eq!(
        (answer.status, answer.head.contains("connection: close")),
        (200, false)
    );
    assert_eq!(busy.end(100), "FIN");
    running.wait().unwrap();
    assert!(at.elapsed() < PATIENCE);
    // The last one to hold the listening socket has let it go.
    assert!(std::net::TcpStream::connect(bed.client_address()).is_err());
}

/// In a process of its own, since it takes the descriptors away.
#[test]
fn a_process_without_descriptors_serves_on() {
    if against_haproxy() {
        return;
    }
    if std::env::var_os("DRIVER_FEW_DESCRIPTORS").is_none() {
        let name = "limits::a_process_without_descriptors_serves_on";
        let output = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name, "--nocapture"])
            .env("DRIVER_FEW_DESCRIPTORS", "1")
            .output()
            .unwrap();
        let text =
            String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{text}");
        return;
    }
    let origin = Origin::echo();
    let bed = Bed::new(&origin.behind(
        "",
        "option http-server-close\n timeout connect 50ms\n retries 1",
    ));
    assert!(bed.client().ask(GET).starts_with("200 "));
    bed.end();
    // At the connection to the server: everything is taken once the client stands.
    let mut client = bed.client();
    pause(20);
    let mut hog = Vec::new();
    let (_, hard) =
        nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE).unwrap();
    let few = 64;
    nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE, few, hard).unwrap();
    while let Ok(file) = std::fs::File::open("/dev/null") {
        hog.push(file);
    }
    assert!(client.ask(GET).starts_with("503 "));
    assert_eq!(bed.end(), "503 RC");
    // At the accept: the client's own end takes the last one, and it waits.
    hog.pop();
    let mut waits = bed.client();
    waits.send(GET);
    let before = cpu_ms();
    pause(200);
    assert!(cpu_ms() - before < 100, "it turns in a circle");
    hog.clear();
    assert_eq!(waits.answer().status, 200);
}

fn cpu_ms() -> u128 {
    let usage = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_SELF).unwrap();
    let (user, system) = (usage.user_time(), usage.system_time());
    let ms = |time: nix::sys::time::TimeVal| {
        time.tv_sec() as u128 * 1000 + time.tv_usec() as u128 / 1000
    };
    ms(user) + ms(system)
}
