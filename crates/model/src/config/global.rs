//! The `global` section.

use crate::compiled::VariableChange;
use crate::setting::{Asked, Bind, BindOwner, CountedCodes, CpuMap};
use language::Span;
use mux::{Http2, Limits};
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use tls::TlsDefaults;

/// Where a log line goes.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum LogTargetAddress {
    /// Syslog over UDP.
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

/// One `log` line.
#[derive(Clone, Debug)]
pub struct LogTarget {
    /// Where it stands in the file.
    pub span: Span,
    /// Where to.
    pub address: LogTargetAddress,
    /// `len`: longest line, bytes.
    pub length_max: usize,
    /// `format`.
    pub format: crate::setting::SyslogFormat,
    /// It stands in the line; else a ring's own counts.
    pub format_said: bool,
    /// `profile`: what is logged, and how.
    pub profile: Option<super::ProfileReference>,
    /// Facility code, 0..24.
    pub facility: u8,
    /// Only lines at least as grave (0 is emergency, 7 debug).
    pub level_max: u8,
    /// Lines graver than this are sent as this.
    pub level_min: u8,
    /// `sample`: which lines of every so many; None sends all.
    pub sample: Option<(Vec<(u32, u32)>, u32)>,
    /// Lines that `sample` has counted.
    pub seen: std::sync::Arc<std::sync::atomic::AtomicU32>,
}

/// What a connection of a statistics socket may do.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub enum StatsLevel {
    /// Only read what is not sensitive.
    User,
    /// Read everything, clear counters.
    #[default]
    Operator,
    /// Change everything.
    Admin,
}

/// One `stats socket`.
#[derive(Clone, Debug)]
pub struct StatsSocket {
    /// Its address and options.
    pub bind: Bind,
    /// What its users may do.
    pub level: StatsLevel,
    /// `expose-fd listeners`.
    pub expose_listeners: bool,
}

/// `watch`: files that change by themselves are taken in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Watch {
    /// Those of the configuration, too.
    pub configuration: bool,
    /// How long they must have been left alone, milliseconds.
    pub delay_ms: u32,
}

/// `tune.*`.
#[derive(Clone, Debug)]
pub struct Tune {
    /// `tune.bufsize`, bytes: bounds a message's head.
    pub bufsize: usize,
    /// `tune.maxrewrite`, bytes kept free of it for rewriting.
    pub maxrewrite: usize,
    /// `tune.stick-counters`.
    pub stick_counters: u32,
    /// `tune.http.maxhdr`.
    pub headers_max: usize,
    /// `tune.http.logurilen`, bytes of a request line that are logged.
    pub log_uri_max: usize,
    /// `tune.maxaccept`: connections taken in one go.
    pub accept_max: Option<u32>,
    /// `tune.rcvbuf.client`, `tune.sndbuf.client`, `tune.rcvbuf.server`, `tune.sndbuf.server`.
    pub rcvbuf_client: Option<u32>,
    /// See above.
    pub sndbuf_client: Option<u32>,
    /// See above.
    pub rcvbuf_server: Option<u32>,
    /// See above.
    pub sndbuf_server: Option<u32>,
    /// `tune.vars.*-max-size`.
    pub variables_max: VariablesMax,
    /// `tune.pool-high-fd-ratio`, percent.
    pub pool_high_fd_ratio: Option<u32>,
    /// `tune.pool-low-fd-ratio`, percent.
    pub pool_low_fd_ratio: Option<u32>,
    /// `tune.h2.*`.
    pub http2: Http2,
    /// `tune.notsent-lowat.client`, `tune.notsent-lowat.server`, bytes.
    pub unsent_client: Option<u32>,
    /// See above.
    pub unsent_server: Option<u32>,
    /// `tune.http.cookielen`: the longest `capture cookie`, bytes.
    pub cookie_capture_max: usize,
    /// `tune.idle-pool.shared off`.
    pub idle_not_shared: bool,
    /// `harden.reject-privileged-ports.tcp` and others: see [`super::Workarounds`].
    pub workarounds: super::Workarounds,
}

/// `close-spread-time`: when idle connections are closed at a soft stop.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CloseSpread {
    /// Each at a moment of its own within so many milliseconds.
    Over(u32),
    /// `infinite`: only by their own timeouts.
    Never,
}

/// `tune.vars.*-max-size`, bytes of the variables of each scope; None is no limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct VariablesMax {
    /// Of all scopes together.
    pub global: Option<usize>,
    /// `proc.`
    pub process: Option<usize>,
    /// `sess.`, with the scopes below it.
    pub session: Option<usize>,
    /// `txn.`, with the scopes below it.
    pub transaction: Option<usize>,
    /// `req.` or `res.`
    pub message: Option<usize>,
    /// `check.`
    pub check: Option<usize>,
}

