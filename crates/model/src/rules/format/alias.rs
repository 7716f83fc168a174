//! Implements the aliases of log formats: `%ci`, `%ST`, `%r`. Each is a row with its name and
//! documentation, and appends its value without allocating.

use super::text::{Encode, Put, decimal, hexadecimal};
use crate::compiled::format::{Alias, ROWS};
use crate::config::{ProxyOption, ServerAddress, StreamLogStep};
use crate::known;
use crate::log::{DateStyle, append_date, hostname};
use crate::thread;
use crate::transaction::{Endpoint, ProxyStream};
use http::message::{HttpVersion, TargetParts};
use language::keyword::Documented;
use reactor::{self, Instant};
use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const PLACE: &[&str] = &["log-format"];

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

pub(super) fn not_built(name: &str) -> Option<&'static str> {
    known::names("log alias").find(|known| *known == name)
}

fn span_ms(from: Option<Instant>, to: Option<Instant>) -> Option<u64> {
    Some(to?.saturating_duration_since(from?).as_millis() as u64)
}

fn since_epoch(at: SystemTime) -> Duration {
    at.duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Returns the address of the stream's server, as operators set it or as the file gives it.
pub(in crate::rules) fn server_address(stream: &ProxyStream) -> Option<SocketAddr> {
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

/// Returns whether an HTTP stream has no complete request; false for a TCP stream.
fn without_request(stream: &ProxyStream) -> bool {
    stream.http && stream.received_method().is_empty()
}

/// Placeholder for an invalid request.
const BAD_REQUEST: &[u8] = b"<BADREQ>";

impl Alias {
    fn tls(self, stream: &ProxyStream, put: &mut Put<'_>) {
        let name = stream.session.tls.as_deref().map(|tls| match self {
            Alias::TlsVersion => tls.version_name(),
            _ => tls.suite_name(),
        });
        put.text_or_missing(name.unwrap_or_default().as_bytes());
    }

    /// Appends the value. Returns false if the alias produces nothing at all, not even the mark of
    /// a missing value.
    pub(super) fn append(self, stream: &ProxyStream, put: &mut Put<'_>) -> bool {
        match self {
            Alias::ClientIp => ip(stream.source(), put),
            Alias::ClientPort => port(stream.source(), stream, put),
            Alias::FrontendIp => ip(stream.destination(), put),
            Alias::FrontendPort => port(stream.destination(), stream, put),
            Alias::ServerSideIp => inet_ip(stream.links.server_side(), put),
            Alias::ServerSidePort => inet_port(stream.links.server_side(), put),
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
            Alias::ServerName => put.text(server_name(stream)),
            Alias::LogOrigin => put.text(
                stream
                    .log
                    .step
                    .get()
                    .map_or("unspec", StreamLogStep::origin)
                    .as_bytes(),
            ),
            Alias::Hostname => put.text(hostname()),
            Alias::UniqueId => {
                // Writes no ID for input that became no request, for which HAProxy creates no
                // stream.
                let has_id = !stream.http || stream.request.is_request();
                let id = has_id.then(|| stream.unique_id()).flatten();
                put.text_or_missing(id.unwrap_or_default())
            }
            Alias::CapturedRequestCookie => put.text_or_missing(cookie(stream, 0)),
            Alias::CapturedResponseCookie => put.text_or_missing(cookie(stream, 1)),
            Alias::Status => status(stream, put),
            // Appends the letters of the termination state without quotes, whatever the flags are.
            Alias::Termination => put.out.extend_from_slice(&[
                stream.outcome.termination.letter(),
                stream.outcome.phase.letter(),
            ]),
            Alias::TerminationCookie => {
                put.out.extend_from_slice(&[
                    stream.outcome.termination.letter(),
                    stream.outcome.phase.letter(),
                ]);
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

    /// Returns whether the value is a number, for formats that distinguish numbers from text.
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

    /// Returns the captured values of the side that the alias shows, and the number of slots.
    fn captures_of(self, stream: &ProxyStream) -> (&[Option<Vec<u8>>], usize) {
        let of_frontend = &stream.frontend().captures;
        match self {
            Alias::RequestHeaders | Alias::RequestHeadersList => {
                (&stream.log.captured_request, of_frontend.request.len())
            }
            _ => (&stream.log.captured_response, of_frontend.response.len()),
        }
    }

    /// Returns the values of an alias that is a list.
    pub(super) fn listed(self, stream: &ProxyStream) -> Option<Vec<Vec<u8>>> {
        if !matches!(self, Alias::RequestHeadersList | Alias::ResponseHeadersList) {
            return None;
        }
        let (captured, slots) = self.captures_of(stream);
        let value = |slot| captured.get(slot).cloned().flatten().unwrap_or_default();
        Some((0..slots).map(value).collect())
    }

    /// Appends captured headers; returns false if there is no list of them.
    fn captured(self, stream: &ProxyStream, put: &mut Put<'_>) -> bool {
        // Appends nothing for an invalid request, from which nothing is captured.
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

    fn request(self, stream: &ProxyStream, put: &mut Put<'_>) {
        let method = stream.received_method();
        if method.is_empty() {
            return put.text(BAD_REQUEST);
        }
        // Logs truncate the whole line, so its parts are truncated, too.
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

    /// Appends numbers, times and dates, which are never quoted.
    fn append_number(self, stream: &ProxyStream, put: &mut Put<'_>) {
        let times = &stream.times;
        match self {
            Alias::BytesOut => {
                open_ended(stream, put);
                put.count(stream.transfer.bytes_out);
            }
            Alias::BytesIn => put.count(stream.transfer.bytes_in),
            Alias::Retries => {
                if stream.route.redispatched {
                    put.out.push(b'+');
                }
                put.count(u64::from(stream.route.retries));
            }
            Alias::ProcessConnections => {
                put.count(thread::running().map_or(0, |w| w.process.connections.current().into()))
            }
            Alias::FrontendConnections => {
                put.count(stream.frontend().state.frontend.sessions.current().into())
            }
            Alias::BackendConnections => put.count(backend_connections(stream)),
            Alias::ServerConnections => put.count(
                stream
                    .server()
                    .map_or(0, |s| s.state.traffic.sessions.current().into()),
            ),
            Alias::BackendQueue => put.count(stream.route.backend_queue.into()),
            Alias::ServerQueue => put.count(stream.route.server_queue.into()),
            Alias::ProcessId => put.number(std::process::id().into(), 4),
            Alias::RequestCounter => put.number(stream.identity.id, 4),
            Alias::LogCounter => put.number(
                stream
                    .frontend()
                    .state
                    .frontend
                    .log_lines
                    .load(std::sync::atomic::Ordering::Relaxed),
                4,
            ),
            Alias::Timestamp => put.number(since_epoch(times.accept_date()).as_secs(), 4),
            Alias::Milliseconds => {
                let ms = since_epoch(times.accept_date()).subsec_millis();
                if put.flags.hex {
                    hexadecimal(put.out, ms.into(), 2)
                } else {
                    decimal(put.out, ms.into(), 3)
                }
            }
            Alias::DateMillis => append_date(put.out, times.accept_date(), DateStyle::Millis),
            Alias::DateGmt => append_date(put.out, times.accept_date(), DateStyle::Gmt),
            Alias::DateLocal => append_date(put.out, times.accept_date(), DateStyle::Local),
            Alias::RequestDate => append_date(put.out, times.began_at, DateStyle::Millis),
            Alias::RequestDateGmt => append_date(put.out, times.began_at, DateStyle::Gmt),
            Alias::RequestDateLocal => append_date(put.out, times.began_at, DateStyle::Local),
            _ => self.append_time(stream, put),
        }
    }

    /// Returns a time in milliseconds; None if its moment was not reached.
    pub(in crate::rules) fn milliseconds(self, stream: &ProxyStream) -> Option<u64> {
        let times = &stream.times;
        let start = Some(times.idle_since);
        let began = Some(times.began);
        match self {
            Alias::RequestTime => span_ms(began, times.request),
            Alias::RequestTotalTime => span_ms(start, times.request),
            Alias::QueueTime => span_ms(times.request.or(began), times.queued),
            Alias::ConnectTime => span_ms(times.queued, times.connected),
            Alias::ResponseTime => span_ms(times.connected, times.response),
            Alias::DataTime if stream.http => span_ms(times.response, Some(times.end())),
            Alias::DataTime => span_ms(times.connected, Some(times.end())),
            Alias::HandshakeTime if times.first => span_ms(start, Some(stream.session.ready)),
            Alias::HandshakeTime => Some(0),
            Alias::IdleTime if times.first => span_ms(Some(stream.session.ready), began),
            Alias::IdleTime => span_ms(start, began),
            Alias::TotalTime => span_ms(start, Some(times.end())),
            Alias::UserTime => {
                let idle = if times.first {
                    Some(stream.session.ready)
                } else {
                    start
                };
                let idle = span_ms(idle, began).unwrap_or(0);
                span_ms(start, Some(times.end())).map(|total| total.saturating_sub(idle))
            }
            // Returns the active time for `%Ta`, the only remaining alias.
            _ => span_ms(began, Some(times.end())),
        }
    }

    /// Appends times in milliseconds; -1 for a moment that was not reached.
    fn append_time(self, stream: &ProxyStream, put: &mut Put<'_>) {
        if matches!(self, Alias::TotalTime | Alias::UserTime | Alias::ActiveTime) {
            open_ended(stream, put);
        }
        match self.milliseconds(stream) {
            Some(ms) => decimal(put.out, ms, 1),
            None => put.out.extend_from_slice(b"-1"),
        }
    }
}

/// Returns the name of the server, or a placeholder in angle brackets for a stream without one.
fn server_name(stream: &ProxyStream) -> &[u8] {
    let cache = stream.transfer.cache.as_ref();
    match stream.server() {
        Some(server) => server.name.as_bytes(),
        None if stream.outcome.statistics => b"<STATS>",
        None if cache.is_some_and(|cache| cache.hit) => b"<CACHE>",
        None => b"<NOSRV>",
    }
}

fn status(stream: &ProxyStream, put: &mut Put<'_>) {
    match stream.status() {
        // As in HAProxy, an invalid request over HTTP/2 has no status.
        0 if stream.http && !stream.request.method().is_empty() => {
            put.out.extend_from_slice(b"-1");
        }
        status => decimal(put.out, u64::from(status), 1),
    }
}

/// Appends a plus sign if the value may still grow: the stream has not ended or, as in HAProxy,
/// `option logasap` is set, even if the stream has ended.
fn open_ended(stream: &ProxyStream, put: &mut Put<'_>) {
    let is_early = stream.frontend().has(ProxyOption::LogAsap);
    if is_early || stream.times.ended.is_none() {
        put.out.push(b'+');
    }
}

/// Returns the number of streams in the backend, without this one if it has ended.
fn backend_connections(stream: &ProxyStream) -> u64 {
    let Some(backend) = stream.backend() else {
        return 0;
    };
    let all = backend.state.backend.sessions.current();
    let itself = u32::from(stream.times.ended.is_some());
    all.saturating_sub(itself).into()
}

fn version(version: HttpVersion) -> &'static [u8] {
    match version {
        HttpVersion::Http10 => b"HTTP/1.0",
        HttpVersion::Http11 => b"HTTP/1.1",
        HttpVersion::Http2 => b"HTTP/2.0",
        HttpVersion::Http3 => b"HTTP/3.0",
    }
}

fn ip(endpoint: Endpoint, put: &mut Put<'_>) {
    match endpoint.ip() {
        Some(ip) => put.address(ip),
        None => put.text(b"unix"),
    }
}

/// Appends a port, or the ID of the listener for a Unix socket.
fn port(endpoint: Endpoint, stream: &ProxyStream, put: &mut Put<'_>) {
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

/// Appends captured values in braces.
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

/// Appends captured values one by one.
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
/// Returns the cookie that `capture cookie` captured from the request (0) or the response (1).
fn cookie(stream: &ProxyStream, side: usize) -> &[u8] {
    let kept = stream
        .rules
        .lines
        .as_ref()
        .and_then(|lines| lines.cookies.get(side));
    kept.and_then(Option::as_deref).unwrap_or_default()
}
