//! Conversion of HTTP/2 messages for HTTP/1.

use crate::http1::{BodyLength, Parsed, RequestFacts};
use crate::message::{Message, Refusal, TargetForm, Version};

/// Writes the head of a request for a server that speaks HTTP/1. One that came
/// over HTTP/2 has a whole URL for its target, of which such a server gets the
/// path; logs go on showing what came, so the message stays as it is. `chunked`:
/// its body goes in chunks, which its head says here whatever rules made of it.
#[inline]
pub fn write_request(request: &Message, chunked: bool, out: &mut Vec<u8>) {
    let says_so = || request.fields().contains(b"transfer-encoding");
    if request.version() == Version::Http2 || chunked && !says_so() {
        write_downgraded(request, chunked, out);
    } else {
        request.write_http1(out);
    }
}

/// Writes the head of one that came over HTTP/2, or whose body was given chunks here.
#[inline(never)]
fn write_downgraded(request: &Message, chunked: bool, out: &mut Vec<u8>) {
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
            // A URL that a rule gave goes on as such.
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

/// HTTP/1 knows no other way for a length that is not known ahead.
const CHUNKED: &[u8] = b"transfer-encoding: chunked\r\n";

/// Makes a response ready for a client of HTTP/1: one without a body says so,
/// since HTTP/1 would take the close for its end. Chunks are for
/// [`crate::http1::to_client`], which knows the client.
#[inline]
pub fn response_to_http1(
    message: &mut Message,
    parsed: &Parsed,
    request: &RequestFacts,
) -> Result<(), Refusal> {
    if message.version() != Version::Http2 {
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
