//! Runs one health check: plays its script over connections, with a timeout for each step. A
//! connection is closed by a reset, so that no TIME_WAIT remains on this host or on the
//! server, unless the step has `linger`. (HAProxy resets only the connections that it
//! aborts.)

use super::http2::Http2;
use super::plan::CheckedServer;
use super::{external, socks};
use language::reason;
use model::check::play::{Next, Outgoing, Play};
use model::check::scene::Subject;
use model::config::target::{CheckAddress, target_at};
use model::config::{Check, CheckKind, HttpProtocol, Proxy, Server};
use model::script::{Connect, MessageStyle};
use model::state::{CheckResult, CheckStatus, Tally};
use protocol::proxy_protocol::{Checksum, Header};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::os::linux::net::SocketAddrExt;
use std::time::Duration;
use tls::connector::no_name;
use tls::side::BoxedWire;
use tls::{Connector, Counted};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream, UnixStream};
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;

const READ_BYTES: usize = 4096;

/// Timeouts of a check. Without `timeout check`, connection and response together have `inter`.
/// With it, the connection has the lower of `timeout connect` and `inter`, and the response has
/// `timeout check`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Limits {
    connect: Duration,
    /// Timeout for the response; None: what the connection has left of `connect`.
    answer: Option<Duration>,
}

impl Limits {
    pub(super) fn of(proxy: &Proxy, server: &Server) -> Self {
        let inter = server.options.inter_ms;
        let Some(check) = proxy.timeouts.check_ms else {
            return Limits {
                connect: Duration::from_millis(inter.into()),
                answer: None,
            };
        };
        let connect = proxy
            .timeouts
            .connect_ms
            .map_or(inter, |connect| connect.min(inter));
        Limits {
            connect: Duration::from_millis(connect.into()),
            answer: Some(Duration::from_millis(check.into())),
        }
    }
}

impl Limits {
    pub(super) fn program(&self) -> Duration {
        self.connect
    }
}

pub(super) fn check_of<'c>(proxy: &'c Proxy, server: &'c Server) -> &'c Check {
    match &server.options.health_check {
        Some(named) => &named.check,
        None => &proxy.check,
    }
}

/// Runs one check. `state`: the value that `http-check send-state` sends.
pub(super) async fn probe(place: &CheckedServer, state: Option<&str>) -> CheckResult {
    let began = Instant::now();
    let Some((proxy, server)) = place.get() else {
        return CheckResult::new(CheckStatus::SocketError, 0);
    };
    let check = check_of(proxy, server);
    if check.kind == CheckKind::External {
        return external::probe(proxy, server).await;
    }
    let subject = Subject {
        config: place.config.clone(),
        backend: place.proxy,
        server: place.server,
    };
    let gentle_404 = check.disable_on_404 && server.state.is_up();
    let mut play = Play::new(&check.script, subject, state, gentle_404);
    let probe = Probe {
        proxy,
        server,
        limits: Limits::of(proxy, server),
        asks_http: check.script.voice == MessageStyle::Http,
        never_local: place.config.global.tune.workarounds.never_send_local,
    };
    let result = probe.run(&mut play, began).await;
    let duration_ms = u32::try_from(began.elapsed().as_millis()).unwrap_or(u32::MAX);
    CheckResult {
        duration_ms,
        ..result
    }
}

/// Reason why a connection of a check failed, with what is reported about it.
enum Unmade {
    TimedOut(CheckStatus),
    Failed(CheckStatus, String),
}

impl From<ConnectError> for Unmade {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::Local(error) => Unmade::Failed(CheckStatus::SocketError, reason(&error)),
            ConnectError::Remote(error) => Unmade::Failed(CheckStatus::Layer4Error, reason(&error)),
        }
    }
}

/// A connection that is ready for the steps of a script.
struct ProbeConnection {
    wire: BoxedWire,
    http2: Option<Http2>,
    secured: bool,
    /// PROXY header to send before the first bytes of the check.
    first: Vec<u8>,
    linger: bool,
    _counted: Option<Counted>,
}

