//! Selects a server for a stream and connects to it, for HTTP and TCP: first a slot (the right to
//! one session of the server), then the connection with its retries.

use super::shutdown::{self, unless_shut};
use super::slot::take_slot;
use super::watch::{Watch, unless_gone};
use super::{ProxyResponse, ProxyStream, StreamPhase, Termination, backend, exchange, observe};
use crate::server_connection::{
    self, Authentication, ConnectFailure, ConnectionRequirements, PrivateConnections,
    ServerConnection, connect, forced_version,
};
use http::http1::{Redirect, RedirectCode};
use http::message::HttpMessage;
use model::config::{Proxy, RetryOn, ReuseMode, Server, StreamLogStep};
use model::queue::ServerSlot;
use model::state::Tally;
use model::thread::current_thread_data;
use model::transaction::{ServerEnd, StreamOutcome, TryFailure, trace};
use model::{log, rules};
use mux::link::PeerConnection;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tls::Info;

/// Number of connection attempts after the first if `retries` is not set.
const RETRIES_DEFAULT: u32 = 3;

const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// Reused connections that are allowed for a stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reuse {
    None,
    /// Connections reserved for the client of the stream.
    Own,
    /// Connections reserved for the client, and idle ones that have carried at least two streams.
    Proven,
    /// Connections reserved for the client, and any idle one.
    Any,
}

impl Reuse {
    /// Returns how many streams an idle connection must have carried so that it may be reused;
    /// None if no idle connection may be reused.
    fn streams_min(self) -> Option<u32> {
        match self {
            Reuse::None | Reuse::Own => None,
            Reuse::Proven => Some(2),
            Reuse::Any => Some(0),
        }
    }
}

/// Conditions under which a stream may obtain a server connection.
pub struct Establish<'c> {
    pub reuse: Reuse,
    /// The stream may share HTTP/2 connections that carry streams of other clients.
    pub shared: bool,
    pub own: Option<&'c mut PrivateConnections>,
}

impl Establish<'_> {
    /// A new connection for each stream, as in TCP mode.
    pub const FRESH: Establish<'static> = Establish {
        reuse: Reuse::None,
        shared: false,
        own: None,
    };

    /// Takes a reusable connection to this server: an idle one, or an HTTP/2 connection in use.
    fn take(&mut self, server: &Server, stream: &ProxyStream) -> Option<ServerConnection> {
        if self.reuse != Reuse::None
            && let Some(own) = &mut self.own
            && let Some(connection) = own.take(server, stream)
        {
            return Some(connection);
        }
        let streams_min = self.reuse.streams_min();
        if forced_version(server, stream).is_some() {
            // Takes none, because pooled connections use the configured protocol, but this stream
            // requires another one.
            return None;
        }
        let pools = server_connection::pools();
        let wanted = ConnectionRequirements::of(server, stream);
        if self.shared
            && stream.http
            && !stream.request.has_connection_credentials()
            && let Some(joined) = pools.join(server, &wanted, streams_min)
        {
            return Some(joined);
        }
        pools.take(server, &wanted, streams_min?)
    }

    async fn take_from_neighbours(
        &self,
        server: &Server,
        stream: &ProxyStream,
    ) -> Option<ServerConnection> {
        let least = self.reuse.streams_min()?;
        if server.state.idle_threads() == 0 || forced_version(server, stream).is_some() {
            return None;
        }
        let wanted = ConnectionRequirements::of(server, stream);
        let pools = server_connection::pools();
        pools.take_from_neighbours(server, &wanted, least).await
    }
}

/// Reason why a stream got no server. The termination state of the stream gives details.
#[derive(Debug)]
pub enum Unserved {
    /// No server is available: 503.
    Unavailable,
    /// The server has a `redir` prefix: this response redirects the client.
    Redirected(Box<ProxyResponse>),
    /// The request cannot be sent as configured: the client gets this response.
    Rejected(Box<ProxyResponse>),
}

/// Variant of [`establish`] that also watches the client. None: the client has disconnected. If an
/// HTTP/2 stream is reset while it is queued, no connection to a server is opened.
pub async fn establish_for(
    stream: &mut ProxyStream,
    link: &PeerConnection,
    how: Establish<'_>,
) -> Option<Result<(ServerConnection, ServerSlot), Unserved>> {
    let watched = Watch::of(stream, link);
    if link.is_http2() && watched.is_some_and(|client| client.has_gone()) {
        return None;
    }
    unless_gone(watched, pin!(establish(stream, how))).await
}

pub fn retries(stream: &ProxyStream) -> u32 {
    let set = stream.rules.overrides.as_ref().and_then(|set| set.retries);
    set.or_else(|| stream.backend()?.retries)
        .unwrap_or(RETRIES_DEFAULT)
}

