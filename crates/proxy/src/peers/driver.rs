//! Exchanges stick table updates with the peers of a `peers` section, on the side thread: one
//! task for the listening address, one for each peer to which this process connects, one for each
//! connection.

use model::config::Config;
use model::shared_tables::{
    COLLISIONS, CONNECTIONS, FAULTS, HEARTBEATS_IN, HEARTBEATS_OUT, PeersState, Resync, SILENCES,
    Section, entry,
};
use model::state::now_ms;
use protocol::peers::{
    Event, Hello, PeersControlMessage, PeersError, PeersRole, PeersSessionState, PeersStatus,
    Session, Update,
};
use std::collections::HashMap;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};
use tls::side::{self, BoxedWire};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{sleep, timeout};

/// Interval at which tables are checked for updates.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Interval after an update was found, because further ones are likely and HAProxy sends updates
/// at once.
const LOOK_OFTEN: Duration = Duration::from_millis(2);
const LIVELY: Duration = Duration::from_secs(1);
/// Pause between two attempts to connect to a peer.
const RECONNECT: Duration = Duration::from_secs(3);
/// If two peers start together, the second by name waits this long for the connection of the
/// first.
const COURTESY: Duration = Duration::from_millis(50);
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
const LISTEN_AGAIN: Duration = Duration::from_secs(1);
/// While this many bytes wait to be sent to a peer, no further updates are created.
const OUTPUT_MAX: usize = 64 * 1024;
const INPUT_BYTES: usize = 16 * 1024;
/// Maximum number of concurrent connections from addresses that are no peers.
const STRANGERS_MAX: usize = 64;
/// Maximum number of concurrent connections from peers' addresses. Other connections cannot
/// take these slots.
const KNOWN_MAX: usize = 256;
const BACKLOG: u32 = 64;

/// The `peers` sections in service; dropping this ends them.
pub struct Driver {
    sections: HashMap<Box<str>, (Arc<PeersState>, AbortHandle)>,
}

/// Starts the peers of a configuration on the Tokio runtime of this thread.
pub fn start(config: &Config) -> Driver {
    let mut driver = Driver {
        sections: HashMap::new(),
    };
    driver.change(config);
    driver
}

impl Driver {
    /// Applies another configuration: unchanged sections continue, others restart with the entries
    /// of their tables.
    pub fn change(&mut self, config: &Config) {
        let goes_on = |name: &str| {
            let same = |peers: &&model::config::Peers| *peers.name == *name && !peers.disabled;
            config.peers.iter().find(same)
        };
        self.sections.retain(|name, (state, task)| {
            let mut runs = state.lock();
            let same = goes_on(name).zip(runs.as_ref());
            let stays = same.is_some_and(|(peers, section)| section.is_same(config, peers));
            if let (true, Some(peers), Some(section)) = (stays, goes_on(name), runs.as_mut()) {
                // Closes the new descriptor, because the section already serves this socket.
                drop(peers.socket.take());
                section.renew_tls(peers);
            }
            if !stays {
                task.abort();
            }
            stays
        });
        for peers in config.peers.iter().filter(|peers| !peers.disabled) {
            if peers.local_peer().is_none() || self.sections.contains_key(&peers.name) {
                continue;
            }
            let state = Arc::clone(&peers.state);
            let mut section = Section::new(config, peers, now_ms());
            // Requests no resynchronization if only settings changed and the section was
            // synchronized.
            let before = state.lock().as_ref().map(|before| before.resync);
            if before == Some(Resync::Done) {
                section.resync = Resync::Done;
            }
            *state.lock() = Some(section);
            let task = tokio::spawn(run(Arc::clone(&state), peers.socket.take())).abort_handle();
            self.sections.insert(peers.name.clone(), (state, task));
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        for (_, task) in self.sections.values() {
            task.abort();
        }
    }
}

impl std::fmt::Debug for Driver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Driver")
    }
}

