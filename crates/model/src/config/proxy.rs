//! Holds the settings of a `frontend`, `backend` or `listen` section.

use super::persistence::{
    AppSession, Cookie, CookiePlaces, HashAffinity, HashType, PersistRule, RetryOn, UseServerRule,
};
use super::{Check, LogTarget, Server, SourceWays, StickRule};
use crate::compiled::{AdmissionLine, Balance, Condition, ErrorPage, Format, HttpRule, TcpRule};
use crate::setting::{
    Bind, Captures, ForwardFor, Mode, OptionSet, ProxyKind, ProxyOption, Reference, ReuseMode,
    Timeouts,
};
use crate::state::ProxyState;
use language::Span;
use std::sync::Arc;

/// Backend of a `use_backend` rule.
#[derive(Clone, Debug)]
pub enum SwitchTarget {
    Static(Reference),
    /// A name computed for each request; if no backend has this name, the rule is ignored.
    Dynamic(Format),
}

#[derive(Clone, Debug)]
pub struct SwitchRule {
    pub span: Span,
    pub target: SwitchTarget,
    pub condition: Option<Condition>,
}

/// Name and password of a `stats auth` line.
pub type StatsUser = (Box<[u8]>, Box<[u8]>);

#[derive(Clone, Debug, Default)]
pub struct StatsPage {
    /// The settings come from `defaults`, so the first `stats` line of the section itself replaces
    /// them.
    pub inherited: bool,
    pub uri: Box<[u8]>,
    pub realm: Option<Box<[u8]>>,
    pub users: Vec<StatsUser>,
    /// `stats refresh`, seconds; 0 disables it.
    pub refresh_s: u32,
    /// `stats show-node`; the empty string means the host name.
    pub node: Option<Box<str>>,
    pub description: Option<Box<str>>,
    pub legends: bool,
    pub modules: bool,
    pub hide_version: bool,
    /// `stats scope`: names of the proxies to show; "." is the proxy itself; an empty list shows
    /// all.
    pub scope: Vec<Box<str>>,
    /// `stats admin`: conditions under which clients may change servers.
    pub admin: Vec<Condition>,
    /// `stats http-request`: rules that run before the page is served.
    pub http_request: Vec<HttpRule>,
    /// Address of the web console, which the page links to.
    pub console: Option<configuration::ConsoleAddress>,
}

/// A frontend, backend or listen section; while loading also a `defaults` section.
#[derive(Clone, Debug, Default)]
pub struct Proxy {
    pub span: Span,
    /// `id`; if the file has none, numbers are assigned from 1 upwards.
    pub id: u32,
    pub name: Box<str>,
    pub kind: ProxyKind,
    pub disabled: bool,
    pub description: Option<Box<str>>,
    pub mode: Mode,
    pub binds: Vec<Bind>,
    pub servers: Vec<Server>,
    pub default_server: super::ServerOptions,
    pub timeouts: Timeouts,
    pub options: OptionSet,
    pub balance: Balance,
    pub reuse: ReuseMode,
    pub retries: Option<u32>,
    /// `option redispatch`: number of retries after which another server is used (negative counts
    /// from the last); None is off.
    pub redispatch: Option<i32>,
    pub maxconn: Option<u32>,
    pub fullconn: Option<u32>,
    pub backlog: Option<u32>,
    /// Maximum number of new sessions per second (`rate-limit sessions`).
    pub session_rate_max: Option<u32>,
    pub source: Option<std::net::SocketAddr>,
    pub tcp_connection: Vec<TcpRule>,
    pub tcp_session: Vec<TcpRule>,
    /// The `tcp-request connection` and `session` lines.
    pub admission: Vec<AdmissionLine>,
    pub tcp_content: Vec<TcpRule>,
    pub inspect_delay_ms: Option<u32>,
    /// Rules of `http-request`, followed by those of `redirect` lines.
    pub http_request: Vec<HttpRule>,
    pub redirects: Vec<HttpRule>,
    pub http_response: Vec<HttpRule>,
    pub http_after_response: Vec<HttpRule>,
    pub use_backend: Vec<SwitchRule>,
    pub default_backend: Option<Reference>,
    pub forward_for: Option<ForwardFor>,
    /// Error pages of `errorfile`, `errorloc…` and similar lines, by status.
    pub errors: Vec<(u16, ErrorPage)>,
    pub monitor_uri: Option<Box<[u8]>>,
    pub monitor_fail: Vec<Condition>,
    pub check: Check,
    pub stats: Option<Box<StatsPage>>,
    /// `log` targets; `log global` copies those of `global`.
    pub logs: Vec<LogTarget>,
    /// `log global` is present, so that the targets of `global` are added at the end of loading.
    pub log_global: bool,
    /// `log-format`, `option httplog`, `option tcplog`; None is the short format for connections.
    pub log_format: Option<Arc<Format>>,
    pub error_log_format: Option<Arc<Format>>,
    /// `log-format-sd`: the structured data of RFC 5424.
    pub log_format_sd: Option<Arc<Format>>,
    pub unique_id_format: Option<Arc<Format>>,
    pub unique_id_header: Option<Box<[u8]>>,
    /// `capture … header`, `declare capture`.
    pub captures: Captures,
    pub log_tag: Option<Box<[u8]>>,
    pub state_source: Option<(StateSource, Span)>,
    /// `server-state-file-name`; None is the name of the backend.
    pub state_file_name: Option<Box<[u8]>>,
    pub state: Arc<ProxyState>,
    /// State of the load-balancing algorithm.
    pub line: crate::line::BalanceState,
    pub stick: Vec<StickRule>,
    pub email: Option<Box<super::EmailAlert>>,

