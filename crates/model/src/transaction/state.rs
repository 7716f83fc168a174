//! What is known of a stream and of the session (the client's connection) that
//! it came on. Values only: the driver moves the bytes.

use super::details::Details;
use crate::cache;
use crate::config::{Algorithm, Bind, Config, Proxy, ProxyIndex, Rare, Server, ServerIndex};
use crate::sample::Variables;
use crate::state::compression::OfClient;
use crate::tables::{SessionTrackers, Trackers};
use http::message::Message;
use reactor::{self, Instant};
use std::cell::{Cell, OnceCell};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::SystemTime;

/// One end of a client's connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Endpoint {
    /// An address and a port.
    Inet(SocketAddr),
    /// A Unix socket.
    Unix,
}

impl Endpoint {
    /// The address; a Unix socket has none. An IPv4 address that came mapped
    /// into IPv6 is IPv4.
    pub fn ip(self) -> Option<IpAddr> {
        match self {
            Endpoint::Inet(address) => Some(address.ip().to_canonical()),
            Endpoint::Unix => None,
        }
    }

    /// The port; a Unix socket has none.
    pub fn port(self) -> Option<u16> {
        match self {
            Endpoint::Inet(address) => Some(address.port()),
            Endpoint::Unix => None,
        }
    }
}

/// A configuration as a session holds it, which counts it there for as long.
#[derive(Debug)]
pub struct Held(Arc<Config>);

impl Held {
    /// A session comes to a configuration.
    pub fn new(config: Arc<Config>) -> Held {
        config.sessions.up();
        Held(config)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.sessions.down();
    }
}

impl std::ops::Deref for Held {
    type Target = Arc<Config>;
    fn deref(&self) -> &Arc<Config> {
        &self.0
    }
}

/// A client's connection, as its streams see it.
#[derive(Debug)]
pub struct Session {
    /// The configuration that it runs under: the one that the connection began
    /// with, or of HTTP that of its last request. Its streams have the same.
    pub config: Held,
    /// The frontend in `config`.
    pub frontend: ProxyIndex,
    /// Its listener: the place in the frontend's `binds`.
    pub bind: u32,
    /// The client, after a PROXY header.
    pub source: Endpoint,
    /// The address that the client connected to, after a PROXY header.
    pub destination: Endpoint,
    /// When it was accepted, for durations.
    pub accepted: Instant,
    /// When the transport was ready (PROXY header, later TLS).
    pub ready: Instant,
    /// What hardly any session has.
    pub details: OnceCell<Box<Details>>,
    /// What TLS of the connection came to; None without TLS.
    pub tls: Option<Rc<tls::Info>>,
    /// Variables of scope `sess`.
    pub variables: std::cell::RefCell<Variables>,
    /// Entries of tables that it tracks.
    pub tracked: OnceCell<SessionTrackers>,
    /// How many of its answers are being compressed.
    pub encoders: OnceCell<OfClient>,
}

impl Session {
    /// The session of a connection that was accepted now.
    pub fn new(
        config: Arc<Config>,
        (frontend, bind): (ProxyIndex, u32),
        source: Endpoint,
        destination: Endpoint,
    ) -> Session {
        Session {
            config: Held::new(config),
            frontend,
            bind,
            source,
            destination,
            accepted: reactor::now(),
            ready: reactor::now(),
            details: OnceCell::new(),
            tls: None,
            variables: Default::default(),
            tracked: OnceCell::new(),
            encoders: OnceCell::new(),
        }
    }

    /// The frontend.
    pub fn frontend(&self) -> &Proxy {
        self.config.proxy(self.frontend)
    }

    /// Where its listener is in a newer configuration: the frontend by its
    /// name, the listener by its address. None: it is no more, or serves
    /// something else.
    pub fn place_in(&self, newer: &Config) -> Option<(ProxyIndex, u32)> {
        let (frontend, bind) = (self.frontend(), self.bind());
        let index = newer.frontend(&frontend.name)?;
        let there = newer.proxy(index);
        let serves = there.mode == frontend.mode
            && !there.disabled
            && Arc::ptr_eq(&there.state, &frontend.state);
        let is = |other: &Bind| {
            serves && other.address == bind.address && other.tls.is_some() == bind.tls.is_some()
        };
        // Nearly always at the same place.
        let at = if there.binds.get(self.bind as usize).is_some_and(is) {
            self.bind as usize
        } else {
            there.binds.iter().position(is)?
        };
        Some((index, at as u32))
    }

