//! Tests TLS connections between the client and the server of this crate, with the bytes cut at
//! any position. The scenario tests use other programs as peers.

use super::handshake::{ClientHelloAlert, Failure, Terms, accept, connect};
use super::info::Info;
use super::session::Session;
use crate::settings::TlsDefaults;
use crate::transport::ConnectionTransport;
use lab::pki::{Authority, KeyKind, Leaf};
use reactor::testing::descriptors;
use reactor::testing::on_loop;
use reactor::{self, Assumed, Buffer, StreamSocket};
use rustls::pki_types::ServerName;
use rustls::version::{TLS12, TLS13};
use rustls::{CipherSuite, ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

mod peers;

struct Configs {
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
}

fn provider(suite: Option<CipherSuite>) -> Arc<rustls::crypto::CryptoProvider> {
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    if let Some(suite) = suite {
        provider.cipher_suites.retain(|s| s.suite() == suite);
    }
    Arc::new(provider)
}

fn configs(version: &'static SupportedProtocolVersion, suite: Option<CipherSuite>) -> Configs {
    let authority = Authority::new("Test CA").unwrap();
    let leaf = authority
        .issue(&Leaf {
            names: &["shop.example"],
            key: KeyKind::Ecdsa,
            ..Leaf::default()
        })
        .unwrap();
    let mut server = ServerConfig::builder_with_provider(provider(suite))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(leaf.certificates(), leaf.key())
        .unwrap();
    server.enable_secret_extraction = true;
    server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let mut roots = RootCertStore::empty();
    roots.add(authority.der().to_vec().into()).unwrap();
    let mut client = ClientConfig::builder_with_provider(provider(suite))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    client.enable_secret_extraction = true;
    client.alpn_protocols = vec![b"http/1.1".to_vec()];
    Configs {
        server: Arc::new(server),
        client: Arc::new(client),
    }
}

fn terms(deadline: Option<reactor::Instant>) -> Terms {
    Terms::new(deadline, &TlsDefaults::default()).unwrap()
}

fn sockets() -> (StreamSocket, StreamSocket) {
    let (a, b) = descriptors();
    let socket = |fd| StreamSocket::from_nonblocking(fd, Assumed::Both).unwrap();
    (socket(a), socket(b))
}

fn name() -> ServerName<'static> {
    ServerName::try_from("shop.example").unwrap()
}

fn task<F>(future: F) -> impl Future<Output = F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
{
    let place = Rc::new(std::cell::RefCell::new(None));
    let output = place.clone();
    reactor::spawn(async move {
        let value = future.await;
        *place.borrow_mut() = Some(value);
    });
    async move {
        loop {
            if let Some(value) = output.borrow_mut().take() {
                return value;
            }
            reactor::yield_now().await;
        }
    }
}

/// Establishes a TLS connection and returns both ends, the client's first.
async fn established(
    configs: &Configs,
) -> ((ConnectionTransport, Info), (ConnectionTransport, Info)) {
    let (ours, theirs) = sockets();
    over(configs, ours, theirs).await
}

async fn over(
    configs: &Configs,
    ours: StreamSocket,
    theirs: StreamSocket,
) -> ((ConnectionTransport, Info), (ConnectionTransport, Info)) {
    let config = configs.server.clone();
    let server = task(async move {
        let made = accept(&theirs, b"", |_| Ok(config), terms(None))
            .await
            .unwrap();
        (secured(theirs, made.0), made.1)
    });
    let sni = Some("shop.example".into());
    let made = connect(&ours, configs.client.clone(), name(), sni, terms(None))
        .await
        .unwrap();
    ((secured(ours, made.0), made.1), server.await)
}

fn secured(socket: StreamSocket, session: Session) -> ConnectionTransport {
    let mut transport = ConnectionTransport::from(socket);
    transport.secure(session);
    transport
}

