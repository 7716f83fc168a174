//! Forwards the response of a server to the client: interim responses, the head with its
//! rules, the body.

use super::body::{Body, BodyFailure, Copy, Encoding};
use super::meter::{Counting, Meter};
use super::shutdown::termination;
use super::watch::{Watch, unless_gone};
use super::{
    Phase, Reply, Stream, Termination, error_page, exchange, held, inspect, observe, retry, send,
    shape,
};
use crate::compression::{self, Coded, Encoder};
use crate::persistence;
use http::http1::{
    self, BodyLength, ClientFraming, ConnectionHeader, ConnectionMode, Limits, ParseStatus, Parsed,
    RequestFacts, Upgrade,
};
use http::http2;
use http::message::{ConnectionChallenge, Version};
use model::config::{ProxyOption, Rare, ReuseMode};
use model::rules::{self, Verdict};
use model::state::{Shutdown, Tally};
use model::thread::here;
use model::tracking::{self, stick};
use model::{caching, log};
use mux::link::Link;
use mux::{Gone, HeadFailure, MuxStream};
use reactor::{self, Buffer, Instant, pool_box, with_deadline};
use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;
use tls::transport::Transport;

/// Interim answers (1xx) that one exchange may have.
const INTERIM_MAX: u32 = 32;

/// Where an answer comes from and where it goes.
pub struct Incoming<'c> {
    /// The client.
    pub client: &'c Link,
    /// Where its going is to be noticed while the answer is waited for.
    pub watched: Option<Watch<'c>>,
    /// The server.
    pub server: &'c Link,
    /// What came from the server and was not used.
    pub input: &'c mut Option<Buffer>,
    /// The request that is answered.
    pub request: &'c Parsed,
    /// The client's connection may be kept.
    pub keep: Keep,
    /// When the server was last sent something: from then on it may be silent
    /// for `timeout server`.
    pub sent_at: &'c Cell<Instant>,
    /// The request could be sent once more, so that an answer which `retry-on`
    /// names is not for the client.
    pub again: &'c Cell<bool>,
}

/// Whether a client's connection may carry another request after this one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Keep {
    /// It may.
    Yes,
    /// Only to answer the challenge of a server that authenticates the connection: the
    /// process ends, or the client's address goes.
    ForChallenge,
    /// It may not.
    No,
}

impl Keep {
    /// Whether it may whatever the response is.
    pub fn is_yes(self) -> bool {
        self == Keep::Yes
    }

    /// Whether it may after a response with this challenge.
    fn after(self, challenge: Option<ConnectionChallenge>) -> bool {
        self.is_yes() || self == Keep::ForChallenge && challenge == Some(ConnectionChallenge::Token)
    }
}

/// An answer that was delivered whole.
#[derive(Clone, Copy, Debug)]
pub struct Delivered {
    /// The client's connection can carry another request.
    pub client_keeps: bool,
    /// The server's connection can.
    pub server_keeps: bool,
    /// From here on it is a tunnel (101, CONNECT).
    pub tunnel: bool,
    /// What the server asks for, if it authenticates the connection.
    pub challenge: Option<ConnectionChallenge>,
}

/// Why an answer was not delivered whole.
#[derive(Debug)]
pub enum Failure {
    /// The server answered with a status that `retry-on` names.
    Unwanted,
    /// The server closed before the first byte.
    ClosedEarly,
    /// The server has not looked at the request and will not; it can be sent
    /// again, whatever its method.
    Refused,
    /// The server closed in the middle of the head.
    Closed,
    /// `timeout server` passed before the head was whole.
    Timeout,
    /// What the server sent is no answer, or the framing of its body is wrong
    /// and nothing was sent on yet.
    Malformed,
    /// The server sent interim answers without end.
    Interim,
    /// The request cannot be said to a FastCGI application.
    Unsayable,
    /// It has a body whose length such an application could not be told.
    Unsized,
    /// A rule refused the answer, and nothing is sent in its place.
    Rejected,
    /// A rule refused the answer; this is sent in its place.
    Denied(Box<Reply>),
    /// The client went before an answer came, and `option abortonclose` cares.
    Abandoned,
    /// The client gave its stream of HTTP/2 up before an answer came.
    GivenUp,
    /// The request's body did not arrive, before an answer began.
    Upload(BodyFailure),
    /// The request's body did not arrive whole, when an answer had begun.
    LateUpload(BodyFailure),
    /// The body of the answer was not delivered whole.
    Body(BodyFailure),
    /// The sessions of the server were shut down, and how far it had come.
    Shut(Shutdown, Progress),
}

