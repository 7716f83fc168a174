//! One HTTP request and its answer: read, ruled, balanced, relayed, logged.
//! This is the order in which it happens; what each step does stands elsewhere.

use super::body::Body;
use super::finish::finish;
use super::serve::{self, Establish, Reuse, Unserved};
use super::session::{Client, head_deadline, idle_deadline};
use super::{
    Phase, Reply, Session, Stream, Termination, error_page, exchange, forward, inspect, new_stream,
    send,
};
use crate::server_connection::{self, Own};
use crate::{persistence, stats};
use http::http1::{self, ConnectionMode, Fault, FaultKind, Limits, ParseStatus, Parsed, Preface};
use http::message::{Message, Version};
use model::config::{
    CheckKind, HttpProtocol, Mode, ProxyOption, Rare, ReuseMode, Server, ServerIndex, Step,
};
use model::rules::{self, Verdict};
use model::state::Tally;
use model::thread::here;
use model::{log, tracking, users};
use mux::link::{Link, WriteFailure};
use reactor::{self, Buffer, after, pool_box, with_deadline};
use std::io;

/// What follows a stream on its client's connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Next {
    /// Another request may come.
    Request,
    /// None has begun: the socket had nothing after all.
    Again,
    /// The end.
    Close,
    /// The connection closes, but first the client's remaining input is read: unread
    /// input would reset the connection and destroy the end of the response.
    Linger,
    /// It was no request but HTTP/2: the preface stands in the client's input.
    Http2,
}

/// The connection's first request did not come in time.
pub async fn timed_out(client: &mut Client) {
    let frontend = client.session.frontend();
    if frontend.has(ProxyOption::HttpIgnoreProbes) {
        return;
    }
    let mut stream = new_stream(client.session.clone(), true);
    stream.times.idle_since = client.session.accepted;
    stream.times.began = client.session.accepted;
    stream.times.began_at -= reactor::now().saturating_duration_since(client.session.accepted);
    refuse_head(client, &mut stream, HeadFailure::Timeout).await;
    finish(stream);
    linger(client).await;
}

/// Why no request came.
enum HeadFailure {
    /// Nothing has come yet.
    NotYet,
    /// The client closed before it had sent anything.
    Nothing,
    /// The client closed in the middle.
    Closed,
    /// It took too long.
    Timeout,
    /// It was no request.
    Fault(Fault),
    /// It is the preface of HTTP/2, or begins like it.
    Http2,
}

/// Serves one request.
pub async fn serve(client: &mut Client) -> Next {
    let mut stream = new_stream(client.session.clone(), true);
    stream.times.follow(client.idle_since, client.streams);
    let head = read_head(client, &mut stream).await;
    proceed(client, stream, head).await
}

/// Serves the request that a stream turned out to be which began as one of TCP.
pub(super) async fn serve_upgraded(
    client: &mut Client,
    mut stream: Box<Stream>,
    protocol: Option<HttpProtocol>,
) -> Next {
    let deadline = idle_deadline(client);
    let head = loop {
        match read_head(client, &mut stream).await {
            Err(HeadFailure::NotYet) => {
                let readable = client.link.readable();
                if with_deadline(deadline, readable).await.is_err() {
                    break Err(HeadFailure::Timeout);
                }
            }
            Err(HeadFailure::Http2) if protocol == Some(HttpProtocol::Http1) => {
                break Err(HeadFailure::Fault(Fault::new(FaultKind::Http2Preface, 0)));
            }
            head => break head,
        }
    };
    if head.is_ok() {
        rules::content_is_judged(&mut stream);
    }
    proceed(client, stream, head).await
}

