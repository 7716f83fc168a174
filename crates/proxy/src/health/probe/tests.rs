//! Tests health checks over TLS against servers in threads of the test.

use super::*;
use keyword::testing::backend;
use lab::pki::{self, Leaf};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use tls::build::provider;

/// Starts a TLS server that serves one client after the other and responds to each request
/// with 200; it ends with the test.
fn origin() -> SocketAddr {
    let leaf = Leaf {
        names: &["origin.example"],
        ..Leaf::default()
    };
    let issued = pki::self_signed(&leaf).expect("made");
    let key = provider().key_provider.load_private_key(issued.key());
    let shown = CertifiedKey::new(issued.certificates(), key.expect("a key"));
    let config = ServerConfig::builder_with_provider(Arc::clone(provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(shown)));
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let session = ServerConnection::new(Arc::clone(&config)).expect("a session");
            let mut stream = StreamOwned::new(session, stream);
            let mut bytes = [0; 4096];
            // The connection of a check that only performs the handshake ends here.
            if matches!(stream.read(&mut bytes), Ok(n) if n > 0) {
                let _ = stream.write_all(b"HTTP/1.0 200 OK\r\n\r\n");
            }
        }
    });
    address
}

fn check(lines: &str) -> CheckResult {
    let proxy = backend(lines);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(probe(&place(proxy), None))
}

/// Returns the first server of a backend, in a configuration of its own.
fn place(proxy: Proxy) -> CheckedServer {
    let config = model::config::Config {
        proxies: vec![proxy],
        ..Default::default()
    };
    CheckedServer {
        config: Arc::new(config),
        proxy: model::config::ProxyIndex(0),
        server: model::config::ServerIndex(0),
    }
}

fn told(result: &CheckResult) -> (CheckStatus, String) {
    (result.status, result.info.to_string())
}

#[test]
fn checks_of_a_tls_server_use_tls() {
    let address = origin();
    let server = |options: &str| format!("server a {address} check inter 10s {options}");
    let plain = check(&server("ssl verify none"));
    assert_eq!(told(&plain).0, CheckStatus::Layer6Ok);
    let asked = format!("option httpchk\n{}", server("ssl verify none alpn h2"));
    assert_eq!(told(&check(&asked)).0, CheckStatus::Layer7Ok);
    let only_checks = server("check-ssl verify none check-sni origin.example");
    assert_eq!(told(&check(&only_checks)).0, CheckStatus::Layer6Ok);
    let never = server("ssl verify none no-check-ssl");
    assert_eq!(told(&check(&never)).0, CheckStatus::Layer4Ok);
    // Checks that go to a port of their own use TLS only if that is configured.
    let own_port = server(&format!("ssl verify none port {}", address.port()));
    assert_eq!(told(&check(&own_port)).0, CheckStatus::Layer4Ok);
}

/// Runs `option ssl-hello-chk` against a server that sends `answer` after the first bytes. With
/// `waits` the server then waits until the check ends.
fn hello(answer: &'static [u8], waits: bool) -> (CheckStatus, String) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut bytes = [0; 256];
            let _ = stream.read(&mut bytes);
            let _ = stream.write_all(answer);
            while waits && matches!(stream.read(&mut bytes), Ok(1..)) {}
        }
    });
    let inter = if waits { "300ms" } else { "10s" };
    let line = format!("option ssl-hello-chk\nserver a {address} check inter {inter}");
    told(&check(&line))
}

#[test]
fn hello_check_succeeds_only_with_tls_servers() {
    // Each result was compared with haproxy 2.6.12.
    let ok = (CheckStatus::Layer6Ok, String::new());
    let bad = (CheckStatus::Layer6Invalid, String::new());
    assert_eq!(hello(b"\x15\x03\x00\x00\x02\x02\x28", false), ok);
    assert_eq!(hello(b"\x16\x03\x00\x00\x02rest", false), ok);
    assert_eq!(hello(b"HTTP/1.1 400 Bad", false), bad);
    assert_eq!(hello(b"\x14\x03\x00garbage", false), bad);
    let ended = (
        CheckStatus::Layer6Invalid,
        "TCPCHK got an empty response at step 2".into(),
    );
    assert_eq!(hello(b"", false), ended);
    assert_eq!(hello(b"\x16", true).0, CheckStatus::Layer6Timeout);
    // Any TLS server responds to the hello, if only with an alert.
    let real = format!(
        "option ssl-hello-chk\nserver a {} check inter 10s",
        origin()
    );
    assert_eq!(told(&check(&real)), ok);
}

#[test]
fn handshakes_of_checks_are_counted() {
    let line = format!("server a {} check inter 10s ssl verify none", origin());
    let proxy = backend(&line);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let place = place(proxy);
    runtime.block_on(probe(&place, None));
    let (proxy, _) = place.get().expect("the server");
    let made = |counters: &model::state::Counters| counters.read(Tally::TlsSessions);
    assert_eq!(made(&proxy.servers[0].state.traffic.counters), 1);
    assert_eq!(made(&proxy.state.backend.counters), 1);
}

