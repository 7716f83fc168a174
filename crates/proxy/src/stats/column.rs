//! Defines the columns of the statistics, in HAProxy's order, because scripts count them. Each
//! column has one row with its name, its tags in the typed output and its meaning.

/// Origin, nature and scope of a value, as the three letters of the typed output.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tags(pub &'static str);

impl Tags {
    fn letter(self, at: usize) -> u8 {
        self.0.as_bytes().get(at).copied().unwrap_or(b'?')
    }

    /// Returns the origin for the typed output: Metric, Status, Key and so on.
    pub fn origin(self) -> &'static str {
        match self.letter(0) {
            b'M' => "Metric",
            b'S' => "Status",
            b'K' => "Key",
            b'C' => "Config",
            b'P' => "Product",
            _ => "",
        }
    }

    /// Returns the nature for the typed output: Gauge, Counter, Limit and so on.
    pub fn nature(self) -> &'static str {
        match self.letter(1) {
            b'A' => "Age",
            b'a' => "Avg",
            b'C' => "Counter",
            b'D' => "Duration",
            b'G' => "Gauge",
            b'L' => "Limit",
            b'M' => "Max",
            b'm' => "Min",
            b'N' => "Name",
            b'O' => "Output",
            b'R' => "Rate",
            b'T' => "Time",
            _ => "",
        }
    }

    /// Returns the scope for the typed output: Process, Service or Cluster.
    pub fn scope(self) -> &'static str {
        match self.letter(2) {
            b'C' => "Cluster",
            b'S' => "Service",
            b'P' => "Process",
            _ => "",
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub struct ColumnRow {
    pub name: &'static str,
    pub tags: Tags,
    pub meaning: &'static str,
}

macro_rules! columns {
    ($($variant:ident $name:literal $tags:literal $meaning:literal;)*) => {
        /// A column; the discriminant is its index.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
        #[repr(usize)]
        pub enum Column {
            $(#[doc = $meaning] $variant,)*
        }

        /// Every column, in the order of the CSV.
        pub static COLUMNS: &[ColumnRow] = &[
            $(ColumnRow { name: $name, tags: Tags($tags), meaning: $meaning },)*
        ];

        pub static ALL: &[Column] = &[$(Column::$variant,)*];
    };
}

columns! {
    Pxname "pxname" "KNS" "name of the proxy";
    Svname "svname" "KNS" "FRONTEND, BACKEND, or the name of the server or listener";
    Qcur "qcur" "MGP" "requests in the queue";
    Qmax "qmax" "MMP" "maximum number of queued requests";
    Scur "scur" "MGP" "current sessions";
    Smax "smax" "MMP" "maximum number of concurrent sessions";
    Slim "slim" "CLP" "session limit";
    Stot "stot" "MCP" "sessions since the start";
    Bin "bin" "MCP" "bytes of requests";
    Bout "bout" "MCP" "bytes of responses";
    Dreq "dreq" "MCP" "requests denied by rules";
    Dresp "dresp" "MCP" "responses denied by rules";
    Ereq "ereq" "MCP" "requests that were invalid, too slow or aborted";
    Econ "econ" "MCP" "requests without a connection to a server";
    Eresp "eresp" "MCP" "responses that were invalid or aborted";
    Wretr "wretr" "MCP" "connection retries";
    Wredis "wredis" "MCP" "redispatched requests";
    Status "status" "SGP" "state";
    Weight "weight" "MaP" "current weight";
    Act "act" "SGP" "active servers (without backup servers)";
    Bck "bck" "SGP" "active backup servers";
    Chkfail "chkfail" "MCP" "failed health checks";
    Chkdown "chkdown" "MCP" "transitions to down";
    Lastchg "lastchg" "MAP" "seconds since the state last changed";
    Downtime "downtime" "MCP" "total downtime in seconds";
    Qlimit "qlimit" "CGS" "limit of the server's queue";
    Pid "pid" "KGP" "process number";
    Iid "iid" "KGS" "id of the proxy";
    Sid "sid" "KGS" "id of the server or listener";
    Throttle "throttle" "MaP" "percentage of the weight during slow start";
    Lbtot "lbtot" "MCP" "times that balancing selected it";
    Tracked "tracked" "CNS" "tracked server";
    Type "type" "CGS" "0 frontend, 1 backend, 2 server, 3 listener";
    Rate "rate" "MRP" "sessions over the last second";
    RateLim "rate_lim" "CLP" "session rate limit";
    RateMax "rate_max" "MMP" "maximum session rate";
    CheckStatus "check_status" "MOP" "result of the last check";
    CheckCode "check_code" "MOP" "status of the last check";
    CheckDuration "check_duration" "MDP" "duration of the last check in milliseconds";
    Hrsp1xx "hrsp_1xx" "MCP" "responses with status 100 to 199";
    Hrsp2xx "hrsp_2xx" "MCP" "responses with status 200 to 299";
    Hrsp3xx "hrsp_3xx" "MCP" "responses with status 300 to 399";
    Hrsp4xx "hrsp_4xx" "MCP" "responses with status 400 to 499";
    Hrsp5xx "hrsp_5xx" "MCP" "responses with status 500 to 599";
    HrspOther "hrsp_other" "MCP" "responses with another status";
    Hanafail "hanafail" "MCP" "errors counted by observe";
    ReqRate "req_rate" "MRP" "HTTP requests over the last second";
    ReqRateMax "req_rate_max" "MMP" "maximum HTTP request rate";
    ReqTot "req_tot" "MCP" "HTTP requests";
    CliAbrt "cli_abrt" "MCP" "transfers aborted by the client";
    SrvAbrt "srv_abrt" "MCP" "transfers aborted by the server";
    CompIn "comp_in" "MCP" "bytes of compression input";
    CompOut "comp_out" "MCP" "bytes of compression output";
    CompByp "comp_byp" "MCP" "bytes that bypassed compression";
    CompRsp "comp_rsp" "MCP" "compressed responses";
    Lastsess "lastsess" "MAP" "seconds since the last session, -1 for none";
    LastChk "last_chk" "MOP" "content of the last check";
    LastAgt "last_agt" "MOP" "content of the last agent check";
    Qtime "qtime" "MaP" "average time in queues, milliseconds";
    Ctime "ctime" "MaP" "average connect time, milliseconds";
    Rtime "rtime" "MaP" "average response time, milliseconds";
    Ttime "ttime" "MaP" "average total time, milliseconds";
    AgentStatus "agent_status" "MOP" "result of the last agent check";
    AgentCode "agent_code" "MOP" "code of the last agent check";
    AgentDuration "agent_duration" "MDP" "duration of the last agent check in milliseconds";
    CheckDesc "check_desc" "MOP" "description of the last check result";
    AgentDesc "agent_desc" "MOP" "description of the last agent check result";
    CheckRise "check_rise" "CGS" "successful checks until a server is up";
    CheckFall "check_fall" "CGS" "failed checks until a server is down";
    CheckHealth "check_health" "CGS" "health value of checks, between 0 and rise+fall-1";
    AgentRise "agent_rise" "CGS" "successful agent checks until a server is up";
    AgentFall "agent_fall" "CGS" "failed agent checks until a server is down";
    AgentHealth "agent_health" "CGS" "health value of agent checks";
    Addr "addr" "CGS" "address and port";
    Cookie "cookie" "CNS" "cookie of the server, or name of the backend's cookie";
    Mode "mode" "CGS" "tcp or http";
    Algo "algo" "CGS" "balancing algorithm";
    ConnRate "conn_rate" "MRP" "connections over the last second";
    ConnRateMax "conn_rate_max" "MMP" "maximum connection rate";
    ConnTot "conn_tot" "MCP" "connections";
    Intercepted "intercepted" "MCP" "requests to which the proxy itself responded";
    Dcon "dcon" "MCP" "connections denied by rules";
    Dses "dses" "MCP" "sessions denied by rules";
    Wrew "wrew" "MCP" "headers that could not be rewritten";
    Connect "connect" "MCP" "connection attempts to servers";
    Reuse "reuse" "MCP" "requests on reused connections";
    CacheLookups "cache_lookups" "MCP" "cache lookups";
    CacheHits "cache_hits" "MCP" "cache hits";
    SrvIcur "srv_icur" "MGP" "current idle connections";
    SrcIlim "src_ilim" "CLP" "idle connection limit";
    QtimeMax "qtime_max" "MMP" "maximum time in queues, milliseconds";
    CtimeMax "ctime_max" "MMP" "maximum connect time, milliseconds";
    RtimeMax "rtime_max" "MMP" "maximum response time, milliseconds";
    TtimeMax "ttime_max" "MMP" "maximum total time, milliseconds";
    Eint "eint" "MCP" "internal errors";
    IdleConnCur "idle_conn_cur" "MGP" "unsafe idle connections";
    SafeConnCur "safe_conn_cur" "MGP" "safe idle connections";
    UsedConnCur "used_conn_cur" "MGP" "connections in use";
    NeedConnEst "need_conn_est" "MGP" "estimated number of needed connections";
    Uweight "uweight" "MaP" "configured weight";
    AggServerStatus "agg_server_status" "MGP" "server states, for other formats";
    AggServerCheckStatus "agg_server_check_status" "MGP" "server check states, for other formats";
    AggCheckStatus "agg_check_status" "MGP" "server check states, for other formats";
    SslSess "ssl_sess" "MCP" "TLS sessions";
    SslReusedSess "ssl_reused_sess" "MCP" "resumed TLS sessions";
    SslFailedHandshake "ssl_failed_handshake" "MCP" "failed TLS handshakes";
    H2HeadersRcvd "h2_headers_rcvd" "MCP" "HTTP/2 HEADERS frames received";
    H2DataRcvd "h2_data_rcvd" "MCP" "HTTP/2 DATA frames received";
    H2SettingsRcvd "h2_settings_rcvd" "MCP" "HTTP/2 SETTINGS frames received";
    H2RstStreamRcvd "h2_rst_stream_rcvd" "MCP" "HTTP/2 RST_STREAM frames received";
    H2GoawayRcvd "h2_goaway_rcvd" "MCP" "HTTP/2 GOAWAY frames received";
    H2ConnErrors "h2_detected_conn_protocol_errors" "MCP" "HTTP/2 connection errors";
    H2StrmErrors "h2_detected_strm_protocol_errors" "MCP" "HTTP/2 stream errors";
    H2RstStreamResp "h2_rst_stream_resp" "MCP" "HTTP/2 RST_STREAM frames sent";
    H2GoawayResp "h2_goaway_resp" "MCP" "HTTP/2 GOAWAY frames sent";
    H2OpenConnections "h2_open_connections" "MGP" "current HTTP/2 connections";
    H2BackendOpenStreams "h2_backend_open_streams" "MGP" "current HTTP/2 streams";
    H2TotalConnections "h2_total_connections" "MCP" "HTTP/2 connections";
    H2BackendTotalStreams "h2_backend_total_streams" "MCP" "HTTP/2 streams";
    H1OpenConnections "h1_open_connections" "MGP" "current HTTP/1 connections";
    H1OpenStreams "h1_open_streams" "MGP" "current HTTP/1 streams";
    H1TotalConnections "h1_total_connections" "MCP" "HTTP/1 connections";
    H1TotalStreams "h1_total_streams" "MCP" "HTTP/1 streams";
    H1BytesIn "h1_bytes_in" "MCP" "bytes received over HTTP/1";
    H1BytesOut "h1_bytes_out" "MCP" "bytes sent over HTTP/1";
    H1SplicedBytesIn "h1_spliced_bytes_in" "MCP" "of those, spliced";
    H1SplicedBytesOut "h1_spliced_bytes_out" "MCP" "of those, spliced";
}

pub const COLUMN_COUNT: usize = Column::H1SplicedBytesOut as usize + 1;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ColumnSet(u128);

const _: () = assert!(COLUMN_COUNT < u128::BITS as usize);

impl ColumnSet {
    pub const ALL: ColumnSet = ColumnSet((1 << COLUMN_COUNT) - 1);

    pub fn of(columns: &[Column]) -> ColumnSet {
        ColumnSet(0).with(columns)
    }

    pub fn with(self, columns: &[Column]) -> ColumnSet {
        let added = columns.iter().map(|column| 1 << *column as usize);
        ColumnSet(added.fold(self.0, |set, column: u128| set | column))
    }

    pub fn has(self, column: Column) -> bool {
        self.0 >> (column as usize) & 1 != 0
    }

    /// Returns the index of a column among those of the set; None if it is not in the set.
    pub fn index_of(self, column: Column) -> Option<usize> {
        let before = self.0 & ((1 << column as usize) - 1);
        self.has(column).then(|| before.count_ones() as usize)
    }

    pub fn count(self) -> usize {
        self.0.count_ones() as usize
    }

    pub fn is_all(self) -> bool {
        self == ColumnSet::ALL
    }
}

/// The first of HAProxy's columns for modules. In the CSV, a column named `-` precedes it.
pub const FIRST_MODULE: Column = Column::SslSess;

impl Column {
    pub fn row(self) -> &'static ColumnRow {
        &COLUMNS[self as usize]
    }
}
