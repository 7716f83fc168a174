//! Sends the request of a stream to its server and receives the response; both at the same time
//! if the request has a body. A response may begin, and even end, before the request is complete.

use super::answer::{self, Delivered, Failure, Keep, Progress};
use super::body::{BodyFailure, Copy, Encoding, IncomingBody};
use super::meter::{Counting, Meter};
use super::request::{Next, close};
use super::retry::{self, Replay};
use super::send::SendOutcome;
use super::session::{Client, reset_when_delivered};
use super::shutdown::unless_shut;
use super::watch::Watch;
use super::{
    ProxyStream, StreamPhase, Termination, error_page, fastcgi, forward, send, server, tunnel,
};
use crate::compression::{self, Coded, Encoder};
use crate::server_connection::{self, Authentication, ServerConnection};
use http::http1::{self, ConnectionMode, Parsed, Upgrade};
use http::http2;
use http::message::ConnectionChallenge;
use model::config::{Proxy, ProxyOption, ReuseMode};
use model::queue::ServerSlot;
use model::state::Tally;
use model::tracking;
use model::transaction::{Times, Transfer};
use mux::link::{PeerConnection, write_all};
use mux::{Expected, MuxStream};
use reactor::{self, Buffer};
use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;
use tls::transport::ConnectionTransport;

pub struct Outgoing<'r> {
    pub request: &'r Parsed,
    pub body: IncomingBody,
    pub keep: Keep,
    /// Compresses the request body; None: not compressed.
    pub encoder: Option<Box<Encoder>>,
}

impl Outgoing<'_> {
    /// Returns the state of the body at its beginning, to send the request again. Used for HTTP/2
    /// servers only, which report that they have not processed a request. None if an encoder
    /// compresses the body, because it cannot restart.
    fn restart(&self, server: &PeerConnection) -> Option<IncomingBody> {
        let may = server.is_http2() && self.encoder.is_none();
        may.then(|| self.body.restart()).flatten()
    }

    /// Prepares the request for being sent again. A body that an encoder compresses cannot be sent
    /// again.
    fn replay(&self, stream: &ProxyStream, client: &PeerConnection) -> Replay {
        let replay = Replay::new(stream, client, &self.body);
        if self.encoder.is_some() {
            replay.whole.set(false);
        }
        replay
    }

    fn needs_chunks(&self) -> bool {
        self.encoder.is_some() || self.body.needs_chunks()
    }
}

pub async fn run(
    client: &mut Client,
    stream: &mut ProxyStream,
    mut outgoing: Outgoing<'_>,
    mut server: ServerConnection,
    mut slot: ServerSlot,
) -> Next {
    outgoing.encoder = compression::request(stream, &outgoing.request.body);
    prepare_request(stream, &outgoing);
    let has_body = !outgoing.body.is_done();
    let mut fresh = false;
    let mut replay = outgoing.replay(stream, &client.link);
    let delivered = loop {
        let reused = server.streams > 0;
        // Does not repeat a request whose credentials answer an authentication challenge, because
        // they are valid on the same connection only.
        let repeatable = server.authentication != Authentication::Challenged;
        server.streams = server.streams.saturating_add(1);
        let mut uploaded = Uploaded::default();
        let begins = outgoing.restart(&server.link);
        let exchange = once(
            client,
            stream,
            &mut outgoing,
            &mut server,
            &mut replay,
            &mut uploaded,
        );
        let delivered = unless_shut(&slot, pin!(exchange)).await;
        uploaded.add_to(&mut stream.transfer);
        fastcgi::log_errors(stream, &server.link);
        let delivered = delivered
            .unwrap_or_else(|why| Err(Failure::Shut(why, progress(&stream.times, &outgoing))));
        if let Err(failure) = &delivered
            && repeatable
            && retry::should_retry(stream, failure)
            && replay.rewind(&mut client.input, &mut outgoing.body)
        {
            drop(server);
            uploaded.subtract_from(&mut stream.transfer);
            // Boxes the future, which is large and rarely needed.
            match Box::pin(retry::reconnect_for_retry(stream, slot)).await {
                Some(another) => (server, slot) = another,
                None => return unserved(client, stream, &outgoing).await,
            }
            continue;
        }
        let idle = reused && repeatable && !fresh && !has_body;
        let whole = begins.is_some() && uploaded.bytes == 0;
        if !should_resend_to_server(stream, &delivered, idle, whole) {
            if reused && should_close_client(client, &delivered) {
                stream
                    .outcome
                    .end(Termination::ServerAbort, StreamPhase::Headers);
                return Next::Close;
            }
            break delivered;
        }
        fresh = true;
        if let Some(begins) = begins {
            outgoing.body = begins;
        }
        match Box::pin(retry::anew(stream, slot)).await {
            Some(another) => (server, slot) = another,
            None => return unserved(client, stream, &outgoing).await,
        }
    };
    end(client, stream, outgoing, server, slot, delivered).await
}

