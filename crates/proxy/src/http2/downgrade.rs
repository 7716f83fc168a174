//! What HTTP/1 must see of a message that came over HTTP/2.

use crate::http1::{BodyLength, Parsed, RequestFacts};
use crate::message::{Message, Refusal, TargetForm, Version};

/// Makes a request ready for a server of HTTP/1, as HAProxy writes it: a path for
/// its target unless `set-uri` gave a URL, and chunks where no length is known. A request of HTTP/1 stays as
/// it is. Written once, after all rules.
pub fn request_to_http1(message: &mut Message, parsed: &Parsed) -> Result<(), Refusal> {
    if message.version() != Version::Http2 {
        return Ok(());
    }
    let parts = message.target_parts();
    if parts.form == TargetForm::Absolute && message.is_target_composed() {
        let rest = message.target().get(parts.path_start).copied();
        let front: &[u8] = match rest {
            Some(b'/') => b"",
            None if message.method() == b"OPTIONS" => b"*",
            _ => b"/",
        };
        message.set_target_pieces(0, &[front], parts.path_start)?;
    }
    match parsed.body {
        // A length that a rule made up is not what comes.
        BodyLength::Stream => {
            message.remove(b"content-length");
            message.fields_mut().set(b"transfer-encoding", b"chunked")
        }
        _ => Ok(()),
    }
}

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
