//! What HTTP and TCP streams share on their way to a server: a slot of it, then the
//! connection with its retries.

use super::shutdown::{self, unless_shut};
use super::slot::take_slot;
use super::watch::{Watch, unless_gone};
use super::{Phase, Reply, Stream, Termination, backend, exchange, observe};
use crate::server_connection::{
    self, Authentication, ConnectFailure, Own, ServerConnection, Wanted, connect, forced_version,
};
use http::http1::{Redirect, RedirectCode};
use http::message::Message;
use model::config::{Proxy, RetryOn, ReuseMode, Server, Step};
use model::queue::Slot;
use model::state::Tally;
use model::thread::here;
use model::transaction::{Outcome, ServerEnd, TryFailure, trace};
use model::{log, rules};
use mux::link::Link;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tls::Info;

/// Connection attempts after the first, unless `retries` says otherwise.
const RETRIES_DEFAULT: u32 = 3;

/// Pause before the same server is tried again.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// Which connections that were used before a stream may use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reuse {
    /// None.
    None,
    /// Its client's own.
    Own,
    /// That, or an idle one that has proven to be reusable.
    Proven,
    /// That, or any idle one.
    Any,
}

impl Reuse {
    /// How many streams an idle connection must have carried; None: none may be used.
    fn streams_min(self) -> Option<u32> {
        match self {
            Reuse::None | Reuse::Own => None,
            Reuse::Proven => Some(2),
            Reuse::Any => Some(0),
        }
    }
}

/// How a stream gets its server connection.
pub struct Establish<'c> {
    /// Which may be used again.
    pub reuse: Reuse,
    /// HTTP/2 connections that carry streams of others now may carry this one
    /// too.
    pub shared: bool,
    /// Its client's own.
    pub own: Option<&'c mut Own>,
}

impl Establish<'_> {
    /// In TCP mode each stream has a new one.
    pub const FRESH: Establish<'static> = Establish {
        reuse: Reuse::None,
        shared: false,
        own: None,
    };

    /// A connection to this server that was used before, or is used.
    fn take(&mut self, server: &Server, stream: &Stream) -> Option<ServerConnection> {
        if self.reuse != Reuse::None
            && let Some(own) = &mut self.own
            && let Some(connection) = own.take(server, stream)
        {
            return Some(connection);
        }
        let streams_min = self.reuse.streams_min();
        if forced_version(server, stream).is_some() {
            // What is kept speaks what the others speak.
            return None;
        }
        let pools = server_connection::pools();
        let wanted = Wanted::of(server, stream);
        if self.shared
            && stream.http
            && !stream.request.has_connection_credentials()
            && let Some(joined) = pools.join(server, &wanted, streams_min)
        {
            return Some(joined);
        }
        pools.take(server, &wanted, streams_min?)
    }

    /// The same from another thread.
    async fn take_from_neighbours(
        &self,
        server: &Server,
        stream: &Stream,
    ) -> Option<ServerConnection> {
        let least = self.reuse.streams_min()?;
        if server.state.idle_threads() == 0 || forced_version(server, stream).is_some() {
            return None;
        }
        let wanted = Wanted::of(server, stream);
        let pools = server_connection::pools();
        pools.take_from_neighbours(server, &wanted, least).await
    }
}

/// Why a stream got no server; the stream's termination says more.
#[derive(Debug)]
pub enum Unserved {
    /// 503.
    Unavailable,
    /// The line of its server sends clients elsewhere (`redir`): this is the answer.
    Redirected(Box<Reply>),
}

/// [`establish`] for a client; None when it goes before that is done. A stream of
/// HTTP/2 that was reset before its turn came costs no server anything.
pub async fn establish_for(
    stream: &mut Stream,
    link: &Link,
    how: Establish<'_>,
) -> Option<Result<(ServerConnection, Slot), Unserved>> {
    let watched = Watch::of(stream, link);
    if link.is_http2() && watched.is_some_and(|client| client.has_gone()) {
        return None;
    }
    unless_gone(watched, pin!(establish(stream, how))).await
}

/// How often a stream's connection may be tried again.
pub fn retries(stream: &Stream) -> u32 {
    let set = stream.rules.overrides.as_ref().and_then(|set| set.retries);
    set.or_else(|| stream.backend()?.retries)
        .unwrap_or(RETRIES_DEFAULT)
}

/// Gets a server for a stream: a slot of a server (waiting in the queues), then
/// a connection, with `retries` and `option redispatch`.
pub async fn establish(
    stream: &mut Stream,
    mut how: Establish<'_>,
) -> Result<(ServerConnection, Slot), Unserved> {
    // The PROXY header may carry it.
    rules::unique_id(stream);
    let slot = take_slot(stream, None).await?;
    reach(stream, &mut how, slot).await
}