/// Returns whether the request is sent to the same server again: because the server closed an idle
/// connection, or reports that it has not processed the request.
fn should_resend_to_server<T>(
    stream: &ProxyStream,
    delivered: &Result<T, Failure>,
    idle: bool,
    whole: bool,
) -> bool {
    match delivered {
        Err(Failure::ClosedEarly) => idle && is_harmless(stream),
        // Repeats a request with any method, because the server has not processed it, as long as
        // all of the request is still available.
        Err(Failure::Refused) => whole && stream.route.retries < server::retries(stream),
        _ => false,
    }
}

/// Returns whether the client's connection is closed because the server closed its connection. A
/// client expects that of a persistent connection and repeats the request, while an error page
/// would be final.
fn should_close_client<T>(client: &Client, delivered: &Result<T, Failure>) -> bool {
    let closed_early = matches!(delivered, Err(Failure::ClosedEarly));
    closed_early && client.streams > 0 && !client.link.is_http2()
}

#[inline(always)]
async fn end(
    client: &mut Client,
    stream: &mut ProxyStream,
    outgoing: Outgoing<'_>,
    server: ServerConnection,
    slot: ServerSlot,
    delivered: Result<Delivered, Failure>,
) -> Next {
    let next = match delivered {
        Ok(delivered) => done(client, stream, &outgoing, server, delivered, &slot).await,
        Err(failure) => {
            drop(server);
            let keep = outgoing.keep.is_yes() && outgoing.body.is_done() && !failure.is_clients();
            failed(client, stream, failure, keep).await
        }
    };
    // Releases the slot here, because a tunnel keeps it to the end.
    drop(slot);
    next
}

async fn unserved(client: &mut Client, stream: &mut ProxyStream, outgoing: &Outgoing<'_>) -> Next {
    let page = error_page(stream, 503);
    let may_keep = outgoing.keep.is_yes() && outgoing.body.is_done();
    match send::send(client, stream, page, may_keep).await {
        SendOutcome::Keeps => Next::Request,
        SendOutcome::Closes => Next::Linger,
        SendOutcome::Failed => Next::Close,
    }
}

/// Number of body bytes sent to the server, and number of these that are already counted.
#[derive(Default)]
struct Uploaded {
    bytes: u64,
    counted: u64,
}

impl Uploaded {
    fn add_to(&self, transfer: &mut Transfer) {
        transfer.bytes_in += self.bytes;
        transfer.counted_in += self.counted;
    }

    /// Subtracts the bytes of a body that is sent to a server again. The client sent them only
    /// once, so the counters must not include them twice.
    fn subtract_from(&self, transfer: &mut Transfer) {
        transfer.bytes_in -= self.bytes;
        transfer.counted_in -= self.counted;
    }
}

fn progress(times: &Times, outgoing: &Outgoing<'_>) -> Progress {
    match times.response {
        Some(_) => Progress::Answering,
        None if outgoing.body.is_done() => Progress::Sent,
        None => Progress::Sending,
    }
}

async fn once(
    client: &mut Client,
    stream: &mut ProxyStream,
    outgoing: &mut Outgoing<'_>,
    server: &mut ServerConnection,
    replay: &mut Replay,
    Uploaded { bytes, counted }: &mut Uploaded,
) -> Result<Delivered, Failure> {
    let mut head = reactor::scratch();
    match &server.link {
        PeerConnection::Http1(transport) => begin(stream, client, transport, outgoing, &mut head)?,
        PeerConnection::Http2(link) => send_head_when_ready(stream, link, outgoing).await?,
    }
    let server_ms = stream.server_ms();
    let Client { link, input, .. } = client;
    let watched = Watch::of(stream, link);
    let sent_at = Cell::new(reactor::now());
    let (again, mut kept) = replay.parts(stream);
    let incoming = answer::Incoming {
        client: link,
        watched,
        server: &server.link,
        input: &mut server.input,
        request: outgoing.request,
        keep: outgoing.keep,
        sent_at: &sent_at,
        again,
    };
    if outgoing.body.is_done() {
        if let PeerConnection::Http1(server) = &server.link {
            // Ignores a write error: the server may have sent a response before, which is read
            // next.
            let _ = write_all(server, &head, server_ms).await;
        }
        drop(head);
        sent_at.set(reactor::now());
        return answer::relay(stream, incoming).await;
    }
    let meter = Meter::of(stream);
    let mut coded = Coded::default();
    let mut copy = Copy {
        from: link,
        input,
        chunked: outgoing.needs_chunks() && !server.link.is_http2(),
        body: &mut outgoing.body,
        to: &server.link,
        read_ms: stream.client_ms(),
        write_ms: server_ms,
        bytes,
        meter: meter.as_ref().map(|meter| Counting {
            meter,
            tally: Tally::BytesIn,
            counted,
        }),
        sent_at: Some(&sent_at),
        kept: kept.as_mut(),
        encoder: outgoing.encoder.as_deref_mut().map(|encoder| Encoding {
            encoder,
            bytes: &mut coded,
        }),
        cache: None,
        drops_trailers: drops_trailers(stream),
    };
    let result = both(
        pin!(copy.run(&mut head)),
        pin!(answer::relay(stream, incoming)),
        &server.link,
    )
    .await;
    result.map_err(|failure| late(&stream.times, failure))
}