/// Calls a function with the state of a section; does nothing once the section is removed.
fn with<T>(state: &PeersState, look: impl FnOnce(&mut Section) -> T) -> Option<T> {
    state.lock().as_mut().map(look)
}

/// Runs one `peers` section. All tasks of the section end with it.
async fn run(state: Arc<PeersState>, socket: Option<OwnedFd>) {
    let mut tasks = JoinSet::new();
    let found = with(&state, |section| (section.peers.len(), section.listens));
    let Some((count, listens)) = found else {
        return;
    };
    for peer in 0..count {
        tasks.spawn(connect_always(Arc::clone(&state), peer));
    }
    if listens.is_some() || socket.is_some() {
        tasks.spawn(listen(Arc::clone(&state), listens, socket));
    }
    while tasks.join_next().await.is_some() {}
}

/// Opens a listening socket. The previous process may still have one, so the port is shared.
fn open(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.set_reuseaddr(true)?;
    socket.set_reuseport(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

async fn listen(state: Arc<PeersState>, address: Option<SocketAddr>, socket: Option<OwnedFd>) {
    let (mut strangers, mut known) = (JoinSet::new(), JoinSet::new());
    let mut given = socket.map(std::net::TcpListener::from);
    loop {
        let opened = match given.take() {
            Some(socket) => socket
                .set_nonblocking(true)
                .and_then(|()| TcpListener::from_std(socket)),
            // Opens the address here only if no process opened the sockets at the start.
            None => match address {
                Some(address) => open(address),
                // Ends the task, because an inherited socket that was not supplied cannot be
                // opened.
                None => return,
            },
        };
        let Ok(listener) = opened else {
            sleep(LISTEN_AGAIN).await;
            continue;
        };
        loop {
            let (stream, from) = match listener.accept().await {
                Ok(accepted) => accepted,
                // Pauses, because descriptors may have run out temporarily.
                Err(_) => {
                    sleep(LISTEN_AGAIN).await;
                    continue;
                }
            };
            while strangers.try_join_next().is_some() || known.try_join_next().is_some() {}
            let is_peers = with(&state, |section| section.is_peers(from.ip()));
            let (tasks, most) = match is_peers {
                Some(true) => (&mut known, KNOWN_MAX),
                _ => (&mut strangers, STRANGERS_MAX),
            };
            if tasks.len() < most {
                tasks.spawn(accepted(Arc::clone(&state), stream));
            }
        }
    }
}

async fn accepted(state: Arc<PeersState>, stream: TcpStream) {
    let Some((tables, tls)) = with(&state, |s| (s.descriptions(), s.tls.clone())) else {
        return;
    };
    let _ = stream.set_nodelay(true);
    let wire: BoxedWire = match tls {
        None => Box::pin(stream),
        Some(tls) => match timeout(CONNECT_LIMIT, side::accept(stream, &tls)).await {
            Ok(Ok(wire)) => wire,
            _ => return,
        },
    };
    let session = Session::new(PeersRole::Accepting, tables, now_ms());
    let mut connection = Connection::new(state, wire, session);
    connection.run().await;
}

async fn connect_always(state: Arc<PeersState>, peer: usize) {
    let found = with(&state, |section| {
        let peer = section.peers.get(peer)?;
        Some((peer.address?, peer.name.clone(), section.local.clone()))
    });
    let Some((address, name, local)) = found.flatten() else {
        return;
    };
    // Waits for the connection of a peer whose name comes first, if both start together.
    if *local > *name {
        sleep(COURTESY).await;
    }
    loop {
        let is_away = |section: &mut Section| {
            let peer = section.peers.get(peer);
            peer.is_some_and(|peer| peer.connection.is_none())
        };
        if with(&state, is_away) == Some(true) {
            connect(&state, peer, address, &name, &local).await;
        }
        sleep(RECONNECT).await;
    }
}

async fn connect(
    state: &Arc<PeersState>,
    peer: usize,
    address: SocketAddr,
    name: &str,
    local: &str,
) {
    let tls = with(state, |section| section.peers.get(peer)?.tls.clone()).flatten();
    let reach = async {
        let stream = TcpStream::connect(address).await?;
        let _ = stream.set_nodelay(true);
        match tls {
            None => Ok(Box::pin(stream) as BoxedWire),
            Some(tls) => side::connect(stream, &tls).await,
        }
    };
    let Ok(Ok(wire)) = timeout(CONNECT_LIMIT, reach).await else {
        with(state, |section| {
            if let Some(peer) = section.peers.get_mut(peer) {
                peer.status = "CONN";
            }
        });
        return;
    };
    let begun = with(state, |section| {
        // Ends this connection if the peer has connected by itself meanwhile.
        let free = section.peers.get(peer)?.connection.is_none();
        free.then(|| (section.connect(peer), section.descriptions()))
    });
    let Some((number, tables)) = begun.flatten() else {
        return;
    };
    let mut session = Session::new(PeersRole::Connecting, tables, now_ms());
    session.send_hello(&Hello {
        to: name.to_owned(),
        from: local.to_owned(),
        process: std::process::id(),
    });
    let mut connection = Connection::new(Arc::clone(state), wire, session);
    connection.peer = Some((peer, number));
    connection.run().await;
}

/// State of a full resynchronization that is being sent, table by table.
struct Lesson {
    table: usize,
    shard: usize,
    keys: Vec<Box<[u8]>>,
}

struct Connection {
    state: Arc<PeersState>,
    wire: BoxedWire,
    session: Session,
    /// Index of the peer, and the number of its connection.
    peer: Option<(usize, u64)>,
    lesson: Option<Lesson>,
}

impl Connection {
    fn new(state: Arc<PeersState>, wire: BoxedWire, session: Session) -> Connection {
        Connection {
            state,
            wire,
            session,
            peer: None,
            lesson: None,
        }
    }

    async fn run(&mut self) {
        let ended = self.exchange().await;
        let Some((peer, number)) = self.peer else {
            return;
        };
        with(&self.state, |section| {
            let current = section.is_current(peer, number);
            if let Some(peer) = section.peers.get_mut(peer).filter(|_| current) {
                peer.status = match ended {
                    Some(PeersError::Silent) => "SILE",
                    Some(PeersError::Refused(300)) => "TRYA",
                    Some(PeersError::Refused(502)) => "VERS",
                    Some(PeersError::Refused(503)) => "HLLO",
                    Some(PeersError::Refused(_)) => "RFSD",
                    Some(
                        PeersError::Protocol
                        | PeersError::Size
                        | PeersError::Theirs
                        | PeersError::Greeting,
                    ) => "PROT",
                    None => "CLOS",
                };
                match ended {
                    Some(PeersError::Silent) => peer.counts[SILENCES] += 1,
                    Some(_) => peer.counts[FAULTS] += 1,
                    None => {}
                }
            }
            section.disconnect(peer, number);
        });
    }

    /// Exchanges messages until one side closes the connection; returns the fault if there is
    /// one.
    async fn exchange(&mut self) -> Option<PeersError> {
        let mut input = vec![0; INPUT_BYTES];
        let mut lively_until = Instant::now();
        loop {
            if let Some((peer, number)) = self.peer
                && with(&self.state, |section| section.is_current(peer, number)) != Some(true)
            {
                return None;
            }
            let said = self.session.output().len();
            self.fill();
            if self.session.output().len() > said {
                lively_until = Instant::now() + LIVELY;
            }
            if self.write().await.is_err() {
                return None;
            }
            if self.session.state() == PeersSessionState::Ended {
                return None;
            }
            let busy = self.lesson.is_some() && self.session.output().is_empty();
            let wait = if busy {
                Duration::ZERO
            } else if Instant::now() < lively_until {
                LOOK_OFTEN
            } else {
                LOOK_EVERY
            };
            match timeout(wait, self.wire.read(&mut input)).await {
                Ok(Ok(0) | Err(_)) => return None,
                Ok(Ok(count)) => {
                    let bytes = input.get(..count).unwrap_or(&[]);
                    if let Err(fault) = self.input(bytes) {
                        let _ = self.write().await;
                        return Some(fault);
                    }
                }
                Err(_) => {}
            }
            let before = self.session.output().len();
            if let Err(fault) = self.session.handle_time(now_ms()) {
                return Some(fault);
            }
            if self.session.output().len() > before {
                self.count(HEARTBEATS_OUT);
            }
        }
    }

    async fn write(&mut self) -> io::Result<()> {
        poll_fn(|context| {
            while !self.session.output().is_empty() {
                match self
                    .wire
                    .as_mut()
                    .poll_write(context, self.session.output())
                {
                    Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                    Poll::Ready(Ok(count)) => self.session.sent(count, now_ms()),
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    Poll::Pending => break,
                }
            }
            // Flushes, because TLS holds records that the socket has not accepted yet.
            match self.wire.as_mut().poll_flush(context) {
                Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                Poll::Ready(Ok(())) | Poll::Pending => Poll::Ready(Ok(())),
            }
        })
        .await
    }

    fn count(&self, what: usize) {
        if let Some((peer, _)) = self.peer {
            with(&self.state, |section| {
                let count = section
                    .peers
                    .get_mut(peer)
                    .and_then(|peer| peer.counts.get_mut(what));
                if let Some(count) = count {
                    *count = count.wrapping_add(1);
                }
            });
        }
    }

    fn fill(&mut self) {
        let Some((peer, _)) = self.peer else { return };
        if self.session.state() != PeersSessionState::Established
            || self.session.output().len() > OUTPUT_MAX
        {
            return;
        }
        let state = Arc::clone(&self.state);
        let session = &mut self.session;
        with(&state, |section| {
            section.collect();
            if section.start_resync_if_due(peer, now_ms()) {
                session.send(PeersControlMessage::ResyncRequest);
            }
            for table in 0..section.tables.len() {
                for update in section.next_updates(peer, table, section.batch) {
                    session.push(&update);
                }
            }
        });
        self.teach();
        self.session.acknowledge();
    }

    fn teach(&mut self) {
        let Some(mut lesson) = self.lesson.take() else {
            return;
        };
        let state = Arc::clone(&self.state);
        let session = &mut self.session;
        let goes_on = with(&state, |section| {
            let mut left = section.batch;
            while left > 0 && session.output().len() < OUTPUT_MAX {
                let Some(shared) = section.tables.get(lesson.table) else {
                    let control = match section.resync {
                        Resync::Done => PeersControlMessage::ResyncFinished,
                        _ => PeersControlMessage::ResyncPartial,
                    };
                    session.send(control);
                    return false;
                };
                let Some(key) = lesson.keys.pop() else {
                    if lesson.shard == 0 {
                        session.describe(lesson.table);
                    }
                    if lesson.shard < shared.table.shard_count() {
                        shared.table.keys_of(lesson.shard, &mut lesson.keys);
                        lesson.shard += 1;
                    } else {
                        (lesson.table, lesson.shard) = (lesson.table + 1, 0);
                    }
                    continue;
                };
                let Some(held) = shared.table.find(&key) else {
                    continue;
                };
                left -= 1;
                held.mark_as_sent();
                session.push(&Update {
                    table: lesson.table,
                    number: shared.last,
                    expires_in_ms: Some(held.expires_in_ms()),
                    key: entry::key_out(&shared.table, &key),
                    fields: entry::fields(&held),
                });
            }
            true
        });
        if goes_on == Some(true) {
            self.lesson = Some(lesson);
        }
    }

    /// Processes input. Messages that arrive together with the hello are processed after it was
    /// accepted.
    fn input(&mut self, bytes: &[u8]) -> Result<(), PeersError> {
        let before = self.session.state();
        let events = self.session.handle(bytes, now_ms())?;
        self.take(events);
        if before == PeersSessionState::AwaitsHello
            && self.session.state() == PeersSessionState::Established
        {
            let events = self.session.handle(&[], now_ms())?;
            self.take(events);
        }
        Ok(())
    }

    fn take(&mut self, events: Vec<Event>) {
        for event in events {
            match event {
                Event::Greeted(hello) => self.greeted(&hello),
                Event::Established => self.established(),
                Event::Update(update) => self.update(&update),
                Event::Acknowledged { table, number } => {
                    if let Some((peer, _)) = self.peer {
                        with(&self.state, |section| {
                            let peer = section.peers.get_mut(peer);
                            let place = peer.and_then(|peer| peer.acknowledged.get_mut(table));
                            if let Some(place) = place {
                                *place = (*place).max(number);
                            }
                        });
                    }
                }
                Event::ResyncRequest => {
                    self.lesson = Some(Lesson {
                        table: 0,
                        shard: 0,
                        keys: Vec::new(),
                    });
                }
                Event::Resynced { whole } => {
                    if let Some((peer, _)) = self.peer {
                        with(&self.state, |section| {
                            section.finish_resync(peer, whole, now_ms())
                        });
                    }
                }
                Event::Confirmed => {}
                Event::Heartbeat => self.count(HEARTBEATS_IN),
            }
        }
    }

    fn update(&self, update: &Update) {
        let Some((peer, _)) = self.peer else { return };
        let found = with(&self.state, |section| {
            let learned = section.peers.get_mut(peer)?.learned.get_mut(update.table)?;
            *learned = update.number;
            let is_taught = section.record_received_entry(peer, now_ms());
            let shared = section.tables.get(update.table)?;
            let tables = (Arc::clone(&shared.table), shared.write_to.clone());
            Some((tables, is_taught && update.expires_in_ms.is_some()))
        });
        if let Some(((table, write_to), in_lesson)) = found.flatten() {
            entry::take(&table, write_to.as_ref(), update, in_lesson);
        }
    }

    fn greeted(&mut self, hello: &Hello) {
        let answer = with(&self.state, |section| {
            if hello.to != *section.local {
                return Err(PeersStatus::WrongRemote);
            }
            let found = section
                .peers
                .iter()
                .position(|peer| *peer.name == *hello.from);
            let Some(at) = found else {
                return Err(PeersStatus::WrongLocal);
            };
            let local_first = *section.local < *hello.from;
            if let Some(peer) = section.peers.get_mut(at)
                && peer.connection.is_some()
            {
                peer.counts[COLLISIONS] += 1;
                // Refuses the peer's connection if both peers have connected to each other and this
                // process is first by name, so that one of the two connections remains.
                if !peer.established && local_first {
                    return Err(PeersStatus::TryAgain);
                }
            }
            section.disconnect_any(at);
            Ok((at, section.connect(at)))
        });
        match answer {
            Some(Ok(peer)) => {
                self.peer = Some(peer);
                self.session.send_status(PeersStatus::Succeeded);
                self.established();
            }
            Some(Err(status)) => self.session.send_status(status),
            None => self.session.send_status(PeersStatus::TryAgain),
        }
    }

    fn established(&mut self) {
        if let Some((peer, _)) = self.peer {
            with(&self.state, |section| {
                if let Some(peer) = section.peers.get_mut(peer) {
                    peer.established = true;
                    peer.status = "ESTA";
                    peer.greeted = Some(Instant::now());
                    peer.counts[CONNECTIONS] = peer.counts[CONNECTIONS].wrapping_add(1);
                }
            });
        }
    }
}