/// Reads until `wanted` bytes have arrived, or until the end.
async fn read(transport: &ConnectionTransport, wanted: usize) -> io::Result<Vec<u8>> {
    let mut all = Vec::new();
    while all.len() < wanted {
        let mut buffer = Buffer::take();
        match transport.read_into(&mut buffer) {
            Ok(0) => break,
            Ok(_) => all.extend_from_slice(buffer.filled()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => transport.readable().await,
            Err(error) => return Err(error),
        }
    }
    Ok(all)
}

async fn write(transport: &ConnectionTransport, mut data: &[u8]) -> io::Result<()> {
    while !data.is_empty() {
        match transport.try_write(data) {
            Ok(n) => data = &data[n..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => transport.writable().await,
            Err(error) => return Err(error),
        }
    }
    transport.flushed().await
}

/// Relays bytes between two sockets, at most `each` at a time.
async fn relay(from: StreamSocket, to: StreamSocket, each: usize) {
    let (from, to) = (Rc::new(from), Rc::new(to));
    let one_way = |from: Rc<StreamSocket>, to: Rc<StreamSocket>| async move {
        let mut bytes = vec![0; each];
        loop {
            from.readable().await;
            let n = match from.try_read(&mut bytes) {
                Ok(0) => break,
                Ok(n) => n,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(_) => break,
            };
            let mut rest = &bytes[..n];
            while !rest.is_empty() {
                to.writable().await;
                match to.try_write(rest) {
                    Ok(n) => rest = &rest[n..],
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(_) => return,
                }
            }
            reactor::yield_now().await;
        }
        let _ = to.shutdown_write();
    };
    reactor::spawn(one_way(from.clone(), to.clone()));
    one_way(to, from).await;
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i * 7 + i / 251) as u8).collect()
}

const SUITES: &[(&SupportedProtocolVersion, CipherSuite)] = &[
    (&TLS13, CipherSuite::TLS13_AES_128_GCM_SHA256),
    (&TLS13, CipherSuite::TLS13_AES_256_GCM_SHA384),
    (&TLS13, CipherSuite::TLS13_CHACHA20_POLY1305_SHA256),
    (&TLS12, CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256),
    (&TLS12, CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384),
    (
        &TLS12,
        CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    ),
];

#[test]
fn every_suite_carries_data_and_reports_its_parameters() {
    for (version, suite) in SUITES {
        on_loop(move || async move {
            let configs = configs(version, Some(*suite));
            let ((client, ci), (server, si)) = established(&configs).await;
            assert_eq!((ci.version, si.version), (version.version, version.version));
            assert_eq!((ci.suite, si.suite), (*suite, *suite));
            assert_eq!(si.sni.as_deref(), Some("shop.example"));
            assert_eq!(si.alpn.as_deref(), Some(&b"http/1.1"[..]));
            assert_eq!(ci.peer_certificates.map(|c| c.len()), Some(1));
            let client = Rc::new(client);
            for length in [1, 100, 16_384, 16_385, 70_000, 300_000] {
                let (sent, sender) = (pattern(length), client.clone());
                let writer = task(async move { write(&sender, &sent).await.unwrap() });
                assert!(read(&server, length).await.unwrap() == pattern(length));
                writer.await;
                let reader = client.clone();
                let reader = task(async move { read(&reader, length).await.unwrap() });
                write(&server, &pattern(length)).await.unwrap();
                assert!(reader.await == pattern(length), "{length}");
            }
        });
    }
}

#[test]
fn long_bodies_pass_both_ways_at_once() {
    on_loop(|| async {
        let configs = configs(&TLS13, None);
        let ((client, _), (server, _)) = established(&configs).await;
        let data = pattern(1_000_000);
        let (client, server) = (Rc::new(client), Rc::new(server));
        let both = |one: Rc<ConnectionTransport>| {
            let (other, data) = (one.clone(), data.clone());
            let wanted = data.clone();
            let writes = task(async move { write(&other, &data).await.unwrap() });
            let reads =
                task(async move { assert!(read(&one, 1_000_000).await.unwrap() == wanted) });
            async move {
                writes.await;
                reads.await;
            }
        };
        let (a, b) = (both(client), both(server));
        a.await;
        b.await;
    });
}

#[test]
fn records_are_understood_wherever_they_are_cut() {
    for each in [1, 2, 5, 6, 23, 1000] {
        for version in [&TLS13, &TLS12] {
            on_loop(move || async move {
                let configs = configs(version, None);
                let ((ours, a), (b, theirs)) = (sockets(), sockets());
                reactor::spawn(relay(a, b, each));
                let ((client, _), (server, _)) = over(&configs, ours, theirs).await;
                for length in [3, 700] {
                    write(&client, &pattern(length)).await.unwrap();
                    assert_eq!(read(&server, length).await.unwrap(), pattern(length));
                    write(&server, &pattern(length)).await.unwrap();
                    assert_eq!(read(&client, length).await.unwrap(), pattern(length));
                }
                client.shutdown_write().unwrap();
                assert_eq!(read(&server, 1).await.unwrap(), b"");
                assert!(!server.is_end_unauthenticated());
            });
        }
    }
}

#[test]
fn several_pieces_become_one_record() {
    on_loop(|| async {
        let configs = configs(&TLS13, None);
        let ((client, _), (server, _)) = established(&configs).await;
        let pieces = [b"head ".as_slice(), b"", b"body"].map(IoSlice::new);
        assert_eq!(client.try_write_vectored_before(&pieces, false).unwrap(), 9);
        server.readable().await;
        // With a single record one read returns all of it, even with a limit of one byte.
        assert_eq!(read(&server, 1).await.unwrap(), b"head body");
    });
}

