//! Holds the settings of the `global` section.

use crate::compiled::VariableChange;
use crate::setting::{Bind, BindOwner, CountedCodes, CpuMap, RecordingOptions};
use language::Span;
use language::log_levels::LogLevels;
use mux::{Http2, Limits};
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use tls::TlsDefaults;

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum LogTargetAddress {
    Udp(SocketAddr),
    /// Syslog over a Unix datagram socket.
    Unix(PathBuf),
    /// A descriptor: `stdout`, `stderr`, `fd@N`.
    Fd(i32),
    /// A ring, or a server over TCP.
    Ring(std::sync::Arc<super::Ring>),
    /// The servers of a backend in `mode log`, by its name.
    Backend(Box<str>),
}

impl fmt::Display for LogTargetAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LogTargetAddress::Udp(address) => write!(f, "udp@{address}"),
            LogTargetAddress::Unix(path) => path.display().fmt(f),
            LogTargetAddress::Fd(1) => f.write_str("stdout"),
            LogTargetAddress::Fd(2) => f.write_str("stderr"),
            LogTargetAddress::Fd(fd) => write!(f, "fd@{fd}"),
            LogTargetAddress::Ring(ring) => write!(f, "ring@{}", ring.name),
            LogTargetAddress::Backend(name) => write!(f, "backend@{name}"),
        }
    }
}

#[derive(Clone, Debug)]
pub struct LogTarget {
    pub span: Span,
    pub address: LogTargetAddress,
    /// `len`: maximum length of a line, bytes.
    pub length_max: usize,
    pub format: crate::setting::SyslogFormat,
    /// The `log` line itself sets `format`; otherwise the format of the ring applies.
    pub format_said: bool,
    /// `profile`: selects and formats the log lines.
    pub profile: Option<super::ProfileReference>,
    /// Facility code, 0..24.
    pub facility: u8,
    /// Highest numeric level that is sent (0 is emergency, 7 debug).
    pub level_max: u8,
    /// Lines that are more severe than this numeric level are sent with this level.
    pub level_min: u8,
    /// `sample`: which lines of each group are sent, and the size of a group; None sends all
    /// lines.
    pub sample: Option<(Vec<(u32, u32)>, u32)>,
    /// Number of lines counted for `sample`.
    pub seen: std::sync::Arc<std::sync::atomic::AtomicU32>,
}

/// Privileges of a connection to a statistics socket.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub enum StatsLevel {
    /// Reads data that is not sensitive.
    User,
    /// Reads everything and clears counters.
    #[default]
    Operator,
    Admin,
}

#[derive(Clone, Debug)]
pub struct StatsSocket {
    pub bind: Bind,
    pub level: StatsLevel,
    /// The socket passes the listening descriptors to its clients (`expose-fd listeners`).
    pub expose_listeners: bool,
    pub severity: SeverityOutput,
}

/// `severity-output`: format of the severity in front of a reply.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum SeverityOutput {
    #[default]
    None,
    /// Writes the level before a reply as `[3]: `.
    Number,
    /// Writes the level before a reply as `[err]: `.
    String,
}

impl SeverityOutput {
    /// Reads `none`, `number` or `string`.
    pub fn of_name(name: &str) -> Option<SeverityOutput> {
        match name {
            "none" => Some(SeverityOutput::None),
            "number" => Some(SeverityOutput::Number),
            "string" => Some(SeverityOutput::String),
            _ => None,
        }
    }
}

/// `watch`: files are reloaded when they change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WatchSettings {
    /// The configuration files themselves are watched, too.
    pub configuration: bool,
    /// Time for which a file must be unchanged, milliseconds.
    pub delay_ms: u32,
}