/// Gets a server for a stream: a slot on a server (possibly after waiting in a queue), then a
/// connection, with `retries` and `option redispatch`.
pub async fn establish(
    stream: &mut ProxyStream,
    mut how: Establish<'_>,
) -> Result<(ServerConnection, ServerSlot), Unserved> {
    // Generates the unique ID now, because the PROXY header may contain it.
    rules::unique_id(stream).map_err(Unserved::Rejected)?;
    let slot = take_slot(stream, None).await?;
    reach(stream, &mut how, slot).await
}

/// Finds a server for a request that was already sent to one: another server, or the same one over
/// a new connection. Counts as a retry.
pub async fn connect_again(
    stream: &mut ProxyStream,
    mut slot: ServerSlot,
) -> Result<(ServerConnection, ServerSlot), Unserved> {
    stream.route.retries += 1;
    stream.times.response = None;
    stream.outcome.server_status = 0;
    match redispatch(stream, slot).await? {
        (another, true) => slot = another,
        (same, false) => {
            backend::count_at_server(stream, Tally::Retries);
            slot = same;
        }
    }
    let mut fresh = Establish::FRESH;
    reach(stream, &mut fresh, slot).await
}

/// Moves a stream to another server if a redispatch is due. Returns the slot, and whether it
/// belongs to another server.
async fn redispatch(
    stream: &mut ProxyStream,
    slot: ServerSlot,
) -> Result<(ServerSlot, bool), Unserved> {
    if !redispatches(stream, retries(stream)) {
        return Ok((slot, false));
    }
    let avoid = stream.route.server;
    drop(slot);
    let slot = take_slot(stream, avoid).await?;
    if avoid == stream.route.server {
        return Ok((slot, false));
    }
    stream.route.redispatched = true;
    stream.route.sent_elsewhere();
    backend::count_at(stream, avoid, Tally::Redispatches);
    Ok((slot, true))
}

/// Returns how often a failed connection attempt is repeated; never if `retry-on` does not contain
/// `conn-failure`.
fn connection_retries(stream: &ProxyStream) -> u32 {
    let only_once = |backend: &Proxy| stream.http && !backend.retry_on.has(RetryOn::CONN_FAILURE);
    if stream.backend().is_some_and(only_once) {
        0
    } else {
        retries(stream)
    }
}

/// Connects to the stream's server or, after failed attempts, to others.
async fn reach(
    stream: &mut ProxyStream,
    how: &mut Establish<'_>,
    mut slot: ServerSlot,
) -> Result<(ServerConnection, ServerSlot), Unserved> {
    let retries = connection_retries(stream);
    loop {
        if let Some(page) = redirected(stream) {
            let by = "the 'redir' of the server's line";
            stream.session.note(|| trace::TraceStep::Page(by));
            stream.decide_page(by);
            return Err(Unserved::Redirected(Box::new(page)));
        }
        // Ends a trace here, because it needs only the chosen server, not a connection.
        if stream.session.is_traced() {
            let at = stream
                .server()
                .and_then(|server| server_connection::address(server, stream));
            stream.session.note(|| trace::TraceStep::Address(at));
            return Err(gone(&mut stream.outcome));
        }
        let attempt = unless_shut(&slot, pin!(attempt(stream, how))).await;
        let attempt = attempt.unwrap_or_else(|why| {
            stream.outcome.termination = shutdown::termination(why);
            None
        });
        let failure = match attempt {
            Some(Ok(connection)) => {
                observe::connected(stream, true);
                stream.times.connected = Some(reactor::now());
                log::stream_reached(stream, StreamLogStep::Connect);
                let tls = connection.tls.as_ref();
                stream.links.server_tls = tls.map(|tls| Rc::clone(&tls.info));
                if stream.config.global.recording.server_end {
                    stream.links.watch_server(ServerEnd {
                        address: connection.local_address(),
                        socket: connection.socket(),
                        stream: connection.link.watch(),
                        carried: connection.streams,
                    });
                }
                return Ok((connection, slot));
            }
            Some(Err(failure)) => failure,
            None => return Err(gone(&mut stream.outcome)),
        };
        observe::connected(stream, false);
        stream.try_failed(kept(&failure));
        if matches!(&failure, ConnectFailure::Refused(error) if out_of_resources(error)) {
            // Closes idle connections, to free their descriptors for this stream.
            server_connection::pools().clear();
        }
        if stream.route.retries >= retries {
            return Err(failed(stream, &failure));
        }
        stream.route.retries += 1;
        let (held, another) = redispatch(stream, slot).await?;
        slot = held;
        if another {
            continue;
        }
        backend::count_at_server(stream, Tally::Retries);
        if !matches!(failure, ConnectFailure::Timeout) {
            reactor::sleep(retry_pause(stream)).await;
        }
    }
}