impl ProbeConnection {
    async fn send(&mut self, outgoing: Outgoing) -> io::Result<()> {
        let mut out = std::mem::take(&mut self.first);
        match (outgoing, &mut self.http2) {
            (Outgoing::Bytes(bytes), _) => out.extend_from_slice(&bytes),
            (Outgoing::Http(request), None) => out.extend_from_slice(&request.write()),
            (Outgoing::Http(request), Some(http2)) => http2.send(&request, self.secured, &mut out),
        }
        self.wire.write_all(&out).await
    }

    /// Reads bytes of the response. The result is empty if the server has closed its side, or if an
    /// HTTP/2 response is complete.
    async fn receive(&mut self, has_input: bool) -> io::Result<Vec<u8>> {
        if !self.first.is_empty() {
            let first = std::mem::take(&mut self.first);
            self.wire.write_all(&first).await?;
        }
        if self.http2.as_ref().is_some_and(Http2::is_over) {
            return Ok(Vec::new());
        }
        let mut bytes = vec![0; READ_BYTES];
        loop {
            let read = match self.wire.read(&mut bytes).await {
                // Treats a reset as the end if input has arrived, because the input may be
                // sufficient for the check.
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset && has_input => 0,
                // Treats a TLS connection that ends without close_notify as ended, which some
                // servers do.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => 0,
                other => other?,
            };
            let Some(http2) = &mut self.http2 else {
                bytes.truncate(read);
                return Ok(bytes);
            };
            let mut out = Vec::new();
            http2.receive(&bytes[..read], &mut out);
            if !out.is_empty() {
                self.wire.write_all(&out).await?;
            }
            if let Some(answer) = http2.take() {
                return Ok(answer);
            }
        }
    }

    /// Closes the connection: by a reset, unless the step has `linger`.
    async fn close(mut self, until: Instant) {
        if !self.first.is_empty() {
            let first = std::mem::take(&mut self.first);
            let _ = timeout_at(until, self.wire.write_all(&first)).await;
        }
        if self.linger {
            let _ = timeout_at(until, self.wire.shutdown()).await;
        }
    }
}

struct Probe<'c> {
    proxy: &'c Proxy,
    server: &'c Server,
    limits: Limits,
    asks_http: bool,
    never_local: bool,
}

