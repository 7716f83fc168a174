//! The aliases of formats: `%ci`, `%ST`, `%r`. Each is a row with its name and
//! documentation, and appends what it stands for without allocating.

use super::text::{Encode, Put, decimal, hexadecimal};
use crate::config::{ServerAddress, log_origin};
use crate::known::KNOWN;
use crate::log::{DateStyle, append_date, hostname};
use crate::thread;
use crate::transaction::{Endpoint, Stream};
use http::message::{TargetParts, Version};
use language::keyword::Documented;
use reactor::{self, Instant};
use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Where aliases stand.
const PLACE: &[&str] = &["log-format"];

struct Row {
    alias: Alias,
    name: &'static str,
    http: bool,
    doc: &'static str,
}

macro_rules! aliases {
    ($($alias:ident $name:literal $http:literal $doc:literal;)*) => {
        /// What an alias stands for.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Alias { $(#[doc = $doc] $alias,)* }
        static ROWS: &[Row] = &[$(Row { alias: Alias::$alias, name: $name, http: $http, doc: $doc }),*];
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
    BackendQueue "bq" false "Number of streams before it in the backend's queue when it arrived.";
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
    ServerQueue "sq" false "Number of streams before it in the server's queue when it arrived.";
    TlsCipher "sslc" false "The cipher suite of the client's TLS connection, by OpenSSL's name.";
    TlsVersion "sslv" false "The TLS version of the client: `TLSv1.3`.";
    DateMillis "t" false "The date of the accept to the millisecond, in the local time zone.";
    RequestDate "tr" true "The date of the first byte of the request to the millisecond, in the local time zone.";
    RequestDateGmt "trg" true "The date of the first byte of the request in GMT.";
    RequestDateLocal "trl" true "The date of the first byte of the request in the local time zone.";
    Termination "ts" false "How and in which state the stream ended: two letters.";
    TerminationCookie "tsc" true "The same, and the state of the persistence cookie: four letters.";
}

/// What an alias stands for, for people.
pub fn alias_doc(name: &str) -> Option<&'static str> {
    ROWS.iter().find(|row| row.name == name).map(|row| row.doc)
}

/// Every alias, documented.
pub(in crate::rules) fn documented() -> Vec<Documented> {
    static LINES: std::sync::OnceLock<Vec<(String, String)>> = std::sync::OnceLock::new();
    let lines = LINES.get_or_init(|| {
        ROWS.iter()
            .map(|row| {
                (
                    format!("%{}", row.name),
                    format!("log-format \"%{}\"", row.name),
                )
            })
            .collect()
    });
    ROWS.iter()
        .zip(lines)
        .map(|(row, (syntax, example))| Documented {
            kind: "log alias",
            name: row.name,
            family: "Log format variables",
            places: PLACE,
            syntax,
            doc: row.doc,
            example,
            built: true,
        })
        .collect()
}

/// The name of an alias that HAProxy has and this does not.
pub(super) fn not_built(name: &str) -> Option<&'static str> {
    let known = KNOWN.iter().filter(|group| group.kind == "log alias");
    known
        .flat_map(|group| group.names.iter())
        .find(|known| **known == name)
        .copied()
}

/// Milliseconds from one point to another; None where either was not reached.
fn span_ms(from: Option<Instant>, to: Option<Instant>) -> Option<u64> {
    Some(to?.saturating_duration_since(from?).as_millis() as u64)
}

fn is_first(stream: &Stream) -> bool {
    stream.times.first
}

/// When the stream's own time began: the accept, or the end of the stream before it.
fn accept_date(stream: &Stream) -> SystemTime {
    let idle = stream
        .times
        .began
        .saturating_duration_since(stream.times.idle_since);
    stream.times.began_at - idle
}

