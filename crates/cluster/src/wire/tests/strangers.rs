//! Tests strangers (clients that are not members): they may cost little, and only for a short time.

use super::super::accept::{PLACES_PER_MEMBER_ADDRESS, STRANGERS_MAX, STRANGERS_PER_ADDRESS_MAX};
use super::super::frame::FrameKind;
use super::super::greeting::{Goodbye, Hello, Ungreeted, hear_hello, say_hello, write_frame};
use super::super::tunnel::TUNNELS_PER_MEMBER_MAX;
use super::*;
use crate::authority::{ALPN_JOIN, ALPN_MEMBER, PeerRejection, Token, joining};
use crate::wire::dial::Unreached;
use std::io;
use std::sync::atomic::AtomicUsize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

fn hasty() -> Timing {
    Timing {
        handshake: Duration::from_millis(500),
        ..Timing::default()
    }
}

async fn hasty_wire(paper: &Paper, id: u64, echo: &Echo) -> MemberWire<Tcp> {
    let wire = MemberWire::new(paper.identity(id), paper.trust(), hasty(), Tcp).unwrap();
    let addresses = &paper.members[&MemberId(id)].addresses;
    wire.serve(addresses, echo.clone()).await.unwrap();
    wire
}

async fn from(source: [u8; 4], to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::new(source.into(), 0)).unwrap();
    socket.connect(to).await.unwrap()
}

async fn is_closed(stream: &mut TcpStream) -> bool {
    let mut rest = Vec::new();
    let reading = stream.read_to_end(&mut rest);
    tokio::time::timeout(PATIENCE, reading).await.is_ok()
}

#[test]
fn garbage_and_silent_connections_end_soon_and_are_counted() {
    on_one_thread(async {
        let addresses = free_addresses(1);
        let paper = Paper::new(&addresses);
        let wire = hasty_wire(&paper, 1, &Echo::default()).await;
        let mut silent = TcpStream::connect(addresses[0]).await.unwrap();
        let mut web = TcpStream::connect(addresses[0]).await.unwrap();
        web.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            .await
            .unwrap();
        let mut zeros = TcpStream::connect(addresses[0]).await.unwrap();
        zeros.write_all(&[0; 4096]).await.unwrap();
        // A TLS hello that announces a large size and never ends.
        let mut endless = TcpStream::connect(addresses[0]).await.unwrap();
        let head = [22, 3, 1, 0x3f, 0xff, 1, 0, 0xff, 0xff];
        endless.write_all(&head).await.unwrap();
        for stream in [&mut silent, &mut web, &mut zeros, &mut endless] {
            assert!(is_closed(stream).await);
        }
        until("all are counted", || {
            wire.counted(|c| &c.handshakes_failed) == 4
        })
        .await;
    });
}

#[test]
fn strangers_use_separate_connection_slots() {
    on_one_thread(async {
        let addresses = free_addresses(2);
        let paper = Paper::new(&addresses);
        let echo = Echo::default();
        let timing = Timing {
            handshake: Duration::from_secs(600),
            ..Timing::default()
        };
        let wire = MemberWire::new(paper.identity(1), paper.trust(), timing, Tcp).unwrap();
        wire.serve(&addresses[..1], echo.clone()).await.unwrap();
        let mut held = Vec::new();
        for _ in 0..STRANGERS_PER_ADDRESS_MAX + 5 {
            held.push(from([127, 0, 0, 9], addresses[0]).await);
        }
        until("one address is full", || wire.counted(|c| &c.crowded) == 5).await;
        for host in 10..16 {
            for _ in 0..STRANGERS_PER_ADDRESS_MAX {
                held.push(from([127, 0, 0, host], addresses[0]).await);
            }
        }
        let refused = (held.len() - STRANGERS_MAX) as u64;
        until("all are full", || wire.counted(|c| &c.crowded) == refused).await;
        // From the address of a member a limited number of strangers still connects.
        let _two = serving(&paper, 2, &echo).await;
        until("the member is in", || connections(&wire, 2) == 2).await;
        for _ in 0..PLACES_PER_MEMBER_ADDRESS + 1 {
            held.push(TcpStream::connect(addresses[0]).await.unwrap());
        }
        until("that is bounded, too", || {
            wire.counted(|c| &c.crowded) == refused + 1
        })
        .await;
        // Closed connections free their slots.
        held.clear();
        let mut late = from([127, 0, 0, 9], addresses[0]).await;
        late.write_all(b"x").await.unwrap();
        let failed = wire.counted(|c| &c.handshakes_failed);
        until("there is room again", || {
            wire.counted(|c| &c.handshakes_failed) >= failed
        })
        .await;
        assert_eq!(wire.counted(|c| &c.crowded), refused + 1);
    });
}

async fn tls(paper: &Paper, protocol: &[u8]) -> TlsStream<TcpStream> {
    let address = paper.members[&MemberId(1)].addresses[0];
    let fingerprint = paper.authority.fingerprint();
    let token = Token::new(MemberKind::Node, vec![address], &fingerprint).unwrap();
    let mut config = (*joining(&token).unwrap()).clone();
    config.alpn_protocols = vec![protocol.to_vec()];
    let stream = TcpStream::connect(address).await.unwrap();
    let name = "x".try_into().unwrap();
    TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
        .unwrap()
}

