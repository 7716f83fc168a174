//! Assigns streams to servers within `maxconn`. A slot is the right to one session of a server;
//! `maxconn` of the server is the number of its slots. A stream without a slot waits in a queue,
//! for one server (selected by persistence or a hash) or for any of the backend. Both queues are
//! first come, first served, unless rules set priorities.
//!
//! A released slot goes directly to the first waiting stream, so no later stream overtakes it.
//! Nothing here waits while it holds a lock; the caller has the timeouts.
//!
//! A server that a reload removed takes no new streams. The exception is a stream of an older
//! configuration in which no other server is usable, because a reload must not make its request
//! fail.
//!
//! No wake-up is lost: a new stream adds itself to the list, then checks for a slot once more; a
//! releasing stream decrements the count, then checks for waiters. All four operations are
//! sequentially consistent, so one of the two streams sees the change of the other.

#[cfg(test)]
mod across;
#[cfg(any(test, feature = "testing"))]
#[doc(hidden)]
pub mod testing;
#[cfg(test)]
mod tests;
mod waiter;

pub use crate::state::queue::{Granted, Queue, ServerSlot};
pub use waiter::Ticket;

use crate::balance::{self, Choice, Take};
use crate::config::{Config, Proxy, ProxyIndex, Server, ServerIndex};
use crate::state::queue::{QueuePosition, Waiter};
use crate::state::{ServerState, Shutdown, now_ms};
use crate::transaction::{Priority, ProxyStream, listing};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering, fence};

/// Maximum number of streams in a queue regardless of `maxqueue`, so that memory stays bounded.
pub const WAITING_MAX: usize = 1 << 20;

static NEXT_TURN: AtomicU64 = AtomicU64::new(0);

impl Queue {
    /// Adds a waiter unless `max` are waiting. Returns its turn and the number of waiters ahead.
    fn enter(
        &self,
        waiter: &Arc<Waiter>,
        priority: Priority,
        max: usize,
    ) -> Option<(QueuePosition, u32)> {
        let mut list = self.list();
        let ahead = list.len();
        if ahead >= max {
            return None;
        }
        // Read under the lock, so that a later waiter gets a later time.
        let at_ms = i64::try_from(now_ms()).unwrap_or(i64::MAX);
        let turn = QueuePosition {
            class: priority.class,
            at_ms: at_ms.saturating_add(priority.offset_ms.into()),
            number: NEXT_TURN.fetch_add(1, Ordering::Relaxed),
        };
        list.insert(turn, Arc::clone(waiter));
        self.waiting.increment();
        Some((turn, ahead as u32))
    }
}

impl ServerSlot {
    pub fn server(&self) -> &Arc<ServerState> {
        &self.server
    }

    /// Returns why the session of this slot must end: it was killed, or all sessions of the server
    /// were shut down since the slot was granted. None if neither happened.
    pub fn shutdown(&self) -> Option<Shutdown> {
        if listing::is_killed(self.listed) {
            return Some(Shutdown::Killed);
        }
        self.server.shutdown_since(self.mark)
    }

    /// Creates the slot for a session that the server has already counted.
    fn counted(server: &Arc<ServerState>) -> Self {
        ServerSlot {
            server: Arc::clone(server),
            mark: server.shutdown_mark(),
            listed: listing::NOWHERE,
        }
    }
}

impl Drop for ServerSlot {
    fn drop(&mut self) {
        let server = &self.server;
        if someone_waits(server) && within_limit(server) {
            serve(server, true);
            return;
        }
        release_slot(server);
        if someone_waits(server) {
            serve(server, false);
        }
    }
}

#[derive(Debug)]
pub enum Assignment {
    /// The stream got a server: `stream.server` is set.
    Granted(ServerSlot),
    Wait(Ticket),
    Refused(QueueRefusal),
}

/// Reason for which a stream gets no server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum QueueRefusal {
    NoServer,
    /// [`WAITING_MAX`] streams are already waiting.
    QueueFull,
    NoBackend,
}

