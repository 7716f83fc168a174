//! Defines the configuration of the proxy as an immutable structure behind an `Arc`. A connection
//! keeps the configuration with which it began. Data that changes at run time (server states,
//! counters, queues) is in [`crate::state`], keyed by name; the configuration only refers to it.

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
    CloseSpread, Global, LogTarget, LogTargetAddress, SeverityOutput, StatsLevel, StatsSocket,
    Tune, VariablesMax, WatchSettings, host_name,
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
pub use server_tls::{NamedContent, ServerTls, WebSocketProto};
pub use service::Service;
pub use source::{Borrowed, ConnectionSource, SourceWays};
pub use stick::StickRule;

pub use crate::setting::{
    AddressFamily, Agent, Algorithm, Bind, BindAddress, BindOwner, CPUS_MAX, Capture, Captures,
    Compressed, Compression, CountedCodes, CpuMap, CpuSet, Direction, EmailAlert, ForwardFor, Hold,
    HostName, HttpProtocol, InitAddress, InitState, LOG_STEPS, ListenerIndex, LogSteps, Mailer,
    Mailers, Mode, NETWORKS_MAX, NameServer, NamedPort, Observe, Observing, OnError, OptionSet,
    Password, Preface, ProxyIndex, ProxyKind, ProxyOption, RecordingOptions, Reference, Resolvers,
    Resolving, ReuseMode, ServerAddress, ServerIndex, StatusCodes, StreamLogStep, ThreadSet,
    Timeouts, UserAccount, Userlist, UserlistSlot, Workarounds,
};
use crate::state::Presence;
use std::collections::HashMap;

/// A complete configuration. Names are resolved to indices, which are valid only in this
/// configuration. [`crate::control::install`] connects it with the run-time states before it
/// serves. Connections that began under it keep it in memory.
#[derive(Clone, Debug, Default)]
pub struct Config {
    pub global: Global,
    /// All frontends, backends and listens, in the order of the file.
    pub proxies: Vec<Proxy>,
    /// Backends (and listens) by name, for `use_backend`.
    pub backends: HashMap<Box<str>, ProxyIndex>,
    /// Frontends (and listens) by name, by which a connection under an older configuration finds
    /// its frontend in this one. [`crate::control::install`] fills it.
    pub frontends: HashMap<Box<str>, ProxyIndex>,
    /// Files of the configuration, as the user named them.
    pub files: Vec<String>,
    /// Offsets of the line starts of each file.
    pub line_starts: std::sync::Arc<[Box<[u32]>]>,
    /// Texts of the rule lines, for operators who query the request history.
    pub rule_texts: std::sync::Arc<RuleTexts>,
    /// Messages of the load, in HAProxy's format.
    pub reported: Box<str>,
    /// Environment variables after the last line of the files.
    pub environment: language::Environment,
    /// Number of this configuration in the process, from 1 upwards, assigned by
    /// [`crate::control::install`]. 0: not installed.
    pub version: u64,
    /// Certificates, CAs and revocation lists, which operators can change.
    pub certificates: std::sync::Arc<tls::store::Store>,
    /// Pattern lists and maps, which operators can change.
    pub lists: std::sync::Arc<crate::sample::live::Lists>,
    pub peers: Vec<Peers>,
    pub tables: crate::tables::Tables,
    pub rings: Vec<Ring>,
    /// Client connections that use this configuration.
    pub sessions: Presence,
    pub caches: Vec<std::sync::Arc<crate::cache::Cache>>,
    pub resolvers: Vec<Resolvers>,
    pub fcgi_apps: Vec<FcgiApp>,
    pub log_forwards: Vec<LogForward>,
    /// Virtual addresses, which this machine gets and loses at run time. They come from another
    /// part of the platform, not from a line of the proxy's configuration.
    pub services: Vec<Service>,
    /// Backends and servers that expressions refer to: these servers cannot be removed.
    pub named_servers: Vec<(Box<str>, Box<str>)>,
}

impl Config {
    /// Copies a running configuration, so that the copy can be changed and then take its place.
    /// Both share the run-time state.
    pub fn successor(&self) -> Config {
        self.clone()
    }

    /// Returns the commands of external checks that enabled proxies with checked servers use, each
    /// with its `PATH`, without duplicates.
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

    /// Returns the line, from 1, at which a span begins; None if the file is unknown.
    pub fn line_of(&self, span: language::Span) -> Option<u32> {
        let starts = self.line_starts.get(span.file.0 as usize)?;
        u32::try_from(starts.partition_point(|start| *start <= span.start)).ok()
    }

    pub fn proxy(&self, index: ProxyIndex) -> &Proxy {
        &self.proxies[index.0 as usize]
    }

    /// Finds a backend (or listen) by name.
    pub fn backend(&self, name: &str) -> Option<ProxyIndex> {
        self.backends.get(name).copied()
    }

    /// Returns whether there is any listener, including a statistics socket. A process without a
    /// listener is useless.
    pub fn listens(&self) -> bool {
        let forwards = |section: &LogForward| !section.binds.is_empty();
        !self.global.stats_sockets.is_empty()
            || self.log_forwards.iter().any(forwards)
            || self
                .proxies
                .iter()
                .any(|p| p.kind.is_frontend() && !p.disabled && !p.binds.is_empty())
    }

    /// Finds a frontend (or listen) by name.
    pub fn frontend(&self, name: &str) -> Option<ProxyIndex> {
        self.frontends.get(name).copied()
    }

    pub fn iter(&self) -> impl Iterator<Item = (ProxyIndex, &Proxy)> {
        self.proxies
            .iter()
            .enumerate()
            .map(|(i, p)| (ProxyIndex(i as u32), p))
    }
}
