//! Accepts connections of members and of machines that join. Until a peer is authenticated it may
//! send little, for a short time, and the number of such peers is limited. Connections from
//! addresses of members are counted separately, so that strangers cannot keep members out.

use super::Binding;
use super::counters::count;
use super::dial::is_foreign;
use super::frame::FrameKind;
use super::greeting::{
    Goodbye, Hello, Pipe, hear_hello, read_frame, say_goodbye, say_hello, write_frame,
};
use super::join::{JOIN_LIMIT, JOIN_REQUEST_BYTES_MAX, turned_away};
use super::link::Bearing;
use super::network::ConnectionFactory;
use super::path::PathKind;
use super::places::QuotaSlot;
use super::shared::WireState;
use crate::authority::{ALPN_JOIN, ALPN_MEMBER, ALPN_TUNNEL, CertificateRelation, PeerRejection};
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// Largest number of strangers at once, from addresses that no member has.
pub(crate) const STRANGERS_MAX: usize = 64;
pub(crate) const STRANGERS_PER_ADDRESS_MAX: usize = 16;
pub(crate) const PLACES_PER_MEMBER_ADDRESS: usize = 32;
pub(crate) const STRANGER_BYTES_MAX: usize = 32 << 10;
const JOIN_QUESTIONS_MAX: usize = 2;
/// Pause after a failure to accept, for example because no file descriptors were left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
const BINDING_LABEL: &[u8] = b"EXPORTER-evenkeel-join";

type StrangerSlot = QuotaSlot<IpAddr>;

/// A stream whose readable bytes are limited until the limit is lifted.
struct Rationed<S> {
    stream: S,
    left: Arc<AtomicUsize>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Rationed<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let left = self.left.load(Ordering::Relaxed);
        if left == 0 {
            return Poll::Ready(Err(io::ErrorKind::QuotaExceeded.into()));
        }
        if left == usize::MAX {
            return Pin::new(&mut self.stream).poll_read(context, buffer);
        }
        let room = left.min(buffer.remaining());
        let mut part = buffer.take(room);
        let polled = Pin::new(&mut self.stream).poll_read(context, &mut part);
        let (read, initialised) = (part.filled().len(), part.initialized().len());
        // SAFETY: `part` is the beginning of what `buffer` has unfilled, and its reader
        // initialised so many bytes of it.
        unsafe { buffer.assume_init(initialised) };
        buffer.advance(read);
        self.left.fetch_sub(read, Ordering::Relaxed);
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Rationed<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// Returns the key by which a stranger is counted. For IPv6 it is the /64 network, in
/// which one machine chooses its addresses.
fn stranger_network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(address) => Ipv6Addr::from(u128::from(address) >> 64 << 64).into(),
        address => address,
    }
}

impl<N: ConnectionFactory> WireState<N> {
    pub(crate) fn accept_on(self: &Arc<Self>, listener: N::Listener) {
        let shared = Arc::clone(self);
        self.spawn(async move {
            loop {
                match shared.network.accept(&listener).await {
                    Ok((stream, from)) => shared.arrived(stream, from),
                    // Ignores a connection that the peer closed before this member accepted it.
                    Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                    Err(error) => {
                        count(&shared.counters.accept_failed);
                        shared.note(format!("cannot accept connections of members: {error}"));
                        sleep(ACCEPT_PAUSE).await;
                    }
                }
            }
        });
    }

    fn arrived(self: &Arc<Self>, stream: N::Stream, from: SocketAddr) {
        let trust = self.trust();
        let members: Vec<IpAddr> = trust
            .members
            .values()
            .flat_map(|member| member.addresses.iter().map(SocketAddr::ip))
            .collect();
        let address = from.ip().to_canonical();
        let key = if members.contains(&address) {
            address
        } else {
            stranger_network(address)
        };
        let place = self.strangers.acquire_slot(key, |own, all| {
            let unknown = all.iter().filter(|(other, _)| !members.contains(other));
            if members.contains(&address) {
                own < PLACES_PER_MEMBER_ADDRESS
            } else {
                own < STRANGERS_PER_ADDRESS_MAX
                    && unknown.map(|(_, count)| count).sum::<usize>() < STRANGERS_MAX
            }
        });
        let Some(place) = place else {
            count(&self.counters.crowded);
            return;
        };
        let shared = Arc::clone(self);
        self.spawn(async move { shared.welcome(stream, from, place).await });
    }