impl Probe<'_> {
    async fn run(&self, play: &mut Play<'_>, began: Instant) -> CheckResult {
        let mut deadline = began + self.limits.connect;
        let mut open: Option<ProbeConnection> = None;
        let result = loop {
            match play.next_step() {
                Next::Verdict(result) => break result,
                Next::Connect(connect, port) => {
                    if let Some(former) = open.take() {
                        former.close(deadline).await;
                    }
                    let connected_by = if play.is_first_connection() {
                        began + self.limits.connect
                    } else {
                        Instant::now() + self.limits.connect
                    };
                    let silent = play.speaks_next();
                    match self.open(connect, port, connected_by, silent).await {
                        Ok(made) => {
                            play.connected(made.secured);
                            open = Some(made);
                        }
                        Err(Unmade::TimedOut(status)) => break play.timed_out(Some(status)),
                        Err(Unmade::Failed(status, why)) => break play.failed(status, &why),
                    }
                    let answer = self.limits.answer;
                    deadline = answer.map_or(connected_by, |answer| Instant::now() + answer);
                }
                Next::Send(outgoing) => {
                    let Some(open) = &mut open else {
                        break play.failed(CheckStatus::SocketError, "not connected");
                    };
                    match timeout_at(deadline, open.send(outgoing)).await {
                        Ok(Ok(())) => play.done(),
                        Ok(Err(error)) => {
                            break play.failed(CheckStatus::SocketError, &reason(&error));
                        }
                        Err(_) => break play.timed_out(None),
                    }
                }
                Next::Receive => {
                    let Some(open) = &mut open else {
                        break play.failed(CheckStatus::SocketError, "not connected");
                    };
                    match timeout_at(deadline, open.receive(play.has_input())).await {
                        Ok(Ok(bytes)) => play.received(&bytes),
                        Ok(Err(error)) => {
                            break play.failed(CheckStatus::SocketError, &reason(&error));
                        }
                        Err(_) => break play.timed_out(None),
                    }
                }
            }
        };
        if let Some(open) = open {
            open.close(deadline).await;
        }
        result
    }

    /// Opens a connection as a step requires. `silent`: the server does not send first.
    async fn open(
        &self,
        connect: &Connect,
        port: Option<u16>,
        by: Instant,
        silent: bool,
    ) -> Result<ProbeConnection, Unmade> {
        let (proxy, server) = (self.proxy, self.server);
        let options = &server.options;
        let Some(target) = target_at(server, connect.address.as_ref(), port) else {
            let told = "no address to check".to_owned();
            return Err(Unmade::Failed(CheckStatus::SocketError, told));
        };
        let via = connect.via_socks4 || (connect.default && options.check_via_socks4);
        let via = options.socks4.filter(|_| via);
        let reached = via.map_or_else(|| target.clone(), CheckAddress::Inet);
        let linger = connect.linger;
        let manners = Manners { linger, silent };
        let connection = match timeout_at(by, reach(&reached, proxy, server, manners)).await {
            Err(_) => return Err(Unmade::TimedOut(CheckStatus::Layer4Timeout)),
            Ok(made) => made?,
        };
        let Connection { mut wire, ends } = connection;
        if via.is_some() {
            let asked = timeout_at(by, socks::ask(&mut wire, &target)).await;
            let asked = asked.map_err(|_| Unmade::TimedOut(CheckStatus::Layer7Timeout))?;
            asked.map_err(|told| Unmade::Failed(CheckStatus::SocketError, told))?;
        }
        let mut first = Vec::new();
        if connect.send_proxy || (connect.default && announces(server)) {
            proxy_header(server, ends, self.never_local, &mut first);
        }
        let mut made = ProbeConnection {
            wire,
            http2: None,
            secured: false,
            first,
            linger,
            _counted: None,
        };
        let protocol = if connect.default {
            // If no protocol is configured, ALPN decides.
            connect
                .protocol
                .or(options.check_proto)
                .or(options.protocol)
        } else {
            connect.protocol
        };
        let mut speaks_http2 = protocol == Some(HttpProtocol::Http2);
        let connector = match (connect.tls, connect.default) {
            (true, _) => options.tls.connector.as_deref(),
            (_, true) => tls_of(server),
            _ => None,
        };
        if let Some(connector) = connector {
            made._counted = Counted::new(None);
            let secured = self.secured(&mut made, connect, connector, protocol, by);
            let chose_http2 = secured.await?;
            speaks_http2 |= protocol.is_none() && chose_http2;
        }
        made.http2 = (self.asks_http && speaks_http2).then(Http2::new);
        Ok(made)
    }

    /// Performs the TLS handshake; returns whether HTTP/2 was negotiated.
    async fn secured(
        &self,
        open: &mut ProbeConnection,
        connect: &Connect,
        connector: &Connector,
        protocol: Option<HttpProtocol>,
        by: Instant,
    ) -> Result<bool, Unmade> {
        let (proxy, server) = (self.proxy, self.server);
        let given = &connect.alpn;
        let alpn = offered(server, connector, given.as_ref(), protocol, self.asks_http);
        let own = connect.default.then_some(&server.options.tls.check_sni);
        let name = connect.sni.as_deref();
        let name = name.or_else(|| own.and_then(|own| own.as_deref()));
        let first = std::mem::take(&mut open.first);
        let wire = std::mem::replace(&mut open.wire, Box::pin(tokio::io::empty()));
        let made = timeout_at(by, secure(wire, connector, name, alpn, &first)).await;
        let counted = made.as_ref().ok().and_then(|made| made.as_ref().ok());
        count(proxy, server, counted);
        match made {
            Err(_) => Err(Unmade::TimedOut(CheckStatus::Layer6Timeout)),
            Ok(Err(why)) => Err(Unmade::Failed(CheckStatus::Layer6Invalid, why.to_owned())),
            Ok(Ok(made)) => {
                open.wire = made.wire;
                open.secured = true;
                Ok(made.chose_http2)
            }
        }
    }
}