/// Does what follows from a request's head, or from what came in its place.
async fn proceed(
    client: &mut Client,
    mut stream: Box<Stream>,
    head: Result<Parsed, HeadFailure>,
) -> Next {
    let next = match head {
        Ok(request) => run(client, &mut stream, request).await,
        Err(HeadFailure::NotYet) => {
            // What waits holds no request.
            here().keep_stream(stream);
            return Next::Again;
        }
        Err(HeadFailure::Nothing) => {
            // A connection without a request, or the end of a kept-alive one.
            let probe = stream.frontend().has(ProxyOption::HttpIgnoreProbes);
            if client.streams == 0 && !probe {
                refuse_head(client, &mut stream, HeadFailure::Nothing).await;
                finish(stream);
            } else {
                here().keep_stream(stream);
            }
            return Next::Close;
        }
        Err(HeadFailure::Http2) => {
            // It may be one that rules of content saw.
            stream.rules.tracked = None;
            here().keep_stream(stream);
            return Next::Http2;
        }
        Err(failure) => {
            stream.transfer.bytes_in += client.input.as_ref().map_or(0, |input| input.len() as u64);
            refuse_head(client, &mut stream, failure).await;
            Next::Linger
        }
    };
    // Counted and logged before the client is waited for.
    finish(stream);
    if client.input.as_ref().is_some_and(Buffer::is_empty) {
        client.input = None;
    }
    if next == Next::Linger {
        linger(client).await;
    }
    next
}

/// Serves one request of an HTTP/2 client. Its head stands in `stream`, if it was
/// one, its body comes and its answer goes by the client's link, which ends with
/// it. Gives back what the next stream of the same connection may use.
pub async fn serve_stream(
    mut client: Client,
    mut stream: Box<Stream>,
    request: Result<Parsed, Fault>,
) -> (Own, Option<u32>) {
    stream.watch_client(&client.link);
    match request {
        Ok(request) => _ = run(&mut client, &mut stream, request).await,
        Err(fault) => refuse_head(&mut client, &mut stream, HeadFailure::Fault(fault)).await,
    }
    finish(stream);
    (client.own, client.last_server)
}

/// How a connection ends whose request and answer are complete.
pub(super) fn close(client: &Client) -> Next {
    if client.link.is_http2() {
        Next::Request
    } else if client.input.is_some() || client.link.is_readable() {
        Next::Linger
    } else {
        Next::Close
    }
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
        body_with_any_method: tune.workarounds.body_with_any_method,
    };
    let client_ms = frontend.timeouts.client_ms;
    let deadline = head_deadline(client);
    let mut parsed_length = 0;
    loop {
        let input = client.input.get_or_insert_with(Buffer::take);
        if input.len() > parsed_length {
            parsed_length = input.len();
            match http1::parse_request(input.filled(), &limits, &mut stream.request) {
                Ok(ParseStatus::Done(request)) => {
                    if stream.config.global.lines_shown {
                        keep_names(stream, &input.filled()[..request.consumed]);
                    }
                    input.consume(request.consumed);
                    stream.transfer.bytes_in += request.consumed as u64;
                    stream.times.request = Some(reactor::now());
                    if input.is_empty() {
                        // Nothing is held while the server is waited for, nor
                        // between requests.
                        client.input = None;
                    }
                    return Ok(request);
                }
                Ok(ParseStatus::Incomplete) => {}
                Err(_) if client.streams == 0 && begins_http2(&client.session, input.filled()) => {
                    return Err(HeadFailure::Http2);
                }
                Err(fault) => return Err(HeadFailure::Fault(fault)),
            }
        }
        match client.link.read_into(input) {
            Ok(0) if input.is_empty() => return Err(HeadFailure::Nothing),
            Ok(0) => return Err(HeadFailure::Closed),
            Ok(n) => reactor::stand_back(n).await,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if input.is_empty() {
                    client.input = None;
                    return Err(HeadFailure::NotYet);
                }
                // Without `timeout http-request` a slow client has the time of
                // a silent one, again for each piece.
                let deadline = deadline.or_else(|| after(client_ms));
                let readable = client.link.readable();
                with_deadline(deadline, readable)
                    .await
                    .map_err(|_| HeadFailure::Timeout)?;
            }
            Err(error) if error.kind() == io::ErrorKind::OutOfMemory => {
                // A buffer is larger than the longest head, so there is room
                // in front: the rest of an earlier request was there.
                if input.len() == input.capacity() {
                    return Err(HeadFailure::Closed);
                }
                input.compact();
            }
            Err(_) if input.is_empty() => return Err(HeadFailure::Nothing),
            Err(_) => return Err(HeadFailure::Closed),
        }
    }
}

