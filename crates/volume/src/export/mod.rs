//! Serves a volume to NBD clients. The export converts requests to operations for the owner of the
//! disk, and sends replies when they complete. Several clients are served at a time, each with
//! limits. They affect each other only through the disk, where each has a bounded share.
//!
//! A client's requests may be executed in any order and concurrently, as NBD permits. A client
//! with two requests in flight for the same blocks cannot rely on their order. A flush covers all
//! writes of all clients whose replies were sent before.
//!
//! The export never accesses a disk itself, and knows nothing of other replicas.

mod client;
mod ranges;
mod request;
mod tenure;

pub use request::REQUESTS_MAX;
pub use tenure::{
    Grant, OtherNodeUse, OverwriteStatus, Presence, RECONNECTS, RESERVED_FOR, SHARED_USER, Tenure,
    VolumeUser, is_command, overwrite_event, user_words, waits_in_role,
};

use crate::disk::{Completion, DiskError, Operation, Pool, Token};
use crate::overwrite::OverwriteMark;
use client::{Client, CloseReason, ConnectionOrigin, Port};
use protocol::nbd;
use request::RequestPiece;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{SocketFlags, accept_with, sockopt};
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Maximum number of clients of one volume. Further connections are closed at once.
pub const CLIENTS_MAX: usize = 15;
pub const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
/// Minimum time for which a client that has not chosen an export keeps its slot when another client
/// needs the slot.
pub const HANDSHAKE_LEAST: Duration = Duration::from_millis(500);
const ACCEPTS_MAX: usize = 8;
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
/// Idle time before TCP keepalive probes, and their interval.
const KEEPALIVE: Duration = Duration::from_secs(60);
/// Timeout for a TCP client that acknowledges no data, milliseconds.
const VANISHED_MS: u32 = 30_000;
pub const KEYS: u64 = 1 << 32;
const CLIENT_KEYS: u64 = 2 << 32;

#[derive(Debug)]
pub enum ExportListener {
    Unix(UnixListener),
    Tcp(TcpListener),
}

impl AsFd for ExportListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            ExportListener::Unix(listener) => listener.as_fd(),
            ExportListener::Tcp(listener) => listener.as_fd(),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct ExportCounters {
    pub accepted: u64,
    pub faults: u64,
    pub late: u64,
    pub refused: u64,
    /// Clients closed because a read failed after its reply had begun.
    pub broken: u64,
}

/// Export with its listeners and clients. The caller passes events of epoll and completions of the
/// disk. [`Export::settle`] returns the operations for the disk, and is called once at the end of
/// each turn of the event loop. A client that does not read its replies blocks only itself.
pub struct Export {
    epoll: Rc<OwnedFd>,
    listeners: Vec<ExportListener>,
    exports: Vec<nbd::Export>,
    pool: Pool,
    clients: Vec<Option<Client>>,
    interests: Vec<EventFlags>,
    generation: u16,
    listens: bool,
    pause: Option<Instant>,
    stops: bool,
    operations: Vec<(Token, Operation)>,
    tried: LastAttempt,
    counters: ExportCounters,
    tenure: Arc<Tenure>,
    user: CachedVolumeUser,
    elsewhere: OtherNodeUse,
    overwrite: Option<OverwriteMark>,
}

/// Cached user of the volume, updated when clients, grant or reservation change.
#[derive(Default)]
struct CachedVolumeUser {
    holder: Option<VolumeUser>,
    grant: Option<Grant>,
    grants: u64,
    reserved_until: Option<Instant>,
}

/// State at the last attempt of waiting clients to continue. A new attempt is useless until
/// something has changed.
#[derive(Default)]
struct LastAttempt {
    returned: u64,
    has_sent: bool,
}

impl Export {
    /// Offers `export` on the listeners. `epoll` reports their events with keys from [`KEYS`] on.
    ///
    /// # Errors
    /// A listener cannot be made non-blocking, or cannot be added to epoll.
    pub fn new(
        epoll: Rc<OwnedFd>,
        export: nbd::Export,
        listeners: Vec<ExportListener>,
        pool: Pool,
    ) -> Result<Export, DiskError> {
        let mut one = Export {
            epoll,
            listeners,
            exports: vec![export],
            pool,
            clients: (0..CLIENTS_MAX).map(|_| None).collect(),
            interests: vec![EventFlags::empty(); CLIENTS_MAX],
            generation: 0,
            listens: false,
            pause: None,
            stops: false,
            operations: Vec::new(),
            tried: LastAttempt::default(),
            counters: ExportCounters::default(),
            tenure: Arc::default(),
            user: CachedVolumeUser::default(),
            elsewhere: OtherNodeUse::default(),
            overwrite: None,
        };
        for listener in &one.listeners {
            rustix::io::ioctl_fionbio(listener, true).map_err(DiskError::Engine)?;
        }
        one.listen(true).map_err(DiskError::Engine)?;
        Ok(one)
    }

