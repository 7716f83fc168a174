//! Lists the fields of `show info` with HAProxy's names, order and types, and the metrics of the
//! process for Prometheus. A field about something that Evenkeel does not have, such as a run queue
//! or unstoppable jobs, is constant.

use super::column::Tags;
use super::process::ProcessSnapshot;
use super::row::ColumnValue;
use model::config::product::{NAME, RELEASE_DATE, VERSION};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MetricType {
    Counter,
    Gauge,
}

#[derive(Clone, Debug)]
pub struct InfoField {
    pub place: usize,
    pub name: &'static str,
    pub tags: Tags,
    pub value: ColumnValue<'static>,
    pub meaning: &'static str,
    /// Prometheus metric with the same value: its name without prefix, and its type.
    pub metric: Option<(&'static str, MetricType)>,
}

/// Position of the first field that HAProxy does not have, after all of HAProxy's.
const OWN_PLACE: usize = 1000;

const MEBIBYTE: u64 = 1 << 20;

fn clip(n: u64) -> ColumnValue<'static> {
    ColumnValue::U32(u32::try_from(n).unwrap_or(u32::MAX))
}

fn text(text: &str) -> ColumnValue<'static> {
    ColumnValue::from(text.to_owned())
}

const fn counter(name: &'static str) -> Option<(&'static str, MetricType)> {
    Some((name, MetricType::Counter))
}

const fn gauge(name: &'static str) -> Option<(&'static str, MetricType)> {
    Some((name, MetricType::Gauge))
}

