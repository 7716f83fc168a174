//! Tests overload and shutdown: sessions of servers, exhausted descriptors, the stop of the
//! process.

use crate::bed::{PATIENCE, ProxyFixture, ScriptedOrigin, against_haproxy, pause, settle};
use crate::clock::{turns, undisturbed};
use proxy::running::ServeOptions;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

const GET: &str = "GET /a HTTP/1.1\r\nHost: h\r\n\r\n";

#[test]
fn a_server_never_has_more_sessions_than_its_maxconn() {
    let now = Arc::new(AtomicU32::new(0));
    let most = Arc::new(AtomicU32::new(0));
    let (in_now, in_most) = (now.clone(), most.clone());
    let origin = ScriptedOrigin::new(move |mut peer, _| {
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
    let bed = ProxyFixture::with(&text, &options);
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
fn a_soft_stop_ends_silent_sessions_and_lets_the_others_finish() {
    undisturbed(|| {
        if against_haproxy() {
            return;
        }
        let origin = ScriptedOrigin::new(|mut peer, _| {
            while let Some(head) = peer.head() {
                pause(if head.contains("/slow") { 200 } else { 0 });
                peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
            }
        });
        let options = ServeOptions {
            threads: 2,
            connections_max: 100,
        };
        let mut bed = ProxyFixture::with(&origin.behind("", ""), &options);
        let mut idle: Vec<_> = (0..6).map(|_| bed.client()).collect();
        for client in &mut idle {
            assert_eq!(client.ask(GET), "200 ok");
        }
        let mut busy = bed.client();
        busy.send("GET /slow HTTP/1.1\r\nHost: h\r\n\r\n");
        settle();
        let running = bed.ours().take().unwrap();
        let at = Instant::now();
        running.soft_stop();
        // A request in flight, or one that arrives soon, gets its response.
        for client in idle.drain(..3) {
            let mut client = client;
            client.send(GET);
            let answer = client.answer();
            assert_eq!(answer.status, 200);
            assert!(answer.head.contains("connection: close"));
            assert_eq!(client.ends(), "FIN");
        }
        for client in &mut idle {
            assert_eq!(client.ends(), "FIN");
        }
        let waited = at.elapsed().as_millis();
        assert!((900..2500).contains(&waited), "{waited} ms");
        let answer = busy.answer();
        assert_eq!(
            (answer.status, answer.head.contains("connection: close")),
            (200, false)
        );
        assert_eq!(busy.ends(), "FIN");
        running.wait().unwrap();
        assert!(at.elapsed() < PATIENCE);
        // The process that held the listening socket last has closed it.
        assert!(std::net::TcpStream::connect(bed.client_address()).is_err());
    });
}

/// Runs in a process of its own, because the test uses up all descriptors.
#[test]
fn process_without_descriptors_continues_to_serve() {
    if against_haproxy() {
        return;
    }
    if std::env::var_os("DRIVER_FEW_DESCRIPTORS").is_none() {
        let name = "overload::process_without_descriptors_continues_to_serve";
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
    let origin = ScriptedOrigin::echo();
    let bed = ProxyFixture::new(&origin.behind(
        "",
        "option http-server-close\n timeout connect 50ms\n retries 1",
    ));
    assert!(bed.client().ask(GET).starts_with("200 "));
    bed.end();
    // The descriptors run out at the connection to the server: all others are taken once the
    // client is connected.
    let mut client = bed.client();
    settle();
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
    // The descriptors run out at the accept: the client's own end takes the last one, and the
    // client waits.
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

#[test]
fn paused_frontend_queues_clients_and_resumes() {
    if against_haproxy() {
        return;
    }
    let origin = ScriptedOrigin::echo();
    let bed = ProxyFixture::with(
        &origin.behind("", ""),
        &ServeOptions {
            threads: 2,
            connections_max: 100,
        },
    );
    let config = bed.config();
    let paused = &config
        .proxies
        .iter()
        .find(|p| &*p.name == "front")
        .unwrap()
        .state
        .frontend
        .paused;
    assert!(bed.client().ask(GET).starts_with("200 "));
    paused.store(true, Ordering::SeqCst);
    // Each accept loop that waits for a slot has accepted one more.
    let mut clients: Vec<_> = (0..6).map(|_| bed.client()).collect();
    for client in &mut clients {
        client.send(GET);
    }
    settle();
    let before = origin.accepted();
    pause(100);
    assert_eq!(origin.accepted(), before);
    assert!(before <= 3, "{before}");
    paused.store(false, Ordering::SeqCst);
    for client in &mut clients {
        assert_eq!(client.answer().status, 200);
    }
}

#[test]
fn close_spread_time_applies_at_a_soft_stop() {
    if against_haproxy() {
        return;
    }
    let origin = ScriptedOrigin::echo();
    for (window, how) in [("400", "FIN"), ("infinite", "open")] {
        let text = format!(
            "global\n close-spread-time {window}\n{}",
            origin.behind("", "")
        );
        let mut bed = ProxyFixture::new(&text);
        let mut client = bed.client();
        client.ask(GET);
        let running = bed.ours().take().unwrap();
        running.soft_stop();
        assert_eq!(
            if how == "open" {
                client.end(700)
            } else {
                client.ends()
            },
            how,
            "{window}"
        );
        if how == "open" {
            client.send(GET);
            assert!(!client.answer().head.contains("connection: close"));
            drop(client);
        }
        running.wait().unwrap();
    }
}

/// Checks that clients whose connections wait in the kernel's queue, because the frontend is full,
/// are served although a soft stop begins. These clients see their connections as established.
#[test]
fn pending_connections_are_served_after_a_soft_stop() {
    if against_haproxy() {
        return;
    }
    let origin = ScriptedOrigin::new(|mut peer, _| {
        while let Some(head) = peer.head() {
            pause(if head.contains("/slow") { 300 } else { 0 });
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        }
    });
    let mut bed = ProxyFixture::new(&origin.behind("maxconn 1\nbacklog 100", ""));
    let mut first = bed.client();
    first.send("GET /slow HTTP/1.1\r\nHost: h\r\n\r\n");
    turns(3);
    let mut waiting: Vec<_> = (0..5).map(|_| bed.client()).collect();
    for client in &mut waiting {
        client.send(GET);
    }
    turns(3);
    let running = bed.ours().take().unwrap();
    running.soft_stop();
    for client in &mut waiting {
        assert_eq!(client.answer().status, 200);
    }
    assert_eq!(first.answer().status, 200);
    running.wait().unwrap();
}
