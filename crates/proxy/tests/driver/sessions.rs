//! Tests that an operator can list and end streams through a statistics connection, which queries
//! the threads that serve them.

use crate::bed::{PATIENCE, ProxyFixture, ScriptedOrigin, against_haproxy};
use model::config::StatsLevel;
use proxy::operations;
use proxy::running::ServeOptions;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// Statistics connections to the data plane of this process.
pub struct Operator {
    serving: operations::StatisticsSockets,
    /// Stops the side thread when it is dropped.
    _running: tokio::sync::oneshot::Sender<()>,
}

impl Operator {
    pub fn new(bed: &mut ProxyFixture) -> Operator {
        let shared = bed.ours().as_ref().expect("it runs").runtime;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let serving = operations::start(shared, Vec::new(), runtime.handle()).unwrap();
        let (running, ended) = tokio::sync::oneshot::channel::<()>();
        std::thread::spawn(move || runtime.block_on(ended));
        Operator {
            serving,
            _running: running,
        }
    }

    pub fn adopt(&self, peer: UnixStream, level: StatsLevel) {
        self.serving.adopt(peer, level).unwrap();
    }

    pub fn ask(&self, command: &str) -> String {
        let (mut peer, ours) = UnixStream::pair().unwrap();
        self.adopt(ours, StatsLevel::Admin);
        peer.write_all(command.as_bytes()).unwrap();
        peer.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = String::new();
        peer.read_to_string(&mut answer).unwrap();
        answer
    }