#[test]
fn close_notify_differs_from_a_plain_close() {
    on_loop(|| async {
        let configs = configs(&TLS13, None);
        let ((client, _), (server, _)) = established(&configs).await;
        client.shutdown_write().unwrap();
        assert_eq!(read(&server, 1).await.unwrap(), b"");
        assert!(!server.is_end_unauthenticated() && server.is_peer_closed());
        // The other direction remains open.
        write(&server, b"still").await.unwrap();
        assert_eq!(read(&client, 5).await.unwrap(), b"still");
        assert!(client.try_write(b"more").is_err());

        let ((client, _), (server, _)) = established(&configs).await;
        // Unread bytes would turn the close into a reset.
        reactor::testing::turn().await;
        assert!(!client.is_readable());
        client.suppress_close_notify();
        drop(client);
        assert_eq!(read(&server, 1).await.unwrap(), b"");
        assert!(server.is_end_unauthenticated());

        let ((client, _), (server, _)) = established(&configs).await;
        reactor::testing::turn().await;
        assert!(!client.is_readable());
        drop(client);
        assert_eq!(read(&server, 1).await.unwrap(), b"");
        assert!(!server.is_end_unauthenticated());
    });
}

#[test]
fn tickets_do_not_spoil_an_idle_connection() {
    on_loop(|| async {
        let configs = configs(&TLS13, None);
        let ((client, _), (server, _)) = established(&configs).await;
        assert!(client.is_flushed() && server.is_flushed());
        for _ in 0..20 {
            reactor::testing::turn().await;
            assert!(!client.is_readable());
        }
        let pending = poll_fn(|context| Poll::Ready(client.poll_readable(context).is_pending()));
        assert!(pending.await);
        write(&server, b"x").await.unwrap();
        while !client.is_readable() {
            reactor::testing::turn().await;
        }
        assert_eq!(read(&client, 1).await.unwrap(), b"x");
        assert!(!client.is_readable());
        // The ticket of the closed connection resumes the session.
        drop((client, server));
        let ((_, ci), (_, si)) = established(&configs).await;
        assert!(ci.resumed && si.resumed);
    });
}

#[test]
fn either_side_can_update_keys() {
    on_loop(|| async {
        let configs = configs(&TLS13, None);
        let ((client, _), (server, _)) = established(&configs).await;
        for asks in [false, true, true, false] {
            client.tls().unwrap().change_keys(client.socket(), asks);
            write(&client, b"to the server").await.unwrap();
            assert_eq!(read(&server, 13).await.unwrap(), b"to the server");
            write(&server, b"to the client").await.unwrap();
            assert_eq!(read(&client, 13).await.unwrap(), b"to the client");
        }
    });
}

#[test]
fn peer_that_only_updates_keys_is_disconnected() {
    on_loop(|| async {
        let configs = configs(&TLS13, None);
        let ((client, _), (server, _)) = established(&configs).await;
        for _ in 0..33 {
            client.tls().unwrap().change_keys(client.socket(), true);
        }
        // So many writes exceed the limit of a task for one turn.
        client.flushed().await.unwrap();
        let error = read(&server, 1).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    });
}

#[test]
fn a_changed_byte_ends_the_connection() {
    on_loop(|| async {
        for version in [&TLS13, &TLS12] {
            let configs = configs(version, None);
            let ((ours, a), (b, theirs)) = (sockets(), sockets());
            let config = configs.server.clone();
            let server = task(async move {
                let made = accept(&theirs, b"", |_| Ok(config), terms(None))
                    .await
                    .unwrap();
                secured(theirs, made.0)
            });
            let (a, b) = (Rc::new(a), Rc::new(b));
            let (from, to) = (b.clone(), a.clone());
            reactor::spawn(async move {
                let mut bytes = vec![0; 70_000];
                while let Ok(n) = wait_read(&from, &mut bytes).await {
                    if n == 0 || to.try_write(&bytes[..n]).is_err() {
                        return;
                    }
                }
            });
            reactor::spawn(async move {
                let mut bytes = vec![0; 70_000];
                while let Ok(n) = wait_read(&a, &mut bytes).await {
                    // Only the test's data is this long.
                    if n > 5000 {
                        bytes[n / 2] ^= 1;
                    }
                    if n == 0 || b.try_write(&bytes[..n]).is_err() {
                        return;
                    }
                }
            });
            let made = connect(&ours, configs.client.clone(), name(), None, terms(None))
                .await
                .unwrap();
            let client = secured(ours, made.0);
            let server = server.await;
            write(&client, &pattern(8000)).await.unwrap();
            let error = read(&server, 8000).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
            assert!(server.try_write(b"x").is_err());
            // The peer receives an alert.
            let error = read(&client, 1).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        }
    });
}