/// Requirements of a stream for the choice of its server.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ServerPreference {
    /// Persistent server of the stream (by a cookie, a table, a rule). The stream
    /// waits for it if it is full, and uses another server if it is down or its queue is
    /// full.
    pub server: Option<ServerIndex>,
    /// Server on which the previous attempt of the stream failed; chosen only if there is no other.
    pub avoid: Option<ServerIndex>,
    /// The persistent server is also used if it is down, and then without a queue, because no slots
    /// of a down server become free.
    pub forced: bool,
}

/// Assigns a server by the backend's balance algorithm, adds the stream to a queue, or refuses it.
pub fn assign(stream: &mut ProxyStream, avoid: Option<ServerIndex>) -> Assignment {
    assign_with_preference(
        stream,
        ServerPreference {
            avoid,
            ..ServerPreference::default()
        },
    )
}

/// Variant of [`assign`] for a stream that persistence may have assigned to a server.
pub fn assign_with_preference(stream: &mut ProxyStream, wish: ServerPreference) -> Assignment {
    let Some(backend) = stream.route.backend else {
        return Assignment::Refused(QueueRefusal::NoBackend);
    };
    let asker = Asker {
        config: &stream.config,
        backend,
        key: key_of(stream, backend),
        preference: wish,
        priority: stream.rules.priority(),
    };
    let place = asker.assign();
    stream.route.server_queue = place.server_queue.unwrap_or(stream.route.server_queue);
    stream.route.backend_queue = place.backend_queue.unwrap_or(stream.route.backend_queue);
    match place.outcome {
        Admission::Granted(granted) => {
            stream.route.server = Some(granted.server);
            Assignment::Granted(granted.slot)
        }
        Admission::Wait(ticket) => Assignment::Wait(ticket),
        Admission::Refused(refusal) => Assignment::Refused(refusal),
    }
}

/// Returns the hash key of a stream, if the balance algorithm uses one.
fn key_of(stream: &ProxyStream, backend: ProxyIndex) -> Option<u32> {
    let proxy = stream.config.proxy(backend);
    if proxy.balance.is_by_key() {
        balance::key_of(stream, proxy)
    } else {
        None
    }
}

/// Properties of a stream that the queue needs.
struct Asker<'c> {
    config: &'c Arc<Config>,
    backend: ProxyIndex,
    key: Option<u32>,
    preference: ServerPreference,
    priority: Priority,
}

enum Admission {
    Granted(Granted),
    Wait(Ticket),
    Refused(QueueRefusal),
}

/// Result for an asker, with its position in a queue, from 1, if it waits.
struct Placement {
    outcome: Admission,
    server_queue: Option<u32>,
    backend_queue: Option<u32>,
}

impl From<Admission> for Placement {
    fn from(outcome: Admission) -> Self {
        Placement {
            outcome,
            server_queue: None,
            backend_queue: None,
        }
    }
}

fn granted(server: ServerIndex, state: &Arc<ServerState>) -> Placement {
    Admission::Granted(Granted {
        server,
        slot: ServerSlot::counted(state),
    })
    .into()
}

