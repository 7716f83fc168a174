//! Forwards the response of a server to the client: interim responses, the head with its
//! rules, the body.

use super::body::{BodyFailure, Copy, Encoding, IncomingBody};
use super::meter::{Counting, Meter};
use super::shutdown::termination;
use super::watch::{Watch, unless_gone};
use super::{
    ProxyResponse, ProxyStream, StreamPhase, Termination, error_page, exchange, held, inspect,
    observe, retry, send, shape,
};
use crate::compression::{self, Coded, Encoder};
use crate::persistence;
use http::http1::{
    self, BodyLength, Cacheability, ClientFraming, ConnectionHeader, ConnectionMode, Limits,
    ParseStatus, Parsed, RequestFacts, Upgrade,
};
use http::http2;
use http::message::{ConnectionChallenge, HttpVersion};
use model::config::{ProxyOption, Rare, ReuseMode};
use model::rules::{self, MessageVerdict};
use model::state::{Shutdown, Tally};
use model::thread::current_thread_data;
use model::tracking::{self, stick};
use model::{caching, log};
use mux::link::PeerConnection;
use mux::{Gone, HeadFailure, MuxStream};
use reactor::{self, Buffer, Instant, pool_box, with_deadline};
use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;
use tls::transport::ConnectionTransport;

/// Maximum number of interim responses (1xx) in one exchange.
const INTERIM_MAX: u32 = 32;

/// Source and destination of a response that is being relayed.
pub struct Incoming<'c> {
    pub client: &'c PeerConnection,
    /// Detects that the client disconnects while the response is awaited; None: not detected.
    pub watched: Option<Watch<'c>>,
    pub server: &'c PeerConnection,
    pub input: &'c mut Option<Buffer>,
    pub request: &'c Parsed,
    pub keep: Keep,
    /// Time at which data was last sent to the server; `timeout server` counts from then.
    pub sent_at: &'c Cell<Instant>,
    /// True while the request can still be repeated. A response with a status that `retry-on`
    /// lists is then not sent to the client.
    pub again: &'c Cell<bool>,
}

/// Decides whether a client's connection may carry another request after this one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Keep {
    Yes,
    /// The connection is about to end (the process is stopping, or the client's address leaves the
    /// machine), but one more request may follow to answer the challenge of a server that
    /// authenticates the connection.
    ForChallenge,
    No,
}

impl Keep {
    /// Returns whether the connection may be kept regardless of the response.
    pub fn is_yes(self) -> bool {
        self == Keep::Yes
    }

    fn after(self, challenge: Option<ConnectionChallenge>) -> bool {
        self.is_yes() || self == Keep::ForChallenge && challenge == Some(ConnectionChallenge::Token)
    }
}

/// Outcome of a response that was delivered completely.
#[derive(Clone, Copy, Debug)]
pub struct Delivered {
    /// The client's connection can carry another request.
    pub client_keeps: bool,
    /// The server's connection can carry another request.
    pub server_keeps: bool,
    /// The connection is a tunnel from now on (after 101, or 2xx to CONNECT).
    pub tunnel: bool,
    /// Challenge of a server that authenticates the connection (connection-oriented
    /// authentication).
    pub challenge: Option<ConnectionChallenge>,
}

/// Reason why a response was not delivered completely.
#[derive(Debug)]
pub enum Failure {
    /// The response had a status for which `retry-on` repeats the request.
    Unwanted,
    /// The server closed the connection before the first byte of a response.
    ClosedEarly,
    /// The server reports that it has not processed the request and will not. The request can be
    /// repeated, whatever its method.
    Refused,
    /// The server closed the connection within the response head.
    Closed,
    /// `timeout server` expired before the response head was complete.
    Timeout,
    /// The server's bytes are not a valid response, or the framing of its body is invalid. Nothing
    /// was forwarded yet.
    Malformed,
    Interim,
    /// The request cannot be expressed as FastCGI parameters.
    Unsayable,
    /// The request has a body of unknown length, which cannot be sent to a FastCGI application.
    Unsized,
    /// A rule rejected the response, and the client gets no other response.
    Rejected,
    /// A rule denied the response; this reply is sent instead.
    Denied(Box<ProxyResponse>),
    /// The client disconnected before a response arrived, and `option abortonclose` is set.
    Abandoned,
    /// The client reset its HTTP/2 stream before a response arrived.
    GivenUp,
    /// Receiving or forwarding the request body failed before a response began.
    Upload(BodyFailure),
    /// Receiving or forwarding the request body failed after a response had begun.
    LateUpload(BodyFailure),
    /// Receiving or forwarding the response body failed.
    Body(BodyFailure),
    /// The sessions of the server were shut down. How far the request had got is recorded, too.
    Shut(Shutdown, Progress),
}

