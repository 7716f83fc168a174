//! Where lists of fields become messages and messages lists: `http2` does it,
//! this calls it with what a connection knows.

use crate::http1::{BodyLength, Fault, FaultKind, Limits, Parsed, RequestFacts};
use crate::message::{Fields, Message, Version};
use protocol::http2::{Connection, FieldList, SendError, StreamId};

fn parsed(end: bool, keep: bool) -> Parsed {
    Parsed {
        consumed: 0,
        body: if end {
            BodyLength::None
        } else {
            BodyLength::UntilClose
        },
        keep_alive: keep,
        upgrade: None,
        expect_continue: false,
        interim: false,
    }
}

fn pseudo<'f>(fields: &'f FieldList, name: &[u8]) -> Option<&'f [u8]> {
    fields.iter().find(|(n, _)| *n == name).map(|(_, v)| v)
}

/// The head of a request.
pub(super) fn request(
    fields: &FieldList,
    end: bool,
    limits: &Limits,
    into: &mut Message,
) -> Result<Parsed, Fault> {
    let fault = Fault {
        at: 0,
        kind: FaultKind::MethodMissing,
    };
    into.clear();
    into.set_limit(limits.message_bytes);
    let method = pseudo(fields, b":method").ok_or(fault)?;
    let path = pseudo(fields, b":path").ok_or(fault)?;
    into.begin_request(method, path, Version::Http2)
        .map_err(|_| fault)?;
    for (name, value) in fields.iter() {
        if name == b":authority" {
            into.add(b"host", value).map_err(|_| fault)?;
        } else if !name.starts_with(b":") {
            into.add(name, value).map_err(|_| fault)?;
        }
    }
    Ok(parsed(end, true))
}

/// The head of an answer, interim or final.
pub(super) fn response(
    fields: &FieldList,
    end: bool,
    _facts: &RequestFacts,
    limits: &Limits,
    into: &mut Message,
) -> Result<Parsed, Fault> {
    let fault = Fault {
        at: 0,
        kind: FaultKind::Status,
    };
    into.clear();
    into.set_limit(limits.message_bytes);
    let status = pseudo(fields, b":status").ok_or(fault)?;
    let status = std::str::from_utf8(status)
        .ok()
        .and_then(|text| text.parse::<u16>().ok())
        .ok_or(fault)?;
    into.begin_response(Version::Http2, status, b"")
        .map_err(|_| fault)?;
    for (name, value) in fields.iter().filter(|(name, _)| !name.starts_with(b":")) {
        into.add(name, value).map_err(|_| fault)?;
    }
    let mut parsed = parsed(end, true);
    parsed.interim = (100..200).contains(&status);
    Ok(parsed)
}

/// Trailers.
pub(super) fn trailers(fields: &FieldList) -> Result<Box<Fields>, Fault> {
    let mut trailers = Box::new(Fields::new());
    for (name, value) in fields.iter() {
        trailers.add(name, value).map_err(|_| Fault {
            at: 0,
            kind: FaultKind::NameByte,
        })?;
    }
    Ok(trailers)
}

/// Sends the head of a request.
pub(super) fn send_request(
    connection: &mut Connection,
    stream: StreamId,
    head: &Message,
    secure: bool,
    end: bool,
) -> Result<(), SendError> {
    let scheme: &[u8] = if secure { b"https" } else { b"http" };
    let pseudo: [(&[u8], &[u8]); 4] = [
        (b":method", head.method()),
        (b":scheme", scheme),
        (b":authority", head.get(b"host").unwrap_or_default()),
        (b":path", head.target()),
    ];
    let rest = head.fields().iter().filter(|(name, _)| *name != b"host");
    connection.send_headers(stream, pseudo.into_iter().chain(rest), end)
}

/// Sends the head of an answer.
pub(super) fn send_response(
    connection: &mut Connection,
    stream: StreamId,
    head: &Message,
    end: bool,
) -> Result<(), SendError> {
    let status = head.status();
    let digits = [
        b'0' + (status / 100 % 10) as u8,
        b'0' + (status / 10 % 10) as u8,
        b'0' + (status % 10) as u8,
    ];
    let first: (&[u8], &[u8]) = (b":status", &digits);
    connection.send_headers(
        stream,
        std::iter::once(first).chain(head.fields().iter()),
        end,
    )
}

/// Ends a stream with trailers.
pub(super) fn send_trailers(
    connection: &mut Connection,
    stream: StreamId,
    trailers: &Fields,
) -> Result<(), SendError> {
    connection.send_headers(stream, trailers.iter(), true)
}

/// The length that a head declares; the strict mapping has checked its digits.
pub(super) fn declared_length(head: &Message) -> Option<u64> {
    let digits = head.get(b"content-length")?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}
