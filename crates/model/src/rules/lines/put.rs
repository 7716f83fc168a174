//! Converts messages to lines for the rules of HAProxy 1.x, and changed lines back to messages.
//! The result of a rule is parsed as strictly as data from the network. Invalid request lines,
//! invalid headers and changed body framing are refused, because two sides that parse one message
//! differently allow request smuggling.

use crate::rules::action::is_framing;
use crate::transaction::ProxyStream;
use http::message::{HttpMessage, HttpVersion, TargetForm, TargetParts};

/// Error: the result of a rule is not a valid message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct InvalidMessage;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Put {
    Done,
    /// The header was removed; the later ones moved up.
    Removed,
    /// The header is unchanged, because it frames the body.
    Kept,
}

fn message(stream: &mut ProxyStream, response: bool) -> &mut HttpMessage {
    if response {
        &mut stream.response
    } else {
        &mut stream.request
    }
}

/// Returns the target as a line shows it. A target of HTTP/2 is shown without scheme and host,
/// which its client sends in separate fields.
fn shown_target(request: &HttpMessage) -> &[u8] {
    if request.is_target_composed() && !request.path_and_query().is_empty() {
        request.path_and_query()
    } else {
        request.target()
    }
}

fn version_text(version: HttpVersion) -> &'static [u8] {
    match version {
        HttpVersion::Http10 => b"HTTP/1.0",
        _ => b"HTTP/1.1",
    }
}

/// Writes the first line of a message.
pub(super) fn start_line(stream: &ProxyStream, response: bool, line: &mut Vec<u8>) {
    line.clear();
    if response {
        let answer = &stream.response;
        line.extend_from_slice(version_text(answer.version()));
        line.push(b' ');
        line.extend_from_slice(answer.status().to_string().as_bytes());
        line.push(b' ');
        line.extend_from_slice(answer.reason());
    } else {
        let request = &stream.request;
        line.extend_from_slice(request.method());
        line.push(b' ');
        line.extend_from_slice(shown_target(request));
        line.push(b' ');
        line.extend_from_slice(version_text(request.version()));
    }
}

/// Replaces the first line. The HTTP version stays that of the sender, since a rule does not change
/// what the sender can understand.
pub(super) fn replace_start(
    stream: &mut ProxyStream,
    response: bool,
    line: &[u8],
) -> Result<(), InvalidMessage> {
    if response {
        status_line(&mut stream.response, line)
    } else {
        request_line(stream, line)
    }
}

fn request_line(stream: &mut ProxyStream, line: &[u8]) -> Result<(), InvalidMessage> {
    let first = memchr::memchr(b' ', line).ok_or(InvalidMessage)?;
    let last = memchr::memrchr(b' ', line).ok_or(InvalidMessage)?;
    let (method, version) = (&line[..first], &line[last + 1..]);
    if last <= first || !matches!(version, b"HTTP/1.0" | b"HTTP/1.1") {
        return Err(InvalidMessage);
    }
    let target = line[first..last].trim_ascii();
    if method != stream.request.method() {
        // Refuses a change to or from HEAD or CONNECT: responses to these methods end differently
        // from those to other methods.
        let special = |method: &[u8]| matches!(method, b"HEAD" | b"CONNECT");
        if special(method) || special(stream.request.method()) {
            return Err(InvalidMessage);
        }
        stream.keep_received();
        stream
            .request
            .set_method(method)
            .map_err(|_| InvalidMessage)?;
    }
    if target == shown_target(&stream.request) {
        return Ok(());
    }
    let parts = TargetParts::of(target);
    let authority = &target[parts.authority_start..parts.path_start];
    let fits = match parts.form {
        TargetForm::Origin => true,
        TargetForm::Absolute => !authority.is_empty(),
        TargetForm::Asterisk => stream.request.method() == b"OPTIONS",
        TargetForm::Authority => false,
    };
    if !fits || stream.request.method() == b"CONNECT" {
        return Err(InvalidMessage);
    }
    stream.keep_received();
    let request = &mut stream.request;
    if request.is_target_composed() && parts.form == TargetForm::Origin {
        request.set_path_and_query(target)
    } else {
        request.set_target(target)
    }
    .map_err(|_| InvalidMessage)
}

