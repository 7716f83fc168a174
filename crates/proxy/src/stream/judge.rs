//! Applies the rules of frontend and backend to a request, from its head to the choice of the
//! backend. Rules may wait for the body of the request.

use super::body::IncomingBody;
use super::session::Client;
use super::{
    ProxyResponse, ProxyStream, StreamPhase, Termination, backend, error_page, send, watch,
};
use crate::stats::StatisticsReport;
use crate::{persistence, stats};
use http::message::{HttpMessage, HttpVersion};
use model::config::{Mode, Rare};
use model::rules::{self, MessageVerdict};
use model::state::Tally;
use model::transaction::trace::TraceStep;
use model::users;
use mux::link::{PeerConnection, WriteFailure};
use reactor::{self, Buffer, after, pool_box, with_deadline};
use std::future::poll_fn;
use std::io;

pub enum Ruled {
    Forward,
    Answer(ProxyResponse),
    Report(Box<StatisticsReport>),
    /// Close the connection without a response.
    Close,
}

/// Applies the frontend's rules, chooses the backend, and applies the backend's rules.
pub async fn rule(client: &mut Client, stream: &mut ProxyStream, body: &mut IncomingBody) -> Ruled {
    if let Some(answer) = rules::monitor(stream) {
        stream.session.note(|| TraceStep::Page("monitor-uri"));
        stream.decide_page("monitor-uri");
        stream.outcome.end(Termination::Local, StreamPhase::Request);
        return Ruled::Answer(answer);
    }
    let ruled = side_rules(client, stream, body).await;
    if !matches!(ruled, Ruled::Forward) {
        return ruled;
    }
    if let Some(refused) = choose_backend(client, stream).await {
        return refused;
    }
    let Some(backend) = stream.backend() else {
        stream
            .outcome
            .end(Termination::ServerAbort, StreamPhase::Connect);
        return Ruled::Answer(error_page(stream, 503));
    };
    let same = stream.route.backend == Some(stream.route.frontend);
    let tcp = backend.mode == Mode::Tcp;
    backend::enter(stream);
    if stream.route.rare.has(Rare::OWN_SERVER) {
        persistence::enter(stream);
    }
    if tcp {
        // Answers with an error: the loader refuses a backend of another mode, but a backend name
        // computed for each request can still lead here.
        stream.outcome.termination = Termination::Internal;
        return Ruled::Answer(error_page(stream, 500));
    }
    if same {
        return Ruled::Forward;
    }
    side_rules(client, stream, body).await
}

/// Applies the rules of the frontend, or of the backend once it is chosen.
async fn side_rules(
    client: &mut Client,
    stream: &mut ProxyStream,
    body: &mut IncomingBody,
) -> Ruled {
    let in_backend = stream.route.backend.is_some();
    if stream.config.global.recording.request_body && !stream.payloads.request_complete {
        if client.link.is_http2() && !body.is_done() {
            let input = client.input.get_or_insert_with(Buffer::take);
            // Ignores an error, which is detected again when the body is forwarded.
            let _ = client.link.read_into(input);
        }
        show_body(client, stream, body);
        if expects_continue(&stream.request) {
            // Marks the body as incomplete, although it may have arrived without a request for it:
            // a rule that waits for the body sends 100 (Continue) in any case.
            stream.payloads.request_complete = false;
        }
    }
    loop {
        let verdict = rules::http_request(stream, in_backend);
        if stream.rules.overrides.is_some() {
            pool_box(tell_early(client, stream)).await;
        }
        return match verdict {
            MessageVerdict::Continue => break,
            MessageVerdict::Answer(answer) => Ruled::Answer(*answer),
            MessageVerdict::Tarpit(answer) => {
                tarpit(client, stream).await;
                Ruled::Answer(*answer)
            }
            MessageVerdict::Metrics => {
                let query = stream.request.query().unwrap_or_default();
                match stats::metrics(stream, query) {
                    Some(report) => Ruled::Report(Box::new(report)),
                    None => Ruled::Answer(error_page(stream, 400)),
                }
            }
            MessageVerdict::Reject => {
                if let PeerConnection::Http2(link) = &client.link {
                    link.kill_connection(false);
                }
                Ruled::Close
            }
            MessageVerdict::SilentDrop(ttl) => {
                super::session::drop_silently(&client.link, ttl);
                Ruled::Close
            }
            MessageVerdict::NeedBody { bytes, time_ms } => {
                if wait_for_body(client, stream, body, bytes, time_ms).await {
                    continue;
                }
                without_body(client, stream)
            }
            MessageVerdict::Wait(wait) => {
                if watch::await_rule(stream, &client.link, wait).await {
                    continue;
                }
                Ruled::Close
            }
        };
    }
    statistics(client, stream, body, in_backend).await
}

/// Chooses the backend. This may wait for the verification of a password.
async fn choose_backend(client: &Client, stream: &mut ProxyStream) -> Option<Ruled> {
    loop {
        backend::choose(stream);
        let asked = users::unanswered(stream)?;
        stream.route.backend = None;
        match asked {
            MessageVerdict::Wait(wait) => {
                if !watch::await_rule(stream, &client.link, wait).await {
                    return Some(Ruled::Close);
                }
            }
            MessageVerdict::Answer(answer) => return Some(Ruled::Answer(*answer)),
            _ => return None,
        }
    }
}

/// Applies the settings that rules made for the client's connection, and sends the early responses
/// (1xx) that they generated.
async fn tell_early(client: &mut Client, stream: &mut ProxyStream) {
    send::mark_packets(stream, &client.link);
    let hints = match stream.rules.overrides.as_mut() {
        Some(set) => std::mem::take(&mut set.hints),
        None => return,
    };
    let limit = stream.client_ms();
    for (_, head) in hints {
        let (bytes, sent) = client.link.send_head(&head, false, limit).await;
        stream.transfer.bytes_out += bytes;
        // Ends early for a disconnected client, which is noticed when the final response is sent.
        if sent.is_err() {
            return;
        }
    }
}