    /// It runs under a newer configuration from now on. Everything else of it
    /// stays as it is.
    pub fn go_over(self: &mut Rc<Session>, newer: Arc<Config>, place: (ProxyIndex, u32)) {
        let config = Held::new(newer);
        let (frontend, bind) = place;
        if let Some(session) = Rc::get_mut(self) {
            (session.config, session.frontend, session.bind) = (config, frontend, bind);
            return;
        }
        let old = &**self;
        *self = Rc::new(Session {
            config,
            frontend,
            bind,
            source: old.source,
            destination: old.destination,
            accepted: old.accepted,
            ready: old.ready,
            details: old.details.clone(),
            // Streams that are under way on the same connection keep theirs.
            variables: old.variables.clone(),
            tls: old.tls.clone(),
            tracked: old.tracked.clone(),
            encoders: old.encoders.clone(),
        });
    }

    /// Its TLS handshake is done, with this outcome.
    pub fn set_secure(self: &mut Rc<Session>, info: tls::Info) {
        let ready = reactor::now();
        let tls = Some(Rc::new(info));
        // Nobody else has the session before its first stream.
        if let Some(session) = Rc::get_mut(self) {
            (session.tls, session.ready) = (tls, ready);
        }
    }

    /// The listener; None where the session is that of a health check.
    pub fn listener(&self) -> Option<&Bind> {
        self.frontend().binds.get(self.bind as usize)
    }

    /// The listener.
    pub fn bind(&self) -> &Bind {
        &self.frontend().binds[self.bind as usize]
    }
}

/// When things happened; what has not happened is None.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// By the wall clock: the session's accept for its first stream, else the
    /// first byte of the request.
    pub began_at: SystemTime,
    /// The session was accepted, or the previous stream of it ended.
    pub idle_since: Instant,
    /// It is the first stream of its session.
    pub first: bool,
    /// First byte of the request.
    pub began: Instant,
    /// The request's head was complete.
    pub request: Option<Instant>,
    /// Left the queues (a server was granted).
    pub queued: Option<Instant>,
    /// The server's connection stood.
    pub connected: Option<Instant>,
    /// The answer's head was complete.
    pub response: Option<Instant>,
    /// The end.
    pub ended: Option<Instant>,
}

impl Times {
    /// The stream follows `streams` others of its client's connection, which has
    /// been idle since the last of them.
    pub fn follow(&mut self, idle_since: Instant, streams: u32) {
        (self.idle_since, self.first) = (idle_since, streams == 0);
    }

    /// Of a stream that begins now, by both clocks.
    pub fn begin(now: Instant, wall: SystemTime) -> Self {
        Times {
            began_at: wall,
            idle_since: now,
            first: true,
            began: now,
            request: None,
            queued: None,
            connected: None,
            response: None,
            ended: None,
        }
    }
}

/// What ended a stream: the first letter of the termination state.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Termination {
    /// `-`: as it should.
    #[default]
    Normal,
    /// `C`: the client aborted.
    ClientAbort,
    /// `c`: the client timed out.
    ClientTimeout,
    /// `S`: the server aborted or refused.
    ServerAbort,
    /// `s`: the server timed out.
    ServerTimeout,
    /// `P`: the proxy refused (a rule, a bad message).
    Proxy,
    /// `R`: a resource was exhausted.
    Resource,
    /// `I`: an impossible state closed it.
    Internal,
    /// `D`: the server went down and its sessions were shut down.
    ServerDown,
    /// `U`: an active server came up and sessions of backups were shut down.
    ServerUp,
    /// `K`: an operator killed it.
    Killed,
    /// `L`: handled locally (statistics, redirections, returns).
    Local,
}

impl Termination {
    /// Its letter.
    pub fn letter(self) -> u8 {
        match self {
            Termination::Normal => b'-',
            Termination::ClientAbort => b'C',
            Termination::ClientTimeout => b'c',
            Termination::ServerAbort => b'S',
            Termination::ServerTimeout => b's',
            Termination::Proxy => b'P',
            Termination::Resource => b'R',
            Termination::Internal => b'I',
            Termination::ServerDown => b'D',
            Termination::ServerUp => b'U',
            Termination::Killed => b'K',
            Termination::Local => b'L',
        }
    }
}

