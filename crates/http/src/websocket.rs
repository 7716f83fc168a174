//! Converts WebSocket handshakes between HTTP/1's upgrade (RFC 6455) and HTTP/2's extended
//! CONNECT (RFC 8441). Internally a message always has HTTP/1's form: `GET` with `upgrade`,
//! `connection` and a key, and a 101 with the accept value. HTTP/2 has no key: this module makes
//! one for an HTTP/2 client of an HTTP/1 server, and computes the accept value for an HTTP/1
//! client of an HTTP/2 server.

use crate::message::{HttpMessage, MessageEditError};
use aws_lc_rs::{digest, rand};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// GUID that a server appends to the key before hashing it (RFC 6455, section 1.3).
const SALT: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// Length of a decoded key, bytes. The header has it in Base64.
const KEY_BYTES: usize = 16;
/// Length of a SHA-1 in Base64, bytes.
const ACCEPT_BYTES: usize = 28;

/// The value of `sec-websocket-accept` for a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Accept([u8; ACCEPT_BYTES]);

impl Accept {
    pub fn of(request: &HttpMessage) -> Option<Accept> {
        let key = request.get(b"sec-websocket-key")?;
        let mut hash = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
        hash.update(key);
        hash.update(SALT);
        let mut accept = [0; ACCEPT_BYTES];
        let len = STANDARD.encode_slice(hash.finish(), &mut accept).ok()?;
        (len == ACCEPT_BYTES).then_some(Accept(accept))
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Returns whether a request is a WebSocket upgrade in HTTP/1's form. The parsers of heads remove
/// an `upgrade` that `connection` does not name.
pub fn is_request(message: &HttpMessage) -> bool {
    let fields = message.fields();
    let has =
        |name: &[u8], value: &[u8]| fields.values(name).any(|v| v.eq_ignore_ascii_case(value));
    has(b"upgrade", b"websocket") && has(b"connection", b"upgrade")
}

/// Returns the protocol for which a request to an HTTP/2 server uses extended CONNECT: `websocket`,
/// or another protocol to which a GET without a body upgrades. Other methods cannot be expressed in
/// HTTP/2.
pub fn protocol_of(message: &HttpMessage) -> Option<&[u8]> {
    if is_request(message) {
        return Some(b"websocket");
    }
    let fields = message.fields();
    let mut options = fields.values(b"connection");
    if message.method() != b"GET" || !options.any(|option| option.eq_ignore_ascii_case(b"upgrade"))
    {
        return None;
    }
    fields.values(b"upgrade").find(|name| !name.is_empty())
}

pub(super) fn upgrade_request(
    message: &mut HttpMessage,
    protocol: &[u8],
    is_websocket: bool,
) -> Result<(), MessageEditError> {
    message.add(b"upgrade", protocol)?;
    message.add(b"connection", b"upgrade")?;
    let has_key = message
        .get(b"sec-websocket-key")
        .is_some_and(|key| !key.is_empty());
    if is_websocket && !has_key {
        message.set(b"sec-websocket-key", &new_key())?;
    }
    Ok(())
}

/// Converts the response to an extended CONNECT to the form of HTTP/1. The name of a protocol other
/// than WebSocket is in the request only.
pub(super) fn upgrade_response(
    message: &mut HttpMessage,
    is_websocket: bool,
    accept: Option<&Accept>,
) -> Result<(), MessageEditError> {
    message.add(b"connection", b"upgrade")?;
    if is_websocket {
        message.add(b"upgrade", b"websocket")?;
    }
    match accept {
        Some(accept) => message.set(b"sec-websocket-accept", accept.as_bytes()),
        None => Ok(()),
    }
}

fn new_key() -> [u8; 24] {
    let mut bytes = [0; KEY_BYTES];
    // Uses a known key without randomness. The key only protects intermediate caches from requests
    // that scripts compose, and there are none on this path.
    let _ = rand::fill(&mut bytes);
    let mut key = [b'='; 24];
    let _ = STANDARD.encode_slice(bytes, &mut key);
    key
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::HttpVersion;

    #[test]
    fn accept_key_equals_the_rfc_example() {
        let mut message = HttpMessage::new();
        message
            .begin_request(b"GET", b"/", HttpVersion::Http11)
            .unwrap();
        assert_eq!(Accept::of(&message), None);
        message
            .add(b"Sec-WebSocket-Key", b"dGhlIHNhbXBsZSBub25jZQ==")
            .unwrap();
        let accept = Accept::of(&message).unwrap();
        assert_eq!(accept.as_bytes(), b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn keys_are_sixteen_bytes_and_differ() {
        let (one, other) = (new_key(), new_key());
        assert_ne!(one, other);
        assert_eq!(STANDARD.decode(one).unwrap().len(), KEY_BYTES);
    }
}
