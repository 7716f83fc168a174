//! One HTTP request and its answer: read, ruled, balanced, relayed, logged.
//! This is the order in which it happens; what each step does stands elsewhere.

use super::body::Body;
use super::finish::{finish, new_stream};
use super::reply::{self, Reply};
use super::serve::{self, Establish, Unserved};
use super::session::{Client, after};
use super::{Phase, Stream, Termination, exchange};
use crate::config::{Mode, ProxyOption, ReuseMode};
use crate::http1::{self, Fault, Limits, Outcome, Parsed};
use crate::reactor::{self, Buffer, with_deadline};
use crate::rules::{self, Verdict};
use crate::state::Tally;
use crate::stats;
use crate::worker::worker;
use std::io;
use std::time::SystemTime;

/// What follows a stream on its client's connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Next {
    /// Another request may come.
    Request,
    /// The end.
    Close,
}

/// The connection's first request did not come in time.
pub async fn timed_out(client: &mut Client) {
    let frontend = client.session.frontend();
    if frontend.has(ProxyOption::HttpIgnoreProbes) {
        return;
    }
    let mut stream = new_stream(client.session.clone(), worker().config(), true);
    stream.times.idle_since = client.session.accepted;
    stream.times.began = client.session.accepted;
    stream.times.began_at = client.session.accepted_at;
    refuse_head(client, &mut stream, HeadFailure::Timeout).await;
    finish(stream);
}

/// Why no request came.
enum HeadFailure {
    /// The client closed before it had sent anything.
    Nothing,
    /// The client closed in the middle.
    Closed,
    /// It took too long.
    Timeout,
    /// It was no request.
    Fault(Fault),
}

/// Serves one request.
pub async fn serve(client: &mut Client) -> Next {
    let mut stream = new_stream(client.session.clone(), worker().config(), true);
    stream.times.idle_since = client.idle_since;
    let next = match read_head(client, &mut stream).await {
        Ok(request) => {
            let next = run(client, &mut stream, request).await;
            if next == Next::Close && client.input.is_some() {
                // What the client still sends must not turn the answer's last
                // bytes into a reset.
                client.input = None;
            }
            next
        }
        Err(HeadFailure::Nothing) => {
            // A connection without a request, or the end of a kept-alive one.
            if client.streams == 0 {
                refuse_head(client, &mut stream, HeadFailure::Nothing).await;
                finish(stream);
            } else {
                worker().keep_stream(stream);
            }
            return Next::Close;
        }
        Err(failure) => {
            refuse_head(client, &mut stream, failure).await;
            Next::Close
        }
    };
    finish(stream);
    next
}

/// Reads and parses a request's head.
async fn read_head(client: &mut Client, stream: &mut Stream) -> Result<Parsed, HeadFailure> {
    let tune = &stream.config.global.tune;
    let frontend = client.session.frontend();
    let limits = Limits {
        head_bytes: tune.bufsize.saturating_sub(tune.maxrewrite),
        message_bytes: tune.bufsize,
        headers: tune.headers_max,
        accept_invalid: frontend.has(ProxyOption::AcceptInvalidHttpRequest),
    };
    let timeouts = frontend.timeouts;
    let deadline = after(timeouts.http_request_ms.or(timeouts.client_ms));
    let mut parsed_length = 0;
    let mut waited = false;
    loop {
        let input = client.input.get_or_insert_with(Buffer::take);
        if input.len() > parsed_length {
            parsed_length = input.len();
            match http1::parse_request(input.filled(), &limits, &mut stream.request) {
                Ok(Outcome::Done(request)) => {
                    input.consume(request.consumed);
                    stream.bytes_in += request.consumed as u64;
                    stream.times.request = Some(reactor::now());
                    return Ok(request);
                }
                Ok(Outcome::Incomplete) => {}
                Err(fault) => return Err(HeadFailure::Fault(fault)),
            }
        }
        match input.read_from(&client.socket) {
            Ok(0) if input.is_empty() => return Err(HeadFailure::Nothing),
            Ok(0) => return Err(HeadFailure::Closed),
            Ok(_) => {
                if parsed_length == 0 && waited {
                    // Only now did the request begin.
                    stream.times.began = reactor::now();
                    stream.times.began_at = SystemTime::now();
                    waited = false;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if input.is_empty() {
                    client.input = None;
                    waited = true;
                }
                let readable = client.socket.readable();
                with_deadline(deadline, readable).await.map_err(|_| HeadFailure::Timeout)?;
            }
            Err(error) if error.kind() == io::ErrorKind::OutOfMemory => input.compact(),
            Err(_) if input.is_empty() => return Err(HeadFailure::Nothing),
            Err(_) => return Err(HeadFailure::Closed),
        }
    }
}

/// Answers what was no request.
async fn refuse_head(client: &mut Client, stream: &mut Stream, failure: HeadFailure) {
    let frontend = stream.session.frontend().state.clone();
    serve::count_stream(stream);
    stream.phase = Phase::Request;
    let status = match failure {
        HeadFailure::Nothing => {
            stream.termination = Termination::ClientAbort;
            // Nothing was asked, so nothing is answered; the log says 400 as haproxy's does.
            stream.local_status = if client.streams == 0 { 400 } else { 0 };
            if !stream.frontend().has(ProxyOption::DontLogNull) {
                frontend.frontend.here().count(Tally::RequestErrors);
            }
            return;
        }
        HeadFailure::Closed => {
            stream.termination = Termination::ClientAbort;
            400
        }
        HeadFailure::Timeout => {
            stream.termination = Termination::ClientTimeout;
            408
        }
        HeadFailure::Fault(fault) => {
            stream.termination = Termination::Proxy;
            fault.kind.request_status()
        }
    };
    frontend.frontend.here().count(Tally::RequestErrors);
    let page = reply::error(stream, status);
    reply::send(client, stream, page, false).await;
    linger(client).await;
}

/// Lets the client read an answer that was sent before all of its request was
/// read: our side is closed, and what still comes is thrown away for a moment.
pub(super) async fn linger(client: &mut Client) {
    let _ = client.socket.shutdown_write();
    let deadline = after(Some(LINGER_MS));
    let mut bytes = 0;
    while bytes < LINGER_BYTES {
        let input = client.input.get_or_insert_with(Buffer::take);
        input.clear();
        match input.read_from(&client.socket) {
            Ok(0) => break,
            Ok(n) => bytes += n,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                client.input = None;
                if with_deadline(deadline, client.socket.readable()).await.is_err() {
                    break;
                }
            }
            Err(_) => break,
        }
    }
    client.input = None;
}