/// Where a stream was when it ended: the second letter.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Phase {
    /// `R`: waiting for a whole request.
    Request,
    /// `Q`: in a queue.
    Queue,
    /// `C`: connecting to a server.
    Connect,
    /// `H`: waiting for the answer's head.
    Headers,
    /// `D`: moving data.
    Data,
    /// `L`: sending the last data to the client.
    Last,
    /// `T`: held in a tarpit.
    Tarpit,
    /// `-`: complete.
    #[default]
    Done,
}

impl Phase {
    /// Its letter.
    pub fn letter(self) -> u8 {
        match self {
            Phase::Request => b'R',
            Phase::Queue => b'Q',
            Phase::Connect => b'C',
            Phase::Headers => b'H',
            Phase::Data => b'D',
            Phase::Last => b'L',
            Phase::Tarpit => b'T',
            Phase::Done => b'-',
        }
    }
}

/// A request line before rules changed it: logs show this one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReceivedLine {
    /// The method.
    pub method: Vec<u8>,
    /// The target.
    pub target: Vec<u8>,
}

/// What is known of a stream's compression.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CompressionChoice {
    /// What its client takes, by its request.
    pub wanted: Option<Algorithm>,
    /// What its answer is compressed with.
    pub used: Option<Algorithm>,
    /// It would have been, but for a limit of the process.
    pub bypassed: bool,
}

/// One request and its answer, or one tunnel.
#[derive(Debug)]
pub struct Stream {
    /// Unique in the process (`%rt`, `uuid`-like fetches).
    pub id: u64,
    /// Its client's connection.
    pub session: Rc<Session>,
    /// The configuration that it runs under.
    pub config: Arc<Config>,
    /// Its frontend in `config`.
    pub frontend: ProxyIndex,
    /// Its backend, once chosen; in a `listen` the same as the frontend.
    pub backend: Option<ProxyIndex>,
    /// Its server, once chosen.
    pub server: Option<ServerIndex>,
    /// The server that it would rather have (`option prefer-last-server`).
    pub preferred: Option<ServerIndex>,
    /// Whether it is HTTP; else `request` and `response` are empty for ever.
    pub http: bool,
    /// The request; empty until its head is complete.
    pub request: Message,
    /// The answer; its status is 0 until there is one.
    pub response: Message,
    /// What content rules may look at: the first bytes of a TCP stream, or of
    /// a request's body. Empty where no rule asked for it.
    pub payload: Vec<u8>,
    /// The moment at which it is being logged; empty before the first.
    pub log_step: std::cell::Cell<&'static str>,
    /// No more will come into `payload` (end, full buffer, or delay over).
    pub payload_complete: bool,
    /// The same for the server's side (`tcp-response content`).
    pub response_payload: Vec<u8>,
    /// The request that stands in `payload` of a stream that is not HTTP, once
    /// a rule looked for one and all of its head was there.
    pub sniffed: std::cell::OnceCell<Box<Message>>,
    /// No more will come into `response_payload`.
    pub response_payload_complete: bool,
    /// The client's address as a rule set it (`set-src`).
    pub source: Option<Endpoint>,
    /// The destination as a rule set it (`set-dst`, `set-dst-port`).
    pub destination: Option<Endpoint>,
    /// Variables of the scopes `txn`, `req`, `res`.
    pub variables: Variables,
    /// Log level as a rule set it; None is `info`, Some(None) is silent.
    pub log_level: Option<Option<u8>>,
    /// `capture`d request headers, by slot.
    pub captured_request: Vec<Option<Vec<u8>>>,
    /// `capture`d answer headers, by slot.
    pub captured_response: Vec<Option<Vec<u8>>>,
    /// When things happened.
    pub times: Times,
    /// Bytes from the client, head included.
    pub bytes_in: u64,
    /// Bytes to the client, head included.
    pub bytes_out: u64,
    /// Of both, the bytes that were counted while they flowed (`option contstats`).
    pub bytes_counted: (u64, u64),
    /// Its line was logged when its answer began (`option logasap`).
    pub logged: bool,
    /// Connection attempts that failed and were repeated.
    pub retries: u32,
    /// Another server was taken than the one that was chosen first.
    pub redispatched: bool,
    /// Streams before it in the server's queue when it came.
    pub server_queue: u32,
    /// Streams before it in the backend's queue when it came.
    pub backend_queue: u32,
    /// The answer came out of the proxy itself (statistics, redirection, error).
    pub local: bool,
    /// Status for logs when no answer's head stands in `response` (an error page).
    pub local_status: u16,
    /// The status that the server gave, before any rule; 0 where it gave none.
    pub server_status: u16,
    /// The answer is the statistics page.
    pub statistics: bool,
    /// What its connections are asked for, where a format or rule asks.
    pub ends: Option<Box<super::Ends>>,
    /// What TLS of the server's connection came to; None without TLS or server.
    pub server_tls: Option<Rc<tls::Info>>,
    /// The request line as it was received, once a rule has changed it.
    pub received: Option<Box<ReceivedLine>>,
    /// Its unique id, once made.
    pub unique_id: Option<Box<[u8]>>,
    /// The rule of its list at which rules go on once the body is there.
    pub resume_at: u32,
    /// Failed rewrites are ignored (`strict-mode off`).
    pub lenient: bool,
    /// What ended it.
    pub termination: Termination,
    /// Where it was then.
    pub phase: Phase,
    /// Its place among those that operators see.
    pub listed: super::listing::Listed,
    /// What converters changed and is not made yet.
    pub assigned: super::assigned::Assigned,
    /// Entries of tables that it tracks.
    pub tracked: Option<Box<Trackers>>,
    /// State of the rules about lines (`reqrep` and similar ones).
    pub lines: Option<Box<crate::compiled::LineState>>,
    /// The status of which its answer is the configuration's page (`errorloc`), for
    /// logs; 0 where it is none.
    pub error_status: Cell<u16>,
    /// What is known of its user's password; empty where no rule asked.
    pub checked_users: OnceCell<Box<crate::password::Checked>>,
    /// Which server it belongs to, in backends where streams do.
    pub persistence: Option<Box<super::Persistence>>,
    /// What of it is compressed, and how.
    pub compression: CompressionChoice,
    /// What it has to do with a cache.
    pub cache: Option<Box<cache::Used>>,
    /// What rules set for it in place of what its proxies say.
    pub overrides: Option<Box<super::Overrides>>,
    /// What its proxies have that most have not.
    pub rare: Rare,
}