async fn wait_read(socket: &StreamSocket, bytes: &mut [u8]) -> io::Result<usize> {
    loop {
        socket.readable().await;
        match socket.try_read(bytes) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            other => return other,
        }
    }
}

#[test]
fn bytes_that_are_not_tls_are_refused_without_a_response() {
    on_loop(|| async {
        let (ours, theirs) = sockets();
        ours.try_write(b"GET / HTTP/1.1\r\n").unwrap();
        let made = accept(
            &theirs,
            b"",
            |_| Err(ClientHelloAlert::INTERNAL_ERROR),
            terms(None),
        )
        .await;
        assert!(matches!(made, Err(Failure::Http)), "{made:?}");
        drop(theirs);
        assert_eq!(wait_read(&ours, &mut [0; 100]).await.unwrap(), 0);
    });
}

#[test]
fn a_refused_name_gets_its_alert() {
    on_loop(|| async {
        let configs = configs(&TLS13, None);
        let (ours, theirs) = sockets();
        let server = task(async move {
            let choose = |hello: &super::hello::Hello<'_>| {
                assert_eq!(hello.server_name(), Some(&b"shop.example"[..]));
                Err(ClientHelloAlert::UNRECOGNIZED_NAME)
            };
            accept(&theirs, b"", choose, terms(None)).await.err()
        });
        let failed = connect(&ours, configs.client.clone(), name(), None, terms(None)).await;
        let Err(Failure::Tls(rustls::Error::AlertReceived(alert), ..)) = failed else {
            panic!("{failed:?}");
        };
        assert_eq!(alert, rustls::AlertDescription::UnrecognisedName);
        assert!(matches!(
            server.await,
            Some(Failure::Refused(ClientHelloAlert::UNRECOGNIZED_NAME))
        ));
    });
}

#[test]
fn handshake_ends_by_timeout_or_close() {
    on_loop(|| async {
        let soon = || Some(reactor::now() + std::time::Duration::from_millis(5));
        let refuse = |_: &super::hello::Hello<'_>| Err(ClientHelloAlert::INTERNAL_ERROR);
        let (ours, theirs) = sockets();
        let made = accept(&theirs, b"", refuse, terms(soon())).await;
        assert!(matches!(made, Err(Failure::Timeout)), "{made:?}");
        drop(ours);
        let made = accept(&theirs, b"", refuse, terms(None)).await;
        assert!(matches!(made, Err(Failure::Nothing)), "{made:?}");
        let made = accept(&theirs, b"\x16\x03\x01\x02", refuse, terms(None)).await;
        assert!(matches!(made, Err(Failure::Closed)), "{made:?}");
    });
}

#[test]
fn missing_common_version_is_reported() {
    on_loop(|| async {
        let (old, new) = (configs(&TLS12, None), configs(&TLS13, None));
        let (ours, theirs) = sockets();
        let config = new.server.clone();
        let server = task(async move {
            accept(&theirs, b"", |_| Ok(config), terms(None))
                .await
                .err()
        });
        let failed = connect(&ours, old.client.clone(), name(), None, terms(None)).await;
        let Err(Failure::Tls(rustls::Error::AlertReceived(alert), ..)) = failed else {
            panic!("{failed:?}");
        };
        assert_eq!(alert, rustls::AlertDescription::ProtocolVersion);
        assert!(matches!(server.await, Some(Failure::Tls(..))));
    });
}

#[test]
fn a_peer_that_reads_nothing_stops_the_writer_at_a_bound() {
    on_loop(|| async {
        let configs = configs(&TLS13, None);
        let ((client, _), (server, _)) = established(&configs).await;
        let data = pattern(100_000);
        let mut taken = 0;
        let blocked = loop {
            match client.try_write(&data) {
                Ok(n) => taken += n,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break taken,
                Err(error) => panic!("{error}"),
            }
        };
        assert!(!client.is_flushed());
        // Bytes that were accepted arrive.
        let reader = task(async move { read(&server, blocked).await.unwrap() });
        client.flushed().await.unwrap();
        assert_eq!(reader.await.len(), blocked);
    });
}

#[test]
fn an_idle_session_is_small() {
    let bytes = size_of::<Session>();
    println!("a session is {bytes} bytes, besides the two keys and what rustls keeps");
    assert!(bytes <= 256, "{bytes}");
}
