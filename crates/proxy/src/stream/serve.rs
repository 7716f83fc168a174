//! What HTTP and TCP streams share on their way to a server: the choice of the
//! backend, its queue, the connection with its retries.

use super::session::after;
use super::{Phase, Stream, Termination};
use crate::config::{ProxyIndex, ServerIndex, SwitchTarget};
use crate::queue::{self, Assignment, Slot};
use crate::reactor::{self, Socket, with_deadline};
use crate::server_connection::{ConnectFailure, ServerConnection, connect};
use crate::state::Tally;
use crate::worker::worker;
use std::time::Duration;

/// Connection attempts after the first, unless `retries` says otherwise.
const RETRIES_DEFAULT: u32 = 3;
/// Pause before the same server is tried again.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// A stream begins: counts it at the frontend.
pub fn count_stream(stream: &Stream) {
    stream.frontend().state.frontend.here().count(Tally::Sessions);
}

/// Which backend `use_backend` and `default_backend` lead to; a `listen` leads
/// to itself.
pub fn choose_backend(stream: &mut Stream) {
    let chosen = backend_by_rule(stream).or_else(|| {
        let frontend = stream.frontend();
        let default = frontend.default_backend.as_ref().and_then(|reference| reference.index);
        default.or_else(|| frontend.kind.is_backend().then_some(stream.frontend))
    });
    stream.backend = chosen.filter(|index| !stream.config.proxy(*index).disabled);
}

fn backend_by_rule(stream: &Stream) -> Option<ProxyIndex> {
    for rule in &stream.frontend().use_backend {
        if rule.condition.as_ref().is_some_and(|condition| !condition.test(stream)) {
            continue;
        }
        match &rule.target {
            SwitchTarget::Static(reference) => return reference.index,
            SwitchTarget::Dynamic(format) => {
                let mut name = Vec::new();
                format.append(stream, &mut name);
                let found = std::str::from_utf8(&name).ok().and_then(|n| stream.config.backend(n));
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
    if let Some(backend) = stream.backend() {
        backend.state.backend_sessions.up();
        backend.state.backend.here().count(Tally::Sessions);
        backend.state.backend_session_rate.count(worker().now_ms());
    }
}

/// The stream is over.
pub fn leave_backend(stream: &Stream) {
    if let Some(backend) = stream.backend() {
        backend.state.backend_sessions.down();
    }
}

/// Whether an idle connection may be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Establish {
    /// A new one only.
    Fresh,
    /// An idle one that another stream used before, if there is one.
    Reuse,
}

/// Why a stream got no server; the stream's termination says more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unserved {
    /// 503.
    Unavailable,
    /// The client went away.
    ClientGone,
}

/// Gets a server for a stream: a slot of a server (waiting in the queues), then
/// a connection, with `retries` and `option redispatch`.
pub async fn establish(
    stream: &mut Stream,
    how: Establish,
    client: &Socket,
) -> Result<(ServerConnection, Slot), Unserved> {
    let retries = stream.backend().and_then(|b| b.retries).unwrap_or(RETRIES_DEFAULT);
    let mut avoid: Option<ServerIndex> = None;
    let mut slot = take_slot(stream, avoid, client).await?;
    loop {
        let failure = match attempt(stream, how).await {
            Some(Ok(connection)) => {
                stream.times.connected = Some(reactor::now());
                if stream.config.global.server_side_shown {
                    stream.server_side = rustix::net::getsockname(connection.socket.fd())
                        .ok()
                        .and_then(|address| std::net::SocketAddr::try_from(address).ok());
                }
                return Ok((connection, slot));
            }
            Some(Err(failure)) => failure,
            None => return Err(gone(stream)),
        };
        stream.retries += 1;
        if stream.retries > retries {
            stream.retries = retries;
            return Err(failed(stream, &failure));
        }
        count_at_server(stream, Tally::Retries);
        if redispatches(stream, retries) {
            avoid = stream.server;
            drop(slot);
            slot = take_slot(stream, avoid, client).await?;
            if avoid != stream.server {
                stream.redispatched = true;
                count_at_server(stream, Tally::Redispatches);
                continue;
            }
        }
        // The same server again: a pause, or the retries are over before it is back.
        let limit = stream.backend().and_then(|b| b.timeouts.connect_ms);
        let pause = limit.map_or(RETRY_PAUSE, |ms| RETRY_PAUSE.min(Duration::from_millis(ms.into())));
        reactor::sleep(pause).await;
    }
}

/// One try; None when the server vanished from the configuration, which cannot be.
async fn attempt(
    stream: &mut Stream,
    how: Establish,
) -> Option<Result<ServerConnection, ConnectFailure>> {
    let (backend, server) = (stream.backend()?, stream.server()?);
    if how == Establish::Reuse
        && stream.retries == 0
        && let Some(connection) = worker().pools.take(&server.state)
    {
        server.state.counters.here().count(Tally::Reuses);
        backend.state.backend.here().count(Tally::Reuses);
        return Some(Ok(connection));
    }
    Some(connect(stream, backend, server).await)
}

fn gone(stream: &mut Stream) -> Unserved {
    stream.termination = Termination::Internal;
    stream.phase = Phase::Connect;
    Unserved::Unavailable
}

/// Counts at the server and its backend.
fn count_at_server(stream: &Stream, tally: Tally) {
    if let (Some(backend), Some(server)) = (stream.backend(), stream.server()) {
        backend.state.backend.here().count(tally);
        server.state.counters.here().count(tally);
    }
}

fn failed(stream: &mut Stream, failure: &ConnectFailure) -> Unserved {
    count_at_server(stream, Tally::ConnectErrors);
    stream.phase = Phase::Connect;
    stream.termination = match failure {
        ConnectFailure::Timeout => Termination::ServerTimeout,
        ConnectFailure::Refused(error) if out_of_resources(error) => Termination::Resource,
        ConnectFailure::Refused(_) | ConnectFailure::Unresolved => Termination::ServerAbort,
    };
    Unserved::Unavailable
}

fn out_of_resources(error: &std::io::Error) -> bool {
    use rustix::io::Errno;
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(
        errno,
        Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM | Errno::AGAIN | Errno::ADDRNOTAVAIL)
    )
}

