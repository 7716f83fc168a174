//! Bytes both ways: TCP mode, and what follows an upgrade or CONNECT. Each
//! direction has back pressure (nothing is read while the other side takes
//! nothing) and ends by itself, so a half-closed connection stays usable.

use super::finish::finish;
use super::meter::Meter;
use super::serve::{self, Establish};
use super::session::Client;
use super::{Phase, Stream, Termination, new_stream, send, shutdown, splice, upgrade};
use crate::persistence;
use crate::server_connection::ServerConnection;
use model::config::{HttpProtocol, Mode, Proxy, ProxyOption};
use model::log;
use model::queue::Slot;
use model::rules::{self, Content, Gate};
use model::state::Tally;
use model::tracking::stick;
use mux::link::{Link, write_all};
use reactor::{self, Buffer, Instant, Pipe, after, pool_box, with_deadline};
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

/// One direction.
struct Half {
    buffer: Option<Buffer>,
    /// In place of a buffer, while bytes are in it.
    pipe: Option<Pipe>,
    /// Much came at once: more of it goes through a pipe.
    streaming: bool,
    /// The sender has ended its side.
    ended: bool,
    /// That was passed on.
    shut: bool,
    bytes: u64,
}

impl Half {
    fn new(buffer: Option<Buffer>) -> Half {
        Half {
            buffer,
            pipe: None,
            streaming: false,
            ended: false,
            shut: false,
            bytes: 0,
        }
    }

    /// Whether the receiver is waited for.
    fn is_stuck(&self) -> bool {
        let buffered = self.buffer.as_ref();
        self.pipe.is_some() || buffered.is_some_and(|buffer| !buffer.is_empty())
    }

    /// Takes what has come into a pipe. False where nothing went into it, and a
    /// read says what there is.
    fn fill(&mut self, from: &Link, to: &Link) -> io::Result<bool> {
        let Some((from, _)) = splice::sockets(from, to) else {
            return Ok(false);
        };
        let Some(mut pipe) = Pipe::take() else {
            return Ok(false);
        };
        match pipe.fill_from(from, splice::PIECE_MAX) {
            Ok(n) => {
                self.streaming = n >= splice::PIECE_MIN;
                self.pipe = Some(pipe).filter(|_| n > 0);
                Ok(n > 0)
            }
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::InvalidInput => Ok(false),
                _ => Err(error),
            },
        }
    }

    /// Passes on what is in the pipe.
    fn drain(&mut self, to: &Link) -> io::Result<()> {
        if let (Some(pipe), Some(to)) = (&mut self.pipe, to.plain()) {
            self.bytes += pipe.drain_to(to, false)? as u64;
        }
        self.pipe = self.pipe.take().filter(|pipe| !pipe.is_empty());
        Ok(())
    }

    /// Sends what it holds, in the buffer and in the pipe; pending while the receiver has
    /// no room.
    fn poll_send(
        &mut self,
        to: &Link,
        context: &mut Context<'_>,
        moved: &mut Moved,
    ) -> Poll<io::Result<()>> {
        loop {
            let sent = match &mut self.buffer {
                Some(buffer) if !buffer.is_empty() => to.try_write(buffer.filled()).map(|n| {
                    buffer.consume(n);
                    self.bytes += n as u64;
                }),
                _ if self.pipe.is_some() => self.drain(to),
                _ => return Poll::Ready(Ok(())),
            };
            match sent {
                Ok(()) => moved.written = true,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    ready!(to.poll_writable(context));
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// Whether the sender is waited for.
    fn is_hungry(&self) -> bool {
        !self.ended && !self.is_stuck()
    }
}

/// Which side failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Side {
    From,
    To,
}

/// What one look at a direction has moved.
#[derive(Clone, Copy, Default)]
struct Moved {
    read: bool,
    written: bool,
}

/// Moves what can be moved now.
fn poll_half(
    half: &mut Half,
    from: &Link,
    to: &Link,
    context: &mut Context<'_>,
) -> Result<Moved, Side> {
    let mut moved = Moved::default();
    loop {
        match half.poll_send(to, context, &mut moved) {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(_)) => return Err(Side::To),
            Poll::Pending => return Ok(moved),
        }
        // TLS may hold records that the socket did not take.
        let flushed = match to.poll_flush(context) {
            Poll::Ready(Ok(())) => true,
            Poll::Ready(Err(_)) => return Err(Side::To),
            Poll::Pending => false,
        };
        if half.ended {
            if !half.shut && !flushed {
                return Ok(moved);
            }
            if !half.shut {
                half.buffer = None;
                if !poll_shut(to, context) {
                    return Ok(moved);
                }
                half.shut = true;
                moved.written = true;
            }
            return Ok(moved);
        }
        if !flushed || from.poll_readable(context).is_pending() {
            half.buffer = None;
            return Ok(moved);
        }
        if half.streaming && half.fill(from, to).map_err(|_| Side::From)? {
            moved.read = true;
            continue;
        }
        let buffer = half.buffer.get_or_insert_with(Buffer::take);
        match from.read_into(buffer) {
            Ok(0) => {
                half.ended = true;
                moved.read = true;
            }
            Ok(n) => {
                moved.read = true;
                half.streaming = n >= splice::PIECE_MIN;
                if reactor::crowded(n) {
                    context.waker().wake_by_ref();
                    return Ok(moved);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return Err(Side::From),
        }
    }
}

/// Ends our sending to one side; false while there is no room even for that.
fn poll_shut(to: &Link, context: &mut Context<'_>) -> bool {
    loop {
        match to.shutdown_write() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if to.poll_writable(context).is_pending() {
                    return false;
                }
            }
            Ok(()) | Err(_) => return true,
        }
    }
}