fn begin(
    stream: &ProxyStream,
    client: &Client,
    transport: &ConnectionTransport,
    outgoing: &Outgoing<'_>,
    head: &mut Vec<u8>,
) -> Result<(), Failure> {
    let chunked = outgoing.needs_chunks();
    if !transport.is_fastcgi() {
        http2::write_request(&stream.request, chunked, head);
        return Ok(());
    }
    let input = client.input.as_ref().map_or(&[][..], Buffer::filled);
    let came = chunked.then(|| outgoing.body.peek(&client.link, input));
    let came = came.filter(|came| came.whole && outgoing.encoder.is_none());
    let came = came.map(|came| came.bytes.len());
    Ok(fastcgi::begin(
        stream,
        transport,
        &outgoing.body,
        chunked,
        came,
    )?)
}

/// Converts the failure of an upload into one that happened after the response had begun.
fn late(times: &Times, failure: Failure) -> Failure {
    match failure {
        Failure::Upload(failure) if times.response.is_some() => Failure::LateUpload(failure),
        failure => failure,
    }
}

fn drops_trailers(stream: &ProxyStream) -> bool {
    let backend = stream.backend();
    backend.is_some_and(|backend| backend.has(ProxyOption::DropRequestTrailers))
}

/// Sends the request head to a server that speaks HTTP/2. An extended CONNECT waits until the
/// server has announced support for it.
async fn send_head_when_ready(
    stream: &ProxyStream,
    link: &MuxStream,
    outgoing: &Outgoing<'_>,
) -> Result<(), Failure> {
    let tunnel = tunnel_over_http2(stream, outgoing.request);
    if tunnel.is_some() && !takes_tunnels(link).await {
        return Err(Failure::Malformed);
    }
    ask(stream, link, outgoing)
}

/// Returns the upgrade to request from an HTTP/2 server. Rules may have removed it from the
/// request.
fn tunnel_over_http2(stream: &ProxyStream, request: &Parsed) -> Option<Upgrade> {
    let upgrade = request.upgrade?;
    http::websocket::protocol_of(&stream.request).map(|_| upgrade)
}

/// Returns whether an HTTP/2 server supports extended CONNECT. On a new connection, this waits for
/// the server's first SETTINGS frame, which reports it.
async fn takes_tunnels(server: &MuxStream) -> bool {
    let deadline = Some(reactor::now() + SETTINGS_TIMEOUT);
    let takes = reactor::with_deadline(deadline, server.takes_extended_connect()).await;
    takes.unwrap_or(false)
}

/// Timeout for the first SETTINGS of a server.
const SETTINGS_TIMEOUT: Duration = Duration::from_secs(2);

fn ask(stream: &ProxyStream, server: &MuxStream, outgoing: &Outgoing<'_>) -> Result<(), Failure> {
    let upgrade = tunnel_over_http2(stream, outgoing.request);
    let facts = stream.server_facts(upgrade);
    // Keeps the stream open if a tunnel is requested.
    let tunnel = facts.connect || upgrade.is_some();
    let end = outgoing.body.is_done() && !tunnel;
    let expected = Expected {
        facts,
        limits: answer::limits(stream),
    };
    server
        .send_request(&stream.request, expected, end)
        .map_err(|error| match error.kind() {
            io::ErrorKind::ConnectionRefused => Failure::Refused,
            // Treats a request that cannot be expressed in HTTP/2 like an invalid response.
            io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported => Failure::Malformed,
            _ => Failure::ClosedEarly,
        })
}