/// Whether this retry goes to another server (`option redispatch [N]`): every
/// N-th, or with a negative N counted from the last.
fn redispatches(stream: &Stream, retries: u32) -> bool {
    let Some(interval) = stream.backend().and_then(|b| b.redispatch) else { return false };
    let (done, retries) = (i64::from(stream.retries), i64::from(retries));
    match i64::from(interval) {
        0 => false,
        n if n > 0 => done % n == 0,
        n => (retries - done) % -n == 0,
    }
}

/// A slot of a server; waits in the queues within `timeout queue`.
async fn take_slot(
    stream: &mut Stream,
    avoid: Option<ServerIndex>,
    client: &Socket,
) -> Result<Slot, Unserved> {
    let slot = match queue::assign(stream, avoid) {
        Assignment::Granted(slot) => slot,
        Assignment::Refused(_) => {
            stream.termination = Termination::ServerAbort;
            stream.phase = Phase::Connect;
            return Err(Unserved::Unavailable);
        }
        Assignment::Wait(ticket) => {
            let timeouts = stream.backend().map(|b| b.timeouts).unwrap_or_default();
            let deadline = after(timeouts.queue_ms.or(timeouts.connect_ms));
            match with_deadline(deadline, ticket).await {
                Ok(granted) => {
                    stream.server = Some(granted.server);
                    granted.slot
                }
                Err(_) => {
                    stream.termination = Termination::ServerTimeout;
                    stream.phase = Phase::Queue;
                    return Err(Unserved::Unavailable);
                }
            }
        }
    };
    if client.is_peer_closed() && client.take_error().is_ok_and(|e| e.is_some()) {
        stream.termination = Termination::ClientAbort;
        stream.phase = Phase::Queue;
        return Err(Unserved::ClientGone);
    }
    stream.times.queued = Some(reactor::now());
    if let Some(server) = stream.server() {
        let shard = server.state.counters.here();
        shard.count(Tally::Sessions);
        shard.count(Tally::Chosen);
        server.state.session_rate.count(worker().now_ms());
    }
    if let Some(backend) = stream.backend() {
        backend.state.backend.here().count(Tally::Chosen);
    }
    Ok(slot)
}

/// Another connection to the same server, for a stream whose first one proved
/// stale. None: it could not be made.
pub async fn reconnect(stream: &mut Stream) -> Option<ServerConnection> {
    stream.retries += 1;
    count_at_server(stream, Tally::Retries);
    let (backend, server) = (stream.backend()?, stream.server()?);
    connect(stream, backend, server).await.ok()
}

/// Puts a connection into the state in which its close sends nothing; false
/// where the process may not.
fn repair(client: &Socket) -> bool {
    use nix::libc;
    use std::os::fd::AsRawFd;
    let on: libc::c_int = 1;
    // SAFETY: TCP_REPAIR takes one int, which is live for the call.
    let result = unsafe {
        libc::setsockopt(
            client.fd().as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_REPAIR,
            (&raw const on).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    result == 0
}

/// Closes without telling the client: nothing is sent, not even a reset, so
/// that it holds its side until it gives up. TCP_REPAIR does that where the
/// process may use it; else the TTL of the reset is cut to one hop.
pub fn drop_silently(client: &Socket) {
    use rustix::net::sockopt;
    if repair(client) {
        return;
    }
    let _ = sockopt::set_ip_ttl(client.fd(), 1);
    let _ = client.set_linger_zero();
}
