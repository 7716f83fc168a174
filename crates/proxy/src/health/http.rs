//! The HTTP check as a value: the bytes to send, and what the answer means.

use crate::config::Check;
use crate::state::{CheckResult, CheckStatus};
use regex::bytes::Regex;

/// Most bytes of an answer that are looked at.
pub const ANSWER_MAX: usize = 16 * 1024;
/// Most header fields of an answer.
const HEADERS_MAX: usize = 101;

/// A status or a range of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StatusRange {
    /// The first.
    pub first: u16,
    /// The last.
    pub last: u16,
}

/// How text is compared.
#[derive(Clone, Debug)]
pub enum Matcher {
    /// Whole.
    Exact(Box<[u8]>),
    /// At the beginning.
    Begin(Box<[u8]>),
    /// At the end.
    End(Box<[u8]>),
    /// Anywhere.
    Contains(Box<[u8]>),
    /// By a regular expression.
    Regex(Regex),
}

impl Matcher {
    /// Whether text is as it wants it.
    pub fn matches(&self, text: &[u8]) -> bool {
        match self {
            Matcher::Exact(want) => text == &**want,
            Matcher::Begin(want) => text.starts_with(want),
            Matcher::End(want) => text.ends_with(want),
            Matcher::Contains(want) => memchr::memmem::find(text, want).is_some(),
            Matcher::Regex(want) => want.is_match(text),
        }
    }
}

/// What is looked at.
#[derive(Clone, Debug)]
pub enum Pattern {
    /// `status`.
    Status(Vec<StatusRange>),
    /// `rstatus`.
    StatusText(Regex),
    /// `string`: the body holds this.
    Body(Box<[u8]>),
    /// `rstring`.
    BodyRegex(Regex),
    /// `hdr` (each comma-separated value) and `fhdr` (whole fields).
    Header {
        /// How names are compared (without case where it is a plain one).
        name: Matcher,
        /// How values are; None: the field is enough.
        value: Option<Matcher>,
        /// `fhdr`.
        full: bool,
    },
}

/// What an HTTP check's answer must be.
#[derive(Clone, Debug)]
pub struct Expect {
    /// What is looked at.
    pub pattern: Pattern,
    /// `!`: it must not be so.
    pub negated: bool,
    /// `min-recv`: no verdict on fewer bytes.
    pub min_recv: usize,
}

/// What is known of an answer so far.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// More must come.
    Incomplete,
    /// The verdict.
    Complete(CheckResult),
}

/// The request of a check, in the version and with the fields of the file.
/// `state` is the line of `http-check send-state`.
pub fn request(check: &Check, state: Option<&str>) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    out.extend_from_slice(check.method().as_bytes());
    out.push(b' ');
    out.extend_from_slice(check.uri());
    out.push(b' ');
    out.extend_from_slice(check.version().as_bytes());
    out.extend_from_slice(b"\r\n");
    let mut field = |name: &[u8], value: &[u8]| {
        out.extend_from_slice(name);
        out.extend_from_slice(b": ");
        out.extend_from_slice(value);
        out.extend_from_slice(b"\r\n");
    };
    let headers = check.headers();
    let has = |name: &str| {
        headers
            .iter()
            .any(|(given, _)| given.eq_ignore_ascii_case(name.as_bytes()))
    };
    for (name, value) in headers {
        field(&name.to_ascii_lowercase(), value);
    }
    if let Some(state) = state {
        field(b"x-haproxy-server-state", state.as_bytes());
    }
    let body = check.body();
    if !body.is_empty() && !has("content-length") {
        field(b"content-length", body.len().to_string().as_bytes());
    }
    if check.version().ends_with("/1.1") && !has("connection") {
        field(b"connection", b"close");
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(body);
    out
}

