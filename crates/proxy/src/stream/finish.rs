//! Completes a stream: records its times, updates counters, and writes the log line.

use super::session::listener_state;
use super::{ProxyStream, StreamPhase, Termination, backend};
use crate::compression;
use model::state::Tally;
use model::thread::current_thread_data;
use model::transaction::StreamOutcome;
use model::{history, log, tracking};

fn ms(from: Option<reactor::Instant>, to: Option<reactor::Instant>) -> u64 {
    match (from, to) {
        (Some(from), Some(to)) => to.saturating_duration_since(from).as_millis() as u64,
        _ => 0,
    }
}

/// Receives each stream that ends; only in builds for tests.
#[cfg(debug_assertions)]
static OBSERVER: std::sync::OnceLock<fn(&ProxyStream)> = std::sync::OnceLock::new();

/// Registers a function that receives each stream that ends, so that tests can check log
/// contents. Only the first call has an effect.
#[cfg(debug_assertions)]
pub fn observe_ended(observer: fn(&ProxyStream)) {
    let _ = OBSERVER.set(observer);
}

/// Counts and logs input that was not a valid request; `status` is that of the response, 0
/// for none.
pub fn bad_request(mut stream: Box<ProxyStream>, status: u16) {
    stream.outcome.end(Termination::Proxy, StreamPhase::Request);
    stream.outcome.local_status = status;
    // Removes the parser's partial result, which must not appear as a request in the log.
    stream.request.clear();
    stream.frontend().state.count_frontend(Tally::RequestErrors);
    finish(stream);
}

/// Counts and logs a stream that has ended, and keeps its memory for reuse.
pub fn finish(mut stream: Box<ProxyStream>) {
    stream.times.ended = Some(reactor::now());
    stream.apply_pending();
    #[cfg(debug_assertions)]
    if let Some(observer) = OBSERVER.get() {
        observer(&stream);
    }
    count(&stream);
    log::stream_ended(&stream);
    history::ended(&stream);
    tracking::ended(&mut stream);
    backend::leave(&stream);
    current_thread_data().keep_stream(stream);
}

fn aborted(outcome: &StreamOutcome) -> Option<Tally> {
    match outcome.termination {
        Termination::ClientAbort | Termination::ClientTimeout => Some(Tally::ClientAborts),
        Termination::ServerAbort | Termination::ServerTimeout
            if matches!(outcome.phase, StreamPhase::Data | StreamPhase::Last) =>
        {
            Some(Tally::ServerAborts)
        }
        _ => None,
    }
}

fn count(stream: &ProxyStream) {
    let times = &stream.times;
    let status = stream.status();
    let frontend = stream.frontend().state.frontend.counters.current_shard();
    let bytes_in = stream.transfer.uncounted_in();
    let bytes_out = stream.transfer.uncounted_out();
    frontend.add(Tally::BytesIn, bytes_in);
    frontend.add(Tally::BytesOut, bytes_out);
    if stream.http && status != 0 {
        frontend.status(status);
    }
    if let Some(listener) = listener_state(stream.session.frontend(), stream.session.bind) {
        let shard = listener.counters.current_shard();
        shard.add(Tally::BytesIn, stream.transfer.bytes_in);
        shard.add(Tally::BytesOut, stream.transfer.bytes_out);
    }
    if stream.transfer.compression.bypassed {
        compression::count(
            stream,
            Tally::CompressionBypassed,
            stream.transfer.bytes_out,
        );
    }
    if stream.outcome.termination == Termination::Local {
        frontend.count(Tally::Intercepted);
    }
    let aborted = aborted(&stream.outcome);
    let spans = [
        ms(times.request, times.queued),
        ms(times.queued, times.connected),
        ms(times.connected, times.response),
        ms(Some(times.began), times.ended),
    ];
    let [.., total] = spans;
    frontend.took(total);
    if let Some(backend) = stream.backend() {
        let shard = backend.state.backend.counters.current_shard();
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
        let shard = server.state.traffic.counters.current_shard();
        shard.add(Tally::BytesIn, bytes_in);
        shard.add(Tally::BytesOut, bytes_out);
        shard.times(spans);
        if stream.http {
            // Counts no request for a server that never responded, as HAProxy does.
            if stream.times.response.is_some() {
                shard.count(Tally::Requests);
            }
            // Counts the server's status, not that of an error page or one that a rule set.
            if stream.outcome.server_status != 0 {
                shard.status(stream.outcome.server_status);
            }
        }
        if let Some(tally) = aborted {
            shard.count(tally);
        }
    }
}