impl Tune {
    /// What bounds connections that speak HTTP/2.
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

/// The `global` sections, as one.
#[derive(Clone, Debug, Default)]
pub struct Global {
    /// `daemon`.
    pub daemon: bool,
    /// `master-worker`: the same as -W on the command line.
    pub master_worker: bool,
    /// `debug`: stays in the foreground.
    pub debug: bool,
    /// `quiet`.
    pub quiet: bool,
    /// `zero-warning`: a warning refuses the file.
    pub zero_warning: bool,
    /// `http-err-codes`, `http-fail-codes`.
    pub counted_codes: CountedCodes,
    /// `server-state-base`: the directory of relative names of state files.
    pub server_state_base: Option<Box<[u8]>>,
    /// `server-state-file`.
    pub server_state_file: Option<Box<[u8]>>,
    /// `maxconn` of the process.
    pub maxconn: Option<u32>,
    /// `fd-hard-limit`: the most files where nothing asks for more.
    pub files_hard_max: Option<u64>,
    /// `thread-hard-limit`.
    pub threads_hard_max: Option<u16>,
    /// `nbthread`.
    pub threads: Option<u16>,
    /// `ulimit-n`.
    pub files_max: Option<u64>,
    /// `external-check`: checks may run programs.
    pub external_checks: bool,
    /// `set-dumpable`: the process may write core files.
    pub dumpable: bool,
    /// `no numa-cpu-mapping`: threads may run on all nodes.
    pub numa_unmapped: bool,
    /// `set-var` and `set-var-fmt`, in the order of the file.
    pub process_variables: Vec<VariableChange>,
    /// `cpu-map`, in the order of the file: a later one counts where they overlap.
    pub cpu_maps: Vec<CpuMap>,
    /// TLS settings that `bind` and `server` lines fall back on.
    pub tls: TlsDefaults,
    /// `no strict-limits` is false.
    pub strict_limits: Option<bool>,
    /// `uid` or `user`.
    pub uid: Option<u32>,
    /// `gid` or `group`.
    pub gid: Option<u32>,
    /// `chroot`.
    pub chroot: Option<PathBuf>,
    /// `pidfile`.
    pub pidfile: Option<PathBuf>,
    /// `node`; the host's name where the file gives none.
    pub node: Option<Box<str>>,
    /// `localpeer`
    pub local_peer: Option<Box<str>>,
    /// `tune.peers.max-updates-at-once`
    pub peers_batch: Option<u32>,
    /// Which version of a cluster's configuration it is, as people are told.
    pub version: Option<Box<str>>,
    /// `description`.
    pub description: Option<Box<str>>,
    /// `log`.
    pub logs: Vec<LogTarget>,
    /// `log-tag`.
    pub log_tag: Option<Box<[u8]>>,
    /// `log-send-hostname`; the empty string is the host's name.
    pub log_hostname: Option<Box<[u8]>>,
    /// `stats socket`.
    pub stats_sockets: Vec<StatsSocket>,
    /// `stats timeout`, milliseconds.
    pub stats_timeout_ms: Option<u32>,
    /// `stats maxconn`.
    pub stats_maxconn: Option<u32>,
    /// `maxpipes`; 0 with `nosplice`.
    pub pipes_max: Option<u32>,
    /// `hard-stop-after`, milliseconds.
    pub hard_stop_after_ms: Option<u32>,
    /// `watch`.
    pub watch: Option<Watch>,
    /// `grace`, milliseconds.
    pub grace_ms: Option<u32>,
    /// `close-spread-time`.
    pub close_spread: Option<CloseSpread>,
    /// `spread-checks`, percent.
    pub spread_checks: u32,
    /// `max-spread-checks`, milliseconds.
    pub max_spread_checks_ms: Option<u32>,
    /// `maxconnrate`: connections a second of the process.
    pub connection_rate_max: Option<u32>,
    /// `maxsessrate`.
    pub session_rate_max: Option<u32>,
    /// `unix-bind`: prefix and owner of Unix sockets.
    pub unix_bind_prefix: Option<PathBuf>,
    /// `unix-bind`: owner and mode.
    pub unix_bind_owner: BindOwner,
    /// `tune.*`.
    pub tune: Tune,
    /// `h1-case-adjust`, `h1-case-adjust-file`.
    pub header_cases: Option<std::sync::Arc<super::HeaderCases>>,
    /// The first rule that gives packets a mark, for which a right is kept.
    pub marks: Option<Span>,
    /// What is kept of connections because fetches or formats ask for it.
    pub asked: Asked,
    /// Rules look at lines: names of headers are kept as they were received.
    pub lines_shown: bool,
    /// `maxcomprate`, `maxcompcpuusage`, `maxzlibmem`, `tune.comp.maxlevel`, `tune.zlib.*`.
    pub compression: Arc<crate::state::compression::Limits>,
    /// `request-history`: requests that each thread keeps; None: a few, within a budget of time.
    pub request_history: Option<u32>,
}

/// Requests that each thread keeps without a `request-history` line.
const REQUESTS_KEPT_DEFAULT: u32 = 512;

impl Global {
    /// How many requests each thread keeps for operators.
    #[inline]
    pub fn requests_kept(&self) -> u32 {
        self.request_history.unwrap_or(REQUESTS_KEPT_DEFAULT)
    }

    /// The processors that a thread of the data plane, counted from 1, may use
    /// (`cpu-map`); None leaves it to the system.
    pub fn cpus_of_thread(&self, thread: u32) -> Option<Vec<u32>> {
        crate::setting::cpus_of(&self.cpu_maps, thread)
    }

    /// Returns `node`, or the host name.
    pub fn node_name(&self) -> String {
        self.node.as_deref().map_or_else(host_name, str::to_owned)
    }
}

/// Returns the host name of the system.
pub fn host_name() -> String {
    let system = rustix::system::uname();
    system.nodename().to_string_lossy().into_owned()
}