/// Progress of an exchange when the sessions of its server were shut down.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Progress {
    Sending,
    /// The request was sent, and no part of a response was delivered.
    Sent,
    Answering,
}

impl Failure {
    /// Returns the termination state for the log, and the status of the error page for the client;
    /// None if the client gets no page, mostly because a response had begun.
    pub fn meaning(&self) -> (Termination, StreamPhase, Option<u16>) {
        match self {
            Failure::ClosedEarly | Failure::Closed | Failure::Refused | Failure::Unwanted => {
                (Termination::ServerAbort, StreamPhase::Headers, Some(502))
            }
            Failure::Timeout => (Termination::ServerTimeout, StreamPhase::Headers, Some(504)),
            Failure::Malformed | Failure::Interim => {
                (Termination::Proxy, StreamPhase::Headers, Some(502))
            }
            Failure::Unsayable => (Termination::Internal, StreamPhase::Headers, Some(500)),
            Failure::Unsized => (Termination::Proxy, StreamPhase::Headers, Some(400)),
            Failure::Abandoned => (Termination::ClientAbort, StreamPhase::Headers, Some(400)),
            Failure::Denied(_) => (Termination::Proxy, StreamPhase::Headers, Some(502)),
            Failure::Rejected => (Termination::Proxy, StreamPhase::Data, None),
            Failure::Upload(BodyFailure::ReadTimeout) => {
                (Termination::ClientTimeout, StreamPhase::Data, Some(408))
            }
            Failure::Upload(BodyFailure::Malformed(_)) => {
                (Termination::Proxy, StreamPhase::Headers, Some(400))
            }
            Failure::LateUpload(BodyFailure::ReadTimeout) => {
                (Termination::ClientTimeout, StreamPhase::Data, None)
            }
            Failure::LateUpload(BodyFailure::Malformed(_)) => {
                (Termination::Proxy, StreamPhase::Data, None)
            }
            // Sends no error page to a client that aborted.
            Failure::GivenUp | Failure::Upload(_) | Failure::LateUpload(_) => {
                (Termination::ClientAbort, StreamPhase::Data, None)
            }
            Failure::Body(BodyFailure::ReadTimeout) => {
                (Termination::ServerTimeout, StreamPhase::Data, None)
            }
            Failure::Body(BodyFailure::Truncated | BodyFailure::Malformed(_)) => {
                (Termination::ServerAbort, StreamPhase::Data, None)
            }
            Failure::Body(BodyFailure::WriteTimeout) => {
                (Termination::ClientTimeout, StreamPhase::Data, None)
            }
            Failure::Shut(why, Progress::Sending) => (termination(*why), StreamPhase::Done, None),
            Failure::Shut(why, Progress::Sent) => {
                (termination(*why), StreamPhase::Headers, Some(502))
            }
            Failure::Shut(why, Progress::Answering) => (termination(*why), StreamPhase::Data, None),
            Failure::Body(BodyFailure::WriteFailed) => {
                (Termination::ClientAbort, StreamPhase::Data, None)
            }
        }
    }

    /// Returns whether the failure counts as a response error of the server.
    pub fn is_servers(&self) -> bool {
        matches!(
            self,
            Failure::ClosedEarly
                | Failure::Closed
                | Failure::Refused
                | Failure::Timeout
                | Failure::Malformed
                | Failure::Interim
                | Failure::Body(BodyFailure::Truncated | BodyFailure::Malformed(_))
        )
    }