#[test]
fn peer_without_certificate_is_not_a_member() {
    on_one_thread(async {
        let addresses = free_addresses(1);
        let paper = Paper::new(&addresses);
        let wire = hasty_wire(&paper, 1, &Echo::default()).await;
        let mut stream = tls(&paper, ALPN_MEMBER).await;
        let hello = Hello {
            member: MemberId(1),
            run: 1,
            through: None,
            carry_to: None,
        };
        say_hello(&mut stream, &hello).await.unwrap();
        let told = hear_hello(&mut stream).await;
        let refused = Goodbye::Refused(PeerRejection::Certificate);
        assert!(
            matches!(told, Err(Ungreeted::Goodbye(why)) if why == refused),
            "{told:?}"
        );
        assert_eq!(wire.counted(|c| &c.refused), 1);
        // More than a greeting or a request to join may have.
        let mut stream = tls(&paper, ALPN_MEMBER).await;
        write_frame(&mut stream, FrameKind::Hello, &[0; 2048])
            .await
            .unwrap();
        assert!(stream.read_u8().await.is_err());
        let mut stream = tls(&paper, ALPN_JOIN).await;
        write_frame(&mut stream, FrameKind::Ask, &[0; 9000])
            .await
            .unwrap();
        assert!(stream.read_u8().await.is_err());
        until("both are counted", || {
            wire.counted(|c| &c.handshakes_failed) == 2
        })
        .await;
    });
}

#[test]
fn accepting_but_silent_peer_is_named() {
    on_one_thread(async {
        let addresses = free_addresses(2);
        let paper = Paper::new(&addresses);
        let _mute = TcpListener::bind(addresses[1]).await.unwrap();
        let wire = hasty_wire(&paper, 1, &Echo::default()).await;
        until("it is named", || {
            let broken = &wire.paths()[0].broken;
            broken
                .iter()
                .any(|words| words.contains("does not respond"))
        })
        .await;
        assert!(!wire.paths()[0].up);
    });
}

/// The system's TCP without file descriptors for a while.
#[derive(Clone)]
struct Poor(Arc<AtomicUsize>);

impl ConnectionFactory for Poor {
    type Stream = TcpStream;
    type Listener = TcpListener;

    async fn listen(&self, at: SocketAddr) -> io::Result<TcpListener> {
        Tcp.listen(at).await
    }

    fn address(&self, listener: &TcpListener) -> io::Result<SocketAddr> {
        listener.local_addr()
    }

    async fn accept(&self, listener: &TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
        let left = self.0.load(Ordering::Relaxed);
        if left > 0 {
            self.0.store(left - 1, Ordering::Relaxed);
            return Err(rustix::io::Errno::MFILE.into());
        }
        Tcp.accept(listener).await
    }

    async fn dial(&self, to: SocketAddr) -> io::Result<TcpStream> {
        Tcp.dial(to).await
    }
}

#[test]
fn listener_recovers_from_descriptor_exhaustion() {
    on_one_thread(async {
        let addresses = free_addresses(2);
        let paper = Paper::new(&addresses);
        let wire = paper.wire(1, Poor(Arc::new(AtomicUsize::new(3))));
        let mut events = wire.events();
        wire.serve(&addresses[..1], Echo::default()).await.unwrap();
        let _two = serving(&paper, 2, &Echo::default()).await;
        until("both ways stand", || connections(&wire, 2) == 2).await;
        assert_eq!(wire.counted(|c| &c.accept_failed), 3);
        let told = events.recv().await.unwrap();
        assert!(
            format!("{told:?}").contains("cannot accept connections"),
            "{told:?}"
        );
    });
}

#[test]
fn tunnels_lead_to_members_only_and_are_bounded() {
    on_one_thread(async {
        let addresses = free_addresses(3);
        let paper = Paper::new(&addresses);
        let echo = Echo::default();
        let one = serving(&paper, 1, &echo).await;
        let three = serving(&paper, 3, &echo).await;
        until("they talk", || connections(&one, 3) == 2).await;
        // To itself, to the requester, to an unknown member: not carried.
        for to in [1, 3, 9] {
            let asked = one.shared.tunnel(MemberId(3), MemberId(to)).await;
            let not_carried = Ungreeted::Goodbye(Goodbye::NotCarried);
            assert!(
                matches!(
                    &asked,
                    Err(Unreached::Ungreeted(Ungreeted::Goodbye(
                        Goodbye::NotCarried
                    )))
                ),
                "{to}: {not_carried:?}"
            );
        }
        // Member 2 accepts everything, and sends nothing.
        let _two = TcpListener::bind(addresses[1]).await.unwrap();
        let mut held = Vec::new();
        while let Ok(tunnel) = one.shared.tunnel(MemberId(3), MemberId(2)).await {
            held.push(tunnel);
        }
        // The wire keeps a tunnel of its own, which counts towards the limit and may be missing
        // here.
        let count = held.len();
        assert!(
            (TUNNELS_PER_MEMBER_MAX - 1..=TUNNELS_PER_MEMBER_MAX).contains(&count),
            "{count}"
        );
        held.clear();
        until("there is room again", || {
            three.counted(|c| &c.tunnels) > TUNNELS_PER_MEMBER_MAX as u64 - 1
        })
        .await;
    });
}