/// Keeps the names of the headers as they were received, for rules about lines.
#[cold]
fn keep_names(stream: &mut Stream, head: &[u8]) {
    stream
        .rules
        .lines
        .get_or_insert_default()
        .request
        .read(head);
}

/// Whether a connection's first bytes, which are no request, are those of HTTP/2.
fn begins_http2(session: &Session, bytes: &[u8]) -> bool {
    session.bind().protocol != Some(HttpProtocol::Http1)
        && !session.frontend().has(ProxyOption::DisableH2Upgrade)
        && http1::http2_preface(bytes) != Preface::No
}

/// Answers what was no request.
async fn refuse_head(client: &mut Client, stream: &mut Stream, failure: HeadFailure) {
    let frontend = stream.session.frontend().state.clone();
    serve::count_request(stream);
    stream.outcome.phase = Phase::Request;
    let status = match failure {
        HeadFailure::Nothing | HeadFailure::NotYet | HeadFailure::Http2 => {
            stream.outcome.termination = Termination::ClientAbort;
            // Nothing was asked, so nothing is answered; the log says 400 as haproxy's does.
            stream.outcome.local_status = if client.streams == 0 { 400 } else { 0 };
            // Whether logs tell of it or not.
            frontend.frontend.here().count(Tally::RequestErrors);
            return;
        }
        HeadFailure::Closed => {
            stream.outcome.termination = Termination::ClientAbort;
            400
        }
        HeadFailure::Timeout => {
            stream.outcome.termination = Termination::ClientTimeout;
            408
        }
        HeadFailure::Fault(fault) => {
            if let Some(input) = &client.input {
                super::capture::request(stream, input.filled(), fault);
            }
            stream.outcome.termination = Termination::Proxy;
            fault.kind.request_status()
        }
    };
    frontend.frontend.here().count(Tally::RequestErrors);
    tracking::request_error(stream);
    // What the parser took in until it gave up is no request to a log.
    stream.request.clear();
    let page = error_page(stream, status);
    send::send(client, stream, page, false).await;
}

/// Lets the client read an answer that was sent before all of its request was
/// read: our side is closed, and what still comes is thrown away for a moment.
async fn linger(client: &mut Client) {
    let _ = client.link.shutdown_write();
    let deadline = after(Some(LINGER_MS));
    let mut bytes = 0;
    while bytes < LINGER_BYTES {
        let input = client.input.get_or_insert_with(Buffer::take);
        input.clear();
        match client.link.read_into(input) {
            Ok(0) => break,
            Ok(n) => bytes += n,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                client.input = None;
                if with_deadline(deadline, client.link.readable())
                    .await
                    .is_err()
                {
                    break;
                }
            }
            Err(_) => break,
        }
    }
    client.input = None;
}

/// What a connection is answered before anything of it is read (`monitor-net`, `mode
/// health`); None where it is one like others.
pub(super) fn health(session: &Session) -> Option<&'static [u8]> {
    let frontend = session.frontend();
    let health = frontend.health.as_ref()?;
    let http = match health.always {
        true => frontend.check.kind == CheckKind::Http,
        false => {
            let ip = session.source.ip()?;
            health.network.filter(|network| network.contains(ip))?;
            frontend.mode == Mode::Http
        }
    };
    Some(match http {
        true => b"HTTP/1.0 200 OK\r\n\r\n",
        false if health.always => b"OK\n",
        false => b"",
    })
}

/// Gives such a connection its answer. It is neither counted nor logged.
pub(super) async fn answer_health(client: &mut Client, answer: &[u8]) {
    let limit = client.session.frontend().timeouts.client_ms;
    if let Link::Http1(transport) = &client.link
        && mux::link::write_all(transport, answer, limit).await.is_ok()
    {
        linger(client).await;
    }
}

/// How long and how much is thrown away after an early answer.
const LINGER_MS: u32 = 1000;
const LINGER_BYTES: usize = 1 << 20;

