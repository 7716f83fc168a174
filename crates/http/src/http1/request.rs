//! Parses the heads of HTTP/1 requests.
//!
//! Refusals and rewrites follow HAProxy 2.6, and are stricter where HAProxy accepts input that a
//! server could interpret differently: see the table in the tests.

use super::connection;
use super::fault::{FaultKind, HttpParseError};
use super::head::{self, HeadLine, HeadLineReader, Noted, Section};
use super::host;
use super::length::{self, Coding};
use super::{BodyLength, Limits, ParseStatus, Parsed, prepare};
use crate::message::{HttpMessage, HttpVersion, NAME_BYTES, TargetForm, TargetParts};

/// The connection preface of an HTTP/2 client (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Result of the check for HTTP/2's preface.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Preface {
    Yes,
    Partial,
    No,
}

pub fn http2_preface(bytes: &[u8]) -> Preface {
    if bytes.starts_with(PREFACE) {
        Preface::Yes
    } else if PREFACE.starts_with(bytes) {
        Preface::Partial
    } else {
        Preface::No
    }
}

/// Parses the head of a request from all bytes received so far. The message is unspecified unless
/// the result is [`ParseStatus::Done`].
///
/// # Errors
/// The head is longer than `limits.head_bytes`, has more lines than `limits.headers`, or is
/// malformed: see [`FaultKind`]. An incomplete first line that cannot begin a request fails at
/// once.
pub fn parse_request(
    bytes: &[u8],
    limits: &Limits,
    message: &mut HttpMessage,
) -> Result<ParseStatus, HttpParseError> {
    let mut lines = HeadLineReader::new(bytes);
    let Some(line) = lines.start_line(limits, check_partial)? else {
        return Ok(ParseStatus::Incomplete);
    };
    prepare(message, limits, bytes.len());
    let start = RequestLine::parse(line, limits)?;
    let too_long = HttpParseError::new(FaultKind::HeadTooLong, limits.head_bytes);
    if lines.at > limits.head_bytes {
        return Err(too_long);
    }
    message
        .begin_request_checked(start.method, start.target, start.version)
        .map_err(|_| too_long)?;
    if start.simple {
        return Ok(ParseStatus::Done(simple_request(lines.at)));
    }
    let mut noted = Noted::default();
    let fields = message.fields_mut();
    if head::parse_fields(&mut lines, limits, fields, &mut noted)? == Section::Incomplete {
        return Ok(ParseStatus::Incomplete);
    }
    let target_at = line.at + start.target_at;
    host::check(message, &noted, target_at, limits.accept_invalid)?;
    finish(message, &noted, limits, lines.at)
}

/// Makes the facts of an HTTP/0.9 request under `accept-invalid-http-request`: the head is a single
/// line, forwarded as HTTP/1.0.
fn simple_request(consumed: usize) -> Parsed {
    Parsed {
        consumed,
        body: BodyLength::None,
        keep_alive: false,
        upgrade: None,
        expect_continue: false,
        interim: false,
    }
}

fn finish(
    message: &mut HttpMessage,
    noted: &Noted,
    limits: &Limits,
    consumed: usize,
) -> Result<ParseStatus, HttpParseError> {
    let version = message.version();
    let (body, doubtful) = body_of(message, noted, limits)?;
    let options = connection::options(message.fields_mut(), noted);
    let upgrade = connection::request_upgrade(message, noted, &options, body == BodyLength::None)?;
    connection::remove_hop_options(message.fields_mut(), noted, &options, upgrade.is_some());
    let expect_continue = expects_continue(message, noted);
    Ok(ParseStatus::Done(Parsed {
        consumed,
        body,
        keep_alive: !doubtful && options.is_keep_alive(version),
        upgrade,
        expect_continue,
        interim: false,
    }))
}

#[inline]
pub(crate) fn expects_continue(message: &HttpMessage, noted: &Noted) -> bool {
    noted.expect.has_occurred()
        && message.version() != HttpVersion::Http10
        && message
            .fields()
            .values(b"expect")
            .any(|v| v.eq_ignore_ascii_case(b"100-continue"))
}

fn body_of(
    message: &mut HttpMessage,
    noted: &Noted,
    limits: &Limits,
) -> Result<(BodyLength, bool), HttpParseError> {
    if !noted.content_length.has_occurred() && !noted.transfer_encoding.has_occurred() {
        return Ok((BodyLength::None, false));
    }
    let old = message.version() == HttpVersion::Http10;
    let length = length::content_length(message.fields_mut(), noted)?;
    let coding = length::transfer_encoding(message.fields_mut(), noted)?;
    if message.method() == b"CONNECT" {
        length::remove_both(message.fields_mut());
        return Ok((BodyLength::None, true));
    }
    let bodiless = old
        && !limits.body_with_any_method
        && matches!(message.method(), b"GET" | b"HEAD" | b"DELETE");
    if coding == Some(Coding::Chunked) {
        if bodiless {
            return Err(noted.transfer_encoding.fault(FaultKind::UnexpectedBody));
        }
        message.remove(b"content-length");
        // Reuses neither connection after chunks in HTTP/1.0, which has none: recipients on the
        // path may not have treated the body as chunked (RFC 9112, section 6.1).
        return Ok((BodyLength::Chunked, length.is_some() || old));
    }
    match length {
        None | Some(0) => Ok((BodyLength::None, false)),
        Some(_) if bodiless => Err(noted.content_length.fault(FaultKind::UnexpectedBody)),
        Some(n) => Ok((BodyLength::Length(n), false)),
    }
}

