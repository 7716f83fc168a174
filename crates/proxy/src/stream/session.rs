//! Serves a client's connection, from accept through its streams to close. The state of an idle
//! connection is kept small: a socket, a session, no buffer. The state of a request is boxed and
//! exists only during the request.

use super::request::{self, Next};
use super::{Endpoint, Session, leaving, multiplexed, newest, secure, tcp};
use crate::runtime::{self, ClientPermit};
use crate::server_connection::PrivateConnections;
use model::config::{BindAddress, Config, HttpProtocol, ListenerIndex, Mode, Proxy, ProxyOption};
use model::log;
use model::rules::{self, Gate};
use model::state::{ListenerState, Tally};
use model::thread::current_thread_data;
use model::tracking;
use model::transaction::Trace;
use mux::MuxStream;
use mux::link::PeerConnection;
use protocol::netscaler;
use protocol::proxy_protocol::{self, Header, Progress};
use reactor::{self, Buffer, Instant, StreamSocket, pool_box, with_deadline};
use rustix::net::SocketAddrAny;
use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;
use tls::transport::ConnectionTransport;

/// A client's connection, or for an HTTP/2 connection one of its streams.
pub struct Client {
    pub link: PeerConnection,
    pub session: Rc<Session>,
    pub input: Option<Buffer>,
    pub streams: u32,
    /// Time of the accept, or of the end of the previous stream; the times of the next stream are
    /// counted from here.
    pub idle_since: Instant,
    pub private_connections: PrivateConnections,
    /// Number of the server of the last stream.
    pub last_server: Option<u32>,
    /// A rule requires that the client first sends a PROXY header (`expect-proxy`).
    pub expects_proxy: bool,
    /// A rule requires that the client first sends a NetScaler Client IP header
    /// (`expect-netscaler-cip`).
    pub expects_netscaler: bool,
}

impl Client {
    /// Creates the client for one stream of an HTTP/2 connection that has carried `streams`
    /// before.
    pub fn of_stream(session: Rc<Session>, stream: MuxStream, streams: u32) -> Client {
        Client {
            link: PeerConnection::Http2(stream),
            session,
            input: None,
            streams,
            idle_since: reactor::now(),
            private_connections: PrivateConnections::default(),
            last_server: None,
            expects_proxy: false,
            expects_netscaler: false,
        }
    }

    /// Switches to the newest configuration between two requests, if the listener still exists in
    /// it.
    fn go_over(&mut self) {
        if newest::go_over(&mut self.session) {
            self.private_connections.forget_moved();
        }
    }
}

/// Counts a session as long as it exists.
struct Counted(Option<ClientPermit>);

/// Returns the counters of a listener if `option socket-stats` is set.
pub(super) fn listener_state(frontend: &Proxy, bind: u32) -> Option<Arc<ListenerState>> {
    let asked = frontend.has(ProxyOption::SocketStats);
    let bind = frontend.binds.get(bind as usize).filter(|_| asked)?;
    Some(frontend.state.listener(bind.id))
}

impl Drop for Counted {
    fn drop(&mut self) {
        // Releases the connection slot first, because an accept task that waits for one is woken
        // now.
        self.0 = None;
        current_thread_data().session_ended();
    }
}

/// Begins a session on a connection that was accepted on this thread.
pub fn begin(
    config: Arc<Config>,
    place: ListenerIndex,
    fd: OwnedFd,
    peer: Option<SocketAddrAny>,
    seat: ClientPermit,
) {
    let proxy = config.proxy(place.frontend);
    let ends = [endpoint(peer), destination(proxy, place.bind, &fd)];
    admit(config, place, fd, ends, seat, None);
}

/// Begins a session that shows to which server a request would go. The decisions are recorded and
/// no server is contacted. `ends` are the addresses of the client and of its destination.
pub fn rehearse(
    config: Arc<Config>,
    place: ListenerIndex,
    fd: OwnedFd,
    ends: [Endpoint; 2],
    trace: Arc<Mutex<Trace>>,
) {
    let seat = ClientPermit::beyond_limits(runtime::of_thread(), config.proxy(place.frontend));
    admit(config, place, fd, ends, seat, Some(trace));
}

