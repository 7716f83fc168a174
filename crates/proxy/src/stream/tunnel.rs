//! Forwards bytes between client and server in both directions: in TCP mode, and after an HTTP
//! upgrade or CONNECT. Each direction has back pressure: nothing is read from a side while the
//! other side accepts nothing. Each direction ends by itself, so a half-closed connection stays
//! usable.

use super::meter::Meter;
use super::{ProxyStream, StreamPhase, Termination, backend, shutdown, splice};
use model::config::{Proxy, ProxyOption};
use model::queue::ServerSlot;
use model::state::Tally;
use mux::link::PeerConnection;
use reactor::{self, Buffer, Instant, Pipe, with_deadline};
use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll, ready};
use std::time::Duration;

/// A direction of a tunnel.
pub struct Half {
    pub buffer: Option<Buffer>,
    /// Replaces the buffer while bytes are in the pipe.
    pipe: Option<Pipe>,
    /// True if the last read was large, so that further data goes through a pipe.
    streaming: bool,
    pub ended: bool,
    shut: bool,
    pub bytes: u64,
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

    /// Returns whether this direction waits for its receiver.
    fn is_stuck(&self) -> bool {
        let buffered = self.buffer.as_ref();
        self.pipe.is_some() || buffered.is_some_and(|buffer| !buffer.is_empty())
    }

