//! The end of a stream: times, counters, the log line.

use super::{Session, Stream, Termination, Times};
use super::{Phase, serve};
use crate::config::Config;
use crate::log;
use crate::message::Message;
use crate::reactor;
use crate::rules::Variables;
use crate::state::Tally;
use crate::worker::worker;
use std::rc::Rc;
use std::sync::Arc;
use std::time::SystemTime;

/// A stream that begins now on a session.
pub fn new_stream(session: Rc<Session>, config: Arc<Config>, http: bool) -> Box<Stream> {
    let worker = worker();
    let now = reactor::now();
    let frontend = session.frontend;
    let times = Times {
        began_at: SystemTime::now(),
        idle_since: now,
        began: now,
        request: None,
        queued: None,
        connected: None,
        response: None,
        ended: None,
    };
    if let Some(mut stream) = worker.used_stream() {
        let Stream { request, response, captured_request, captured_response, variables, .. } =
            &mut *stream;
        let (mut request, mut response) = (std::mem::take(request), std::mem::take(response));
        let mut variables = std::mem::take(variables);
        let mut captured = (std::mem::take(captured_request), std::mem::take(captured_response));
        request.clear();
        response.clear();
        variables.clear();
        captured.0.clear();
        captured.1.clear();
        *stream = Stream {
            captured_request: captured.0,
            captured_response: captured.1,
            variables,
            ..blank(session, config, frontend, http, times, request, response)
        };
        return stream;
    }
    Box::new(blank(session, config, frontend, http, times, Message::default(), Message::default()))
}

fn blank(
    session: Rc<Session>,
    config: Arc<Config>,
    frontend: crate::config::ProxyIndex,
    http: bool,
    times: Times,
    request: Message,
    response: Message,
) -> Stream {
    Stream {
        id: worker().stream_id(),
        session,
        config,
        frontend,
        backend: None,
        server: None,
        http,
        request,
        response,
        payload: Vec::new(),
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
        retries: 0,
        redispatched: false,
        server_queue: 0,
        backend_queue: 0,
        local: false,
        local_status: 0,
        statistics: false,
        server_side: None,
        received: None,
        unique_id: None,
        resume_at: 0,
        lenient: false,
        termination: Termination::Normal,
        phase: Phase::Done,
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

/// Counts and logs a stream that has ended, and keeps its memory.
pub fn finish(mut stream: Box<Stream>) {
    stream.times.ended = Some(reactor::now());
    #[cfg(debug_assertions)]
    if let Some(observer) = OBSERVER.get() {
        observer(&stream);
    }
    count(&stream);
    log::stream_ended(&stream);
    serve::leave_backend(&stream);
    worker().keep_stream(stream);
}

fn count(stream: &Stream) {
    let times = &stream.times;
    let status = stream.status();
    let frontend = stream.frontend().state.frontend.here();
    frontend.add(Tally::BytesIn, stream.bytes_in);
    frontend.add(Tally::BytesOut, stream.bytes_out);
    if stream.http && status != 0 {
        frontend.status(status);
    }
    let aborted = match stream.termination {
        Termination::ClientAbort | Termination::ClientTimeout => Some(Tally::ClientAborts),
        Termination::ServerAbort | Termination::ServerTimeout
            if matches!(stream.phase, Phase::Data | Phase::Last) =>
        {
            Some(Tally::ServerAborts)
        }
        _ => None,
    };
    let spans = [
        ms(times.request, times.queued),
        ms(times.queued, times.connected),
        ms(times.connected, times.response),
        ms(Some(times.began), times.ended),
    ];
    if let Some(backend) = stream.backend() {
        let shard = backend.state.backend.here();
        shard.add(Tally::BytesIn, stream.bytes_in);
        shard.add(Tally::BytesOut, stream.bytes_out);
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
        shard.add(Tally::BytesIn, stream.bytes_in);
        shard.add(Tally::BytesOut, stream.bytes_out);
        shard.times(spans);
        if stream.http {
            shard.count(Tally::Requests);
            // A page of our own is not the server's answer.
            if status != 0 && !stream.local {
                shard.status(status);
            }
        }
        if let Some(tally) = aborted {
            shard.count(tally);
        }
    }
}