fn since_epoch(at: SystemTime) -> Duration {
    at.duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// What the stream's end is for its times: the present, where it goes on.
fn end(stream: &Stream) -> Option<Instant> {
    Some(stream.times.ended.unwrap_or_else(reactor::now))
}

/// The address of the stream's server, as operators set it or as the file gives it.
pub(in crate::rules) fn server_address(stream: &Stream) -> Option<SocketAddr> {
    let server = stream.server()?;
    let set = server.state.address_override();
    match set.as_ref().unwrap_or(&server.address) {
        ServerAddress::Inet(address) => Some(*address),
        ServerAddress::SamePort(ip, offset) => {
            let port = i32::from(stream.destination().port()?) + offset;
            Some(SocketAddr::new(*ip, u16::try_from(port).ok()?))
        }
        ServerAddress::Unix(_) | ServerAddress::Abstract(_) | ServerAddress::Unresolved => None,
    }
}

/// Whether no whole request of HTTP came.
fn without_request(stream: &Stream) -> bool {
    stream.http && stream.received_method().is_empty()
}

/// What stands for a request that was none.
const BAD_REQUEST: &[u8] = b"<BADREQ>";

impl Alias {
    /// The alias of a name.
    pub fn by_name(name: &str) -> Option<Alias> {
        ROWS.iter()
            .find(|row| row.name == name)
            .map(|row| row.alias)
    }

    fn row(self) -> &'static Row {
        // The rows are made together with the variants, in their order.
        &ROWS[self as usize]
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// What TLS of the client's connection came to.
    fn tls(self, stream: &Stream, put: &mut Put<'_>) {
        let name = stream.session.tls.as_deref().map(|tls| match self {
            Alias::TlsVersion => tls.version_name(),
            _ => tls.suite_name(),
        });
        put.text_or_missing(name.unwrap_or_default().as_bytes());
    }

    /// The names of all.
    pub fn names() -> impl Iterator<Item = &'static str> {
        ROWS.iter().map(|row| row.name)
    }

    /// Whether only HTTP has it.
    pub fn is_http(self) -> bool {
        self.row().http
    }

    /// Appends what it stands for; false where that is no value at all, not
    /// even a missing one.
    pub(super) fn append(self, stream: &Stream, put: &mut Put<'_>) -> bool {
        match self {
            Alias::ClientIp => ip(stream.source(), put),
            Alias::ClientPort => port(stream.source(), stream, put),
            Alias::FrontendIp => ip(stream.destination(), put),
            Alias::FrontendPort => port(stream.destination(), stream, put),
            Alias::ServerSideIp => inet_ip(stream.server_side(), put),
            Alias::ServerSidePort => inet_port(stream.server_side(), put),
            Alias::ServerIp => inet_ip(server_address(stream), put),
            Alias::ServerPort => inet_port(server_address(stream), put),
            Alias::FrontendName => put.text(stream.frontend().name.as_bytes()),
            Alias::FrontendNameTransport => {
                let name = stream.frontend().name.as_bytes();
                match &stream.session.tls {
                    Some(_) => put.text(&[name, b"~"].concat()),
                    None => put.text(name),
                }
            }
            Alias::TlsCipher | Alias::TlsVersion => self.tls(stream, put),
            Alias::BackendName => put.text(
                stream
                    .backend()
                    .unwrap_or_else(|| stream.frontend())
                    .name
                    .as_bytes(),
            ),
            Alias::ServerName => put.text(match stream.server() {
                Some(server) => server.name.as_bytes(),
                None if stream.statistics => b"<STATS>",
                None if stream.cache.as_ref().is_some_and(|cache| cache.hit) => b"<CACHE>",
                None => b"<NOSRV>",
            }),
            Alias::LogOrigin => put.text(log_origin(stream.log_step.get()).as_bytes()),
            Alias::Hostname => put.text(hostname()),
            Alias::UniqueId => put.text_or_missing(stream.unique_id.as_deref().unwrap_or_default()),
            Alias::CapturedRequestCookie => put.text_or_missing(cookie(stream, 0)),
            Alias::CapturedResponseCookie => put.text_or_missing(cookie(stream, 1)),
            Alias::Status => match stream.status() {
                // As haproxy has it, of what was no request at all over HTTP/2.
                0 if stream.http && !stream.request.method().is_empty() => {
                    put.out.extend_from_slice(b"-1")
                }
                status => decimal(put.out, u64::from(status), 1),
            },
            // Letters are never quoted.
            Alias::Termination => put
                .out
                .extend_from_slice(&[stream.termination.letter(), stream.phase.letter()]),
            Alias::TerminationCookie => {
                put.out
                    .extend_from_slice(&[stream.termination.letter(), stream.phase.letter()]);
                put.out.extend_from_slice(&stream.cookie_letters());
            }
            Alias::RequestHeaders
            | Alias::ResponseHeaders
            | Alias::RequestHeadersList
            | Alias::ResponseHeadersList => return self.captured(stream, put),
            Alias::HttpMethod
            | Alias::HttpPathWithHost
            | Alias::HttpPath
            | Alias::HttpQuery
            | Alias::HttpTarget
            | Alias::HttpVersion
            | Alias::HttpRequest => self.request(stream, put),
            _ => self.append_number(stream, put),
        }
        true
    }

    /// Whether it is a number, for readers that tell numbers from text.
    pub(super) fn is_number(self) -> bool {
        use Alias::*;
        let port = matches!(
            self,
            ClientPort | FrontendPort | ServerSidePort | ServerPort
        );
        let time = matches!(
            self,
            ActiveTime
                | ConnectTime
                | DataTime
                | HandshakeTime
                | IdleTime
                | RequestTotalTime
                | RequestTime
                | ResponseTime
                | TotalTime
                | UserTime
                | QueueTime
        );
        let count = matches!(
            self,
            ProcessConnections
                | FrontendConnections
                | BackendConnections
                | ServerConnections
                | BackendQueue
                | ServerQueue
                | RequestCounter
                | LogCounter
                | Retries
                | BytesOut
                | BytesIn
        );
        port || time || count || matches!(self, Status | ProcessId | Timestamp | Milliseconds)
    }

    /// What was captured of the side that it shows, and in how many places.
    fn captures_of(self, stream: &Stream) -> (&[Option<Vec<u8>>], usize) {
        let of_frontend = &stream.frontend().captures;
        match self {
            Alias::RequestHeaders | Alias::RequestHeadersList => {
                (&stream.captured_request, of_frontend.request.len())
            }
            _ => (&stream.captured_response, of_frontend.response.len()),
        }
    }

    /// The values of what is a list of them.
    pub(super) fn listed(self, stream: &Stream) -> Option<Vec<Vec<u8>>> {
        if !matches!(self, Alias::RequestHeadersList | Alias::ResponseHeadersList) {
            return None;
        }
        let (captured, slots) = self.captures_of(stream);
        let value = |slot| captured.get(slot).cloned().flatten().unwrap_or_default();
        Some((0..slots).map(value).collect())
    }

    /// Captured headers; false where there is no list of them.
    fn captured(self, stream: &Stream, put: &mut Put<'_>) -> bool {
        // What was no request was not captured from.
        if without_request(stream) {
            return false;
        }
        let (captured, slots) = self.captures_of(stream);
        match self {
            Alias::RequestHeadersList | Alias::ResponseHeadersList => {
                capture_list(captured, slots, put)
            }
            _ => captures(captured, slots, put),
        }
    }

    /// The parts of the request line.
    fn request(self, stream: &Stream, put: &mut Put<'_>) {
        let method = stream.received_method();
        if method.is_empty() {
            return put.text(BAD_REQUEST);
        }
        // The whole line is bounded in logs, so its parts are.
        let bytes_max = stream
            .config
            .global
            .tune
            .log_uri_max
            .saturating_sub(method.len() + 2);
        let target = stream.received_target();
        let target = &target[..target.len().min(bytes_max)];
        let parts = TargetParts::of(target);
        match self {
            Alias::HttpMethod => put.encoded(method, Encode::Target),
            Alias::HttpVersion => put.text(version(stream.request.version())),
            Alias::HttpTarget => put.encoded(target, Encode::Target),
            Alias::HttpPathWithHost => put.encoded(&target[..parts.path_end], Encode::Target),
            Alias::HttpPath => {
                put.encoded(&target[parts.path_start..parts.path_end], Encode::Target)
            }
            Alias::HttpQuery => put.encoded(&target[parts.path_end..], Encode::Target),
            _ => {
                put.quote();
                put.inner(method, Encode::Target);
                put.out.push(b' ');
                put.inner(target, Encode::Target);
                put.out.push(b' ');
                put.out.extend_from_slice(version(stream.request.version()));
                put.quote();
            }
        }
    }

    /// Numbers, times and dates, which are never quoted.
    fn append_number(self, stream: &Stream, put: &mut Put<'_>) {
        let times = &stream.times;
        match self {
            Alias::BytesOut => {
                open_ended(stream, put);
                put.number(stream.bytes_out, 1);
            }
            Alias::BytesIn => put.number(stream.bytes_in, 1),
            Alias::Retries => {
                if stream.redispatched {
                    put.out.push(b'+');
                }
                put.number(u64::from(stream.retries), 1);
            }
            Alias::ProcessConnections => put.number(
                thread::running().map_or(0, |w| w.process.connections.current().into()),
                1,
            ),
            Alias::FrontendConnections => put.number(
                stream.frontend().state.frontend_sessions.current().into(),
                1,
            ),
            Alias::BackendConnections => put.number(backend_connections(stream), 1),
            Alias::ServerConnections => put.number(
                stream
                    .server()
                    .map_or(0, |s| s.state.sessions.current().into()),
                1,
            ),
            Alias::BackendQueue => put.number(stream.backend_queue.into(), 1),
            Alias::ServerQueue => put.number(stream.server_queue.into(), 1),
            Alias::ProcessId => put.number(std::process::id().into(), 4),
            Alias::RequestCounter => put.number(stream.id, 4),
            Alias::LogCounter => put.number(
                stream
                    .frontend()
                    .state
                    .log_lines
                    .load(std::sync::atomic::Ordering::Relaxed),
                1,
            ),
            Alias::Timestamp => put.number(since_epoch(accept_date(stream)).as_secs(), 4),
            Alias::Milliseconds => {
                let ms = since_epoch(accept_date(stream)).subsec_millis();
                if put.flags.hex {
                    hexadecimal(put.out, ms.into(), 2)
                } else {
                    decimal(put.out, ms.into(), 3)
                }
            }
            Alias::DateMillis => append_date(put.out, accept_date(stream), DateStyle::Millis),
            Alias::DateGmt => append_date(put.out, accept_date(stream), DateStyle::Gmt),
            Alias::DateLocal => append_date(put.out, accept_date(stream), DateStyle::Local),
            Alias::RequestDate => append_date(put.out, times.began_at, DateStyle::Millis),
            Alias::RequestDateGmt => append_date(put.out, times.began_at, DateStyle::Gmt),
            Alias::RequestDateLocal => append_date(put.out, times.began_at, DateStyle::Local),
            _ => self.append_time(stream, put),
        }
    }

    /// A time in milliseconds; None for what was not reached.
    pub(in crate::rules) fn milliseconds(self, stream: &Stream) -> Option<u64> {
        let times = &stream.times;
        let start = Some(times.idle_since);
        let began = Some(times.began);
        match self {
            Alias::RequestTime => span_ms(began, times.request),
            Alias::RequestTotalTime => span_ms(start, times.request),
            Alias::QueueTime => span_ms(times.request.or(began), times.queued),
            Alias::ConnectTime => span_ms(times.queued, times.connected),
            Alias::ResponseTime => span_ms(times.connected, times.response),
            Alias::DataTime if stream.http => span_ms(times.response, end(stream)),
            Alias::DataTime => span_ms(times.connected, end(stream)),
            Alias::HandshakeTime if is_first(stream) => span_ms(start, Some(stream.session.ready)),
            Alias::HandshakeTime => Some(0),
            Alias::IdleTime if is_first(stream) => span_ms(Some(stream.session.ready), began),
            Alias::IdleTime => span_ms(start, began),
            Alias::TotalTime => span_ms(start, end(stream)),
            Alias::UserTime => {
                let idle = if is_first(stream) {
                    Some(stream.session.ready)
                } else {
                    start
                };
                let idle = span_ms(idle, began).unwrap_or(0);
                span_ms(start, end(stream)).map(|total| total.saturating_sub(idle))
            }
            // What is left is `%Ta`.
            _ => span_ms(began, end(stream)),
        }
    }

    /// Times in milliseconds; -1 for what was not reached.
    fn append_time(self, stream: &Stream, put: &mut Put<'_>) {
        if matches!(self, Alias::TotalTime | Alias::UserTime | Alias::ActiveTime) {
            open_ended(stream, put);
        }
        match self.milliseconds(stream) {
            Some(ms) => decimal(put.out, ms, 1),
            None => put.out.extend_from_slice(b"-1"),
        }
    }
}