fn admit(
    config: Arc<Config>,
    place: ListenerIndex,
    fd: OwnedFd,
    [source, destination]: [Endpoint; 2],
    seat: ClientPermit,
    trace: Option<Arc<Mutex<Trace>>>,
) {
    // Assumes that the socket is readable, because a client usually sends data right after it
    // connects.
    let Ok(socket) = StreamSocket::from_nonblocking(fd, reactor::Assumed::Both) else {
        return;
    };
    let link = PeerConnection::from(ConnectionTransport::from(socket));
    current_thread_data().session_began();
    let counted = Counted(Some(seat));
    let mut session = Rc::new(Session::new(config, place, source, destination));
    if let Some(trace) = trace {
        session.trace(trace);
    }
    if let Some(transport) = link.transport() {
        session.keep_socket(transport.socket());
    }
    let (mut expects_proxy, mut expects_netscaler) = (false, false);
    if !session.frontend().tcp_connection.is_empty() {
        let (gate, overrides) = rules::tcp_connection(&session);
        session.settle_addresses();
        let proxy = session.frontend();
        if let Some(set) = overrides {
            expects_proxy = set.expects_proxy;
            expects_netscaler = set.expects_netscaler;
            mark_packets(&link, &set);
        }
        match gate {
            Gate::Open => {}
            gate => {
                proxy.state.count_frontend(Tally::DeniedConnections);
                refuse(&link, gate);
                return;
            }
        }
    }
    count_admission(&session);
    let idle_since = session.accepted;
    let client = Client {
        link,
        session,
        input: None,
        streams: 0,
        private_connections: PrivateConnections::default(),
        last_server: None,
        idle_since,
        expects_proxy,
        expects_netscaler,
    };
    reactor::spawn(life(client, counted));
}

/// Counts a connection in the rates that `maxsessrate` and `maxsslrate` limit, once the connection
/// rules have accepted it. So the limits include clients that complete the handshake slowly.
fn count_admission(session: &Session) {
    if super::request::health(session).is_some() {
        return;
    }
    let thread = current_thread_data();
    thread.process.session_rate.count(thread.now_ms());
    if session.bind().tls.is_some() {
        tls::counters().rate.count(thread.now_ms());
    }
}

/// Returns the future of a connection's task. A plain function around an async block, because
/// an async function would store its arguments twice.
fn life(client: Client, counted: Counted) -> impl Future<Output = ()> {
    // Determines the order of the drops: the descriptor is closed before the connection slot is
    // released.
    let mut held = (client, counted);
    async move {
        // Names both parts, because the block would not capture, and so drop too early, a part that
        // is not named.
        let (client, _counted) = &mut held;
        run(client).await;
    }
}

fn endpoint(address: Option<SocketAddrAny>) -> Endpoint {
    address
        .and_then(|address| SocketAddr::try_from(address).ok())
        .map_or(Endpoint::Unix, Endpoint::Inet)
}

/// Returns the address that the client connected to. Only a wildcard listener needs a system
/// call.
fn destination(proxy: &Proxy, bind: u32, fd: &OwnedFd) -> Endpoint {
    match proxy.binds[bind as usize].address {
        BindAddress::Inet(address) if !address.ip().is_unspecified() && address.port() != 0 => {
            Endpoint::Inet(address)
        }
        BindAddress::Inet(_) | BindAddress::Fd(_) => endpoint(rustix::net::getsockname(fd).ok()),
        BindAddress::Unix(_) | BindAddress::Abstract(_) | BindAddress::Name(..) => Endpoint::Unix,
    }
}