/// Gets a server once more for a request that was sent: another one, or another
/// connection to the same. It counts as a retry.
pub async fn again(
    stream: &mut Stream,
    mut slot: Slot,
) -> Result<(ServerConnection, Slot), Unserved> {
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

/// Sends a stream to another server, where one is due. The slot and whether it is
/// another's.
async fn redispatch(stream: &mut Stream, slot: Slot) -> Result<(Slot, bool), Unserved> {
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

/// How often a connection that failed may be tried again: `retry-on` can do without.
fn connection_retries(stream: &Stream) -> u32 {
    let only_once = |backend: &Proxy| stream.http && !backend.retry_on.has(RetryOn::CONN_FAILURE);
    if stream.backend().is_some_and(only_once) {
        0
    } else {
        retries(stream)
    }
}

/// A connection to the stream's server, or to others, with `retries`.
async fn reach(
    stream: &mut Stream,
    how: &mut Establish<'_>,
    mut slot: Slot,
) -> Result<(ServerConnection, Slot), Unserved> {
    let retries = connection_retries(stream);
    loop {
        if let Some(page) = redirected(stream) {
            let by = "the 'redir' of the server's line";
            stream.session.note(|| trace::Step::Page(by));
            stream.decide_page(by);
            return Err(Unserved::Redirected(Box::new(page)));
        }
        // Who asks where it would go wants no more.
        if stream.session.is_traced() {
            let at = stream
                .server()
                .and_then(|server| server_connection::address(server, stream));
            stream.session.note(|| trace::Step::Address(at));
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
                log::stream_reached(stream, Step::Connect);
                let tls = connection.tls.as_ref();
                stream.links.server_tls = tls.map(|tls| Rc::clone(&tls.info));
                if stream.config.global.asked.server_end {
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
            // What is idle gives its descriptors to who has something to do.
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

/// How long a server that refused is left alone before it is tried again: else
/// the retries are over before it is back.
fn retry_pause(stream: &Stream) -> Duration {
    let limit = stream.connect_ms();
    limit.map_or(RETRY_PAUSE, |ms| {
        RETRY_PAUSE.min(Duration::from_millis(ms.into()))
    })
}

/// One try; None when the server vanished from the configuration, which cannot
/// be (and for the caller, when its sessions were shut down).
async fn attempt(
    stream: &mut Stream,
    how: &mut Establish<'_>,
) -> Option<Result<ServerConnection, ConnectFailure>> {
    let (backend, server) = (stream.backend()?, stream.server()?);
    server.state.traffic.counters.here().count(Tally::Sessions);
    server.state.traffic.session_rate.count(here().now_ms());
    let may_repeat = may_repeat(stream);
    loop {
        let found = match how.take(server, stream) {
            None => how.take_from_neighbours(server, stream).await,
            own => own,
        };
        let Some(mut connection) = found else { break };
        // Nobody repeats such a request: a close that has just come is looked for.
        if !may_repeat && connection.link.has_ended() {
            continue;
        }
        server.state.traffic.counters.here().count(Tally::Reuses);
        backend.state.backend.counters.here().count(Tally::Reuses);
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

/// Whether a request goes out again by itself when the server closes its connection
/// instead of a response: it has no body and does nothing twice.
fn may_repeat(stream: &Stream) -> bool {
    let request = &stream.request;
    let has_body = [&b"content-length"[..], b"transfer-encoding"]
        .iter()
        .any(|name| request.get(name).is_some());
    !has_body && exchange::is_idempotent(request.method())
}

/// The answer to a request whose server has a `redir`: GET and HEAD only, since
/// a client may not repeat others elsewhere by itself.
fn redirected(stream: &mut Stream) -> Option<Reply> {
    let prefix = stream.server()?.options.redirect_prefix.as_deref()?;
    if !stream.http || !matches!(stream.request.method(), b"GET" | b"HEAD") {
        return None;
    }
    let path = stream.request.path_and_query();
    let location = match prefix {
        // What begins with two slashes would be an address of another host.
        b"" | b"/" => [b"/", without_slashes(path)].concat(),
        _ => [prefix, path].concat(),
    };
    let mut head = Message::default();
    let redirect = Redirect {
        code: RedirectCode::Found,
        location: &location,
        set_cookie: None,
        clear_cookie: None,
    };
    // A location that fits into no head: the server answers itself.
    redirect.respond(&mut head).ok()?;
    stream.outcome.end(Termination::Local, Phase::Connect);
    Some(Reply {
        head,
        body: Arc::default(),
        close: true,
    })
}

fn without_slashes(path: &[u8]) -> &[u8] {
    let slashes = path.iter().take_while(|byte| **byte == b'/').count();
    path.get(slashes..).unwrap_or_default()
}

fn gone(outcome: &mut Outcome) -> Unserved {
    if outcome.termination == Termination::Normal {
        outcome.termination = Termination::Internal;
    }
    outcome.phase = Phase::Connect;
    Unserved::Unavailable
}

fn failed(stream: &mut Stream, failure: &ConnectFailure) -> Unserved {
    backend::count_at_server(stream, Tally::ConnectErrors);
    stream.outcome.phase = Phase::Connect;
    if let ConnectFailure::Insecure(failure) = failure {
        // For the log: `bc_err`, `ssl_bc_err`.
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

/// A failure as the history of requests keeps it.
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

/// Whether a retry goes to another server, where there is one: at once, but a
/// stream that belongs to its server, or that a hash sent there, waits for it until
/// the retry that the number behind `option redispatch` says.
fn redispatches(stream: &Stream, retries: u32) -> bool {
    let Some(backend) = stream.backend() else {
        return false;
    };
    let Some(interval) = backend.redispatch.filter(|interval| *interval != 0) else {
        return false;
    };
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

/// `http-send-name-header`: tells the server its own name.
pub fn name_server(stream: &mut Stream) {
    let Some(header) = stream.backend().and_then(|b| b.name_header.as_ref()) else {
        return;
    };
    let header = header.clone();
    let name = stream.server().map(|server| server.name.clone());
    if let Some(name) = name {
        // A head that rules filled to its limit goes without.
        let _ = stream.request.set(&header, name.as_bytes());
    }
}

/// Another connection to the same server, for a stream whose first one proved
/// stale. None: it could not be made.
pub async fn reconnect(stream: &mut Stream) -> Option<ServerConnection> {
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
