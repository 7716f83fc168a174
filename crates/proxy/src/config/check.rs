//! What a health check asks (`option httpchk`, `http-check`, …). When and how
//! often stands in the server's options.

use crate::health::Expect;
use language::Span;

/// The kind of a backend's health checks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum CheckKind {
    /// A connection that is accepted is enough.
    #[default]
    Connect,
    /// An HTTP request.
    Http,
    /// The first message of TLS (`option ssl-hello-chk`).
    TlsHello,
}

/// Name and value of a header field.
pub type HeaderField = (Box<[u8]>, Box<[u8]>);

/// What a line says of a check's request; what it leaves open is None.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct HttpCheckRequest {
    /// Method.
    pub method: Option<Box<str>>,
    /// Request target.
    pub uri: Option<Box<[u8]>>,
    /// "HTTP/1.1"
    pub version: Option<Box<str>>,
    /// Header fields (`Host` among them), in order.
    pub headers: Vec<HeaderField>,
    /// The body.
    pub body: Box<[u8]>,
}

/// A backend's health checks.
#[derive(Clone, Debug, Default)]
pub struct Check {
    /// What is asked.
    pub kind: CheckKind,
    /// The request as `option httpchk` has it.
    pub line: HttpCheckRequest,
    /// The request as `http-check send` has it; what it leaves open comes from
    /// `option httpchk`.
    pub send: Option<HttpCheckRequest>,
    /// What the answer must be, all of it; none expects a status 2xx or 3xx.
    pub expects: Vec<Expect>,
    /// `http-check disable-on-404`: 404 is "up, no new sessions".
    pub disable_on_404: bool,
    /// `http-check send-state`.
    pub send_state: bool,
    /// Where the first `http-check` rule stands: without `option httpchk` it
    /// does nothing.
    pub rules: Option<Span>,
}

impl Check {
    /// Whether it asks a server the same, and expects the same of the answer.
    pub fn asks_as(&self, other: &Check) -> bool {
        let same = (self.kind, &self.line, &self.send) == (other.kind, &other.line, &other.send)
            && self.disable_on_404 == other.disable_on_404;
        // Regular expressions have no equality but that of their text.
        let expects = |check: &Check| format!("{:?}", check.expects);
        same && expects(self) == expects(other)
    }

    /// The method that is sent, "OPTIONS" where nothing says otherwise.
    pub fn method(&self) -> &str {
        self.request_part(|request| request.method.as_deref())
            .unwrap_or("OPTIONS")
    }

    /// The target, "/" where nothing says otherwise.
    pub fn uri(&self) -> &[u8] {
        self.request_part(|request| request.uri.as_deref())
            .unwrap_or(b"/")
    }

    /// The version, "HTTP/1.0" where nothing says otherwise.
    pub fn version(&self) -> &str {
        self.request_part(|request| request.version.as_deref())
            .unwrap_or("HTTP/1.0")
    }

    /// The header fields.
    pub fn headers(&self) -> &[HeaderField] {
        self.request_part(|r| (!r.headers.is_empty()).then_some(&*r.headers))
            .unwrap_or_default()
    }

    /// The body.
    pub fn body(&self) -> &[u8] {
        self.request_part(|r| (!r.body.is_empty()).then_some(&*r.body))
            .unwrap_or_default()
    }

    fn request_part<'c, T>(
        &'c self,
        part: impl Fn(&'c HttpCheckRequest) -> Option<T>,
    ) -> Option<T> {
        self.send
            .as_ref()
            .and_then(&part)
            .or_else(|| part(&self.line))
    }
}