fn tls_of(server: &Server) -> Option<&Connector> {
    let options = &server.options;
    let elsewhere = options.check_host.is_some() || options.check_port.is_some();
    options
        .tls
        .for_checks(elsewhere)
        .map(|connector| &**connector)
}

/// Returns the protocols that a check offers by ALPN: the configured ones that the check can use.
fn offered(
    server: &Server,
    connector: &Connector,
    given: Option<&Vec<Vec<u8>>>,
    protocol: Option<HttpProtocol>,
    asks: bool,
) -> Vec<Vec<u8>> {
    let given = given.or(server.options.tls.check_alpn.as_ref()).cloned();
    let mut alpn = given.unwrap_or_else(|| connector.alpn());
    match protocol {
        Some(HttpProtocol::Http1) if asks => alpn.retain(|name| name != b"h2"),
        Some(HttpProtocol::Http2) if asks => alpn.retain(|name| name == b"h2"),
        _ => {}
    }
    alpn
}

/// Counts the TLS handshake of a check; None for a failed one.
fn count(proxy: &Proxy, server: &Server, made: Option<&Secured>) {
    let tally = match made {
        Some(made) if made.resumed => Tally::TlsResumed,
        Some(_) => Tally::TlsSessions,
        None => Tally::TlsFailed,
    };
    server.state.count(tally);
    proxy.state.count_backend(tally);
}

struct Secured {
    wire: BoxedWire,
    chose_http2: bool,
    resumed: bool,
}

/// Performs the TLS handshake of a check, after sending the bytes that precede it in clear
/// text. Err: the reason, with HAProxy's wording.
async fn secure(
    mut wire: BoxedWire,
    connector: &Connector,
    given: Option<&str>,
    alpn: Vec<Vec<u8>>,
    first: &[u8],
) -> Result<Secured, &'static str> {
    const FAILED: &str = "SSL handshake failure";
    let name = match given {
        Some(name) => connector.name(name.as_bytes()).map_err(|_| FAILED)?,
        None => no_name(),
    };
    let config = connector.config_offering(alpn);
    wire.write_all(first).await.map_err(|_| FAILED)?;
    match TlsConnector::from(config).connect(name, wire).await {
        Ok(stream) => {
            let session = stream.get_ref().1;
            let chose_http2 = session.alpn_protocol() == Some(b"h2");
            let resumed = session.handshake_kind() == Some(rustls::HandshakeKind::Resumed);
            Ok(Secured {
                wire: Box::pin(stream),
                chose_http2,
                resumed,
            })
        }
        Err(error) => Err(match (is_mismatch(&error), given) {
            (false, _) => FAILED,
            (true, None) => "Server presented an SSL certificate different from the configured one",
            (true, Some(_)) => {
                "Server presented an SSL certificate different from the expected one"
            }
        }),
    }
}

fn is_mismatch(error: &io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    matches!(
        inner,
        Some(rustls::Error::InvalidCertificate(
            rustls::CertificateError::NotValidForName
        ))
    )
}

struct Connection {
    wire: BoxedWire,
    ends: Option<(SocketAddr, SocketAddr)>,
}

impl Connection {
    fn unix(stream: UnixStream) -> Self {
        Connection {
            wire: Box::pin(stream),
            ends: None,
        }
    }
}

enum ConnectError {
    Local(io::Error),
    Remote(io::Error),
}

/// Options for opening and closing a TCP connection.
#[derive(Clone, Copy)]
struct Manners {
    /// The connection is closed without a reset.
    linger: bool,
    /// The server does not send first.
    silent: bool,
}

