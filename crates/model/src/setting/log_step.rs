//! Defines the steps of a stream at which a line can be logged (`log-steps`).

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum StreamLogStep {
    Accept,
    Request,
    Connect,
    Response,
    Close,
    /// The end of a stream or connection that failed.
    Error,
    /// All steps for which the `log-profile` section has no line of its own.
    Any,
    /// Start of a QUIC connection.
    QuicInit,
    TcpConnection,
    TcpSession,
    TcpContent,
    TcpResponse,
    HttpRequest,
    HttpResponse,
    HttpAfterResponse,
}

/// All steps with their names in configuration files.
pub const LOG_STEPS: [(&str, StreamLogStep); 15] = [
    ("accept", StreamLogStep::Accept),
    ("request", StreamLogStep::Request),
    ("connect", StreamLogStep::Connect),
    ("response", StreamLogStep::Response),
    ("close", StreamLogStep::Close),
    ("error", StreamLogStep::Error),
    ("any", StreamLogStep::Any),
    ("quic-init", StreamLogStep::QuicInit),
    ("tcp-req-conn", StreamLogStep::TcpConnection),
    ("tcp-req-sess", StreamLogStep::TcpSession),
    ("tcp-req-cont", StreamLogStep::TcpContent),
    ("tcp-res-cont", StreamLogStep::TcpResponse),
    ("http-req", StreamLogStep::HttpRequest),
    ("http-res", StreamLogStep::HttpResponse),
    ("http-after-res", StreamLogStep::HttpAfterResponse),
];

impl StreamLogStep {
    /// Returns the name of the step as `%OG` prints it.
    pub fn origin(self) -> &'static str {
        match self {
            StreamLogStep::Accept => "txn_accept",
            StreamLogStep::Request => "txn_request",
            StreamLogStep::Connect => "txn_connect",
            StreamLogStep::Response => "txn_response",
            StreamLogStep::Close | StreamLogStep::Error => "txn_close",
            // Returns for a rule's step its name in configuration files.
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

    pub fn has(self, step: StreamLogStep) -> bool {
        (step as usize) < Self::COUNT && self.0 & 1 << step as usize != 0
    }
}