/// How long one side may be silent.
struct Limit {
    /// Usually, milliseconds.
    usual: Option<u32>,
    /// Once we have ended our sending to it.
    fin: Option<u32>,
    /// When it last gave something.
    gave: Instant,
    /// When it last took something.
    took: Instant,
    /// `option independent-streams`: giving and taking are timed apart.
    independent: bool,
}

impl Limit {
    /// It gave or took something.
    fn moved(&mut self, gave: bool, took: bool) {
        if gave {
            self.gave = reactor::now();
        }
        if took {
            self.took = reactor::now();
        }
    }

    /// Until when it may be silent: while it is waited for to give or to take.
    fn at(&self, give: bool, take: bool, shut: bool) -> Option<Instant> {
        let ms = self
            .fin
            .filter(|_| shut)
            .or(self.usual)
            .filter(|_| give || take)?;
        let active = match (give, take) {
            (true, true) if self.independent => self.gave.min(self.took),
            (true, false) if self.independent => self.gave,
            (false, true) if self.independent => self.took,
            _ => self.gave.max(self.took),
        };
        Some(active + Duration::from_millis(u64::from(ms)))
    }
}

/// Both directions of a tunnel, and the limits of both sides.
struct Tunnel {
    up: Half,
    down: Half,
    client: Limit,
    server: Limit,
}

impl Tunnel {
    fn new(stream: &Stream, up: Option<Buffer>, down: Option<Buffer>) -> Tunnel {
        let frontend = &stream.frontend().timeouts;
        let backend = stream
            .backend()
            .map_or(frontend, |backend| &backend.timeouts);
        let tunnel = stream.tunnel_ms();
        let now = reactor::now();
        let has = |proxy: &Proxy| proxy.has(ProxyOption::IndependentStreams);
        let limit = |usual, fin, independent| Limit {
            usual: tunnel.or(usual),
            fin,
            gave: now,
            took: now,
            independent,
        };
        let of_server = stream.backend().is_some_and(has);
        Tunnel {
            up: Half::new(up),
            down: Half::new(down),
            client: limit(
                stream.client_ms(),
                frontend.client_fin_ms,
                has(stream.frontend()),
            ),
            server: limit(stream.server_ms(), backend.server_fin_ms, of_server),
        }
    }

    /// Moves what can be moved. Ready at the end of both directions, or when a
    /// side fails.
    fn poll(
        &mut self,
        client: &Link,
        server: &Link,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), Termination>> {
        let blame = |client_failed| {
            let side = if client_failed {
                Termination::ClientAbort
            } else {
                Termination::ServerAbort
            };
            Poll::Ready(Err(side))
        };
        let up = match poll_half(&mut self.up, client, server, context) {
            Ok(moved) => moved,
            Err(side) => return blame(side == Side::From),
        };
        let down = match poll_half(&mut self.down, server, client, context) {
            Ok(moved) => moved,
            Err(side) => return blame(side == Side::To),
        };
        self.client.moved(up.read, down.written);
        self.server.moved(down.read, up.written);
        if self.up.shut && self.down.shut {
            Poll::Ready(Ok(()))
        } else {
            Poll::Pending
        }
    }