fn status_line(answer: &mut HttpMessage, line: &[u8]) -> Result<(), InvalidMessage> {
    let mut parts = line.splitn(3, |byte| *byte == b' ');
    let version = parts.next().unwrap_or_default();
    let status = parts.next().unwrap_or_default();
    let reason = parts.next().unwrap_or_default();
    if !matches!(version, b"HTTP/1.0" | b"HTTP/1.1") || status.len() != 3 {
        return Err(InvalidMessage);
    }
    let status: u16 = std::str::from_utf8(status)
        .ok()
        .and_then(|digits| digits.parse().ok())
        .filter(|status| (100..1000).contains(status))
        .ok_or(InvalidMessage)?;
    // Refuses a change to or from a status whose response has no body or continues as another
    // protocol.
    let special = |status: u16| status < 200 || matches!(status, 204 | 304);
    if status != answer.status() && (special(status) || special(answer.status())) {
        return Err(InvalidMessage);
    }
    answer
        .set_status(status, Some(reason))
        .map_err(|_| InvalidMessage)
}

pub(super) fn remove(stream: &mut ProxyStream, response: bool, at: usize) -> Put {
    let message = message(stream, response);
    let framing = message
        .fields()
        .at(at)
        .is_none_or(|(name, _)| is_framing(name));
    if framing {
        return Put::Kept;
    }
    message.fields_mut().remove_at(at);
    Put::Removed
}

/// Replaces the line of a header. An empty line removes it.
pub(super) fn replace_header(
    stream: &mut ProxyStream,
    response: bool,
    at: usize,
    line: &[u8],
) -> Result<Put, InvalidMessage> {
    if line.trim_ascii().is_empty() {
        return Ok(remove(stream, response, at));
    }
    let colon = memchr::memchr(b':', line).ok_or(InvalidMessage)?;
    let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
    let Some((old, old_value)) = message(stream, response).fields().at(at) else {
        return Ok(Put::Done);
    };
    let same_name = old.eq_ignore_ascii_case(name);
    if is_framing(old) {
        let same = same_name && old_value == value;
        return Ok(if same { Put::Done } else { Put::Kept });
    }
    if is_framing(name) {
        return Err(InvalidMessage);
    }
    let was_host = old == b"host";
    if !response && name.eq_ignore_ascii_case(b"host") {
        return host(stream, at, was_host, value);
    }
    let message = message(stream, response);
    let done = if same_name {
        message.fields_mut().replace_value(at, value)
    } else {
        message.fields_mut().replace(at, name, value)
    };
    done.map_err(|_| InvalidMessage)?;
    if !same_name {
        super::names(stream, response).add(name);
    }
    Ok(Put::Done)
}

/// Adds the headers that a replacement has after its first line.
pub(super) fn add_headers(
    stream: &mut ProxyStream,
    response: bool,
    lines: &[u8],
) -> Result<(), InvalidMessage> {
    for line in lines.split(|byte| *byte == b'\n') {
        let line = line.trim_ascii();
        if line.is_empty() {
            continue;
        }
        let (name, value) = super::build::header(line).ok_or(InvalidMessage)?;
        // Refuses a second host and different framing of the body, which would allow two readings
        // of the message.
        if is_framing(name) || (!response && name.eq_ignore_ascii_case(b"host")) {
            return Err(InvalidMessage);
        }
        message(stream, response)
            .add(name, value)
            .map_err(|_| InvalidMessage)?;
        super::names(stream, response).add(name);
    }
    Ok(())
}

/// Replaces the host of a request. A request has one host, and its target must agree with it.
fn host(
    stream: &mut ProxyStream,
    at: usize,
    was_host: bool,
    value: &[u8],
) -> Result<Put, InvalidMessage> {
    if stream.request.is_target_composed() {
        // Saves the request line for logs: with HTTP/2, the target of the request changes together
        // with the host.
        stream.keep_received();
    }
    if !was_host {
        stream.request.fields_mut().remove_at(at);
    }
    let same = stream.request.get(b"host") == Some(value);
    if !same {
        stream
            .request
            .set(b"host", value)
            .map_err(|_| InvalidMessage)?;
    }
    Ok(if was_host && same {
        Put::Done
    } else {
        // Reports the header as removed from its position: it is now at the end.
        Put::Removed
    })
}