    /// Moves received bytes into a pipe. Returns false if none were moved; a normal read then
    /// finds the reason.
    fn fill(&mut self, from: &PeerConnection, to: &PeerConnection) -> io::Result<bool> {
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

    fn drain(&mut self, to: &PeerConnection) -> io::Result<()> {
        if let (Some(pipe), Some(to)) = (&mut self.pipe, to.plain()) {
            self.bytes += pipe.drain_to(to, false)? as u64;
        }
        self.pipe = self.pipe.take().filter(|pipe| !pipe.is_empty());
        Ok(())
    }

    /// Sends the contents of the buffer and the pipe; pending while the receiver accepts nothing.
    fn poll_send(
        &mut self,
        to: &PeerConnection,
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

    /// Returns whether this direction waits for its sender.
    fn is_hungry(&self) -> bool {
        !self.ended && !self.is_stuck()
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum TunnelSide {
    From,
    To,
}

#[derive(Clone, Copy, Default)]
struct Moved {
    read: bool,
    written: bool,
}

/// Forwards in one direction as much as possible without waiting.
fn poll_half(
    half: &mut Half,
    from: &PeerConnection,
    to: &PeerConnection,
    context: &mut Context<'_>,
) -> Result<Moved, TunnelSide> {
    let mut moved = Moved::default();
    loop {
        match half.poll_send(to, context, &mut moved) {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(_)) => return Err(TunnelSide::To),
            Poll::Pending => return Ok(moved),
        }
        // Flushes, because TLS may hold records that the socket did not accept.
        let flushed = match to.poll_flush(context) {
            Poll::Ready(Ok(())) => true,
            Poll::Ready(Err(_)) => return Err(TunnelSide::To),
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
        if half.streaming && half.fill(from, to).map_err(|_| TunnelSide::From)? {
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
                if reactor::has_many_ready_tasks(n) {
                    context.waker().wake_by_ref();
                    return Ok(moved);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return Err(TunnelSide::From),
        }
    }
}

/// Ends the sending to one side. Returns false while the socket has no space for the TLS message
/// that announces the end.
fn poll_shut(to: &PeerConnection, context: &mut Context<'_>) -> bool {
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

/// Inactivity timeout of one side of the tunnel.
struct Limit {
    usual: Option<u32>,
    /// Timeout that applies after the sending to this side has ended.
    fin: Option<u32>,
    last_sent: Instant,
    last_accepted: Instant,
    /// `option independent-streams`: sending and receiving are timed separately.
    independent: bool,
}

impl Limit {
    /// Restarts the timeout after this side has sent data (`gave`) or accepted data (`took`).
    fn moved(&mut self, gave: bool, took: bool) {
        if gave {
            self.last_sent = reactor::now();
        }
        if took {
            self.last_accepted = reactor::now();
        }
    }

    /// Returns when the timeout expires. None without a configured timeout, and while the tunnel
    /// waits for this side neither to send nor to accept data.
    fn at(&self, give: bool, take: bool, shut: bool) -> Option<Instant> {
        let ms = self
            .fin
            .filter(|_| shut)
            .or(self.usual)
            .filter(|_| give || take)?;
        let active = match (give, take) {
            (true, true) if self.independent => self.last_sent.min(self.last_accepted),
            (true, false) if self.independent => self.last_sent,
            (false, true) if self.independent => self.last_accepted,
            _ => self.last_sent.max(self.last_accepted),
        };
        Some(active + Duration::from_millis(u64::from(ms)))
    }
}

/// Both directions of a tunnel, and the timeouts of both sides.
pub struct Tunnel {
    /// From the client to the server.
    pub up: Half,
    /// From the server to the client.
    pub down: Half,
    client: Limit,
    server: Limit,
}

impl Tunnel {
    /// Creates a tunnel with the bytes already received from both sides.
    pub fn new(stream: &ProxyStream, up: Option<Buffer>, down: Option<Buffer>) -> Tunnel {
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
            last_sent: now,
            last_accepted: now,
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

    /// Forwards in both directions. Ready when both have ended or a side fails.
    fn poll(
        &mut self,
        client: &PeerConnection,
        server: &PeerConnection,
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
            Err(side) => return blame(side == TunnelSide::From),
        };
        let down = match poll_half(&mut self.down, server, client, context) {
            Ok(moved) => moved,
            Err(side) => return blame(side == TunnelSide::To),
        };
        self.client.moved(up.read, down.written);
        self.server.moved(down.read, up.written);
        if self.up.shut && self.down.shut {
            Poll::Ready(Ok(()))
        } else {
            Poll::Pending
        }
    }

    /// Forwards what the client sends. What the server sends is only buffered, up to the size of a
    /// buffer, so that rules can inspect it.
    ///
    /// # Errors
    ///
    /// The failure of a side, as the termination state of the stream.
    pub fn poll_held(
        &mut self,
        client: &PeerConnection,
        server: &PeerConnection,
        context: &mut Context<'_>,
    ) -> Result<(), Termination> {
        let up = poll_half(&mut self.up, client, server, context).map_err(|side| match side {
            TunnelSide::From => Termination::ClientAbort,
            TunnelSide::To => Termination::ServerAbort,
        })?;
        self.client.moved(up.read, false);
        self.server.moved(false, up.written);
        while !self.down.ended && server.poll_readable(context).is_ready() {
            let buffer = self.down.buffer.get_or_insert_with(Buffer::take);
            match server.read_into(buffer) {
                Ok(0) => self.down.ended = true,
                Ok(_) => self.server.moved(true, false),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // Stops reading when the buffer is full: the rules get no more bytes.
                Err(error) if error.kind() == io::ErrorKind::OutOfMemory => break,
                Err(_) => return Err(Termination::ServerAbort),
            }
        }
        if self.down.buffer.as_ref().is_some_and(Buffer::is_empty) {
            self.down.buffer = None;
        }
        Ok(())
    }

    fn deadlines(&self) -> Deadlines {
        let Tunnel {
            up,
            down,
            client,
            server,
        } = self;
        Deadlines {
            client: client.at(up.is_hungry(), down.is_stuck(), down.shut),
            server: server.at(down.is_hungry(), up.is_stuck(), up.shut),
        }
    }
}

/// Times at which the timeouts of the client and the server expire.
struct Deadlines {
    client: Option<Instant>,
    server: Option<Instant>,
}

impl Deadlines {
    fn overdue(&self) -> Option<Termination> {
        let now = reactor::now();
        let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        if is_due(self.client) {
            Some(Termination::ClientTimeout)
        } else if is_due(self.server) {
            Some(Termination::ServerTimeout)
        } else {
            None
        }
    }

    fn next(&self) -> Option<Instant> {
        [self.client, self.server].into_iter().flatten().min()
    }
}

/// Forwards bytes in both directions until both sides have ended, one fails or times out, or
/// the sessions of the server are shut down. The bytes are counted in the stream.
pub async fn carry(
    stream: &mut ProxyStream,
    client: &PeerConnection,
    client_input: Option<Buffer>,
    server: &PeerConnection,
    server_input: Option<Buffer>,
    slot: &ServerSlot,
) {
    let tunnel = Tunnel::new(stream, client_input, server_input);
    run(stream, client, server, slot, tunnel).await;
}

/// Variant of [`carry`] for a tunnel that exists already.
pub async fn run(
    stream: &mut ProxyStream,
    client: &PeerConnection,
    server: &PeerConnection,
    slot: &ServerSlot,
    mut tunnel: Tunnel,
) {
    let meter = Meter::of(stream);
    let mut counted = (0, 0);
    let ended = loop {
        if let Some(why) = slot.shutdown() {
            break Err(shutdown::termination(why));
        }
        // Forwards once before the wait, because the deadlines are known only then.
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
        let deadlines = tunnel.deadlines();
        if let Some(overdue) = deadlines.overdue() {
            break Err(overdue);
        }
        // Handles nothing after a wake-up, because the poll above handles every reason for it.
        let mut woken = false;
        let woken = poll_fn(|_| {
            if std::mem::replace(&mut woken, true) {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        });
        let _ = with_deadline(deadlines.next(), woken).await;
    };
    stream.transfer.bytes_in += tunnel.up.bytes;
    stream.transfer.bytes_out += tunnel.down.bytes;
    stream.transfer.counted_in += counted.0;
    stream.transfer.counted_out += counted.1;
    let Err(termination) = ended else { return };
    stream.outcome.phase = match termination {
        Termination::ServerDown | Termination::ServerUp | Termination::Killed if !stream.http => {
            StreamPhase::Done
        }
        _ => StreamPhase::Data,
    };
    stream.outcome.termination = termination;
    match termination {
        // Resets the connection to the other side, so that an abort does not look like an orderly
        // end.
        Termination::ClientAbort => server.abort_output(),
        Termination::ServerAbort => backend::count_at_server(stream, Tally::ResponseErrors),
        _ => {}
    }
}
