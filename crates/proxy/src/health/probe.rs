//! One check: a connection, a question, an answer, each within its time. The
//! connection ends with a reset, so that no TIME_WAIT of it stays on this host
//! or on the server (HAProxy does so for connections that it gives up; here it
//! is so for all).

use super::http::{ANSWER_MAX, Answer, judge, request};
use super::{hello, http2};
use crate::config::{Check, CheckKind, HttpProtocol, Proxy, Server, ServerAddress};
use crate::state::{CheckResult, CheckStatus, Tally};
use crate::tls::connector::no_name;
use crate::tls::{Connector, Counted};
use protocol::proxy_protocol::{Checksum, Header};
use std::borrow::Cow;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::os::linux::net::SocketAddrExt;
use std::pin::Pin;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream, UnixStream};
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;

/// Bytes read at once.
const READ_BYTES: usize = 4096;

/// Where a check goes.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Target {
    Inet(SocketAddr),
    Unix(std::path::PathBuf),
    Abstract(Vec<u8>),
}

/// Where the checks of a server go: `addr` and `port`, and what of both is not
/// given from the server's own address. None: there is no such place.
pub(crate) fn target(server: &Server) -> Option<Target> {
    let set = server.state.address_override();
    let own = set.as_ref().unwrap_or(&server.address);
    let host = server.options.check_host.as_ref().unwrap_or(own);
    let port_of = |address: &ServerAddress| match address {
        ServerAddress::Inet(address) => Some(address.port()),
        _ => None,
    };
    let ip = match host {
        ServerAddress::Inet(address) => address.ip(),
        ServerAddress::SamePort(ip, _) => *ip,
        ServerAddress::Unix(path) => return Some(Target::Unix(path.clone())),
        ServerAddress::Abstract(name) => return Some(Target::Abstract(name.clone())),
        ServerAddress::Unresolved => return None,
    };
    let port = server
        .options
        .check_port
        .or_else(|| port_of(host))
        .or_else(|| port_of(own))?;
    Some(Target::Inet(SocketAddr::new(ip, port)))
}

pub(super) trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

/// How long the two parts of a check may take. Without `timeout check` both
/// together have `inter`; with it the connection has the lesser of `timeout
/// connect` and `inter`, and the answer has `timeout check`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Limits {
    connect: Duration,
    /// None: what is left of `connect`.
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

/// Runs one check. `state`: what `http-check send-state` sends. `up`: the
/// server is.
pub(super) async fn probe(
    proxy: &Proxy,
    server: &Server,
    state: Option<&str>,
    up: bool,
) -> CheckResult {
    let began = Instant::now();
    let result = run(proxy, server, state, up, began).await;
    let duration_ms = u32::try_from(began.elapsed().as_millis()).unwrap_or(u32::MAX);
    CheckResult {
        duration_ms,
        ..result
    }
}

fn failed(status: CheckStatus, error: &io::Error) -> CheckResult {
    CheckResult::new(status, 0).info(words(error))
}

/// The system's words without the number behind them.
fn words(error: &io::Error) -> Cow<'static, str> {
    let text = error.to_string();
    match text.find(" (os error") {
        Some(at) => text[..at].to_owned().into(),
        None => text.into(),
    }
}

/// Connects; Err is the result of a check that cannot.
async fn reach(
    proxy: &Proxy,
    server: &Server,
    connected_by: Instant,
) -> Result<Connection, CheckResult> {
    let Some(target) = target(server) else {
        return Err(CheckResult::new(CheckStatus::SocketError, 0).info("no address to check"));
    };
    match timeout_at(connected_by, connect(&target, proxy, server)).await {
        Err(_) => Err(CheckResult::new(CheckStatus::Layer4Timeout, 0)),
        Ok(Err(ConnectError::Local(error))) => Err(failed(CheckStatus::SocketError, &error)),
        Ok(Err(ConnectError::Remote(error))) => Err(failed(CheckStatus::Layer4Error, &error)),
        Ok(Ok(connection)) => Ok(connection),
    }
}

