//! Defines a single message type for every version of HTTP: a start line and an ordered list of
//! header fields in one block of memory. HTTP/1 is parsed into it and written from it, and the
//! field lists of HTTP/2 are converted to it and from it.
//!
//! The module never reads or writes a socket and decides nothing about framing. A message contains
//! nothing that could split its head when it is written.

mod authentication;
mod cookie;
mod fields;
mod query;
mod target;
mod trim;
mod values;

pub use authentication::ConnectionChallenge;
pub use cookie::{CookiePairs, pair_end, request_cookies, response_cookies};
pub use fields::{Fields, MESSAGE_BYTES_DEFAULT, MESSAGE_BYTES_MAX, MessageEditError, NAME_BYTES};
pub use query::{parameters, query_parameter};
pub use target::{TargetForm, TargetParts};
pub use trim::trim;
pub use values::{Values, split_values};

use fields::{StartLinePiece, check_name};
use std::collections::HashMap;
use std::sync::Arc;

/// Version of HTTP that the sender used.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum HttpVersion {
    Http10,
    /// HTTP/1.1, or any later minor version of 1, which is compatible.
    Http11,
    Http2,
    Http3,
}

impl HttpVersion {
    /// Returns the number as in `req.ver` and logs, such as `1.1`.
    pub fn number(self) -> &'static str {
        match self {
            HttpVersion::Http10 => "1.0",
            HttpVersion::Http11 => "1.1",
            HttpVersion::Http2 => "2.0",
            HttpVersion::Http3 => "3.0",
        }
    }

    fn wire(self) -> &'static [u8] {
        match self {
            HttpVersion::Http10 => b"HTTP/1.0",
            _ => b"HTTP/1.1",
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StartLine<'a> {
    Request {
        method: &'a [u8],
        /// Target as sent: `/path?query`, `http://host/path`, `*`, `host:443`.
        target: &'a [u8],
        version: HttpVersion,
    },
    Response {
        version: HttpVersion,
        /// Status code, 100 to 999.
        status: u16,
        /// Reason phrase. May be empty.
        reason: &'a [u8],
    },
}

#[derive(Clone, Copy, Debug)]
enum MessageKind {
    Empty,
    Request { method_len: u32, target_len: u32 },
    Response { status: u16 },
}

/// Length of `HTTP/1.1 200 ` before the reason, bytes.
const RESPONSE_PREFIX_BYTES: usize = 13;

/// A request or a response without its body.
#[derive(Clone, Debug)]
pub struct HttpMessage {
    fields: Fields,
    kind: MessageKind,
    version: HttpVersion,
    /// Result of [`HttpMessage::is_target_composed`] for this message.
    composed: bool,
    cases: Option<Arc<HeaderCases>>,
}

/// Spelling of header names for recipients that depend on the case. The keys are in lower case.
pub type HeaderCases = HashMap<Box<[u8]>, Box<[u8]>>;

impl Default for HttpMessage {
    fn default() -> Self {
        HttpMessage::new()
    }
}

impl HttpMessage {
    /// Creates an empty message. [`Self::begin_request`] or [`Self::begin_response`] sets its start
    /// line.
    pub fn new() -> Self {
        HttpMessage {
            fields: Fields::new(),
            kind: MessageKind::Empty,
            version: HttpVersion::Http11,
            composed: false,
            cases: None,
        }
    }

    /// Returns the allocated memory, bytes.
    pub fn memory(&self) -> usize {
        self.fields.memory_bytes()
    }

    pub fn clear(&mut self) {
        self.fields.clear();
        self.kind = MessageKind::Empty;
        self.version = HttpVersion::Http11;
        self.composed = false;
        self.cases = None;
    }

    pub fn set_cases(&mut self, cases: Option<Arc<HeaderCases>>) {
        self.cases = cases;
    }

    /// Adjusts header names in the head at the end of `out`, from `begin` on, as
    /// [`Self::set_cases`] requires. No name changes its length.
    #[inline]
    pub(crate) fn adjust_cases(&self, out: &mut [u8], begin: usize) {
        if let Some(cases) = &self.cases {
            adjust_cases(cases, out.get_mut(begin..).unwrap_or_default());
        }
    }

    /// Replaces the contents by a request line.
    ///
    /// # Errors
    /// `Empty` or `Byte` if the method is not a token, or the target is empty or contains a space
    /// or a control character. `Full` if the line exceeds the limit; the message is then empty.
    pub fn begin_request(
        &mut self,
        method: &[u8],
        target: &[u8],
        version: HttpVersion,
    ) -> Result<(), MessageEditError> {
        check_name(method)?;
        target::check(target)?;
        self.clear();
        self.begin_request_checked(method, target, version)
    }