/// How long and how much is thrown away after an early answer.
const LINGER_MS: u32 = 1000;
const LINGER_BYTES: usize = 1 << 20;

/// A whole request head is there.
async fn run(client: &mut Client, stream: &mut Stream, request: Parsed) -> Next {
    serve::count_stream(stream);
    let now_ms = worker().now_ms();
    let state = &stream.session.frontend().state;
    state.request_rate.count(now_ms);
    state.frontend.here().count(Tally::Requests);
    let mut body = Body::new(request.body);
    let keep = request.keep_alive
        && !stream.frontend().has(ProxyOption::HttpClose)
        && !worker().runtime.stopping();
    match rule(client, stream, &mut body).await {
        Ruled::Forward => {}
        Ruled::Answer(answer) => {
            return finish_local(client, stream, answer, &mut body, keep).await;
        }
        Ruled::Close => return Next::Close,
    }
    let how = reuse(stream, client.streams == 0);
    let established = serve::establish(stream, how, &client.socket).await;
    match established {
        Ok((server, slot)) => {
            let outgoing = exchange::Outgoing { request: &request, body, keep };
            exchange::run(client, stream, outgoing, server, slot).await
        }
        Err(Unserved::ClientGone) => Next::Close,
        Err(Unserved::Unavailable) => {
            let page = reply::error(stream, 503);
            finish_local(client, stream, page, &mut body, keep).await
        }
    }
}

/// Whether `http-reuse` lets this stream use a connection that was used before.
fn reuse(stream: &Stream, first: bool) -> Establish {
    let Some(backend) = stream.backend() else { return Establish::Fresh };
    match backend.reuse {
        _ if backend.has(ProxyOption::HttpServerClose) || backend.has(ProxyOption::HttpClose) => {
            Establish::Fresh
        }
        ReuseMode::Never => Establish::Fresh,
        ReuseMode::Safe | ReuseMode::Aggressive if first => Establish::Fresh,
        _ => Establish::Reuse,
    }
}

/// What the rules made of a request.
enum Ruled {
    /// It goes to the backend that was chosen.
    Forward,
    /// It is answered here.
    Answer(Reply),
    /// It is not answered.
    Close,
}

