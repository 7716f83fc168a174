//! Answers on their way to the client: their heads completed, their bytes written.

use super::session::Client;
use super::shape::{self, Interim};
use super::{Endpoint, Reply, Stream, Termination};
use http::message::Version;
use model::config::ProxyOption;
use model::rules::{self, Verdict};
use mux::link::{Link, WriteFailure, write_all, write_data, write_pieces};

/// Room for the header that says how long an answer is.
const FRAMING_BYTES: usize = 64;

/// Whether no request follows an answer on the client's connection.
pub(super) fn ends(reply: &Reply, client: &Client, stream: &Stream) -> bool {
    let on_connection = reply.ends_connection() || stream.begins_tunnel(reply.head.status());
    reply.close || (on_connection && !client.link.is_http2())
}

/// The answer is about to be written: to the client's liking, and on packets
/// that carry what rules want.
#[inline]
pub(super) fn dress_answer(stream: &mut Stream, client: &Link) {
    if stream.frontend().has(ProxyOption::H1CaseClient) {
        stream
            .response
            .set_cases(stream.config.global.header_cases.clone());
    }
    mark_packets(stream, client);
}

/// Lets packets to the client carry what rules have set since the last time.
#[inline]
pub(super) fn mark_packets(stream: &mut Stream, client: &Link) {
    if let Some(set) = stream.rules.overrides.as_mut().filter(|set| set.unsaid) {
        set.unsaid = false;
        if let Some(transport) = client.transport() {
            let peer = match stream.session.source {
                Endpoint::Inet(peer) => Some(peer),
                Endpoint::Unix => None,
            };
            set.to_client.apply(transport.fd(), peer);
        }
    }
}

/// Sends an answer of the proxy's own; false when it could not be. `keep`: the
/// connection stays open for another request.
pub async fn send(client: &mut Client, stream: &mut Stream, reply: Reply, keep: bool) -> bool {
    let silent = reply.is_silent();
    let Reply { head, body, .. } = reply;
    stream.response = head;
    stream.outcome.local = true;
    if silent {
        stream.outcome.local_status = stream.response.status();
        return false;
    }
    let mut body = body;
    if stream
        .transfer
        .cache
        .as_ref()
        .is_some_and(|cache| cache.hit)
        && let Verdict::Answer(other) = rules::http_response(stream)
    {
        // A rule refuses what the cache has.
        (stream.response, body) = (other.head, other.body);
    }
    let Ok(has_body) = complete(client, stream, body.len(), keep) else {
        client.link.break_off();
        return false;
    };
    let body: &[u8] = if has_body { &body } else { &[] };
    let limit = stream.client_ms();
    let sent = match &client.link {
        Link::Http1(transport) => {
            let mut bytes = reactor::scratch();
            stream.response.write_http1(&mut bytes);
            stream.transfer.bytes_out += (bytes.len() + body.len()) as u64;
            if body.is_empty() {
                write_all(transport, &bytes, limit).await
            } else {
                write_pieces(transport, [&bytes, body], false, limit).await
            }
        }
        Link::Http2(link) => {
            stream.transfer.bytes_out += (stream.response.wire_len() + body.len()) as u64;
            match link.send_head(&stream.response, body.is_empty()) {
                Ok(()) if body.is_empty() => Ok(()),
                Ok(()) => write_data(link, body, true, limit).await,
                Err(error) => Err(WriteFailure::Failed(error)),
            }
        }
    };
    if sent.is_err() && stream.outcome.termination == Termination::Normal {
        stream.outcome.termination = Termination::ClientAbort;
    }
    sent.is_ok() && !stream.begins_tunnel(stream.response.status())
}

/// Completes the head of an answer: its length, the rules that see every answer, and
/// what becomes of the connection. Returns whether its body is sent.
fn complete(
    client: &Client,
    stream: &mut Stream,
    body_len: usize,
    keep: bool,
) -> Result<bool, Interim> {
    let old_status = stream.response.status();
    let length = (!shape::is_bodiless(old_status)).then(|| body_len.to_string());
    // An answer of HTTP/1.0, out of a file, closes unless it says otherwise.
    let old = stream.response.version() == Version::Http10 && !client.link.is_http2();
    // A page out of a file may say something else, or be ended by the close.
    if let Some(length) = &length
        && (!old || stream.response.get(b"content-length").is_some())
        && stream.response.get(b"content-length") != Some(length.as_bytes())
    {
        // Without it nobody would know where the answer ends, so a head that is
        // full gets the room.
        if stream
            .response
            .set(b"content-length", length.as_bytes())
            .is_err()
        {
            let room = stream.response.wire_len() + FRAMING_BYTES;
            stream.response.set_limit(room);
            let _ = stream.response.set(b"content-length", length.as_bytes());
        }
    }
    // As with HAProxy, no rule sees the response to what is no request.
    if stream.request.is_request() {
        rules::http_after_response(stream);
    }
    let has_body = shape::settle_own(stream, old_status, body_len)?;
    dress_answer(stream, &client.link);
    if client.link.is_http2() {
        // Its connection is not this answer's matter.
    } else if !keep {
        if !old {
            let _ = stream.response.set(b"connection", b"close");
        }
    } else if old || stream.request.version() == Version::Http10 {
        let _ = stream.response.set(b"connection", b"keep-alive");
    }
    stream.outcome.local_status = match stream.outcome.error_status.take() {
        0 => stream.response.status(),
        status => status,
    };
    Ok(has_body)
}
