//! Parses the heads of HTTP/2 responses, interim or final, from their field lists.

use super::list::{self, HeaderCollector, LocatedField, Of};
use super::request::body_of;
use crate::http1::{
    self, BodyLength, FaultKind, HttpParseError, Limits, Parsed, RequestFacts, Upgrade,
};
use crate::message::{HttpMessage, HttpVersion};
use crate::websocket;
use protocol::http2::FieldList;

/// Converts the field list of a response to a message. The reason is empty, because HTTP/2 has
/// none. The success of an extended CONNECT becomes the 101 of HTTP/1. After a fault the message is
/// unspecified.
///
/// # Errors
/// The list has overflowed, or the message exceeds the limits. The status is missing or malformed,
/// or there is another pseudo-header. The status is 101, or an interim response ends the stream. A
/// header is malformed, or specific to an HTTP/1 connection. The lengths are malformed or differ,
/// or the stream ends although a length announces a body.
pub fn response(
    list: &FieldList,
    end_stream: bool,
    request: &RequestFacts,
    limits: &Limits,
    message: &mut HttpMessage,
) -> Result<Parsed, HttpParseError> {
    let mut walk = list::list_fields(list)?.peekable();
    let mut status = None;
    while let Some(field) = walk.next_if(LocatedField::is_pseudo) {
        if field.name != b":status" {
            return Err(field.fault(FaultKind::PseudoHeader));
        }
        list::once(&mut status, field)?;
    }
    let status = status.ok_or(HttpParseError::new(FaultKind::PseudoMissing, 0))?;
    let status = status_of(status).ok_or(HttpParseError::new(FaultKind::Status, 0))?;
    let is_interim = status < 200;
    match status {
        101 => return Err(HttpParseError::new(FaultKind::UnexpectedUpgrade, 0)),
        _ if is_interim && end_stream => return Err(HttpParseError::new(FaultKind::InterimEnd, 0)),
        _ => {}
    }
    let is_success = (200..300).contains(&status);
    let upgrades = is_success && request.upgrade.is_some();
    http1::prepare(message, limits, list.bytes());
    message
        .begin_response(HttpVersion::Http2, if upgrades { 101 } else { status }, b"")
        .map_err(|_| HttpParseError::new(FaultKind::HeadTooLong, 0))?;
    let mut taken = HeaderCollector::new(limits);
    for field in walk {
        let value = list::check(field, Of::Response)?;
        taken.push(message.fields_mut(), field, value)?;
    }
    let length = http1::content_length(message.fields_mut(), &taken.noted)?;
    let tunnel = upgrades || (is_success && request.connect);
    if tunnel || is_interim || status == 204 {
        message.remove(b"content-length");
    }
    let body = if tunnel {
        BodyLength::Tunnel
    } else if is_interim || matches!(status, 204 | 304) || request.head {
        BodyLength::None
    } else {
        body_of(length, end_stream)?
    };
    if upgrades {
        let is_websocket = request.upgrade == Some(Upgrade::WebSocket);
        websocket::upgrade_response(message, is_websocket, request.accept.as_ref())
            .map_err(|_| HttpParseError::new(FaultKind::HeadTooLong, 0))?;
    }
    if message.wire_len() > limits.head_bytes {
        return Err(HttpParseError::new(
            FaultKind::HeadTooLong,
            limits.head_bytes,
        ));
    }
    Ok(Parsed {
        consumed: 0,
        body,
        keep_alive: !tunnel,
        upgrade: request.upgrade.filter(|_| upgrades),
        expect_continue: false,
        interim: is_interim,
    })
}

/// Parses three digits from 100 up.
fn status_of(value: &[u8]) -> Option<u16> {
    match value {
        [a @ b'1'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9'] => {
            Some(u16::from(a - b'0') * 100 + u16::from(b - b'0') * 10 + u16::from(c - b'0'))
        }
        _ => None,
    }
}