/// Whether the client's connection can be kept behind a request. How one of HTTP/2
/// ends is not the matter of its streams.
#[inline(always)]
fn keeps(client: &Client, stream: &Stream, request: &Parsed) -> bool {
    let proxied = stream.frontend().has(ProxyOption::HttpUseProxyHeader);
    let by_header = proxied
        .then(|| http1::keeps_by_proxy_connection(&stream.request))
        .flatten();
    client.link.is_http2()
        || by_header.unwrap_or(request.keep_alive)
            && !stream.frontend().has(ProxyOption::HttpClose)
            && !super::leaving::is_last(client)
            && !client.is_left_behind()
}

/// The answer to a request with names of headers that are not to pass.
fn refuse_names(stream: &mut Stream) -> Reply {
    stream.outcome.end(Termination::Proxy, Phase::Request);
    rules::count_denied(stream);
    error_page(stream, 403)
}

/// A whole request head is there.
async fn run(client: &mut Client, stream: &mut Stream, request: Parsed) -> Next {
    serve::count_request(stream);
    log::stream_began(stream);
    log::stream_reached(stream, Step::Request);
    let mut body = Body::new(&client.link, request.body);
    let keep = keeps(client, stream, &request);
    match rule(client, stream, &mut body).await {
        Ruled::Forward
            if stream.route.rare.has(Rare::HEADER_NAMES) && !forward::restrict_names(stream) =>
        {
            let page = refuse_names(stream);
            return finish_local(client, stream, page, &mut body, keep).await;
        }
        Ruled::Forward => {}
        Ruled::Answer(answer) => {
            return finish_local(client, stream, answer, &mut body, keep).await;
        }
        Ruled::Close => return Next::Close,
    }
    if stream.route.rare.has(Rare::BALANCE_BY_BODY)
        && stream.backend().is_some_and(|b| b.balance.looks_at_body())
        && stream.request.method() == b"POST"
        && !wait_for_body(client, stream, &body, usize::MAX, None).await
    {
        return match without_body(client, stream) {
            Ruled::Answer(page) => finish_local(client, stream, page, &mut body, keep).await,
            _ => Next::Close,
        };
    }
    serve::find_own_server(stream);
    prefer_last_server(client, stream);
    let how = Establish {
        reuse: reuse(stream, client.streams == 0),
        shared: stream
            .backend()
            .is_some_and(|b| b.reuse != ReuseMode::Never),
        own: Some(&mut client.own),
    };
    let established = serve::establish_for(stream, &client.link, how).await;
    match established {
        Some(Ok((server, slot))) => {
            let Some(server) = inspect::begin(stream, &client.link, server) else {
                return Next::Close;
            };
            let outgoing = exchange::Outgoing {
                request: &request,
                body,
                keep,
                encoder: None,
            };
            let next = exchange::run(client, stream, outgoing, server, slot).await;
            client.last_server = stream.server().map(|server| server.state.uid);
            next
        }
        Some(Err(Unserved::Unavailable)) => {
            let page = error_page(stream, 503);
            finish_local(client, stream, page, &mut body, keep).await
        }
        Some(Err(Unserved::Redirected(page))) => {
            finish_local(client, stream, *page, &mut body, false).await
        }
        None => {
            serve::abandoned(stream);
            Next::Close
        }
    }
}

/// `option prefer-last-server`: the server of the request before, while a
/// connection to it stands.
fn prefer_last_server(client: &Client, stream: &mut Stream) {
    let Some(last) = client.last_server else {
        return;
    };
    let Some(backend) = stream
        .backend()
        .filter(|b| b.has(ProxyOption::PreferLastServer))
    else {
        return;
    };
    let held = |server: &Server| {
        client.own.holds(&server.state) || server_connection::pools().holds(&server.state)
    };
    let at = backend
        .servers
        .iter()
        .position(|server| server.state.uid == last && held(server));
    stream.route.preferred = at.map(|at| ServerIndex(at as u32));
}

