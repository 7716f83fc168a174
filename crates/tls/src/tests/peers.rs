//! Tests TLS connections with rustls' own record layer as the peer, and with peers that send
//! illegal records.

use super::super::record::kind;
use super::*;
use rustls::{ClientConnection, ConnectionCommon, ServerConnection, SideData};
use std::io::{Read, Write};
use std::ops::{Deref, DerefMut};
use std::os::unix::net::UnixStream;

/// Sends bodies of many sizes in many pieces, expects each back, and updates the keys in between.
fn want_echo<C, S>(mut connection: C, mut stream: UnixStream, updates: bool)
where
    C: Deref<Target = ConnectionCommon<S>> + DerefMut,
    S: SideData,
{
    let mut numbers = lab::Random::new(1);
    let mut tls = rustls::Stream::new(&mut connection, &mut stream);
    while tls.conn.is_handshaking() {
        tls.conn.complete_io(tls.sock).unwrap();
    }
    for round in 0..60 {
        let most = [3, 200, 20_000, 70_000][round % 4];
        let sent = pattern(1 + numbers.index(most));
        let cut = numbers.index(sent.len());
        let mut got = vec![0; sent.len()];
        tls.write_all(&sent[..cut]).unwrap();
        if updates && round % 3 == 0 {
            tls.conn.refresh_traffic_keys().unwrap();
        }
        tls.write_all(&sent[cut..]).unwrap();
        tls.flush().unwrap();
        tls.read_exact(&mut got).unwrap();
        assert_eq!(got, sent, "round {round}");
    }
    tls.conn.send_close_notify();
    tls.flush().unwrap();
    let mut rest = Vec::new();
    assert_eq!(tls.read_to_end(&mut rest).unwrap(), 0, "no goodbye");
}

async fn echo(transport: &ConnectionTransport) {
    loop {
        let got = read(transport, 1).await.unwrap();
        if got.is_empty() {
            break;
        }
        write(transport, &got).await.unwrap();
    }
    assert!(!transport.is_end_unauthenticated());
    transport.shutdown_write().unwrap();
    transport.flushed().await.unwrap();
}

fn with_peer() -> (StreamSocket, UnixStream) {
    let (ours, theirs) = descriptors();
    let theirs = UnixStream::from(theirs);
    theirs.set_nonblocking(false).unwrap();
    (
        StreamSocket::from_nonblocking(ours, Assumed::Both).unwrap(),
        theirs,
    )
}

#[test]
fn rustls_own_records_and_ours_are_the_same_with_every_suite() {
    for (version, suite) in SUITES {
        on_loop(move || async move {
            let configs = configs(version, Some(*suite));
            let is_13 = **version == TLS13;
            let (ours, theirs) = with_peer();
            let config = configs.client.clone();
            let client = std::thread::spawn(move || {
                let client = ClientConnection::new(config, name()).unwrap();
                want_echo(client, theirs, is_13);
            });
            let config = configs.server.clone();
            let made = accept(&ours, b"", |_| Ok(config), terms(None)).await;
            echo(&secured(ours, made.unwrap().0)).await;
            client.join().unwrap();

            let (ours, theirs) = with_peer();
            let config = configs.server.clone();
            let server = std::thread::spawn(move || {
                let server = ServerConnection::new(config).unwrap();
                want_echo(server, theirs, is_13);
            });
            let made = connect(&ours, configs.client.clone(), name(), None, terms(None)).await;
            echo(&secured(ours, made.unwrap().0)).await;
            server.join().unwrap();
        });
    }
}

/// Sends a record of any kind on a transport.
async fn say(from: &ConnectionTransport, kind: u8, content: &[u8]) {
    let session = from.tls().expect("it is TLS");
    session.queue_record(kind, content);
    from.flushed().await.unwrap();
}

/// Content type and content of a record.
type SentRecord<'s> = (u8, &'s [u8]);

/// Checks the reaction of a server and a client to these records.
fn told(version: &'static SupportedProtocolVersion, records: &[SentRecord<'_>]) {
    let records: Vec<(u8, Vec<u8>)> = records.iter().map(|(k, c)| (*k, c.to_vec())).collect();
    on_loop(move || async move {
        let configs = configs(version, None);
        for to_server in [true, false] {
            let ((client, _), (server, _)) = established(&configs).await;
            let (from, to) = if to_server {
                (client, server)
            } else {
                (server, client)
            };
            for (kind, content) in &records {
                say(&from, *kind, content).await;
            }
            let error = read(&to, 1).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{records:?}");
            assert!(to.try_write(b"x").is_err() && to.is_peer_closed());
            // The peer gets an alert.
            let error = read(&from, 1).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::ConnectionReset, "{records:?}");
        }
    });
}

