//! Tests malicious TLS peers: handshakes that stall, ClientHellos of any form, empty records,
//! missing close_notify. They use little memory, their connections end, and well-behaved
//! clients are served.

use crate::bed::{PATIENCE, Peer, ProxyFixture, ScriptedOrigin, against_haproxy};
use crate::living::{self, apart, peak_during};
use crate::peer2::Peer2;
use crate::raw2::{Raw, get, headers};
use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use lab::ScratchDirectory;
use lab::pki::{Authority, Leaf};
use lab::tls::{Terms, TlsClient, TlsOffer, TlsServer, Versions};
use rustls::{CipherSuite, ClientConfig, ClientConnection, ConnectionTrafficSecrets};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Returns files with a certificate, and the configuration of a proxy that uses it on `{0}`,
/// and on `{1}` with short timeouts.
pub fn secure(origin: &ScriptedOrigin) -> (ScratchDirectory, String) {
    let files = ScratchDirectory::new().unwrap();
    let authority = Authority::new("test").unwrap();
    let leaf = Leaf {
        names: &["localhost"],
        ..Leaf::default()
    };
    let issued = authority.issue(&leaf).unwrap();
    let path = files.write("site.pem", issued.bundle()).unwrap();
    let bind = |n: usize| {
        format!(
            " bind 127.0.0.1:{{{n}}} ssl crt {} alpn h2,http/1.1\n",
            path.display()
        )
    };
    let soon = format!(
        "frontend soon\n{} default_backend back\n timeout client 3s\n",
        bind(1)
    );
    let front = format!("frontend front\n{} default_backend back\n", bind(0));
    let plain = "frontend plain\n bind 127.0.0.1:{2}\n default_backend back\n";
    let back = format!("backend back\n server s 127.0.0.1:{}\n", origin.port);
    (files, soon + plain + &front + &back)
}

fn client(versions: Versions) -> TlsClient {
    client_of(versions, &[])
}

pub fn client_of(versions: Versions, alpn: &[&str]) -> TlsClient {
    let offer = TlsOffer {
        sni: Some("localhost"),
        versions,
        alpn,
        suites: match versions {
            Versions::Only12 => &[CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256],
            _ => &[],
        },
        ..TlsOffer::default()
    };
    TlsClient::new_local(&offer).unwrap().timeout(PATIENCE)
}

/// Sends a request over a new connection.
fn ask(bed: &ProxyFixture) {
    let answer = client(Versions::Both)
        .connect(bed.client_address())
        .unwrap()
        .get("/good")
        .unwrap();
    assert_eq!(answer.status, 200);
}

/// Runs a well-behaved client, with a new handshake for each request, during a function.
fn beside<T>(bed: &ProxyFixture, run: impl FnOnce() -> T) -> T {
    let stop = Arc::new(AtomicBool::new(false));
    let (ends, address) = (stop.clone(), bed.client_address());
    let good = std::thread::spawn(move || {
        let mut asked = 0;
        while asked < 3 || !ends.load(Ordering::Relaxed) {
            let connected = client(Versions::Both).connect(address);
            let answer = connected.unwrap().get("/good").unwrap();
            assert_eq!(answer.status, 200);
            asked += 1;
        }
    });
    let result = run();
    stop.store(true, Ordering::Relaxed);
    good.join().expect("a good client");
    result
}

/// Returns the first bytes of a client.
fn hello() -> Vec<u8> {
    let config = client(Versions::Both).config();
    let name = "localhost".try_into().unwrap();
    let mut connection = ClientConnection::new(config, name).unwrap();
    let mut bytes = Vec::new();
    connection.write_tls(&mut bytes).unwrap();
    bytes
}

#[test]
fn handshakes_that_stall_hold_little_and_are_ended() {
    if against_haproxy() {
        return;
    }
    apart(
        "hostile_tls::handshakes_that_stall_hold_little_and_are_ended",
        || {
            const CLIENTS: usize = 1000;
            let origin = ScriptedOrigin::echo();
            let (_files, text) = secure(&origin);
            let bed = ProxyFixture::new(&text);
            beside(&bed, || ());
            let hello = hello();
            // The handshakes stall before the ClientHello, within it, and after it.
            for (sent, bound) in [(0, 8_000), (3, 8_000), (100, 8_000), (hello.len(), 48_000)] {
                let before = living::bytes();
                let mut clients: Vec<Peer> = (0..CLIENTS).map(|_| bed.client_of(1)).collect();
                let ((), peak) = peak_during(|| {
                    beside(&bed, || {
                        for client in &mut clients {
                            client.try_send(&hello[..sent]);
                        }
                        for client in &mut clients {
                            assert_ne!(client.ends(), "open");
                        }
                    })
                });
                // Leaves out one megabyte for the handshakes of the well-behaved client.
                let grown = peak.saturating_sub(before + (1 << 20)) / CLIENTS;
                println!("{sent} bytes of a hello: {grown} bytes each");
                assert!(grown < bound, "{sent} sent: {grown} bytes each");
            }
        },
    );
}