impl Stream {
    /// The frontend.
    pub fn frontend(&self) -> &Proxy {
        self.config.proxy(self.frontend)
    }

    /// The backend, once chosen.
    pub fn backend(&self) -> Option<&Proxy> {
        self.backend.map(|index| self.config.proxy(index))
    }

    /// The server, once chosen.
    pub fn server(&self) -> Option<&Server> {
        let server = self.server?;
        self.backend()?.servers.get(server.0 as usize)
    }

    /// The client's address, as the last rule or PROXY header set it.
    pub fn source(&self) -> Endpoint {
        self.source
            .or(self.session.rewritten().0)
            .unwrap_or(self.session.source)
    }

    /// The address that the client connected to, likewise.
    pub fn destination(&self) -> Endpoint {
        self.destination
            .or(self.session.rewritten().1)
            .unwrap_or(self.session.destination)
    }

    /// The method as the client sent it; empty before there is one.
    pub fn received_method(&self) -> &[u8] {
        self.received
            .as_ref()
            .map_or_else(|| self.request.method(), |line| &line.method)
    }

    /// The target as the client sent it.
    pub fn received_target(&self) -> &[u8] {
        self.received
            .as_ref()
            .map_or_else(|| self.request.target(), |line| &line.target)
    }

    /// Keeps the request line for logs; a rule is about to change it.
    pub fn keep_received(&mut self) {
        if self.received.is_none() && !self.request.method().is_empty() {
            let (method, target) = (
                self.request.method().to_vec(),
                self.request.target().to_vec(),
            );
            self.received = Some(Box::new(ReceivedLine { method, target }));
        }
    }

    /// The status that logs and counters see; 0 when there was no answer.
    pub fn status(&self) -> u16 {
        if self.local_status != 0 {
            self.local_status
        } else {
            self.response.status()
        }
    }
}