    /// Until when the client and the server may be silent.
    fn limits(&self) -> (Option<Instant>, Option<Instant>) {
        let Tunnel {
            up,
            down,
            client,
            server,
        } = self;
        (
            client.at(up.is_hungry(), down.is_stuck(), down.shut),
            server.at(down.is_hungry(), up.is_stuck(), up.shut),
        )
    }
}

/// Who has been silent for too long, by what [`Tunnel::limits`] says.
fn overdue(limits: (Option<Instant>, Option<Instant>)) -> Option<Termination> {
    let now = reactor::now();
    match limits {
        (Some(at), _) if at <= now => Some(Termination::ClientTimeout),
        (_, Some(at)) if at <= now => Some(Termination::ServerTimeout),
        _ => None,
    }
}

/// Carries bytes both ways until both sides have ended, one fails or is silent
/// for too long, or the sessions of the server are shut down. Counts into the
/// stream.
pub async fn carry(
    stream: &mut Stream,
    client: &Link,
    client_input: Option<Buffer>,
    server: &Link,
    server_input: Option<Buffer>,
    slot: &Slot,
) {
    let tunnel = Tunnel::new(stream, client_input, server_input);
    run(stream, client, server, slot, tunnel).await;
}

async fn run(stream: &mut Stream, client: &Link, server: &Link, slot: &Slot, mut tunnel: Tunnel) {
    let meter = Meter::of(stream);
    let mut counted = (0, 0);
    let ended = loop {
        if let Some(why) = slot.shutdown() {
            break Err(shutdown::termination(why));
        }
        // Moved first: what is waited for is known only then.
        let first = poll_fn(|context| Poll::Ready(tunnel.poll(client, server, context))).await;
        if let Some(meter) = &meter {
            let (up, down) = (tunnel.up.bytes, tunnel.down.bytes);
            meter.count(Tally::BytesIn, up - counted.0);
            meter.count(Tally::BytesOut, down - counted.1);
            counted = (up, down);
        }
        if let Poll::Ready(ended) = first {
            break ended;
        }
        let limits = tunnel.limits();
        if let Some(overdue) = overdue(limits) {
            break Err(overdue);
        }
        let next = match limits {
            (Some(client), Some(server)) => Some(client.min(server)),
            (one, other) => one.or(other),
        };
        // Whatever wakes the task is looked at above.
        let mut woken = false;
        let woken = poll_fn(|_| {
            if std::mem::replace(&mut woken, true) {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        });
        let _ = with_deadline(next, woken).await;
    };
    stream.transfer.bytes_in += tunnel.up.bytes;
    stream.transfer.bytes_out += tunnel.down.bytes;
    stream.transfer.counted.0 += counted.0;
    stream.transfer.counted.1 += counted.1;
    let Err(termination) = ended else { return };
    stream.outcome.phase = match termination {
        Termination::ServerDown | Termination::ServerUp | Termination::Killed if !stream.http => {
            Phase::Done
        }
        _ => Phase::Data,
    };
    stream.outcome.termination = termination;
    match termination {
        // Who is left learns that it was no orderly end.
        Termination::ClientAbort => server.break_off(),
        Termination::ServerAbort => serve::count_at_server(stream, Tally::ResponseErrors),
        _ => {}
    }
}

impl Tunnel {
    /// Moves what the client sends, and takes what the server sends without passing
    /// it on, as much as a buffer holds.
    fn poll_held(
        &mut self,
        client: &Link,
        server: &Link,
        context: &mut Context<'_>,
    ) -> Result<(), Termination> {
        let up = poll_half(&mut self.up, client, server, context).map_err(|side| match side {
            Side::From => Termination::ClientAbort,
            Side::To => Termination::ServerAbort,
        })?;
        self.client.moved(up.read, false);
        self.server.moved(false, up.written);
        while !self.down.ended && server.poll_readable(context).is_ready() {
            let buffer = self.down.buffer.get_or_insert_with(Buffer::take);
            match server.read_into(buffer) {
                Ok(0) => self.down.ended = true,
                Ok(_) => self.server.moved(true, false),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // Full: there is no more to look at.
                Err(error) if error.kind() == io::ErrorKind::OutOfMemory => break,
                Err(_) => return Err(Termination::ServerAbort),
            }
        }
        if self.down.buffer.as_ref().is_some_and(Buffer::is_empty) {
            self.down.buffer = None;
        }
        Ok(())
    }
}

/// Lets the rules of `tcp-response content` look at what the server sends before
/// the client gets it; then carries on, if they let it pass.
async fn inspect_answer(
    stream: &mut Stream,
    client: &Link,
    server: &Link,
    slot: &Slot,
    mut tunnel: Tunnel,
) {
    let delay_ms = stream.backend().and_then(|b| b.response_delay_ms);
    let deadline = after(delay_ms);
    stream.payloads.response_complete = delay_ms.is_none();
    let gate = loop {
        if let Some(why) = slot.shutdown() {
            stream.outcome.termination = shutdown::termination(why);
            stream.transfer.bytes_in += tunnel.up.bytes;
            return;
        }
        let moved = poll_fn(|context| Poll::Ready(tunnel.poll_held(client, server, context))).await;
        if let Err(termination) = moved {
            stream.transfer.bytes_in += tunnel.up.bytes;
            stream.outcome.end(termination, Phase::Data);
            return;
        }
        let held = tunnel.down.buffer.as_ref();
        let bytes = held.map_or(&[][..], Buffer::filled);
        if bytes.len() > stream.payloads.response.len() {
            stream.payloads.response.clear();
            stream.payloads.response.extend_from_slice(bytes);
        }
        let full = held.is_some_and(|buffer| buffer.len() >= buffer.capacity());
        stream.payloads.response_complete |= full || tunnel.down.ended;
        match rules::tcp_response(stream) {
            Some(gate) => break gate,
            None if stream.payloads.response_complete => break Gate::Open,
            None => {}
        }
        let mut woken = false;
        let woken = poll_fn(|_| match std::mem::replace(&mut woken, true) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        });
        if with_deadline(deadline, woken).await.is_err() {
            stream.payloads.response_complete = true;
        }
    };
    send::mark_packets(stream, client);
    match gate {
        Gate::Open | Gate::SwitchToHttp(_) => run(stream, client, server, slot, tunnel).await,
        Gate::CloseServer => {
            // The client gets what came.
            server.break_off();
            stream.transfer.bytes_in += tunnel.up.bytes;
            if let (Some(transport), Some(buffer)) = (client.transport(), &tunnel.down.buffer) {
                let sent = write_all(transport, buffer.filled(), stream.client_ms()).await;
                if sent.is_ok() {
                    stream.transfer.bytes_out += buffer.len() as u64;
                }
            }
        }
        Gate::Reject | Gate::SilentDrop => {
            stream.transfer.bytes_in += tunnel.up.bytes;
            // What came of the server counts, though the client never got it.
            stream.transfer.bytes_out += stream.payloads.response.len() as u64;
            super::inspect::refused(stream, gate);
            if gate == Gate::SilentDrop {
                serve::drop_silently(client);
            }
        }
    }
}

