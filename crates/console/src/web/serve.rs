//! Listens for connections, with or without TLS, and serves them. Limits per connection keep slow
//! or numerous clients from affecting others.

use super::drain::drained;
use super::places::ConnectionLimiter;
use crate::config::{Config, Security};
use ::access::certificate;
use ::access::linger::Linger;
use ::access::listener;
use ::access::proxies::{TrustedProxies, read_header};
use axum::{Extension, Router};
use hyper::server::conn::{http1, http2};
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustix::net::{Shutdown, listen, sockopt};
use rustls::ServerConfig;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

const HANDSHAKE_LIMIT: Duration = Duration::from_secs(5);
const HEAD_LIMIT: Duration = Duration::from_secs(10);
/// Interval and timeout of the keep-alive pings of HTTP/2.
const SIGN_OF_LIFE: Duration = Duration::from_secs(20);
const HEAD_BYTES_MAX: u32 = 16 << 10;
const STREAMS_MAX: u32 = 64;
const BACKLOG: i32 = 128;

/// Listening socket of the console, with its TLS and protocol settings.
pub struct ConsoleListener {
    address: SocketAddr,
    listener: Arc<TcpListener>,
    tls: Option<Arc<ServerConfig>>,
    proxies: TrustedProxies,
    accepts_proxy: bool,
}

impl ConsoleListener {
    /// Opens the listener of the configuration. The address need not exist on this machine yet.
    /// `own` is the self-signed certificate.
    ///
    /// # Errors
    /// The certificate is invalid, or the console cannot listen at the address.
    pub fn open(config: &Config, own: &[u8]) -> Result<ConsoleListener, String> {
        let tls = tls(config, own)?;
        let listener = listen_at(config.address)?;
        Ok(ConsoleListener::new(config, tls, Arc::new(listener)))
    }

    /// Creates the listener of another configuration. If the address is the same, the socket is
    /// reused, so no connection is refused in between. After an error this listener still accepts
    /// connections.
    ///
    /// # Errors
    /// The certificate is invalid, or the console cannot listen at the address.
    pub fn replace(&self, config: &Config, own: &[u8]) -> Result<ConsoleListener, String> {
        let tls = tls(config, own)?;
        let listener = if config.address == self.address {
            Arc::clone(&self.listener)
        } else if config.address.port() == self.address.port() {
            Arc::new(self.listen_beside(config.address)?)
        } else {
            Arc::new(listen_at(config.address)?)
        };
        Ok(ConsoleListener::new(config, tls, listener))
    }

    fn new(
        config: &Config,
        tls: Option<Arc<ServerConfig>>,
        listener: Arc<TcpListener>,
    ) -> ConsoleListener {
        ConsoleListener {
            address: config.address,
            listener,
            tls,
            proxies: config.proxies.clone(),
            accepts_proxy: config.accepts_proxy,
        }
    }

    /// Opens a socket with the same port at another address. One address may include the other,
    /// such as `:8600` and `127.0.0.1:8600`. Two such sockets cannot both listen, so this one stops
    /// listening while the other one is opened, and listens again after an error.
    fn listen_beside(&self, address: SocketAddr) -> Result<TcpListener, String> {
        if let Ok(opened) = listen_at(address) {
            return Ok(opened);
        }
        let said = |errno: rustix::io::Errno| cannot_listen(address, errno);
        // Shuts the socket down, because closing it is not enough: the accepting task has a copy of
        // the descriptor.
        rustix::net::shutdown(&self.listener, Shutdown::Read).map_err(said)?;
        let opened = listen_at(address);
        if opened.is_err() {
            listen(&self.listener, BACKLOG).map_err(said)?;
        }
        opened
    }

    pub fn listens(&self) -> bool {
        sockopt::socket_acceptconn(&self.listener).unwrap_or(false)
    }
}

fn tls(config: &Config, own: &[u8]) -> Result<Option<Arc<ServerConfig>>, String> {
    let pem = match &config.security {
        Security::Plain => return Ok(None),
        Security::Own => own,
        Security::Certificate(pem) => pem,
    };
    let mut tls = certificate::read(pem)?;
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Some(Arc::new(tls)))
}

fn listen_at(address: SocketAddr) -> Result<TcpListener, String> {
    let open = |address| listener::open(address, BACKLOG);
    let listener = open(address).or_else(|error| match address.ip().is_unspecified() {
        // Uses IPv4 on a machine without IPv6.
        true if address.is_ipv6() && error != rustix::io::Errno::ADDRINUSE => {
            open((Ipv4Addr::UNSPECIFIED, address.port()).into())
        }
        _ => Err(error),
    });
    listener.map_err(|errno| cannot_listen(address, errno))
}