async fn run(client: &mut Client) {
    if client.session.frontend().health.is_some()
        && let Some(answer) = super::request::health(&client.session)
    {
        return pool_box(super::request::answer_health(client, answer)).await;
    }
    if expects_header(client) && pool_box(preface(client)).await.is_err() {
        let frontend = client.session.frontend();
        frontend.state.count_frontend(Tally::RequestErrors);
        client.link.abort_output();
        return;
    }
    if client.session.bind().tls.is_some() && !pool_box(secure::accept(client)).await {
        return;
    }
    let frontend = client.session.frontend();
    if !frontend.tcp_session.is_empty() {
        let (gate, overrides) = rules::tcp_session(&client.session);
        if let Some(set) = overrides {
            mark_packets(&client.link, &set);
        }
        if gate != Gate::Open {
            frontend.state.count_frontend(Tally::DeniedSessions);
            refuse(&client.link, gate);
            return;
        }
    }
    tracking::session_began(&client.session);
    let now_ms = current_thread_data().now_ms();
    frontend.state.count_frontend(Tally::Sessions);
    frontend.state.frontend.session_rate.count(now_ms);
    if let Some(listener) = listener_state(frontend, client.session.bind) {
        listener.counters.count(Tally::Sessions);
    }
    match frontend.mode {
        // Serves log mode like TCP, although the loader refuses listeners in log mode.
        Mode::Tcp | Mode::Log => pool_box(tcp::serve(client)).await,
        Mode::Http if speaks_http2(&client.session) => http2(client).await,
        Mode::Http => requests(client).await,
    }
    if client.session.frontend().has(ProxyOption::NoLinger) {
        reset_when_delivered(&client.link);
    }
}

/// Resets the connection instead of closing it in order (`option nolinger`), once the client's
/// kernel has received everything. An earlier reset would cut the response.
pub(super) fn reset_when_delivered(link: &PeerConnection) {
    if let Some(socket) = link.transport()
        && unsent(socket) == 0
    {
        let _ = socket.set_linger_zero();
    }
}

/// Returns the number of written bytes that the client's kernel has not acknowledged.
fn unsent(socket: &ConnectionTransport) -> i32 {
    use nix::libc;
    use std::os::fd::AsRawFd;
    let mut bytes: libc::c_int = 0;
    // SAFETY: SIOCOUTQ (TIOCOUTQ) writes one int to the pointer, which is live.
    let result = unsafe { libc::ioctl(socket.fd().as_raw_fd(), libc::TIOCOUTQ, &mut bytes) };
    if result == 0 { bytes } else { 1 }
}

fn mark_packets(link: &PeerConnection, set: &super::Overrides) {
    if let Some(transport) = link.transport() {
        set.to_client.apply(transport.fd(), None);
    }
}

fn refuse(link: &PeerConnection, gate: Gate) {
    match gate {
        Gate::SilentDrop(ttl) => drop_silently(link, ttl),
        _ => link.abort_output(),
    }
}

/// Drops a client's connection without notice (`silent-drop`), or with a reset whose packets
/// have this TTL.
pub(super) fn drop_silently(link: &PeerConnection, ttl: Option<u8>) {
    let (Some(ttl), Some(socket)) = (ttl, link.transport()) else {
        return link.close_silently();
    };
    // Ignores the failure of one call: a socket is either IPv4 or IPv6.
    let _ = rustix::net::sockopt::set_ip_ttl(socket.socket().fd(), u32::from(ttl));
    let _ = rustix::net::sockopt::set_ipv6_unicast_hops(socket.socket().fd(), Some(ttl));
    let _ = socket.set_linger_zero();
}

pub(super) async fn requests(client: &mut Client) {
    loop {
        if client.input.is_none() {
            let leaving = leaving::should_close_idle(client);
            let deadline = leaving::sooner(client, idle_deadline(client));
            match with_deadline(deadline, next_request(client, leaving)).await {
                Ok(Coming::Request) => {}
                Ok(Coming::Leave) => continue,
                Ok(Coming::Close) => return,
                Ok(Coming::Configuration) => {
                    client.go_over();
                    continue;
                }
                Err(_) if client.streams > 0 => return,
                Err(_) => return pool_box(request::timed_out(client)).await,
            }
        }
        client.go_over();
        match pool_box(request::serve(client)).await {
            Next::Request => {
                client.streams = client.streams.saturating_add(1);
                client.idle_since = reactor::now();
            }
            Next::Again => {}
            Next::Close | Next::Linger => return,
            Next::Http2 => return http2(client).await,
        }
    }
}

/// Returns whether the connection speaks HTTP/2 from its first byte: by `proto`, otherwise by
/// ALPN.
fn speaks_http2(session: &Session) -> bool {
    match session.bind().protocol {
        Some(protocol) => protocol == HttpProtocol::Http2,
        None => {
            let tls = session.tls.as_ref();
            tls.is_some_and(|tls| tls.alpn.as_deref() == Some(b"h2"))
        }
    }
}