fn field(
    place: usize,
    name: &'static str,
    tags: &'static str,
    value: ColumnValue<'static>,
    metric: Option<(&'static str, MetricType)>,
    meaning: &'static str,
) -> InfoField {
    InfoField {
        place,
        name,
        tags: Tags(tags),
        value,
        meaning,
        metric,
    }
}

/// Returns all fields in HAProxy's order; `float`: times include milliseconds.
pub fn fields(p: &ProcessSnapshot, float: bool) -> Vec<InfoField> {
    let mut fields = of_process(p, float);
    fields.extend(of_connections(p));
    fields.extend(of_tls(p));
    fields.extend(of_work(p));
    fields.extend(of_traffic(p));
    fields
}

#[rustfmt::skip]
fn of_process(p: &ProcessSnapshot, float: bool) -> Vec<InfoField> {
    let uptime = if float {
text(&format!("{}.{:06}", p.about.uptime_ms / 1000, p.about.uptime_ms % 1000 * 1000))
} else {
clip(p.about.uptime_ms / 1000)
};
    vec![
        field(0, "Name", "POS", text(NAME), None, "product name, for compatibility with HAProxy's tools"),
        field(1, "Version", "POS", text(VERSION), None, "version: that of the compatible HAProxy, and that of Evenkeel"),
        field(2, "Release_date", "POS", text(RELEASE_DATE), None, "date of that HAProxy version"),
        field(3, "Nbthread", "CGS", ColumnValue::U32(p.about.threads), gauge("nbthread"), "threads that serve traffic (global nbthread)"),
        field(4, "Nbproc", "CGS", ColumnValue::U32(1), gauge("nbproc"), "serving processes, always 1"),
        field(5, "Process_num", "KGP", ColumnValue::U32(1), gauge("relative_process_id"), "relative process number, always 1"),
        field(6, "Pid", "SGP", ColumnValue::U32(p.about.pid), None, "process id"),
        field(7, "Uptime", "MDP", text(&p.uptime()), None, "uptime, in days, hours, minutes and seconds"),
        field(8, "Uptime_sec", "MDP", uptime, gauge("uptime_seconds"), "uptime in seconds"),
        field(9, "Memmax_MB", "CLP", clip(p.resources.memory_max / MEBIBYTE), None, "memory limit of the process (-m), in MB; 0 \
            is none"),
        field(10, "PoolAlloc_MB", "MGP", clip(p.resources.memory.0 / MEBIBYTE), None, "memory of the allocator, in MB"),
        field(11, "PoolUsed_MB", "MGP", clip(p.resources.memory.1 / MEBIBYTE), None, "memory in use, in MB"),
        field(12, "PoolFailed", "MCP", ColumnValue::U32(0), counter("pool_failures_total"), "failed allocations; always 0, \
            because the first one ends the process"),
        field(13, "Ulimit-n", "CLP", clip(p.resources.files_max), gauge("max_fds"), "file descriptor limit"),
        field(14, "Maxsock", "CLP", clip(p.resources.files_max), gauge("max_sockets"), "socket limit"),
    ]
}

#[rustfmt::skip]
fn of_connections(p: &ProcessSnapshot) -> Vec<InfoField> {
    vec![
        field(15, "Maxconn", "CLP", ColumnValue::U32(p.connections.max), gauge("max_connections"), "limit of client \
            connections (global maxconn)"),
        field(16, "Hard_maxconn", "CLP", ColumnValue::U32(p.connections.hard_max), gauge("hard_max_connections"), "highest \
            possible value of maxconn at run time"),
        field(17, "CurrConns", "MGP", ColumnValue::U32(p.connections.current), gauge("current_connections"), "current client connections"),
        field(18, "CumConns", "MCP", clip(p.connections.total), counter("connections_total"), "client connections since the start"),
        field(19, "CumReq", "MCP", clip(p.connections.requests_total), counter("requests_total"), "requests since the start"),
        field(20, "MaxSslConns", "MMP", ColumnValue::U32(p.limits.tls_connections), gauge("max_ssl_connections"), "limit of TLS connections, 0 is none (global maxsslconn)"),
        field(21, "CurrSslConns", "MGP", ColumnValue::U32(p.tls.connections.0), gauge("current_ssl_connections"), "current TLS connections, with clients and servers"),
        field(22, "CumSslConns", "MCP", clip(p.tls.connections.1), counter("ssl_connections_total"), "TLS connections since the start, with clients and servers"),
        field(23, "Maxpipes", "CLP", ColumnValue::U32(p.resources.pipes.max_pipes), gauge("max_pipes"), "limit of pipes for splicing, 0 \
            with nosplice (global maxpipes)"),
        field(24, "PipesUsed", "MGP", ColumnValue::U32(p.resources.pipes.used), counter("pipes_used_total"), "pipes in use: each has \
            data for a blocked receiver"),
        field(25, "PipesFree", "MGP", ColumnValue::U32(p.resources.pipes.free_pipes), counter("pipes_free_total"), "free pipes"),
        field(26, "ConnRate", "MRP", clip(p.connections.rate.0), gauge("current_connection_rate"), "client connections over the last second"),
        field(27, "ConnRateLimit", "CLP", ColumnValue::U32(p.limits.connection_rate), gauge("limit_connection_rate"), "limit of connections per second, 0 is none (global maxconnrate)"),
        field(28, "MaxConnRate", "MMP", clip(p.connections.rate.1), gauge("max_connection_rate"), "maximum connection \
            rate since the start"),
        field(29, "SessRate", "MRP", clip(p.connections.session_rate.0), gauge("current_session_rate"), "sessions over the last second"),
        field(30, "SessRateLimit", "CLP", ColumnValue::U32(p.limits.session_rate), gauge("limit_session_rate"), "limit of sessions per second, 0 is none (global maxsessrate)"),
        field(31, "MaxSessRate", "MRP", clip(p.connections.session_rate.1), gauge("max_session_rate"), "maximum session rate \
            since the start"),
    ]
}

#[rustfmt::skip]
fn of_tls(p: &ProcessSnapshot) -> Vec<InfoField> {
    vec![
        field(32, "SslRate", "MRP", clip(p.tls.rate.0), gauge("current_ssl_rate"), "TLS connections of clients over the last second"),
        field(33, "SslRateLimit", "CLP", ColumnValue::U32(p.limits.tls_rate), gauge("limit_ssl_rate"), "limit of TLS connections per second, 0 is none (global maxsslrate)"),
        field(34, "MaxSslRate", "MMP", clip(p.tls.rate.1), gauge("max_ssl_rate"), "maximum TLS connection rate since \
            the start"),
        field(35, "SslFrontendKeyRate", "MGP", clip(p.tls.client_keys.0), gauge("current_frontend_ssl_key_rate"), "full TLS handshakes with clients over the last second"),
        field(36, "SslFrontendMaxKeyRate", "MMP", clip(p.tls.client_keys.1), gauge("max_frontend_ssl_key_rate"), "maximum \
            rate of full TLS handshakes with clients since the start"),
        field(37, "SslFrontendSessionReuse_pct", "MGP", clip(p.tls.resumed_percent), gauge("frontend_ssl_reuse"), "percentage of the clients' TLS connections that resumed a session"),
        field(38, "SslBackendKeyRate", "MRP", clip(p.tls.server_keys.0), gauge("current_backend_ssl_key_rate"), "full TLS handshakes with servers over the last second"),
        field(39, "SslBackendMaxKeyRate", "MMP", clip(p.tls.server_keys.1), gauge("max_backend_ssl_key_rate"), "maximum \
            rate of full TLS handshakes with servers since the start"),
        field(40, "SslCacheLookups", "MCP", clip(p.tls.lookups.0), counter("ssl_cache_lookups_total"), "lookups in \
            the TLS session cache"),
        field(41, "SslCacheMisses", "MCP", clip(p.tls.lookups.1), counter("ssl_cache_misses_total"), "misses of the \
            TLS session cache"),
    ]
}

#[rustfmt::skip]
fn of_work(p: &ProcessSnapshot) -> Vec<InfoField> {
    let mut fields = vec![
        field(42, "CompressBpsIn", "MRP", clip(p.measured.compressed_in), counter("http_comp_bytes_in_total"), "input \
            of HTTP compression over the last second, in bytes"),
        field(43, "CompressBpsOut", "MRP", clip(p.measured.compressed_out), counter("http_comp_bytes_out_total"), "output \
            of HTTP compression over the last second, in bytes"),
        field(44, "CompressBpsRateLim", "CLP", clip(p.limits.compression_rate), gauge("limit_http_comp"), "limit of \
            HTTP compression input in bytes per second, 0 is none (global maxcomprate)"),
        field(45, "ZlibMemUsage", "MGP", clip(p.resources.compression_memory.0), gauge("current_zlib_memory"), "memory of HTTP \
            compression in bytes"),
        field(46, "MaxZlibMemUsage", "CLP", clip(p.resources.compression_memory.1), gauge("max_zlib_memory"), "memory limit of \
            HTTP compression in bytes, 0 is none (global maxzlibmem)"),
        field(47, "Tasks", "MGP", ColumnValue::U32(p.resources.tasks), gauge("current_tasks"), "tasks of the serving threads"),
        field(48, "Run_queue", "MGP", ColumnValue::U32(0), gauge("current_run_queue"), "tasks that are ready to run"),
        field(49, "Idle_pct", "MaP", ColumnValue::U32(p.measured.idle_percent), gauge("idle_time_percent"), "idle \
            percentage of the serving threads over the last second"),
        field(50, "node", "COS", text(&p.about.node), None, "node name (global node, or host name)"),
    ];
    if let Some(description) = &p.about.description {
        fields.push(field(51, "description", "COS", text(description), None, "description (global description)"));
    }
    fields.extend([
        field(52, "Stopping", "MGP", ColumnValue::U32(p.about.stopping.into()), gauge("stopping"), "1 in a soft stop, otherwise 0"),
        field(53, "Jobs", "MGP", ColumnValue::U32(p.connections.current.saturating_add(p.connections.listeners)), gauge("jobs"), "client connections and listeners"),
        field(54, "Unstoppable Jobs", "MGP", ColumnValue::U32(0), gauge("unstoppable_jobs"), "jobs that do not delay a soft \
            stop"),
        field(55, "Listeners", "MGP", ColumnValue::U32(p.connections.listeners), gauge("listeners"), "active listeners, including \
            statistics sockets"),
        field(56, "ActivePeers", "MGP", ColumnValue::U32(p.services.peers.0), gauge("active_peers"), "established connections with peers"),
        field(57, "ConnectedPeers", "MGP", ColumnValue::U32(p.services.peers.1), gauge("connected_peers"), "connections with peers"),
        field(58, "DroppedLogs", "MGP", clip(p.services.logs_dropped), counter("dropped_logs_total"), "dropped log messages"),
        field(59, "BusyPolling", "MGP", ColumnValue::U32(0), gauge("busy_polling_enabled"), "1 with busy polling; not \
            supported, so 0"),
        field(60, "FailedResolutions", "MGP", clip(p.services.failed_resolutions), counter("failed_resolutions"), "failed name \
            resolutions"),
    ]);
    fields
}

#[rustfmt::skip]
fn of_traffic(p: &ProcessSnapshot) -> Vec<InfoField> {
    let mut fields = vec![
        field(61, "TotalBytesOut", "MGP", ColumnValue::U64(p.connections.bytes_out), counter("bytes_out_total"), "bytes sent to clients since the start"),
        field(62, "TotalSplicdedBytesOut", "MGP", ColumnValue::U64(p.resources.pipes.bytes), counter("spliced_bytes_out_total"), "bytes \
            spliced in the kernel"),
        field(63, "BytesOutRate", "MRP", ColumnValue::U64(p.measured.bytes_out), gauge("bytes_out_rate"), "bytes sent to clients over the last second"),
        field(64, "DebugCommandsIssued", "MGP", ColumnValue::U32(0), None, "debugging commands used; there are none"),
        field(65, "CumRecvLogs", "MCP", clip(p.services.logs_received), counter("recv_logs_total"), "log messages that log-forward sections received"),
        field(66, "Build info", "POS", text(VERSION), None, "version of the build"),
        field(67, "Memmax_bytes", "CLP", clip(p.resources.memory_max), gauge("max_memory_bytes"), "memory limit of the process \
            (-m), in bytes; 0 is none"),
        field(68, "PoolAlloc_bytes", "MGP", ColumnValue::U64(p.resources.memory.0), gauge("pool_allocated_bytes"), "memory of the \
            allocator, in bytes"),
        field(69, "PoolUsed_bytes", "MGP", ColumnValue::U64(p.resources.memory.1), gauge("pool_used_bytes"), "memory in use, in bytes"),
        field(70, "Start_time_sec", "MDP", clip(p.about.started_s), gauge("start_time_seconds"), "start time, in seconds \
            since 1970"),
        field(71, "Tainted", "SGP", text("0"), None, "experimental features in use; there are none"),
    ];
    if let Some(configuration) = &p.about.configuration {
        fields.push(field(OWN_PLACE, "Configuration", "COS", text(configuration), None, "version of the cluster's configuration, with its author and reason"));
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_are_all_of_haproxys_in_its_order() {
        let mut process = ProcessSnapshot::default();
        process.about.description = Some("d".into());
        let places: Vec<usize> = fields(&process, false).iter().map(|f| f.place).collect();
        assert_eq!(places, (0..=71).collect::<Vec<_>>());
        let mut metrics: Vec<_> = fields(&process, false)
            .iter()
            .filter_map(|f| f.metric.map(|(name, _)| name))
            .collect();
        assert_eq!(metrics.len(), 59);
        metrics.sort_unstable();
        metrics.dedup();
        assert_eq!(metrics.len(), 59);
    }
}