#[test]
fn forbidden_messages_end_the_connection() {
    const UPDATE: &[u8] = &[24, 0, 0, 1, 0];
    let of_13: &[&[SentRecord<'_>]] = &[
        // Handshake messages after the handshake, and a certificate request.
        &[(kind::HANDSHAKE, &[1, 0, 0, 0])],
        &[(kind::HANDSHAKE, &[13, 0, 0, 0])],
        &[(kind::HANDSHAKE, &[20, 0, 0, 0])],
        &[(kind::HANDSHAKE, &[0, 0, 0, 0])],
        // A key update with an illegal value, a wrong length, or trailing data.
        &[(kind::HANDSHAKE, &[24, 0, 0, 1, 2])],
        &[(kind::HANDSHAKE, &[24, 0, 0, 2, 0, 0])],
        &[(kind::HANDSHAKE, &[24, 0, 0, 0])],
        &[(kind::HANDSHAKE, &[24, 0, 0, 1, 0, 24, 0, 0, 1, 0])],
        &[(kind::HANDSHAKE, &[24, 0, 0, 1, 0, 24])],
        // A key update in two pieces with another record between them.
        &[(kind::HANDSHAKE, UPDATE.split_at(2).0), (kind::DATA, b"x")],
        &[
            (kind::HANDSHAKE, UPDATE.split_at(2).0),
            (kind::ALERT, &[1, 90]),
        ],
        // A length that no message has, and records of a wrong form.
        &[(kind::HANDSHAKE, &[24, 0xff, 0xff, 0xff])],
        &[(kind::HANDSHAKE, &[4, 0xff, 0xff, 0xff])],
        &[(kind::HANDSHAKE, b"")],
        &[(kind::ALERT, b"")],
        &[(kind::ALERT, &[1])],
        &[(kind::ALERT, &[1, 0, 1, 0])],
        &[(kind::CHANGE_CIPHER, &[1])],
        &[(24, &[1, 0, 0])],
        &[(0, b"")],
    ];
    of_13.iter().for_each(|records| told(&TLS13, records));
    let of_12: &[&[SentRecord<'_>]] = &[
        &[(kind::HANDSHAKE, UPDATE)],
        &[(kind::HANDSHAKE, &[20, 0, 0, 0])],
        &[(kind::HANDSHAKE, &[4, 0, 0, 0])],
        &[(kind::HANDSHAKE, b"")],
        &[(kind::ALERT, &[1])],
        &[(kind::CHANGE_CIPHER, &[1])],
        &[(24, &[1, 0, 0])],
    ];
    of_12.iter().for_each(|records| told(&TLS12, records));
}

#[test]
fn consecutive_empty_records_are_limited() {
    const EMPTY_BODY: &[u8] = &[];
    const CANCELED_BODY: &[u8] = &[1, 90];
    const EMPTY: &[SentRecord<'_>] = &[(kind::DATA, EMPTY_BODY); 33];
    const CANCELED: &[SentRecord<'_>] = &[(kind::ALERT, CANCELED_BODY); 33];
    for version in [&TLS12, &TLS13] {
        told(version, EMPTY);
        told(version, CANCELED);
    }
    on_loop(|| async {
        let configs = configs(&TLS13, None);
        let ((client, _), (server, _)) = established(&configs).await;
        for n in 0..200 {
            for _ in 0..30 {
                say(&client, kind::DATA, b"").await;
            }
            say(&client, kind::DATA, b"x").await;
            assert_eq!(read(&server, 1).await.unwrap(), b"x", "{n}");
        }
    });
}

#[test]
fn requested_key_update_precedes_the_next_data() {
    on_loop(|| async {
        let configs = configs(&TLS13, None);
        let ((client, _), (server, _)) = established(&configs).await;
        for n in 0..5 {
            // A message with one byte per record, then many requests at once.
            for byte in [24, 0, 0, 1, 1] {
                say(&client, kind::HANDSHAKE, &[byte]).await;
            }
            client.tls().unwrap().use_next_key();
            for _ in 0..n {
                say(&client, kind::HANDSHAKE, &[24, 0, 0, 1, 1]).await;
                client.tls().unwrap().use_next_key();
            }
            write(&client, b"question").await.unwrap();
            assert_eq!(read(&server, 8).await.unwrap(), b"question");
            write(&server, b"answer").await.unwrap();
            assert_eq!(read(&client, 6).await.unwrap(), b"answer");
        }
        // Data with the old keys is refused.
        say(&client, kind::HANDSHAKE, &[24, 0, 0, 1, 0]).await;
        say(&client, kind::DATA, b"old").await;
        let error = read(&server, 1).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    });
}

#[test]
fn renegotiation_is_declined_and_the_connection_continues() {
    on_loop(|| async {
        let configs = configs(&TLS12, None);
        let ((client, _), (server, _)) = established(&configs).await;
        say(&client, kind::HANDSHAKE, &[1, 0, 0, 2, 3, 3]).await;
        say(&server, kind::HANDSHAKE, &[0, 0, 0, 0]).await;
        for transport in [&client, &server] {
            let pending =
                poll_fn(|context| Poll::Ready(transport.poll_readable(context).is_pending()));
            assert!(pending.await);
            // The response is sent without a write of the caller.
            assert!(transport.is_flushed());
        }
        write(&client, b"on").await.unwrap();
        assert_eq!(read(&server, 2).await.unwrap(), b"on");
        write(&server, b"on").await.unwrap();
        assert_eq!(read(&client, 2).await.unwrap(), b"on");
    });
}

#[test]
fn data_after_close_notify_is_ignored_and_fatal_alert_is_an_error() {
    on_loop(|| async {
        for version in [&TLS12, &TLS13] {
            let configs = configs(version, None);
            let ((client, _), (server, _)) = established(&configs).await;
            say(&client, kind::DATA, b"last").await;
            say(&client, kind::ALERT, &[1, 0]).await;
            say(&client, kind::DATA, b"more").await;
            assert_eq!(read(&server, 100).await.unwrap(), b"last");
            assert!(!server.is_end_unauthenticated() && server.is_peer_closed());
            // The other direction remains open.
            write(&server, b"answer").await.unwrap();
            assert_eq!(read(&client, 6).await.unwrap(), b"answer");

            let ((client, _), (server, _)) = established(&configs).await;
            say(&client, kind::ALERT, &[2, 40]).await;
            let error = read(&server, 1).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        }
    });
}

#[test]
fn full_buffer_leaves_room_for_close_notify() {
    on_loop(|| async {
        let configs = configs(&TLS13, None);
        // Lengths around those at which the last record would just fit.
        for length in (65_500..66_100).step_by(7) {
            let ((client, _), (server, _)) = established(&configs).await;
            let body = pattern(length);
            let (head, rest) = body.split_at(400);
            let pieces = [IoSlice::new(head), IoSlice::new(rest)];
            let taken = client.try_write_vectored_before(&pieces, false).unwrap();
            client.shutdown_write().unwrap();
            let flushed = task(async move { client.flushed().await.map(|()| client) });
            assert_eq!(read(&server, length + 1).await.unwrap(), body[..taken]);
            assert!(!server.is_end_unauthenticated(), "{length}");
            flushed.await.unwrap();
        }
    });
}

#[test]
fn records_start_short_and_respect_the_maximum() {
    on_loop(|| async {
        let configs = configs(&TLS13, None);
        let (ours, theirs) = sockets();
        let config = configs.server.clone();
        let defaults = TlsDefaults {
            record_max: Some(1400),
            record_hard_max: Some(8000),
            ..TlsDefaults::default()
        };
        let limited = Terms::new(None, &defaults).unwrap();
        let server = task(async move {
            let made = accept(&theirs, b"", |_| Ok(config), limited).await.unwrap();
            secured(theirs, made.0)
        });
        let made = connect(&ours, configs.client.clone(), name(), None, terms(None)).await;
        let client = secured(ours, made.unwrap().0);
        let server = server.await;
        // As long as more records follow, each read of the client returns one record.
        let sent = pattern(60_000);
        let writer = task(async move { write(&server, &sent).await.map(|()| server) });
        let raw = client.socket();
        let mut bytes = Vec::new();
        while bytes.len() < 60_000 {
            let mut some = vec![0; 70_000];
            let n = wait_read(raw, &mut some).await.unwrap();
            bytes.extend_from_slice(&some[..n]);
        }
        writer.await.unwrap();
        let mut lengths = Vec::new();
        let mut rest = &bytes[..];
        while rest.len() > 5 {
            let length = usize::from(u16::from_be_bytes([rest[3], rest[4]]));
            lengths.push(length - 17);
            rest = rest.get(5 + length..).unwrap_or_default();
        }
        let data: Vec<usize> = lengths.into_iter().skip_while(|n| *n != 1400).collect();
        assert!(data.iter().take(35).all(|n| *n == 1400), "{data:?}");
        assert!(
            data.iter().all(|n| *n <= 8000) && data.contains(&8000),
            "{data:?}"
        );
    });
}

#[test]
fn close_notify_alone_reports_the_end_of_the_peer() {
    async fn is_gone(transport: &ConnectionTransport) -> bool {
        poll_fn(|context| Poll::Ready(transport.poll_peer_closed(context).is_ready())).await
    }
    on_loop(|| async {
        for version in [&TLS12, &TLS13] {
            let configs = configs(version, None);
            let ((client, _), (server, _)) = established(&configs).await;
            assert!(!is_gone(&server).await && !is_gone(&client).await);
            // The socket of the peer stays open.
            say(&client, kind::ALERT, &[1, 0]).await;
            poll_fn(|context| server.poll_peer_closed(context)).await;
            assert_eq!(read(&server, 1).await.unwrap(), b"");

            // After unread data the close_notify is not seen, and no data is lost.
            let ((client, _), (server, _)) = established(&configs).await;
            say(&client, kind::DATA, b"data").await;
            say(&client, kind::ALERT, &[1, 0]).await;
            server.readable().await;
            assert!(!is_gone(&server).await);
            assert_eq!(read(&server, 4).await.unwrap(), b"data");
            poll_fn(|context| server.poll_peer_closed(context)).await;
        }
    });
}