struct RequestLine<'a> {
    method: &'a [u8],
    target: &'a [u8],
    target_at: usize,
    version: HttpVersion,
    /// True for a request of HTTP/0.9.
    simple: bool,
}

fn blanks(bytes: &[u8], mut at: usize) -> usize {
    while matches!(bytes.get(at), Some(b' ' | b'\t')) {
        at += 1;
    }
    at
}

impl<'a> RequestLine<'a> {
    /// Parses method, target and version, separated by any number of blanks, as HAProxy accepts
    /// them. They are forwarded with one space.
    fn parse(line: HeadLine<'a>, limits: &Limits) -> Result<Self, HttpParseError> {
        let bytes = line.bytes;
        let fault = |kind, at| HttpParseError::new(kind, line.at + at);
        if bytes.starts_with(b"PRI ") {
            return Err(fault(FaultKind::Http2Preface, 0));
        }
        let method_end = method_end(bytes).map_err(|(kind, at)| fault(kind, at))?;
        let target_at = blanks(bytes, method_end);
        let target_end = memchr::memchr2(b' ', b'\t', &bytes[target_at..])
            .map_or(bytes.len(), |at| target_at + at);
        let target = &bytes[target_at..target_end];
        if let Some(at) = target
            .iter()
            .position(|b| !is_target_byte(*b, limits.accept_invalid))
        {
            return Err(fault(FaultKind::TargetByte, target_at + at));
        }
        let method = &bytes[..method_end];
        let version_at = blanks(bytes, target_end);
        let simple = version_at == bytes.len();
        let version = if simple {
            if !limits.accept_invalid || method != b"GET" || target.first() != Some(&b'/') {
                return Err(fault(FaultKind::Http09, version_at));
            }
            HttpVersion::Http10
        } else {
            version_of(&bytes[version_at..], limits.accept_invalid)
                .ok_or(fault(FaultKind::Version, version_at))?
        };
        if !limits.accept_invalid && !is_target_form_allowed(method, target) {
            return Err(fault(FaultKind::TargetForm, target_at));
        }
        Ok(RequestLine {
            method,
            target,
            target_at,
            version,
            simple,
        })
    }
}

fn method_end(bytes: &[u8]) -> Result<usize, (FaultKind, usize)> {
    let end = bytes
        .iter()
        .position(|b| NAME_BYTES[*b as usize] == 0)
        .unwrap_or(bytes.len());
    match bytes.get(end) {
        Some(b' ' | b'\t') if end > 0 => Ok(end),
        Some(b' ' | b'\t') => Err((FaultKind::MethodMissing, 0)),
        Some(_) => Err((FaultKind::MethodByte, end)),
        None => Err((FaultKind::Http09, end)),
    }
}

pub(crate) fn is_target_byte(byte: u8, relaxed: bool) -> bool {
    match byte {
        b'#' | 0x80.. => relaxed,
        b'!'..=b'~' => true,
        _ => false,
    }
}

/// Parses the version: `HTTP/1.0`, or `HTTP/1.1` and later minor versions. In relaxed mode any
/// numbers are accepted, and those from 1.1 up count as 1.1.
pub(super) fn version_of(bytes: &[u8], relaxed: bool) -> Option<HttpVersion> {
    match bytes {
        b"HTTP/1.1" => return Some(HttpVersion::Http11),
        b"HTTP/1.0" => return Some(HttpVersion::Http10),
        [b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'2'..=b'9'] => {
            return Some(HttpVersion::Http11);
        }
        _ => {}
    }
    if !relaxed {
        return None;
    }
    let number = bytes.strip_prefix(b"HTTP/")?;
    let dot = memchr::memchr(b'.', number)?;
    let digits = |part: &[u8]| -> Option<u16> {
        let text = std::str::from_utf8(part).ok()?;
        if part.iter().all(u8::is_ascii_digit) {
            text.parse().ok()
        } else {
            None
        }
    };
    match (digits(&number[..dot])?, digits(&number[dot + 1..])?) {
        (0, _) | (1, 0) => Some(HttpVersion::Http10),
        _ => Some(HttpVersion::Http11),
    }
}

fn is_target_form_allowed(method: &[u8], target: &[u8]) -> bool {
    if target.first() == Some(&b'/') {
        return method != b"CONNECT";
    }
    let parts = TargetParts::of(target);
    if method == b"CONNECT" {
        return parts.form == TargetForm::Authority && host::is_host_and_port(target);
    }
    match parts.form {
        TargetForm::Origin => true,
        // Allows `*` with OPTIONS only, which refers to the server as a whole (RFC 9112, 3.2.4).
        TargetForm::Asterisk => method == b"OPTIONS",
        // Requires an authority, optionally followed by a path.
        TargetForm::Absolute => {
            parts.authority_start < parts.path_start
                && matches!(target.get(parts.path_start), None | Some(b'/'))
        }
        TargetForm::Authority => false,
    }
}

/// Checks an incomplete first line: input that cannot begin a request is refused at once. Otherwise
/// a TLS hello on a port without TLS would wait for a line feed.
fn check_partial(lines: &HeadLineReader<'_>) -> Result<(), HttpParseError> {
    let rest = lines.rest();
    if rest.is_empty() || rest == b"\r" {
        return Ok(());
    }
    match method_end(rest) {
        Ok(_) | Err((FaultKind::Http09, _)) => Ok(()),
        Err((FaultKind::MethodByte, at)) if rest[at..] == *b"\r" => Ok(()),
        Err((kind, at)) => Err(HttpParseError::new(kind, lines.at + at)),
    }
}
