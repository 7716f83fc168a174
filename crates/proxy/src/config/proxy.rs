//! A frontend, backend or listen.

use super::persistence::{
    AppSession, Cookie, CookiePlaces, HashAffinity, HashKey, HashType, Hashed, PersistRule,
    RetryOn, UseServerRule,
};
use super::{Bind, Check, LogTarget, ProxyIndex, Server, SourceWays, StickRule};
use crate::rules::{Condition, Format, HttpRule, TcpRule};
use crate::state::ProxyState;
use language::Span;
use std::net::IpAddr;
use std::sync::Arc;

/// What a proxy section is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ProxyKind {
    /// `defaults` (exists only while loading).
    #[default]
    Defaults,
    /// `frontend`.
    Frontend,
    /// `backend`.
    Backend,
    /// `listen`: both in one.
    Listen,
}

impl ProxyKind {
    /// Whether it takes connections from clients.
    pub fn is_frontend(self) -> bool {
        matches!(self, ProxyKind::Frontend | ProxyKind::Listen)
    }

    /// Whether it has servers.
    pub fn is_backend(self) -> bool {
        matches!(self, ProxyKind::Backend | ProxyKind::Listen)
    }

    /// The section's name.
    pub fn name(self) -> &'static str {
        match self {
            ProxyKind::Defaults => "defaults",
            ProxyKind::Frontend => "frontend",
            ProxyKind::Backend => "backend",
            ProxyKind::Listen => "listen",
        }
    }
}

/// `mode`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Mode {
    /// Bytes.
    #[default]
    Tcp,
    /// Requests and answers.
    Http,
    /// Log messages: only of backends, which lines of `log` name.
    Log,
}

impl Mode {
    /// As files name it.
    pub fn name(self) -> &'static str {
        match self {
            Mode::Tcp => "tcp",
            Mode::Http => "http",
            Mode::Log => "log",
        }
    }
}

/// `timeout …`, milliseconds each; None is no limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Timeouts {
    /// `timeout client`.
    pub client_ms: Option<u32>,
    /// `timeout client-fin`.
    pub client_fin_ms: Option<u32>,
    /// `timeout http-request`.
    pub http_request_ms: Option<u32>,
    /// `timeout http-keep-alive`.
    pub http_keep_alive_ms: Option<u32>,
    /// `timeout connect`.
    pub connect_ms: Option<u32>,
    /// `timeout queue`.
    pub queue_ms: Option<u32>,
    /// `timeout server`.
    pub server_ms: Option<u32>,
    /// `timeout server-fin`.
    pub server_fin_ms: Option<u32>,
    /// `timeout tunnel`.
    pub tunnel_ms: Option<u32>,
    /// `timeout tarpit`.
    pub tarpit_ms: Option<u32>,
    /// `timeout check`.
    pub check_ms: Option<u32>,
    /// `timeout client-hs`: of a TLS handshake.
    pub handshake_ms: Option<u32>,
}