/// Judges what has come of an answer. `ended`: nothing more will.
/// `up`: the server is; only then a 404 can ask for a gentle end.
pub fn judge(check: &Check, bytes: &[u8], ended: bool, up: bool) -> Answer {
    let bytes = &bytes[..bytes.len().min(ANSWER_MAX)];
    let ended = ended || bytes.len() == ANSWER_MAX;
    let mut fields = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut head = httparse::Response::new(&mut fields);
    let parsed = httparse::ParserConfig::default()
        .allow_spaces_after_header_name_in_responses(true)
        .parse_response(&mut head, bytes);
    let length = match parsed {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) if !ended => return Answer::Incomplete,
        _ => return Answer::Complete(CheckResult::new(CheckStatus::Layer7Invalid, 0)),
    };
    let code = head.code.unwrap_or(0);
    let reason = head.reason.unwrap_or("").to_owned();
    let by_status = |status: CheckStatus| {
        let info = if status == CheckStatus::Layer7Status {
            reason.clone()
        } else {
            String::new()
        };
        Answer::Complete(CheckResult::new(status, 0).code(code).info(info))
    };
    if code == 404 && check.disable_on_404 && up {
        return by_status(CheckStatus::Layer7OkConditional);
    }
    if check.expects.is_empty() {
        return by_status(match code {
            200..=399 => CheckStatus::Layer7Ok,
            _ => CheckStatus::Layer7Status,
        });
    }
    let body = body_of(head.headers, &bytes[length..]);
    let mut last = Answer::Incomplete;
    for expect in &check.expects {
        last = expect.judge(code, &reason, head.headers, &body, ended);
        match &last {
            Answer::Complete(result) if result.status == CheckStatus::Layer7Ok => {}
            _ => return last,
        }
    }
    last
}

/// What has come of a body, and whether that is all of it.
struct Body {
    bytes: Vec<u8>,
    whole: bool,
}

fn body_of(fields: &[httparse::Header<'_>], rest: &[u8]) -> Body {
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
        Some(length) if rest.len() >= length => Body {
            bytes: rest[..length].to_vec(),
            whole: true,
        },
        _ => Body {
            bytes: rest.to_vec(),
            whole: false,
        },
    }
}

fn unchunked(mut rest: &[u8]) -> Body {
    let mut bytes = Vec::new();
    while let Ok(httparse::Status::Complete((start, size))) = httparse::parse_chunk_size(rest) {
        if size == 0 {
            return Body { bytes, whole: true };
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
    Body {
        bytes,
        whole: false,
    }
}

impl Expect {
    fn judge(
        &self,
        code: u16,
        reason: &str,
        fields: &[httparse::Header<'_>],
        body: &Body,
        ended: bool,
    ) -> Answer {
        let all = ended || body.whole;
        let on_body = matches!(self.pattern, Pattern::Body(_) | Pattern::BodyRegex(_));
        if on_body && !all && body.bytes.len() < self.min_recv {
            return Answer::Incomplete;
        }
        let found = match &self.pattern {
            Pattern::Status(ranges) => ranges
                .iter()
                .any(|range| (range.first..=range.last).contains(&code)),
            Pattern::StatusText(regex) => regex.is_match(format!("{code:03}").as_bytes()),
            Pattern::Body(text) => memchr::memmem::find(&body.bytes, text).is_some(),
            Pattern::BodyRegex(regex) => regex.is_match(&body.bytes),
            Pattern::Header { name, value, full } => fields
                .iter()
                .any(|field| header_matches(field, name, value.as_ref(), *full)),
        };
        // More of the body can bring what is wanted, or what is not.
        if on_body && !found && !all {
            return Answer::Incomplete;
        }
        let result = |status| CheckResult::new(status, 0);
        Answer::Complete(if found != self.negated {
            result(CheckStatus::Layer7Ok).code(code)
        } else if !on_body {
            result(CheckStatus::Layer7Status)
                .code(code)
                .info(reason.to_owned())
        } else if self.negated {
            result(CheckStatus::Layer7Invalid).info("HTTP check matched unwanted content")
        } else {
            result(CheckStatus::Layer7Invalid).info("HTTP content check did not match")
        })
    }
}

fn header_matches(
    field: &httparse::Header<'_>,
    name: &Matcher,
    value: Option<&Matcher>,
    full: bool,
) -> bool {
    let lower = field.name.to_ascii_lowercase();
    if !name.matches(lower.as_bytes()) {
        return false;
    }
    let Some(value) = value else { return true };
    if full {
        return value.matches(field.value.trim_ascii());
    }
    field
        .value
        .split(|byte| *byte == b',')
        .any(|part| value.matches(part.trim_ascii()))
}
