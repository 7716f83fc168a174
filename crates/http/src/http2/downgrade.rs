//! Converts HTTP/2 requests and responses to the form that is sent over HTTP/1.

use crate::http1::{BodyLength, Parsed, RequestFacts};
use crate::message::{HttpMessage, HttpVersion, MessageEditError, TargetForm};

/// Writes the head of a request for an HTTP/1 server. A request that arrived over HTTP/2 has a
/// whole URL as its target, of which the server gets the path; the message is not changed, so that
/// logs show the original. `chunked`: the body is sent in chunks, and the head declares this
/// regardless of changes by rules.
#[inline]
pub fn write_request(request: &HttpMessage, chunked: bool, out: &mut Vec<u8>) {
    let says_so = || request.fields().contains(b"transfer-encoding");
    if request.version() == HttpVersion::Http2 || chunked && !says_so() {
        write_downgraded(request, chunked, out);
    } else {
        request.write_http1(out);
    }
}

/// Writes the head of a request that arrived over HTTP/2, or whose body is chunked by this proxy.
#[inline(never)]
fn write_downgraded(request: &HttpMessage, chunked: bool, out: &mut Vec<u8>) {
    let begin = out.len();
    let parts = request.target_parts();
    let target = request.target();
    let (front, path): (&[u8], &[u8]) =
        if parts.form == TargetForm::Absolute && request.is_target_composed() {
            let path = target.get(parts.path_start..).unwrap_or_default();
            match path.first() {
                Some(b'/') => (b"", path),
                None if request.method() == b"OPTIONS" => (b"*", path),
                _ => (b"/", path),
            }
        } else {
            // Forwards a URL set by a rule unchanged.
            (b"", target)
        };
    out.reserve(request.wire_len() + CHUNKED.len());
    for piece in [request.method(), b" ", front, path, b" HTTP/1.1\r\n"] {
        out.extend_from_slice(piece);
    }
    for (name, value) in request.fields().iter() {
        let frames = name == b"content-length" || name == b"transfer-encoding";
        if chunked && frames {
            continue;
        }
        for piece in [name, b": ", value, b"\r\n"] {
            out.extend_from_slice(piece);
        }
    }
    if chunked {
        out.extend_from_slice(CHUNKED);
    }
    out.extend_from_slice(b"\r\n");
    request.adjust_cases(out, begin);
}

/// Framing of a body of unknown length, for which HTTP/1 has no other.
const CHUNKED: &[u8] = b"transfer-encoding: chunked\r\n";

/// Prepares a response for an HTTP/1 client. A response without a body declares this, because
/// otherwise HTTP/1 would wait for the close. Chunks are added by [`crate::http1::to_client`],
/// which knows the client.
///
/// # Errors
/// `Full` if the length does not fit into the message.
#[inline]
pub fn response_to_http1(
    message: &mut HttpMessage,
    parsed: &Parsed,
    request: &RequestFacts,
) -> Result<(), MessageEditError> {
    if message.version() != HttpVersion::Http2 {
        return Ok(());
    }
    let has_none_ever = parsed.interim || request.head || matches!(message.status(), 204 | 304);
    if parsed.body != BodyLength::None
        || has_none_ever
        || message.fields().contains(b"content-length")
    {
        return Ok(());
    }
    message.add(b"content-length", b"0")
}