/// The rules of the frontend, the choice of the backend, the backend's rules.
async fn rule(client: &mut Client, stream: &mut Stream, body: &mut Body) -> Ruled {
    if let Some(answer) = rules::monitor(stream) {
        stream.termination = Termination::Local;
        stream.phase = Phase::Request;
        return Ruled::Answer(answer);
    }
    let ruled = side_rules(client, stream, body).await;
    if !matches!(ruled, Ruled::Forward) {
        return ruled;
    }
    serve::choose_backend(stream);
    let Some(backend) = stream.backend() else {
        stream.termination = Termination::ServerAbort;
        stream.phase = Phase::Connect;
        return Ruled::Answer(reply::error(stream, 503));
    };
    let same = stream.backend == Some(stream.frontend);
    if backend.mode == Mode::Tcp {
        // The loader refuses this; a dynamic name can still lead here.
        stream.termination = Termination::Internal;
        return Ruled::Answer(reply::error(stream, 500));
    }
    serve::enter_backend(stream);
    if same {
        return Ruled::Forward;
    }
    side_rules(client, stream, body).await
}

/// The rules of the frontend, or of the backend once it is chosen.
async fn side_rules(client: &mut Client, stream: &mut Stream, body: &mut Body) -> Ruled {
    let in_backend = stream.backend.is_some();
    loop {
        let verdict = rules::http_request(stream, in_backend);
        return match verdict {
            Verdict::Continue => break,
            Verdict::Answer(answer) => Ruled::Answer(*answer),
            Verdict::Tarpit(answer) => {
                tarpit(client, stream).await;
                Ruled::Answer(*answer)
            }
            Verdict::Reject => Ruled::Close,
            Verdict::SilentDrop => {
                serve::drop_silently(&client.socket);
                Ruled::Close
            }
            Verdict::NeedBody { bytes, time_ms } => {
                if wait_for_body(client, stream, body, bytes, time_ms).await {
                    continue;
                }
                Ruled::Answer(reply::error(stream, 408))
            }
        };
    }
    match stats::answer(stream, in_backend) {
        Some(answer) => {
            stream.statistics = true;
            Ruled::Answer(answer)
        }
        None => Ruled::Forward,
    }
}

/// Holds a client in the tarpit, or until it goes.
async fn tarpit(client: &mut Client, stream: &mut Stream) {
    let timeouts = stream.frontend().timeouts;
    stream.phase = Phase::Tarpit;
    let limit = after(timeouts.tarpit_ms.or(timeouts.connect_ms).or(Some(TARPIT_MS)));
    // Only a client that goes ends it early; bytes that come do not.
    let _ = with_deadline(limit, closed(client)).await;
    // Its time counts as waiting in a queue.
    stream.times.request = None;
    stream.times.queued = Some(reactor::now());
}

/// How long a tarpit holds where no timeout says, milliseconds.
const TARPIT_MS: u32 = 10_000;

async fn closed(client: &mut Client) {
    while !client.socket.is_peer_closed() {
        reactor::sleep(std::time::Duration::from_millis(250)).await;
    }
}

/// Waits until so many bytes of the body (or all of it) came, as far as they
/// fit into one buffer, and shows them to the rules. They stay to be forwarded.
async fn wait_for_body(
    client: &mut Client,
    stream: &mut Stream,
    body: &Body,
    bytes: usize,
    time_ms: Option<u32>,
) -> bool {
    let deadline = after(time_ms.or(stream.frontend().timeouts.http_request_ms).or(stream.frontend().timeouts.client_ms));
    loop {
        let input = client.input.get_or_insert_with(Buffer::take);
        let peeked = body.peek(input.filled());
        stream.payload.clear();
        stream.payload.extend_from_slice(&peeked.bytes);
        stream.payload_complete = peeked.whole;
        if peeked.whole || stream.payload.len() >= bytes || input.len() >= input.capacity() {
            stream.payload_complete = true;
            return true;
        }
        match input.read_from(&client.socket) {
            Ok(0) => stream.payload_complete = true,
            Ok(_) => continue,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if with_deadline(deadline, client.socket.readable()).await.is_err() {
                    stream.termination = Termination::ClientTimeout;
                    stream.phase = Phase::Data;
                    return false;
                }
                continue;
            }
            Err(error) if error.kind() == io::ErrorKind::OutOfMemory => {
                input.compact();
                continue;
            }
            Err(_) => stream.payload_complete = true,
        }
        return true;
    }
}

/// Sends an answer of the proxy's own. What is left of the request's body is
/// read first where it is short, so that the connection can be kept.
async fn finish_local(
    client: &mut Client,
    stream: &mut Stream,
    answer: Reply,
    body: &mut Body,
    keep: bool,
) -> Next {
    stream.local = true;
    let keep = keep && !answer.close && (body.is_done() || discard(client, body));
    if !reply::send(client, stream, answer, keep).await {
        return Next::Close;
    }
    if keep {
        return Next::Request;
    }
    linger(client).await;
    Next::Close
}

/// Throws away a body that has arrived whole already.
fn discard(client: &mut Client, body: &mut Body) -> bool {
    let Some(input) = client.input.as_mut() else { return false };
    body.discard(input)
}