fn cannot_listen(address: SocketAddr, errno: rustix::io::Errno) -> String {
    let reason = language::reason(&errno.into());
    format!("the console cannot listen at {address}: {reason}")
}

#[derive(Clone, Copy, Debug)]
pub struct ClientAddress(pub IpAddr);

/// Accepts connections at the current listener. Ends when there is no listener any more.
pub async fn run(mut doors: watch::Receiver<Option<Arc<ConsoleListener>>>, router: Router) {
    let places = Arc::new(ConnectionLimiter::default());
    loop {
        let door = doors.borrow_and_update().clone();
        let Some(door) = door else {
            return;
        };
        tokio::select! {
            () = accept(&door, &router, &places) => {}
            changed = doors.changed() => if changed.is_err() {
                return;
            },
        }
    }
}

async fn accept(door: &ConsoleListener, router: &Router, places: &Arc<ConnectionLimiter>) {
    let listener = door.listener.try_clone();
    let Ok(listener) = listener.and_then(tokio::net::TcpListener::from_std) else {
        return std::future::pending().await;
    };
    let tls = door.tls.clone().map(TlsAcceptor::from);
    loop {
        let (mut stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                pause_after_error(&error).await;
                continue;
            }
        };
        let peer = peer.ip().to_canonical();
        let is_proxy = door.proxies.has(peer);
        let expects_header = is_proxy && door.accepts_proxy;
        let Some(place) = places.take(peer, is_proxy) else {
            continue;
        };
        let (tls, router, guest) = (tls.clone(), router.clone(), place.guest.clone());
        let serves = async move {
            let client = if expects_header {
                read_header(&mut stream).await
            } else {
                Ok(None)
            };
            // Closes the connection if a trusted proxy did not send the header that the
            // configuration requires.
            let Ok(client) = client else {
                return;
            };
            let from = client.unwrap_or(peer);
            guest.move_to(from);
            let router = router
                .layer(Extension(ClientAddress(from)))
                .layer(Extension(guest));
            accepted(stream, tls, router).await;
        };
        tokio::spawn(async move {
            tokio::select! {
                () = serves => {}
                () = place.wait_for_eviction() => {}
            }
        });
    }
}

async fn accepted(stream: tokio::net::TcpStream, tls: Option<TlsAcceptor>, router: Router) {
    let Some(tls) = tls else {
        return connection(stream, false, router).await;
    };
    let shaken = tokio::time::timeout(HANDSHAKE_LIMIT, tls.accept(stream)).await;
    if let Ok(Ok(stream)) = shaken {
        let is_two = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        connection(stream, is_two, router).await;
    }
}

