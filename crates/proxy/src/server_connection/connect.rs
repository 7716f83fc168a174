//! Opens connections to servers: source address, socket options, connect, PROXY header, TLS.

use super::pool::pools;
use super::secured::{ConnectionRequirements, Secured, forced_version, secure};
use super::{Authentication, Mark, ServerConnection, proxy_header, source};
use crate::health::SOCKS4_USER;
use model::config::{HttpProtocol, Proxy, ProxyOption, ReuseMode, Server, ServerAddress, Tune};
use model::state::Tally;
use model::transaction::ProxyStream;
use mux::ServerMux;
use mux::link::{PeerConnection, write_all};
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::TcpFastOpenConnect;
use protocol::socks4;
use reactor::after;
use reactor::{Instant, StreamSocket, pool_box, with_deadline};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, sockopt};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use tls::Connector;
use tls::handshake::Failure;
use tls::transport::ConnectionTransport;

#[derive(Debug)]
pub enum ConnectFailure {
    Timeout,
    Refused(io::Error),
    Unresolved,
    Insecure(Failure),
    BadName,
}

pub(super) enum ConnectAddress {
    Inet(SocketAddr),
    Unix(SocketAddrUnix),
}

/// Returns the address of a server for a stream, for display.
pub fn address(server: &Server, stream: &ProxyStream) -> Option<String> {
    match target(server, stream).ok()? {
        ConnectAddress::Inet(address) => Some(address.to_string()),
        ConnectAddress::Unix(address) => match (address.path(), address.abstract_name()) {
            (Some(path), _) => Some(path.to_string_lossy().into_owned()),
            (None, name) => Some(format!("@{}", String::from_utf8_lossy(name?))),
        },
    }
}

pub(super) fn target(
    server: &Server,
    stream: &ProxyStream,
) -> Result<ConnectAddress, ConnectFailure> {
    let refused = |errno: rustix::io::Errno| ConnectFailure::Refused(errno.into());
    let set = server.state.address_override();
    match set.as_ref().unwrap_or(&server.address) {
        ServerAddress::Inet(address) => {
            let ip = or_destination(address.ip(), stream)?;
            Ok(ConnectAddress::Inet(SocketAddr::new(ip, address.port())))
        }
        ServerAddress::SamePort(ip, offset) => {
            let port = i32::from(stream.destination().port().unwrap_or(0)) + offset;
            let port = u16::try_from(port).map_err(|_| ConnectFailure::Unresolved)?;
            Ok(ConnectAddress::Inet(SocketAddr::new(
                or_destination(*ip, stream)?,
                port,
            )))
        }
        ServerAddress::Unix(path) => SocketAddrUnix::new(path.as_path())
            .map(ConnectAddress::Unix)
            .map_err(refused),
        ServerAddress::Abstract(name) => SocketAddrUnix::new_abstract_name(name)
            .map(ConnectAddress::Unix)
            .map_err(refused),
        ServerAddress::Unresolved => Err(ConnectFailure::Unresolved),
    }
}

/// Returns the address or, if it is the wildcard, the address to which the client connected.
fn or_destination(ip: IpAddr, stream: &ProxyStream) -> Result<IpAddr, ConnectFailure> {
    if ip.is_unspecified() {
        stream.destination().ip().ok_or(ConnectFailure::Unresolved)
    } else {
        Ok(ip)
    }
}

/// Returns whether the address of a server depends on the address that each client connected
/// to.
pub(super) fn goes_by_client(server: &Server) -> bool {
    let followed = server.is_followed();
    let own = || server.state.address_override().is_none();
    match &server.address {
        ServerAddress::SamePort(..) => followed || own(),
        ServerAddress::Inet(address) => address.ip().is_unspecified() && own(),
        ServerAddress::Unresolved if followed => {
            let set = server.state.address_override();
            matches!(set, Some(ServerAddress::SamePort(..)))
        }
        _ => false,
    }
}

impl ServerConnection {
    /// Returns whether an existing connection has the properties of a new connection for this
    /// stream: the name for TLS, the mark, and the HTTP version.
    pub fn leads_to(&self, server: &Server, stream: &ProxyStream) -> bool {
        if !ConnectionRequirements::of(server, stream).is_of(self.tls.as_ref(), &self.mark) {
            return false;
        }
        let version = match forced_version(server, stream).or(server.options.protocol) {
            None if server.traffic_tls().is_none() => Some(HttpProtocol::Http1),
            version => version,
        };
        version.is_none_or(|v| self.link.is_http2() == (v == HttpProtocol::Http2))
    }
}

fn socket(family: AddressFamily) -> io::Result<OwnedFd> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    Ok(rustix::net::socket_with(
        family,
        SocketType::STREAM,
        flags,
        None,
    )?)
}

