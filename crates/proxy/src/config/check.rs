//! What a health check asks (`option httpchk`, `http-check`, …). When and how
//! often stands in the server's options.

/// The kind of a backend's health checks.
#[derive(Clone, Debug, Default)]
pub enum CheckKind {
    /// A connection that is accepted is enough.
    #[default]
    Connect,
    /// An HTTP request.
    Http(HttpCheck),
}

/// One HTTP check.
#[derive(Clone, Debug)]
pub struct HttpCheck {
    /// Method, "OPTIONS" where the file gives none.
    pub method: Box<str>,
    /// Request target, "/" where the file gives none.
    pub uri: Box<[u8]>,
    /// "HTTP/1.0" where the file gives none.
    pub version: Box<str>,
    /// Header lines after the start line (`Host` among them), in order.
    pub headers: Vec<(Box<[u8]>, Box<[u8]>)>,
    /// The body.
    pub body: Box<[u8]>,
    /// What the answer must be; none expects a status 2xx or 3xx.
    pub expect: Option<crate::health::Expect>,
}

/// A backend's health checks.
#[derive(Clone, Debug, Default)]
pub struct Check {
    /// What is asked.
    pub kind: CheckKind,
    /// `http-check disable-on-404`: 404 is "up, no new sessions".
    pub disable_on_404: bool,
    /// `http-check send-state`.
    pub send_state: bool,
}
