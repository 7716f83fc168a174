//! What lines of a proxy section set that holds no rule.

use super::ProxyIndex;
use language::Span;
use std::net::IpAddr;

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