    pub fn counters(&self) -> ExportCounters {
        self.counters
    }

    /// Sets a larger size, bytes, for clients that connect from now on.
    pub fn grow(&mut self, size: u64) {
        for export in &mut self.exports {
            export.size = export.size.max(size);
        }
    }

    pub fn attach_tenure(&mut self, tenure: Arc<Tenure>) {
        self.tenure = tenure;
        self.update_user();
    }

    /// Publishes the current user in the tenure. Returns whether it is another user than before.
    pub fn show_holder(&mut self) -> bool {
        self.apply_grant();
        self.tenure.set_holder(self.user.holder.clone())
    }

    pub fn holder(&self) -> Option<&VolumeUser> {
        self.user.holder.as_ref()
    }

    fn apply_grant(&mut self) {
        let reserved = self.user.reserved_until;
        if self.tenure.grants() != self.user.grants
            || reserved.is_some_and(|until| Instant::now() >= until)
        {
            self.update_user();
        }
    }

    fn update_user(&mut self) {
        let grants = self.tenure.grants();
        let grant = self.tenure.granted();
        let named = self
            .clients
            .iter()
            .flatten()
            .filter_map(|client| match client.tenant()? {
                tenure::ConnectionUser::Named(user) => Some(user),
                tenure::ConnectionUser::Local(_) | tenure::ConnectionUser::Remote(_) => None,
            });
        named.for_each(|user| self.tenure.redeem(user));
        let reserved = self.tenure.reserved(Instant::now());
        let tenants = self.clients.iter().flatten().filter_map(Client::tenant);
        let user = reserved.as_ref().map(|(user, _)| user.as_str());
        self.user = CachedVolumeUser {
            holder: tenure::holder(tenants, user, grant.as_ref()),
            grant,
            grants,
            reserved_until: reserved.map(|(_, until)| until),
        };
    }

    /// Sets the use of the volume on the other node. While another user has the volume there, and
    /// no role waits for that user, clients of this node cannot open the volume or write to it.
    pub fn set_elsewhere(&mut self, elsewhere: OtherNodeUse) {
        self.elsewhere = elsewhere;
    }

    /// Sets or removes the mark of an incomplete volume. Clients that may not open such a volume
    /// are disconnected.
    pub fn set_overwrite(&mut self, mark: Option<OverwriteMark>) {
        let was_complete = self.overwrite.is_none();
        if self.overwrite != mark {
            tracing::info!(?mark, "mark of an incomplete volume changed");
        }
        self.overwrite = mark;
        if mark.is_none() || !was_complete {
            return;
        }
        for place in 0..CLIENTS_MAX {
            let tenant = self.clients[place].as_ref().and_then(Client::tenant);
            let may_stay = match tenant {
                None => true,
                Some(tenure::ConnectionUser::Named(user)) => is_command(user),
                Some(tenure::ConnectionUser::Local(_) | tenure::ConnectionUser::Remote(_)) => false,
            };
            if !may_stay {
                self.close(place, CloseReason::Left);
            }
        }
    }

    /// Closes the connections of the current user, and ends its reservation, because another user
    /// has the volume.
    pub fn end_user(&mut self) {
        self.tenure.forget_reservation();
        for place in 0..CLIENTS_MAX {
            let tenant = self.clients[place].as_ref().and_then(Client::tenant);
            let is_user = match tenant {
                Some(tenure::ConnectionUser::Named(_)) => true,
                Some(
                    tenure::ConnectionUser::Local(writes) | tenure::ConnectionUser::Remote(writes),
                ) => writes,
                None => false,
            };
            if is_user {
                self.close(place, CloseReason::Left);
            }
        }
        self.update_user();
    }

    pub fn end_clients(&mut self) {
        self.tenure.forget_reservation();
        for place in 0..CLIENTS_MAX {
            self.close(place, CloseReason::Left);
        }
        self.update_user();
    }

    pub fn clients(&self) -> usize {
        self.clients.iter().flatten().count()
    }

    /// Stops accepting connections and requests. Clients are closed after their current requests
    /// instead of receiving errors: a client reconnects after a close, but would pass an error on
    /// to its application.
    pub fn stop(&mut self) {
        self.stops = true;
        self.clients.iter_mut().flatten().for_each(Client::stop);
        let _ = self.listen(false);
    }

    pub fn is_busy(&self) -> bool {
        let mut clients = self.clients.iter().flatten();
        clients.any(Client::is_busy) || self.has_output()
    }

    pub fn has_output(&self) -> bool {
        self.clients.iter().flatten().any(Client::has_output)
    }