fn record(kind: u8, content: &[u8]) -> Vec<u8> {
    let length = (content.len() as u16).to_be_bytes();
    [&[kind, 3, 3][..], &length, content].concat()
}

/// Builds a ClientHello with these extensions behind that of the versions.
fn hello_with(extensions: &[(u16, Vec<u8>)]) -> Vec<u8> {
    let mut all = Vec::new();
    let usual = [
        (43, vec![4, 3, 4, 3, 3]),
        (10, vec![0, 2, 0, 23]),
        (13, vec![0, 2, 4, 3]),
    ];
    for (kind, content) in extensions.iter().chain(&usual) {
        all.extend(kind.to_be_bytes());
        all.extend((content.len() as u16).to_be_bytes());
        all.extend(content);
    }
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.extend([0, 0, 4, 0xc0, 0x2b, 0x13, 1, 1, 0]);
    body.extend((all.len() as u16).to_be_bytes());
    body.extend(all);
    let length = (body.len() as u32).to_be_bytes();
    let message = [&[1][..], &length[1..], &body].concat();
    let records = message.chunks(16_384).map(|piece| record(22, piece));
    records.flatten().collect()
}

fn named(name: &[u8]) -> Vec<u8> {
    let length = (name.len() as u16).to_be_bytes();
    let list = (name.len() as u16 + 3).to_be_bytes();
    hello_with(&[(0, [&list[..], &[0], &length, name].concat())])
}

/// Returns first bytes that no real client sends.
fn odd() -> Vec<Vec<u8>> {
    let hello = hello();
    let crumbs: Vec<u8> = hello[5..]
        .iter()
        .flat_map(|byte| record(22, &[*byte]))
        .collect();
    let warning = record(21, &[1, 0x5a]);
    let mut ticket = vec![0, 9, 0, 3, b'a', b'b', b'c', 0, 0, 0, 0];
    ticket.extend([0, 33, 32]);
    ticket.extend([7; 32]);
    vec![
        b"GET / HTTP/1.1\r\nHost: h\r\n\r\n".to_vec(),
        protocol::http2::PREFACE.to_vec(),
        vec![0x80, 0x2e, 1, 0, 2],
        vec![22, 3, 1, 0xff, 0xff],
        vec![22, 3, 1, 0, 4, 1, 0xff, 0xff, 0xff],
        vec![0; 20_000],
        vec![0xff; 20_000],
        crumbs,
        warning.repeat(1000),
        record(20, &[1]).repeat(1000),
        record(23, &[7; 100]),
        record(22, &[]).repeat(1000),
        [&hello[..], &warning.repeat(1000)].concat(),
        [&hello[..], &record(20, &[1]).repeat(1000)].concat(),
        [&hello[..], &hello[..], &hello[..]].concat(),
        [&hello[..], &record(22, &[20, 0xff, 0xff, 0xff]).repeat(100)].concat(),
        [&hello[..], &record(23, &[7; 16_384]).repeat(100)].concat(),
        hello_with(&[(21, vec![0; 40_000])]),
        hello_with(&[(21, vec![0; 20_000])]),
        hello_with(&[(35, vec![7; 5_000])]),
        hello_with(&[(41, ticket.clone()), (45, vec![1, 1])]),
        hello_with(&[(41, ticket), (42, vec![]), (45, vec![1, 1])]),
        hello_with(&[(16, vec![0, 3, 2, b'h', 0])]),
        hello_with(&[(16, vec![0xff, 0xff])]),
        hello_with(&vec![(0, vec![]); 4_000]),
        named(b""),
        named(b"\0"),
        named(b"localhost\0.evil"),
        named(b"a\r\nb"),
        named(b"\xff\xfe"),
        named(&[b'a'; 300]),
        named(&b"a.".repeat(5000)),
        named(b"..."),
        named(b"*.localhost"),
        named(b"127.0.0.1"),
        named(b"%n%s%x"),
    ]
}

