//! Serves one HTTP request: reads the head, applies the rules, chooses a server, relays the
//! request and the response, logs. This module defines the order; other modules implement the
//! steps.

use super::answer::Keep;
use super::body::IncomingBody;
use super::finish::finish;
use super::head::{self, HeadFailure};
use super::judge::{self, Ruled, wait_for_body, without_body};
use super::send::SendOutcome;
use super::server::{self, Establish, Reuse, Unserved};
use super::session::{Client, idle_deadline};
use super::{
    ProxyResponse, ProxyStream, Session, StreamPhase, Termination, error_page, exchange, forward,
    inspect, new_stream, report, send, slot, watch,
};
use crate::server_connection;
use http::http1::{self, ConnectionMode, FaultKind, HttpParseError, Parsed};
use model::config::{
    CheckKind, HttpProtocol, Mode, ProxyOption, Rare, ReuseMode, Server, ServerIndex, StreamLogStep,
};
use model::thread::current_thread_data;
use model::{log, rules};
use mux::link::PeerConnection;
use reactor::{self, Buffer, after, pool_box, with_deadline};
use std::io;

/// Next state of the client's connection after a stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Next {
    Request,
    /// No request has begun: the socket had no data after all.
    Again,
    Close,
    /// The connection closes after the client's remaining input was read: unread input would cause
    /// a reset, which destroys the end of the response.
    Linger,
    /// The client uses HTTP/2. The preface is in the client's input.
    Http2,
}

/// Handles a connection whose first request did not arrive in time.
pub async fn timed_out(client: &mut Client) {
    let frontend = client.session.frontend();
    if frontend.has(ProxyOption::HttpIgnoreProbes) {
        return;
    }
    let mut stream = new_stream(client.session.clone(), true);
    stream.times.idle_since = client.session.accepted;
    stream.times.began = client.session.accepted;
    stream.times.began_at -= reactor::now().saturating_duration_since(client.session.accepted);
    head::refuse(client, &mut stream, HeadFailure::Timeout).await;
    finish(stream);
    linger(client).await;
}

pub async fn serve(client: &mut Client) -> Next {
    let mut stream = new_stream(client.session.clone(), true);
    stream.times.follow(client.idle_since, client.streams);
    let head = head::read(client, &mut stream).await;
    proceed(client, stream, head).await
}

pub(super) async fn serve_upgraded(
    client: &mut Client,
    mut stream: Box<ProxyStream>,
    protocol: Option<HttpProtocol>,
) -> Next {
    let deadline = idle_deadline(client);
    let head = loop {
        match head::read(client, &mut stream).await {
            Err(HeadFailure::NotYet) => {
                let readable = client.link.readable();
                if with_deadline(deadline, readable).await.is_err() {
                    break Err(HeadFailure::Timeout);
                }
            }
            Err(HeadFailure::Http2) if protocol == Some(HttpProtocol::Http1) => {
                break Err(HeadFailure::Fault(HttpParseError::new(
                    FaultKind::Http2Preface,
                    0,
                )));
            }
            head => break head,
        }
    };
    if head.is_ok() {
        rules::content_is_judged(&mut stream);
    }
    proceed(client, stream, head).await
}

async fn proceed(
    client: &mut Client,
    mut stream: Box<ProxyStream>,
    head: Result<Parsed, HeadFailure>,
) -> Next {
    let next = match head {
        Ok(request) => run(client, &mut stream, request).await,
        Err(HeadFailure::NotYet) => {
            // Keeps the stream for reuse, because a connection that waits for a request needs none.
            current_thread_data().keep_stream(stream);
            return Next::Again;
        }
        Err(HeadFailure::Nothing) => {
            // Logs the close only on a new connection: between the requests of a persistent one it
            // is normal.
            let probe = stream.frontend().has(ProxyOption::HttpIgnoreProbes);
            if client.streams == 0 && !probe {
                head::refuse(client, &mut stream, HeadFailure::Nothing).await;
                finish(stream);
            } else {
                current_thread_data().keep_stream(stream);
            }
            return Next::Close;
        }
        Err(HeadFailure::Http2) => {
            // Releases the entries that content rules tracked for this stream, because it is not
            // used.
            stream.rules.tracked = None;
            current_thread_data().keep_stream(stream);
            return Next::Http2;
        }
        Err(failure) => {
            stream.transfer.bytes_in += client.input.as_ref().map_or(0, |input| input.len() as u64);
            head::refuse(client, &mut stream, failure).await;
            Next::Linger
        }
    };
    // Counts and logs the stream before the wait for the client.
    finish(stream);
    if client.input.as_ref().is_some_and(Buffer::is_empty) {
        client.input = None;
    }
    if next == Next::Linger {
        linger(client).await;
    }
    next
}

