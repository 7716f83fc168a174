//! An answer that is held while its rules wait: for its body (`http-response
//! wait-for-body`), or for what an action waits for. The body stays where it is,
//! in the buffer that it came into, and rules see a copy, at most as much as that
//! buffer holds.

use super::Stream;
use super::answer::Failure;
use super::body::Body;
use super::watch::{Watch, unless_gone};
use model::rules::Verdict;
use mux::link::Link;
use reactor::after;
use reactor::{self, Buffer, with_deadline};
use std::io;
use std::pin::pin;

/// Where the answer comes from.
pub(super) struct Origin<'o> {
    pub server: &'o Link,
    /// Where the client's going is noticed, if it matters.
    pub client: Option<Watch<'o>>,
    pub input: &'o mut Option<Buffer>,
    pub body: &'o Body,
}

/// Lets rules see what is there of the body. Says whether it is all of it.
pub(super) fn show(
    stream: &mut Stream,
    server: &Link,
    input: &Option<Buffer>,
    body: &Body,
) -> bool {
    let held = input.as_ref().map_or(&[][..], Buffer::filled);
    let peeked = body.peek(server, held);
    stream.payloads.response = peeked.bytes;
    peeked.whole
}

/// Waits for what rules asked for.
pub(super) async fn wait(
    stream: &mut Stream,
    origin: Origin<'_>,
    held: Verdict,
) -> Result<(), Failure> {
    match held {
        Verdict::NeedBody { bytes, time_ms } => {
            body(stream, origin, bytes, time_ms).await?;
            // Asked again, the rule finds all that it can have.
            stream.payloads.response_complete = true;
        }
        Verdict::Wait(wait) => {
            let watched = origin.client;
            let applied = unless_gone(watched, pin!(wait)).await;
            applied.ok_or_else(|| gone(watched))?(stream);
        }
        _ => {}
    }
    Ok(())
}

/// How the stream ends when its client has gone.
fn gone(client: Option<Watch<'_>>) -> Failure {
    match client {
        Some(client) if client.is_http2() => Failure::GivenUp,
        _ => Failure::Abandoned,
    }
}

async fn body(
    stream: &mut Stream,
    origin: Origin<'_>,
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
            Ok(n) => reactor::stand_back(n).await,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let readable = pin!(origin.server.readable());
                match with_deadline(deadline, unless_gone(origin.client, readable)).await {
                    Ok(Some(())) => {}
                    Ok(None) => return Err(gone(origin.client)),
                    Err(_) => return Err(Failure::Timeout),
                }
            }
            Err(error) if error.kind() == io::ErrorKind::OutOfMemory => input.compact(),
            // What is wrong with it is found again, and told, when it is sent on.
            Err(_) => return Ok(()),
        }
    }
}
