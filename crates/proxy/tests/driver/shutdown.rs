//! Tests sessions that end because the state of their server changed, and what is counted and
//! logged before a stream ends.

use crate::bed::{Gate, ProxyFixture, ScriptedOrigin, against_haproxy, pause, settle, soon};
use rustix::net::{Shutdown, listen, shutdown};
use std::net::TcpListener;
use std::sync::Arc;

/// A port that health checks connect to. It remains bound while it refuses connections,
/// because another test would take a free port.
struct Checked {
    port: u16,
    listener: TcpListener,
}

impl Checked {
    fn up() -> Checked {
        let port = lab::free_port().unwrap();
        let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        Checked { port, listener }
    }

    /// The port is bound, but no longer listens.
    fn fail(&self) {
        shutdown(&self.listener, Shutdown::Read).unwrap();
    }

    fn recover(&self) {
        listen(&self.listener, 128).unwrap();
    }
}

/// Health checks, which run until this is dropped.
struct HealthCheckThread {
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Drop for HealthCheckThread {
    fn drop(&mut self) {
        drop(self.stop.take());
        let _ = self.thread.take().map(std::thread::JoinHandle::join);
    }
}

/// Creates a proxy with health checks. HAProxy runs them itself.
fn checked(text: &str) -> (ProxyFixture, HealthCheckThread) {
    let bed = ProxyFixture::new(text);
    if against_haproxy() {
        return (
            bed,
            HealthCheckThread {
                stop: None,
                thread: None,
            },
        );
    }
    let config = bed.config();
    let (stop, stopped) = tokio::sync::oneshot::channel();
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async move {
            let checks = proxy::health::start(&config, Arc::new(|_, _, _, _| {}));
            let _ = stopped.await;
            checks.stop();
        });
    });
    (
        bed,
        HealthCheckThread {
            stop: Some(stop),
            thread: Some(thread),
        },
    )
}

/// Creates an origin that does not respond, or begins a response to "/body" and stops within
/// it.
fn stalling() -> ScriptedOrigin {
    ScriptedOrigin::new(|mut peer, _| {
        let Some(head) = peer.head() else { return };
        if head.contains("/body") {
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc");
        }
        while matches!(peer.more(), Ok(true)) {}
    })
}

#[test]
fn on_marked_down_ends_the_sessions_of_a_server() {
    let (origin, check) = (stalling(), Checked::up());
    let line = format!(
        "127.0.0.1:{} check port {} inter 50 fall 1 on-marked-down shutdown-sessions",
        origin.port, check.port
    );
    let (bed, _checks) = checked(&format!(
        "listen h\n bind 127.0.0.1:{{0}}\n server s {line}\nlisten t\n mode tcp\n bind 127.0.0.1:{{1}}\n server s {line}\n"
    ));
    let mut waiting = bed.client();
    waiting.send("GET /wait HTTP/1.1\r\nHost: h\r\n\r\n");
    settle();
    let mut half = bed.client();
    half.send("GET /body HTTP/1.1\r\nHost: h\r\n\r\n");
    half.head().unwrap();
    let mut uploading = bed.client();
    uploading.send("POST /up HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\nabc");
    settle();
    let mut tunnel = bed.client_of(1);
    tunnel.send("hello");
    settle();
    check.fail();
    assert_eq!(waiting.answer().status, 502);
    assert_eq!(half.ends(), "abc FIN");
    assert_eq!(uploading.ends(), "FIN");
    assert_eq!(tunnel.ends(), "FIN");
    let mut ends: Vec<String> = bed.ended(4).iter().map(|ended| ended.brief()).collect();
    ends.sort();
    assert_eq!(ends, ["0 D-", "0 D-", "200 DD", "502 DH"]);
}

#[test]
fn on_marked_up_ends_sessions_of_backups() {
    let (origin, check) = (stalling(), Checked::up());
    check.fail();
    let (bed, _checks) = checked(&format!(
        "listen t\n mode tcp\n bind 127.0.0.1:{{0}}\n server a 127.0.0.1:{port} check port {} inter 50 fall 1 rise 1 \
         on-marked-up shutdown-backup-sessions\n server b 127.0.0.1:{port} backup\n",
        check.port,
        port = origin.port
    ));
    let down = |bed: &ProxyFixture| !bed.config().proxies[0].servers[0].state.is_up();
    if against_haproxy() {
        pause(300);
    } else {
        soon("down", || down(&bed));
    }
    let mut tunnel = bed.client();
    tunnel.send("hello");
    settle();
    check.recover();
    assert_eq!(tunnel.ends(), "FIN");
    let ended = bed.ended(1).remove(0);
    assert_eq!(
        (ended.brief().as_str(), ended.server.as_str()),
        ("0 U-", "b")
    );
}

#[test]
fn contstats_counts_bytes_while_they_flow_and_once() {
    // The stream ends when the test says so, not when a time has passed.
    let gate = Gate::default();
    let held = gate.clone();
    let origin = ScriptedOrigin::new(move |mut peer, _| {
        peer.head();
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc");
        held.pass();
    });
    for option in ["option contstats", ""] {
        let bed = ProxyFixture::new(&format!(
            "listen h\n {option}\n timeout server 1m\n bind 127.0.0.1:{{0}}\n server s 127.0.0.1:{}\n",
            origin.port
        ));
        let mut client = bed.client();
        client.send("GET /body HTTP/1.1\r\nHost: h\r\n\r\n");
        client.until("abc");
        if option.is_empty() {
            settle();
            assert_eq!(bed.counted("h/s", "bout"), "");
        } else {
            soon("counted", || !bed.counted("h/s", "bout").is_empty());
        }
        gate.open();
        let ended = bed.ended(1).remove(0);
        bed.counts("h/s", "bout", &format!("bout={}", ended.bytes_out));
        bed.counts("h/FRONTEND", "bout", &format!("bout={}", ended.bytes_out));
        assert!(ended.bytes_out > 40, "{ended:?}");
        gate.close();
    }
}