impl Asker<'_> {
    fn proxy(&self) -> &Proxy {
        self.config.proxy(self.backend)
    }

    fn assign(&self) -> Placement {
        let proxy = self.proxy();
        if let Some(index) = self.preference.server
            && let Some(server) = proxy.servers.get(index.0 as usize)
            && (self.preference.forced || server.state.usable_for_persistence())
        {
            if !server.state.usable_for_persistence() {
                server.state.traffic.sessions.increment();
                return granted(index, &server.state);
            }
            if take_in_turn(&server.state) == Take::Taken {
                return granted(index, &server.state);
            }
            if let Some(place) = self.wait(Some(index)) {
                return place;
            }
        }
        // If others wait for any server, the stream queues behind them.
        let look = proxy.state.backend.queue.waiting.current() == 0;
        match choose(proxy, &self.request(look), &mut take_in_turn) {
            Choice::Taken(index) => granted(index, &proxy.servers[index.0 as usize].state),
            Choice::Full(at) => self
                .wait(at)
                .or_else(|| self.wait(None))
                .unwrap_or_else(|| Admission::Refused(QueueRefusal::QueueFull).into()),
            Choice::None => Admission::Refused(QueueRefusal::NoServer).into(),
        }
    }

    fn request(&self, look: bool) -> balance::Request {
        balance::Request {
            key: self.key,
            avoid: self.preference.avoid,
            look,
        }
    }

    /// Enters the queue of a server or of the backend. Returns None if the queue is full.
    fn wait(&self, at: Option<ServerIndex>) -> Option<Placement> {
        let proxy = self.proxy();
        let server = match at {
            Some(index) => Some(&proxy.servers.get(index.0 as usize)?.state),
            None => None,
        };
        let queue = server.map_or(&proxy.state.backend.queue, |server| &server.queue);
        let max = match server.map_or(0, |server| server.maxqueue()) {
            0 => WAITING_MAX,
            max => WAITING_MAX.min(max as usize),
        };
        let waiter = Waiter::new(Arc::clone(self.config), self.backend, self.preference.avoid);
        let waiter = Arc::new(waiter);
        let (turn, ahead) = queue.enter(&waiter, self.priority, max)?;
        match server {
            Some(server) if server.usable_for_persistence() => _ = serve(server, false),
            Some(server) => _ = redistribute(server),
            None => self.place_one(),
        }
        let server = server.map(Arc::clone);
        // Counted from 1, as in HAProxy's logs; 0 is a stream that did not wait.
        let position = Some(ahead.saturating_add(1));
        let (server_queue, backend_queue) = if server.is_some() {
            (position, None)
        } else {
            (None, position)
        };
        let mut ticket = Ticket::new(waiter, turn, server, Arc::clone(&proxy.state));
        let outcome = match ticket.granted() {
            Some(granted) => Admission::Granted(granted),
            None => Admission::Wait(ticket),
        };
        Some(Placement {
            outcome,
            server_queue,
            backend_queue,
        })
    }

    /// Looks for a slot of any server and gives it to the first waiting stream.
    fn place_one(&self) {
        let proxy = self.proxy();
        if let Choice::Taken(index) = choose(proxy, &self.request(true), &mut take) {
            serve(&proxy.servers[index.0 as usize].state, true);
        }
    }
}

/// Chooses a server by the backend's balance algorithm. If no server of the configuration is
/// usable, chooses among those that a reload removed.
fn choose(proxy: &Proxy, request: &balance::Request, take: balance::Taker<'_>) -> Choice {
    let choice = balance::choose(proxy, request, take);
    if choice != Choice::None || proxy.state.backend.balance.retired() == 0 {
        return choice;
    }
    let removed = |server: &&Server| server.state.is_retired() && server.state.is_up();
    let mut some = false;
    for (at, server) in (0..).zip(&proxy.servers) {
        if removed(&server) {
            some = true;
            if request.look && take(&server.state) == Take::Taken {
                return Choice::Taken(ServerIndex(at));
            }
        }
    }
    if some {
        Choice::Full(None)
    } else {
        Choice::None
    }
}

/// Takes a slot unless another stream waits for it.
fn take_in_turn(server: &Arc<ServerState>) -> Take {
    let limit = server.limit();
    if limit > 0 {
        if server.traffic.sessions.current() >= limit {
            return Take::Full;
        }
        if someone_waits(server) {
            return Take::Busy;
        }
    }
    take(server)
}

fn take(server: &Arc<ServerState>) -> Take {
    if server.traffic.sessions.increment_below(server.limit()) {
        Take::Taken
    } else {
        Take::Full
    }
}

fn someone_waits(server: &ServerState) -> bool {
    server.queue.waiting.current() > 0 || server.backend.backend.queue.waiting.current() > 0
}

/// Returns whether the slots in use are within the limit, which may have been lowered.
fn within_limit(server: &ServerState) -> bool {
    let limit = server.limit();
    limit == 0 || server.traffic.sessions.current() <= limit
}

/// Gives slots of a server to waiting streams while there are both. `held`: the caller has a slot
/// to give. Returns the number of streams that got one.
fn serve(server: &Arc<ServerState>, mut held: bool) -> u32 {
    let mut served = 0;
    loop {
        match next_waiter(server, held) {
            Some((waiter, index)) => {
                held = !waiter.transfer_slot(index, server);
                served += u32::from(!held);
            }
            None if held => {
                held = false;
                release_slot(server);
                // Continues if a stream has queued meanwhile because it saw this slot in use.
                if !someone_waits(server) {
                    return served;
                }
            }
            None => return served,
        }
    }
}