    /// Returns the time at which the caller has to call [`Export::handle_time`] and then
    /// [`Export::settle`].
    pub fn deadline(&self) -> Option<Instant> {
        let clients = self.clients.iter().flatten();
        let since = clients.filter_map(Client::in_handshake_since).min();
        let late = since.and_then(|since| since.checked_add(HANDSHAKE_MAX));
        let at_once = self.may_continue().then(Instant::now);
        let reserved = self.user.reserved_until;
        [late, self.pause, at_once, reserved]
            .into_iter()
            .flatten()
            .min()
    }

    fn may_continue(&self) -> bool {
        let has_memory = self.pool.returned() != self.tried.returned;
        let mut clients = self.clients.iter().flatten();
        clients
            .any(|client| client.starves() && has_memory || client.waits() && self.tried.has_sent)
    }

    /// Closes clients that have chosen no export in time, and accepts connections again after a
    /// pause.
    pub fn handle_time(&mut self, now: Instant) {
        self.pause = self.pause.filter(|until| *until > now);
        for place in 0..CLIENTS_MAX {
            let since = self.clients[place]
                .as_ref()
                .and_then(Client::in_handshake_since);
            if since.is_some_and(|since| now.saturating_duration_since(since) >= HANDSHAKE_MAX) {
                self.counters.late += 1;
                // Frees the slot alone: a client that has chosen no export has no other resources
                // to release.
                self.clients[place] = None;
            }
        }
    }

    pub fn handle_event(&mut self, key: u64, flags: EventFlags, now: Instant) {
        if (KEYS..CLIENT_KEYS).contains(&key) {
            return self.accept((key - KEYS) as usize, now);
        }
        let place = key.wrapping_sub(CLIENT_KEYS) as usize;
        if flags.intersects(EventFlags::HUP | EventFlags::ERR) {
            return self.close(place, CloseReason::Left);
        }
        if flags.contains(EventFlags::IN) {
            self.with(place, Client::advance);
        }
    }

    pub fn handle_completion(&mut self, completion: Completion) {
        let piece = RequestPiece::decode(completion.token.0);
        let place = usize::from(piece.client);
        let client = self.clients.get(place).and_then(Option::as_ref);
        // Ignores the completion if its client has disconnected.
        if client.is_some_and(|client| client.generation() == piece.generation) {
            self.with(place, |client, port| {
                client.complete(piece, completion.result, port)
            });
        }
    }