/// A client's connection in TCP mode: one stream.
pub async fn serve(client: &mut Client) {
    let mut stream = new_stream(client.session.clone(), false);
    model::transaction::listing::begin(&stream);
    stream.times.idle_since = client.session.accepted;
    stream.times.request = Some(reactor::now());
    log::stream_began(&stream);
    let mut input = client.input.take();
    match judge(client, &mut stream, &mut input).await {
        Judged::Http(_) if client.session.bind().stays_raw => {
            stream.outcome.end(Termination::Internal, Phase::Request);
        }
        Judged::Tunnel => tcp(client, &mut stream, input).await,
        Judged::Over => swallow(&client.link, input),
        Judged::Http(protocol) => {
            client.input = input;
            return pool_box(upgrade::serve(client, stream, protocol)).await;
        }
    }
    finish(stream);
}

/// Reads what has come already: the kernel answers a close over unread input with a
/// reset, and the client would not see an orderly end.
fn swallow(client: &Link, input: Option<Buffer>) {
    let mut buffer = input.unwrap_or_else(Buffer::take);
    // Ends at the latest when the buffer is full.
    while matches!(client.read_into(&mut buffer), Ok(read) if read > 0) {}
}

/// What rules of content make of a connection.
enum Judged {
    /// Its bytes are carried.
    Tunnel,
    /// It ends.
    Over,
    /// It speaks HTTP, in this version if one is said.
    Http(Option<HttpProtocol>),
}