/// The `option`s that are only on or off.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum ProxyOption {
    /// `option httplog` and `option tcplog` set the log format instead.
    DontLogNull,
    /// `option dontlog-normal`
    DontLogNormal,
    /// `option log-health-checks`
    LogHealthChecks,
    /// `option log-separate-errors`
    LogSeparateErrors,
    /// `option logasap`
    LogAsap,
    /// `option contstats`
    ContStats,
    /// `option socket-stats`
    SocketStats,
    /// `option nolinger`
    NoLinger,
    /// `option clitcpka` (and `option tcpka`)
    ClientTcpKeepAlive,
    /// `option srvtcpka` (and `option tcpka`)
    ServerTcpKeepAlive,
    /// `option http-server-close`
    HttpServerClose,
    /// `option httpclose`
    HttpClose,
    /// `option http-keep-alive`, written down: it undoes the two above.
    HttpKeepAlive,
    /// `option http-pretend-keepalive`
    HttpPretendKeepAlive,
    /// `option http-buffer-request`
    HttpBufferRequest,
    /// `option http-no-delay`
    HttpNoDelay,
    /// `option http-ignore-probes`
    HttpIgnoreProbes,
    /// `option abortonclose`
    AbortOnClose,
    /// `option allbackups`
    AllBackups,
    /// `option independent-streams`
    IndependentStreams,
    /// `option splice-auto`, `-request`, `-response`
    SpliceAuto,
    /// `option tcp-smart-accept`
    TcpSmartAccept,
    /// `option tcp-smart-connect`
    TcpSmartConnect,
    /// `option accept-invalid-http-request`
    AcceptInvalidHttpRequest,
    /// `option accept-invalid-http-response`
    AcceptInvalidHttpResponse,
    /// `option prefer-last-server`
    PreferLastServer,
    /// `option http-use-proxy-header`
    HttpUseProxyHeader,
    /// `option idle-close-on-response`
    IdleCloseOnResponse,
    /// `option checkcache`
    CheckCache,
    /// `option h1-case-adjust-bogus-client`
    H1CaseClient,
    /// `option h1-case-adjust-bogus-server`
    H1CaseServer,
    /// `option disable-h2-upgrade`
    DisableH2Upgrade,
    /// `option http-drop-request-trailers`
    DropRequestTrailers,
    /// `option http-drop-response-trailers`
    DropResponseTrailers,
    /// `option persist`
    Persist,
}

/// A set of [`ProxyOption`]s, with what was said in this section (so that a
/// section can override its defaults both ways).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct OptionSet(u64);

impl OptionSet {
    /// Whether it is on.
    pub fn has(self, option: ProxyOption) -> bool {
        self.0 & (1 << option as u8) != 0
    }

    /// Turns it on or off.
    pub fn set(&mut self, option: ProxyOption, on: bool) {
        if on {
            self.0 |= 1 << option as u8;
        } else {
            self.0 &= !(1 << option as u8);
        }
    }
}

/// `http-reuse`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ReuseMode {
    /// No idle connection is used by another session.
    Never,
    /// Not for the first request of a session.
    #[default]
    Safe,
    /// For the first too, on a connection that was reused before.
    Aggressive,
    /// Always.
    Always,
}

/// `balance`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Balance {
    /// Smooth weighted round robin; weights may change at run time.
    #[default]
    RoundRobin,
    /// Round robin over a table made at the start.
    StaticRoundRobin,
    /// Fewest connections for its weight.
    LeastConnections,
    /// The first that has a free slot.
    First,
    /// The client's address, hashed.
    Source,
    /// Best of so many drawn ones.
    Random(u32),
    /// Something of the stream, hashed.
    Hash(Hashed),
}

impl Balance {
    /// Whether the same key goes to the same server.
    pub fn is_by_key(&self) -> bool {
        matches!(self, Balance::Source | Balance::Hash(_))
    }

    /// Whether it looks for its key in the body of a POST.
    pub fn looks_at_body(&self) -> bool {
        let key = match self {
            Balance::Hash(hashed) => &hashed.key,
            _ => return false,
        };
        matches!(
            key,
            HashKey::UrlParameter {
                check_post: true,
                ..
            }
        )
    }
}

/// A name in the file that stands for a backend; its index once resolved.
#[derive(Clone, Debug)]
pub struct Reference {
    /// The name.
    pub name: Box<str>,
    /// Where it stands.
    pub span: Span,
    /// Filled in when the whole file is known.
    pub index: Option<ProxyIndex>,
}

/// Where a `use_backend` leads.
#[derive(Clone, Debug)]
pub enum SwitchTarget {
    /// A backend by name.
    Static(Reference),
    /// A name computed for each request; without such a backend the rule is ignored.
    Dynamic(Format),
}

/// One `use_backend`.
#[derive(Clone, Debug)]
pub struct SwitchRule {
    /// Where it stands.
    pub span: Span,
    /// Where it leads.
    pub target: SwitchTarget,
    /// When.
    pub condition: Option<Condition>,
}

/// `option forwardfor`.
#[derive(Clone, Debug)]
pub struct ForwardFor {
    /// Header name, lower case: "x-forwarded-for".
    pub header: Box<[u8]>,
    /// `except` networks.
    pub except: Vec<(IpAddr, u8)>,
    /// `if-none`.
    pub if_none: bool,
}

