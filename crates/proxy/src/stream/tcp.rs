//! Serves a client's connection in TCP mode, which carries one stream. Content rules inspect the
//! first bytes, then a tunnel forwards all of them.

use super::finish::finish;
use super::server::{self, Establish};
use super::session::{Client, drop_silently};
use super::tunnel::{self, Tunnel};
use super::watch::{self, Watch, unless_gone};
use super::{
    ProxyStream, StreamPhase, Termination, backend, new_stream, send, shutdown, slot, upgrade,
};
use crate::persistence;
use crate::server_connection::ServerConnection;
use model::config::{HttpProtocol, Mode, ProxyOption};
use model::log;
use model::queue::ServerSlot;
use model::rules::{self, ContentVerdict, Gate};
use model::state::Tally;
use model::tracking::stick;
use model::transaction::listing;
use mux::link::{PeerConnection, write_all};
use reactor::{self, Buffer, after, pool_box, with_deadline};
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::task::Poll;

pub async fn serve(client: &mut Client) {
    let mut stream = new_stream(client.session.clone(), false);
    listing::begin(&stream);
    stream.times.idle_since = client.session.accepted;
    stream.times.request = Some(reactor::now());
    log::stream_began(&stream);
    let mut input = client.input.take();
    match judge(client, &mut stream, &mut input).await {
        Judged::Http(_) if client.session.bind().stays_raw => {
            stream
                .outcome
                .end(Termination::Internal, StreamPhase::Request);
        }
        Judged::Tunnel => tcp(client, &mut stream, input).await,
        Judged::Over => discard_input(&client.link, input),
        Judged::Http(protocol) => {
            client.input = input;
            return pool_box(upgrade::serve(client, stream, protocol)).await;
        }
    }
    finish(stream);
}

/// Time for which content rules wait for more bytes in a trace, milliseconds. All bytes of a trace
/// arrive at once.
const ASKED_MS: u32 = 500;

enum Judged {
    Tunnel,
    Over,
    /// The connection turned out to use HTTP, in this version if one is given.
    Http(Option<HttpProtocol>),
}

async fn judge(
    client: &mut Client,
    stream: &mut ProxyStream,
    input: &mut Option<Buffer>,
) -> Judged {
    match inspect(client, stream, input).await {
        Gate::Open => {}
        Gate::SwitchToHttp(protocol) => return Judged::Http(protocol),
        _ => return Judged::Over,
    }
    backend::choose(stream);
    let Some(backend) = stream.backend() else {
        stream
            .outcome
            .end(Termination::ServerAbort, StreamPhase::Connect);
        return Judged::Over;
    };
    if backend.mode == Mode::Http {
        stream.rules.overrides_mut().backend = stream.route.backend.take();
        return Judged::Http(None);
    }
    backend::enter(stream);
    persistence::enter(stream);
    if stream.route.backend == Some(stream.route.frontend) {
        return Judged::Tunnel;
    }
    match inspect(client, stream, input).await {
        Gate::Open => Judged::Tunnel,
        _ => Judged::Over,
    }
}

/// Runs the content rules of the frontend, or of the backend once it is chosen, and reads the data
/// that they need. Any result but open and the switch to HTTP ends the stream.
async fn inspect(
    client: &mut Client,
    stream: &mut ProxyStream,
    input: &mut Option<Buffer>,
) -> Gate {
    let gate = run_content_rules(client, stream, input).await;
    if !matches!(gate, Gate::Open | Gate::SwitchToHttp(_)) {
        // Counts bytes that are never forwarded, so that the connection does not count as one
        // without data (`option dontlognull`).
        stream.transfer.bytes_in += input.as_ref().map_or(0, |buffer| buffer.len() as u64);
    }
    gate
}

