//! Decides whether a response may have a body for its client. The client judges by the method
//! that it sent and the status that it receives, and rules may have changed the method or the
//! status in between. The client would take an unexpected body for its next response (RFC 9112,
//! section 6.3); if a length is announced and no body follows, the client would take the next
//! response for that body.

use super::body::IncomingBody;
use super::{ProxyStream, StreamPhase, Termination};
use http::http1::BodyLength;
use http::message::{HttpMessage, HttpVersion};
use model::transaction::StreamOutcome;
use mux::link::PeerConnection;
use reactor::after;
use reactor::{Buffer, with_deadline};

/// Maximum size in bytes of a body that is read only to keep the server's connection. If a body is
/// longer, the connection is closed instead.
const DRAINED_MAX: u64 = 64 * 1024;

/// Reserved bytes for the header field that announces an empty body.
const LENGTH_BYTES: usize = 32;

/// Failure: rules gave the final response a status of an interim one (1xx), so a client could not
/// recognize it as final.
#[derive(Debug)]
pub(super) struct Interim;

/// Mark by which the client finds the end of a body.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum BodyEnd {
    Length(usize),
    Chunks,
    /// The body ends with its connection or HTTP/2 stream.
    Close,
}

pub(super) fn is_bodiless(status: u16) -> bool {
    matches!(status, 100..200 | 204 | 304)
}

/// Adapts the final response head of a server to what the client expects. Returns which part of
/// `body` the client gets.
pub(super) fn settle(stream: &mut ProxyStream, body: BodyLength) -> Result<BodyLength, Interim> {
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
    // Announces an empty body: the server sent none, because of the method that it received or the
    // status that it sent.
    if stream.request.method() == b"HEAD" || is_bodiless(stream.outcome.server_status) {
        let http2 = stream.request.version() == HttpVersion::Http2;
        say_empty(&mut stream.response, http2);
    }
    Ok(body)
}

/// Adapts the head of a response that the proxy generated. `old_status`: the status before the
/// last rules ran. Returns whether the body is sent.
pub(super) fn settle_own(
    stream: &mut ProxyStream,
    old_status: u16,
    body: BodyEnd,
) -> Result<bool, Interim> {
    let status = stream.response.status();
    if status < 200 && !stream.switches(status) {
        return Err(interim(&mut stream.outcome));
    }
    match (is_bodiless(old_status), is_bodiless(status)) {
        (_, true) if matches!(status, 101 | 204) => remove_framing(&mut stream.response),
        (true, false) => {
            if let BodyEnd::Length(length) = body {
                let response = &mut stream.response;
                make_room(response);
                _ = response.set(b"content-length", length.to_string().as_bytes());
            }
        }
        _ => {}
    }
    Ok(!stream.asked_head() && !is_bodiless(status))
}

fn interim(outcome: &mut StreamOutcome) -> Interim {
    outcome.end(Termination::Proxy, StreamPhase::Headers);
    Interim
}

fn remove_framing(response: &mut HttpMessage) {
    response.remove(b"content-length");
    response.remove(b"transfer-encoding");
}

fn say_empty(response: &mut HttpMessage, http2: bool) {
    remove_framing(response);
    if !http2 {
        make_room(response);
        _ = response.add(b"content-length", b"0");
    }
}

/// Enlarges the limit of a head that rules have filled, because the framing depends on the
/// length.
fn make_room(response: &mut HttpMessage) {
    if response.fields().free_bytes() < LENGTH_BYTES {
        response.set_limit(response.wire_len() + LENGTH_BYTES);
    }
}

/// Reads a body that the client does not get. Returns true if it was read completely, so that the
/// server's connection can carry another request.
pub(super) async fn drain(
    server: &PeerConnection,
    input: &mut Option<Buffer>,
    body: &mut IncomingBody,
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
            IncomingBody::Length(left) => *left > DRAINED_MAX,
            IncomingBody::UntilClose | IncomingBody::Stream(_) => true,
            IncomingBody::Done | IncomingBody::Chunked(_) => false,
        };
        if hopeless || read > DRAINED_MAX {
            return false;
        }
        if input.as_ref().is_some_and(Buffer::is_empty) {
            // Frees the buffer during the wait.
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
