//! Whether a response may have a body for the client that waits for it. The client
//! judges by the method that it sent and by the status that it receives; rules may
//! have changed either of them since. A body that the client does not expect would
//! be its next response (RFC 9112, section 6.3), and a length that nothing follows
//! would swallow the next one.

use super::body::Body;
use super::{Phase, Stream, Termination};
use http::http1::BodyLength;
use http::message::{Message, Version};
use model::transaction::Outcome;
use mux::link::Link;
use reactor::after;
use reactor::{Buffer, with_deadline};

/// An unwanted body up to so many bytes is read, so that the server's connection
/// can be kept; a longer one costs the connection.
const DRAINED_MAX: u64 = 64 * 1024;

/// Room for the header that says that nothing follows.
const LENGTH_BYTES: usize = 32;

/// The final status is an interim one: no client could tell that it is final.
#[derive(Debug)]
pub(super) struct Interim;

/// Whether a response with this status never has a body.
pub(super) fn is_bodiless(status: u16) -> bool {
    matches!(status, 100..200 | 204 | 304)
}

/// Makes the final head of a server's response fit the client's expectation, and
/// returns the body that the client gets of `body`.
pub(super) fn settle(stream: &mut Stream, body: BodyLength) -> Result<BodyLength, Interim> {
    let status = stream.response.status();
    if status < 200 && !stream.switches(status) {
        return Err(interim(&mut stream.outcome));
    }
    if stream.asked_head() || is_bodiless(status) {
        if matches!(status, 101 | 204) {
            remove_framing(&mut stream.response);
        }
        return Ok(BodyLength::None);
    }
    // The server sent none, since its request or its own status has none.
    if stream.request.method() == b"HEAD" || is_bodiless(stream.outcome.server_status) {
        let http2 = stream.request.version() == Version::Http2;
        say_empty(&mut stream.response, http2);
    }
    Ok(body)
}

/// Makes the final head of a response of the proxy's own fit; `old_status`: the
/// one that it had before the last rules. Returns whether its body is sent.
pub(super) fn settle_own(
    stream: &mut Stream,
    old_status: u16,
    length: usize,
) -> Result<bool, Interim> {
    let status = stream.response.status();
    if status < 200 && !stream.switches(status) {
        return Err(interim(&mut stream.outcome));
    }
    match (is_bodiless(old_status), is_bodiless(status)) {
        (_, true) if matches!(status, 101 | 204) => remove_framing(&mut stream.response),
        (true, false) => {
            let response = &mut stream.response;
            make_room(response);
            _ = response.set(b"content-length", length.to_string().as_bytes());
        }
        _ => {}
    }
    Ok(!stream.asked_head() && !is_bodiless(status))
}

fn interim(outcome: &mut Outcome) -> Interim {
    outcome.end(Termination::Proxy, Phase::Headers);
    Interim
}

fn remove_framing(response: &mut Message) {
    response.remove(b"content-length");
    response.remove(b"transfer-encoding");
}

fn say_empty(response: &mut Message, http2: bool) {
    remove_framing(response);
    if !http2 {
        make_room(response);
        _ = response.add(b"content-length", b"0");
    }
}

/// What follows depends on the length, so a head that rules filled gets the room.
fn make_room(response: &mut Message) {
    if response.fields().room() < LENGTH_BYTES {
        response.set_limit(response.wire_len() + LENGTH_BYTES);
    }
}

/// Reads a body that the client does not get. True: all of it came, so that the
/// server's connection can carry another request.
pub(super) async fn drain(
    server: &Link,
    input: &mut Option<Buffer>,
    body: &mut Body,
    read_ms: Option<u32>,
) -> bool {
    let mut read = 0;
    loop {
        if let Some(buffer) = input.as_mut()
            && body.discard(buffer)
        {
            return true;
        }
        let hopeless = match body {
            Body::Length(left) => *left > DRAINED_MAX,
            Body::UntilClose | Body::Stream(_) => true,
            Body::Done | Body::Chunked(_) => false,
        };
        if hopeless || read > DRAINED_MAX {
            return false;
        }
        if input.as_ref().is_some_and(Buffer::is_empty) {
            // Nothing is held while waiting.
            *input = None;
        }
        if with_deadline(after(read_ms), server.readable())
            .await
            .is_err()
        {
            return false;
        }
        let buffer = input.get_or_insert_with(Buffer::take);
        buffer.compact();
        match server.read_into(buffer) {
            Ok(0) => return false,
            Ok(bytes) => read += bytes as u64,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => return false,
        }
    }
}