    /// Sends replies, continues clients that now have resources, and returns the operations for
    /// the disk. Must be called once at the end of each turn of the event loop.
    pub fn settle(&mut self) -> std::vec::Drain<'_, (Token, Operation)> {
        // Repeats while clients close, because a closed one frees memory for others.
        for _ in 0..=CLIENTS_MAX {
            let before = self.clients();
            self.send();
            self.tried.returned = self.pool.returned();
            for place in 0..CLIENTS_MAX {
                if self.clients[place].as_ref().is_some_and(Client::waits) {
                    self.with(place, Client::advance);
                }
            }
            self.tried.has_sent = self.send();
            if self.clients() == before {
                break;
            }
        }
        for place in 0..CLIENTS_MAX {
            self.watch(place);
        }
        if !self.listens && !self.stops && self.pause.is_none() {
            let _ = self.listen(true);
        }
        self.operations.drain(..)
    }

    fn send(&mut self) -> bool {
        let mut any = false;
        for place in 0..CLIENTS_MAX {
            let Some(client) = &mut self.clients[place] else {
                continue;
            };
            match client.send() {
                Err(gone) => self.close(place, gone),
                Ok(_) if client.is_finished() => self.close(place, CloseReason::Left),
                Ok(sent) => any |= sent,
            }
        }
        any
    }

    fn watch(&mut self, place: usize) {
        let Some(client) = &self.clients[place] else {
            return;
        };
        let when = |is: bool, flag: EventFlags| if is { flag } else { EventFlags::empty() };
        let flags =
            when(client.wants_input(), EventFlags::IN) | when(client.has_output(), EventFlags::OUT);
        if flags == self.interests[place] {
            return;
        }
        let data = EventData::new_u64(CLIENT_KEYS + place as u64);
        match epoll::modify(&self.epoll, client.socket(), data, flags) {
            Ok(()) => self.interests[place] = flags,
            Err(_) => self.close(place, CloseReason::Left),
        }
    }

    fn with(
        &mut self,
        place: usize,
        act: impl FnOnce(&mut Client, &mut Port<'_>) -> Result<(), CloseReason>,
    ) {
        self.apply_grant();
        let Some(Some(client)) = self.clients.get_mut(place) else {
            return;
        };
        let before = client.uses();
        let mut port = Port {
            holder: self.user.holder.as_ref(),
            elsewhere: self.elsewhere,
            overwrite: self.overwrite,
            grant: self.user.grant.as_ref(),
            exports: &self.exports,
            pool: &self.pool,
            operations: &mut self.operations,
            stops: self.stops,
        };
        let acted = act(client, &mut port);
        // Updates the user before the next client opens the volume or writes.
        if client.uses() != before {
            self.update_user();
        }
        if let Err(gone) = acted {
            self.close(place, gone);
        }
    }

    fn close(&mut self, place: usize, gone: CloseReason) {
        match gone {
            CloseReason::Left => {}
            CloseReason::Fault(_) => self.counters.faults += 1,
            CloseReason::Broken => self.counters.broken += 1,
        }
        // Closes the descriptor, which removes it from epoll, because there is no duplicate.
        if let Some(client) = self.clients.get_mut(place) {
            *client = None;
            self.update_user();
        }
    }

    fn oldest_in_handshake(&self) -> Option<(Instant, usize)> {
        let clients = self.clients.iter().enumerate();
        let since = clients.filter_map(|(place, client)| {
            let since = client.as_ref()?.in_handshake_since()?;
            Some((since, place))
        });
        since.min()
    }

    /// Returns the slot of an idle client in the handshake, which a new client may get. If the idle
    /// client connected very recently, the new client waits briefly.
    fn place_of_silent(&mut self, now: Instant) -> Option<usize> {
        let (since, place) = self.oldest_in_handshake()?;
        let until = since + HANDSHAKE_LEAST;
        if now < until {
            self.pause = Some(until);
            return None;
        }
        Some(place)
    }

    fn accept(&mut self, listener: usize, now: Instant) {
        for _ in 0..ACCEPTS_MAX {
            let free = self.clients.iter().position(Option::is_none);
            let place = free.or_else(|| self.place_of_silent(now));
            // Stops listening while a client in the handshake may free its slot soon.
            if place.is_none() && self.oldest_in_handshake().is_some() {
                let _ = self.listen(false);
                return;
            }
            let Some(from) = self.listeners.get(listener) else {
                return;
            };
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            let socket = match accept_with(from, flags) {
                Ok(socket) => socket,
                Err(Errno::INTR | Errno::CONNABORTED) => continue,
                Err(Errno::AGAIN) => return,
                Err(_) => {
                    self.pause = now.checked_add(ACCEPT_PAUSE);
                    let _ = self.listen(false);
                    return;
                }
            };
            let Some(place) = place else {
                // Closes the connection if there is no slot: if it waited, it would seem to hang
                // until another client leaves.
                self.counters.refused += 1;
                continue;
            };
            if self.clients[place].take().is_some() {
                self.counters.late += 1;
            }
            if matches!(from, ExportListener::Tcp(_)) {
                // Sends replies at once, because they are queued as a whole. Keepalive detects a
                // client whose machine is gone.
                let _ = sockopt::set_tcp_nodelay(&socket, true);
                let _ = sockopt::set_socket_keepalive(&socket, true);
                let _ = sockopt::set_tcp_keepidle(&socket, KEEPALIVE);
                let _ = sockopt::set_tcp_keepintvl(&socket, KEEPALIVE);
                let _ = sockopt::set_tcp_user_timeout(&socket, VANISHED_MS);
            }
            let data = EventData::new_u64(CLIENT_KEYS + place as u64);
            if epoll::add(&self.epoll, &socket, data, EventFlags::IN).is_err() {
                return;
            }
            self.interests[place] = EventFlags::IN;
            self.generation = self.generation.wrapping_add(1);
            self.counters.accepted += 1;
            let at = (place as u8, self.generation);
            let account = self.pool.account();
            let origin = origin(&socket, from);
            self.clients[place] = Some(Client::new(socket, at, account, origin, now));
        }
    }

    fn listen(&mut self, listens: bool) -> Result<(), Errno> {
        if self.listens == listens {
            return Ok(());
        }
        for (place, listener) in self.listeners.iter().enumerate() {
            let data = EventData::new_u64(KEYS + place as u64);
            if listens {
                epoll::add(&self.epoll, listener, data, EventFlags::IN)?
            } else {
                epoll::delete(&self.epoll, listener)?
            }
        }
        self.listens = listens;
        Ok(())
    }
}

/// Returns the origin of a connection: remote for TCP, and for connections from this process
/// itself, which carry clients of the network ([`crate::network`]); otherwise local.
fn origin(socket: &OwnedFd, listener: &ExportListener) -> ConnectionOrigin {
    let ExportListener::Unix(_) = listener else {
        return ConnectionOrigin::Remote;
    };
    let is_own = |pid| pid == rustix::process::getpid();
    match sockopt::socket_peercred(socket) {
        Ok(peer) if !is_own(peer.pid) => ConnectionOrigin::Local,
        _ => ConnectionOrigin::Remote,
    }
}

impl std::fmt::Debug for Export {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Export({} clients)", self.clients())
    }
}
