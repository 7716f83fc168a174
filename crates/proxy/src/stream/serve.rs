//! What HTTP and TCP streams share on their way to a server: the choice of the
//! backend, its queue, the connection with its retries.

use super::shutdown::{self, unless_shut};
use super::{Phase, Reply, Stream, Termination, exchange, observe};
use crate::persistence;
use crate::server_connection::{
    self, ConnectFailure, Own, ServerConnection, Wanted, connect, forced_version,
};
use http::http1::{Redirect, RedirectCode};
use http::message::Message;
use model::config::{
    Proxy, ProxyIndex, ProxyOption, Rare, RetryOn, ReuseMode, Server, ServerIndex, Step,
    SwitchTarget,
};
use model::queue::{self, Assignment, Slot, Wish};
use model::state::Tally;
use model::thread::here;
use model::tracking::{self, stick};
use model::transaction::{ServerEnd, Wait, listing};
use model::{log, rules};
use mux::link::Link;
use reactor::{self, after, with_deadline};
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tls::Info;

/// Connection attempts after the first, unless `retries` says otherwise.
const RETRIES_DEFAULT: u32 = 3;
/// Pause before the same server is tried again.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// A request came, whatever becomes of it.
pub fn count_request(stream: &Stream) {
    listing::begin(stream);
    tracking::request(stream);
    let state = &stream.session.frontend().state;
    state.request_rate.count(here().now_ms());
    state.frontend.here().count(Tally::Requests);
}

/// Which backend `use_backend` and `default_backend` lead to; a `listen` leads
/// to itself.
pub fn choose_backend(stream: &mut Stream) {
    let by_line = stream.rules.lines.as_ref().and_then(|lines| lines.switched);
    let before = stream.rules.overrides.as_ref().and_then(|set| set.backend);
    let by_rule = before.or(by_line).or_else(|| backend_by_rule(stream));
    let chosen = by_rule.or_else(|| {
        let frontend = stream.frontend();
        let default = frontend
            .default_backend
            .as_ref()
            .and_then(|reference| reference.index);
        default.or_else(|| frontend.kind.is_backend().then_some(stream.route.frontend))
    });
    stream.route.backend = chosen.filter(|index| !stream.config.proxy(*index).disabled);
    if let Some(backend) = stream.backend() {
        stream.route.rare = stream.frontend().rare.and(backend.rare);
    }
}

fn backend_by_rule(stream: &Stream) -> Option<ProxyIndex> {
    for rule in &stream.frontend().use_backend {
        if rule
            .condition
            .as_ref()
            .is_some_and(|condition| !condition.test(stream))
        {
            continue;
        }
        match &rule.target {
            SwitchTarget::Static(reference) => return reference.index,
            SwitchTarget::Dynamic(format) => {
                let mut name = Vec::new();
                format.append(stream, &mut name);
                let found = std::str::from_utf8(&name)
                    .ok()
                    .and_then(|n| stream.config.backend(n));
                if found.is_some() {
                    return found;
                }
            }
        }
    }
    None
}

/// The stream enters its backend: counts it there. [`leave_backend`] undoes it.
pub fn enter_backend(stream: &Stream) {
    listing::note(stream);
    if let Some(backend) = stream.backend() {
        backend.state.backend_sessions.up();
        backend.state.backend.here().count(Tally::Sessions);
        backend.state.backend_session_rate.count(here().now_ms());
    }
}

/// The stream is over.
pub fn leave_backend(stream: &Stream) {
    if let Some(backend) = stream.backend() {
        backend.state.backend_sessions.down();
    }
}

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

/// A client whose going is to be noticed while a server is waited for.
#[derive(Clone, Copy)]
pub struct Watch<'c> {
    link: &'c Link,
    /// Also one that only sends nothing more (`option abortonclose`).
    half: bool,
}