    async fn welcome(self: &Arc<Self>, stream: N::Stream, from: SocketAddr, place: StrangerSlot) {
        let left = Arc::new(AtomicUsize::new(STRANGER_BYTES_MAX));
        let rationed = Rationed {
            stream,
            left: Arc::clone(&left),
        };
        let limit = self.timing().handshake;
        let shaking = TlsAcceptor::from(self.tls().server()).accept(rationed);
        let mut stream = match timeout(limit, shaking).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                self.not_shaken(from, &error);
                return;
            }
            Err(_) => {
                count(&self.counters.handshakes_failed);
                return;
            }
        };
        let (_, session) = stream.get_ref();
        let protocol = session.alpn_protocol().unwrap_or_default().to_vec();
        if protocol == ALPN_JOIN {
            self.joining(stream, from).await;
            return;
        }
        let Some((hello, certificate)) = self.verify_hello(&mut stream, from).await else {
            return;
        };
        left.store(usize::MAX, Ordering::Relaxed);
        drop(place);
        if protocol == ALPN_MEMBER {
            let bearing = Bearing {
                peer: hello.member,
                run: hello.run,
                way: hello.through.map_or(PathKind::Direct, PathKind::Through),
                dialed: false,
                certificate,
            };
            if said_in_time(&mut stream, &self.hello(hello.through, None), limit).await {
                self.carry(bearing, Box::new(stream)).await;
            }
        } else if let Some(to) = hello.carry_to.filter(|_| protocol == ALPN_TUNNEL) {
            self.carry_bytes(stream, hello.member, to).await;
        } else {
            count(&self.counters.handshakes_failed);
        }
    }

    fn not_shaken(&self, from: SocketAddr, error: &io::Error) {
        if is_foreign(error) {
            count(&self.counters.foreign);
            self.note(format!(
                "TLS handshake with {} failed, for example because of different CAs: {error}",
                from.ip()
            ));
        } else {
            count(&self.counters.handshakes_failed);
        }
    }

    async fn verify_hello<S: Pipe>(
        &self,
        stream: &mut TlsStream<S>,
        from: SocketAddr,
    ) -> Option<(Hello, Vec<u8>)> {
        let limit = self.timing().handshake;
        let (_, session) = stream.get_ref();
        let shown = session.peer_certificates().and_then(<[_]>::first);
        let certificate = shown.map(|der| der.to_vec());
        let Ok(Ok(hello)) = timeout(limit, hear_hello(stream)).await else {
            count(&self.counters.handshakes_failed);
            return None;
        };
        let judged = match &certificate {
            Some(certificate) => self.trust().judge(certificate, hello.member),
            None => Err(PeerRejection::Certificate),
        };
        let why = match (judged, hello.member == self.me()) {
            (Ok(known), false) => {
                if known == CertificateRelation::Newcomer {
                    self.note(format!(
                        "member {} connected, but this member does not know it yet",
                        hello.member
                    ));
                }
                return certificate.map(|certificate| (hello, certificate));
            }
            (Ok(_), true) => PeerRejection::Name {
                claimed: hello.member,
            },
            (Err(why), _) => why,
        };
        count(&self.counters.refused);
        self.note(format!(
            "refused a connection of member {} from {}: {why}",
            hello.member,
            from.ip()
        ));
        // Sends the reason, and ignores an error: the peer may have gone.
        let _ = timeout(limit, say_goodbye(stream, Goodbye::Refused(why))).await;
        None
    }

    async fn joining<S: Pipe>(&self, mut stream: TlsStream<S>, from: SocketAddr) {
        count(&self.counters.joins);
        let limit = self.timing().handshake;
        let (_, session) = stream.get_ref();
        let bound = session.export_keying_material([0; 32], BINDING_LABEL, None);
        let (Ok(binding), Some(handler)) = (bound, self.handler()) else {
            return;
        };
        for turn in 0..JOIN_QUESTIONS_MAX {
            let asked = timeout(limit, read_frame(&mut stream, JOIN_REQUEST_BYTES_MAX)).await;
            let Ok(Ok((FrameKind::Ask, bytes))) = asked else {
                // Counts a failure only before the first response: later the joiner may have
                // everything that it needs.
                if turn == 0 {
                    count(&self.counters.handshakes_failed);
                }
                return;
            };
            let away = if turn == 0 { turned_away(&bytes) } else { None };
            let (answer, last) = match away {
                Some(answer) => (answer, true),
                None => {
                    let answering = Arc::clone(&handler).join(from, Binding(binding), bytes);
                    let Ok(answer) = timeout(JOIN_LIMIT, answering).await else {
                        return;
                    };
                    (answer, false)
                }
            };
            let said = write_frame(&mut stream, FrameKind::Answer, &answer);
            // Ends the connection if the response could not be sent, or was a refusal. A joiner
            // that missed its response repeats the request with the same key.
            if !matches!(timeout(limit, said).await, Ok(Ok(()))) || last {
                return;
            }
        }
    }
}

pub(crate) fn binding_of<S>(stream: &tokio_rustls::client::TlsStream<S>) -> Option<Binding> {
    let (_, session) = stream.get_ref();
    let bound = session.export_keying_material([0; 32], BINDING_LABEL, None);
    bound.ok().map(Binding)
}

async fn said_in_time<S: Pipe>(stream: &mut S, hello: &Hello, limit: Duration) -> bool {
    matches!(timeout(limit, say_hello(stream, hello)).await, Ok(Ok(())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt;

    #[test]
    fn stranger_is_counted_by_its_ipv6_network() {
        let network = |text: &str| stranger_network(text.parse().unwrap()).to_string();
        assert_eq!(network("192.0.2.1"), "192.0.2.1");
        assert_eq!(network("2001:db8:0:1:a:b:c:d"), network("2001:db8:0:1::9"));
        assert_ne!(network("2001:db8:0:1::9"), network("2001:db8:0:2::9"));
    }

    #[tokio::test]
    async fn unauthenticated_peer_is_read_up_to_a_limit() {
        let bytes = vec![7; 100];
        let left = Arc::new(AtomicUsize::new(40));
        let mut rationed = Rationed {
            stream: bytes.as_slice(),
            left: Arc::clone(&left),
        };
        let mut read = vec![0; 64];
        assert_eq!(rationed.read(&mut read).await.unwrap(), 40);
        let over = rationed.read(&mut read).await.unwrap_err();
        assert_eq!(over.kind(), io::ErrorKind::QuotaExceeded);
        left.store(usize::MAX, Ordering::Relaxed);
        let mut rest = Vec::new();
        assert_eq!(rationed.read_to_end(&mut rest).await.unwrap(), 60);
        assert!(read.iter().take(40).chain(&rest).all(|byte| *byte == 7));
    }
}