/// The sign of a number that may still grow.
fn open_ended(stream: &Stream, put: &mut Put<'_>) {
    if stream.times.ended.is_none() {
        put.out.push(b'+');
    }
}

/// Streams in the backend, without this one when it has ended.
fn backend_connections(stream: &Stream) -> u64 {
    let Some(backend) = stream.backend() else {
        return 0;
    };
    let all = backend.state.backend_sessions.current();
    let itself = u32::from(stream.times.ended.is_some());
    all.saturating_sub(itself).into()
}

fn version(version: Version) -> &'static [u8] {
    match version {
        Version::Http10 => b"HTTP/1.0",
        Version::Http11 => b"HTTP/1.1",
        Version::Http2 => b"HTTP/2.0",
        Version::Http3 => b"HTTP/3.0",
    }
}

fn ip(endpoint: Endpoint, put: &mut Put<'_>) {
    match endpoint.ip() {
        Some(ip) => put.address(ip),
        None => put.text(b"unix"),
    }
}

/// A port; of a Unix socket the id of its listener.
fn port(endpoint: Endpoint, stream: &Stream, put: &mut Put<'_>) {
    let number = match endpoint.port() {
        Some(port) => u64::from(port),
        None => u64::from(
            stream
                .session
                .frontend()
                .binds
                .get(stream.session.bind as usize)
                .map_or(0, |bind| bind.id),
        ),
    };
    put.number(number, 4);
}