    /// Returns whether the client caused the failure; its connection is then closed.
    pub fn is_clients(&self) -> bool {
        matches!(
            self,
            Failure::Abandoned | Failure::GivenUp | Failure::Upload(_) | Failure::LateUpload(_)
        )
    }

    /// Returns whether the failure counts as a request error.
    pub fn is_requests(&self) -> bool {
        matches!(
            self,
            Failure::Upload(BodyFailure::Malformed(_) | BodyFailure::ReadTimeout)
                | Failure::LateUpload(BodyFailure::Malformed(_))
        )
    }
}

pub async fn relay(stream: &mut ProxyStream, incoming: Incoming<'_>) -> Result<Delivered, Failure> {
    let Incoming {
        client,
        watched,
        server,
        input,
        request,
        keep,
        sent_at,
        again,
    } = incoming;
    let facts = stream.server_facts(request.upgrade);
    let mut interim = 0;
    let response = loop {
        let response = match server {
            PeerConnection::Http1(server) => {
                read_head(stream, watched, server, sent_at, input, &facts).await
            }
            PeerConnection::Http2(server) => next_head(stream, watched, server, sent_at).await,
        };
        let response = response.map_err(|failure| match failure {
            // Reports a closed connection after an interim response: the client has received that,
            // so the request cannot be repeated.
            Failure::ClosedEarly | Failure::Refused if interim > 0 => Failure::Closed,
            other => other,
        })?;
        if !response.interim {
            break response;
        }
        interim += 1;
        if interim > INTERIM_MAX {
            return Err(Failure::Interim);
        }
        if stream.request.version() != HttpVersion::Http10 {
            send_head(stream, client, false).await?;
        }
    };
    if again.get() && retry::is_unwanted(stream) {
        return Err(Failure::Unwanted);
    }
    stream.times.response = Some(reactor::now());
    stream.outcome.server_status = stream.response.status();
    // Reads the challenge first, because rules may change the response, but not what the server has
    // done with the connection.
    let challenge = stream.response.connection_challenge();
    let keep = keep.after(challenge);
    tracking::answer(stream);
    observe::answered(stream);
    let body = IncomingBody::new(server, response.body);
    checked(stream, client, server, watched, &mut *input, &body).await?;
    if stream.route.rare.has(Rare::STICK) {
        stick::answer(stream);
    }
    if response.body == BodyLength::Tunnel {
        return begin_tunnel(stream, client).await;
    }
    let dressed = dress(stream, client, keep, &response, &facts)?;
    let client_keeps = dressed.framing.keep_alive;
    let keeps = response.keep_alive && !stream.rules.closes_server() && !stream.misleads_server();
    if keeps {
        announce(stream, server);
    }
    let whole = deliver(stream, client, server, input, body, dressed).await?;
    Ok(Delivered {
        client_keeps,
        server_keeps: keeps && whole,
        tunnel: false,
        challenge,
    })
}

/// Announces to other threads that this thread will soon have an idle connection. A client that
/// has its response may send its next request to another thread before the connection is in this
/// thread's pool. If that thread requests a connection, it gets this one as soon as it is in the
/// pool.
fn announce(stream: &ProxyStream, link: &PeerConnection) {
    if let Some(server) = stream.server()
        && matches!(link, PeerConnection::Http1(_))
        && stream
            .backend()
            .is_some_and(|b| b.reuse != ReuseMode::Never)
        && exchange::connection_mode(stream) == ConnectionMode::KeepAlive
    {
        server.state.has_idle(current_thread_data().thread(), true);
    }
}