async fn run_content_rules(
    client: &mut Client,
    stream: &mut ProxyStream,
    input: &mut Option<Buffer>,
) -> Gate {
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
    let delay_ms = delay_ms.unwrap_or(0);
    let deadline = after(Some(if stream.session.is_traced() {
        delay_ms.min(ASKED_MS)
    } else {
        delay_ms
    }));
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
            ContentVerdict::Decided(Gate::Open) => break,
            ContentVerdict::Decided(gate @ Gate::SwitchToHttp(_)) => return gate,
            ContentVerdict::Decided(gate) => {
                refuse(client, stream, gate);
                return gate;
            }
            ContentVerdict::Wait(wait) => {
                if watch::await_rule(stream, &client.link, wait).await {
                    continue;
                }
                return Gate::Reject;
            }
            ContentVerdict::NeedMore => {}
        }
        let buffer = input.get_or_insert_with(Buffer::take);
        match with_deadline(deadline, client.link.readable()).await {
            Err(_) => stream.payloads.request_complete = true,
            Ok(()) => match client.link.read_into(buffer) {
                Ok(0) => stream.payloads.request_complete = true,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => {
                    stream
                        .outcome
                        .end(Termination::ClientAbort, StreamPhase::Request);
                    return Gate::Reject;
                }
            },
        }
    }
    // Marks the buffered data as complete for the rules that choose the backend and the server.
    stream.payloads.request_complete = true;
    Gate::Open
}

fn refuse(client: &Client, stream: &mut ProxyStream, gate: Gate) {
    stream.outcome.end(Termination::Proxy, StreamPhase::Request);
    let frontend = stream.frontend();
    frontend.state.count_frontend(Tally::DeniedRequests);
    if let Gate::SilentDrop(ttl) = gate {
        drop_silently(&client.link, ttl);
    }
}

async fn tcp(client: &mut Client, stream: &mut ProxyStream, input: Option<Buffer>) {
    slot::find_own_server(stream);
    let watched = Watch::of(stream, &client.link);
    let established = unless_gone(watched, pin!(server::establish(stream, Establish::FRESH))).await;
    let (server, slot) = match established {
        Some(Ok(established)) => established,
        Some(Err(_)) => return discard_input(&client.link, input),
        None => {
            watch::abandoned(stream);
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
        tunnel::carry(stream, &client.link, input, &link, server_input, &slot).await;
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

/// Waits until the task is woken.
async fn next_event() {
    let mut woken = false;
    poll_fn(|_| {
        if std::mem::replace(&mut woken, true) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
}

/// Applies the `tcp-response content` rules to the first bytes of the server before the client
/// gets them. Forwards the bytes if the rules accept them.
async fn inspect_answer(
    stream: &mut ProxyStream,
    client: &PeerConnection,
    server: &PeerConnection,
    slot: &ServerSlot,
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
            stream.outcome.end(termination, StreamPhase::Data);
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
        if with_deadline(deadline, next_event()).await.is_err() {
            stream.payloads.response_complete = true;
        }
    };
    send::mark_packets(stream, client);
    match gate {
        Gate::Open | Gate::SwitchToHttp(_) => {
            tunnel::run(stream, client, server, slot, tunnel).await
        }
        Gate::CloseServer => {
            // Resets the server's connection; the client still gets what has arrived.
            server.abort_output();
            stream.transfer.bytes_in += tunnel.up.bytes;
            if let (Some(transport), Some(buffer)) = (client.transport(), &tunnel.down.buffer) {
                let sent = write_all(transport, buffer.filled(), stream.client_ms()).await;
                if sent.is_ok() {
                    stream.transfer.bytes_out += buffer.len() as u64;
                }
            }
        }
        Gate::Reject | Gate::SilentDrop(_) => {
            stream.transfer.bytes_in += tunnel.up.bytes;
            // Counts bytes of the server that the client never got.
            stream.transfer.bytes_out += stream.payloads.response.len() as u64;
            super::inspect::refused(stream, gate);
            if let Gate::SilentDrop(ttl) = gate {
                drop_silently(client, ttl);
            }
        }
    }
}

/// Reads input that has arrived already. The kernel would send a reset if unread input were left
/// at the close, and the client would not see an orderly end.
fn discard_input(client: &PeerConnection, input: Option<Buffer>) {
    let mut buffer = input.unwrap_or_else(Buffer::take);
    // Ends at the latest when the buffer is full.
    while matches!(client.read_into(&mut buffer), Ok(read) if read > 0) {}
}