/// How far an exchange had come when it was shut down.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Progress {
    /// The request was not sent whole.
    Sending,
    /// It was, and nothing of an answer was delivered.
    Sent,
    /// An answer was begun.
    Answering,
}

impl Failure {
    /// How it ends the stream, and the status of the page for the client; None
    /// where an answer had begun.
    pub fn meaning(&self) -> (Termination, Phase, Option<u16>) {
        match self {
            Failure::ClosedEarly | Failure::Closed | Failure::Refused | Failure::Unwanted => {
                (Termination::ServerAbort, Phase::Headers, Some(502))
            }
            Failure::Timeout => (Termination::ServerTimeout, Phase::Headers, Some(504)),
            Failure::Malformed | Failure::Interim => {
                (Termination::Proxy, Phase::Headers, Some(502))
            }
            Failure::Unsayable => (Termination::Internal, Phase::Headers, Some(500)),
            Failure::Unsized => (Termination::Proxy, Phase::Headers, Some(400)),
            Failure::Abandoned => (Termination::ClientAbort, Phase::Headers, Some(400)),
            Failure::Denied(_) => (Termination::Proxy, Phase::Headers, Some(502)),
            Failure::Rejected => (Termination::Proxy, Phase::Data, None),
            Failure::Upload(BodyFailure::ReadTimeout) => {
                (Termination::ClientTimeout, Phase::Data, Some(408))
            }
            Failure::Upload(BodyFailure::Malformed) => {
                (Termination::Proxy, Phase::Headers, Some(400))
            }
            Failure::LateUpload(BodyFailure::ReadTimeout) => {
                (Termination::ClientTimeout, Phase::Data, None)
            }
            Failure::LateUpload(BodyFailure::Malformed) => (Termination::Proxy, Phase::Data, None),
            // Who broke off is told nothing.
            Failure::GivenUp | Failure::Upload(_) | Failure::LateUpload(_) => {
                (Termination::ClientAbort, Phase::Data, None)
            }
            Failure::Body(BodyFailure::ReadTimeout) => {
                (Termination::ServerTimeout, Phase::Data, None)
            }
            Failure::Body(BodyFailure::Truncated | BodyFailure::Malformed) => {
                (Termination::ServerAbort, Phase::Data, None)
            }
            Failure::Body(BodyFailure::WriteTimeout) => {
                (Termination::ClientTimeout, Phase::Data, None)
            }
            Failure::Shut(why, Progress::Sending) => (termination(*why), Phase::Done, None),
            Failure::Shut(why, Progress::Sent) => (termination(*why), Phase::Headers, Some(502)),
            Failure::Shut(why, Progress::Answering) => (termination(*why), Phase::Data, None),
            Failure::Body(BodyFailure::WriteFailed) => {
                (Termination::ClientAbort, Phase::Data, None)
            }
        }
    }

    /// Whether it is counted as an error of the server's answer.
    pub fn is_servers(&self) -> bool {
        matches!(
            self,
            Failure::ClosedEarly
                | Failure::Closed
                | Failure::Refused
                | Failure::Timeout
                | Failure::Malformed
                | Failure::Interim
                | Failure::Body(BodyFailure::Truncated | BodyFailure::Malformed)
        )
    }

    /// Whether the client failed, so that it is served no more.
    pub fn is_clients(&self) -> bool {
        matches!(
            self,
            Failure::Abandoned | Failure::GivenUp | Failure::Upload(_) | Failure::LateUpload(_)
        )
    }

    /// Whether it is counted as an error of the request.
    pub fn is_requests(&self) -> bool {
        matches!(
            self,
            Failure::Upload(BodyFailure::Malformed | BodyFailure::ReadTimeout)
                | Failure::LateUpload(BodyFailure::Malformed)
        )
    }
}

