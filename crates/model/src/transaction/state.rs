//! Defines the state of a stream and of its session (the client's connection). The proxy's stream
//! code moves the bytes.

use super::details::Details;
use super::listing::Listed;
use super::{Decided, Links, LogState, Payloads, Route, RuleState, StreamOutcome, Times, Transfer};
use crate::config::{Bind, Config, ListenerIndex, Proxy, ProxyIndex, Server};
use crate::sample::Variables;
use crate::state::compression::OfClient;
use crate::tables::SessionTrackers;
use http::message::HttpMessage;
use reactor::{self, Instant};
use std::cell::{Cell, OnceCell};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;

/// Address of one end of a client's connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Endpoint {
    Inet(SocketAddr),
    Unix,
}

impl Endpoint {
    /// Returns the address; None for a Unix socket. An IPv4-mapped IPv6 address becomes IPv4.
    pub fn ip(self) -> Option<IpAddr> {
        match self {
            Endpoint::Inet(address) => Some(address.ip().to_canonical()),
            Endpoint::Unix => None,
        }
    }

    pub fn port(self) -> Option<u16> {
        match self {
            Endpoint::Inet(address) => Some(address.port()),
            Endpoint::Unix => None,
        }
    }
}

/// Reference of a session to its configuration. The configuration counts its sessions by these.
#[derive(Debug)]
pub struct SessionConfig(Arc<Config>);

impl SessionConfig {
    /// Counts a new session of the configuration.
    pub fn new(config: Arc<Config>) -> SessionConfig {
        config.sessions.increment();
        SessionConfig(config)
    }
}

impl Drop for SessionConfig {
    fn drop(&mut self) {
        self.0.sessions.decrement();
    }
}

impl std::ops::Deref for SessionConfig {
    type Target = Arc<Config>;
    fn deref(&self) -> &Arc<Config> {
        &self.0
    }
}

/// A client's connection, as its streams see it. Shared by the streams of an HTTP/2 connection, and
/// by consecutive requests of an HTTP/1 one.
#[derive(Debug)]
pub struct Session {
    /// Configuration at the start of the connection or, with HTTP, at the start of the last
    /// request. All streams of the session use the same one.
    pub config: SessionConfig,
    pub frontend: ProxyIndex,
    /// Index of the listener in the frontend's `binds`.
    pub bind: u32,
    /// Address of the client, after a PROXY header.
    pub source: Endpoint,
    /// The address that the client connected to, after a PROXY header.
    pub destination: Endpoint,
    /// Time at which the connection was accepted, for durations.
    pub accepted: Instant,
    /// Time at which the transport was ready (PROXY header, later TLS).
    pub ready: Instant,
    pub details: OnceCell<Box<Details>>,
    /// Result of the TLS handshake; None without TLS.
    pub tls: Option<Rc<tls::Info>>,
    pub variables: std::cell::RefCell<Variables>,
    pub tracked: OnceCell<SessionTrackers>,
    /// Number of responses to this client that are being compressed.
    pub encoders: OnceCell<OfClient>,
}

impl Session {
    /// Creates the session of a connection that was accepted now.
    pub fn new(
        config: Arc<Config>,
        ListenerIndex { frontend, bind }: ListenerIndex,
        source: Endpoint,
        destination: Endpoint,
    ) -> Session {
        Session {
            config: SessionConfig::new(config),
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

    pub fn frontend(&self) -> &Proxy {
        self.config.proxy(self.frontend)
    }

    pub fn place(&self) -> ListenerIndex {
        ListenerIndex {
            frontend: self.frontend,
            bind: self.bind,
        }
    }

    /// Finds the same listener in a newer configuration. Returns None if the listener was removed,
    /// or admits clients under other conditions, so that it might not admit this one.
    pub fn place_in(&self, newer: &Config) -> Option<ListenerIndex> {
        self.listener_in(newer)
            .filter(|place| self.has_same_admission(newer, *place))
    }

    /// Returns whether a newer configuration has the same listener, but might refuse this client.
    pub fn must_be_admitted_again(&self, newer: &Config) -> bool {
        self.listener_in(newer)
            .is_some_and(|place| !self.has_same_admission(newer, place))
    }

    fn has_same_admission(&self, newer: &Config, place: ListenerIndex) -> bool {
        let binds = &newer.proxy(place.frontend).binds;
        let number = |bind: &Bind| bind.admission;
        binds.get(place.bind as usize).map(number) == self.listener().map(number)
    }

    /// Finds the same listener in a newer configuration: the frontend by its name, the listener by
    /// its address. Returns None if the listener was removed or its mode, state or use of TLS
    /// differs.
    fn listener_in(&self, newer: &Config) -> Option<ListenerIndex> {
        let (frontend, bind) = (self.frontend(), self.bind());
        let index = newer.frontend(&frontend.name)?;
        let there = newer.proxy(index);
        let serves = there.mode == frontend.mode
            && !there.disabled
            && Arc::ptr_eq(&there.state, &frontend.state);
        let is = |other: &Bind| {
            serves && other.address == bind.address && other.tls.is_some() == bind.tls.is_some()
        };
        // Tries the same index first, because it rarely changes between two configurations.
        let at = if there.binds.get(self.bind as usize).is_some_and(is) {
            self.bind as usize
        } else {
            there.binds.iter().position(is)?
        };
        Some(ListenerIndex {
            frontend: index,
            bind: at as u32,
        })
    }

    /// Moves the session to a newer configuration. Everything else stays as it is.
    pub fn move_to_config(self: &mut Rc<Session>, newer: Arc<Config>, place: ListenerIndex) {
        let config = SessionConfig::new(newer);
        let ListenerIndex { frontend, bind } = place;
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
            // Copies the variables, so that streams in progress on the same connection keep theirs.
            variables: old.variables.clone(),
            tls: old.tls.clone(),
            tracked: old.tracked.clone(),
            encoders: old.encoders.clone(),
        });
    }