#[derive(Clone, Debug)]
pub struct Tune {
    /// `tune.bufsize`, bytes: maximum size of a message's head.
    pub bufsize: usize,
    /// `tune.maxrewrite`, bytes of the buffer that are reserved for rewriting.
    pub maxrewrite: usize,
    pub stick_counters: u32,
    /// Maximum number of headers of a message (`tune.http.maxhdr`).
    pub headers_max: usize,
    /// `tune.http.logurilen`, maximum length of a logged request line, bytes.
    pub log_uri_max: usize,
    /// `tune.maxaccept`: maximum number of connections that are accepted at once.
    pub accept_max: Option<u32>,
    pub rcvbuf_client: Option<u32>,
    pub sndbuf_client: Option<u32>,
    pub rcvbuf_server: Option<u32>,
    pub sndbuf_server: Option<u32>,
    pub variables_max: VariablesMax,
    /// `tune.pool-high-fd-ratio`, percent.
    pub pool_high_fd_ratio: Option<u32>,
    /// `tune.pool-low-fd-ratio`, percent.
    pub pool_low_fd_ratio: Option<u32>,
    pub http2: Http2,
    /// Unsent bytes above which the socket counts as not writable (`tune.notsent-lowat.client`).
    pub unsent_client: Option<u32>,
    /// Unsent bytes above which the socket of a server counts as not writable
    /// (`tune.notsent-lowat.server`).
    pub unsent_server: Option<u32>,
    /// `tune.http.cookielen`: maximum length of `capture cookie`, bytes.
    pub cookie_capture_max: usize,
    pub idle_not_shared: bool,
    /// `harden.reject-privileged-ports.tcp` and others: see [`super::Workarounds`].
    pub workarounds: super::Workarounds,
}

/// `close-spread-time`: time at which idle connections are closed in a soft stop.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CloseSpread {
    /// Closes each connection at a different time within this period, milliseconds.
    Over(u32),
    /// `infinite`: connections end by their own timeouts only.
    Never,
}

/// `tune.vars.*-max-size`: maximum memory of the variables of each scope, in bytes; None means no
/// limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct VariablesMax {
    pub global: Option<usize>,
    /// Variables of the scope `proc`.
    pub process: Option<usize>,
    /// `sess.` and all scopes with a shorter life.
    pub session: Option<usize>,
    /// `txn.` and all scopes with a shorter life.
    pub transaction: Option<usize>,
    /// Variables of the scopes `req` and `res`.
    pub message: Option<usize>,
    pub check: Option<usize>,
}

impl Tune {
    pub fn http2_limits(&self) -> Limits {
        Limits {
            http2: self.http2,
            head_bytes: self.bufsize,
            headers_max: self.headers_max,
            websocket: !self.workarounds.no_websocket_over_http2,
        }
    }
}

impl Default for Tune {
    fn default() -> Self {
        Tune {
            bufsize: 16384,
            maxrewrite: 1024,
            stick_counters: crate::tables::tracked::COUNTERS_DEFAULT,
            headers_max: 101,
            log_uri_max: 1024,
            accept_max: None,
            rcvbuf_client: None,
            sndbuf_client: None,
            rcvbuf_server: None,
            sndbuf_server: None,
            variables_max: VariablesMax::default(),
            pool_high_fd_ratio: None,
            pool_low_fd_ratio: None,
            idle_not_shared: false,
            http2: Http2::default(),
            unsent_client: None,
            unsent_server: None,
            cookie_capture_max: 63,
            workarounds: super::Workarounds::default(),
        }
    }
}