/// Returns the pause before another attempt to connect to a server that refused the connection.
/// Without it, all attempts would be used up before the server is back.
fn retry_pause(stream: &ProxyStream) -> Duration {
    let limit = stream.connect_ms();
    limit.map_or(RETRY_PAUSE, |ms| {
        RETRY_PAUSE.min(Duration::from_millis(ms.into()))
    })
}

/// Makes one attempt to connect. None would mean that the server is not in the configuration,
/// which does not happen; the caller treats it like a shutdown of the server's sessions.
async fn attempt(
    stream: &mut ProxyStream,
    how: &mut Establish<'_>,
) -> Option<Result<ServerConnection, ConnectFailure>> {
    let (backend, server) = (stream.backend()?, stream.server()?);
    server.state.count(Tally::Sessions);
    server
        .state
        .traffic
        .session_rate
        .count(current_thread_data().now_ms());
    let may_repeat = may_repeat(stream);
    loop {
        let found = match how.take(server, stream) {
            None => how.take_from_neighbours(server, stream).await,
            own => own,
        };
        let Some(mut connection) = found else { break };
        // Skips a connection whose close has just arrived, because this request will not be
        // repeated.
        if !may_repeat && connection.link.has_ended() {
            continue;
        }
        server.state.count(Tally::Reuses);
        backend.state.count_backend(Tally::Reuses);
        if stream.http && stream.request.has_connection_credentials() && !connection.private {
            connection.bind_to_client(Authentication::Bound);
        }
        return Some(Ok(connection));
    }
    if how.shared
        && forced_version(server, stream).is_none()
        && !stream.request.has_connection_credentials()
        && let Some(connection) = server_connection::pools()
            .join_begun(stream, backend, server)
            .await
    {
        return Some(Ok(connection));
    }
    Some(connect(stream, backend, server, how.shared).await)
}

/// Returns whether a request is repeated automatically when the server closes the connection
/// instead of responding: it has no body and its method is idempotent.
fn may_repeat(stream: &ProxyStream) -> bool {
    let request = &stream.request;
    let has_body = [&b"content-length"[..], b"transfer-encoding"]
        .iter()
        .any(|name| request.get(name).is_some());
    !has_body && exchange::is_idempotent(request.method())
}

/// Builds the redirect for a server with `redir`. Only for GET and HEAD, since a client must not
/// repeat other requests elsewhere on its own.
fn redirected(stream: &mut ProxyStream) -> Option<ProxyResponse> {
    let prefix = stream.server()?.options.redirect_prefix.as_deref()?;
    if !stream.http || !matches!(stream.request.method(), b"GET" | b"HEAD") {
        return None;
    }
    let path = stream.request.path_and_query();
    let location = match prefix {
        // Removes the first slashes, because a location that begins with two would name another
        // host.
        b"" | b"/" => [b"/", without_slashes(path)].concat(),
        _ => [prefix, path].concat(),
    };
    let mut head = HttpMessage::default();
    let redirect = Redirect {
        code: RedirectCode::Found,
        location: &location,
        set_cookie: None,
        clear_cookie: None,
    };
    // Leaves the request to the server if the location is too long for a head.
    redirect.respond(&mut head).ok()?;
    stream.outcome.end(Termination::Local, StreamPhase::Connect);
    Some(ProxyResponse {
        head,
        body: Arc::default(),
        close: true,
    })
}

fn without_slashes(path: &[u8]) -> &[u8] {
    let slashes = path.iter().take_while(|byte| **byte == b'/').count();
    path.get(slashes..).unwrap_or_default()
}

fn gone(outcome: &mut StreamOutcome) -> Unserved {
    if outcome.termination == Termination::Normal {
        outcome.termination = Termination::Internal;
    }
    outcome.phase = StreamPhase::Connect;
    Unserved::Unavailable
}

fn failed(stream: &mut ProxyStream, failure: &ConnectFailure) -> Unserved {
    backend::count_at_server(stream, Tally::ConnectErrors);
    stream.outcome.phase = StreamPhase::Connect;
    if let ConnectFailure::Insecure(failure) = failure {
        // Stores the failure for the log (`bc_err`, `ssl_bc_err`).
        stream.links.server_tls = Some(Rc::new(Info::failed_with_server(failure)));
    }
    stream.outcome.termination = match failure {
        ConnectFailure::Timeout => Termination::ServerTimeout,
        ConnectFailure::Refused(error) if out_of_resources(error) => Termination::Resource,
        ConnectFailure::Refused(_)
        | ConnectFailure::Unresolved
        | ConnectFailure::Insecure(_)
        | ConnectFailure::BadName => Termination::ServerAbort,
    };
    Unserved::Unavailable
}

