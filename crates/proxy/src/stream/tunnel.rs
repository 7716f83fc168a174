//! Bytes both ways: TCP mode, and what follows an upgrade or CONNECT. Each
//! direction has back pressure (nothing is read while the other side takes
//! nothing) and ends by itself, so a half-closed connection stays usable.

use super::finish::finish;
use super::serve::{self, Establish};
use super::session::{Client, after};
use super::{Phase, Stream, Termination, new_stream};
use crate::config::{ProxyOption, Timeouts};
use crate::reactor::{Buffer, Instant, Socket, with_deadline};
use crate::rules::{self, Gate};
use crate::server_connection::ServerConnection;
use crate::state::Tally;
use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll};

/// One direction.
struct Half {
    buffer: Option<Buffer>,
    /// The sender has ended its side.
    ended: bool,
    /// That was passed on.
    shut: bool,
    bytes: u64,
}

impl Half {
    fn new(buffer: Option<Buffer>) -> Half {
        Half { buffer, ended: false, shut: false, bytes: 0 }
    }
}

/// Which side failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Side {
    From,
    To,
}

/// Moves what can be moved now. `moved` is set when anything was.
fn poll_half(
    half: &mut Half,
    from: &Socket,
    to: &Socket,
    context: &mut Context<'_>,
    moved: &mut bool,
) -> Result<(), Side> {
    loop {
        if let Some(buffer) = half.buffer.as_mut().filter(|b| !b.is_empty()) {
            match to.try_write(buffer.filled()) {
                Ok(n) => {
                    buffer.consume(n);
                    half.bytes += n as u64;
                    *moved = true;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if to.poll_writable(context).is_pending() {
                        return Ok(());
                    }
                }
                Err(_) => return Err(Side::To),
            }
            continue;
        }
        if half.ended {
            if !half.shut {
                half.buffer = None;
                let _ = to.shutdown_write();
                half.shut = true;
            }
            return Ok(());
        }
        if from.poll_readable(context).is_pending() {
            half.buffer = None;
            return Ok(());
        }
        let buffer = half.buffer.get_or_insert_with(Buffer::take);
        match buffer.read_from(from) {
            Ok(0) => half.ended = true,
            Ok(_) => *moved = true,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return Err(Side::From),
        }
    }
}

/// The two limits of a tunnel as they stand.
struct Limits {
    client: Option<Instant>,
    server: Option<Instant>,
}

impl Limits {
    fn moved(frontend: &Timeouts, backend: &Timeouts, up: &Half, down: &Half) -> Limits {
        let tunnel = backend.tunnel_ms.or(frontend.tunnel_ms);
        // A side that has ended its sending is given the shorter time.
        let client_fin = frontend.client_fin_ms.filter(|_| up.ended);
        let server_fin = backend.server_fin_ms.filter(|_| down.ended);
        Limits {
            client: after(client_fin.or(tunnel).or(frontend.client_ms)),
            server: after(server_fin.or(tunnel).or(backend.server_ms)),
        }
    }

    fn next(&self) -> Option<Instant> {
        match (self.client, self.server) {
            (Some(client), Some(server)) => Some(client.min(server)),
            (one, other) => one.or(other),
        }
    }
}

/// Carries bytes both ways until both sides have ended, one fails or one is
/// silent for too long. Counts into the stream.
pub async fn carry(
    stream: &mut Stream,
    client: &Socket,
    client_input: Option<Buffer>,
    server: &Socket,
    server_input: Option<Buffer>,
) {
    let frontend_timeouts = stream.frontend().timeouts;
    let backend_timeouts = stream.backend().map_or(frontend_timeouts, |b| b.timeouts);
    let (mut up, mut down) = (Half::new(client_input), Half::new(server_input));
    let mut limits = Limits::moved(&frontend_timeouts, &backend_timeouts, &up, &down);
    loop {
        let (before_up, before_down) = (up.bytes, down.bytes);
        let carried = with_deadline(
            limits.next(),
            poll_fn(|context| {
                let mut moved = false;
                if let Err(side) = poll_half(&mut up, client, server, context, &mut moved) {
                    return Poll::Ready(Err((side == Side::From, up.bytes)));
                }
                if let Err(side) = poll_half(&mut down, server, client, context, &mut moved) {
                    return Poll::Ready(Err((side == Side::To, up.bytes)));
                }
                if moved {
                    limits = Limits::moved(&frontend_timeouts, &backend_timeouts, &up, &down);
                }
                if up.shut && down.shut { Poll::Ready(Ok(())) } else { Poll::Pending }
            }),
        )
        .await;
        count(stream, up.bytes - before_up, down.bytes - before_down);
        match carried {
            Ok(Ok(())) => return,
            Ok(Err((client_failed, _))) => {
                stream.phase = Phase::Data;
                stream.termination =
                    if client_failed { Termination::ClientAbort } else { Termination::ServerAbort };
                return;
            }
            Err(_) => {
                let now = crate::reactor::now();
                if limits.client.is_some_and(|at| at <= now) {
                    stream.termination = Termination::ClientTimeout;
                } else if limits.server.is_some_and(|at| at <= now) {
                    stream.termination = Termination::ServerTimeout;
                } else {
                    // Bytes moved meanwhile, so the limits did too.
                    continue;
                }
                stream.phase = Phase::Data;
                return;
            }
        }
    }
}