/// The `global` sections, merged in the order of the files.
#[derive(Clone, Debug, Default)]
pub struct Global {
    pub daemon: bool,
    /// `master-worker`: same as -W on the command line.
    pub master_worker: bool,
    /// `debug`: the process stays in the foreground.
    pub debug: bool,
    pub quiet: bool,
    /// `zero-warning`: the file is rejected if it causes a warning.
    pub zero_warning: bool,
    pub counted_codes: CountedCodes,
    /// `server-state-base`: directory for relative names of state files.
    pub server_state_base: Option<Box<[u8]>>,
    pub server_state_file: Option<Box<[u8]>>,
    pub maxconn: Option<u32>,
    /// `fd-hard-limit`: maximum number of file descriptors unless more are requested.
    pub files_hard_max: Option<u64>,
    pub threads_hard_max: Option<u16>,
    pub threads: Option<u16>,
    /// Maximum number of open descriptors (`ulimit-n`).
    pub files_max: Option<u64>,
    /// `external-check`: health checks may execute external commands.
    pub external_checks: bool,
    /// `set-dumpable`: the process may write core files.
    pub dumpable: bool,
    /// `no numa-cpu-mapping`: threads may run on all NUMA nodes.
    pub numa_unmapped: bool,
    /// `set-var` and `set-var-fmt`, in the order of the file.
    pub process_variables: Vec<VariableChange>,
    /// `cpu-map`, in the order of the file; later entries override earlier ones.
    pub cpu_maps: Vec<CpuMap>,
    pub tls: TlsDefaults,
    pub strict_limits: Option<bool>,
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    pub chroot: Option<PathBuf>,
    pub pidfile: Option<PathBuf>,
    /// `node`; None uses the host name.
    pub node: Option<Box<str>>,
    pub local_peer: Option<Box<str>>,
    pub peers_batch: Option<u32>,
    /// Configuration version of the cluster, as shown to operators.
    pub version: Option<Box<str>>,
    pub description: Option<Box<str>>,
    pub logs: Vec<LogTarget>,
    pub log_tag: Option<Box<[u8]>>,
    /// `log-send-hostname`; the empty string means the system's host name.
    pub log_hostname: Option<Box<[u8]>>,
    pub stats_sockets: Vec<StatsSocket>,
    pub stats_timeout_ms: Option<u32>,
    pub stats_maxconn: Option<u32>,
    /// Maximum number of pipes (`maxpipes`); 0 with `nosplice`.
    pub pipes_max: Option<u32>,
    /// `noreuseport`: no other process can listen on an address of this one.
    pub exclusive_ports: bool,
    pub hard_stop_after_ms: Option<u32>,
    pub watch: Option<WatchSettings>,
    pub grace_ms: Option<u32>,
    pub close_spread: Option<CloseSpread>,
    /// Random variation of the check intervals, percent (`spread-checks`).
    pub spread_checks: u32,
    pub max_spread_checks_ms: Option<u32>,
    /// `maxconnrate`: maximum number of connections per second of the process.
    pub connection_rate_max: Option<u32>,
    /// Maximum number of new sessions per second of the process (`maxsessrate`).
    pub session_rate_max: Option<u32>,
    /// `unix-bind`: prefix of the paths of Unix sockets.
    pub unix_bind_prefix: Option<PathBuf>,
    /// `unix-bind`: owner and mode of Unix sockets.
    pub unix_bind_owner: BindOwner,
    pub tune: Tune,
    pub header_cases: Option<std::sync::Arc<super::HeaderCases>>,
    /// Position of the first rule that sets a packet mark. If there is one, the process keeps the
    /// privilege for that.
    pub marks: Option<Span>,
    /// Connection data that must be recorded because fetches or formats use it.
    pub recording: RecordingOptions,
    /// Rules of HAProxy 1.x process header lines as text, so the original case of header names
    /// must be kept.
    pub lines_shown: bool,
    /// `maxcomprate`, `maxcompcpuusage`, `maxzlibmem`, `tune.comp.maxlevel`, `tune.zlib.*`.
    pub compression: Arc<crate::state::compression::Limits>,
    /// `request-history`: number of requests that each thread keeps; None keeps a few, within a
    /// time budget.
    pub request_history: Option<u32>,
    /// `log-level`: levels of trace events.
    pub log_levels: Option<LogLevels>,
}

/// Number of recorded requests of each thread if no `request-history` line sets one.
const REQUESTS_KEPT_DEFAULT: u32 = 256;

impl Global {
    #[inline]
    pub fn requests_kept(&self) -> u32 {
        self.request_history.unwrap_or(REQUESTS_KEPT_DEFAULT)
    }

    /// Returns the processors for a thread of the data plane, counted from 1 (`cpu-map`); None
    /// leaves the choice to the system.
    pub fn cpus_of_thread(&self, thread: u32) -> Option<Vec<u32>> {
        crate::setting::cpus_of(&self.cpu_maps, thread)
    }

    /// Returns `node`, or the host name.
    pub fn node_name(&self) -> String {
        self.node.as_deref().map_or_else(host_name, str::to_owned)
    }
}

pub fn host_name() -> String {
    let system = rustix::system::uname();
    system.nodename().to_string_lossy().into_owned()
}
