//! Answers on their way to the client: their heads completed, their bytes written.

use super::session::Client;
use super::shape::{self, Interim};
use super::{Endpoint, Reply, Stream, Termination};
use http::message::{Message, Version};
use model::config::ProxyOption;
use model::rules::{self, Verdict};
use mux::link::{Link, WriteFailure, write_all, write_data, write_pieces};

/// Room for the header that says how long an answer is.
const FRAMING_BYTES: usize = 64;

/// What follows a response of the proxy's own on its client's connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sent {
    /// Another request may follow.
    Keeps,
    /// The response says that the connection closes, or only its end shows where the
    /// response ends.
    Closes,
    /// Nothing was sent, or not all of it.
    Failed,
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

/// Sends a response of the proxy's own. `may_keep`: as far as the request is concerned,
/// the connection can stay open for another one. Whether it does is decided here, by the
/// response that the client gets in the end: one without a known end closes it.
pub async fn send(client: &mut Client, stream: &mut Stream, reply: Reply, may_keep: bool) -> Sent {
    let mut reply = reply;
    stream.outcome.local = true;
    if stream
        .transfer
        .cache
        .as_ref()
        .is_some_and(|cache| cache.hit)
    {
        stream.response = std::mem::take(&mut reply.head);
        match rules::http_response(stream) {
            // A rule refuses what the cache has.
            Verdict::Answer(other) => reply = *other,
            _ => reply.head = std::mem::take(&mut stream.response),
        }
    }
    let silent = reply.is_silent();
    let Reply { head, body, close } = reply;
    stream.response = head;
    if silent {
        stream.outcome.local_status = stream.response.status();
        return Sent::Failed;
    }
    let may_keep = may_keep && !close;
    let Ok(Completed { has_body, keeps }) = complete(client, stream, body.len(), may_keep) else {
        client.link.break_off();
        return Sent::Failed;
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
    match sent {
        Ok(()) if keeps => Sent::Keeps,
        Ok(()) => Sent::Closes,
        Err(_) => Sent::Failed,
    }
}

/// A head that is ready to be sent.
struct Completed {
    /// The client gets the body.
    has_body: bool,
    /// Another request may follow.
    keeps: bool,
}

/// Completes the head of a response: its length, the rules that see every response, and
/// what becomes of the connection.
fn complete(
    client: &Client,
    stream: &mut Stream,
    body_len: usize,
    may_keep: bool,
) -> Result<Completed, Interim> {
    let old_status = stream.response.status();
    // A response of HTTP/1.0, out of a file, closes unless it says otherwise.
    let old = stream.response.version() == Version::Http10 && !client.link.is_http2();
    say_length(&mut stream.response, old, body_len);
    // As with HAProxy, no rule sees the response to what is no request.
    if stream.request.is_request() {
        rules::http_after_response(stream);
        // They may have changed what frames the response.
        stream.response.remove(b"transfer-encoding");
        say_length(&mut stream.response, old, body_len);
    }
    let has_body = shape::settle_own(stream, old_status, body_len)?;
    dress_answer(stream, &client.link);
    let status = stream.response.status();
    let ends = shape::is_bodiless(status) || stream.response.get(b"content-length").is_some();
    let keep = may_keep && ends && !stream.begins_tunnel(status);
    if client.link.is_http2() || stream.switches(status) {
        // Streams do not decide on the connection of HTTP/2, and the `connection` of a 101
        // names the upgrade.
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
    let keeps = keep || client.link.is_http2();
    Ok(Completed { has_body, keeps })
}

/// Makes the head of a response say how long its body is. `old`: a response of HTTP/1.0 may
/// say nothing, and is ended by the close of its connection.
fn say_length(response: &mut Message, old: bool, body_len: usize) {
    let said = response.get(b"content-length");
    if shape::is_bodiless(response.status()) || old && said.is_none() {
        return;
    }
    let length = body_len.to_string();
    if said == Some(length.as_bytes()) {
        return;
    }
    // Without it nobody would know where the response ends, so a head that is full gets the
    // room.
    if response.set(b"content-length", length.as_bytes()).is_err() {
        response.set_limit(response.wire_len() + FRAMING_BYTES);
        let _ = response.set(b"content-length", length.as_bytes());
    }
}