impl<'c> Watch<'c> {
    /// A client's stream of HTTP/2, whatever the options: it can be given up
    /// at any time, and says so.
    pub fn of_stream(link: &'c Link) -> Option<Watch<'c>> {
        let half = false;
        link.is_http2().then_some(Watch { link, half })
    }

    /// A client during a rule that waits, where its going is to be noticed.
    pub fn during_rules(stream: &Stream, link: &'c Link) -> Option<Watch<'c>> {
        let proxy = stream.backend().unwrap_or(stream.frontend());
        let half = proxy.has(ProxyOption::AbortOnClose);
        (half || link.is_http2()).then_some(Watch { link, half })
    }

    /// Ready when it has gone.
    pub fn poll(&self, context: &mut Context<'_>) -> Poll<()> {
        match (self.half, self.link) {
            (false, Link::Http2(link)) => link.poll_lost(context),
            _ => self.link.poll_gone(context),
        }
    }

    /// Whether it is a stream that its client gave up.
    pub fn is_http2(&self) -> bool {
        self.link.is_http2()
    }
}

/// The client, where `option abortonclose` wants to know that it closed. A stream
/// of HTTP/2 that its client gave up is looked for by nobody.
pub fn watched<'c>(stream: &Stream, link: &'c Link) -> Option<Watch<'c>> {
    let half = stream
        .backend()
        .is_some_and(|backend| backend.has(ProxyOption::AbortOnClose));
    (half || link.is_http2()).then_some(Watch { link, half })
}

/// [`establish`] for a client; None when it goes before that is done. A stream of
/// HTTP/2 that was reset before its turn came costs no server anything.
pub async fn establish_for(
    stream: &mut Stream,
    link: &Link,
    how: Establish<'_>,
) -> Option<Result<(ServerConnection, Slot), Unserved>> {
    if link.is_http2() && link.is_gone() {
        return None;
    }
    let watched = watched(stream, link);
    unless_gone(watched, pin!(establish(stream, how))).await
}

/// Runs a future; None when the watched client closes before it is done.
///
/// The future is pinned by the caller: one that is given by value would be held,
/// and copied, twice.
pub fn unless_gone<F: Future>(
    watched: Option<Watch<'_>>,
    mut future: Pin<&mut F>,
) -> impl Future<Output = Option<F::Output>> {
    poll_fn(
        move |context| match (future.as_mut().poll(context), watched) {
            (Poll::Ready(output), _) => Poll::Ready(Some(output)),
            (Poll::Pending, Some(client)) => client.poll(context).map(|()| None),
            (Poll::Pending, None) => Poll::Pending,
        },
    )
}

/// Waits for what a rule waits for, and does what came of it to the stream. False:
/// the client went meanwhile.
pub async fn await_rule(stream: &mut Stream, link: &Link, wait: Wait) -> bool {
    let watched = Watch::during_rules(stream, link);
    match unless_gone(watched, pin!(wait)).await {
        Some(applied) => {
            applied(stream);
            true
        }
        None => {
            stream.outcome.end(Termination::ClientAbort, Phase::Request);
            false
        }
    }
}

/// The client went while a server was looked for. It is told nothing.
pub fn abandoned(stream: &mut Stream) {
    stream.outcome.termination = Termination::ClientAbort;
    let queued = stream.times.queued.is_none();
    stream.outcome.phase = if queued { Phase::Queue } else { Phase::Connect };
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
            count_at_server(stream, Tally::Retries);
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
    persistence::sent_elsewhere(stream);
    count_at(stream, avoid, Tally::Redispatches);
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
            return Err(Unserved::Redirected(Box::new(page)));
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
                    stream.watch_server(ServerEnd {
                        address: connection.local_address(),
                        socket: connection.socket(),
                        stream: connection.link.watch(),
                        carried: connection.streams,
                    });
                }
                return Ok((connection, slot));
            }
            Some(Err(failure)) => failure,
            None => return Err(gone(stream)),
        };
        observe::connected(stream, false);
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
        count_at_server(stream, Tally::Retries);
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
    server.state.counters.here().count(Tally::Sessions);
    server.state.session_rate.count(here().now_ms());
    let may_repeat = may_repeat(stream);
    loop {
        let found = match how.take(server, stream) {
            None => how.take_from_neighbours(server, stream).await,
            own => own,
        };
        let Some(connection) = found else { break };
        // Nobody repeats such a request: a close that has just come is looked for.
        if !may_repeat && connection.link.has_ended() {
            continue;
        }
        server.state.counters.here().count(Tally::Reuses);
        backend.state.backend.here().count(Tally::Reuses);
        return Some(Ok(connection));
    }
    if how.shared
        && forced_version(server, stream).is_none()
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

fn gone(stream: &mut Stream) -> Unserved {
    if stream.outcome.termination == Termination::Normal {
        stream.outcome.termination = Termination::Internal;
    }
    stream.outcome.phase = Phase::Connect;
    Unserved::Unavailable
}

/// Counts at the stream's server and backend.
pub fn count_at_server(stream: &Stream, tally: Tally) {
    count_at(stream, stream.route.server, tally);
}