/// Whether `http-reuse` lets this stream use a connection that was used before.
fn reuse(stream: &Stream, first: bool) -> Reuse {
    let Some(backend) = stream.backend() else {
        return Reuse::None;
    };
    if exchange::connection_mode(stream) != ConnectionMode::KeepAlive {
        return Reuse::None;
    }
    match backend.reuse {
        ReuseMode::Never => Reuse::Own,
        ReuseMode::Safe if first => Reuse::None,
        ReuseMode::Aggressive if first => Reuse::Proven,
        _ => Reuse::Any,
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
        stream.outcome.end(Termination::Local, Phase::Request);
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
        stream.outcome.end(Termination::ServerAbort, Phase::Connect);
        return Ruled::Answer(error_page(stream, 503));
    };
    let same = stream.route.backend == Some(stream.route.frontend);
    let tcp = backend.mode == Mode::Tcp;
    serve::enter_backend(stream);
    if stream.route.rare.has(Rare::OWN_SERVER) {
        persistence::enter(stream);
    }
    if tcp {
        // The loader refuses this; a dynamic name can still lead here.
        stream.outcome.termination = Termination::Internal;
        return Ruled::Answer(error_page(stream, 500));
    }
    if same {
        return Ruled::Forward;
    }
    side_rules(client, stream, body).await
}

/// Chooses the backend, for which a password may have to be verified.
async fn choose_backend(client: &Client, stream: &mut Stream) -> Option<Ruled> {
    loop {
        serve::choose_backend(stream);
        let asked = users::unanswered(stream)?;
        stream.route.backend = None;
        match asked {
            Verdict::Wait(wait) => {
                if !serve::await_rule(stream, &client.link, wait).await {
                    return Some(Ruled::Close);
                }
            }
            Verdict::Answer(answer) => return Some(Ruled::Answer(*answer)),
            _ => return None,
        }
    }
}

/// The rules of the frontend, or of the backend once it is chosen.
async fn side_rules(client: &mut Client, stream: &mut Stream, body: &mut Body) -> Ruled {
    let in_backend = stream.route.backend.is_some();
    loop {
        let verdict = rules::http_request(stream, in_backend);
        if stream.rules.overrides.is_some() {
            pool_box(tell_early(client, stream)).await;
        }
        return match verdict {
            Verdict::Continue => break,
            Verdict::Answer(answer) => Ruled::Answer(*answer),
            Verdict::Tarpit(answer) => {
                tarpit(client, stream).await;
                Ruled::Answer(*answer)
            }
            Verdict::Metrics => {
                let query = stream.request.query().unwrap_or_default();
                match stats::metrics(stream, query) {
                    Some(report) => match report.make().await {
                        Some(answer) => Ruled::Answer(answer),
                        None => Ruled::Answer(error_page(stream, 503)),
                    },
                    None => Ruled::Answer(error_page(stream, 400)),
                }
            }
            Verdict::Reject => {
                if let Link::Http2(link) = &client.link {
                    link.kill_connection(false);
                }
                Ruled::Close
            }
            Verdict::SilentDrop => {
                serve::drop_silently(&client.link);
                Ruled::Close
            }
            Verdict::NeedBody { bytes, time_ms } => {
                if wait_for_body(client, stream, body, bytes, time_ms).await {
                    continue;
                }
                without_body(client, stream)
            }
            Verdict::Wait(wait) => {
                if serve::await_rule(stream, &client.link, wait).await {
                    continue;
                }
                Ruled::Close
            }
        };
    }
    statistics(client, stream, body, in_backend).await
}

/// Puts into effect what rules set of the client's connection, and sends the early
/// answers that they made.
async fn tell_early(client: &mut Client, stream: &mut Stream) {
    send::mark_packets(stream, &client.link);
    let hints = match stream.rules.overrides.as_mut() {
        Some(set) => std::mem::take(&mut set.hints),
        None => return,
    };
    let limit = stream.client_ms();
    for (_, head) in hints {
        let (bytes, sent) = client.link.send_head(&head, false, limit).await;
        stream.transfer.bytes_out += bytes;
        // Who has gone is noticed when the answer is sent.
        if sent.is_err() {
            return;
        }
    }
}

