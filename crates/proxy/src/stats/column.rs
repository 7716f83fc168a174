//! The columns of the statistics, in HAProxy's order: scripts count them. Each
//! stands here once: its name, the tags of the typed output and what it means.

/// Where a value comes from, of what nature it is and how far it reaches, as
/// the three letters of the typed output say it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tags(pub &'static str);

impl Tags {
    fn letter(self, at: usize) -> u8 {
        self.0.as_bytes().get(at).copied().unwrap_or(b'?')
    }

    /// Metric, Status, Key, …
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

    /// Gauge, Counter, Limit, …
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

    /// Process, Service or Cluster.
    pub fn scope(self) -> &'static str {
        match self.letter(2) {
            b'C' => "Cluster",
            b'S' => "Service",
            b'P' => "Process",
            _ => "",
        }
    }
}

/// What is known of a column.
#[derive(Clone, Copy, Debug)]
pub struct ColumnRow {
    /// Its name in the first line of the CSV.
    pub name: &'static str,
    /// Its tags.
    pub tags: Tags,
    /// What it means.
    pub meaning: &'static str,
}

macro_rules! columns {
    ($($variant:ident $name:literal $tags:literal $meaning:literal;)*) => {
        /// A column, by its place.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
        #[repr(usize)]
        pub enum Column {
            $(#[doc = $meaning] $variant,)*
        }

        /// Every column, in order.
        pub static COLUMNS: &[ColumnRow] = &[
            $(ColumnRow { name: $name, tags: Tags($tags), meaning: $meaning },)*
        ];

        /// The same as values.
        pub static ALL: &[Column] = &[$(Column::$variant,)*];
    };
}

columns! {
    Pxname "pxname" "KNS" "name of the proxy";
    Svname "svname" "KNS" "FRONTEND, BACKEND, or the name of the server or listener";
    Qcur "qcur" "MGP" "requests that wait in the queue now";
    Qmax "qmax" "MMP" "most requests that waited at once";
    Scur "scur" "MGP" "sessions now";
    Smax "smax" "MMP" "most sessions at once";
    Slim "slim" "CLP" "limit of sessions";
    Stot "stot" "MCP" "sessions since the start";
    Bin "bin" "MCP" "bytes of requests";
    Bout "bout" "MCP" "bytes of answers";
    Dreq "dreq" "MCP" "requests that rules denied";
    Dresp "dresp" "MCP" "answers that rules denied";
    Ereq "ereq" "MCP" "requests that were invalid, too slow or broken off";
    Econ "econ" "MCP" "requests that got no connection to a server";
    Eresp "eresp" "MCP" "answers that were invalid or broken off";
    Wretr "wretr" "MCP" "connections to a server that were tried again";
    Wredis "wredis" "MCP" "requests that went to another server than at first";
    Status "status" "SGP" "state";
    Weight "weight" "MaP" "weight now";
    Act "act" "SGP" "servers in use that are no backups";
    Bck "bck" "SGP" "backup servers in use";
    Chkfail "chkfail" "MCP" "failed health checks";
    Chkdown "chkdown" "MCP" "times that it went down";
    Lastchg "lastchg" "MAP" "seconds since the state last changed";
    Downtime "downtime" "MCP" "seconds that it was down";
    Qlimit "qlimit" "CGS" "limit of the server's queue";
    Pid "pid" "KGP" "number of the process";
    Iid "iid" "KGS" "id of the proxy";
    Sid "sid" "KGS" "id of the server or listener";
    Throttle "throttle" "MaP" "percent of its weight that a warming server has";
    Lbtot "lbtot" "MCP" "times that balancing chose it";
    Tracked "tracked" "CNS" "server whose checks count for this one";
    Type "type" "CGS" "0 frontend, 1 backend, 2 server, 3 listener";
    Rate "rate" "MRP" "sessions over the last second";
    RateLim "rate_lim" "CLP" "limit of sessions a second";
    RateMax "rate_max" "MMP" "most sessions in a second";
    CheckStatus "check_status" "MOP" "how the last check ended";
    CheckCode "check_code" "MOP" "status that the last check got";
    CheckDuration "check_duration" "MDP" "milliseconds that the last check took";
    Hrsp1xx "hrsp_1xx" "MCP" "answers with a status 100 to 199";
    Hrsp2xx "hrsp_2xx" "MCP" "answers with a status 200 to 299";
    Hrsp3xx "hrsp_3xx" "MCP" "answers with a status 300 to 399";
    Hrsp4xx "hrsp_4xx" "MCP" "answers with a status 400 to 499";
    Hrsp5xx "hrsp_5xx" "MCP" "answers with a status 500 to 599";
    HrspOther "hrsp_other" "MCP" "answers with another status";
    Hanafail "hanafail" "MCP" "failures that observed traffic showed";
    ReqRate "req_rate" "MRP" "HTTP requests over the last second";
    ReqRateMax "req_rate_max" "MMP" "most HTTP requests in a second";
    ReqTot "req_tot" "MCP" "HTTP requests";
    CliAbrt "cli_abrt" "MCP" "transfers that the client broke off";
    SrvAbrt "srv_abrt" "MCP" "transfers that the server broke off";
    CompIn "comp_in" "MCP" "bytes given to compression";
    CompOut "comp_out" "MCP" "bytes that compression made";
    CompByp "comp_byp" "MCP" "bytes that compression let through";
    CompRsp "comp_rsp" "MCP" "compressed answers";
    Lastsess "lastsess" "MAP" "seconds since the last session, -1 for none";
    LastChk "last_chk" "MOP" "what the last check said";
    LastAgt "last_agt" "MOP" "what the last agent check said";
    Qtime "qtime" "MaP" "average milliseconds in queues";
    Ctime "ctime" "MaP" "average milliseconds of connecting";
    Rtime "rtime" "MaP" "average milliseconds until the answer";
    Ttime "ttime" "MaP" "average milliseconds of a whole session";
    AgentStatus "agent_status" "MOP" "how the last agent check ended";
    AgentCode "agent_code" "MOP" "code that the last agent check got";
    AgentDuration "agent_duration" "MDP" "milliseconds that the last agent check took";
    CheckDesc "check_desc" "MOP" "how the last check ended, in words";
    AgentDesc "agent_desc" "MOP" "how the last agent check ended, in words";
    CheckRise "check_rise" "CGS" "good checks until a server is up";
    CheckFall "check_fall" "CGS" "bad checks until a server is down";
    CheckHealth "check_health" "CGS" "where checks see it, between 0 and rise+fall-1";
    AgentRise "agent_rise" "CGS" "good agent checks until a server is up";
    AgentFall "agent_fall" "CGS" "bad agent checks until a server is down";
    AgentHealth "agent_health" "CGS" "where agent checks see it";
    Addr "addr" "CGS" "address and port";
    Cookie "cookie" "CNS" "cookie of the server, or name of the backend's cookie";
    Mode "mode" "CGS" "tcp or http";
    Algo "algo" "CGS" "algorithm of the balance";
    ConnRate "conn_rate" "MRP" "connections over the last second";
    ConnRateMax "conn_rate_max" "MMP" "most connections in a second";
    ConnTot "conn_tot" "MCP" "connections";
    Intercepted "intercepted" "MCP" "requests that were answered here";
    Dcon "dcon" "MCP" "connections that rules denied";
    Dses "dses" "MCP" "sessions that rules denied";
    Wrew "wrew" "MCP" "headers that could not be rewritten";
    Connect "connect" "MCP" "connections to servers that were begun";
    Reuse "reuse" "MCP" "requests over a connection that was there";
    CacheLookups "cache_lookups" "MCP" "look-ups in the cache";
    CacheHits "cache_hits" "MCP" "hits of the cache";
    SrvIcur "srv_icur" "MGP" "idle connections now";
    SrcIlim "src_ilim" "CLP" "limit of idle connections";
    QtimeMax "qtime_max" "MMP" "most milliseconds in queues";
    CtimeMax "ctime_max" "MMP" "most milliseconds of connecting";
    RtimeMax "rtime_max" "MMP" "most milliseconds until the answer";
    TtimeMax "ttime_max" "MMP" "most milliseconds of a whole session";
    Eint "eint" "MCP" "internal errors";
    IdleConnCur "idle_conn_cur" "MGP" "idle connections that one session used";
    SafeConnCur "safe_conn_cur" "MGP" "idle connections that are known to be reusable";
    UsedConnCur "used_conn_cur" "MGP" "connections in use";
    NeedConnEst "need_conn_est" "MGP" "estimate of the connections that are needed";
    Uweight "uweight" "MaP" "weight as set";
    AggServerStatus "agg_server_status" "MGP" "states of the servers, for other formats";
    AggServerCheckStatus "agg_server_check_status" "MGP" "checks of the servers, for other formats";
    AggCheckStatus "agg_check_status" "MGP" "checks of the servers, for other formats";
    SslSess "ssl_sess" "MCP" "TLS sessions";
    SslReusedSess "ssl_reused_sess" "MCP" "TLS sessions that were resumed";
    SslFailedHandshake "ssl_failed_handshake" "MCP" "TLS handshakes that failed";
    H2HeadersRcvd "h2_headers_rcvd" "MCP" "HTTP/2 HEADERS frames that came";
    H2DataRcvd "h2_data_rcvd" "MCP" "HTTP/2 DATA frames that came";
    H2SettingsRcvd "h2_settings_rcvd" "MCP" "HTTP/2 SETTINGS frames that came";
    H2RstStreamRcvd "h2_rst_stream_rcvd" "MCP" "HTTP/2 RST_STREAM frames that came";
    H2GoawayRcvd "h2_goaway_rcvd" "MCP" "HTTP/2 GOAWAY frames that came";
    H2ConnErrors "h2_detected_conn_protocol_errors" "MCP" "HTTP/2 errors of connections";
    H2StrmErrors "h2_detected_strm_protocol_errors" "MCP" "HTTP/2 errors of streams";
    H2RstStreamResp "h2_rst_stream_resp" "MCP" "HTTP/2 RST_STREAM frames that were sent";
    H2GoawayResp "h2_goaway_resp" "MCP" "HTTP/2 GOAWAY frames that were sent";
    H2OpenConnections "h2_open_connections" "MGP" "HTTP/2 connections now";
    H2BackendOpenStreams "h2_backend_open_streams" "MGP" "HTTP/2 streams now";
    H2TotalConnections "h2_total_connections" "MCP" "HTTP/2 connections";
    H2BackendTotalStreams "h2_backend_total_streams" "MCP" "HTTP/2 streams";
    H1OpenConnections "h1_open_connections" "MGP" "HTTP/1 connections now";
    H1OpenStreams "h1_open_streams" "MGP" "HTTP/1 streams now";
    H1TotalConnections "h1_total_connections" "MCP" "HTTP/1 connections";
    H1TotalStreams "h1_total_streams" "MCP" "HTTP/1 streams";
    H1BytesIn "h1_bytes_in" "MCP" "bytes that came over HTTP/1";
    H1BytesOut "h1_bytes_out" "MCP" "bytes that went over HTTP/1";
    H1SplicedBytesIn "h1_spliced_bytes_in" "MCP" "of those, spliced";
    H1SplicedBytesOut "h1_spliced_bytes_out" "MCP" "of those, spliced";
}

/// How many columns there are.
pub const COLUMN_COUNT: usize = Column::H1SplicedBytesOut as usize + 1;

/// The first column of the modules; the CSV has a dash before it.
pub const FIRST_MODULE: Column = Column::SslSess;

impl Column {
    /// What is known of it.
    pub fn row(self) -> &'static ColumnRow {
        &COLUMNS[self as usize]
    }
}
