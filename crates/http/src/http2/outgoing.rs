//! Converts messages to the fields that are sent over HTTP/2. The fields borrow from the message.
//! Headers that are specific to HTTP/1 connections are omitted.

use super::list::is_connection_specific;
use crate::http1::is_forbidden_trailer;
use crate::message::{Fields, HttpMessage, NAME_BYTES, TargetForm};
use crate::websocket;

pub type HeaderPair<'a> = (&'a [u8], &'a [u8]);

/// Reason why a message cannot be sent over HTTP/2.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unsendable {
    /// The target is neither a path, a URL, `*` of OPTIONS nor that of CONNECT.
    Target,
    /// A WebSocket request without an authority, which extended CONNECT requires.
    Authority,
    /// The message is not a request, or not a response.
    Kind,
}

#[derive(Clone, Copy, Debug)]
pub struct RequestFields<'a> {
    pseudo: [HeaderPair<'a>; 5],
    message: &'a HttpMessage,
    is_tunnel: bool,
}

/// Converts a request for a server. An upgrade becomes an extended CONNECT, which the server must
/// have allowed. `scheme` is that of the connection; a scheme in the client's target takes
/// precedence.
///
/// # Errors
/// `Kind` if the message is not a request. `Target` if the target has no form that HTTP/2 can
/// express. `Authority` if an upgrade names no host.
pub fn request<'a>(
    message: &'a HttpMessage,
    scheme: &'a [u8],
) -> Result<RequestFields<'a>, Unsendable> {
    if !message.is_request() {
        return Err(Unsendable::Kind);
    }
    const NONE: HeaderPair<'_> = (b"", b"");
    let (method, target) = (message.method(), message.target());
    let parts = message.target_parts();
    if method == b"CONNECT" {
        let pseudo = [
            (&b":method"[..], method),
            (b":authority", target),
            NONE,
            NONE,
            NONE,
        ];
        return Ok(RequestFields {
            pseudo,
            message,
            is_tunnel: true,
        });
    }
    let path = &target[parts.path_start..];
    let (scheme, path): (_, &[u8]) = match (parts.form, path) {
        (TargetForm::Origin, path) => (scheme, path),
        (TargetForm::Asterisk, _) if method == b"OPTIONS" => (scheme, b"*"),
        (TargetForm::Absolute, b"") if method == b"OPTIONS" => (&target[..parts.scheme_end], b"*"),
        (TargetForm::Absolute, b"") => (&target[..parts.scheme_end], b"/"),
        (TargetForm::Absolute, [b'/', ..]) => (&target[..parts.scheme_end], path),
        _ => return Err(Unsendable::Target),
    };
    let authority = authority_of(message);
    let protocol = websocket::protocol_of(message);
    let is_tunnel = protocol.is_some();
    if is_tunnel && authority.is_empty() {
        return Err(Unsendable::Authority);
    }
    let pseudo = [
        (&b":method"[..], if is_tunnel { b"CONNECT" } else { method }),
        (b":scheme", scheme),
        if authority.is_empty() {
            NONE
        } else {
            (b":authority", authority)
        },
        (b":path", path),
        protocol.map_or(NONE, |protocol| (b":protocol", protocol)),
    ];
    Ok(RequestFields {
        pseudo,
        message,
        is_tunnel,
    })
}

/// Returns the host, which rules may have set, or else the authority of the target. Empty if it
/// names no host.
fn authority_of(message: &HttpMessage) -> &[u8] {
    let authority = match message.get(b"host") {
        Some(host) => host,
        None => {
            let authority = message.target_authority().unwrap_or_default();
            match memchr::memrchr(b'@', authority) {
                Some(at) => &authority[at + 1..],
                None => authority,
            }
        }
    };
    match authority.first() {
        Some(b':') => b"",
        _ => authority,
    }
}

impl<'a> RequestFields<'a> {
    /// Returns the fields in the order in which they are sent.
    pub fn iter(&self) -> impl Iterator<Item = HeaderPair<'a>> + use<'a> {
        let is_tunnel = self.is_tunnel;
        let rest = self.message.fields().iter().filter(move |(name, value)| {
            let promises_trailers = *name == b"te" && value.eq_ignore_ascii_case(b"trailers");
            *name != b"host"
                && !(is_tunnel && is_http1_upgrade_header(name))
                && is_forwarded(name, promises_trailers)
        });
        let pseudo = self.pseudo.into_iter().filter(|(name, _)| !name.is_empty());
        pseudo.chain(rest)
    }
}

#[derive(Clone, Copy, Debug)]
pub struct ResponseFields<'a> {
    status: [u8; 3],
    message: &'a HttpMessage,
    is_tunnel: bool,
}

/// Converts a response for a client. `extended_connect` indicates that its request was an extended
/// CONNECT. Then the 101 of HTTP/1 is its success, and no other success may look the same, because
/// the client would use a tunnel that does not exist.
///
/// # Errors
/// `Kind` if the message is not a response.
pub fn response(
    message: &HttpMessage,
    extended_connect: bool,
) -> Result<ResponseFields<'_>, Unsendable> {
    let status = match (message.status(), extended_connect) {
        (0, _) => return Err(Unsendable::Kind),
        (101, true) => 200,
        // Reports an error, because the request asked for no upgrade, or for one that only a 101
        // accepts.
        (101, false) | (200..300, true) => 502,
        (status, _) => status,
    };
    Ok(ResponseFields {
        status: [
            b'0' + (status / 100 % 10) as u8,
            b'0' + (status / 10 % 10) as u8,
            b'0' + (status % 10) as u8,
        ],
        message,
        is_tunnel: message.status() == 101,
    })
}

impl ResponseFields<'_> {
    /// Returns the fields in the order in which they are sent.
    pub fn iter(&self) -> impl Iterator<Item = HeaderPair<'_>> {
        let is_tunnel = self.is_tunnel;
        let rest = self.message.fields().iter().filter(move |(name, _)| {
            !(is_tunnel && is_http1_upgrade_header(name)) && is_forwarded(name, false)
        });
        std::iter::once((&b":status"[..], &self.status[..])).chain(rest)
    }
}

/// Converts trailers, without fields that are not allowed in trailers.
pub fn trailers(fields: &Fields) -> impl Iterator<Item = HeaderPair<'_>> {
    fields
        .iter()
        .filter(|(name, _)| is_forwarded(name, false) && !is_forbidden_trailer(name))
}

/// Returns whether a header belongs to the upgrade handshake of HTTP/1, which RFC 8441 does not
/// use, or is a length, which a tunnel does not have.
fn is_http1_upgrade_header(name: &[u8]) -> bool {
    matches!(
        name,
        b"sec-websocket-key" | b"sec-websocket-accept" | b"content-length"
    )
}

/// Returns whether a header is forwarded; `te` only if it promises trailers. A name that only
/// `option accept-invalid-http-request` accepts is not allowed in HTTP/2.
fn is_forwarded(name: &[u8], promises_trailers: bool) -> bool {
    (promises_trailers || !is_connection_specific(name))
        && name.iter().all(|b| NAME_BYTES[*b as usize] != 0)
}