    pub(crate) fn begin_request_checked(
        &mut self,
        method: &[u8],
        target: &[u8],
        version: HttpVersion,
    ) -> Result<(), MessageEditError> {
        self.fields.set_first(&[
            StartLinePiece::New(method),
            StartLinePiece::New(b" "),
            StartLinePiece::New(target),
            StartLinePiece::New(b" "),
            StartLinePiece::New(version.wire()),
            StartLinePiece::New(b"\r\n"),
        ])?;
        self.kind = MessageKind::Request {
            method_len: method.len() as u32,
            target_len: target.len() as u32,
        };
        self.version = version;
        Ok(())
    }

    /// Like [`Self::begin_request_checked`], with a target composed of pieces.
    pub(crate) fn begin_request_of(
        &mut self,
        method: &[u8],
        target: [&[u8]; 4],
        version: HttpVersion,
    ) -> Result<(), MessageEditError> {
        self.fields.set_first(&[
            StartLinePiece::New(method),
            StartLinePiece::New(b" "),
            StartLinePiece::New(target[0]),
            StartLinePiece::New(target[1]),
            StartLinePiece::New(target[2]),
            StartLinePiece::New(target[3]),
            StartLinePiece::New(b" "),
            StartLinePiece::New(version.wire()),
            StartLinePiece::New(b"\r\n"),
        ])?;
        self.kind = MessageKind::Request {
            method_len: method.len() as u32,
            target_len: target.iter().map(|piece| piece.len() as u32).sum(),
        };
        self.version = version;
        self.composed = true;
        Ok(())
    }

    /// Replaces the contents by a status line. A status outside of 100 to 999 cannot be written and
    /// becomes 500.
    ///
    /// # Errors
    /// `Byte` if the reason contains a NUL, CR or LF. `Full` if the line exceeds the limit; the
    /// message is then empty.
    pub fn begin_response(
        &mut self,
        version: HttpVersion,
        status: u16,
        reason: &[u8],
    ) -> Result<(), MessageEditError> {
        if let Some(at) = memchr::memchr3(0, b'\r', b'\n', reason) {
            return Err(MessageEditError::Byte(reason[at]));
        }
        self.clear();
        self.response_line(version, status, StartLinePiece::New(reason))
    }

    fn response_line(
        &mut self,
        version: HttpVersion,
        status: u16,
        reason: StartLinePiece<'_>,
    ) -> Result<(), MessageEditError> {
        let status = if (100..1000).contains(&status) {
            status
        } else {
            500
        };
        let digits = status_digits(status);
        self.fields.set_first(&[
            StartLinePiece::New(version.wire()),
            StartLinePiece::New(b" "),
            StartLinePiece::New(&digits),
            StartLinePiece::New(b" "),
            reason,
            StartLinePiece::New(b"\r\n"),
        ])?;
        self.kind = MessageKind::Response { status };
        self.version = version;
        Ok(())
    }

    pub fn fields(&self) -> &Fields {
        &self.fields
    }

    /// Returns the header fields, mutable. To change the `host` of a request use [`Self::set`] or
    /// [`Self::replace_value`], which also update the target.
    pub fn fields_mut(&mut self) -> &mut Fields {
        &mut self.fields
    }

    /// Sets the maximum number of live bytes of the head, see [`Fields::set_limit`].
    pub fn set_limit(&mut self, bytes: usize) {
        self.fields.set_limit(bytes);
    }