fn begin(
    backend: &Proxy,
    server: &Server,
    stream: &ProxyStream,
    target: &ConnectAddress,
) -> io::Result<StreamSocket> {
    let tune = &stream.config.global.tune;
    let by_proxy = server.options.socks4.map(ConnectAddress::Inet);
    match by_proxy.as_ref().unwrap_or(target) {
        ConnectAddress::Unix(address) => {
            StreamSocket::connect_with(socket(AddressFamily::UNIX)?, address)
        }
        ConnectAddress::Inet(address) => {
            let family = if address.is_ipv4() {
                AddressFamily::INET
            } else {
                AddressFamily::INET6
            };
            let fd = socket(family)?;
            sockopt::set_tcp_nodelay(&fd, true)?;
            if backend.has(ProxyOption::ServerTcpKeepAlive) {
                sockopt::set_socket_keepalive(&fd, true)?;
                backend.server_keep_alive.apply(&fd)?;
            }
            set_options(&fd, server, tune)?;
            if let Some(set) = &stream.rules.overrides {
                set.to_server.apply(&fd, Some(*address));
            }
            source::bind(&fd, backend, server, stream, address)?;
            StreamSocket::connect_with(fd, address)
        }
    }
}

fn set_options(fd: &OwnedFd, server: &Server, tune: &Tune) -> io::Result<()> {
    let options = &server.options;
    if let Some(ms) = options.tcp_user_timeout_ms {
        sockopt::set_tcp_user_timeout(fd, ms)?;
    }
    if let Some(bytes) = tune.rcvbuf_server {
        sockopt::set_socket_recv_buffer_size(fd, bytes as usize)?;
    }
    if let Some(bytes) = tune.sndbuf_server {
        sockopt::set_socket_send_buffer_size(fd, bytes as usize)?;
    }
    if let Some(bytes) = tune.unsent_server {
        crate::listener::set_unsent(fd, bytes)?;
    }
    if options.tcp_fast_open {
        // Makes the connection count as established at once; the handshake starts with the first
        // data.
        setsockopt(fd, TcpFastOpenConnect, &true).map_err(io::Error::from)?;
    }
    Ok(())
}

/// Connects to a server for a stream, within `timeout connect`, and sends the PROXY header if
/// it is configured. `shared`: if the connection speaks HTTP/2, other streams may use it at
/// the same time.
///
/// # Errors
/// - [`ConnectFailure::Unresolved`]: the server has no address for this stream.
/// - [`ConnectFailure::Refused`]: a system call failed, or the server or the SOCKS proxy refused or
///   closed the connection.
/// - [`ConnectFailure::Timeout`]: the timeout expired before the connection was ready.
/// - [`ConnectFailure::Insecure`], [`ConnectFailure::BadName`]: the TLS handshake failed, or the
///   name for it is invalid.
pub async fn connect(
    stream: &ProxyStream,
    backend: &Proxy,
    server: &Server,
    shared: bool,
) -> Result<ServerConnection, ConnectFailure> {
    let forced = forced_version(server, stream);
    let protocol = forced.or(server.options.protocol);
    // Reserves an authenticated connection, which must not carry streams of other clients.
    let is_authenticated = stream.http && stream.request.has_connection_credentials();
    let private = forced.is_some() || is_authenticated || is_of_one_client(backend, server);
    let connector = server.traffic_tls().cloned();
    // Lets streams that may share the connection wait for it, also while ALPN has not decided on
    // HTTP/2 yet.
    let maybe_http2 = stream.http && may_speak_http2(protocol, connector.as_deref());
    let making = (maybe_http2 && shared && !private).then(|| pools().shared.making(&server.state));
    server.state.count(Tally::Connects);
    backend.state.count_backend(Tally::Connects);
    // Reads `way` before the address, so that an older address is not taken for the newest one.
    let way = server.state.way().of_file(server.way);
    let target = target(server, stream)?;
    let mark = Mark::of(server, stream).ok_or(ConnectFailure::Unresolved)?;
    let socket = begin(backend, server, stream, &target).map_err(ConnectFailure::Refused)?;
    let mut transport = ConnectionTransport::from(socket);
    pools().make_room(&transport, stream.config.global.tune.pool_high_fd_ratio);
    let deadline = after(stream.connect_ms().or(backend.timeouts.server_ms));
    wait_until_connected(&transport, deadline).await?;
    announce(&transport, stream, server, &target, deadline).await?;
    let mut tls = None;
    if let Some(connector) = &connector {
        let secured = pool_box(secure(
            &mut transport,
            server,
            connector,
            stream,
            forced,
            deadline,
        ));
        tls = Some(secured.await?);
    }
    if stream.http && protocol == Some(HttpProtocol::FastCgi) {
        transport.switch_to_fastcgi();
    }
    let http2 = maybe_http2 && speaks_http2(protocol, tls.as_deref());
    let (link, mux) = if http2 {
        first_stream(transport, &stream.config.global.tune, tls.is_some())?
    } else {
        (PeerConnection::Http1(transport), None)
    };
    if let (Some(making), Some(mux)) = (making, &mux) {
        let shared = &pools().shared;
        shared.add(&server.state, mux.clone(), way, tls.clone(), mark.clone());
        making.made();
    }
    Ok(ServerConnection {
        link,
        mux,
        tls,
        state: server.state.clone(),
        input: None,
        streams: 0,
        way,
        mark,
        private,
        authentication: if is_authenticated {
            Authentication::Bound
        } else {
            Authentication::None
        },
    })
}

