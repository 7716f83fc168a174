//! Builds the HTTP request of a health check, and parses the part of the response that has
//! arrived so far, without IO.

use super::expect::{ANSWER_MAX, Filled};
use super::scene::Scene;
use crate::script::HttpSend;

const HEADERS_MAX: usize = 101;

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Request {
    pub method: Vec<u8>,
    pub uri: Vec<u8>,
    /// HTTP version of the request, as in `HTTP/1.1`.
    pub version: Vec<u8>,
    /// Header fields with lower-case names, without the body length and `connection`.
    pub fields: Vec<(Vec<u8>, Vec<u8>)>,
    pub body: Vec<u8>,
    /// `connection` field: true for `close`, false for others; None without the field.
    closes: Option<bool>,
}

impl Request {
    /// Evaluates the configured request. `state` is the value of `http-check send-state`.
    pub fn of(send: &HttpSend, scene: &mut Scene<'_>, state: Option<&str>) -> Request {
        let mut uri = match &send.uri {
            Some(uri) => scene.text(uri).into_owned(),
            None => Vec::new(),
        };
        if uri.is_empty() {
            uri.push(b'/');
        }
        let mut closes = None;
        let mut fields = Vec::with_capacity(send.headers.len() + 1);
        for (name, value) in &send.headers {
            let name = name.to_ascii_lowercase();
            let value = scene.text(value).into_owned();
            match &name[..] {
                // Drops the configured framing headers: [`Request::write`] sets the length itself.
                b"content-length" | b"transfer-encoding" => {}
                b"connection" => closes = Some(value.eq_ignore_ascii_case(b"close")),
                _ => fields.push((name, value)),
            }
        }
        let host = fields.iter().find(|(name, _)| name == b"host");
        if let Some((_, host)) = host {
            uri = with_authority(uri, host);
        }
        if let Some(state) = state {
            fields.push((
                b"x-haproxy-server-state".to_vec(),
                state.as_bytes().to_vec(),
            ));
        }
        let body = send.body.as_ref().map(|body| scene.text(body).into_owned());
        Request {
            method: send.method.as_deref().unwrap_or("OPTIONS").into(),
            uri,
            version: send.version.as_deref().unwrap_or("HTTP/1.0").into(),
            fields,
            body: body.unwrap_or_default(),
            closes,
        }
    }

    pub fn write(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(256 + self.body.len());
        let mut put =
            |pieces: &[&[u8]]| pieces.iter().for_each(|piece| out.extend_from_slice(piece));
        put(&[&self.method, b" ", &self.uri, b" ", &self.version, b"\r\n"]);
        for (name, value) in &self.fields {
            put(&[name, b": ", value, b"\r\n"]);
        }
        if !self.body.is_empty() {
            let length = self.body.len().to_string();
            put(&[b"content-length: ", length.as_bytes(), b"\r\n"]);
        }
        let stays_by_itself = self.version.ends_with(b"/1.1");
        match (self.closes.unwrap_or(true), stays_by_itself) {
            (true, true) => put(&[b"connection: close\r\n"]),
            (false, false) => put(&[b"connection: keep-alive\r\n"]),
            _ => {}
        }
        put(&[b"\r\n", &self.body]);
        out
    }
}

/// Replaces the host of an absolute URI by that of the `host` field.
fn with_authority(uri: Vec<u8>, host: &[u8]) -> Vec<u8> {
    let Some(at) = memchr::memmem::find(&uri, b"://") else {
        return uri;
    };
    let (before, rest) = uri.split_at(at + 3);
    let path = rest.iter().position(|byte| b"/?#".contains(byte));
    let path = path.map_or(&b""[..], |at| &rest[at..]);
    [before, host, path].concat()
}

/// Reason why no response head was parsed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unfinished {
    Wait,
    /// The head is invalid, or the connection ended before the head was complete.
    Never,
}

/// A response whose body may still be incomplete.
pub struct HttpCheckResponse {
    pub code: u16,
    pub reason: Vec<u8>,
    fields: Vec<(Vec<u8>, Vec<u8>)>,
    pub body: Vec<u8>,
    pub(crate) body_is_whole: bool,
}

impl HttpCheckResponse {
    /// Parses the received bytes. `ended`: no more bytes will be examined, because the server
    /// closed the connection or [`ANSWER_MAX`] bytes have arrived.
    ///
    /// # Errors
    /// `Wait` if the head is incomplete and `ended` is false. `Never` if the head is invalid or has
    /// too many headers, or is incomplete and `ended` is true.
    pub fn parse(bytes: &[u8], ended: bool) -> Result<HttpCheckResponse, Unfinished> {
        let bytes = &bytes[..bytes.len().min(ANSWER_MAX)];
        let mut fields = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut head = httparse::Response::new(&mut fields);
        let parsed = httparse::ParserConfig::default()
            .allow_spaces_after_header_name_in_responses(true)
            .parse_response(&mut head, bytes);
        let length = match parsed {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) if !ended => return Err(Unfinished::Wait),
            _ => return Err(Unfinished::Never),
        };
        let (body, body_is_whole) = body_of(head.headers, &bytes[length..]);
        let owned = |field: &httparse::Header<'_>| {
            (
                field.name.to_ascii_lowercase().into_bytes(),
                field.value.trim_ascii().to_vec(),
            )
        };
        Ok(HttpCheckResponse {
            code: head.code.unwrap_or(0),
            reason: head.reason.unwrap_or("").as_bytes().to_vec(),
            fields: head.headers.iter().map(owned).collect(),
            body,
            body_is_whole,
        })
    }

    /// Returns whether a field matches. `full`: commas do not separate values.
    pub(crate) fn has_field(
        &self,
        name: &Filled<'_>,
        value: Option<&Filled<'_>>,
        full: bool,
    ) -> bool {
        self.fields.iter().any(|(field, text)| {
            name.matches(field)
                && match value {
                    None => true,
                    Some(value) if full => value.matches(text),
                    Some(value) => text
                        .split(|byte| *byte == b',')
                        .any(|part| value.matches(part.trim_ascii())),
                }
        })
    }
}

/// Returns the received part of a body, and whether it is complete.
fn body_of(fields: &[httparse::Header<'_>], rest: &[u8]) -> (Vec<u8>, bool) {
    let value = |name: &str| {
        fields
            .iter()
            .find(|f| f.name.eq_ignore_ascii_case(name))
            .map(|f| f.value.trim_ascii())
    };
    if value("transfer-encoding").is_some_and(|v| v.to_ascii_lowercase().ends_with(b"chunked")) {
        return unchunked(rest);
    }
    let length = value("content-length")
        .and_then(|v| std::str::from_utf8(v).ok())
        .and_then(|v| v.parse::<usize>().ok());
    match length {
        Some(length) if rest.len() >= length => (rest[..length].to_vec(), true),
        _ => (rest.to_vec(), false),
    }
}

fn unchunked(mut rest: &[u8]) -> (Vec<u8>, bool) {
    let mut bytes = Vec::new();
    while let Ok(httparse::Status::Complete((start, size))) = httparse::parse_chunk_size(rest) {
        if size == 0 {
            return (bytes, true);
        }
        let chunk = &rest[start..];
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        if chunk.len() < size.saturating_add(2) {
            bytes.extend_from_slice(&chunk[..chunk.len().min(size)]);
            break;
        }
        bytes.extend_from_slice(&chunk[..size]);
        rest = &chunk[size + 2..];
    }
    (bytes, false)
}