    /// Waits for a session whose line contains this word, and returns the line.
    fn session(&self, word: &str) -> String {
        let end = Instant::now() + PATIENCE;
        loop {
            let all = self.ask("show sess");
            if let Some(line) = all.lines().find(|line| line.contains(word)) {
                return line.to_owned();
            }
            assert!(Instant::now() < end, "no {word} in {all}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn silent() -> ScriptedOrigin {
    ScriptedOrigin::new(|mut peer, _| while matches!(peer.more(), Ok(true)) {})
}

#[test]
fn sessions_are_listed_with_their_ways_and_one_of_them_is_ended() {
    if against_haproxy() {
        return;
    }
    let origin = silent();
    let mut bed = ProxyFixture::with(
        &format!(
            "frontend www\n bind 127.0.0.1:{{0}}\n default_backend app\nbackend app\n \
             server one 127.0.0.1:{} maxconn 1\nlisten raw\n mode tcp\n bind 127.0.0.1:{{1}}\n \
             server two 127.0.0.1:{}\n",
            origin.port, origin.port
        ),
        &ServeOptions {
            threads: 2,
            connections_max: 1000,
        },
    );
    let operator = Operator::new(&mut bed);
    let _idle = bed.client();
    let mut waiting = bed.client();
    waiting.send("GET /wait HTTP/1.1\r\nHost: h\r\n\r\n");
    let line = operator.session("srv=one");
    assert!(line.contains("proto=tcpv4 src=127.0.0.1:"), "{line}");
    assert!(line.contains(" fe=www be=app srv=one age=0s"), "{line}");
    let mut queued = bed.client();
    queued.send("GET /queued HTTP/1.1\r\nHost: h\r\n\r\n");
    let queued_line = operator.session("be=app srv=<none>");
    let mut tunnel = bed.client_of(1);
    tunnel.send("abc");
    let tunnel_line = operator.session("srv=two");
    assert!(tunnel_line.contains("fe=raw be=raw"), "{tunnel_line}");
    let all = operator.ask("show sess");
    assert_eq!(all.lines().filter(|line| line.contains("fe=")).count(), 3);
    let id = |line: &str| line.split(':').next().unwrap().to_owned();
    let detail = operator.ask(&format!("show sess {}", id(&line)));
    assert!(
        detail.contains("\n  server=one (id=1) addr=127.0.0.1:"),
        "{detail}"
    );
    let every = operator.ask("show sess all");
    assert_eq!(every.matches("\n  backend=").count(), 3, "{every}");
    // The sessions in this order: waiting in the queue, being served, a tunnel.
    for (line, state) in [(queued_line, "KQ"), (line, "KH"), (tunnel_line, "K-")] {
        let command = format!("shutdown session {}", id(&line));
        assert_eq!(operator.ask(&command), "\n");
        assert_eq!(bed.ended(1)[0].state, state);
        assert_eq!(
            operator.ask(&command),
            "No such session (use 'show sess').\n\n"
        );
    }
    assert_eq!(operator.ask("show sess"), "\n");
    let backend = &bed.config().proxies[1];
    assert_eq!(backend.state.backend.sessions.current(), 0);
    assert!(
        operator
            .ask("show fd")
            .contains("type=listener addr=127.0.0.1:")
    );
    let versions = operator.ask("show configuration");
    assert!(
        versions.starts_with("# version since age connections newest\n1 "),
        "{versions}"
    );
}

#[test]
fn ended_request_is_not_listed_any_longer() {
    if against_haproxy() {
        return;
    }
    let mut bed = ProxyFixture::new(
        "frontend www\n bind 127.0.0.1:{0}\n http-request track-sc0 src table seen\n \
         http-request return status 200\n\
         backend seen\n stick-table type ip size 10 store conn_cur\n",
    );
    let operator = Operator::new(&mut bed);
    let held = ProxyFixture::hold_ends();
    let mut client = bed.client();
    client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    let head = client.head().unwrap();
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    let before = reactor::load(0);
    let table = std::thread::scope(|scope| {
        let asked = scope.spawn(|| operator.ask("show table seen"));
        // The command waits for the thread that serves the client.
        while reactor::load(0) == before && !asked.is_finished() {
            std::thread::yield_now();
        }
        drop(held);
        asked.join().unwrap()
    });
    assert!(table.contains("use=0"), "{table}");
    assert!(table.contains("conn_cur=0"), "{table}");
}

#[test]
fn many_sessions_are_listed_in_parts() {
    if against_haproxy() {
        return;
    }
    let origin = silent();
    let mut bed = ProxyFixture::new(&format!(
        "listen www\n bind 127.0.0.1:{{0}}\n server one 127.0.0.1:{}\n",
        origin.port
    ));
    let operator = Operator::new(&mut bed);
    let clients: Vec<_> = (0..450)
        .map(|_| {
            let mut client = bed.client();
            client.send("GET /wait HTTP/1.1\r\nHost: h\r\n\r\n");
            client
        })
        .collect();
    let end = Instant::now() + PATIENCE;
    while operator.ask("show sess").matches("fe=www").count() != clients.len() {
        assert!(Instant::now() < end);
        std::thread::sleep(Duration::from_millis(20));
    }
    operator.ask("shutdown sessions server www/one");
    while operator.ask("show sess") != "\n" {
        assert!(Instant::now() < end);
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn last_invalid_messages_are_shown() {
    if against_haproxy() {
        return;
    }
    let origin = ScriptedOrigin::fixed("HTTP/1.1 200 OK\r\nfo o: x\r\n\r\n");
    let mut bed = ProxyFixture::new(&format!(
        "frontend www\n bind 127.0.0.1:{{0}}\n default_backend app\nbackend app\n \
         server one 127.0.0.1:{}\n",
        origin.port
    ));
    let operator = Operator::new(&mut bed);
    let errors = |words: &str| operator.ask(&format!("show errors{words}"));
    assert!(!errors("").contains("invalid"));
    bed.ask("GET /x HTTP/1.1\r\nho st: q\r\n\r\n");
    bed.ask("GET /x HTTP/1.1\r\nhost: q\r\n\r\n");
    let told = errors("");
    for part in [
        "] frontend www (#1): invalid request\n  backend <NONE> (#-1), server <NONE> (#-1), event #",
        "  len 29, error at position 19 :\n  \n  00000  GET /x HTTP/1.1\\r\\n\n  00017  ho st: q\\r\\n\n",
        "] backend app (#2): invalid response\n  frontend www (#1), server one (#1), event #",
    ] {
        assert!(told.contains(part), "{part}\n{told}");
    }
    assert!(!errors(" www request").contains("invalid response"));
    assert!(!errors(" app response").contains("invalid request"));
    assert_eq!(errors(" nope"), "No such proxy.\n\n");
}

#[test]
fn messages_with_invalid_chunks_are_shown() {
    if against_haproxy() {
        return;
    }
    let origin = ScriptedOrigin::new(|mut peer, _| {
        // The invalid request is refused before its headers are sent.
        if peer.head().is_some() {
            peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\nzz\r\n");
        }
        peer.rest();
    });
    let mut bed = ProxyFixture::new(&format!(
        "frontend www\n bind 127.0.0.1:{{0}}\n default_backend app\nbackend app\n \
         server one 127.0.0.1:{}\n",
        origin.port
    ));
    let operator = Operator::new(&mut bed);
    bed.ask("POST /x HTTP/1.1\r\nhost: q\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabcd\r\n");
    bed.ask("GET /x HTTP/1.1\r\nhost: q\r\n\r\n");
    let told = operator.ask("show errors");
    for part in [
        "] frontend www (#1): invalid request\n  backend app (#2), server one (#1), event #",
        "  len 6, error at position 3 :\n  \n  00000  abcd\\r\\n\n",
        "] backend app (#2): invalid response\n  frontend www (#1), server one (#1), event #",
        "zz\\r\\n\n",
    ] {
        assert!(told.contains(part), "{part}\n{told}");
    }
}

#[test]
fn shut_down_frontend_returns_with_a_reload() {
    if against_haproxy() {
        return;
    }
    let text = "frontend www\n bind 127.0.0.1:{0}\n http-request return status 200\n\
                frontend other\n bind 127.0.0.1:{1}\n http-request return status 201\n";
    let mut bed = ProxyFixture::new(text);
    let operator = Operator::new(&mut bed);
    let request = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    assert!(bed.ask(request).starts_with("HTTP/1.1 200 "));
    let connects = |bed: &ProxyFixture, port: usize| {
        std::net::TcpStream::connect(("127.0.0.1", bed.ports[port])).map_err(|e| e.kind())
    };
    assert_eq!(operator.ask("shutdown frontend www"), "\n");
    assert_eq!(
        connects(&bed, 0).err(),
        Some(std::io::ErrorKind::ConnectionRefused)
    );
    assert!(connects(&bed, 1).is_ok(), "the other one goes on");
    for command in ["enable", "disable"] {
        assert_eq!(
            operator.ask(&format!("{command} frontend www")),
            format!("Frontend was previously shut down, cannot {command}.\n\n")
        );
    }
    assert_eq!(
        operator.ask("shutdown frontend www"),
        "Frontend was already shut down.\n\n"
    );
    bed.change(&format!("{text} # again\n"));
    assert!(bed.ask(request).starts_with("HTTP/1.1 200 "));
}

#[test]
fn clients_of_a_disabled_frontend_are_refused() {
    if against_haproxy() {
        return;
    }
    let text = "frontend www\n bind 127.0.0.1:{0}\n http-request return status 200\n";
    let mut bed = ProxyFixture::new(text);
    let operator = Operator::new(&mut bed);
    let request = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let refusal = |bed: &ProxyFixture| {
        let connected = std::net::TcpStream::connect(("127.0.0.1", bed.ports[0]));
        connected.err().map(|error| error.kind())
    };
    for _ in 0..2 {
        assert_eq!(operator.ask("disable frontend www"), "\n");
        assert_eq!(refusal(&bed), Some(std::io::ErrorKind::ConnectionRefused));
        // A configuration change leaves the frontend disabled.
        bed.change(&format!("{text} # again\n"));
        assert_eq!(refusal(&bed), Some(std::io::ErrorKind::ConnectionRefused));
        assert_eq!(operator.ask("enable frontend www"), "\n");
        assert!(bed.ask(request).starts_with("HTTP/1.1 200 "));
    }
}

#[test]
fn process_limit_can_rise_to_the_newest_file() {
    if against_haproxy() {
        return;
    }
    let text = "frontend www\n bind 127.0.0.1:{0}\n http-request return status 200\n";
    let mut bed = ProxyFixture::new(text);
    let operator = Operator::new(&mut bed);
    let more = ServeOptions {
        threads: 1,
        connections_max: 30_000,
    };
    bed.change_to(text, &more);
    assert_eq!(operator.ask("set maxconn global 25000"), "\n");
    assert_eq!(operator.ask("set maxconn global 0"), "\n");
    assert!(operator.ask("show info").contains("\nMaxconn: 30000\n"));
    assert_eq!(
        operator.ask("set maxconn global 30001"),
        "Value out of range.\n\n"
    );
}