async fn reach(
    target: &CheckAddress,
    proxy: &Proxy,
    server: &Server,
    Manners { linger, silent }: Manners,
) -> Result<Connection, ConnectError> {
    match target {
        CheckAddress::Inet(address) => {
            let socket = tcp_socket(*address, proxy, server).map_err(ConnectError::Local)?;
            if silent {
                // Delays the last ACK of the handshake until the first data. A check that only
                // connects resets before that, so the server never sees a connection.
                let _ = rustix::net::sockopt::set_tcp_quickack(&socket, false);
            }
            let stream: TcpStream = socket
                .connect(*address)
                .await
                .map_err(ConnectError::Remote)?;
            // Ignores failures, because both options only save a packet or two.
            let _ = stream.set_nodelay(true);
            if !linger {
                let reset = Some(Duration::ZERO);
                let _ = rustix::net::sockopt::set_socket_linger(stream.as_fd(), reset);
            }
            let ends = stream.local_addr().map(|local| (local, *address)).ok();
            Ok(Connection {
                wire: Box::pin(stream),
                ends,
            })
        }
        CheckAddress::Unix(path) => Ok(Connection::unix(
            UnixStream::connect(path)
                .await
                .map_err(ConnectError::Remote)?,
        )),
        CheckAddress::Abstract(name) => {
            let address = std::os::unix::net::SocketAddr::from_abstract_name(name)
                .map_err(ConnectError::Local)?;
            // Connecting to a Unix socket succeeds or fails at once.
            let stream = std::os::unix::net::UnixStream::connect_addr(&address)
                .map_err(ConnectError::Remote)?;
            stream.set_nonblocking(true).map_err(ConnectError::Local)?;
            Ok(Connection::unix(
                UnixStream::from_std(stream).map_err(ConnectError::Local)?,
            ))
        }
    }
}

fn tcp_socket(address: SocketAddr, proxy: &Proxy, server: &Server) -> io::Result<TcpSocket> {
    let socket = match address.ip() {
        IpAddr::V4(_) => TcpSocket::new_v4()?,
        IpAddr::V6(_) => TcpSocket::new_v6()?,
    };
    let from = server.source(proxy);
    if let Some(interface) = &from.settings.interface {
        socket.bind_device(Some(interface.as_bytes()))?;
    }
    if let Some(source) = from.address
        && source.is_ipv4() == address.is_ipv4()
    {
        socket.set_reuseaddr(true)?;
        // Uses an ephemeral port: a fixed source port is for sessions, and checks would occupy it.
        socket.bind(SocketAddr::new(source.ip(), 0))?;
    }
    Ok(socket)
}

/// Returns whether a check sends a PROXY header: with `check-send-proxy`, or with `send-proxy` if
/// the check goes to the server's own address.
fn announces(server: &Server) -> bool {
    let options = &server.options;
    let same_place = options.check_host.is_none() && options.check_port.is_none();
    // As in HAProxy, `send-proxy` of a server that was added at run time does not apply to its
    // checks.
    let follows = same_place && server.added.is_none();
    options.check_send_proxy || (follows && options.send_proxy.is_some())
}

/// Builds the PROXY header of a check. As in HAProxy, version 1 contains the addresses of the
/// check's own connection, and version 2 uses the LOCAL command unless a workaround forbids that.
fn proxy_header(
    server: &Server,
    ends: Option<(SocketAddr, SocketAddr)>,
    never_local: bool,
    out: &mut Vec<u8>,
) {
    match (server.options.send_proxy, ends) {
        (Some(2), Some((local, peer))) if never_local => {
            Header::tcp(local, peer).encode_binary(Checksum::None, out);
        }
        (Some(2), _) => Header::Local.encode_binary(Checksum::None, out),
        (_, Some((local, peer))) => Header::tcp(local, peer).encode_text(out),
        (_, None) => Header::Local.encode_text(out),
    }
}

#[cfg(test)]
mod tests;