/// Waits after an error that may be a lack of descriptors or memory. Existing connections continue.
async fn pause_after_error(error: &io::Error) {
    if !matches!(error.kind(), io::ErrorKind::ConnectionAborted) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Client preface of an HTTP/2 connection (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Serves an HTTP/1 connection, or an HTTP/2 connection if the TLS handshake has selected that.
async fn connection<S>(stream: S, is_two: bool, router: Router)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |request| router.call(drained(request)));
    // Ignores errors of the connections, which are caused by the client.
    if !is_two {
        let mut builder = http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_LIMIT)
            .max_buf_size(HEAD_BYTES_MAX as usize);
        let _ = builder
            .serve_connection(TokioIo::new(Linger::new(stream)), service)
            .with_upgrades()
            .await;
        return;
    }
    // Reads the preface, for which hyper waits without a timeout.
    let (mut reads, writes) = tokio::io::split(stream);
    let mut preface = [0; PREFACE.len()];
    let read = tokio::time::timeout(HANDSHAKE_LIMIT, reads.read_exact(&mut preface)).await;
    if !matches!(read, Ok(Ok(_))) || preface != PREFACE {
        return;
    }
    let whole = tokio::io::join(AsyncReadExt::chain(PREFACE, reads), writes);
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_header_list_size(HEAD_BYTES_MAX)
        .max_concurrent_streams(STREAMS_MAX)
        .keep_alive_interval(Some(SIGN_OF_LIFE))
        .keep_alive_timeout(SIGN_OF_LIFE);
    let _ = builder.serve_connection(TokioIo::new(whole), service).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::routing::get;
    use tokio::io::AsyncWriteExt;
    use tokio::net::{TcpSocket, TcpStream};

    async fn connect(from: [u8; 4], to: SocketAddr) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from((from, 0))).unwrap();
        socket.connect(to).await.unwrap()
    }

    /// Returns the response to a client with or without a PROXY header.
    async fn response(mut stream: TcpStream, header: &str) -> String {
        let request = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        // The server may already have closed a refused connection.
        let _ = stream
            .write_all(format!("{header}{request}").as_bytes())
            .await;
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes).await;
        let text = String::from_utf8(bytes).unwrap();
        let last = text.lines().last().unwrap_or_default();
        last.to_owned()
    }

    #[test]
    fn trusted_proxy_names_the_client_by_a_header_and_nobody_else_does() {
        let networks: Vec<::access::network::IpPrefix> = vec!["127.0.0.2".parse().unwrap()];
        let config = Config {
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            security: Security::Plain,
            proxies: networks.into(),
            accepts_proxy: true,
            ..Config::default()
        };
        serve_and(&config, async |listeners| {
            let open = listeners.borrow().clone().unwrap();
            let at = open.listener.local_addr().unwrap();
            let header = "PROXY TCP4 198.51.100.7 127.0.0.1 4711 8600\r\n";
            let (proxy, stranger) = ([127, 0, 0, 2], [127, 0, 0, 3]);
            for (from, header, expected) in [
                (proxy, header, "198.51.100.7"),
                // The proxy itself sends this for a health check.
                (proxy, "PROXY UNKNOWN\r\n", "127.0.0.2"),
                (proxy, "", ""),
                (stranger, "", "127.0.0.3"),
            ] {
                let got = response(connect(from, at).await, header).await;
                assert_eq!(got, expected, "{from:?} {header}");
            }
            let got = response(connect(stranger, at).await, header).await;
            assert!(!got.contains("198.51.100.7"), "{got}");
        });
    }

    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let mut bytes = (payload.len() as u32).to_be_bytes()[1..].to_vec();
        bytes.extend_from_slice(&[kind, flags]);
        bytes.extend_from_slice(&stream.to_be_bytes());
        bytes.extend_from_slice(payload);
        bytes
    }

    /// Reads frames until one of this kind; returns the kinds with their flags.
    async fn frames_until(stream: &mut tokio::io::DuplexStream, last: u8) -> Vec<(u8, u8)> {
        let mut kinds = Vec::new();
        loop {
            let mut head = [0; 9];
            stream.read_exact(&mut head).await.unwrap();
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let mut payload = vec![0; length as usize];
            stream.read_exact(&mut payload).await.unwrap();
            kinds.push((head[3], head[4]));
            if head[3] == last {
                return kinds;
            }
        }
    }

    #[test]
    fn response_is_complete_although_the_body_is_not_needed() {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().build().unwrap();
        runtime.block_on(async {
            let router = || Router::new().route("/", get(async || "page"));
            let (mut client, server) = tokio::io::duplex(1 << 20);
            tokio::spawn(connection(server, true, router()));
            let mut sent = PREFACE.to_vec();
            sent.extend(frame(4, 0, 0, &[]));
            // POST https / with a body that comes later; the response is 405.
            sent.extend(frame(1, 0x4, 1, &[0x83, 0x87, 0x84, 0x41, 1, b'a']));
            client.write_all(&sent).await.unwrap();
            let mut kinds = frames_until(&mut client, 1).await;
            client
                .write_all(&frame(0, 0x1, 1, &[b'x'; 9_000]))
                .await
                .unwrap();
            client
                .write_all(&frame(6, 0, 0, b"12345678"))
                .await
                .unwrap();
            loop {
                kinds.extend(frames_until(&mut client, 6).await);
                // hyper sends pings of its own.
                if kinds.contains(&(6, 0x1)) {
                    break;
                }
            }
            assert!(kinds.iter().all(|(kind, _)| *kind != 3), "{kinds:?}");
            // With HTTP/1 the connection can be used again.
            let (mut client, server) = tokio::io::duplex(1 << 20);
            tokio::spawn(connection(server, false, router()));
            for length in [9_000, 9_000] {
                let head =
                    format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n");
                client.write_all(head.as_bytes()).await.unwrap();
                let mut got = Vec::new();
                while !got.ends_with(b"\r\n\r\n") {
                    got.push(client.read_u8().await.unwrap());
                }
                assert!(got.starts_with(b"HTTP/1.1 405 "));
                client.write_all(&vec![b'x'; length]).await.unwrap();
            }
        });
    }

    /// Runs a test with a listener of this configuration that serves the client's address.
    fn serve_and<F: Future<Output = ()>>(
        config: &Config,
        test: impl FnOnce(watch::Sender<Option<Arc<ConsoleListener>>>) -> F,
    ) {
        let open = ConsoleListener::open(config, &[]).unwrap();
        let seen =
            async |Extension(ClientAddress(from)): Extension<ClientAddress>| from.to_string();
        let router = Router::new().route("/", get(seen));
        let (listeners, opened) = watch::channel(Some(Arc::new(open)));
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().build().unwrap();
        runtime.block_on(async {
            tokio::spawn(run(opened, router));
            test(listeners).await;
        });
    }

    fn plain(ip: [u8; 4], port: u16) -> Config {
        Config {
            address: SocketAddr::from((ip, port)),
            security: Security::Plain,
            ..Config::default()
        }
    }

    fn free_port() -> u16 {
        let any = std::net::TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
        any.local_addr().unwrap().port()
    }

    fn change(
        listeners: &watch::Sender<Option<Arc<ConsoleListener>>>,
        config: &Config,
        own: &[u8],
    ) -> Result<(), String> {
        let before = listeners.borrow().clone().unwrap();
        let next = before.replace(config, own)?;
        listeners.send_replace(Some(Arc::new(next)));
        Ok(())
    }

    #[test]
    fn a_listener_with_changed_options_keeps_its_port() {
        let first = plain([127, 0, 0, 1], free_port());
        let networks: Vec<::access::network::IpPrefix> = vec!["127.0.0.2".parse().unwrap()];
        let own = crate::certificate::make(vec!["a".to_owned()]).unwrap();
        let renewed = crate::certificate::make(vec!["a".to_owned()]).unwrap();
        let tls = |pem: &[u8]| Config {
            security: Security::Certificate(pem.to_vec()),
            ..first.clone()
        };
        serve_and(&first, async |listeners| {
            let (stranger, proxy) = ([127, 0, 0, 3], [127, 0, 0, 2]);
            // A client that is still in the backlog, and is accepted after the change.
            let early = connect(stranger, first.address).await;
            let trusting = Config {
                proxies: networks.clone().into(),
                accepts_proxy: true,
                ..first.clone()
            };
            change(&listeners, &trusting, &[]).unwrap();
            assert_eq!(response(early, "").await, "127.0.0.3");
            let header = "PROXY TCP4 198.51.100.7 127.0.0.1 4711 8600\r\n";
            let of_proxy = connect(proxy, first.address).await;
            assert_eq!(response(of_proxy, header).await, "198.51.100.7");
            // A certificate that cannot be read changes nothing.
            change(&listeners, &tls(b"none"), &[]).unwrap_err();
            let of_proxy = connect(proxy, first.address).await;
            assert_eq!(response(of_proxy, header).await, "198.51.100.7");
            for pem in [&own, &renewed] {
                change(&listeners, &tls(pem), &[]).unwrap();
                let expected = crate::certificate::fingerprint(pem);
                assert_eq!(shown_certificate(first.address).await, expected);
            }
            change(&listeners, &first, &[]).unwrap();
            let plain = connect(stranger, first.address).await;
            assert_eq!(response(plain, "").await, "127.0.0.3");
            assert!(listeners.borrow().as_ref().unwrap().listens());
        });
    }

    #[test]
    fn listener_moves_between_an_address_and_all_addresses() {
        let one = plain([127, 0, 0, 1], free_port());
        let all = plain([0, 0, 0, 0], one.address.port());
        let other = plain([127, 0, 0, 4], one.address.port());
        serve_and(&one, async |listeners| {
            for config in [&all, &one, &all, &other, &one] {
                change(&listeners, config, &[]).unwrap();
                let at = if config.address.ip().is_unspecified() {
                    one.address
                } else {
                    config.address
                };
                let stream = connect([127, 0, 0, 3], at).await;
                assert_eq!(response(stream, "").await, "127.0.0.3");
            }
        });
    }

    #[test]
    fn refused_address_leaves_the_listener_as_it_was() {
        let one = plain([127, 0, 0, 1], free_port());
        let all = plain([0, 0, 0, 0], one.address.port());
        serve_and(&one, async |listeners| {
            // Another process listens at one of all addresses.
            let other = SocketAddr::from(([127, 0, 0, 4], one.address.port()));
            let other = std::net::TcpListener::bind(other).unwrap();
            let error = change(&listeners, &all, &[]).unwrap_err();
            assert!(error.contains("in use"), "{error}");
            assert!(listeners.borrow().as_ref().unwrap().listens());
            let stream = connect([127, 0, 0, 3], one.address).await;
            assert_eq!(response(stream, "").await, "127.0.0.3");
            drop(other);
            change(&listeners, &all, &[]).unwrap();
            let stream = connect([127, 0, 0, 3], one.address).await;
            assert_eq!(response(stream, "").await, "127.0.0.3");
        });
    }

    async fn shown_certificate(at: SocketAddr) -> String {
        let shown = tokio::task::spawn_blocking(move || {
            let client = lab::tls::TlsClient::new_local(&lab::tls::TlsOffer::default()).unwrap();
            let connection = client.connect(at).unwrap();
            connection.negotiated().certificates[0].clone()
        });
        crate::certificate::der_fingerprint(&shown.await.unwrap())
    }
}
