//! The export of a volume: NBD over sockets. It takes requests, makes operations of them for
//! the owner of the disk, and replies when they have ended. Several clients at a time, each
//! with its bounds; none of them delays another one, except through the disk, which has a bounded
//! share of what each of them wants.
//!
//! A client's requests may be executed in any order and at the same time, as NBD allows: a
//! client that has two requests for the same blocks under way does not know which comes
//! first. A flush covers all writes whose replies were given before, of every client.
//!
//! It never reads or writes a disk, and knows no other copy.

mod client;
mod ranges;
mod request;
mod tenure;

pub use request::REQUESTS_MAX;
pub use tenure::{Grant, Holder, Presence, RESERVED_FOR, Tenure, user_words};

use crate::disk::{Completion, DiskError, Operation, Pool, Token};
use client::{Client, Gone, Origin, Port};
use protocol::nbd;
use request::Piece;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{SocketFlags, accept_with, sockopt};
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Clients of one volume. Connections beyond are closed at once.
pub const CLIENTS_MAX: usize = 15;
/// How long a client may take until it has chosen an export.
pub const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
/// How long a client without an export keeps its place when another one wants it.
pub const HANDSHAKE_LEAST: Duration = Duration::from_millis(500);
/// Connections that are accepted in a turn of the loop.
const ACCEPTS_MAX: usize = 8;
/// How long nothing is accepted when the kernel has no descriptor or memory for it.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
/// When a silent TCP client is asked whether it is still there, and how often, seconds.
const KEEPALIVE: Duration = Duration::from_secs(60);
/// After how long a TCP client is given up that confirms or takes nothing, milliseconds.
const VANISHED_MS: u32 = 30_000;
/// Keys of epoll from here on are an export's.
pub const KEYS: u64 = 1 << 32;
const CLIENT_KEYS: u64 = 2 << 32;

/// Where clients connect.
#[derive(Debug)]
pub enum Listener {
    /// On this host only.
    Unix(UnixListener),
    /// Over a network, in plain text.
    Tcp(TcpListener),
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Listener::Unix(listener) => listener.as_fd(),
            Listener::Tcp(listener) => listener.as_fd(),
        }
    }
}

/// What happened since the start.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Counters {
    /// Clients that were accepted.
    pub accepted: u64,
    /// Clients that were closed because they broke the protocol.
    pub faults: u64,
    /// Clients that were closed because they chose no export in time.
    pub late: u64,
    /// Connections that were closed at once because all places were taken.
    pub refused: u64,
    /// Clients that were closed because a read failed after its reply had begun.
    pub broken: u64,
}

/// An export with its listeners and clients.
pub struct Export {
    epoll: Rc<OwnedFd>,
    listeners: Vec<Listener>,
    exports: Vec<nbd::Export>,
    pool: Pool,
    clients: Vec<Option<Client>>,
    interests: Vec<EventFlags>,
    generation: u16,
    listens: bool,
    /// Until then nothing is accepted.
    pause: Option<Instant>,
    stops: bool,
    operations: Vec<(Token, Operation)>,
    tried: Tried,
    counters: Counters,
    tenure: Arc<Tenure>,
    user: Known,
}

/// The user of the volume, as it was when something of it changed last.
#[derive(Default)]
struct Known {
    holder: Option<Holder>,
    grant: Option<Grant>,
    /// [`Tenure::grants`] then.
    grants: u64,
    /// When a reservation ends on which the holder depends.
    reserved_until: Option<Instant>,
}

/// What there was when clients that wait were last let continue.
#[derive(Default)]
struct Tried {
    /// [`Pool::returned`].
    returned: u64,
    /// A client has taken replies since then.
    has_sent: bool,
}