impl ForwardFor {
    /// Whether `except` leaves an address out.
    pub fn excepts(&self, ip: IpAddr) -> bool {
        self.except
            .iter()
            .any(|(network, bits)| match (network, ip) {
                (IpAddr::V4(network), IpAddr::V4(ip)) => {
                    let mask = u32::MAX
                        .checked_shl(32 - u32::from(*bits).min(32))
                        .unwrap_or(0);
                    (network.to_bits() ^ ip.to_bits()) & mask == 0
                }
                (IpAddr::V6(network), IpAddr::V6(ip)) => {
                    let mask = u128::MAX
                        .checked_shl(128 - u32::from(*bits).min(128))
                        .unwrap_or(0);
                    (network.to_bits() ^ ip.to_bits()) & mask == 0
                }
                _ => false,
            })
    }
}

/// A slot for a captured value.
#[derive(Clone, Debug)]
pub struct Capture {
    /// The header that fills it; None is filled by rules only.
    pub header: Option<Box<[u8]>>,
    /// Bytes that are kept.
    pub length_max: usize,
}

/// The slots of a frontend, in the order of the file.
#[derive(Clone, Debug, Default)]
pub struct Captures {
    /// For requests.
    pub request: Vec<Capture>,
    /// For answers.
    pub response: Vec<Capture>,
}

/// What is sent in place of an answer (`errorfile`, `errorloc`).
#[derive(Clone, Debug)]
pub enum ErrorPage {
    /// The bytes of a file, a whole HTTP answer.
    Raw(Arc<[u8]>),
    /// 302 or 303 to a location.
    Redirect(u16, Box<[u8]>),
    /// A page that is made for each stream (`http-error`).
    Made(Arc<crate::rules::Answer>),
    /// The one of a group, where it has one (`errorfiles`).
    Group(super::HttpErrorsSlot),
    /// The one that would be there without this proxy's lines.
    Default,
}

/// Name and password of one `stats auth`.
pub type StatsUser = (Box<[u8]>, Box<[u8]>);

/// `stats …` of a proxy.
#[derive(Clone, Debug, Default)]
pub struct StatsPage {
    /// It comes from `defaults`: a `stats` line of the section itself begins afresh.
    pub inherited: bool,
    /// `stats uri`.
    pub uri: Box<[u8]>,
    /// `stats realm`.
    pub realm: Option<Box<[u8]>>,
    /// `stats auth`.
    pub users: Vec<StatsUser>,
    /// `stats refresh`, seconds; 0 is none.
    pub refresh_s: u32,
    /// `stats show-node`; the empty string is the host's name.
    pub node: Option<Box<str>>,
    /// `stats show-desc`.
    pub description: Option<Box<str>>,
    /// `stats show-legends`.
    pub legends: bool,
    /// `stats show-modules`.
    pub modules: bool,
    /// `stats hide-version`.
    pub hide_version: bool,
    /// `stats scope`: proxies that are shown; "." is this one; none shows all.
    pub scope: Vec<Box<str>>,
    /// `stats admin`: who may change servers.
    pub admin: Vec<Condition>,
    /// `stats http-request`: rules before the page.
    pub http_request: Vec<HttpRule>,
}