#[test]
fn hellos_of_any_form_break_nothing() {
    let origin = ScriptedOrigin::echo();
    let (_files, text) = secure(&origin);
    let bed = ProxyFixture::new(&text);
    for (n, bytes) in odd().iter().enumerate() {
        let mut client = bed.client_of(1);
        client.try_send(bytes);
        client.half_close();
        let end = client.ends();
        assert!(end.ends_with("FIN") || end.ends_with("RST"), "{n}: {end}");
    }
    ask(&bed);
    let hello = hello();
    let mut random = lab::Random::new(1);
    let mut below = |n| random.index(n);
    for _ in 0..500 {
        let mut bytes = hello.clone();
        for _ in 0..1 + below(4) {
            let at = below(bytes.len());
            bytes[at] = below(256) as u8;
        }
        bytes.truncate(bytes.len() - below(2) * below(bytes.len()));
        let mut client = bed.client_of(1);
        client.try_send(&bytes);
        client.half_close();
        client.ends();
    }
    ask(&bed);
    bed.counts("back/s", "scur", "");
}

/// A TLS 1.2 connection whose records the test encrypts itself.
struct Sealed {
    socket: TcpStream,
    key: LessSafeKey,
    iv: [u8; 12],
    sequence: u64,
}

impl Sealed {
    fn connect(bed: &ProxyFixture) -> Sealed {
        let mut config = ClientConfig::clone(&client(Versions::Only12).config());
        config.enable_secret_extraction = true;
        let name = "localhost".try_into().unwrap();
        let mut connection = ClientConnection::new(Arc::new(config), name).unwrap();
        let mut socket = bed.client().socket;
        while connection.is_handshaking() {
            connection.complete_io(&mut socket).unwrap();
        }
        let (sequence, secrets) = connection.dangerous_extract_secrets().unwrap().tx;
        let ConnectionTrafficSecrets::Aes128Gcm { key, iv } = secrets else {
            panic!("another cipher");
        };
        let key = UnboundKey::new(&AES_128_GCM, &key.as_ref()[..16]).unwrap();
        Sealed {
            socket,
            key: LessSafeKey::new(key),
            iv: iv.as_ref().try_into().unwrap(),
            sequence,
        }
    }

    /// Sends a record; returns false if the connection has ended.
    fn send(&mut self, kind: u8, content: &[u8]) -> bool {
        let sequence = self.sequence.to_be_bytes();
        self.sequence += 1;
        let mut nonce = self.iv;
        for (byte, of) in nonce[4..].iter_mut().zip(sequence) {
            *byte ^= of;
        }
        let length = (content.len() as u16).to_be_bytes();
        let additional = [&sequence[..], &[kind, 3, 3], &length].concat();
        let mut sealed = content.to_vec();
        let once = Nonce::assume_unique_for_key(nonce);
        self.key
            .seal_in_place_append_tag(once, Aad::from(additional), &mut sealed)
            .unwrap();
        let whole = record(kind, &[&nonce[4..], &sealed].concat());
        self.socket.write_all(&whole).is_ok()
    }

    /// Returns whether the other side ends the connection during this many bytes.
    fn ends_while(mut self, pieces: &[(u8, &[u8])]) -> bool {
        for _ in 0..2_000 {
            for (kind, content) in pieces {
                if !self.send(*kind, content) {
                    return true;
                }
            }
        }
        // Waits for the end of the connection, which may still be on its way.
        self.socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut bytes = [0; 4096];
        loop {
            match self.socket.read(&mut bytes) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) => return error.kind() == std::io::ErrorKind::ConnectionReset,
            }
        }
    }
}

/// Name of a flood, and the records that are repeated.
type Flood<'f> = (&'f str, &'f [(u8, &'f [u8])]);

#[test]
fn endless_empty_records_end_the_connection() {
    let origin = ScriptedOrigin::echo();
    let (_files, text) = secure(&origin);
    let bed = ProxyFixture::new(&text);
    let hello = &hello()[5..];
    beside(&bed, || {
        let floods: [Flood; 6] = [
            ("renegotiation", &[(22, hello)]),
            ("warnings", &[(21, &[1, 90])]),
            ("no_renegotiation", &[(21, &[1, 100])]),
            ("empty data", &[(23, &[])]),
            ("pieces of a message", &[(22, &[1, 0, 0xff, 0xff])]),
            ("another message", &[(22, &[11, 0, 0, 0])]),
        ];
        for (name, pieces) in floods {
            assert!(Sealed::connect(&bed).ends_while(pieces), "{name}");
        }
    });
}

#[test]
fn a_request_in_records_of_a_byte_is_served() {
    let origin = ScriptedOrigin::echo();
    let (_files, text) = secure(&origin);
    let bed = ProxyFixture::new(&text);
    let mut client = Sealed::connect(&bed);
    for byte in b"GET /crumbs HTTP/1.1\r\nHost: h\r\n\r\n" {
        assert!(client.send(23, &[*byte]));
    }
    bed.counts("front", "req_tot", "req_tot=1");
    assert_eq!(bed.end(), "200 --");
}