    pub cookie: Option<Arc<Cookie>>,
    pub cookie_places: CookiePlaces,
    pub dynamic_cookie_key: Option<Box<[u8]>>,
    pub persist_rules: Vec<PersistRule>,
    pub use_server: Vec<UseServerRule>,
    /// `persist rdp-cookie`: the cookie's name.
    pub rdp_persist: Option<Box<[u8]>>,
    pub app_session: Option<Arc<AppSession>>,
    pub hash: HashType,
    /// `hash-balance-factor`, percent of the average load; 0 means no limit.
    pub hash_balance_factor: u32,
    pub hash_affinity: HashAffinity,
    pub retry_on: RetryOn,
    pub source_ways: SourceWays,
    /// The section contains a `balance` line.
    pub balance_said: bool,
    /// Position of `option http_proxy`; only used while loading.
    pub http_proxy: Option<Span>,
    /// `dispatch` or `transparent`; only used while loading.
    pub dispatch: Option<(super::ServerAddress, Span)>,
    /// Internal server for `dispatch` or `transparent`, to which all streams without a persistent
    /// server go instead of being balanced.
    pub dispatch_server: Option<super::ServerIndex>,
    /// `max-session-srv-conns`: maximum number of server connections that a session reserves.
    pub own_connections_max: Option<u32>,
    pub log_steps: Option<super::LogSteps>,
    pub keep_alive_queue_max: Option<u32>,
    /// Request header that contains the server's name (`http-send-name-header`), in lower case.
    pub name_header: Option<Box<[u8]>>,
    pub compression: Option<Box<super::Compression>>,
    pub tcp_response: Vec<TcpRule>,
    /// `tcp-response inspect-delay`, milliseconds.
    pub response_delay_ms: Option<u32>,
    pub forwarded: Option<Arc<super::Forwarded>>,
    pub original_to: Option<ForwardFor>,
    pub header_names: super::HeaderNames,
    /// The section contains an `option http-restrict-req-hdr-names` line.
    pub header_names_said: bool,
    /// `use-fcgi-app`: the name, and its position.
    pub fcgi_app_named: Option<(Box<str>, Span)>,
    /// Index of the application in [`super::Config::fcgi_apps`].
    pub fcgi_app: Option<usize>,
    pub client_keep_alive: super::KeepAlive,
    pub server_keep_alive: super::KeepAlive,
    // The following fields belong to keywords of HAProxy 1.x.
    /// `req…`, `rsp…`, `block`; None without such a line.
    pub lines: Option<Box<crate::compiled::LineRuleSet>>,
    /// `monitor-net`, `mode health`; None without both.
    pub health: Option<Box<Health>>,
    pub capture_cookie: Option<Box<CaptureCookie>>,
    /// `mode log`: the servers and the targets of messages.
    pub log_servers: Option<Arc<super::LogServers>>,
    pub balance_sticky: bool,
    /// Features that few proxies use; known when the whole section is loaded.
    pub rare: super::Rare,
    /// Names of servers in the file that an operator removed (`del server`).
    pub removed: Vec<Box<str>>,
}

/// Connections that get a response before any of their data is read.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Health {
    /// `monitor-net`: the connections from this network.
    pub network: Option<language::value::AddressNetwork>,
    /// `mode health`: all connections.
    pub always: bool,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CaptureCookie {
    /// Prefix that a cookie (`name=value`) must have to be captured.
    pub begin: Box<[u8]>,
    /// Maximum number of captured bytes.
    pub length_max: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StateSource {
    None,
    Global,
    Local,
}

impl Proxy {
    pub fn has(&self, option: ProxyOption) -> bool {
        self.options.has(option)
    }

    /// Returns whether cookies, `use-server`, `force-persist`, `ignore-persist`, `persist
    /// rdp-cookie`, `appsession` or `dispatch` can affect the choice of a server before load
    /// balancing. `stick` rules are not considered here.
    pub fn persists(&self) -> bool {
        self.cookie.is_some()
            || !self.use_server.is_empty()
            || !self.persist_rules.is_empty()
            || self.rdp_persist.is_some()
            || self.app_session.is_some()
            || self.dispatch_server.is_some()
    }
}