/// Serves one request of an HTTP/2 client. The head is in `stream`, unless `request` is the fault
/// for which it is refused. The body and the response use the client's link, which ends with the
/// stream. Returns the number of the last server.
pub async fn serve_stream(
    mut client: Client,
    mut stream: Box<ProxyStream>,
    request: Result<Parsed, HttpParseError>,
) -> Option<u32> {
    stream.watch_client(&client.link);
    match request {
        Ok(request) => _ = run(&mut client, &mut stream, request).await,
        Err(fault) => head::refuse(&mut client, &mut stream, HeadFailure::Fault(fault)).await,
    }
    finish(stream);
    client.last_server
}

pub(super) fn close(client: &Client) -> Next {
    if client.link.is_http2() {
        Next::Request
    } else if client.input.is_some() || client.link.is_readable() {
        Next::Linger
    } else {
        Next::Close
    }
}

/// Lets the client read a response that was sent before all of its request was read: shuts down
/// sending, and discards further input for a moment.
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

/// Returns the response that is sent before anything is read (`monitor-net`, `mode health`); None
/// for other connections.
pub(super) fn health(session: &Session) -> Option<&'static [u8]> {
    let frontend = session.frontend();
    let health = frontend.health.as_ref()?;
    let http = if health.always {
        frontend.check.kind == CheckKind::Http
    } else {
        let ip = session.source.ip()?;
        health.network.filter(|network| network.contains(ip))?;
        frontend.mode == Mode::Http
    };
    Some(if http {
        b"HTTP/1.0 200 OK\r\n\r\n"
    } else if health.always {
        b"OK\n"
    } else {
        b""
    })
}

/// Sends the monitoring reply. The connection is neither counted nor logged.
pub(super) async fn answer_health(client: &mut Client, answer: &[u8]) {
    let limit = client.session.frontend().timeouts.client_ms;
    if let PeerConnection::Http1(transport) = &client.link
        && mux::link::write_all(transport, answer, limit).await.is_ok()
    {
        linger(client).await;
    }
}

/// Maximum wait for further input that is discarded after an early response, milliseconds.
const LINGER_MS: u32 = 1000;

const LINGER_BYTES: usize = 1 << 20;

/// Returns whether the client's connection can be kept after a request. An HTTP/2 connection does
/// not end with one of its streams.
#[inline(always)]
fn keeps(client: &Client, stream: &ProxyStream, request: &Parsed) -> Keep {
    let proxied = stream.frontend().has(ProxyOption::HttpUseProxyHeader);
    let by_header = proxied
        .then(|| http1::proxy_connection_keep_alive(&stream.request))
        .flatten();
    if client.link.is_http2() {
        return Keep::Yes;
    }
    let keeps =
        by_header.unwrap_or(request.keep_alive) && !stream.frontend().has(ProxyOption::HttpClose);
    if !keeps {
        Keep::No
    } else if super::leaving::is_last(client) || super::newest::is_left_behind(&client.session) {
        Keep::ForChallenge
    } else {
        Keep::Yes
    }
}

fn refuse_names(stream: &mut ProxyStream) -> ProxyResponse {
    stream.outcome.end(Termination::Proxy, StreamPhase::Request);
    rules::count_denied(stream);
    error_page(stream, 403)
}