fn release_slot(server: &Arc<ServerState>) {
    server.traffic.sessions.decrement();
    server.relieved();
}

/// Removes the next waiter from its queue, with a slot counted for it.
fn next_waiter(server: &Arc<ServerState>, held: bool) -> Option<(Arc<Waiter>, ServerIndex)> {
    if !server.usable_for_persistence() {
        return None;
    }
    let mut own = server.queue.list();
    let mut any = server.backend.backend.queue.list();
    let first_own = own
        .iter()
        .find_map(|(turn, waiter)| Some((*turn, waiter.index_of(server)?)));
    let first_any = if server.usable() || server.is_retired() {
        first_to_accept(&any, server)
    } else {
        None
    };
    let from_own = match (first_own, first_any) {
        (None, None) => return None,
        (Some((own, _)), Some((any, _))) => own < any,
        (own, _) => own.is_some(),
    };
    if !held && !server.traffic.sessions.increment_below(server.limit()) {
        return None;
    }
    let (list, queue, found) = if from_own {
        (&mut own, &server.queue, first_own)
    } else {
        (&mut any, &server.backend.backend.queue, first_any)
    };
    let (turn, index) = found?;
    let waiter = list.remove(&turn)?;
    queue.waiting.decrement();
    Some((waiter, index))
}

/// Returns the first waiter of a backend's queue that accepts the server.
fn first_to_accept(
    any: &BTreeMap<QueuePosition, Arc<Waiter>>,
    server: &Arc<ServerState>,
) -> Option<(QueuePosition, ServerIndex)> {
    let mut looked_at = 0;
    // Caches the result for the last configuration, because most waiters share it.
    let mut tree: Option<(&Proxy, Option<ServerIndex>)> = None;
    for (turn, waiter) in any.iter().take(PASSED_MAX) {
        let backend = waiter.backend();
        let place = match tree {
            Some((known, place)) if std::ptr::eq(known, backend) => place,
            _ => waiter
                .index_of(server)
                .filter(|_| !server.is_retired() || !has_usable(backend)),
        };
        tree = Some((backend, place));
        let Some(index) = place else { continue };
        if waiter.accepts(index) {
            return Some((*turn, index));
        }
        looked_at += 1;
        if looked_at == LOOK_MAX {
            return None;
        }
    }
    None
}

fn has_usable(backend: &Proxy) -> bool {
    backend.servers.iter().any(|server| server.state.usable())
}

/// Maximum number of waiters of a backend's queue that are offered a server. A waiter refuses only
/// a server that failed for it before.
const LOOK_MAX: usize = 1024;
/// Maximum number of skipped waiters: those of a configuration without this server.
const PASSED_MAX: usize = 16 * 1024;

/// Gives waiting streams to a server that has free slots now, because it came up or its limit or
/// weight rose. Returns the number of streams that got one.
pub fn flow(server: &Arc<ServerState>) -> u32 {
    fence(Ordering::SeqCst);
    if someone_waits(server) {
        serve(server, false)
    } else {
        0
    }
}

/// Moves the streams that wait for a server, which is down or removed, to the queue of its backend,
/// where other servers can serve them. Returns the number of streams.
pub fn redistribute(server: &Arc<ServerState>) -> u32 {
    fence(Ordering::SeqCst);
    if server.queue.waiting.current() == 0 {
        return 0;
    }
    let mut moved = Vec::new();
    {
        let mut own = server.queue.list();
        let mut any = server.backend.backend.queue.list();
        // Both lists are locked, so that a stream that leaves the queue is in one of them.
        for (turn, waiter) in std::mem::take(&mut *own) {
            server.queue.waiting.decrement();
            server.backend.backend.queue.waiting.increment();
            moved.push(Arc::clone(&waiter));
            any.insert(turn, waiter);
        }
    }
    fence(Ordering::SeqCst);
    for waiter in &moved {
        let request = balance::Request {
            key: None,
            avoid: None,
            look: true,
        };
        if let Choice::Taken(index) = choose(waiter.backend(), &request, &mut take) {
            serve(&waiter.backend().servers[index.0 as usize].state, true);
        }
    }
    moved.len() as u32
}