/// Bytes that went through a tunnel.
fn count(stream: &mut Stream, up: u64, down: u64) {
    stream.bytes_in += up;
    stream.bytes_out += down;
}

/// A client's connection in TCP mode: one stream.
pub async fn serve(client: &mut Client) {
    let mut stream = new_stream(client.session.clone(), client.session.config.clone(), false);
    stream.times.idle_since = client.session.accepted;
    stream.times.request = Some(crate::reactor::now());
    let input = client.input.take();
    tcp(client, &mut stream, input).await;
    finish(stream);
}

async fn tcp(client: &mut Client, stream: &mut Stream, mut input: Option<Buffer>) {
    serve::count_stream(stream);
    if !inspect(client, stream, &mut input).await {
        return;
    }
    serve::choose_backend(stream);
    if stream.backend.is_none() {
        stream.termination = Termination::ServerAbort;
        stream.phase = Phase::Connect;
        stream.frontend().state.frontend.here().count(Tally::RequestErrors);
        return;
    }
    serve::enter_backend(stream);
    if stream.backend != Some(stream.frontend) && !inspect(client, stream, &mut input).await {
        return;
    }
    let established = serve::establish(stream, Establish::Fresh, &client.socket).await;
    let Ok((server, slot)) = established else { return };
    let ServerConnection { socket, input: server_input, .. } = server;
    carry(stream, &client.socket, input, &socket, server_input).await;
    if stream.backend().is_some_and(|b| b.has(ProxyOption::NoLinger)) {
        super::session::reset_when_delivered(&socket);
    }
    drop(socket);
    drop(slot);
}

/// Runs the content rules of the frontend, or of the backend once it is chosen,
/// reading what they need. Says whether the stream goes on.
async fn inspect(client: &mut Client, stream: &mut Stream, input: &mut Option<Buffer>) -> bool {
    let in_backend = stream.backend.is_some();
    let proxy = if in_backend { stream.backend() } else { Some(stream.frontend()) };
    let Some((has_rules, delay_ms)) = proxy.map(|p| (!p.tcp_content.is_empty(), p.inspect_delay_ms))
    else {
        return true;
    };
    if !has_rules {
        return true;
    }
    let deadline = after(Some(delay_ms.unwrap_or(0)));
    loop {
        if let Some(buffer) = input.as_ref().filter(|b| b.len() > stream.payload.len()) {
            stream.payload.clear();
            stream.payload.extend_from_slice(buffer.filled());
            stream.payload_complete |= buffer.len() >= buffer.capacity();
        }
        match rules::tcp_content(stream, in_backend) {
            Some(Gate::Open) => break,
            Some(gate) => {
                refuse(client, stream, gate);
                return false;
            }
            None => {}
        }
        let buffer = input.get_or_insert_with(Buffer::take);
        match with_deadline(deadline, client.socket.readable()).await {
            Err(_) => stream.payload_complete = true,
            Ok(()) => match buffer.read_from(&client.socket) {
                Ok(0) => stream.payload_complete = true,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => {
                    stream.termination = Termination::ClientAbort;
                    stream.phase = Phase::Request;
                    return false;
                }
            },
        }
    }
    stream.payload = Vec::new();
    stream.payload_complete = false;
    true
}

fn refuse(client: &Client, stream: &mut Stream, gate: Gate) {
    stream.termination = Termination::Proxy;
    stream.phase = Phase::Request;
    let frontend = stream.frontend();
    frontend.state.frontend.here().count(Tally::DeniedRequests);
    if gate == Gate::SilentDrop {
        serve::drop_silently(&client.socket);
    }
}
