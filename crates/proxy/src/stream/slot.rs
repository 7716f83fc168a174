//! Acquires a slot for a stream: the right to one session of a server (`maxconn`). Finds the
//! server to which the stream belongs, if any, and waits in the queues.

use super::server::Unserved;
use super::{ProxyStream, StreamPhase, Termination, backend};
use crate::persistence;
use model::balance;
use model::config::{Proxy, Rare, Server, ServerIndex};
use model::queue::{self, Assignment, ServerPreference, ServerSlot};
use model::state::Tally;
use model::thread::current_thread_data;
use model::tracking::stick;
use model::transaction::listing;
use model::transaction::trace::{Tie, TraceStep};
use reactor::{self, after, with_deadline};

/// Finds the server to which a stream belongs: by a rule, then a cookie, then a stick table.
#[inline]
pub fn find_own_server(stream: &mut ProxyStream) {
    if stream.route.rare.has(Rare::OWN_SERVER) {
        look_for_own_server(stream);
    }
}

fn look_for_own_server(stream: &mut ProxyStream) {
    persistence::find_persistent_server(stream);
    let assigned = stream.route.is_direct() || stream.route.is_ignored();
    stick::request(stream, assigned);
    if let Some(at) = stick::server(stream) {
        persistence::apply_persistence(stream, Tie::Table, |stream| {
            persistence::give(stream, at);
        });
    }
}

/// Takes a slot on a server; waits in the queues, limited by `timeout queue`.
pub async fn take_slot(
    stream: &mut ProxyStream,
    avoid: Option<ServerIndex>,
) -> Result<ServerSlot, Unserved> {
    let preferred = stream.route.preferred.take().filter(|_| avoid.is_none());
    let own = persistence::server(stream).filter(|_| avoid.is_none());
    let mut slot = match queue::assign_with_preference(
        stream,
        ServerPreference {
            server: own.map(|(at, _)| at).or(preferred),
            avoid,
            forced: own.is_some_and(|(_, forced)| forced),
        },
    ) {
        Assignment::Granted(slot) => slot,
        Assignment::Refused(_) => {
            stream
                .outcome
                .end(Termination::ServerAbort, StreamPhase::Connect);
            backend::count_at(stream, None, Tally::ConnectErrors);
            return Err(Unserved::Unavailable);
        }
        // Refuses instead of waiting in a trace, because no slot is ever released.
        Assignment::Wait(_) if stream.session.is_traced() => {
            note_wait(stream, own.is_some());
            stream
                .outcome
                .end(Termination::ServerTimeout, StreamPhase::Queue);
            return Err(Unserved::Unavailable);
        }
        Assignment::Wait(ticket) => {
            let waits_at = { stream.backend() }.and_then(|backend| ticket.server(backend));
            let deadline = after(stream.queue_ms());
            let granted = with_deadline(deadline, ticket);
            let Some(granted) =
                listing::run_until_killed(stream.identity.listed.place(), granted).await
            else {
                stream.times.queued = Some(reactor::now());
                stream.outcome.end(Termination::Killed, StreamPhase::Queue);
                return Err(Unserved::Unavailable);
            };
            match granted {
                Ok(granted) => {
                    stream.route.server = Some(granted.server);
                    granted.slot
                }
                Err(_) => {
                    stream.times.queued = Some(reactor::now());
                    stream.route.server = waits_at;
                    stream
                        .outcome
                        .end(Termination::ServerTimeout, StreamPhase::Queue);
                    backend::count_at(stream, waits_at, Tally::ConnectErrors);
                    return Err(Unserved::Unavailable);
                }
            }
        }
    };
    if own.is_some_and(|(at, _)| stream.route.server != Some(at)) {
        stream.route.sent_elsewhere();
    }
    stream.identity.listed.note(&stream.route);
    slot.listed = stream.identity.listed.place();
    stream.times.queued = Some(reactor::now());
    backend::count_at_server(stream, Tally::Chosen);
    let now_ms = current_thread_data().now_ms();
    if let Some(server) = stream.server() {
        server.state.traffic.last_session.note(now_ms);
        stream.session.note(|| TraceStep::Server {
            name: server.name.clone(),
            lacks_key: stream.backend().is_some_and(|backend| {
                backend.balance.is_by_key() && balance::key_of(stream, backend).is_none()
            }),
        });
    }
    if let Some(backend) = stream.backend() {
        backend.state.backend.last_session.note(now_ms);
    }
    Ok(slot)
}

/// Records that a stream is queued: for one server if the stream belongs to it or a hash chose it,
/// otherwise for any.
fn note_wait(stream: &ProxyStream, is_own: bool) {
    let by_key =
        |backend: &Proxy| backend.balance.is_by_key() && balance::key_of(stream, backend).is_some();
    let for_one = is_own || stream.backend().is_some_and(by_key);
    stream.session.note(|| TraceStep::Waits { for_one });
}

/// Returns whether a server accepts new sessions, at once or through its queue.
pub fn is_usable(backend: &Proxy, at: ServerIndex) -> bool {
    let server = backend.servers.get(at.0 as usize);
    server.is_some_and(|server| server.state.usable())
}

/// Returns whether a server is usable and has a free slot, or a queue that is no longer than
/// `max-keep-alive-queue`; without that setting, the length does not matter.
pub fn has_room(backend: &Proxy, at: ServerIndex) -> bool {
    let server = backend.servers.get(at.0 as usize);
    server.is_some_and(|Server { state, .. }| {
        let limit = state.limit();
        let waits = |max: u32| max > 0 && state.queue.waiting.current() <= max;
        state.usable()
            && (limit == 0
                || state.traffic.sessions.current() < limit
                || backend.keep_alive_queue_max.is_none_or(waits))
    })
}