/// Sends a complete response head and then the body to the client. Returns whether the whole body
/// was read from the server.
async fn deliver(
    stream: &mut ProxyStream,
    client: &PeerConnection,
    server: &PeerConnection,
    input: &mut Option<Buffer>,
    mut body: IncomingBody,
    dressed: Dressed,
) -> Result<bool, Failure> {
    if !dressed.bodiless || body.is_done() {
        let sent = ForwardedBody {
            body,
            chunked: dressed.chunked,
            encoder: dressed.encoder,
        };
        return send(stream, client, server, input, sent)
            .await
            .map(|()| true);
    }
    // Boxes the future, which is large and rarely needed. Reads the body before an HTTP/2 client
    // gets the head: the client may send its next request at once, and the server's connection
    // should be free by then.
    let read_ms = stream.server_ms();
    let mut whole = true;
    if client.is_http2() {
        whole = pool_box(shape::drain(server, input, &mut body, read_ms)).await;
    }
    let sent = send_head(stream, client, true).await;
    log::stream_answered(stream);
    sent?;
    if !client.is_http2() {
        whole = pool_box(shape::drain(server, input, &mut body, read_ms)).await;
    }
    Ok(whole)
}

struct Dressed {
    framing: ClientFraming,
    /// The body is sent in chunks (HTTP/1).
    chunked: bool,
    encoder: Option<Box<Encoder>>,
    /// The client gets no body, whatever the server sends.
    bodiless: bool,
}

/// Prepares the response head for the client: framing of the body, chunked coding for HTTP/1,
/// compression.
#[inline(always)]
fn dress(
    stream: &mut ProxyStream,
    client: &PeerConnection,
    keep: bool,
    response: &Parsed,
    facts: &RequestFacts,
) -> Result<Dressed, Failure> {
    let in_chunks = !client.is_http2();
    let encoder = compression::response(stream, response, in_chunks);
    let announced = match &encoder {
        // Uses chunks, because compression changes the length, and the new one is not known in
        // advance.
        Some(_) if in_chunks => BodyLength::Chunked,
        _ => response.body,
    };
    let mut shown = Parsed {
        body: announced,
        ..*response
    };
    let framing = frame(stream, client, keep, &mut shown, facts)?;
    send::dress_answer(stream, client);
    let chunked = match shown.body {
        BodyLength::Chunked => !framing.unchunk && !client.is_http2(),
        _ => framing.chunk,
    };
    Ok(Dressed {
        framing,
        chunked,
        encoder,
        bodiless: shown.body == BodyLength::None,
    })
}

async fn begin_tunnel(
    stream: &mut ProxyStream,
    client: &PeerConnection,
) -> Result<Delivered, Failure> {
    rules::http_after_response(stream);
    send::dress_answer(stream, client);
    send_head(stream, client, false).await?;
    Ok(Delivered {
        client_keeps: false,
        server_keeps: false,
        tunnel: true,
        challenge: None,
    })
}

/// Applies the last response rules. Then sets the header fields about the length of the body and
/// about keeping the client's connection open.
#[inline(always)]
fn frame(
    stream: &mut ProxyStream,
    client: &PeerConnection,
    keep: bool,
    response: &mut Parsed,
    facts: &RequestFacts,
) -> Result<ClientFraming, Failure> {
    if client.is_http2() {
        rules::http_after_response(stream);
        response.body =
            shape::settle(stream, response.body).map_err(|shape::Interim| Failure::Rejected)?;
        // Adds no header fields, because the frames of HTTP/2 express both.
        return Ok(ClientFraming {
            connection: ConnectionHeader::Absent,
            keep_alive: true,
            unchunk: false,
            chunk: false,
        });
    }
    let version = stream.request.version();
    // If rules have filled the head, the length of an empty body is missing, and only the end of
    // the connection ends the response. The fields for the framing get additional space.
    let has_length = http2::response_to_http1(&mut stream.response, response, facts).is_ok();
    let keep = keep && has_length;
    rules::http_after_response(stream);
    response.body =
        shape::settle(stream, response.body).map_err(|shape::Interim| Failure::Rejected)?;
    let has_rules = [Rare::ANSWER_RULES, Rare::AFTER_RULES]
        .into_iter()
        .any(|rules| stream.route.rare.has(rules));
    let closes_by_rule = has_rules && http1::take_close(&mut stream.response);
    let keep = keep && !closes_by_rule && !stream.begins_tunnel(stream.response.status());
    // Ignores connection options of the backend, which affect only the connection to the server.
    let closes = stream.frontend().has(ProxyOption::HttpClose);
    let mode = if closes {
        ConnectionMode::Close
    } else {
        ConnectionMode::KeepAlive
    };
    let framing = http1::to_client(version, keep, mode, &stream.response, response);
    let _ = framing.apply(&mut stream.response);
    Ok(framing)
}

