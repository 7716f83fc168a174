//! Steps of a stream at which it is logged.

/// A step of a stream at which it is logged.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Step {
    /// Start of a stream.
    Accept,
    /// A request was received.
    Request,
    /// A connection to a server was established.
    Connect,
    /// Start of a response.
    Response,
    /// The end of a stream.
    Close,
    /// The end of a stream or connection that failed.
    Error,
    /// All steps that the section does not contain.
    Any,
    /// Start of a QUIC connection.
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

/// All steps with their names in configuration files.
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
    /// Returns the name in `%OG`.
    pub fn origin(self) -> &'static str {
        match self {
            Step::Accept => "txn_accept",
            Step::Request => "txn_request",
            Step::Connect => "txn_connect",
            Step::Response => "txn_response",
            Step::Close | Step::Error => "txn_close",
            // Rules have the same name as in configuration files.
            rule => LOG_STEPS[rule as usize].0,
        }
    }
}

/// `log-steps`: steps at which a frontend logs its streams, one bit each.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LogSteps(pub u8);

impl LogSteps {
    /// Number of [`LOG_STEPS`] that `log-steps` accepts: the first ones.
    pub const COUNT: usize = 5;

    /// Returns whether a step is enabled.
    pub fn has(self, step: Step) -> bool {
        (step as usize) < Self::COUNT && self.0 & 1 << step as usize != 0
    }
}