    /// Stores the result of the TLS handshake and the time at which it ended.
    pub fn set_secure(self: &mut Rc<Session>, info: tls::Info) {
        let ready = reactor::now();
        let tls = Some(Rc::new(info));
        // Cannot fail, because the session is not shared before its first stream.
        if let Some(session) = Rc::get_mut(self) {
            (session.tls, session.ready) = (tls, ready);
        }
    }

    /// Returns the listener; None for the session of a health check.
    pub fn listener(&self) -> Option<&Bind> {
        self.frontend().binds.get(self.bind as usize)
    }

    /// Returns the listener.
    ///
    /// # Panics
    /// The session has no listener, such as that of a health check.
    pub fn bind(&self) -> &Bind {
        &self.frontend().binds[self.bind as usize]
    }
}

#[derive(Debug)]
pub struct StreamIdentity {
    /// Number of the stream, unique in the process.
    pub id: u64,
    /// Value of `unique-id-format`, once generated.
    pub unique_id: OnceCell<Box<[u8]>>,
    /// The ID is being generated: its format may refer to the ID itself.
    pub generates_id: Cell<bool>,
    /// Entry of the stream in the list that operators see (`show sess`).
    pub listed: Listed,
}

/// A request with its response, or a tunnel. A stream belongs to one thread of the data plane,
/// whose driver (`proxy::stream`) moves the bytes. Its indices are valid in `config` only.
#[derive(Debug)]
pub struct ProxyStream {
    pub identity: StreamIdentity,
    pub session: Rc<Session>,
    pub config: Arc<Config>,
    /// True for HTTP; otherwise `request` and `response` stay empty.
    pub http: bool,
    /// The request; empty until its head is complete.
    pub request: HttpMessage,
    /// The response; its status is 0 until there is one.
    pub response: HttpMessage,
    pub payloads: Payloads,
    pub route: Route,
    pub times: Times,
    pub transfer: Transfer,
    pub outcome: StreamOutcome,
    pub log: LogState,
    pub rules: RuleState,
    pub links: Links,
    /// Decisions for the request history; None if the history does not need them.
    pub decided: Option<Box<Decided>>,
}

impl ProxyStream {
    pub fn frontend(&self) -> &Proxy {
        self.config.proxy(self.route.frontend)
    }

    pub fn backend(&self) -> Option<&Proxy> {
        self.route.backend.map(|index| self.config.proxy(index))
    }

    pub fn server(&self) -> Option<&Server> {
        let server = self.route.server?;
        self.backend()?.servers.get(server.0 as usize)
    }

    /// Returns the client's address as the last rule or PROXY header set it.
    pub fn source(&self) -> Endpoint {
        self.links
            .source
            .or(self.session.rewritten().0)
            .unwrap_or(self.session.source)
    }

    /// Returns the address that the client connected to, as the last rule or PROXY header set it.
    pub fn destination(&self) -> Endpoint {
        self.links
            .destination
            .or(self.session.rewritten().1)
            .unwrap_or(self.session.destination)
    }

    /// Returns the method as the client sent it; empty before there is one.
    pub fn received_method(&self) -> &[u8] {
        self.log
            .received
            .as_ref()
            .map_or_else(|| self.request.method(), |line| &line.method)
    }

    /// Returns the target as the client sent it.
    pub fn received_target(&self) -> &[u8] {
        self.log
            .received
            .as_ref()
            .map_or_else(|| self.request.target(), |line| &line.target)
    }

    /// Saves the request line for logs before a rule changes it.
    pub fn keep_received(&mut self) {
        self.log.keep_received(&self.request);
    }

    /// Returns the status for logs and counters; 0 without a response.
    pub fn status(&self) -> u16 {
        if self.outcome.local_status != 0 {
            self.outcome.local_status
        } else {
            self.response.status()
        }
    }
}