async fn checked(
    stream: &mut ProxyStream,
    client: &PeerConnection,
    server: &PeerConnection,
    watched: Option<Watch<'_>>,
    input: &mut Option<Buffer>,
    body: &IncomingBody,
) -> Result<(), Failure> {
    if stream.config.global.recording.answer_body {
        held::show(stream, server, input, body);
    }
    stream.payloads.response_complete = body.is_done();
    while let Some(held) = check(stream, client)? {
        let origin = held::ResponseSource {
            server,
            client: watched,
            input: &mut *input,
            body,
        };
        pool_box(held::wait(stream, origin, held)).await?;
    }
    Ok(())
}

/// Applies the response rules and `option checkcache`. None: the response may be sent to the
/// client. Otherwise a rule waits for this verdict's event, and the check has to be repeated.
fn check(
    stream: &mut ProxyStream,
    client: &PeerConnection,
) -> Result<Option<MessageVerdict>, Failure> {
    if let Some(inspection) = stream
        .rules
        .overrides
        .as_mut()
        .and_then(|set| set.inspection.take())
    {
        inspect::head(stream, client, &inspection)?;
    }
    match rules::http_response(stream) {
        MessageVerdict::Answer(page) => return Err(Failure::Denied(page)),
        MessageVerdict::SilentDrop(ttl) => {
            super::session::drop_silently(client, ttl);
            return Err(Failure::Rejected);
        }
        waits @ (MessageVerdict::NeedBody { .. } | MessageVerdict::Wait(_)) => {
            return Ok(Some(waits));
        }
        _ => {}
    }
    if stream.route.rare.has(Rare::ANSWERED_COOKIES) {
        check_cookies(stream)?;
    }
    Ok(None)
}

/// Processes the cookies of a response: inserts or rewrites those for persistence, and
/// applies `option checkcache`.
fn check_cookies(stream: &mut ProxyStream) -> Result<(), Failure> {
    // Looks before a persistence cookie is inserted, because that cookie does not count.
    let sets_cookie = stream.response.get(b"set-cookie").is_some();
    persistence::process_response_cookies(stream);
    persistence::answer(stream);
    let is_checked = stream
        .backend()
        .is_some_and(|backend| backend.has(ProxyOption::CheckCache));
    if is_checked && sets_cookie {
        let may = Cacheability::of(&stream.request, &stream.response);
        if may.response && may.cookies {
            return Err(Failure::Denied(Box::new(blocked(stream))));
        }
    }
    Ok(())
}

/// Builds the reply that replaces a response with a cacheable cookie (`option checkcache`).
fn blocked(stream: &mut ProxyStream) -> ProxyResponse {
    let config = stream.config.clone();
    if let (Some(backend), Some(server)) = (stream.backend(), stream.server()) {
        backend.state.count_backend(Tally::DeniedResponses);
        server.state.count(Tally::DeniedResponses);
        let text = format!(
            "Blocked a cacheable response with a cookie from server {}/{}.",
            backend.name, server.name
        );
        log::notice(&config, backend, log::Level::Alert, &text);
    }
    stream.outcome.end(Termination::Proxy, StreamPhase::Headers);
    stream.times.response = None;
    error_page(stream, 502)
}