/// The rules of content, and the choice of the backend between those of both sides.
async fn judge(client: &mut Client, stream: &mut Stream, input: &mut Option<Buffer>) -> Judged {
    match inspect(client, stream, input).await {
        Gate::Open => {}
        Gate::SwitchToHttp(protocol) => return Judged::Http(protocol),
        _ => return Judged::Over,
    }
    serve::choose_backend(stream);
    let Some(backend) = stream.backend() else {
        stream.outcome.end(Termination::ServerAbort, Phase::Connect);
        return Judged::Over;
    };
    if backend.mode == Mode::Http {
        stream.overridden().backend = stream.route.backend.take();
        return Judged::Http(None);
    }
    serve::enter_backend(stream);
    persistence::enter(stream);
    if stream.route.backend == Some(stream.route.frontend) {
        return Judged::Tunnel;
    }
    match inspect(client, stream, input).await {
        Gate::Open => Judged::Tunnel,
        _ => Judged::Over,
    }
}

async fn tcp(client: &mut Client, stream: &mut Stream, input: Option<Buffer>) {
    serve::find_own_server(stream);
    let watched = serve::watched(stream, &client.link);
    let established =
        serve::unless_gone(watched, pin!(serve::establish(stream, Establish::FRESH))).await;
    let (server, slot) = match established {
        Some(Ok(established)) => established,
        Some(Err(_)) => return swallow(&client.link, input),
        None => {
            serve::abandoned(stream);
            return;
        }
    };
    let ServerConnection {
        link,
        input: server_input,
        ..
    } = server;
    stream.payloads.request = Vec::new();
    stream.payloads.request_complete = false;
    stick::answer(stream);
    log::stream_answered(stream);
    let inspected = stream.backend().is_some_and(|b| !b.tcp_response.is_empty());
    if inspected {
        let tunnel = Tunnel::new(stream, input, server_input);
        inspect_answer(stream, &client.link, &link, &slot, tunnel).await;
    } else {
        carry(stream, &client.link, input, &link, server_input, &slot).await;
    }
    if stream
        .backend()
        .is_some_and(|b| b.has(ProxyOption::NoLinger))
    {
        super::session::reset_when_delivered(&link);
    }
    drop(link);
    drop(slot);
}

/// Runs the content rules of the frontend, or of the backend once it is chosen,
/// reading what they need. Any gate but those that are open is the stream's end,
/// and was told.
async fn inspect(client: &mut Client, stream: &mut Stream, input: &mut Option<Buffer>) -> Gate {
    let in_backend = stream.route.backend.is_some();
    let proxy = if in_backend {
        stream.backend()
    } else {
        Some(stream.frontend())
    };
    let Some((has_rules, delay_ms)) =
        proxy.map(|p| (!p.tcp_content.is_empty(), p.inspect_delay_ms))
    else {
        return Gate::Open;
    };
    if !has_rules {
        return Gate::Open;
    }
    let deadline = after(Some(delay_ms.unwrap_or(0)));
    stream.payloads.request_complete = false;
    loop {
        if let Some(buffer) = input
            .as_ref()
            .filter(|b| b.len() > stream.payloads.request.len())
        {
            stream.payloads.request.clear();
            stream.payloads.request.extend_from_slice(buffer.filled());
            stream.payloads.request_complete |= buffer.len() >= buffer.capacity();
        }
        match rules::tcp_content(stream, in_backend) {
            Content::Decided(Gate::Open) => break,
            Content::Decided(gate @ Gate::SwitchToHttp(_)) => return gate,
            Content::Decided(gate) => {
                refuse(client, stream, gate);
                return gate;
            }
            Content::Wait(wait) => {
                if serve::await_rule(stream, &client.link, wait).await {
                    continue;
                }
                return Gate::Reject;
            }
            Content::NeedMore => {}
        }
        let buffer = input.get_or_insert_with(Buffer::take);
        match with_deadline(deadline, client.link.readable()).await {
            Err(_) => stream.payloads.request_complete = true,
            Ok(()) => match client.link.read_into(buffer) {
                Ok(0) => stream.payloads.request_complete = true,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => {
                    stream.outcome.end(Termination::ClientAbort, Phase::Request);
                    return Gate::Reject;
                }
            },
        }
    }
    // It stays for the choice of the backend and of the server.
    stream.payloads.request_complete = true;
    Gate::Open
}

fn refuse(client: &Client, stream: &mut Stream, gate: Gate) {
    stream.outcome.end(Termination::Proxy, Phase::Request);
    let frontend = stream.frontend();
    frontend.state.frontend.here().count(Tally::DeniedRequests);
    if gate == Gate::SilentDrop {
        serve::drop_silently(&client.link);
    }
}
