//! Parses the heads of HTTP/1 responses, of which the meaning depends on the request.

use super::connection;
use super::fault::{FaultKind, HttpParseError};
use super::head::{self, HeadLine, HeadLineReader, Noted, Section};
use super::length::{self, Coding};
use super::request::version_of;
use super::{BodyLength, Limits, ParseStatus, Parsed, Upgrade, prepare};
use crate::message::{HttpMessage, HttpVersion};
use crate::websocket::Accept;

/// The facts of a request that determine how its response is parsed.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct RequestFacts {
    /// HEAD: there is no body regardless of the length.
    pub head: bool,
    /// CONNECT: a success is a tunnel.
    pub connect: bool,
    pub upgrade: Option<Upgrade>,
    /// The expected value of `Sec-WebSocket-Accept`.
    pub accept: Option<Accept>,
    /// True if the key was made by this proxy, so that the proxy must check the response to it: the
    /// client uses HTTP/2, which has no keys.
    pub checks_accept: bool,
}

impl RequestFacts {
    /// Extracts the facts of a request as sent to the server.
    pub fn of(request: &HttpMessage, upgrade: Option<Upgrade>) -> Self {
        RequestFacts {
            head: request.method() == b"HEAD",
            connect: request.method() == b"CONNECT",
            upgrade,
            accept: match upgrade {
                Some(Upgrade::WebSocket) => Accept::of(request),
                _ => None,
            },
            checks_accept: request.version() == HttpVersion::Http2,
        }
    }
}

/// Parses the head of a response from all bytes received so far. The message is unspecified unless
/// the result is [`ParseStatus::Done`].
///
/// # Errors
/// The head is longer than `limits.head_bytes`, has more lines than `limits.headers`, or is
/// malformed: see [`FaultKind`]. An incomplete first line that cannot begin a response fails at
/// once. A 101 that the request did not ask for is `UnexpectedUpgrade`.
pub fn parse_response(
    bytes: &[u8],
    request: &RequestFacts,
    limits: &Limits,
    message: &mut HttpMessage,
) -> Result<ParseStatus, HttpParseError> {
    let mut lines = HeadLineReader::new(bytes);
    let Some(line) = lines.start_line(limits, check_partial)? else {
        return Ok(ParseStatus::Incomplete);
    };
    prepare(message, limits, bytes.len());
    let (version, status, reason) = status_line(line, limits.accept_invalid)?;
    let too_long = HttpParseError::new(FaultKind::HeadTooLong, limits.head_bytes);
    if lines.at > limits.head_bytes {
        return Err(too_long);
    }
    message
        .begin_response(version, status, reason)
        .map_err(|_| too_long)?;
    let mut noted = Noted::default();
    let fields = message.fields_mut();
    if head::parse_fields(&mut lines, limits, fields, &mut noted)? == Section::Incomplete {
        return Ok(ParseStatus::Incomplete);
    }
    finish(message, request, &noted, lines.at)
}

fn finish(
    message: &mut HttpMessage,
    request: &RequestFacts,
    noted: &Noted,
    consumed: usize,
) -> Result<ParseStatus, HttpParseError> {
    let status = message.status();
    let version = message.version();
    let length = length::content_length(message.fields_mut(), noted)?;
    let coding = length::transfer_encoding(message.fields_mut(), noted)?;
    let options = connection::options(message.fields_mut(), noted);
    let mut upgrade = None;
    let tunnel = status == 101 || (request.connect && (200..300).contains(&status));
    let body = if tunnel {
        if status == 101 {
            upgrade = Some(connection::response_upgrade(
                message,
                &options,
                request.upgrade,
            )?);
            check_accept(message, request)?;
        }
        length::remove_both(message.fields_mut());
        BodyLength::Tunnel
    } else if status < 200 || status == 204 {
        length::remove_both(message.fields_mut());
        BodyLength::None
    } else {
        if coding.is_some() {
            message.remove(b"content-length");
        }
        match (coding, length) {
            _ if request.head || status == 304 => BodyLength::None,
            (Some(Coding::Chunked), _) => BodyLength::Chunked,
            (None, Some(0)) => BodyLength::None,
            (None, Some(n)) => BodyLength::Length(n),
            (None, None) => BodyLength::UntilClose,
        }
    };
    connection::remove_hop_options(message.fields_mut(), noted, &options, options.upgrade);
    let doubtful = coding.is_some() && (length.is_some() || version == HttpVersion::Http10);
    let ends = !matches!(body, BodyLength::UntilClose | BodyLength::Tunnel);
    Ok(ParseStatus::Done(Parsed {
        consumed,
        body,
        keep_alive: ends && !doubtful && options.is_keep_alive(version),
        upgrade,
        expect_continue: false,
        interim: status < 200 && !tunnel,
    }))
}

fn check_accept(message: &HttpMessage, request: &RequestFacts) -> Result<(), HttpParseError> {
    let wanted = request.accept.filter(|_| request.checks_accept);
    match wanted {
        Some(wanted) if message.get(b"sec-websocket-accept") != Some(wanted.as_bytes()) => {
            Err(HttpParseError::new(FaultKind::WebSocketKey, 0))
        }
        _ => Ok(()),
    }
}

/// Parses version, status and reason, separated by any number of blanks.
fn status_line(
    line: HeadLine<'_>,
    relaxed: bool,
) -> Result<(HttpVersion, u16, &[u8]), HttpParseError> {
    let bytes = line.bytes;
    let fault = |kind, at| HttpParseError::new(kind, line.at + at);
    let version_end = memchr::memchr2(b' ', b'\t', bytes).unwrap_or(bytes.len());
    let version = version_of(&bytes[..version_end], relaxed).ok_or(fault(FaultKind::Version, 0))?;
    let skip = |mut at: usize| {
        while matches!(bytes.get(at), Some(b' ' | b'\t')) {
            at += 1;
        }
        at
    };
    let status_at = skip(version_end);
    let status = match bytes.get(status_at..status_at + 3) {
        Some([a @ b'1'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9']) => {
            u16::from(a - b'0') * 100 + u16::from(b - b'0') * 10 + u16::from(c - b'0')
        }
        _ => return Err(fault(FaultKind::Status, status_at)),
    };
    let status_end = status_at + 3;
    if !matches!(bytes.get(status_end), None | Some(b' ' | b'\t')) {
        return Err(fault(FaultKind::Status, status_end));
    }
    Ok((version, status, &bytes[skip(status_end)..]))
}

fn check_partial(lines: &HeadLineReader<'_>) -> Result<(), HttpParseError> {
    const START: &[u8] = b"HTTP/";
    let rest = lines.rest();
    let n = rest.len().min(START.len());
    if rest[..n] == START[..n] || rest == b"\r" {
        Ok(())
    } else {
        Err(HttpParseError::new(FaultKind::Version, lines.at))
    }
}