async fn run(
    proxy: &Proxy,
    server: &Server,
    state: Option<&str>,
    up: bool,
    began: Instant,
) -> CheckResult {
    let limits = Limits::of(proxy, server);
    let connected_by = began + limits.connect;
    let Connection { mut wire, ends } = match reach(proxy, server, connected_by).await {
        Ok(connection) => connection,
        Err(result) => return result,
    };
    let mut out = Vec::new();
    proxy_header(server, ends, &mut out);
    let check = &proxy.check;
    let asks = check.kind == CheckKind::Http;
    // Without a word of either, ALPN decides.
    let protocol = server.options.check_proto.or(server.options.protocol);
    let mut speaks_http2 = protocol == Some(HttpProtocol::Http2);
    let mut held = None;
    let secured = tls_of(server).is_some();
    if let Some(connector) = tls_of(server) {
        let alpn = offered(server, connector, protocol, asks);
        held = Counted::new(None);
        let securing = secure(wire, connector, server, alpn, &out);
        let made = timeout_at(connected_by, securing).await;
        count(
            proxy,
            server,
            made.as_ref().ok().and_then(|m| m.as_ref().ok()),
        );
        match made {
            Err(_) => return CheckResult::new(CheckStatus::Layer6Timeout, 0),
            Ok(Err(why)) => return CheckResult::new(CheckStatus::Layer6Invalid, 0).info(why),
            Ok(Ok(made)) => {
                wire = made.wire;
                speaks_http2 |= protocol.is_none() && made.chose_http2;
            }
        }
        out.clear();
    }
    let deadline = limits
        .answer
        .map_or(connected_by, |answer| Instant::now() + answer);
    let says_hello = check.kind == CheckKind::TlsHello;
    if asks && !speaks_http2 {
        out.extend_from_slice(&request(check, state));
    }
    let exchange = async {
        if says_hello {
            return hello::ask(&mut wire, out).await.map(Some);
        }
        if !out.is_empty() {
            wire.write_all(&out).await?;
        }
        if asks && speaks_http2 {
            let asked = http2::ask(&mut wire, check, state, (up, secured));
            asked.await.map(Some)
        } else if asks {
            answer(&mut wire, check, up).await
        } else {
            Ok(None)
        }
    };
    let exchanged = timeout_at(deadline, exchange).await;
    drop(held);
    verdict(check.kind, secured, exchanged)
}

/// What an exchange came to; none is over time, and one without a result asked nothing.
fn verdict(
    kind: CheckKind,
    secured: bool,
    exchanged: Result<io::Result<Option<CheckResult>>, tokio::time::error::Elapsed>,
) -> CheckResult {
    match exchanged {
        Ok(Ok(Some(result))) => result,
        Ok(Ok(None)) if secured => CheckResult::new(CheckStatus::Layer6Ok, 0),
        Ok(Ok(None)) => CheckResult::new(CheckStatus::Layer4Ok, 0),
        Ok(Err(error)) => failed(CheckStatus::SocketError, &error),
        Err(_) if kind == CheckKind::TlsHello => CheckResult::new(CheckStatus::Layer6Timeout, 0),
        Err(_) if kind == CheckKind::Http => CheckResult::new(CheckStatus::Layer7Timeout, 0),
        Err(_) => CheckResult::new(CheckStatus::Layer4Timeout, 0),
    }
}

/// How a server's checks speak TLS, if they do.
fn tls_of(server: &Server) -> Option<&Connector> {
    let options = &server.options;
    let elsewhere = options.check_host.is_some() || options.check_port.is_some();
    options
        .tls
        .for_checks(elsewhere)
        .map(|connector| &**connector)
}

/// What a check offers by ALPN. What it will not speak is not offered.
fn offered(
    server: &Server,
    connector: &Connector,
    protocol: Option<HttpProtocol>,
    asks: bool,
) -> Vec<Vec<u8>> {
    let given = server.options.tls.check_alpn.clone();
    let mut alpn = given.unwrap_or_else(|| connector.alpn());
    match protocol {
        Some(HttpProtocol::Http1) if asks => alpn.retain(|name| name != b"h2"),
        Some(HttpProtocol::Http2) if asks => alpn.retain(|name| name == b"h2"),
        _ => {}
    }
    alpn
}

/// Counts a handshake of a check; None has failed.
fn count(proxy: &Proxy, server: &Server, made: Option<&Secured>) {
    let tally = match made {
        Some(made) if made.resumed => Tally::TlsResumed,
        Some(_) => Tally::TlsSessions,
        None => Tally::TlsFailed,
    };
    server.state.counters.here().count(tally);
    proxy.state.backend.here().count(tally);
}

/// A connection whose handshake is done.
struct Secured {
    wire: Pin<Box<dyn Wire>>,
    chose_http2: bool,
    resumed: bool,
}

