//! The typed configuration: an immutable tree behind an `Arc`. A connection
//! holds the one that it began with. What changes while traffic flows (server
//! state, counters, queues) is not here but in [`crate::state`], keyed by name;
//! the tree only points at it.

mod check;
mod fcgi;
mod forward;
mod global;
mod log_forward;
mod log_profile;
mod peers;
mod persistence;
pub mod product;
mod proxy;
mod rare;
mod ring;
mod rule_texts;
mod server;
mod server_tls;
mod service;
mod source;
mod stick;
pub mod target;

pub use crate::compiled::ERROR_STATUSES;
pub use crate::compiled::{
    Balance, ErrorFile, ErrorPage, HashKey, Hashed, HttpErrors, HttpErrorsSlot,
};
pub use check::{Check, CheckKind, CheckLines, ExternalLines, HealthCheck, MySqlUser};
pub use fcgi::{FcgiApp, PassHeader, SetParam};
pub use forward::{Forwarded, HeaderCases, HeaderNames, KeepAlive, ParameterSource};
pub use global::{
    CloseSpread, Global, LogTarget, LogTargetAddress, StatsLevel, StatsSocket, Tune, VariablesMax,
    Watch, host_name,
};
pub use log_forward::{ForwardedHost, LOG_CONNECTIONS_DEFAULT, LogForward, LogServers};
pub use log_profile::{LogProfile, LogStep, ProfileReference};
pub use peers::{Peer, Peers, PeersSocket};
pub use persistence::{
    AppSession, Cookie, CookieMode, CookiePlaces, HashAffinity, HashFunction, HashMethod, HashType,
    PersistRule, PersistRuleKind, RetryOn, RingKey, ServerName, UseServerRule,
};
pub use proxy::{CaptureCookie, Health, Proxy, StateSource, StatsPage, SwitchRule, SwitchTarget};
pub use rare::Rare;
pub use ring::{Ring, RingServer, RingTls};
pub use rule_texts::RuleTexts;
pub use server::{ProxyExtensions, ProxyField, Server, ServerOptions};
pub use server_tls::{Named, ServerTls, WebSocketProto};
pub use service::Service;
pub use source::{Borrowed, Source, SourceWays};
pub use stick::StickRule;

pub use crate::setting::{
    AddressFamily, Agent, Algorithm, Asked, Bind, BindAddress, BindOwner, CPUS_MAX, Capture,
    Captures, Compressed, Compression, CountedCodes, CpuMap, CpuSet, Direction, EmailAlert,
    ForwardFor, Hold, HostName, HttpProtocol, InitAddress, InitState, LOG_STEPS, ListenerIndex,
    LogSteps, Mailer, Mailers, Mode, NETWORKS_MAX, NameServer, NamedPort, Observe, Observing,
    OnError, OptionSet, Password, Preface, ProxyIndex, ProxyKind, ProxyOption, Reference,
    Resolvers, Resolving, ReuseMode, ServerAddress, ServerIndex, StatusCodes, Step, ThreadSet,
    Timeouts, User, Userlist, UserlistSlot, Workarounds,
};
use crate::state::Presence;
use std::collections::HashMap;