/// A frontend, backend or listen; also a `defaults` while loading.
#[derive(Clone, Debug, Default)]
pub struct Proxy {
    /// Where its name stands.
    pub span: Span,
    /// `id`; assigned from 1 upwards (2 and more in practice) where the file gives none.
    pub id: u32,
    /// Its name.
    pub name: Box<str>,
    /// What it is.
    pub kind: ProxyKind,
    /// `disabled`.
    pub disabled: bool,
    /// `description`.
    pub description: Option<Box<str>>,
    /// `mode`.
    pub mode: Mode,
    /// `bind`.
    pub binds: Vec<Bind>,
    /// `server`.
    pub servers: Vec<Server>,
    /// `default-server`.
    pub default_server: super::ServerOptions,
    /// `timeout`.
    pub timeouts: Timeouts,
    /// `option`.
    pub options: OptionSet,
    /// `balance`.
    pub balance: Balance,
    /// `http-reuse`.
    pub reuse: ReuseMode,
    /// `retries`.
    pub retries: Option<u32>,
    /// `option redispatch`: None is off; else after how many retries (negative counts from the last).
    pub redispatch: Option<i32>,
    /// `maxconn`.
    pub maxconn: Option<u32>,
    /// `fullconn`.
    pub fullconn: Option<u32>,
    /// `backlog`.
    pub backlog: Option<u32>,
    /// `rate-limit sessions`, a second.
    pub session_rate_max: Option<u32>,
    /// `source`.
    pub source: Option<std::net::SocketAddr>,
    /// `tcp-request connection`.
    pub tcp_connection: Vec<TcpRule>,
    /// `tcp-request session`.
    pub tcp_session: Vec<TcpRule>,
    /// `tcp-request content`.
    pub tcp_content: Vec<TcpRule>,
    /// `tcp-request inspect-delay`, milliseconds.
    pub inspect_delay_ms: Option<u32>,
    /// `http-request`, and `redirect` after them.
    pub http_request: Vec<HttpRule>,
    /// `redirect`.
    pub redirects: Vec<HttpRule>,
    /// `http-response`.
    pub http_response: Vec<HttpRule>,
    /// `http-after-response`.
    pub http_after_response: Vec<HttpRule>,
    /// `use_backend`.
    pub use_backend: Vec<SwitchRule>,
    /// `default_backend`.
    pub default_backend: Option<Reference>,
    /// `option forwardfor`.
    pub forward_for: Option<ForwardFor>,
    /// `errorfile`, `errorloc…`, by status.
    pub errors: Vec<(u16, ErrorPage)>,
    /// `monitor-uri`.
    pub monitor_uri: Option<Box<[u8]>>,
    /// `monitor fail`.
    pub monitor_fail: Vec<Condition>,
    /// `option httpchk` and its like.
    pub check: Check,
    /// `stats`.
    pub stats: Option<Box<StatsPage>>,
    /// `log`, resolved (`log global` copies).
    pub logs: Vec<LogTarget>,
    /// `log global` was said: the global section's targets come at the end of loading.
    pub log_global: bool,
    /// `log-format`, `option httplog`, `option tcplog`; None is the short form of connections.
    pub log_format: Option<Arc<Format>>,
    /// `error-log-format`.
    pub error_log_format: Option<Arc<Format>>,
    /// `log-format-sd`: the structured data of RFC 5424.
    pub log_format_sd: Option<Arc<Format>>,
    /// `unique-id-format`.
    pub unique_id_format: Option<Arc<Format>>,
    /// `unique-id-header`.
    pub unique_id_header: Option<Box<[u8]>>,
    /// `capture … header`, `declare capture`.
    pub captures: Captures,
    /// `log-tag`.
    pub log_tag: Option<Box<[u8]>>,
    /// `load-server-state-from-file`, and where it stands.
    pub state_source: Option<(StateSource, Span)>,
    /// `server-state-file-name`; None is the name of the backend.
    pub state_file_name: Option<Box<[u8]>>,
    /// What changes while it serves.
    pub state: Arc<ProxyState>,
    /// Its servers as the balance algorithm has them in line.
    pub line: crate::balance::Line,
    // Stick tables' family
    /// `stick …`.
    pub stick: Vec<StickRule>,
    // Health checks and alerts
    /// `email-alert`
    pub email: Option<Box<super::EmailAlert>>,

