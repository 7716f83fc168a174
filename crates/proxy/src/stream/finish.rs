//! The end of a stream: times, counters, the log line.

use super::session::listener_state;
use super::{Phase, serve};
use super::{Session, Stream, Termination, Times};
use crate::compression;
use crate::log;
use crate::rules::Variables;
use crate::state::Tally;
use crate::tables::tracked;
use crate::thread::here;
use http::message::Message;
use std::rc::Rc;
use std::sync::Arc;

/// A stream that begins now on a session, under its configuration: a place in
/// one tree says nothing in another.
pub fn new_stream(session: Rc<Session>, http: bool) -> Box<Stream> {
    let thread = here();
    let times = Times::begin(reactor::now(), thread.wall_clock());
    if let Some(mut stream) = thread.used_stream() {
        renew(&mut stream, session, http, times);
        return stream;
    }
    Box::new(blank(thread.stream_id(), session, http, times))
}

/// Makes a used stream as good as a new one and keeps its memory. Every field
/// is named, so that a new one cannot be forgotten: what one client's stream
/// leaves behind must not reach another's.
fn renew(used: &mut Stream, new: Rc<Session>, is_http: bool, begins: Times) {
    let Stream {
        id,
        session,
        config,
        frontend,
        backend,
        server,
        preferred,
        http,
        request,
        response,
        payload,
        log_step,
        payload_complete,
        response_payload,
        response_payload_complete,
        sniffed,
        source,
        destination,
        variables,
        log_level,
        captured_request,
        captured_response,
        times,
        bytes_in,
        bytes_out,
        retries,
        redispatched,
        server_queue,
        backend_queue,
        local,
        local_status,
        server_status,
        statistics,
        ends,
        server_tls,
        received,
        unique_id,
        resume_at,
        lenient,
        bytes_counted,
        logged,
        termination,
        phase,
        listed: _,
        assigned,
        tracked,
        lines,
        error_status,
        checked_users,
        persistence,
        compression,
        cache,
        overrides,
        rare,
    } = used;
    *assigned = Default::default();
    *tracked = None;
    error_status.set(0);
    if checked_users.get().is_some() {
        *checked_users = std::cell::OnceCell::new();
    }
    *id = here().stream_id();
    *frontend = new.frontend;
    *config = Arc::clone(&new.config);
    *rare = config.proxy(new.frontend).rare;
    *session = new;
    (*backend, *server, *preferred) = (None, None, None);
    *http = is_http;
    request.clear();
    response.clear();
    payload.clear();
    response_payload.clear();
    log_step.set("");
    (*payload_complete, *response_payload_complete) = (false, false);
    if sniffed.get().is_some() {
        *sniffed = std::cell::OnceCell::new();
    }
    (*source, *destination) = (None, None);
    variables.clear();
    *log_level = None;
    captured_request.clear();
    captured_response.clear();
    *times = begins;
    (*bytes_in, *bytes_out) = (0, 0);
    (*retries, *redispatched) = (0, false);
    (*server_queue, *backend_queue) = (0, 0);
    (*local, *local_status, *statistics) = (false, 0, false);
    *server_status = 0;
    *ends = None;
    *server_tls = None;
    *received = None;
    *unique_id = None;
    (*resume_at, *lenient) = (0, false);
    (*bytes_counted, *logged) = ((0, 0), false);
    (*termination, *phase) = (Termination::Normal, Phase::Done);
    *lines = None;
    if let Some(persistence) = persistence {
        **persistence = Default::default();
    }
    *compression = Default::default();
    *cache = None;
    *overrides = None;
}

/// A stream of nobody, on a thread that serves nobody: a health check evaluates
/// its expressions in it.
pub fn of_check(session: Rc<Session>, http: bool) -> Stream {
    let times = Times::begin(reactor::now(), std::time::SystemTime::now());
    blank(0, session, http, times)
}

/// A stream to which nothing has happened yet.
pub(super) fn blank(id: u64, session: Rc<Session>, http: bool, times: Times) -> Stream {
    Stream {
        id,
        frontend: session.frontend,
        rare: session.frontend().rare,
        config: Arc::clone(&session.config),
        session,
        backend: None,
        server: None,
        preferred: None,
        http,
        request: Message::default(),
        response: Message::default(),
        payload: Vec::new(),
        log_step: std::cell::Cell::new(""),
        payload_complete: false,
        response_payload: Vec::new(),
        response_payload_complete: false,
        sniffed: std::cell::OnceCell::new(),
        source: None,
        destination: None,
        variables: Variables::default(),
        log_level: None,
        captured_request: Vec::new(),
        captured_response: Vec::new(),
        times,
        bytes_in: 0,
        bytes_out: 0,
        bytes_counted: (0, 0),
        logged: false,
        retries: 0,
        redispatched: false,
        server_queue: 0,
        backend_queue: 0,
        local: false,
        local_status: 0,
        server_status: 0,
        statistics: false,
        ends: None,
        server_tls: None,
        received: None,
        unique_id: None,
        resume_at: 0,
        lenient: false,
        termination: Termination::Normal,
        phase: Phase::Done,
        listed: Default::default(),
        assigned: Default::default(),
        tracked: None,
        lines: None,
        error_status: std::cell::Cell::new(0),
        checked_users: std::cell::OnceCell::new(),
        persistence: None,
        compression: Default::default(),
        cache: None,
        overrides: None,
    }
}