async fn statistics(
    client: &mut Client,
    stream: &mut ProxyStream,
    body: &mut IncomingBody,
    in_backend: bool,
) -> Ruled {
    loop {
        let answer = stats::answer(stream, in_backend);
        if !matches!(answer, stats::StatisticsVerdict::No) {
            stream
                .session
                .note(|| TraceStep::Page("the statistics page"));
            stream.decide_page("the statistics page");
        }
        return match answer {
            stats::StatisticsVerdict::No => Ruled::Forward,
            stats::StatisticsVerdict::Ready(reply) => Ruled::Answer(reply),
            stats::StatisticsVerdict::Report(report) => Ruled::Report(report),
            stats::StatisticsVerdict::Wait(wait) => {
                if watch::await_rule(stream, &client.link, wait).await {
                    continue;
                }
                Ruled::Close
            }
            stats::StatisticsVerdict::NeedBody(bytes) => {
                if wait_for_body(client, stream, body, bytes, None).await {
                    continue;
                }
                without_body(client, stream)
            }
        };
    }
}

/// Returns the verdict for a request whose body did not arrive in time, or failed.
pub fn without_body(client: &Client, stream: &mut ProxyStream) -> Ruled {
    match stream.outcome.termination {
        // Sends nothing to a client that has reset its HTTP/2 stream, because that client reads no
        // response.
        Termination::ClientAbort if client.link.is_http2() => Ruled::Close,
        // Sends an error to a client that only closed its sending side, which may still read.
        Termination::ClientAbort => Ruled::Answer(error_page(stream, 400)),
        _ => Ruled::Answer(error_page(stream, 408)),
    }
}

/// Delays a client in the tarpit until the timeout expires or the client disconnects.
async fn tarpit(client: &Client, stream: &mut ProxyStream) {
    stream.outcome.phase = StreamPhase::Tarpit;
    // Returns at once in a trace, where nothing waits.
    if stream.session.is_traced() {
        return;
    }
    let limit = after(stream.tarpit_ms().or(Some(TARPIT_MS)));
    // Ends the delay early only for a disconnect; received bytes do not end it.
    let _ = with_deadline(limit, poll_fn(|context| client.link.poll_gone(context))).await;
    // Records the delay as queue time for the log.
    stream.times.request = None;
    stream.times.queued = Some(reactor::now());
}

/// Delay of the tarpit if no timeout is configured, milliseconds.
const TARPIT_MS: u32 = 10_000;

/// Waits until this many bytes of the body (or all of it) have arrived, up to the size of one
/// buffer, and shows them to the rules. The bytes stay in the input, so that they are forwarded.
/// Returns false if they did not arrive in time, or the client is gone.
pub async fn wait_for_body(
    client: &mut Client,
    stream: &mut ProxyStream,
    body: &IncomingBody,
    bytes: usize,
    time_ms: Option<u32>,
) -> bool {
    let timeouts = &stream.frontend().timeouts;
    let deadline = after(time_ms.or(timeouts.http_request_ms).or(timeouts.client_ms));
    if !body.is_done() && expects_continue(&stream.request) {
        // Sends 100 (Continue) itself and removes `expect`, so that the server does not send
        // another.
        let (bytes, sent) = say_continue(&client.link, timeouts.client_ms).await;
        if sent.is_err() {
            return false;
        }
        stream.transfer.bytes_out += bytes;
        stream.request.remove(b"expect");
    }
    loop {
        let whole = show_body(client, stream, body);
        let input = client.input.get_or_insert_with(Buffer::take);
        if whole || stream.payloads.request.len() >= bytes || input.len() >= input.capacity() {
            stream.payloads.request_complete = true;
            return true;
        }
        match client.link.read_into(input) {
            Ok(read) if read > 0 => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if with_deadline(deadline, client.link.readable())
                    .await
                    .is_err()
                {
                    stream
                        .outcome
                        .end(Termination::ClientTimeout, StreamPhase::Request);
                    return false;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::OutOfMemory => input.compact(),
            // Fails if the client has reset the stream, because a body that was to be complete must
            // not reach a server in part.
            Ok(_) | Err(_) => {
                stream
                    .outcome
                    .end(Termination::ClientAbort, StreamPhase::Request);
                stream.frontend().state.count_frontend(Tally::RequestErrors);
                return false;
            }
        }
    }
}

/// Shows the received part of the body to the rules. Returns whether it is the whole body.
fn show_body(client: &Client, stream: &mut ProxyStream, body: &IncomingBody) -> bool {
    let input = client.input.as_ref();
    let peeked = body.peek(&client.link, input.map_or(&[][..], Buffer::filled));
    stream.payloads.request.clear();
    stream.payloads.request.extend_from_slice(&peeked.bytes);
    stream.payloads.request_complete = peeked.whole;
    peeked.whole
}

/// Sends 100 (Continue) to the client; returns the number of bytes sent.
async fn say_continue(
    client: &PeerConnection,
    limit: Option<u32>,
) -> (u64, Result<(), WriteFailure>) {
    let mut head = HttpMessage::default();
    // Ignores the result, because the head always fits.
    let _ = head.begin_response(HttpVersion::Http11, 100, b"Continue");
    client.send_head(&head, false, limit).await
}

fn expects_continue(request: &HttpMessage) -> bool {
    request.version() != HttpVersion::Http10
        && request
            .get(b"expect")
            .is_some_and(|value| value.eq_ignore_ascii_case(b"100-continue"))
}