fn kept(failure: &ConnectFailure) -> TryFailure {
    match failure {
        ConnectFailure::Timeout => TryFailure::ConnectTimeout,
        ConnectFailure::Refused(error) if out_of_resources(error) => TryFailure::Resources,
        ConnectFailure::Refused(_) => TryFailure::ConnectFailed,
        ConnectFailure::Unresolved => TryFailure::Unresolved,
        ConnectFailure::Insecure(_) => TryFailure::Tls,
        ConnectFailure::BadName => TryFailure::BadName,
    }
}

fn out_of_resources(error: &std::io::Error) -> bool {
    use rustix::io::Errno;
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(
        errno,
        Some(
            Errno::MFILE
                | Errno::NFILE
                | Errno::NOBUFS
                | Errno::NOMEM
                | Errno::AGAIN
                | Errno::ADDRNOTAVAIL
        )
    )
}

/// Returns whether this retry goes to another server, if there is one, as `option redispatch`
/// permits. A stream that persistence or a hash has assigned to a server stays there until the
/// retry that the option selects.
fn redispatches(stream: &ProxyStream, retries: u32) -> bool {
    let Some(backend) = stream.backend() else {
        return false;
    };
    let Some(interval) = backend.redispatch.filter(|interval| *interval != 0) else {
        return false;
    };
    // Stays with `force-persist`, because the operator wants to test exactly this server.
    let known = stream.route.persistence.as_deref();
    if known.is_some_and(|known| known.forced) {
        return false;
    }
    let belongs = stream.route.is_direct() || backend.balance.is_by_key();
    let (retry, last) = (i64::from(stream.route.retries), i64::from(retries));
    let due = match i64::from(interval) {
        every @ 1.. => retry % every == 0,
        before => retry == (last + 1 + before).max(1),
    };
    (!belongs || due)
        && backend
            .servers
            .iter()
            .filter(|server| server.state.usable())
            .any(|server| {
                stream
                    .server()
                    .is_none_or(|own| own.state.uid != server.state.uid)
            })
}

/// Sets the header field of `http-send-name-header` to the server's name.
pub fn name_server(stream: &mut ProxyStream) {
    let Some(header) = stream.backend().and_then(|b| b.name_header.as_ref()) else {
        return;
    };
    let header = header.clone();
    let name = stream.server().map(|server| server.name.clone());
    if let Some(name) = name
        && stream.request.set(&header, name.as_bytes()).is_err()
    {
        // Removes the field, because the one that the client or an earlier attempt has set names
        // another server. The field is then missing, because rules have filled the head to its
        // limit.
        stream.request.remove(&header);
        rules::count_rewrite_failure(stream);
    }
}

/// Opens another connection to the same server for a stream whose connection turned out to be
/// closed or unusable. None: that failed.
pub async fn reconnect(stream: &mut ProxyStream) -> Option<ServerConnection> {
    stream.route.retries += 1;
    backend::count_at_server(stream, Tally::Retries);
    let (backend, server) = (stream.backend()?, stream.server()?);
    let shared = backend.reuse != ReuseMode::Never;
    let connected = connect(stream, backend, server, shared).await;
    match connected {
        Ok(connection) => Some(connection),
        Err(failure) => {
            stream.try_failed(kept(&failure));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use keyword::testing::load_text;
    use model::config::{ProxyIndex, ServerIndex};
    use model::transaction::sample;

    #[test]
    fn server_name_that_does_not_fit_leaves_none_of_the_client() {
        let text = "listen web\n mode http\n bind 127.0.0.1:1\n http-send-name-header X-Server\n \
                    server a-long-name 127.0.0.1:2\n";
        let config = Arc::new(load_text(text).config.expect("the text is good"));
        let request = b"GET / HTTP/1.1\r\nHost: h\r\nX-Server: mine\r\n\r\n";
        for (room, expected) in [(100, Some(&b"a-long-name"[..])), (0, None)] {
            let mut stream = sample::request(request);
            stream.config = Arc::clone(&config);
            stream.route.frontend = ProxyIndex(0);
            stream.route.backend = Some(ProxyIndex(0));
            stream.route.server = Some(ServerIndex(0));
            stream.request.set_limit(stream.request.wire_len() + room);
            name_server(&mut stream);
            assert_eq!(stream.request.get(b"x-server"), expected, "{room}");
        }
    }
}