impl Export {
    /// Offers `export` at the listeners, whose events `epoll` reports with keys from
    /// [`KEYS`] on.
    ///
    /// # Errors
    /// A listener cannot be watched.
    pub fn new(
        epoll: Rc<OwnedFd>,
        export: nbd::Export,
        listeners: Vec<Listener>,
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
            tried: Tried::default(),
            counters: Counters::default(),
            tenure: Arc::default(),
            user: Known::default(),
        };
        for listener in &one.listeners {
            rustix::io::ioctl_fionbio(listener, true).map_err(DiskError::Engine)?;
        }
        one.listen(true).map_err(DiskError::Engine)?;
        Ok(one)
    }

    /// What happened since the start.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// The volume has another size, bytes, for clients that connect from now on.
    pub fn grow(&mut self, size: u64) {
        for export in &mut self.exports {
            export.size = export.size.max(size);
        }
    }

    /// Follows this tenure from now on.
    pub fn heed(&mut self, tenure: Arc<Tenure>) {
        self.tenure = tenure;
        self.learn_user();
    }

    /// Shows the present user of the volume in the tenure. Returns whether it is another one.
    pub fn show_holder(&mut self) -> bool {
        self.learn_grant();
        self.tenure.set_holder(self.user.holder.clone())
    }

    /// The present user of the volume.
    pub fn holder(&self) -> Option<&Holder> {
        self.user.holder.as_ref()
    }

    /// The role may have granted the volume to another user.
    fn learn_grant(&mut self) {
        let reserved = self.user.reserved_until;
        if self.tenure.grants() != self.user.grants
            || reserved.is_some_and(|until| Instant::now() >= until)
        {
            self.learn_user();
        }
    }

    /// Looks at all clients: one has come, has written first, or has left.
    fn learn_user(&mut self) {
        let grants = self.tenure.grants();
        let grant = self.tenure.granted();
        let named =
            { self.clients.iter().flatten() }.filter_map(|client| match client.tenant()? {
                tenure::Tenant::Named(user) => Some(user),
                tenure::Tenant::Local(_) | tenure::Tenant::Remote(_) => None,
            });
        named.for_each(|user| self.tenure.redeem(user));
        let reserved = self.tenure.reserved(Instant::now());
        let tenants = self.clients.iter().flatten().filter_map(Client::tenant);
        let user = reserved.as_ref().map(|(user, _)| user.as_str());
        self.user = Known {
            holder: tenure::holder(tenants, user, grant.as_ref()),
            grant,
            grants,
            reserved_until: reserved.map(|(_, until)| until),
        };
    }

    /// Connected clients.
    pub fn clients(&self) -> usize {
        self.clients.iter().flatten().count()
    }

    /// Takes no connections and requests from now on. Requests under way end, and then their
    /// clients are closed: a client with a closed connection connects again, whereas it
    /// passes an error on to its user.
    pub fn stop(&mut self) {
        self.stops = true;
        self.clients.iter_mut().flatten().for_each(Client::stop);
        let _ = self.listen(false);
    }

    /// Whether a client has a request under way, or a reply to take.
    pub fn is_busy(&self) -> bool {
        let mut clients = self.clients.iter().flatten();
        clients.any(Client::is_busy) || self.has_output()
    }

    /// Whether a client has a reply to take.
    pub fn has_output(&self) -> bool {
        self.clients.iter().flatten().any(Client::has_output)
    }

    /// When [`Export::handle_time`] and [`Export::settle`] are to be called.
    pub fn deadline(&self) -> Option<Instant> {
        let clients = self.clients.iter().flatten();
        let since = clients.filter_map(Client::in_handshake_since).min();
        let late = since.and_then(|since| since.checked_add(HANDSHAKE_MAX));
        let at_once = self.may_continue().then(Instant::now);
        let reserved = self.user.reserved_until;
        { [late, self.pause, at_once, reserved].into_iter() }
            .flatten()
            .min()
    }

    /// Whether there has come room for a client that waits for it, of which no descriptor tells.
    fn may_continue(&self) -> bool {
        let has_memory = self.pool.returned() != self.tried.returned;
        let mut clients = self.clients.iter().flatten();
        clients
            .any(|client| client.starves() && has_memory || client.waits() && self.tried.has_sent)
    }

    /// Closes clients that have chosen no export in time, and ends a pause.
    pub fn handle_time(&mut self, now: Instant) {
        self.pause = self.pause.filter(|until| *until > now);
        for place in 0..CLIENTS_MAX {
            let since = self.clients[place]
                .as_ref()
                .and_then(Client::in_handshake_since);
            if since.is_some_and(|since| now.saturating_duration_since(since) >= HANDSHAKE_MAX) {
                self.counters.late += 1;
                // It has chosen no export, and so uses nothing.
                self.clients[place] = None;
            }
        }
    }

    /// Takes an event of epoll.
    pub fn handle_event(&mut self, key: u64, flags: EventFlags, now: Instant) {
        if (KEYS..CLIENT_KEYS).contains(&key) {
            return self.accept((key - KEYS) as usize, now);
        }
        let place = key.wrapping_sub(CLIENT_KEYS) as usize;
        if flags.intersects(EventFlags::HUP | EventFlags::ERR) {
            return self.close(place, Gone::Left);
        }
        if flags.contains(EventFlags::IN) {
            self.with(place, Client::advance);
        }
    }

    /// Takes what the disk did.
    pub fn handle_completion(&mut self, completion: Completion) {
        let piece = Piece::decode(completion.token.0);
        let place = usize::from(piece.client);
        let client = self.clients.get(place).and_then(Option::as_ref);
        // A client that has gone does not need it.
        if client.is_some_and(|client| client.generation() == piece.generation) {
            self.with(place, |client, port| {
                client.complete(piece, completion.result, port)
            });
        }
    }

    /// Sends replies, lets clients continue for which there is room now, and returns the
    /// operations for the disk. To be called once in a turn of the loop, at its end.
    pub fn settle(&mut self) -> std::vec::Drain<'_, (Token, Operation)> {
        // A client that is closed leaves memory to others: each round closes at least one.
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

    /// Returns whether a client has taken anything.
    fn send(&mut self) -> bool {
        let mut any = false;
        for place in 0..CLIENTS_MAX {
            let Some(client) = &mut self.clients[place] else {
                continue;
            };
            match client.send() {
                Err(gone) => self.close(place, gone),
                Ok(_) if client.is_finished() => self.close(place, Gone::Left),
                Ok(sent) => any |= sent,
            }
        }
        any
    }

    /// Lets epoll report what is of use to a client now.
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
            Err(_) => self.close(place, Gone::Left),
        }
    }

    fn with(
        &mut self,
        place: usize,
        act: impl FnOnce(&mut Client, &mut Port<'_>) -> Result<(), Gone>,
    ) {
        self.learn_grant();
        let Some(Some(client)) = self.clients.get_mut(place) else {
            return;
        };
        let before = client.uses();
        let mut port = Port {
            holder: self.user.holder.as_ref(),
            grant: self.user.grant.as_ref(),
            exports: &self.exports,
            pool: &self.pool,
            operations: &mut self.operations,
            stops: self.stops,
        };
        let acted = act(client, &mut port);
        // Before the next client opens the volume, or writes.
        if client.uses() != before {
            self.learn_user();
        }
        if let Err(gone) = acted {
            self.close(place, gone);
        }
    }

    fn close(&mut self, place: usize, gone: Gone) {
        match gone {
            Gone::Left => {}
            Gone::Fault(_) => self.counters.faults += 1,
            Gone::Broken => self.counters.broken += 1,
        }
        // Its descriptor leaves epoll when it is closed: nothing else has it.
        if let Some(client) = self.clients.get_mut(place) {
            *client = None;
            self.learn_user();
        }
    }

    /// The client that has been without an export for the longest time, and since when.
    fn oldest_in_handshake(&self) -> Option<(Instant, usize)> {
        let clients = self.clients.iter().enumerate();
        let since = clients.filter_map(|(place, client)| {
            let since = client.as_ref()?.in_handshake_since()?;
            Some((since, place))
        });
        since.min()
    }

    /// The place of a client that says nothing, which another one may have. If it has just
    /// connected, the other one waits for a moment.
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
            // A silent client may soon leave its place.
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
                // One that waited would seem to hang for as long as the others stay.
                self.counters.refused += 1;
                continue;
            };
            if self.clients[place].take().is_some() {
                self.counters.late += 1;
            }
            if matches!(from, Listener::Tcp(_)) {
                // Replies are sent as a whole. A client whose machine is gone says nothing.
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

    /// Accepts connections, or leaves them waiting.
    fn listen(&mut self, listens: bool) -> Result<(), Errno> {
        if self.listens == listens {
            return Ok(());
        }
        for (place, listener) in self.listeners.iter().enumerate() {
            let data = EventData::new_u64(KEYS + place as u64);
            match listens {
                true => epoll::add(&self.epoll, listener, data, EventFlags::IN)?,
                false => epoll::delete(&self.epoll, listener)?,
            }
        }
        self.listens = listens;
        Ok(())
    }
}

/// Where a client is that has connected. What this process itself connects is a client of a network
/// ([`crate::network`]).
fn origin(socket: &OwnedFd, listener: &Listener) -> Origin {
    let Listener::Unix(_) = listener else {
        return Origin::Remote;
    };
    let is_own = |pid| pid == rustix::process::getpid();
    match sockopt::socket_peercred(socket) {
        Ok(peer) if !is_own(peer.pid) => Origin::Local,
        _ => Origin::Remote,
    }
}

impl std::fmt::Debug for Export {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Export({} clients)", self.clients())
    }
}