/// The statistics page, where the request asks for it.
async fn statistics(
    client: &mut Client,
    stream: &mut Stream,
    body: &mut Body,
    in_backend: bool,
) -> Ruled {
    loop {
        return match stats::answer(stream, in_backend) {
            stats::Answer::No => Ruled::Forward,
            stats::Answer::Ready(reply) => Ruled::Answer(reply),
            stats::Answer::Report(report) => match report.make().await {
                Some(reply) => Ruled::Answer(reply),
                None => Ruled::Answer(error_page(stream, 503)),
            },
            stats::Answer::Wait(wait) => {
                if serve::await_rule(stream, &client.link, wait).await {
                    continue;
                }
                Ruled::Close
            }
            stats::Answer::NeedBody(bytes) => {
                if wait_for_body(client, stream, body, bytes, None).await {
                    continue;
                }
                without_body(client, stream)
            }
        };
    }
}

/// What a request meets whose body did not come in time, or at all.
fn without_body(client: &Client, stream: &mut Stream) -> Ruled {
    match stream.outcome.termination {
        // A stream of HTTP/2 that was reset has nobody who reads.
        Termination::ClientAbort if client.link.is_http2() => Ruled::Close,
        // One that only ended its side may still read.
        Termination::ClientAbort => Ruled::Answer(error_page(stream, 400)),
        _ => Ruled::Answer(error_page(stream, 408)),
    }
}

/// Holds a client in the tarpit, or until it goes.
async fn tarpit(client: &mut Client, stream: &mut Stream) {
    stream.outcome.phase = Phase::Tarpit;
    let limit = after(stream.tarpit_ms().or(Some(TARPIT_MS)));
    // Only a client that goes ends it early; bytes that come do not.
    let _ = with_deadline(limit, closed(client)).await;
    // Its time counts as waiting in a queue.
    stream.times.request = None;
    stream.times.queued = Some(reactor::now());
}

/// How long a tarpit holds where no timeout says, milliseconds.
const TARPIT_MS: u32 = 10_000;

async fn closed(client: &mut Client) {
    while !client.link.is_gone() {
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
    let timeouts = &stream.frontend().timeouts;
    let deadline = after(time_ms.or(timeouts.http_request_ms).or(timeouts.client_ms));
    if !body.is_done() && expects_continue(&stream.request) {
        // The client sends the body only now. The server is not asked again.
        let (bytes, sent) = say_continue(&client.link, timeouts.client_ms).await;
        if sent.is_err() {
            return false;
        }
        stream.transfer.bytes_out += bytes;
        stream.request.remove(b"expect");
    }
    loop {
        let input = client.input.get_or_insert_with(Buffer::take);
        let peeked = body.peek(&client.link, input.filled());
        stream.payloads.request.clear();
        stream.payloads.request.extend_from_slice(&peeked.bytes);
        stream.payloads.request_complete = peeked.whole;
        if peeked.whole || stream.payloads.request.len() >= bytes || input.len() >= input.capacity()
        {
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
                        .end(Termination::ClientTimeout, Phase::Request);
                    return false;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::OutOfMemory => input.compact(),
            // Its client has given it up: no server gets a part of a body that was
            // to be whole.
            Ok(_) | Err(_) => {
                stream.outcome.end(Termination::ClientAbort, Phase::Request);
                let frontend = &stream.frontend().state.frontend;
                frontend.here().count(Tally::RequestErrors);
                return false;
            }
        }
    }
}

/// Tells a client to send its body; says how many bytes that took.
async fn say_continue(client: &Link, limit: Option<u32>) -> (u64, Result<(), WriteFailure>) {
    let mut head = Message::default();
    // It always fits.
    let _ = head.begin_response(Version::Http11, 100, b"Continue");
    client.send_head(&head, false, limit).await
}

fn expects_continue(request: &Message) -> bool {
    request.version() != Version::Http10
        && request
            .get(b"expect")
            .is_some_and(|value| value.eq_ignore_ascii_case(b"100-continue"))
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
    stream.outcome.local = true;
    let ends = send::ends(&answer, client, stream);
    let keep = keep && !ends && (body.is_done() || discard(client, body));
    if !send::send(client, stream, answer, keep).await {
        return Next::Close;
    }
    if keep {
        return Next::Request;
    }
    if body.is_done() {
        close(client)
    } else {
        Next::Linger
    }
}

/// Throws away a body that has arrived whole already.
fn discard(client: &mut Client, body: &mut Body) -> bool {
    let Some(input) = client.input.as_mut() else {
        return false;
    };
    body.discard(input)
}