async fn read_head(
    stream: &mut ProxyStream,
    watched: Option<Watch<'_>>,
    server: &ConnectionTransport,
    sent_at: &Cell<Instant>,
    input: &mut Option<Buffer>,
    facts: &RequestFacts,
) -> Result<Parsed, Failure> {
    let limits = limits(stream);
    let server_ms = stream.server_ms();
    let mut parsed_length = 0;
    loop {
        if let Some(input) = input.as_mut().filter(|i| i.len() > parsed_length) {
            parsed_length = input.len();
            match http1::parse_response(input.filled(), facts, &limits, &mut stream.response) {
                Ok(ParseStatus::Done(parsed)) => {
                    if stream.config.global.lines_shown {
                        let names = &mut stream.rules.lines.get_or_insert_default().response;
                        names.read(&input.filled()[..parsed.consumed]);
                    }
                    input.consume(parsed.consumed);
                    return Ok(parsed);
                }
                Ok(ParseStatus::Incomplete) => {}
                Err(fault) => {
                    super::capture::response(
                        stream,
                        input.filled(),
                        super::capture::position_of(fault),
                    );
                    return Err(Failure::Malformed);
                }
            }
        }
        // Waits before the first read: right after the request was sent, the response cannot have
        // arrived.
        wait(server.readable(), watched, sent_at, server_ms).await?;
        let buffer = input.get_or_insert_with(Buffer::take);
        match server.read_into(buffer) {
            Ok(0) if parsed_length == 0 => return Err(Failure::ClosedEarly),
            Ok(0) => return Err(Failure::Closed),
            Ok(n) => reactor::yield_to_ready_tasks(n).await,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if buffer.is_empty() {
                    *input = None;
                }
            }
            Err(error)
                if error.kind() == io::ErrorKind::OutOfMemory
                    && buffer.len() < buffer.capacity() =>
            {
                buffer.compact();
            }
            Err(_) if parsed_length == 0 => return Err(Failure::ClosedEarly),
            Err(_) => return Err(Failure::Closed),
        }
    }
}

pub(super) fn limits(stream: &ProxyStream) -> Limits {
    let tune = &stream.config.global.tune;
    let backend = stream.backend();
    Limits {
        head_bytes: tune.bufsize.saturating_sub(tune.maxrewrite),
        message_bytes: tune.bufsize,
        headers: tune.headers_max,
        accept_invalid: backend.is_some_and(|b| b.has(ProxyOption::AcceptInvalidHttpResponse)),
        body_with_any_method: false,
    }
}

async fn next_head(
    stream: &mut ProxyStream,
    watched: Option<Watch<'_>>,
    server: &MuxStream,
    sent_at: &Cell<Instant>,
) -> Result<Parsed, Failure> {
    let server_ms = stream.server_ms();
    let head = poll_fn(|context| server.poll_head(context, &mut stream.response));
    let failure = match wait(head, watched, sent_at, server_ms).await? {
        Ok(parsed) => {
            if parsed.upgrade == Some(Upgrade::Other)
                && let Some(protocol) = http::websocket::protocol_of(&stream.request)
            {
                // Adds the protocol of the upgrade, which an HTTP/2 response does not name.
                let said = stream.response.set(b"upgrade", protocol);
                said.map_err(|_| Failure::Malformed)?;
            }
            return Ok(parsed);
        }
        Err(failure) => failure,
    };
    Err(match failure {
        HeadFailure::Gone(Gone::Refused) => Failure::Refused,
        HeadFailure::Gone(Gone::Lost) => Failure::ClosedEarly,
        HeadFailure::Gone(Gone::Reset(_)) => Failure::Closed,
        HeadFailure::Fault(_) => Failure::Malformed,
    })
}

/// Waits until the server is readable. Fails when `timeout server`, counted from the last data
/// sent to the server, expires; or when the client disconnects and `watched` is set.
async fn wait<F: Future>(
    part: F,
    watched: Option<Watch<'_>>,
    sent_at: &Cell<Instant>,
    server_ms: Option<u32>,
) -> Result<F::Output, Failure> {
    let mut part = pin!(part);
    loop {
        let since = sent_at.get();
        let deadline = server_ms.map(|ms| since + Duration::from_millis(u64::from(ms)));
        let either = poll_fn(|context| {
            if let Poll::Ready(output) = part.as_mut().poll(context) {
                return Poll::Ready(Ok(output));
            }
            let Some(client) = watched else {
                return Poll::Pending;
            };
            client.poll(context).map(|()| {
                Err(if client.is_http2() {
                    Failure::GivenUp
                } else {
                    Failure::Abandoned
                })
            })
        });
        match with_deadline(deadline, either).await {
            Ok(result) => return result,
            // Starts the timeout again, because the request body was still being sent.
            Err(_) if sent_at.get() > since => {}
            Err(_) => return Err(Failure::Timeout),
        }
    }
}