#[test]
fn check_fails_with_an_untrusted_certificate() {
    let address = origin();
    let file = std::env::temp_dir().join(format!("evenkeel-check-{}.pem", std::process::id()));
    let stranger = pki::self_signed(&Leaf::default()).expect("made");
    std::fs::write(&file, &stranger.certificate_pem).expect("a file");
    let name = file.display();
    let result = check(&format!(
        "server a {address} check inter 10s ssl verify required ca-file {name}"
    ));
    std::fs::remove_file(&file).expect("the file");
    assert_eq!(
        told(&result),
        (CheckStatus::Layer6Invalid, "SSL handshake failure".into())
    );
}

#[test]
fn tls_check_fails_without_tls() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut bytes = [0; 64];
            let _ = stream.read(&mut bytes);
            let _ = stream.write_all(b"HTTP/1.0 400 Bad Request\r\n\r\n");
        }
    });
    let result = check(&format!(
        "server a {address} check inter 10s ssl verify none"
    ));
    assert_eq!(
        told(&result),
        (CheckStatus::Layer6Invalid, "SSL handshake failure".into())
    );
}

/// Starts an HTTP/2 server that responds to `/bad` with 503 and to others with 200, and
/// reports the requests.
fn origin_of_http2(asked: std::sync::mpsc::Sender<String>) -> SocketAddr {
    use protocol::http2::{Connection, Event, Http2Role, Options};
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut connection = Connection::new(Options::new(Http2Role::Server));
            let mut bytes = [0; 4096];
            while let Ok(n @ 1..) = stream.read(&mut bytes) {
                let mut input = &bytes[..n];
                let mut answers = Vec::new();
                loop {
                    let (taken, event) = connection.receive(input, 0);
                    input = &input[taken..];
                    match event {
                        Event::NeedMore => break,
                        Event::Headers { stream, fields, .. } => {
                            let line = |(name, value): (&[u8], &[u8])| {
                                format!("{}: {}", name.escape_ascii(), value.escape_ascii())
                            };
                            let lines: Vec<String> = fields.iter().map(line).collect();
                            let bad = lines.iter().any(|line| line == ":path: /bad");
                            answers.push((stream, if bad { b"503" } else { b"200" }));
                            let _ = asked.send(lines.join(", "));
                        }
                        _ => {}
                    }
                }
                for (stream, status) in answers {
                    let fields = [(&b":status"[..], &status[..]), (b"x-a", b"b")];
                    let _ = connection.send_headers(stream, fields.into_iter(), false);
                    let _ = connection.send_data(stream, b"fine", true);
                }
                let written = connection.output().len();
                let sent = stream.write_all(connection.output());
                connection.output_consumed(written);
                if sent.is_err() {
                    break;
                }
            }
        }
    });
    address
}

#[test]
fn checks_speak_http2_where_the_server_does() {
    let (asked, questions) = std::sync::mpsc::channel();
    let address = origin_of_http2(asked);
    let result = |path: &str, more: &str, options: &str| {
        let line = format!("server a {address} check inter 10s {options}");
        check(&format!("option httpchk GET {path}\n{more}\n{line}"))
    };
    let host = "http-check send hdr Host h hdr Connection close";
    let fine = result("/ok", host, "proto h2");
    assert_eq!((fine.status, fine.code), (CheckStatus::Layer7Ok, 200));
    assert_eq!(
        questions.recv().expect("asked"),
        ":method: GET, :scheme: http, :authority: h, :path: /ok"
    );
    let bad = result("/bad", "", "check-proto h2");
    assert_eq!((bad.status, bad.code), (CheckStatus::Layer7Status, 503));
    let text = result("/ok", "http-check expect string fine", "proto h2");
    assert_eq!(text.status, CheckStatus::Layer7Ok);
    let header = result("/ok", "http-check expect hdr name x-a value b", "proto h2");
    assert_eq!(header.status, CheckStatus::Layer7Ok);
    // A check that uses HTTP/1 on this HTTP/2 server gets no valid response.
    let other = result("/ok", "", "proto h2 check-proto h1");
    assert_eq!(other.status, CheckStatus::Layer7Invalid);
}

/// The kernel sends the last ACK of the handshake if this process does not close in time, so
/// the test makes several attempts.
#[test]
fn a_check_that_only_connects_is_no_connection_for_the_server() {
    const TRIES: usize = 50;
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.set_nonblocking(true).expect("a listener");
    let address = listener.local_addr().expect("an address");
    let line = format!("server a {address} check inter 10s");
    let unseen = (0..TRIES).any(|_| {
        assert_eq!(told(&check(&line)).0, CheckStatus::Layer4Ok);
        listener.accept().is_err()
    });
    assert!(unseen);
}