    /// Returns the start line. `None` before a `begin_*`.
    pub fn start(&self) -> Option<StartLine<'_>> {
        match self.kind {
            MessageKind::Empty => None,
            MessageKind::Request { .. } => Some(StartLine::Request {
                method: self.method(),
                target: self.target(),
                version: self.version,
            }),
            MessageKind::Response { status } => Some(StartLine::Response {
                version: self.version,
                status,
                reason: self.reason(),
            }),
        }
    }

    pub fn is_request(&self) -> bool {
        matches!(self.kind, MessageKind::Request { .. })
    }

    pub fn version(&self) -> HttpVersion {
        self.version
    }

    pub fn set_version(&mut self, version: HttpVersion) {
        let digit = if version == HttpVersion::Http10 {
            b'0'
        } else {
            b'1'
        };
        match self.kind {
            MessageKind::Empty => return,
            MessageKind::Request { .. } => {
                let at = (self.fields.first().len as usize).saturating_sub(3);
                self.fields.patch_first(at, digit);
            }
            MessageKind::Response { .. } => self.fields.patch_first(b"HTTP/1.".len(), digit),
        }
        self.version = version;
    }

    fn method_range(&self) -> std::ops::Range<usize> {
        match self.kind {
            MessageKind::Request { method_len, .. } => {
                let start = self.fields.first().start as usize;
                start..start + method_len as usize
            }
            _ => 0..0,
        }
    }

    fn target_range(&self) -> std::ops::Range<usize> {
        match self.kind {
            MessageKind::Request { target_len, .. } => {
                let start = self.method_range().end + 1;
                start..start + target_len as usize
            }
            _ => 0..0,
        }
    }

    fn reason_range(&self) -> std::ops::Range<usize> {
        match self.kind {
            MessageKind::Response { .. } => {
                let first = self.fields.first();
                let end = (first.start + first.len) as usize - 2;
                first.start as usize + RESPONSE_PREFIX_BYTES..end
            }
            _ => 0..0,
        }
    }

    /// Returns the method of a request. Empty for a response.
    pub fn method(&self) -> &[u8] {
        &self.fields.bytes()[self.method_range()]
    }

    pub fn target(&self) -> &[u8] {
        &self.fields.bytes()[self.target_range()]
    }

    /// Returns whether the target was composed from the pseudo-headers of an HTTP/2 client, and no
    /// rule has replaced it. Then scheme and authority are for rules and logs, and an HTTP/1 server
    /// gets the path.
    pub fn is_target_composed(&self) -> bool {
        self.composed
    }

    /// Returns the status of a response. 0 for a request.
    pub fn status(&self) -> u16 {
        match self.kind {
            MessageKind::Response { status } => status,
            _ => 0,
        }
    }

    pub fn reason(&self) -> &[u8] {
        &self.fields.bytes()[self.reason_range()]
    }

    /// Replaces the method of a request. Does nothing to a response.
    ///
    /// # Errors
    /// `Empty` or `Byte` if the method is not a token. `Full` if it does not fit.
    pub fn set_method(&mut self, method: &[u8]) -> Result<(), MessageEditError> {
        check_name(method)?;
        let MessageKind::Request { target_len, .. } = self.kind else {
            return Ok(());
        };
        let target = self.target_range();
        self.fields.set_first(&[
            StartLinePiece::New(method),
            StartLinePiece::New(b" "),
            StartLinePiece::Old(target),
            StartLinePiece::New(b" "),
            StartLinePiece::New(self.version.wire()),
            StartLinePiece::New(b"\r\n"),
        ])?;
        self.kind = MessageKind::Request {
            method_len: method.len() as u32,
            target_len,
        };
        Ok(())
    }

    /// Replaces the status of a response. Does nothing to a request. If `reason` is `None`, the
    /// standard reason of the status is used.
    ///
    /// # Errors
    /// `Byte` if the reason contains a NUL, CR or LF. `Full` if the line does not fit.
    pub fn set_status(
        &mut self,
        status: u16,
        reason: Option<&[u8]>,
    ) -> Result<(), MessageEditError> {
        let MessageKind::Response { .. } = self.kind else {
            return Ok(());
        };
        let reason = reason.unwrap_or(reason_of(status).as_bytes());
        if let Some(at) = memchr::memchr3(0, b'\r', b'\n', reason) {
            return Err(MessageEditError::Byte(reason[at]));
        }
        self.response_line(self.version, status, StartLinePiece::New(reason))
    }

    pub fn get(&self, name: &[u8]) -> Option<&[u8]> {
        self.fields.get(name)
    }

    /// Adds a header at the end.
    ///
    /// # Errors
    /// As [`Fields::add`].
    pub fn add(&mut self, name: &[u8], value: &[u8]) -> Result<(), MessageEditError> {
        self.fields.add(name, value)
    }

    /// Removes all headers of a name and adds one at the end. The host of a request is also
    /// replaced in an absolute target, so that both stay equal.
    ///
    /// # Errors
    /// As [`Fields::set`]. `Byte` also if a host for an absolute target contains a space or a
    /// control character. `Full` also if the target does not fit. After an error, both are
    /// unchanged.
    pub fn set(&mut self, name: &[u8], value: &[u8]) -> Result<(), MessageEditError> {
        if name.eq_ignore_ascii_case(b"host") && self.is_request() {
            let freed = self.fields.bytes_of_name(b"host");
            let longer = fields::line_len(name, value).saturating_sub(freed);
            self.set_authority_of_target(value, longer)?;
        }
        self.fields.set(name, value)
    }

    /// Replaces the value of the n-th header, in its position. The host of a request is also
    /// replaced in an absolute target.
    ///
    /// # Errors
    /// As [`Fields::replace_value`] and [`Self::set`].
    pub fn replace_value(&mut self, index: usize, value: &[u8]) -> Result<(), MessageEditError> {
        if self.is_request() && self.fields.position(b"host", 0) == Some(index) {
            let longer = self.fields.growth_of_value(index, value);
            self.set_authority_of_target(value, longer)?;
        }
        self.fields.replace_value(index, value)
    }

    pub fn remove(&mut self, name: &[u8]) -> usize {
        self.fields.remove(name)
    }

    pub fn remove_if(&mut self, test: impl FnMut(&[u8], &[u8]) -> bool) -> usize {
        self.fields.remove_if(test)
    }

    /// Returns the number of bytes that [`Self::write_http1`] writes.
    pub fn wire_len(&self) -> usize {
        self.fields.wire_len() + 2
    }

    /// Writes the head as HTTP/1, including the empty line.
    pub fn write_http1(&self, out: &mut Vec<u8>) {
        let begin = out.len();
        out.reserve(self.wire_len());
        self.fields.write_lines(out);
        out.extend_from_slice(b"\r\n");
        self.adjust_cases(out, begin);
    }
}

