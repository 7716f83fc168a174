//! What is known of a stream and of the session (the client's connection) that
//! it came on. Values only: the driver moves the bytes.

use super::details::Details;
use super::listing::Listed;
use super::{Decided, Links, LogState, Outcome, Payloads, Route, RuleState, Times, Transfer};
use crate::config::{Bind, Config, ListenerIndex, Proxy, ProxyIndex, Server};
use crate::sample::Variables;
use crate::state::compression::OfClient;
use crate::tables::SessionTrackers;
use http::message::Message;
use reactor::{self, Instant};
use std::cell::OnceCell;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;

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
        ListenerIndex { frontend, bind }: ListenerIndex,
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

    /// Where its listener is in its configuration.
    pub fn place(&self) -> ListenerIndex {
        ListenerIndex {
            frontend: self.frontend,
            bind: self.bind,
        }
    }

    /// Where its listener is in a newer configuration: the frontend by its
    /// name, the listener by its address. None: it is no more, or serves
    /// something else.
    pub fn place_in(&self, newer: &Config) -> Option<ListenerIndex> {
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
        Some(ListenerIndex {
            frontend: index,
            bind: at as u32,
        })
    }

    /// It runs under a newer configuration from now on. Everything else of it
    /// stays as it is.
    pub fn go_over(self: &mut Rc<Session>, newer: Arc<Config>, place: ListenerIndex) {
        let config = Held::new(newer);
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

/// What a stream is called.
#[derive(Debug)]
pub struct Identity {
    /// Unique in the process (`%rt`, `uuid`-like fetches).
    pub id: u64,
    /// Its unique id, once made.
    pub unique_id: Option<Box<[u8]>>,
    /// Its place among those that operators see.
    pub listed: Listed,
}

/// One request and its answer, or one tunnel.
#[derive(Debug)]
pub struct Stream {
    /// What it is called.
    pub identity: Identity,
    /// Its client's connection.
    pub session: Rc<Session>,
    /// The configuration that it runs under.
    pub config: Arc<Config>,
    /// Whether it is HTTP; else `request` and `response` are empty for ever.
    pub http: bool,
    /// The request; empty until its head is complete.
    pub request: Message,
    /// The answer; its status is 0 until there is one.
    pub response: Message,
    /// What content rules may look at.
    pub payloads: Payloads,
    /// Where it goes.
    pub route: Route,
    /// When things happened.
    pub times: Times,
    /// What passes through it.
    pub transfer: Transfer,
    /// What came of it.
    pub outcome: Outcome,
    /// What its log lines need.
    pub log: LogState,
    /// What rules have done to it so far.
    pub rules: RuleState,
    /// What is known of its two connections.
    pub links: Links,
    /// What was decided, for the history of requests; kept with the memory of the stream.
    pub decided: Option<Box<Decided>>,
}

impl Stream {
    /// The frontend.
    pub fn frontend(&self) -> &Proxy {
        self.config.proxy(self.route.frontend)
    }

    /// The backend, once chosen.
    pub fn backend(&self) -> Option<&Proxy> {
        self.route.backend.map(|index| self.config.proxy(index))
    }

    /// The server, once chosen.
    pub fn server(&self) -> Option<&Server> {
        let server = self.route.server?;
        self.backend()?.servers.get(server.0 as usize)
    }

    /// The client's address, as the last rule or PROXY header set it.
    pub fn source(&self) -> Endpoint {
        self.links
            .source
            .or(self.session.rewritten().0)
            .unwrap_or(self.session.source)
    }

    /// The address that the client connected to, likewise.
    pub fn destination(&self) -> Endpoint {
        self.links
            .destination
            .or(self.session.rewritten().1)
            .unwrap_or(self.session.destination)
    }

    /// The method as the client sent it; empty before there is one.
    pub fn received_method(&self) -> &[u8] {
        self.log
            .received
            .as_ref()
            .map_or_else(|| self.request.method(), |line| &line.method)
    }

    /// The target as the client sent it.
    pub fn received_target(&self) -> &[u8] {
        self.log
            .received
            .as_ref()
            .map_or_else(|| self.request.target(), |line| &line.target)
    }

    /// Keeps the request line for logs; a rule is about to change it.
    pub fn keep_received(&mut self) {
        self.log.keep_received(&self.request);
    }

    /// The status that logs and counters see; 0 when there was no answer.
    pub fn status(&self) -> u16 {
        if self.outcome.local_status != 0 {
            self.outcome.local_status
        } else {
            self.response.status()
        }
    }
}
