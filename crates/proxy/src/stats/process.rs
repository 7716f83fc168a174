//! Collects the numbers of the process for the statistics: limits, connections, TLS, resources.

use super::row::Moment;
use crate::runtime::{Measured, Runtime};
use model::config::Config;
use model::state::{self, Tally};
use part::report::StatusReport;
use reactor::{self, Pipes};
use rustix::process::{Resource, getrlimit};
use std::sync::atomic::Ordering::Relaxed;
use std::time::UNIX_EPOCH;

/// Totals of the process that `clear counters all` does not reset: the values cleared from the
/// proxies' counters are added to the counters of the process.
pub const CARRIED: [Tally; 2] = [Tally::Requests, Tally::BytesOut];

/// Limits that the configuration or an operator has set.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Limits {
    /// Connections per second (`maxconnrate`); 0: no limit.
    pub connection_rate: u32,
    /// Sessions per second (`maxsessrate`); 0: no limit.
    pub session_rate: u32,
    /// TLS connections at a time (`maxsslconn`); 0: no limit.
    pub tls_connections: u32,
    /// TLS connections per second (`maxsslrate`); 0: no limit.
    pub tls_rate: u32,
    /// Input of compression (`maxcomprate`), bytes per second; 0: no limit.
    pub compression_rate: u64,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ProcessSnapshot {
    pub about: About,
    pub connections: Connections,
    pub tls: Tls,
    pub resources: Resources,
    pub services: Services,
    pub limits: Limits,
    pub measured: Measured,
    pub addresses: StatusReport,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct About {
    pub pid: u32,
    pub threads: u32,
    pub uptime_ms: u64,
    /// Start time, seconds since 1970.
    pub started_s: u64,
    /// The process is stopping: it only finishes existing connections.
    pub stopping: bool,
    /// `node`, or the host name.
    pub node: String,
    /// Version of the cluster configuration, as text in one line.
    pub configuration: Option<String>,
    pub description: Option<String>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Connections {
    /// Effective limit on client connections.
    pub max: u32,
    /// Highest connection limit that an operator may set.
    pub hard_max: u32,
    pub current: u32,
    pub total: u64,
    /// Connections per second: current and maximum.
    pub rate: (u64, u64),
    /// Sessions per second: current and maximum.
    pub session_rate: (u64, u64),
    pub listeners: u32,
    /// HTTP requests since the start, over all frontends.
    pub requests_total: u64,
    pub bytes_out: u64,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Tls {
    /// TLS connections: current, and since the start.
    pub connections: (u32, u64),
    /// TLS handshakes with clients per second: current and maximum.
    pub rate: (u64, u64),
    /// Full handshakes with clients per second, without session resumption: current and maximum.
    pub client_keys: (u64, u64),
    pub resumed_percent: u64,
    /// Full handshakes with servers per second, without session resumption: current and maximum.
    pub server_keys: (u64, u64),
    /// Lookups in the TLS session cache, and those that found nothing.
    pub lookups: (u64, u64),
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Resources {
    pub files_max: u64,
    /// Limit of the address space, bytes; 0 is none.
    pub memory_max: u64,
    /// Memory held by the allocator, and the part in use, bytes.
    pub memory: (u64, u64),
    /// Memory of compression, and its limit, bytes.
    pub compression_memory: (u64, u64),
    pub pipes: Pipes,
    pub tasks: u32,
}

/// Numbers about services other than client connections.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Services {
    /// Connections with peers: established ones, and all.
    pub peers: (u32, u32),
    pub failed_resolutions: u64,
    pub logs_received: u64,
    pub logs_dropped: u64,
    pub(crate) resolvers: Vec<model::names::SectionReport>,
}

/// Converts a configured text to one line, as the formats of the statistics socket require.
fn line(text: &str) -> String {
    let shown = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().map(shown).collect()
}

impl ProcessSnapshot {
    pub fn now(runtime: &Runtime, config: &Config) -> ProcessSnapshot {
        let now_ms = runtime.now_ms();
        let sum = |tally| {
            let proxies = config.proxies.iter();
            let now: u64 = proxies.map(|p| p.state.frontend.counters.read(tally)).sum();
            now.wrapping_add(runtime.counters.read(tally))
        };
        let open = config
            .proxies
            .iter()
            .filter(|p| p.kind.is_frontend() && !p.disabled);
        let tls = tls::counters();
        let both = |rate: &reactor::Rate| (rate.read(now_ms), rate.highest(now_ms));
        let started = runtime
            .started_at
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        ProcessSnapshot {
            about: About {
                pid: std::process::id(),
                threads: runtime.threads() as u32,
                uptime_ms: now_ms,
                started_s: started.as_secs(),
                stopping: runtime.stopping(),
                node: config.global.node_name(),
                configuration: config.global.version.as_deref().map(line),
                description: config.global.description.as_deref().map(str::to_owned),
            },
            connections: Connections {
                max: runtime.connections_max.load(Relaxed),
                hard_max: runtime.connections_max_of_file(),
                current: runtime.connections.current(),
                total: runtime.counters.read(Tally::Connections),
                rate: both(&runtime.connection_rate),
                session_rate: both(&runtime.session_rate),
                listeners: open.map(|p| p.binds.len() as u32).sum::<u32>()
                    + config.global.stats_sockets.len() as u32,
                requests_total: sum(Tally::Requests),
                bytes_out: sum(Tally::BytesOut),
            },
            tls: Tls {
                connections: (tls.connections.current(), tls.total.load(Relaxed)),
                rate: both(&tls.rate),
                client_keys: both(&tls.client_keys),
                resumed_percent: tls.resumed_percent(now_ms),
                server_keys: both(&tls.server_keys),
                lookups: tls::resume::lookups(),
            },
            resources: Resources {
                files_max: getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX),
                memory_max: getrlimit(Resource::As).current.unwrap_or(0),
                memory: memory(),
                compression_memory: config.global.compression.memory(),
                pipes: reactor::pipes(),
                tasks: (0..runtime.threads())
                    .map(|thread| reactor::load(thread) as u32)
                    .sum(),
            },
            services: Services {
                peers: peers(config),
                failed_resolutions: model::names::failures(),
                logs_received: crate::log_forward::received(),
                logs_dropped: model::log::dropped(),
                resolvers: runtime.names.report(),
            },
            limits: limits(config),
            measured: runtime.measured(),
            addresses: crate::vitals::report(runtime),
        }
    }

    /// Returns the uptime as `0d 0h00m00s`.
    pub fn uptime(&self) -> String {
        let s = self.about.uptime_ms / 1000;
        format!(
            "{}d {}h{:02}m{:02}s",
            s / 86400,
            s / 3600 % 24,
            s / 60 % 60,
            s % 60
        )
    }
}

fn limits(config: &Config) -> Limits {
    let global = &config.global;
    Limits {
        connection_rate: global.connection_rate_max.unwrap_or(0),
        session_rate: global.session_rate_max.unwrap_or(0),
        tls_connections: global.tls.connections_max.unwrap_or(0),
        tls_rate: global.tls.rate_max.unwrap_or(0),
        compression_rate: global.compression.rate_max,
    }
}

fn peers(config: &Config) -> (u32, u32) {
    let mut counts = (0, 0);
    for section in &config.peers {
        let section = section.state.lock();
        for peer in section.iter().flat_map(|section| &section.peers) {
            counts.0 += u32::from(peer.established);
            counts.1 += u32::from(peer.connection.is_some());
        }
    }
    counts
}

#[cfg(target_env = "gnu")]
fn memory() -> (u64, u64) {
    // SAFETY: the function only reads the counters of the allocator, under the allocator's locks.
    let info = unsafe { nix::libc::mallinfo2() };
    let (arena, mapped, used) = (info.arena, info.hblkhd, info.uordblks);
    ((arena + mapped) as u64, (used + mapped) as u64)
}

#[cfg(not(target_env = "gnu"))]
fn memory() -> (u64, u64) {
    (0, 0)
}

pub fn moment(runtime: &Runtime, legends: bool) -> Moment {
    Moment {
        state_ms: state::now_ms(),
        rate_ms: runtime.now_ms(),
        connections_max: runtime
            .connections_max
            .load(std::sync::atomic::Ordering::Relaxed),
        legends,
    }
}