fn ms(from: Option<reactor::Instant>, to: Option<reactor::Instant>) -> u64 {
    match (from, to) {
        (Some(from), Some(to)) => to.saturating_duration_since(from).as_millis() as u64,
        _ => 0,
    }
}

/// Who is shown each stream that ends; only in builds for tests.
#[cfg(debug_assertions)]
static OBSERVER: std::sync::OnceLock<fn(&Stream)> = std::sync::OnceLock::new();

/// Shows each stream that ends to `observer`: for tests of what logs would
/// say. The first call counts.
#[cfg(debug_assertions)]
pub fn observe_ended(observer: fn(&Stream)) {
    let _ = OBSERVER.set(observer);
}

/// Counts and logs what came on a client's connection and was no request;
/// `status` is what it was answered, 0 for nothing.
pub fn bad_request(mut stream: Box<Stream>, status: u16) {
    stream.termination = Termination::Proxy;
    stream.phase = Phase::Request;
    stream.local_status = status;
    // What was taken in until it turned out to be none is no request to a log.
    stream.request.clear();
    let frontend = &stream.frontend().state.frontend;
    frontend.here().count(Tally::RequestErrors);
    finish(stream);
}

/// Counts and logs a stream that has ended, and keeps its memory.
pub fn finish(mut stream: Box<Stream>) {
    stream.times.ended = Some(reactor::now());
    stream.settle();
    #[cfg(debug_assertions)]
    if let Some(observer) = OBSERVER.get() {
        observer(&stream);
    }
    count(&stream);
    log::stream_ended(&stream);
    tracked::ended(&mut stream);
    serve::leave_backend(&stream);
    here().keep_stream(stream);
}

/// Who broke a stream off, where one did.
fn aborted(stream: &Stream) -> Option<Tally> {
    match stream.termination {
        Termination::ClientAbort | Termination::ClientTimeout => Some(Tally::ClientAborts),
        Termination::ServerAbort | Termination::ServerTimeout
            if matches!(stream.phase, Phase::Data | Phase::Last) =>
        {
            Some(Tally::ServerAborts)
        }
        _ => None,
    }
}

fn count(stream: &Stream) {
    let times = &stream.times;
    let status = stream.status();
    let frontend = stream.frontend().state.frontend.here();
    let bytes_in = stream.bytes_in.saturating_sub(stream.bytes_counted.0);
    let bytes_out = stream.bytes_out.saturating_sub(stream.bytes_counted.1);
    frontend.add(Tally::BytesIn, bytes_in);
    frontend.add(Tally::BytesOut, bytes_out);
    if stream.http && status != 0 {
        frontend.status(status);
    }
    if let Some(listener) = listener_state(stream.session.frontend(), stream.session.bind) {
        let shard = listener.counters.here();
        shard.add(Tally::BytesIn, stream.bytes_in);
        shard.add(Tally::BytesOut, stream.bytes_out);
    }
    if stream.compression.bypassed {
        compression::count(stream, Tally::CompressionBypassed, stream.bytes_out);
    }
    if stream.termination == Termination::Local {
        frontend.count(Tally::Intercepted);
    }
    let aborted = aborted(stream);
    let spans = [
        ms(times.request, times.queued),
        ms(times.queued, times.connected),
        ms(times.connected, times.response),
        ms(Some(times.began), times.ended),
    ];
    if let Some(backend) = stream.backend() {
        let shard = backend.state.backend.here();
        shard.add(Tally::BytesIn, bytes_in);
        shard.add(Tally::BytesOut, bytes_out);
        shard.times(spans);
        if stream.http {
            shard.count(Tally::Requests);
            if status != 0 {
                shard.status(status);
            }
        }
        if let Some(tally) = aborted {
            shard.count(tally);
        }
    }
    if let Some(server) = stream.server() {
        let shard = server.state.counters.here();
        shard.add(Tally::BytesIn, bytes_in);
        shard.add(Tally::BytesOut, bytes_out);
        shard.times(spans);
        if stream.http {
            // A server that never answered has had no request, to haproxy.
            if stream.times.response.is_some() {
                shard.count(Tally::Requests);
            }
            // Neither a page of our own nor what a rule made of it.
            if stream.server_status != 0 {
                shard.status(stream.server_status);
            }
        }
        if let Some(tally) = aborted {
            shard.count(tally);
        }
    }
}