/// State shared by the streams of a client's HTTP/2 connection.
#[derive(Default)]
struct Left {
    own: RefCell<PrivateConnections>,
    last_server: Cell<Option<u32>>,
}

pub(super) async fn http2(client: &mut Client) {
    let Client {
        link,
        session,
        input,
        ..
    } = client;
    let PeerConnection::Http1(transport) = link else {
        return;
    };
    let left = Rc::<Left>::default();
    let count = |session: &Session, tally| {
        session.frontend().state.count_frontend(tally);
    };
    count(session, Tally::Http2Connections);
    let begin = |request: multiplexed::Request| {
        let left = Rc::clone(&left);
        reactor::spawn(pool_box(async move {
            let multiplexed::Request {
                mux,
                stream,
                parsed,
                before,
            } = request;
            count(&stream.session, Tally::Http2Streams);
            let mut client = Client::of_stream(Rc::clone(&stream.session), mux, before);
            client.private_connections = left.own.borrow_mut().share();
            client.last_server = left.last_server.get();
            let last = request::serve_stream(client, stream, parsed).await;
            left.last_server.set(last.or(left.last_server.get()));
        }));
    };
    pool_box(multiplexed::serve(transport, input.take(), session, begin)).await;
}

/// Event that ends the wait for the next request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Coming {
    Request,
    /// A newer configuration is in service, and contains the listener.
    Configuration,
    /// The process started to stop, or the client's address to leave, which shortens the wait.
    Leave,
    /// A newer configuration is in service, under which the client might not be admitted.
    Close,
}

/// Waits for the first byte of a request, or another event.
async fn next_request(client: &Client, leaving: bool) -> Coming {
    poll_fn(|context| {
        if client.link.poll_readable(context).is_ready() {
            return Poll::Ready(Coming::Request);
        }
        if client.streams > 0 && newest::must_connect_again(&client.session) {
            return Poll::Ready(Coming::Close);
        }
        if leaving::should_close_idle(client) != leaving {
            return Poll::Ready(Coming::Leave);
        }
        if newest::can_continue(&client.session) {
            return Poll::Ready(Coming::Configuration);
        }
        Poll::Pending
    })
    .await
}

/// Returns how long a connection may wait for the first byte of a request, counted from the start
/// of the wait. A change of the configuration does not start it again.
pub(super) fn idle_deadline(client: &Client) -> Option<Instant> {
    let timeouts = &client.session.frontend().timeouts;
    let (from, limit_ms) = if client.streams == 0 {
        (client.session.ready, timeouts.http_request_ms)
    } else {
        let keep_alive_ms = timeouts.http_keep_alive_ms;
        (
            client.idle_since,
            keep_alive_ms.or(timeouts.http_request_ms),
        )
    };
    let limit_ms = limit_ms.or(timeouts.client_ms)?;
    Some(from + Duration::from_millis(u64::from(limit_ms)))
}

/// Returns when the head of a request that begins now must be complete (`timeout http-request`).
/// For the first request, the time counts from the moment when the transport was ready.
pub(super) fn head_deadline(client: &Client) -> Option<Instant> {
    let limit_ms = client.session.frontend().timeouts.http_request_ms?;
    let from = if client.streams == 0 {
        client.session.ready
    } else {
        reactor::now()
    };
    Some(from + Duration::from_millis(u64::from(limit_ms)))
}

fn expects_header(client: &Client) -> bool {
    let bind = client.session.bind();
    bind.preface != Default::default() || client.expects_proxy || client.expects_netscaler
}