/// Sends the request body while the response is received. A failure on the client's side ends
/// both. If the response completes first and the server keeps its connection, the upload
/// continues, because the server may still be reading.
async fn both<U, A>(
    mut upload: Pin<&mut U>,
    mut answer: Pin<&mut A>,
    server: &PeerConnection,
) -> Result<Delivered, Failure>
where
    U: Future<Output = Result<(), BodyFailure>>,
    A: Future<Output = Result<Delivered, Failure>>,
{
    let mut uploading = true;
    let mut answered = None;
    poll_fn(|context| {
        if uploading && let Poll::Ready(result) = upload.as_mut().poll(context) {
            uploading = false;
            match result {
                Ok(()) => {}
                // Waits for the response, because the server may have responded early and closed
                // its side.
                Err(BodyFailure::WriteFailed | BodyFailure::WriteTimeout) => {}
                Err(failure) => return Poll::Ready(Err(Failure::Upload(failure))),
            }
        }
        if answered.is_none() {
            match answer.as_mut().poll(context) {
                Poll::Ready(Ok(delivered)) => answered = Some(delivered),
                failed_or_pending => return failed_or_pending,
            }
        }
        let Some(delivered) = answered else {
            return Poll::Pending;
        };
        if !uploading || !delivered.server_keeps {
            return Poll::Ready(Ok(delivered));
        }
        match server {
            PeerConnection::Http1(_) => Poll::Pending,
            // Ends when an HTTP/2 server has reset the stream, because that server does not need
            // the rest of the request (RFC 9113, section 8.1).
            PeerConnection::Http2(link) => link.poll_lost(context).map(|()| Ok(delivered)),
        }
    })
    .await
}

/// Sets the header fields that every request to a server gets, after all rules.
fn prepare_request(stream: &mut ProxyStream, outgoing: &Outgoing<'_>) {
    let request = outgoing.request;
    if matches!(outgoing.body, IncomingBody::Stream(None)) {
        // Removes the length that a rule may have set, which need not match the body.
        stream.request.remove(b"content-length");
    }
    forward::tell(stream);
    if has_request_rules(stream) && http1::take_close(&mut stream.request) {
        stream.rules.overrides_mut().closes_server = true;
    }
    let mode = match connection_mode(stream) {
        _ if stream.rules.closes_server() => ConnectionMode::Close,
        ConnectionMode::ServerClose if pretends(stream) => ConnectionMode::KeepAlive,
        mode => mode,
    };
    let header = http1::to_server(&stream.request, request, mode);
    // Ignores a full head: if rules have filled it, this field is missing; the framing does not
    // depend on it.
    let _ = header.add_to(&mut stream.request);
}

fn has_request_rules(stream: &ProxyStream) -> bool {
    let has_rules = |proxy: &Proxy| !proxy.http_request.is_empty() || proxy.lines.is_some();
    has_rules(stream.frontend()) || stream.backend().is_some_and(has_rules)
}

fn pretends(stream: &ProxyStream) -> bool {
    stream.frontend().has(ProxyOption::HttpPretendKeepAlive)
        || stream
            .backend()
            .is_some_and(|b| b.has(ProxyOption::HttpPretendKeepAlive))
}

/// Returns the stricter of the connection modes of frontend and backend.
pub(super) fn connection_mode(stream: &ProxyStream) -> ConnectionMode {
    let (frontend, backend) = (stream.frontend(), stream.backend());
    let has = |option| frontend.has(option) || backend.is_some_and(|b| b.has(option));
    if has(ProxyOption::HttpClose) {
        ConnectionMode::Close
    } else if has(ProxyOption::HttpServerClose) {
        ConnectionMode::ServerClose
    } else {
        ConnectionMode::KeepAlive
    }
}

