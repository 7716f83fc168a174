//! Holds back a response while rules wait for its body (`http-response wait-for-body`) or for the
//! result of an action. The body stays in the input buffer. Rules see a copy of at most the size
//! of that buffer.

use super::ProxyStream;
use super::answer::Failure;
use super::body::IncomingBody;
use super::watch::{Watch, unless_gone};
use model::rules::MessageVerdict;
use mux::link::PeerConnection;
use reactor::after;
use reactor::{self, Buffer, with_deadline};
use std::io;
use std::pin::pin;

pub(super) struct ResponseSource<'o> {
    pub server: &'o PeerConnection,
    /// Detects that the client disconnects, if that ends the wait.
    pub client: Option<Watch<'o>>,
    pub input: &'o mut Option<Buffer>,
    pub body: &'o IncomingBody,
}

/// Shows the received part of the body to the rules. Returns whether it is the whole body.
pub(super) fn show(
    stream: &mut ProxyStream,
    server: &PeerConnection,
    input: &Option<Buffer>,
    body: &IncomingBody,
) -> bool {
    let held = input.as_ref().map_or(&[][..], Buffer::filled);
    let peeked = body.peek(server, held);
    stream.payloads.response = peeked.bytes;
    peeked.whole
}

pub(super) async fn wait(
    stream: &mut ProxyStream,
    origin: ResponseSource<'_>,
    held: MessageVerdict,
) -> Result<(), Failure> {
    match held {
        MessageVerdict::NeedBody { bytes, time_ms } => {
            body(stream, origin, bytes, time_ms).await?;
            // Marks the body as complete, so that the rule does not wait again.
            stream.payloads.response_complete = true;
        }
        MessageVerdict::Wait(wait) => {
            let watched = origin.client;
            let applied = unless_gone(watched, pin!(wait)).await;
            applied.ok_or_else(|| gone(watched))?(stream);
        }
        _ => {}
    }
    Ok(())
}

fn gone(client: Option<Watch<'_>>) -> Failure {
    match client {
        Some(client) if client.is_http2() => Failure::GivenUp,
        _ => Failure::Abandoned,
    }
}

async fn body(
    stream: &mut ProxyStream,
    origin: ResponseSource<'_>,
    bytes: usize,
    time_ms: Option<u32>,
) -> Result<(), Failure> {
    let deadline = after(time_ms.or(stream.server_ms()));
    loop {
        let whole = show(stream, origin.server, origin.input, origin.body);
        if whole || stream.payloads.response.len() >= bytes {
            return Ok(());
        }
        let input = origin.input.get_or_insert_with(Buffer::take);
        if input.len() >= input.capacity() {
            return Ok(());
        }
        match origin.server.read_into(input) {
            Ok(0) => {
                show(stream, origin.server, origin.input, origin.body);
                return Ok(());
            }
            Ok(n) => reactor::yield_to_ready_tasks(n).await,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let readable = pin!(origin.server.readable());
                match with_deadline(deadline, unless_gone(origin.client, readable)).await {
                    Ok(Some(())) => {}
                    Ok(None) => return Err(gone(origin.client)),
                    Err(_) => return Err(Failure::Timeout),
                }
            }
            Err(error) if error.kind() == io::ErrorKind::OutOfMemory => input.compact(),
            // Ends the wait: the fault is detected again, and reported, when the body is forwarded.
            Err(_) => return Ok(()),
        }
    }
}