async fn wait_until_connected(
    transport: &ConnectionTransport,
    deadline: Option<Instant>,
) -> Result<(), ConnectFailure> {
    match with_deadline(deadline, transport.connected()).await {
        Ok(connected) => connected.map_err(ConnectFailure::Refused),
        Err(_) => Err(ConnectFailure::Timeout),
    }
}

/// Returns whether connections to a server carry streams of one client only. A PROXY header
/// describes one client, unless `http-reuse always` permits others to use the connection.
/// Connections of `dispatch` and `option transparent` are not shared, either.
fn is_of_one_client(backend: &Proxy, server: &Server) -> bool {
    let told = server.options.send_proxy.is_some() && backend.reuse != ReuseMode::Always;
    told || backend.dispatch_server.is_some()
}

fn first_stream(
    transport: ConnectionTransport,
    tune: &Tune,
    secure: bool,
) -> Result<(PeerConnection, Option<ServerMux>), ConnectFailure> {
    let mux = ServerMux::start(transport, tune.http2_limits(), secure);
    let refused = || ConnectFailure::Refused(io::ErrorKind::ConnectionRefused.into());
    let link = mux.open().ok_or_else(refused)?;
    Ok((PeerConnection::Http2(link), Some(mux)))
}

/// Sends what a connection needs before the request: the request to a SOCKS proxy and the PROXY
/// header, if configured.
async fn announce(
    transport: &ConnectionTransport,
    stream: &ProxyStream,
    server: &Server,
    target: &ConnectAddress,
    deadline: Option<Instant>,
) -> Result<(), ConnectFailure> {
    if server.options.socks4.is_some() {
        pool_box(tunnel(transport, target, deadline)).await?;
    }
    let Some(version) = server.options.send_proxy else {
        return Ok(());
    };
    let header = proxy_header::of(stream, server, version);
    match with_deadline(deadline, write_all(transport, &header, None)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(ConnectFailure::Refused(error.into())),
        Err(_) => Err(ConnectFailure::Timeout),
    }
}

async fn tunnel(
    transport: &ConnectionTransport,
    target: &ConnectAddress,
    deadline: Option<Instant>,
) -> Result<(), ConnectFailure> {
    let refused = |kind: io::ErrorKind| ConnectFailure::Refused(kind.into());
    let ConnectAddress::Inet(SocketAddr::V4(to)) = target else {
        return Err(refused(io::ErrorKind::AddrNotAvailable));
    };
    let request = socks4::request(*to, SOCKS4_USER);
    match with_deadline(deadline, write_all(transport, &request, None)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => return Err(ConnectFailure::Refused(error.into())),
        Err(_) => return Err(ConnectFailure::Timeout),
    }
    let mut reply = [0; socks4::REPLY_BYTES];
    let mut have = 0;
    while have < reply.len() {
        match transport.socket().try_read(&mut reply[have..]) {
            Ok(0) => return Err(refused(io::ErrorKind::ConnectionReset)),
            Ok(read) => have += read,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let waited = with_deadline(deadline, transport.readable()).await;
                waited.map_err(|_| ConnectFailure::Timeout)?;
            }
            Err(error) => return Err(ConnectFailure::Refused(error)),
        }
    }
    if socks4::is_granted(&reply) {
        Ok(())
    } else {
        Err(refused(io::ErrorKind::ConnectionRefused))
    }
}

/// Returns whether a connection may turn out to use HTTP/2: as `proto` says, otherwise if ALPN
/// offers it.
fn may_speak_http2(protocol: Option<HttpProtocol>, connector: Option<&Connector>) -> bool {
    let offers = |connector: &Connector| connector.alpn().iter().any(|name| name == b"h2");
    match protocol {
        Some(protocol) => protocol == HttpProtocol::Http2,
        None => connector.is_some_and(offers),
    }
}

/// Returns whether an established connection uses HTTP/2: as `proto` says, otherwise as ALPN
/// decided.
fn speaks_http2(protocol: Option<HttpProtocol>, tls: Option<&Secured>) -> bool {
    match protocol {
        Some(protocol) => protocol == HttpProtocol::Http2,
        None => tls.is_some_and(|tls| tls.info.alpn.as_deref() == Some(b"h2")),
    }
}