/// One whole configuration, checked and resolved.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// The `global` sections.
    pub global: Global,
    /// Every frontend, backend and listen, in the order of the file.
    pub proxies: Vec<Proxy>,
    /// Backends (and listens) by name: what `use_backend` may name.
    pub backends: HashMap<Box<str>, ProxyIndex>,
    /// Frontends (and listens) by name: where a connection of an older tree
    /// finds itself again. [`crate::control::install`] fills it.
    pub frontends: HashMap<Box<str>, ProxyIndex>,
    /// The files that it was read from, as the user named them.
    pub files: Vec<String>,
    /// Where the lines of each of them begin.
    pub line_starts: std::sync::Arc<[Box<[u32]>]>,
    /// The lines of its rules, if requests are kept.
    pub rule_texts: std::sync::Arc<RuleTexts>,
    /// What its load reported, in HAProxy's form.
    pub reported: Box<str>,
    /// The variables that its lines see, as its last line left them.
    pub environment: language::Environment,
    /// Which of the process it is, from 1 upwards: [`crate::control::install`]
    /// numbers it. 0 never served.
    pub version: u64,
    /// Certificates, authorities and what they revoked, which operators change.
    pub certificates: std::sync::Arc<tls::store::Store>,
    /// Lists of patterns and maps, which operators change.
    pub lists: std::sync::Arc<crate::sample::live::Lists>,
    /// Who shares tables with this process.
    pub peers: Vec<Peers>,
    /// Stick tables.
    pub tables: crate::tables::Tables,
    /// `ring` sections.
    pub rings: Vec<Ring>,
    /// Clients' connections that run under it.
    pub sessions: Presence,
    /// The `cache` sections.
    pub caches: Vec<std::sync::Arc<crate::cache::Cache>>,
    // RESOLVERS's family
    /// The `resolvers` sections.
    pub resolvers: Vec<Resolvers>,
    /// The `fcgi-app` sections.
    pub fcgi_apps: Vec<FcgiApp>,
    /// The `log-forward` sections.
    pub log_forwards: Vec<LogForward>,
    /// Addresses that come and go. No line of the proxy's own says which these are.
    pub services: Vec<Service>,
    /// Backends and servers that expressions name: these servers cannot be removed.
    pub named_servers: Vec<(Box<str>, Box<str>)>,
}

impl Config {
    /// A copy of a tree that serves, to be changed and put in its place: what changes
    /// while traffic flows is shared by both.
    pub fn successor(&self) -> Config {
        self.clone()
    }

    /// The programs of external checks: command and PATH of each.
    pub fn check_programs(&self) -> Vec<(Box<str>, Box<str>)> {
        let mut programs = Vec::new();
        for proxy in self.proxies.iter().filter(|proxy| !proxy.disabled) {
            let Check { kind, external, .. } = &proxy.check;
            let checked = proxy.servers.iter().any(|server| server.options.check);
            if *kind != CheckKind::External || !checked {
                continue;
            }
            let program = (
                external.command.clone().unwrap_or_default(),
                external.path.clone().unwrap_or_default(),
            );
            if !programs.contains(&program) {
                programs.push(program);
            }
        }
        programs
    }

    /// The line of its file, from 1, at which a span begins; None: the file is not known.
    pub fn line_of(&self, span: language::Span) -> Option<u32> {
        let starts = self.line_starts.get(span.file.0 as usize)?;
        u32::try_from(starts.partition_point(|start| *start <= span.start)).ok()
    }

    /// The proxy of an index of this tree.
    pub fn proxy(&self, index: ProxyIndex) -> &Proxy {
        &self.proxies[index.0 as usize]
    }

    /// A backend (or listen) by name.
    pub fn backend(&self, name: &str) -> Option<ProxyIndex> {
        self.backends.get(name).copied()
    }

    /// Whether anything would listen, be it only a socket of operations: a start
    /// without it serves no one.
    pub fn listens(&self) -> bool {
        let forwards = |section: &LogForward| !section.binds.is_empty();
        !self.global.stats_sockets.is_empty()
            || self.log_forwards.iter().any(forwards)
            || self
                .proxies
                .iter()
                .any(|p| p.kind.is_frontend() && !p.disabled && !p.binds.is_empty())
    }

    /// The frontend (or listen) of a name.
    pub fn frontend(&self, name: &str) -> Option<ProxyIndex> {
        self.frontends.get(name).copied()
    }

    /// All proxies with their indexes.
    pub fn iter(&self) -> impl Iterator<Item = (ProxyIndex, &Proxy)> {
        self.proxies
            .iter()
            .enumerate()
            .map(|(i, p)| (ProxyIndex(i as u32), p))
    }
}