#[test]
fn endless_key_updates_end_the_connection() {
    let origin = ScriptedOrigin::echo();
    let (_files, text) = secure(&origin);
    let bed = ProxyFixture::new(&text);
    let config = client(Versions::Only13).config();
    let name = "localhost".try_into().unwrap();
    let mut connection = ClientConnection::new(config, name).unwrap();
    let mut socket = bed.client().socket;
    while connection.is_handshaking() {
        connection.complete_io(&mut socket).unwrap();
    }
    beside(&bed, || {
        let ended = (0..10_000).any(|_| {
            connection.refresh_traffic_keys().unwrap();
            connection.write_tls(&mut socket).is_err()
        });
        assert!(ended);
    });
}

/// Creates a TLS server that sends a response and ends the connection without close_notify.
fn truncating(answer: &'static str) -> ScriptedOrigin {
    let issued = lab::pki::self_signed(&Leaf::default()).unwrap();
    let server = TlsServer::new(&issued, &Terms::default()).unwrap();
    ScriptedOrigin::new(move |peer, _| {
        let Ok((mut stream, _)) = server.accept(peer.socket) else {
            return;
        };
        let mut bytes = [0; 4096];
        let _ = stream.read(&mut bytes);
        let _ = stream.write_all(answer.as_bytes());
        let _ = stream.sock.shutdown(std::net::Shutdown::Write);
        let _ = stream.sock.read(&mut bytes);
    })
}

#[test]
fn truncated_body_never_looks_complete() {
    for answer in [
        "HTTP/1.1 200 OK\r\n\r\ncut",
        "HTTP/1.0 200 OK\r\n\r\ncut",
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\ncut",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\ncut\r\n",
    ] {
        let origin = truncating(answer);
        let text = format!(
            "frontend front\n bind 127.0.0.1:{{0}}\n default_backend back\n\
             backend back\n server s 127.0.0.1:{} ssl verify none\n",
            origin.port
        );
        let bed = ProxyFixture::new(&text);
        let mut old = bed.client();
        old.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
        let end = old.ends();
        let framed = end.contains("ength: 10\r\n") || end.contains("ncoding: chunked");
        let whole = end.contains("\r\n0\r\n\r\n") || !framed && end.ends_with("FIN");
        assert!(end.contains("cut") && !whole, "{answer:?}: {end:?}");
        assert_eq!(bed.end(), "200 SD");
        let mut new = Peer2::client(bed.client());
        let stream = new.get("/");
        let seen = new.answer(stream);
        assert!(seen.reset.is_some(), "{answer:?}: {seen:?}");
        assert_eq!(bed.end(), "200 SD");
    }
}

/// Runs in a process of its own, because the test uses up all descriptors.
#[test]
fn streams_and_handshakes_recover_from_descriptor_exhaustion() {
    if against_haproxy() {
        return;
    }
    apart(
        "hostile_tls::streams_and_handshakes_recover_from_descriptor_exhaustion",
        || {
            use nix::sys::resource::{Resource, getrlimit, setrlimit};
            let origin = ScriptedOrigin::echo();
            let (_files, text) = secure(&origin);
            let bed = ProxyFixture::new(&(text + " retries 0\n"));
            ask(&bed);
            let mut new = Raw::client(bed.client_of(2));
            let mut held: Vec<Peer> = (0..20).map(|_| bed.client_of(0)).collect();
            // The connections to the server have ended.
            bed.counts("front", "scur", "scur=20");
            let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
            setrlimit(Resource::RLIMIT_NOFILE, 128, hard).unwrap();
            let (mut hog, mut refused) = (Vec::new(), 0);
            for n in 0..50 {
                // Also uses up descriptors that other tests have closed, which may happen at any
                // time.
                while let Ok(file) = std::fs::File::open("/dev/null") {
                    hog.push(file);
                }
                new.send(headers(2 * n + 1, &get("/a"), true));
                let outcome = new.outcome(2 * n + 1);
                refused += u32::from(outcome == "503");
                assert!(matches!(&*outcome, "200" | "503"), "{n}: {outcome}");
            }
            assert!(refused > 0, "there was always one");
            for client in &mut held {
                client.try_send(hello());
            }
            drop(hog);
            new.send(headers(201, &get("/a"), true));
            assert_eq!(new.outcome(201), "200");
            ask(&bed);
        },
    );
}
