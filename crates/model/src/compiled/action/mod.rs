//! Compiled rules: conditions, and the actions that run if they are true. Each family of actions
//! has a file.

pub(crate) mod address;
pub(crate) mod answer;
pub(crate) mod auth;
pub(crate) mod body;
pub(crate) mod cache;
pub(crate) mod capture;
pub(crate) mod flow;
pub(crate) mod header;
pub(crate) mod hint;
pub(crate) mod limits;
pub(crate) mod list;
pub(crate) mod normalize;
pub(crate) mod packets;
pub(crate) mod pause;
pub(crate) mod redirect;
pub(crate) mod resolve;
pub(crate) mod table;
pub mod target;
pub(crate) mod variable;

use crate::compiled::Condition;
use language::Span;

/// Rule of `http-request`, `http-response`, `http-after-response` or `redirect`.
#[derive(Clone, Debug)]
pub struct HttpRule(pub(crate) Rule);

/// Rule of `tcp-request` or `tcp-response`.
#[derive(Clone, Debug)]
pub struct TcpRule(pub(crate) Rule);

/// Action, and the condition under which it runs.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Position of the action in the file.
    pub(crate) span: Span,
    /// Line number in the file; None for a `redirect` line.
    pub(crate) line: Option<u32>,
    /// First words of the line: the kind of rule, and the action.
    pub(crate) words: [&'static str; 2],
    /// Condition; None runs the action always.
    pub(crate) condition: Option<Condition>,
    pub(crate) action: RuleAction,
}

#[derive(Clone, Debug)]
pub(crate) enum RuleAction {
    /// Ends the list of rules or the stream.
    Flow(flow::Flow),
    Pass,
    Answer(Box<answer::ResponseTemplate>),
    /// Requests a user name and a password.
    Challenge(Box<auth::Challenge>),
    Redirect(Box<redirect::Redirection>),
    Header(Box<header::HeaderChange>),
    Target(Box<target::TargetChange>),
    /// Sets or unsets a variable.
    Variable(Box<variable::VariableChange>),
    /// Captures a value for logs.
    Capture(Box<capture::CaptureValue>),
    /// Changes an address as rules and logs see it.
    Address(Box<address::AddressChange>),
    /// Tracks an entry of a table, or changes one.
    Table(Box<table::TableAction>),
    /// Changes the level of the log line.
    LogLevel(Option<u8>),
    /// Logs the current state of the stream, under the name of this step.
    Log(crate::setting::StreamLogStep),
    Resolve(Box<resolve::Resolve>),
    /// Waits for the body, or for a part of it.
    WaitForBody(body::WaitForBody),
    /// Sets whether a failed rewrite is an error.
    StrictMode(bool),
    /// Delivers a response from a cache, or stores one.
    Cache(Box<cache::CacheAction>),
    /// Changes timeouts, retries or the queue priority.
    Limits(Box<limits::LimitChange>),
    /// Changes the marks or the type of service of packets.
    Packets(packets::PacketChange),
    /// Pauses the rules of the request.
    Pause(Box<pause::Pause>),
    /// Normalizes the target of the request.
    Normalize(normalize::Normalizer),
    /// Sends an early hint (103) to the client before the response.
    Hint(Box<hint::Hint>),
    /// Expects a PROXY header at the start of the connection.
    ExpectProxy,
    /// Expects a NetScaler Client IP header at the start of the connection.
    ExpectNetScaler,
    /// Sends the response of the Prometheus exporter.
    Metrics,
    /// Changes a map or a list of patterns.
    List(Box<list::ListChange>),
}