/// Sends the response head as it is. `end`: the response has no body.
async fn send_head(
    stream: &mut ProxyStream,
    client: &PeerConnection,
    end: bool,
) -> Result<(), Failure> {
    let limit = stream.client_ms();
    let (bytes, sent) = client.send_head(&stream.response, end, limit).await;
    stream.transfer.bytes_out += bytes;
    sent.map_err(|failure| Failure::Body(failure.into()))
}

struct ForwardedBody {
    body: IncomingBody,
    chunked: bool,
    encoder: Option<Box<Encoder>>,
}

/// Begins a response that has a body. HTTP/1 sends the head together with the first piece of
/// the body.
fn begin_answer(
    stream: &mut ProxyStream,
    client: &PeerConnection,
    head: &mut Vec<u8>,
) -> Result<Option<Meter>, Failure> {
    let head_bytes = stream.response.wire_len() as u64;
    match client {
        PeerConnection::Http1(_) => stream.response.write_http1(head),
        PeerConnection::Http2(client) => client
            .send_head(&stream.response, false)
            .map_err(|_| Failure::Body(BodyFailure::WriteFailed))?,
    }
    stream.transfer.bytes_out += head_bytes;
    log::stream_answered(stream);
    let meter = Meter::of(stream);
    if let Some(meter) = &meter {
        meter.count(Tally::BytesOut, head_bytes);
        stream.transfer.counted_out += head_bytes;
    }
    Ok(meter)
}

async fn send(
    stream: &mut ProxyStream,
    client: &PeerConnection,
    server: &PeerConnection,
    input: &mut Option<Buffer>,
    sent: ForwardedBody,
) -> Result<(), Failure> {
    let ForwardedBody {
        mut body,
        chunked,
        mut encoder,
    } = sent;
    if body.is_done() && !chunked {
        let sent = send_head(stream, client, true).await;
        log::stream_answered(stream);
        caching::complete(stream);
        return sent;
    }
    let mut head = reactor::scratch();
    let meter = begin_answer(stream, client, &mut head)?;
    let (read_ms, write_ms) = (stream.server_ms(), stream.client_ms());
    let drops_trailers = stream.frontend().has(ProxyOption::DropResponseTrailers);
    let mut coded = Coded::default();
    let mut copy = Copy {
        from: server,
        input,
        body: &mut body,
        to: client,
        chunked,
        read_ms,
        write_ms,
        bytes: &mut stream.transfer.bytes_out,
        meter: meter.as_ref().map(|meter| Counting {
            meter,
            tally: Tally::BytesOut,
            counted: &mut stream.transfer.counted_out,
        }),
        sent_at: None,
        kept: None,
        encoder: encoder.as_deref_mut().map(|encoder| Encoding {
            encoder,
            bytes: &mut coded,
        }),
        cache: Some(&mut stream.transfer.cache).filter(|cache| cache.is_some()),
        drops_trailers,
    };
    // Watches the client, so that a silent server does not keep a stream that the client has
    // aborted.
    let result = match Watch::of_stream(client) {
        None => copy.run(&mut head).await,
        watched => unless_gone(watched, pin!(copy.run(&mut head)))
            .await
            .unwrap_or(Err(BodyFailure::WriteFailed)),
    };
    if result.is_ok() {
        caching::complete(stream);
    }
    compression::count_coded(stream, coded);
    if let (Err(BodyFailure::Malformed(at)), Some(input)) = (&result, &*input) {
        super::capture::response(stream, input.filled(), *at);
    }
    result.map_err(|failure| match failure {
        BodyFailure::Malformed(_) if !head.is_empty() => {
            stream.transfer.bytes_out -= head.len() as u64;
            stream.times.response = None;
            stream.outcome.server_status = 0;
            Failure::Malformed
        }
        failure => Failure::Body(failure),
    })
}