/// Makes the handshake of a check, behind what is to be sent in clear; Err says
/// why not, in HAProxy's words.
async fn secure(
    mut wire: Pin<Box<dyn Wire>>,
    connector: &Connector,
    server: &Server,
    alpn: Vec<Vec<u8>>,
    first: &[u8],
) -> Result<Secured, &'static str> {
    const FAILED: &str = "SSL handshake failure";
    let tls = &server.options.tls;
    let name = match &tls.check_sni {
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
        Err(error) => Err(match (is_mismatch(&error), &tls.check_sni) {
            (false, _) => FAILED,
            (true, None) => "Server presented an SSL certificate different from the configured one",
            (true, Some(_)) => {
                "Server presented an SSL certificate different from the expected one"
            }
        }),
    }
}

/// Whether a handshake failed because the certificate is for another name.
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
    wire: Pin<Box<dyn Wire>>,
    /// This end and the other, of TCP.
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
    /// This host could not even try.
    Local(io::Error),
    Remote(io::Error),
}

async fn connect(
    target: &Target,
    proxy: &Proxy,
    server: &Server,
) -> Result<Connection, ConnectError> {
    match target {
        Target::Inet(address) => {
            let socket = tcp_socket(*address, proxy, server).map_err(ConnectError::Local)?;
            let stream: TcpStream = socket
                .connect(*address)
                .await
                .map_err(ConnectError::Remote)?;
            // Both only spare a packet or two.
            let _ = stream.set_nodelay(true);
            let _ = rustix::net::sockopt::set_socket_linger(stream.as_fd(), Some(Duration::ZERO));
            let ends = stream.local_addr().map(|local| (local, *address)).ok();
            Ok(Connection {
                wire: Box::pin(stream),
                ends,
            })
        }
        Target::Unix(path) => Ok(Connection::unix(
            UnixStream::connect(path)
                .await
                .map_err(ConnectError::Remote)?,
        )),
        Target::Abstract(name) => {
            let address = std::os::unix::net::SocketAddr::from_abstract_name(name)
                .map_err(ConnectError::Local)?;
            // A connection to a Unix socket stands at once or not at all.
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
    if let Some(interface) = &from.ways.interface {
        socket.bind_device(Some(interface.as_bytes()))?;
    }
    if let Some(source) = from.address
        && source.is_ipv4() == address.is_ipv4()
    {
        socket.set_reuseaddr(true)?;
        // A fixed port is for the sessions; checks would take it from them.
        socket.bind(SocketAddr::new(source.ip(), 0))?;
    }
    Ok(socket)
}

/// `check-send-proxy`, or `send-proxy` where the check goes to the same place.
/// As HAProxy does, version 1 tells the ends of the check's own connection,
/// version 2 says that the proxy speaks for itself.
fn proxy_header(server: &Server, ends: Option<(SocketAddr, SocketAddr)>, out: &mut Vec<u8>) {
    let options = &server.options;
    let same_place = options.check_host.is_none() && options.check_port.is_none();
    let with_it = options.check_send_proxy || (same_place && options.send_proxy.is_some());
    if !with_it {
        return;
    }
    match (options.send_proxy, ends) {
        (Some(2), _) => Header::Local.encode_binary(Checksum::None, out),
        (_, Some((local, peer))) => Header::tcp(local, peer).encode_text(out),
        (_, None) => Header::Local.encode_text(out),
    }
}

/// Reads until there is a verdict, at most [`ANSWER_MAX`] bytes.
async fn answer(
    wire: &mut Pin<Box<dyn Wire>>,
    check: &Check,
    up: bool,
) -> io::Result<Option<CheckResult>> {
    let mut bytes = Vec::new();
    loop {
        let have = bytes.len();
        bytes.resize((have + READ_BYTES).min(ANSWER_MAX), 0);
        let read = wire.read(&mut bytes[have..]).await;
        let read = match read {
            // What came before a reset can be enough.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset && have > 0 => 0,
            // Nor does every server end TLS before it ends the connection.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => 0,
            other => other?,
        };
        bytes.truncate(have + read);
        match judge(check, &bytes, read == 0, up) {
            Answer::Complete(result) => return Ok(Some(result)),
            // `judge` gives a verdict at the end and on a full buffer.
            Answer::Incomplete if read == 0 => {
                return Ok(Some(CheckResult::new(CheckStatus::Layer7Invalid, 0)));
            }
            Answer::Incomplete => {}
        }
    }
}

#[cfg(test)]
mod tests;
