//! Lists the aliases of log formats (`%ci`, `%ST`, `%r`) by name.

pub(crate) struct Row {
    alias: Alias,
    pub(crate) name: &'static str,
    http: bool,
    pub(crate) doc: &'static str,
}

macro_rules! aliases {
    ($($alias:ident $name:literal $http:literal $doc:literal;)*) => {
        /// Value that an alias of a log format stands for.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Alias { $(#[doc = $doc] $alias,)* }
        pub(crate) static ROWS: &[Row] = &[$(Row { alias: Alias::$alias, name: $name, http: $http, doc: $doc }),*];
    };
}

aliases! {
    BytesOut "B" false "Bytes sent to the client, including headers; with a plus sign if more may follow (`option \
        logasap`).";
    CapturedRequestCookie "CC" true "The cookie captured by `capture cookie` in the request.";
    CapturedResponseCookie "CS" true "The cookie captured by `capture cookie` in the response.";
    Hostname "H" false "The host name of this machine.";
    HttpMethod "HM" true "The original method of the request.";
    HttpPathWithHost "HP" true "The original target of the request, without its query.";
    HttpPath "HPO" true "The original path of the request, without host and query.";
    HttpQuery "HQ" true "The original query of the request, with its question mark.";
    HttpTarget "HU" true "The original target of the request.";
    HttpVersion "HV" true "The HTTP version of the request, such as `HTTP/1.1`.";
    UniqueId "ID" false "The unique id of the stream, from `unique-id-format`.";
    LogOrigin "OG" false "The step of the log line: `txn_accept`, `txn_request`, `txn_connect`, `txn_response`, \
        `txn_close`, or the list of rules of a `do-log`, such as `http-req`.";
    Status "ST" false "The status of the response; -1 without one.";
    DateGmt "T" false "The date of the accept in GMT.";
    ActiveTime "Ta" true "Milliseconds from the first byte of the request to the end of the response.";
    ConnectTime "Tc" false "Milliseconds to establish the server connection, including retries; -1 if it failed.";
    DataTime "Td" false "Milliseconds of data transfer: from the response headers to the end.";
    HandshakeTime "Th" false "Milliseconds before the first byte: the PROXY header, then TLS. Only for the first \
        request of a connection.";
    IdleTime "Ti" true "Milliseconds from the end of the previous response (or of the handshake) to the first byte of \
        the request.";
    DateLocal "Tl" false "The date of the accept in the local time zone.";
    RequestTotalTime "Tq" true "Milliseconds from the accept or the previous response to the end of the request \
        headers; -1 without them.";
    RequestTime "TR" true "Milliseconds from the first byte of the request to the end of its headers; -1 without them.";
    ResponseTime "Tr" true "Milliseconds from the server connection to the end of the response headers; -1 without \
        them.";
    Timestamp "Ts" false "The time of the accept in seconds since 1970.";
    TotalTime "Tt" false "Milliseconds from the accept or the previous response to the end.";
    UserTime "Tu" true "Milliseconds as perceived by the client: the total without the idle time before the request.";
    QueueTime "Tw" false "Milliseconds in queues; -1 if it was never queued.";
    BytesIn "U" false "Bytes received from the client, including headers.";
    ProcessConnections "ac" false "Number of client connections of the whole process.";
    BackendName "b" false "The name of the backend.";
    BackendConnections "bc" false "Number of other streams in the backend.";
    ServerSideIp "bi" false "The source address of the server connection.";
    ServerSidePort "bp" false "The source port of the server connection.";
    BackendQueue "bq" false "Position in the backend's queue when the stream was queued, from 1; 0 if it did not wait there.";
    ClientIp "ci" false "The client's address, after PROXY headers and rules.";
    ClientPort "cp" false "The client's port, after PROXY headers and rules.";
    FrontendName "f" false "The name of the frontend.";
    FrontendConnections "fc" false "Number of client connections of the frontend.";
    FrontendIp "fi" false "The destination address of the client's connection.";
    FrontendPort "fp" false "The destination port of the client's connection.";
    FrontendNameTransport "ft" false "The name of the frontend, followed by a tilde if the client uses TLS.";
    RequestHeaders "hr" false "The captured request headers in braces, separated by bars. Empty without captures.";
    RequestHeadersList "hrl" false "The captured request headers, each as a separate value.";
    ResponseHeaders "hs" false "The captured response headers in braces, separated by bars. Empty without captures.";
    ResponseHeadersList "hsl" false "The captured response headers, each as a separate value.";
    LogCounter "lc" false "Number of lines that the frontend has logged before.";
    Milliseconds "ms" false "The milliseconds of the accept time, three digits.";
    ProcessId "pid" false "The id of the process.";
    HttpRequest "r" true "The original request line: method, target, version.";
    Retries "rc" false "Number of connection retries; with a plus sign after a redispatch.";
    RequestCounter "rt" false "A number that is unique among the streams of the process.";
    ServerName "s" false "The name of the server; `<NOSRV>` without one, `<STATS>` for the statistics page.";
    ServerConnections "sc" false "Number of other streams of the server.";
    ServerIp "si" false "The server's address.";
    ServerPort "sp" false "The server's port.";
    ServerQueue "sq" false "Position in the server's queue when the stream was queued, from 1; 0 if it did not wait there.";
    TlsCipher "sslc" false "The cipher suite of the client's TLS connection, by OpenSSL's name.";
    TlsVersion "sslv" false "The TLS version of the client: `TLSv1.3`.";
    DateMillis "t" false "The date of the accept to the millisecond, in the local time zone.";
    RequestDate "tr" true "The date of the first byte of the request to the millisecond, in the local time zone.";
    RequestDateGmt "trg" true "The date of the first byte of the request in GMT.";
    RequestDateLocal "trl" true "The date of the first byte of the request in the local time zone.";
    Termination "ts" false "How and in which state the stream ended: two letters.";
    TerminationCookie "tsc" true "The same, and the state of the persistence cookie: four letters.";
}

pub fn alias_doc(name: &str) -> Option<&'static str> {
    ROWS.iter().find(|row| row.name == name).map(|row| row.doc)
}

impl Alias {
    pub fn by_name(name: &str) -> Option<Alias> {
        ROWS.iter()
            .find(|row| row.name == name)
            .map(|row| row.alias)
    }

    fn row(self) -> &'static Row {
        // Uses the variant as an index, because one macro creates the rows and the variants in the
        // same order.
        &ROWS[self as usize]
    }

    /// Returns the name, without the percent sign.
    pub fn name(self) -> &'static str {
        self.row().name
    }

    pub fn names() -> impl Iterator<Item = &'static str> {
        ROWS.iter().map(|row| row.name)
    }

    /// Returns whether the alias has a value in HTTP mode only.
    pub fn is_http(self) -> bool {
        self.row().http
    }
}