fn inet_ip(address: Option<SocketAddr>, put: &mut Put<'_>) {
    match address {
        Some(address) => put.address(address.ip().to_canonical()),
        None => put.missing(),
    }
}

fn inet_port(address: Option<SocketAddr>, put: &mut Put<'_>) {
    match address {
        Some(address) => put.number(address.port().into(), 4),
        None => put.missing(),
    }
}

/// Captured values in braces.
fn captures(values: &[Option<Vec<u8>>], slots: usize, put: &mut Put<'_>) -> bool {
    if slots == 0 {
        return false;
    }
    put.quote();
    put.out.push(b'{');
    for slot in 0..slots {
        if slot > 0 {
            put.out.push(b'|');
        }
        if let Some(Some(value)) = values.get(slot) {
            put.inner(value, Encode::Header);
        }
    }
    put.out.push(b'}');
    put.quote();
    true
}

/// Captured values one by one.
fn capture_list(values: &[Option<Vec<u8>>], slots: usize, put: &mut Put<'_>) -> bool {
    for slot in 0..slots {
        if slot > 0 {
            put.out.push(b' ');
        }
        match values.get(slot) {
            Some(Some(value)) => put.encoded(value, Encode::Header),
            _ => put.missing(),
        }
    }
    slots > 0
}
/// What `capture cookie` kept of the request (0) or the answer (1).
fn cookie(stream: &Stream, side: usize) -> &[u8] {
    let kept = stream
        .lines
        .as_ref()
        .and_then(|lines| lines.cookies.get(side));
    kept.and_then(Option::as_deref).unwrap_or_default()
}