/// Reads the answer of the server and sends it to the client.
pub async fn relay(stream: &mut Stream, incoming: Incoming<'_>) -> Result<Delivered, Failure> {
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
            Link::Http1(server) => read_head(stream, watched, server, sent_at, input, &facts).await,
            Link::Http2(server) => next_head(stream, watched, server, sent_at).await,
        };
        let response = response.map_err(|failure| match failure {
            // It has begun with the request, which must not be sent once more.
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
        if stream.request.version() != Version::Http10 {
            send_head(stream, client, false).await?;
        }
    };
    if again.get() && retry::is_unwanted(stream) {
        return Err(Failure::Unwanted);
    }
    stream.times.response = Some(reactor::now());
    stream.outcome.server_status = stream.response.status();
    // Rules may change the response. What it means for the connection stays.
    let challenge = stream.response.connection_challenge();
    let keep = keep.after(challenge);
    tracking::answer(stream);
    observe::answered(stream);
    let body = Body::new(server, response.body);
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

/// Lets other threads know that this one will have an idle connection: a client that has
/// its response may be faster with its next request, to another thread, than this thread
/// is with keeping the connection. Who asks is served when it is kept.
fn announce(stream: &Stream, link: &Link) {
    if let Some(server) = stream.server()
        && matches!(link, Link::Http1(_))
        && stream
            .backend()
            .is_some_and(|b| b.reuse != ReuseMode::Never)
        && exchange::connection_mode(stream) == ConnectionMode::KeepAlive
    {
        server.state.has_idle(here().thread(), true);
    }
}

/// Sends a response that is ready. Says whether all of its body was read from the
/// server.
async fn deliver(
    stream: &mut Stream,
    client: &Link,
    server: &Link,
    input: &mut Option<Buffer>,
    mut body: Body,
    dressed: Dressed,
) -> Result<bool, Failure> {
    if !dressed.bodiless || body.is_done() {
        let sent = Sent {
            body,
            chunked: dressed.chunked,
            encoder: dressed.encoder,
        };
        return send(stream, client, server, input, sent)
            .await
            .map(|()| true);
    }
    // Rare, and large. A client of HTTP/2 may ask again as soon as it has the head: by
    // then the server's connection is free.
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

/// A response whose head is ready for its client.
struct Dressed {
    framing: ClientFraming,
    /// HTTP/1 gets its body in chunks.
    chunked: bool,
    encoder: Option<Box<Encoder>>,
    /// The client gets no body, whatever the server sends.
    bodiless: bool,
}

/// Makes the head of the answer ready for its client: how it is framed, whether
/// HTTP/1 gets chunks, and what its body is compressed with.
#[inline(always)]
fn dress(
    stream: &mut Stream,
    client: &Link,
    keep: bool,
    response: &Parsed,
    facts: &RequestFacts,
) -> Result<Dressed, Failure> {
    let in_chunks = !client.is_http2();
    let encoder = compression::response(stream, response, in_chunks);
    let announced = match &encoder {
        // Its length is another, and not known ahead.
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

/// Tells the client that it has its tunnel.
async fn begin_tunnel(stream: &mut Stream, client: &Link) -> Result<Delivered, Failure> {
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

/// Runs the last rules over the answer; then makes its head say how its body ends
/// and what becomes of the client's connection.
#[inline(always)]
fn frame(
    stream: &mut Stream,
    client: &Link,
    keep: bool,
    response: &mut Parsed,
    facts: &RequestFacts,
) -> Result<ClientFraming, Failure> {
    if client.is_http2() {
        rules::http_after_response(stream);
        response.body =
            shape::settle(stream, response.body).map_err(|shape::Interim| Failure::Rejected)?;
        // Its frames say both.
        return Ok(ClientFraming {
            connection: ConnectionHeader::Absent,
            keep_alive: true,
            unchunk: false,
            chunk: false,
        });
    }
    let version = stream.request.version();
    // A head that rules filled to its limit goes without what is added here;
    // then the close itself says what the header would have said.
    let _ = http2::response_to_http1(&mut stream.response, response, facts);
    rules::http_after_response(stream);
    response.body =
        shape::settle(stream, response.body).map_err(|shape::Interim| Failure::Rejected)?;
    let keep = keep && !stream.begins_tunnel(stream.response.status());
    // What the backend wants of connections is the server's side only.
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

/// Has rules look at the answer, which may wait for its body.
async fn checked(
    stream: &mut Stream,
    client: &Link,
    server: &Link,
    watched: Option<Watch<'_>>,
    input: &mut Option<Buffer>,
    body: &Body,
) -> Result<(), Failure> {
    if stream.config.global.asked.answer_body {
        held::show(stream, server, input, body);
    }
    stream.payloads.response_complete = body.is_done();
    while let Some(held) = check(stream, client)? {
        let origin = held::Origin {
            server,
            client: watched,
            input: &mut *input,
            body,
        };
        pool_box(held::wait(stream, origin, held)).await?;
    }
    Ok(())
}

/// Whether the answer may go to the client, by rules and `option checkcache`. Rules
/// that wait for something say so; then it is asked again.
fn check(stream: &mut Stream, client: &Link) -> Result<Option<Verdict>, Failure> {
    if let Some(inspection) = stream
        .rules
        .overrides
        .as_mut()
        .and_then(|set| set.inspection.take())
    {
        inspect::head(stream, client, &inspection)?;
    }
    match rules::http_response(stream) {
        Verdict::Answer(page) => return Err(Failure::Denied(page)),
        Verdict::SilentDrop(ttl) => {
            super::session::vanish(client, ttl);
            return Err(Failure::Rejected);
        }
        waits @ (Verdict::NeedBody { .. } | Verdict::Wait(_)) => return Ok(Some(waits)),
        _ => {}
    }
    if stream.route.rare.has(Rare::ANSWERED_COOKIES) {
        check_cookies(stream)?;
    }
    Ok(None)
}

/// The cookies of an answer: those that keep clients with their server, and `option
/// checkcache`.
fn check_cookies(stream: &mut Stream) -> Result<(), Failure> {
    persistence::look_at_answer(stream);
    if stream
        .backend()
        .is_some_and(|backend| backend.has(ProxyOption::CheckCache))
        && http1::shares_cookie(&stream.request, &stream.response)
    {
        return Err(Failure::Denied(Box::new(blocked(stream))));
    }
    persistence::answer(stream);
    Ok(())
}

/// The answer in place of one that would share its cookie (`option checkcache`).
fn blocked(stream: &mut Stream) -> Reply {
    let config = stream.config.clone();
    if let (Some(backend), Some(server)) = (stream.backend(), stream.server()) {
        backend
            .state
            .backend
            .counters
            .here()
            .count(Tally::DeniedResponses);
        server
            .state
            .traffic
            .counters
            .here()
            .count(Tally::DeniedResponses);
        let text = format!(
            "Blocked a cacheable response with a cookie from server {}/{}.",
            backend.name, server.name
        );
        log::notice(&config, backend, log::Level::Alert, &text);
    }
    stream.outcome.end(Termination::Proxy, Phase::Headers);
    stream.times.response = None;
    error_page(stream, 502)
}

async fn read_head(
    stream: &mut Stream,
    watched: Option<Watch<'_>>,
    server: &Transport,
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
                    super::capture::response(stream, input.filled(), fault);
                    return Err(Failure::Malformed);
                }
            }
        }
        // The answer is never there yet when the request has just been sent.
        wait(server.readable(), watched, sent_at, server_ms).await?;
        let buffer = input.get_or_insert_with(Buffer::take);
        match server.read_into(buffer) {
            Ok(0) if parsed_length == 0 => return Err(Failure::ClosedEarly),
            Ok(0) => return Err(Failure::Closed),
            Ok(n) => reactor::stand_back(n).await,
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

/// What the head of an answer may be.
pub(super) fn limits(stream: &Stream) -> Limits {
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

/// The next head of the answer of a server that speaks HTTP/2.
async fn next_head(
    stream: &mut Stream,
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
                // The response does not name it.
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

/// Waits for the server, which may be silent for so long after it was last sent
/// something, and where that matters for the client to go.
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
                Err(match client.is_http2() {
                    true => Failure::GivenUp,
                    false => Failure::Abandoned,
                })
            })
        });
        match with_deadline(deadline, either).await {
            Ok(result) => return result,
            // The request body was still being sent.
            Err(_) if sent_at.get() > since => {}
            Err(_) => return Err(Failure::Timeout),
        }
    }
}

/// Sends the head of the answer as it stands; `end`: that is all of it.
async fn send_head(stream: &mut Stream, client: &Link, end: bool) -> Result<(), Failure> {
    let limit = stream.client_ms();
    let (bytes, sent) = client.send_head(&stream.response, end, limit).await;
    stream.transfer.bytes_out += bytes;
    sent.map_err(|failure| Failure::Body(failure.into()))
}

/// The body of a response being forwarded.
struct Sent {
    body: Body,
    /// Its client speaks HTTP/1 and gets chunks.
    chunked: bool,
    encoder: Option<Box<Encoder>>,
}

/// The head of an answer that has a body: HTTP/1 sends it with the first piece of
/// that.
fn begin_answer(
    stream: &mut Stream,
    client: &Link,
    head: &mut Vec<u8>,
) -> Result<Option<Meter>, Failure> {
    let head_bytes = stream.response.wire_len() as u64;
    match client {
        Link::Http1(_) => stream.response.write_http1(head),
        Link::Http2(client) => client
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

/// Sends head and body.
async fn send(
    stream: &mut Stream,
    client: &Link,
    server: &Link,
    input: &mut Option<Buffer>,
    sent: Sent,
) -> Result<(), Failure> {
    let Sent {
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
    // A server that is silent does not hold a stream that nobody wants.
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
    result.map_err(|failure| match failure {
        BodyFailure::Malformed if !head.is_empty() => {
            stream.transfer.bytes_out -= head.len() as u64;
            stream.times.response = None;
            stream.outcome.server_status = 0;
            Failure::Malformed
        }
        failure => Failure::Body(failure),
    })
}