/// Counts at a server, where there is one, and at the backend.
fn count_at(stream: &Stream, server: Option<ServerIndex>, tally: Tally) {
    let Some(backend) = stream.backend() else {
        return;
    };
    backend.state.backend.here().count(tally);
    if let Some(server) = server.and_then(|index| backend.servers.get(index.0 as usize)) {
        server.state.counters.here().count(tally);
    }
}

fn failed(stream: &mut Stream, failure: &ConnectFailure) -> Unserved {
    count_at_server(stream, Tally::ConnectErrors);
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
    let belongs = persistence::is_direct(stream) || backend.balance.is_by_key();
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

/// Finds out which server a stream belongs to: by a rule, a cookie, then by a
/// stick table.
#[inline]
pub fn find_own_server(stream: &mut Stream) {
    if stream.route.rare.has(Rare::OWN_SERVER) {
        look_for_own_server(stream);
    }
}

fn look_for_own_server(stream: &mut Stream) {
    persistence::belongs(stream);
    let assigned = persistence::is_direct(stream) || persistence::is_ignored(stream);
    stick::request(stream, assigned);
    if let Some(at) = stick::server(stream) {
        persistence::give(stream, at);
    }
}

/// A slot of a server; waits in the queues within `timeout queue`.
async fn take_slot(stream: &mut Stream, avoid: Option<ServerIndex>) -> Result<Slot, Unserved> {
    let preferred = stream.route.preferred.take().filter(|_| avoid.is_none());
    let preferred = preferred.filter(|at| has_room(stream, *at));
    let own = persistence::server(stream).filter(|_| avoid.is_none());
    let mut slot = match queue::assign_wish(
        stream,
        Wish {
            server: own.map(|(at, _)| at).or(preferred),
            avoid,
            forced: own.is_some_and(|(_, forced)| forced),
        },
    ) {
        Assignment::Granted(slot) => slot,
        Assignment::Refused(_) => {
            stream.outcome.end(Termination::ServerAbort, Phase::Connect);
            count_at(stream, None, Tally::ConnectErrors);
            return Err(Unserved::Unavailable);
        }
        Assignment::Wait(ticket) => {
            let deadline = after(stream.queue_ms());
            let granted = with_deadline(deadline, ticket);
            let Some(granted) =
                listing::unless_killed(stream.identity.listed.place(), granted).await
            else {
                stream.outcome.end(Termination::Killed, Phase::Queue);
                return Err(Unserved::Unavailable);
            };
            match granted {
                Ok(granted) => {
                    stream.route.server = Some(granted.server);
                    granted.slot
                }
                Err(_) => {
                    stream.outcome.end(Termination::ServerTimeout, Phase::Queue);
                    count_at(stream, None, Tally::ConnectErrors);
                    return Err(Unserved::Unavailable);
                }
            }
        }
    };
    if own.is_some_and(|(at, _)| stream.route.server != Some(at)) {
        persistence::sent_elsewhere(stream);
    }
    listing::note(stream);
    slot.listed = stream.identity.listed.place();
    stream.times.queued = Some(reactor::now());
    count_at_server(stream, Tally::Chosen);
    let now_ms = here().now_ms();
    if let Some(server) = stream.server() {
        server.state.last_session.note(now_ms);
    }
    if let Some(backend) = stream.backend() {
        backend.state.last_session.note(now_ms);
    }
    Ok(slot)
}

/// Whether a server would be had without waiting, or no longer than
/// `max-keep-alive-queue` allows.
fn has_room(stream: &Stream, at: ServerIndex) -> bool {
    let backend = stream.backend();
    let server = backend.and_then(|backend| backend.servers.get(at.0 as usize));
    server.is_some_and(|Server { state, .. }| {
        let limit = state.limit();
        let waits = |max: u32| max > 0 && state.queue.waiting.current() <= max;
        state.usable()
            && (limit == 0
                || state.sessions.current() < limit
                || backend.is_some_and(|b| b.keep_alive_queue_max.is_some_and(waits)))
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
    count_at_server(stream, Tally::Retries);
    let (backend, server) = (stream.backend()?, stream.server()?);
    let shared = backend.reuse != ReuseMode::Never;
    connect(stream, backend, server, shared).await.ok()
}

/// Closes without telling the client. With a stream of HTTP/2 goes its whole
/// connection.
pub fn drop_silently(client: &Link) {
    match client {
        Link::Http1(transport) => transport.vanish(),
        Link::Http2(stream) => stream.kill_connection(true),
    }
}