/// Reads the PROXY and NetScaler headers that the client must send first, and applies their
/// addresses. A failure is logged.
async fn preface(client: &mut Client) -> Result<(), PrefaceError> {
    if client.session.bind().preface.proxy || client.expects_proxy {
        let parse = |bytes: &[u8]| {
            let progress = proxy_protocol::parse(bytes).map_err(|error| match error {
                proxy_protocol::ParseError::NotProxy { .. } => PrefaceError::NotPreface,
                _ => PrefaceError::Invalid,
            })?;
            Ok(match progress {
                Progress::Complete {
                    header,
                    consumed_bytes,
                } => Some((header, consumed_bytes)),
                Progress::Incomplete { .. } => None,
            })
        };
        first_header(client, parse)
            .await
            .inspect_err(|error| log_preface_error(client, *error, "PROXY protocol header"))?;
    }
    let magic = client.session.bind().preface.netscaler_magic;
    if magic.is_some() || client.expects_netscaler {
        let parse = |bytes: &[u8]| {
            netscaler::parse(bytes, magic.unwrap_or(0)).map_err(|_| PrefaceError::Invalid)
        };
        first_header(client, parse)
            .await
            .inspect_err(|error| log_preface_error(client, *error, "NetScaler Client IP header"))?;
    }
    Ok(())
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum PrefaceError {
    Empty,
    Broken,
    Timeout,
    Truncated,
    NotPreface,
    Invalid,
}

fn log_preface_error(client: &Client, error: PrefaceError, header: &str) {
    let text = match error {
        PrefaceError::Empty => format!("Connection closed while waiting for {header}"),
        PrefaceError::Broken => format!("Connection error while waiting for {header}"),
        PrefaceError::Timeout => format!("Timeout while waiting for {header}"),
        PrefaceError::Truncated => format!("Truncated {header} received"),
        PrefaceError::NotPreface => {
            format!("Received something which does not look like a {header}")
        }
        PrefaceError::Invalid => format!("Received an invalid {header}"),
    };
    let carried_nothing = matches!(error, PrefaceError::Empty | PrefaceError::Broken);
    log::connection_failed(&client.session, &text, carried_nothing);
}

/// Reads the PROXY or NetScaler header that the client must send first. `parse` returns the header
/// with its length, or None while it is incomplete.
async fn first_header(
    client: &mut Client,
    parse: impl Fn(&[u8]) -> Result<Option<(Header, usize)>, PrefaceError>,
) -> Result<(), PrefaceError> {
    let deadline = reactor::after(
        client
            .session
            .frontend()
            .timeouts
            .client_ms
            .or(Some(PROXY_HEADER_MS)),
    );
    let mut input = client.input.take().unwrap_or_else(Buffer::take);
    loop {
        if let Some((header, consumed_bytes)) = parse(input.filled())? {
            input.consume(consumed_bytes);
            take_addresses(client, &header);
            client.input = (!input.is_empty()).then_some(input);
            return Ok(());
        }
        with_deadline(deadline, client.link.readable())
            .await
            .map_err(|_| PrefaceError::Timeout)?;
        match client.link.read_into(&mut input) {
            Ok(0) if input.is_empty() => return Err(PrefaceError::Empty),
            Ok(0) => return Err(PrefaceError::Truncated),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return Err(PrefaceError::Broken),
        }
    }
}

/// Maximum wait for a PROXY header if `timeout client` is not set, milliseconds.
const PROXY_HEADER_MS: u32 = 5000;

/// Replaces the addresses of the session by those of the header. A header without addresses
/// changes nothing.
fn take_addresses(client: &mut Client, header: &Header) {
    client.session.keep_proxy_header();
    let Header::Proxied(proxied) = header else {
        return;
    };
    client.session.keep_fields(&proxied.tlvs);
    let (Some(source), Some(destination)) =
        (proxied.endpoints.source(), proxied.endpoints.destination())
    else {
        return;
    };
    let old = &client.session;
    let (source, destination) = (Endpoint::Inet(source), Endpoint::Inet(destination));
    old.keep_connection((old.source, old.destination));
    client.session = Rc::new(Session {
        accepted: old.accepted,
        details: old.details.clone(),
        tls: old.tls.clone(),
        variables: old.variables.take().into(),
        tracked: old.tracked.clone(),
        ..Session::new(old.config.clone(), old.place(), source, destination)
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size<A, F: Future>(_: impl Fn(A) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn an_idle_connection_holds_little() {
        let idle = size(|(client, counted)| life(client, counted));
        let (session, shared) = (size_of::<Session>() + 16, size_of::<Client>());
        println!("task {idle}, of it the client {shared}; session {session}");
        assert!(
            idle <= 216,
            "the task of a client's connection: {idle} bytes"
        );
        assert!(session <= 200, "a session: {session} bytes");
    }
}