async fn run(client: &mut Client, stream: &mut ProxyStream, request: Parsed) -> Next {
    head::count(stream);
    log::stream_began(stream);
    log::stream_reached(stream, StreamLogStep::Request);
    let mut body = IncomingBody::new(&client.link, request.body);
    let keeps = keeps(client, stream, &request);
    let keep = keeps.is_yes();
    match judge::rule(client, stream, &mut body).await {
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
        Ruled::Report(mut report) => {
            let may_keep = keep && (body.is_done() || discard(client, &mut body));
            let sent = pool_box(report::send(client, stream, &mut report, may_keep)).await;
            return after_local(client, &body, sent);
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
    slot::find_own_server(stream);
    prefer_last_server(client, stream);
    let how = Establish {
        reuse: reuse(stream, client.streams == 0),
        shared: stream
            .backend()
            .is_some_and(|b| b.reuse != ReuseMode::Never),
        own: Some(&mut client.private_connections),
    };
    let established = server::establish_for(stream, &client.link, how).await;
    match established {
        Some(Ok((server, slot))) => {
            let Some(server) = inspect::begin(stream, &client.link, server) else {
                return Next::Close;
            };
            let outgoing = exchange::Outgoing {
                request: &request,
                body,
                keep: keeps,
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
        Some(Err(Unserved::Redirected(page) | Unserved::Rejected(page))) => {
            finish_local(client, stream, *page, &mut body, false).await
        }
        None => {
            watch::abandoned(stream);
            Next::Close
        }
    }
}

/// Prefers a server, unless another setting decides: the one that has authenticated the client's
/// connection, or with `option prefer-last-server` the one of the previous request, while a
/// connection to it is open.
fn prefer_last_server(client: &Client, stream: &mut ProxyStream) {
    // Prefers none with a hash, because the key decides on the server.
    let Some(backend) = stream.backend().filter(|b| !b.balance.is_by_key()) else {
        return;
    };
    let authenticating = client.private_connections.authenticating_server(backend);
    if let Some(at) = authenticating.filter(|at| slot::is_usable(backend, *at)) {
        stream.route.preferred = Some(at);
        return;
    }
    let wishes = backend.has(ProxyOption::PreferLastServer);
    let Some(last) = client.last_server.filter(|_| wishes) else {
        return;
    };
    let held = |server: &Server| {
        client.private_connections.holds(&server.state)
            || server_connection::pools().holds(&server.state)
    };
    let at = backend
        .servers
        .iter()
        .position(|server| server.state.uid == last && held(server));
    let at = at.map(|at| ServerIndex(at as u32));
    stream.route.preferred = at.filter(|at| slot::has_room(backend, *at));
}

/// Returns which connections this stream may reuse, according to `http-reuse`.
fn reuse(stream: &ProxyStream, first: bool) -> Reuse {
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

/// Sends a response that the proxy generated. If the rest of the request body is short, it is read
/// first, so that the connection can be kept.
async fn finish_local(
    client: &mut Client,
    stream: &mut ProxyStream,
    answer: ProxyResponse,
    body: &mut IncomingBody,
    keep: bool,
) -> Next {
    stream.outcome.local = true;
    let may_keep = keep && !answer.close && (body.is_done() || discard(client, body));
    let sent = send::send(client, stream, answer, may_keep).await;
    after_local(client, body, sent)
}

fn after_local(client: &Client, body: &IncomingBody, sent: SendOutcome) -> Next {
    match sent {
        SendOutcome::Keeps => Next::Request,
        SendOutcome::Closes if body.is_done() => close(client),
        SendOutcome::Closes => Next::Linger,
        SendOutcome::Failed => Next::Close,
    }
}

/// Discards the rest of the body as far as it has arrived. Returns whether the body is then
/// complete.
fn discard(client: &mut Client, body: &mut IncomingBody) -> bool {
    let Some(input) = client.input.as_mut() else {
        return false;
    };
    body.discard(input)
}
