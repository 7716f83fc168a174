//! Holds the settings of a `frontend`, `backend` or `listen` section that contain no rules.

use super::ProxyIndex;
use language::Span;
use std::net::IpAddr;

/// Type of a proxy section.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ProxyKind {
    /// `defaults` (exists only while loading).
    #[default]
    Defaults,
    Frontend,
    Backend,
    /// `listen`: a frontend and a backend in one section.
    Listen,
}

impl ProxyKind {
    /// Returns whether the section accepts connections from clients.
    pub fn is_frontend(self) -> bool {
        matches!(self, ProxyKind::Frontend | ProxyKind::Listen)
    }

    /// Returns whether the section has servers.
    pub fn is_backend(self) -> bool {
        matches!(self, ProxyKind::Backend | ProxyKind::Listen)
    }

    pub fn name(self) -> &'static str {
        match self {
            ProxyKind::Defaults => "defaults",
            ProxyKind::Frontend => "frontend",
            ProxyKind::Backend => "backend",
            ProxyKind::Listen => "listen",
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Mode {
    #[default]
    Tcp,
    Http,
    /// Log messages: only for backends that `log` lines use.
    Log,
}

impl Mode {
    pub fn name(self) -> &'static str {
        match self {
            Mode::Tcp => "tcp",
            Mode::Http => "http",
            Mode::Log => "log",
        }
    }
}

/// `timeout …`, milliseconds each; None means no limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Timeouts {
    pub client_ms: Option<u32>,
    pub client_fin_ms: Option<u32>,
    pub http_request_ms: Option<u32>,
    pub http_keep_alive_ms: Option<u32>,
    pub connect_ms: Option<u32>,
    pub queue_ms: Option<u32>,
    pub server_ms: Option<u32>,
    pub server_fin_ms: Option<u32>,
    pub tunnel_ms: Option<u32>,
    pub tarpit_ms: Option<u32>,
    pub check_ms: Option<u32>,
    /// `timeout client-hs`: for the TLS handshake.
    pub handshake_ms: Option<u32>,
}

/// The `option`s that are only on or off. `option httplog` and `option tcplog` set the log format
/// instead.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum ProxyOption {
    DontLogNull,
    DontLogNormal,
    LogHealthChecks,
    LogSeparateErrors,
    LogAsap,
    ContStats,
    SocketStats,
    NoLinger,
    /// `option clitcpka` (and `option tcpka`)
    ClientTcpKeepAlive,
    /// `option srvtcpka` (and `option tcpka`)
    ServerTcpKeepAlive,
    HttpServerClose,
    HttpClose,
    /// `option http-keep-alive` is set explicitly, which disables `option http-server-close` and
    /// `option httpclose`.
    HttpKeepAlive,
    HttpPretendKeepAlive,
    HttpBufferRequest,
    HttpNoDelay,
    HttpIgnoreProbes,
    AbortOnClose,
    AllBackups,
    IndependentStreams,
    /// `option splice-auto`, `-request`, `-response`
    SpliceAuto,
    TcpSmartAccept,
    TcpSmartConnect,
    AcceptInvalidHttpRequest,
    AcceptInvalidHttpResponse,
    PreferLastServer,
    HttpUseProxyHeader,
    IdleCloseOnResponse,
    CheckCache,
    H1CaseClient,
    H1CaseServer,
    DisableH2Upgrade,
    DropRequestTrailers,
    DropResponseTrailers,
    Persist,
}

/// A set of enabled [`ProxyOption`]s.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct OptionSet(u64);

impl OptionSet {
    pub fn has(self, option: ProxyOption) -> bool {
        self.0 & (1 << option as u8) != 0
    }

    pub fn set(&mut self, option: ProxyOption, on: bool) {
        if on {
            self.0 |= 1 << option as u8;
        } else {
            self.0 &= !(1 << option as u8);
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ReuseMode {
    /// Idle connections carry requests of one session only.
    Never,
    /// Idle connections are shared, but not for the first request of a session.
    #[default]
    Safe,
    /// Idle connections are shared, for the first request of a session only if another request was
    /// already sent over the connection.
    Aggressive,
    Always,
}

/// Name of a backend in the file, with its index once resolved.
#[derive(Clone, Debug)]
pub struct Reference {
    pub name: Box<str>,
    pub span: Span,
    /// Index of the backend; set when the whole configuration is loaded.
    pub index: Option<ProxyIndex>,
}

#[derive(Clone, Debug)]
pub struct ForwardFor {
    /// Header name in lower case, such as `x-forwarded-for`.
    pub header: Box<[u8]>,
    pub except: Vec<(IpAddr, u8)>,
    pub if_none: bool,
}

impl ForwardFor {
    /// Returns whether an address is in an `except` network.
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
    /// Header that fills the slot; None if only rules do.
    pub header: Option<Box<[u8]>>,
    pub length_max: usize,
}

/// The capture slots of a frontend, in the order of the file.
#[derive(Clone, Debug, Default)]
pub struct Captures {
    pub request: Vec<Capture>,
    pub response: Vec<Capture>,
}
