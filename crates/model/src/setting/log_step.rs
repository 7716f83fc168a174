//! The moments at which streams are logged.

/// A moment at which a stream is logged.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Step {
    /// A stream that begins.
    Accept,
    /// A request that is there.
    Request,
    /// A connection to a server that stands.
    Connect,
    /// An answer that begins.
    Response,
    /// The end of a stream.
    Close,
    /// The end of a stream or connection that failed.
    Error,
    /// All that the section does not name.
    Any,
    /// A QUIC connection that begins.
    QuicInit,
    /// `do-log` in `tcp-request connection`.
    TcpConnection,
    /// `do-log` in `tcp-request session`.
    TcpSession,
    /// `do-log` in `tcp-request content`.
    TcpContent,
    /// `do-log` in `tcp-response content`.
    TcpResponse,
    /// `do-log` in `http-request`.
    HttpRequest,
    /// `do-log` in `http-response`.
    HttpResponse,
    /// `do-log` in `http-after-response`.
    HttpAfterResponse,
}

/// The moments, by the names that files give them.
pub const LOG_STEPS: [(&str, Step); 15] = [
    ("accept", Step::Accept),
    ("request", Step::Request),
    ("connect", Step::Connect),
    ("response", Step::Response),
    ("close", Step::Close),
    ("error", Step::Error),
    ("any", Step::Any),
    ("quic-init", Step::QuicInit),
    ("tcp-req-conn", Step::TcpConnection),
    ("tcp-req-sess", Step::TcpSession),
    ("tcp-req-cont", Step::TcpContent),
    ("tcp-res-cont", Step::TcpResponse),
    ("http-req", Step::HttpRequest),
    ("http-res", Step::HttpResponse),
    ("http-after-res", Step::HttpAfterResponse),
];

impl Step {
    /// What `%OG` calls it.
    pub fn origin(self) -> &'static str {
        match self {
            Step::Accept => "txn_accept",
            Step::Request => "txn_request",
            Step::Connect => "txn_connect",
            Step::Response => "txn_response",
            Step::Close | Step::Error => "txn_close",
            // Rules are called as files call them.
            rule => LOG_STEPS[rule as usize].0,
        }
    }
}

/// `log-steps`: the moments at which a frontend logs its streams, a bit each.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LogSteps(pub u8);

impl LogSteps {
    /// How many of [`LOG_STEPS`] it may have: the first ones.
    pub const COUNT: usize = 5;

    /// Whether a moment is among them.
    pub fn has(self, step: Step) -> bool {
        (step as usize) < Self::COUNT && self.0 & 1 << step as usize != 0
    }
}