async fn done(
    client: &mut Client,
    stream: &mut ProxyStream,
    outgoing: &Outgoing<'_>,
    mut server: ServerConnection,
    delivered: Delivered,
    slot: &ServerSlot,
) -> Next {
    if delivered.tunnel {
        let (up, down) = (client.input.take(), server.input.take());
        tunnel::carry(stream, &client.link, up, &server.link, down, slot).await;
        return Next::Close;
    }
    match delivered.challenge {
        Some(ConnectionChallenge::Token) => server.bind_to_client(Authentication::Challenged),
        Some(ConnectionChallenge::Offer) => server.bind_to_client(Authentication::Bound),
        None if server.authentication == Authentication::Challenged => {
            server.authentication = Authentication::Bound;
        }
        None => {}
    }
    let whole = outgoing.body.is_done();
    if let Some(backend) = stream.backend() {
        // Does not reuse a connection whose PROXY header has a unique ID, because the header
        // describes one stream only.
        let told_once = stream.server().is_some_and(|server| {
            server.options.send_proxy == Some(2) && server.options.proxy_extensions.unique_id
        });
        let keeps = connection_mode(stream) == ConnectionMode::KeepAlive && !told_once;
        // Keeps an HTTP/2 connection also after a failure, which ends only the stream.
        if !told_once && server.link.is_http2() || delivered.server_keeps && whole && keeps {
            // Reserves a connection to the target of `dispatch`, which carries streams of one
            // client only.
            let dispatched = backend
                .dispatch_server
                .is_some_and(|at| stream.route.server == Some(at));
            if server.private || dispatched || backend.reuse == ReuseMode::Never {
                let most = stream
                    .server()
                    .and_then(|described| described.options.reuse_max);
                let spent = most.is_some_and(|most| server.streams > most);
                if delivered.client_keeps && !spent && !server.carries_others() {
                    let connections_max = own_connections_max(client, stream);
                    client.private_connections.keep(server, connections_max);
                }
            } else if let Some(described) = stream.server() {
                server_connection::pools().put(server, &described.options);
            }
        } else if whole {
            // Closes the connection by a reset, because no more data follows. An orderly close
            // would keep the port of each connection in TIME_WAIT for a minute.
            server.link.abort_output();
        } else if backend.has(ProxyOption::NoLinger) {
            reset_when_delivered(&server.link);
        }
    }
    if delivered.client_keeps && whole {
        return Next::Request;
    }
    if whole { close(client) } else { Next::Linger }
}

/// Returns how many server connections may be reserved for a client (`max-session-srv-conns`).
fn own_connections_max(client: &Client, stream: &ProxyStream) -> u32 {
    let default = if client.link.is_http2() { 16 } else { 5 };
    stream.frontend().own_connections_max.unwrap_or(default)
}

async fn failed(
    client: &mut Client,
    stream: &mut ProxyStream,
    failure: Failure,
    may_keep: bool,
) -> Next {
    let (termination, phase, status) = failure.meaning();
    // Leaves the termination state to a rule that replies in place of the server.
    if !matches!(failure, Failure::Denied(_) | Failure::Rejected) {
        stream.outcome.end(termination, phase);
    }
    let malformed = match failure {
        Failure::Upload(BodyFailure::Malformed(at))
        | Failure::LateUpload(BodyFailure::Malformed(at)) => Some(at),
        _ => None,
    };
    if let (Some(at), Some(input)) = (malformed, &client.input) {
        super::capture::request(stream, input.filled(), at);
    }
    if failure.is_requests() {
        stream.frontend().state.count_frontend(Tally::RequestErrors);
    }
    if failure.is_servers() {
        tracking::answer_failure(stream);
        super::observe::failed(stream, &failure);
        let config = stream.config.clone();
        if let Some(backend) = stream.route.backend {
            config
                .proxy(backend)
                .state
                .count_backend(Tally::ResponseErrors);
        }
        if let Some(server) = stream.server() {
            server.state.count(Tally::ResponseErrors);
        }
    }
    let page = match (failure, status) {
        (Failure::Denied(page), _) => *page,
        (Failure::Rejected, _) => {
            if client.link.is_http2() {
                client.link.abort_output();
            }
            return Next::Close;
        }
        (_, Some(status)) => error_page(stream, status),
        (_, None) => return broken_off(client, stream),
    };
    match send::send(client, stream, page, may_keep).await {
        SendOutcome::Keeps => Next::Request,
        SendOutcome::Closes => Next::Linger,
        SendOutcome::Failed => Next::Close,
    }
}

/// Ends the client's connection in the middle of a response. If the framing shows that the
/// response is incomplete, an orderly close lets the client read what has arrived; otherwise only
/// a reset reveals it.
fn broken_off(client: &Client, stream: &ProxyStream) -> Next {
    let framed = stream.response.get(b"content-length").is_some()
        || stream.response.get(b"transfer-encoding").is_some();
    if stream.times.response.is_some() && (!framed || client.link.is_http2()) {
        client.link.abort_output();
    }
    Next::Close
}

/// Returns whether the request is idempotent. If the server closes an idle connection at the
/// moment when such a request is sent, it is sent again on a new connection.
fn is_harmless(stream: &ProxyStream) -> bool {
    is_idempotent(stream.request.method())
}

/// Returns whether a method is idempotent (RFC 9110, section 9.2.2).
pub(super) fn is_idempotent(method: &[u8]) -> bool {
    matches!(
        method,
        b"GET" | b"HEAD" | b"OPTIONS" | b"TRACE" | b"PUT" | b"DELETE"
    )
}