#[cold]
fn adjust_cases(cases: &HeaderCases, head: &mut [u8]) {
    for line in head.split_mut(|byte| *byte == b'\n').skip(1) {
        let Some(end) = memchr::memchr(b':', line) else {
            continue;
        };
        if let Some(written) = cases.get(&line[..end]) {
            line[..end].copy_from_slice(written);
        }
    }
}

fn status_digits(status: u16) -> [u8; 3] {
    [
        b'0' + (status / 100 % 10) as u8,
        b'0' + (status / 10 % 10) as u8,
        b'0' + (status % 10) as u8,
    ]
}

/// Status codes with a reason of their own, in ascending order.
const REASONS: &[(u16, &str)] = &[
    (100, "Continue"),
    (101, "Switching Protocols"),
    (103, "Early Hints"),
    (200, "OK"),
    (201, "Created"),
    (202, "Accepted"),
    (203, "Non-Authoritative Information"),
    (204, "No Content"),
    (205, "Reset Content"),
    (206, "Partial Content"),
    (207, "Multi-Status"),
    (210, "Content Different"),
    (226, "IM Used"),
    (300, "Multiple Choices"),
    (301, "Moved Permanently"),
    (302, "Moved Temporarily"),
    (303, "See Other"),
    (304, "Not Modified"),
    (305, "Use Proxy"),
    (307, "Temporary Redirect"),
    (308, "Permanent Redirect"),
    (310, "Too many Redirects"),
    (400, "Bad Request"),
    (401, "Unauthorized"),
    (402, "Payment Required"),
    (403, "Forbidden"),
    (404, "Not Found"),
    (405, "Method Not Allowed"),
    (406, "Not Acceptable"),
    (407, "Proxy Authentication Required"),
    (408, "Request Time-out"),
    (409, "Conflict"),
    (410, "Gone"),
    (411, "Length Required"),
    (412, "Precondition Failed"),
    (413, "Request Entity Too Large"),
    (414, "Request-URI Too Long"),
    (415, "Unsupported Media Type"),
    (416, "Requested range unsatisfiable"),
    (417, "Expectation failed"),
    (418, "I'm a teapot"),
    (421, "Misdirected Request"),
    (422, "Unprocessable Content"),
    (423, "Locked"),
    (424, "Method failure"),
    (425, "Too Early"),
    (426, "Upgrade Required"),
    (428, "Precondition Required"),
    (429, "Too Many Requests"),
    (431, "Request Header Fields Too Large"),
    (449, "Retry With"),
    (450, "Blocked by Windows Parental Controls"),
    (451, "Unavailable For Legal Reasons"),
    (456, "Unrecoverable Error"),
    (499, "client has closed connection"),
    (500, "Internal Server Error"),
    (501, "Not Implemented"),
    (502, "Bad Gateway or Proxy Error"),
    (503, "Service Unavailable"),
    (504, "Gateway Time-out"),
    (505, "HTTP Version not supported"),
    (506, "Variant also negotiate"),
    (507, "Insufficient storage"),
    (508, "Loop detected"),
    (509, "Bandwidth Limit Exceeded"),
    (510, "Not extended"),
    (511, "Network authentication required"),
    (520, "Web server is returning an unknown error"),
];

/// Returns HAProxy's reason phrase for a status.
pub fn reason_of(status: u16) -> &'static str {
    if let Ok(at) = REASONS.binary_search_by_key(&status, |(known, _)| *known) {
        return REASONS[at].1;
    }
    match status {
        100..200 => "Informational",
        200..300 => "Success",
        300..400 => "Redirection",
        400..500 => "Client Error",
        500..600 => "Server Error",
        _ => "Other",
    }
}

#[cfg(test)]
mod tests;