    // Who belongs to which server, hashes, and trying again.
    /// `cookie`.
    pub cookie: Option<Arc<Cookie>>,
    /// Its servers by their cookies.
    pub cookie_places: CookiePlaces,
    /// `dynamic-cookie-key`.
    pub dynamic_cookie_key: Option<Box<[u8]>>,
    /// `force-persist` and `ignore-persist`.
    pub persist_rules: Vec<PersistRule>,
    /// `use-server`.
    pub use_server: Vec<UseServerRule>,
    /// `persist rdp-cookie`: the cookie's name.
    pub rdp_persist: Option<Box<[u8]>>,
    /// `appsession`.
    pub app_session: Option<Arc<AppSession>>,
    /// `hash-type`.
    pub hash: HashType,
    /// `hash-balance-factor`; 0 is none.
    pub hash_balance_factor: u32,
    /// `hash-preserve-affinity`.
    pub hash_affinity: HashAffinity,
    /// `retry-on`.
    pub retry_on: RetryOn,
    /// The rest of `source`.
    pub source_ways: SourceWays,
    /// `balance` was said.
    pub balance_said: bool,
    /// Where `option http_proxy` was said, while the lines are read.
    pub http_proxy: Option<Span>,
    /// `dispatch` or `transparent`, while the lines are read.
    pub dispatch: Option<(super::ServerAddress, Span)>,
    /// Where streams go that belong to no server, in place of the balance: the
    /// server that stands for `dispatch` or `transparent`.
    pub dispatch_server: Option<super::ServerIndex>,
    /// `max-session-srv-conns`: connections to servers that a session keeps for itself.
    pub own_connections_max: Option<u32>,
    /// `log-steps`.
    pub log_steps: Option<super::LogSteps>,
    /// `max-keep-alive-queue`.
    pub keep_alive_queue_max: Option<u32>,
    /// `http-send-name-header`, in lower case.
    pub name_header: Option<Box<[u8]>>,
    /// `compression …`.
    pub compression: Option<Box<super::Compression>>,
    // The rest of the rules and of what is told to servers.
    /// `tcp-response content`.
    pub tcp_response: Vec<TcpRule>,
    /// `tcp-response inspect-delay`, milliseconds.
    pub response_delay_ms: Option<u32>,
    /// `option forwarded`.
    pub forwarded: Option<Arc<super::Forwarded>>,
    /// `option originalto`.
    pub original_to: Option<ForwardFor>,
    /// `option http-restrict-req-hdr-names`.
    pub header_names: super::HeaderNames,
    /// That stands in a line.
    pub header_names_said: bool,
    /// `use-fcgi-app`: the name, and where it stands.
    pub fcgi_app_named: Option<(Box<str>, Span)>,
    /// The application, its place in [`super::Config::fcgi_apps`].
    pub fcgi_app: Option<usize>,
    /// `clitcpka-*`.
    pub client_keep_alive: super::KeepAlive,
    /// `srvtcpka-*`.
    pub server_keep_alive: super::KeepAlive,
    // The keywords of HAProxy 1.x.
    /// `req…`, `rsp…`, `block`; None where there are none.
    pub lines: Option<Box<crate::rules::lines::Lines>>,
    /// `monitor-net`, `mode health`; None where there is neither.
    pub health: Option<Box<Health>>,
    /// `capture cookie`.
    pub capture_cookie: Option<Box<CaptureCookie>>,
    /// In `mode log`: what messages go to, and who gets them.
    pub log_servers: Option<Arc<super::LogServers>>,
    /// `balance sticky`.
    pub balance_sticky: bool,
    /// What it has that most have not; known when all of it is loaded.
    pub rare: super::Rare,
    /// Servers of the file that an operator has removed (`del server`).
    pub removed: Vec<Box<str>>,
}

/// Which connections are answered before anything of them is read.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Health {
    /// `monitor-net`: those from here.
    pub network: Option<language::value::Network>,
    /// `mode health`: all.
    pub always: bool,
}

/// `capture cookie`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CaptureCookie {
    /// What `name=value` begins with.
    pub begin: Box<[u8]>,
    /// Bytes that are kept of it.
    pub length_max: usize,
}

/// `load-server-state-from-file`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StateSource {
    /// From no file.
    None,
    /// From `server-state-file` of `global`.
    Global,
    /// From a file of its own.
    Local,
}

impl Proxy {
    /// Whether an option is on.
    pub fn has(&self, option: ProxyOption) -> bool {
        self.options.has(option)
    }
}
