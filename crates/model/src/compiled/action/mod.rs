//! Rules: conditions, and what is done where they hold. A file for each family of actions.

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

/// One `http-request`, `http-response`, `http-after-response` or `redirect` rule.
#[derive(Clone, Debug)]
pub struct HttpRule(pub(crate) Rule);

/// One `tcp-request` or `tcp-response` rule.
#[derive(Clone, Debug)]
pub struct TcpRule(pub(crate) Rule);

/// A condition and what is done when it holds.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Where it stands: its action.
    pub(crate) span: Span,
    /// The line of that in its file; none of a `redirect` line.
    pub(crate) line: Option<u32>,
    /// Its first words: the kind of rule, and the action.
    pub(crate) words: [&'static str; 2],
    /// When; always without one.
    pub(crate) condition: Option<Condition>,
    /// What.
    pub(crate) action: Action,
}

/// What a rule does.
#[derive(Clone, Debug)]
pub(crate) enum Action {
    /// Ends the rules or the stream.
    Flow(flow::Flow),
    /// Nothing is left to be done.
    Pass,
    /// Answers.
    Answer(Box<answer::Answer>),
    /// Asks for a name and a password.
    Challenge(Box<auth::Challenge>),
    /// Redirects.
    Redirect(Box<redirect::Redirection>),
    /// Changes headers.
    Header(Box<header::HeaderChange>),
    /// Changes the start line.
    Target(Box<target::TargetChange>),
    /// Sets or forgets a variable.
    Variable(Box<variable::VariableChange>),
    /// Keeps a value for logs.
    Capture(Box<capture::CaptureValue>),
    /// Changes an address as rules and logs see it.
    Address(Box<address::AddressChange>),
    /// Tracks an entry of a table, or changes one.
    Table(Box<table::TableAction>),
    /// Changes the level of the log line.
    LogLevel(Option<u8>),
    /// Logs the stream as it is, under the name of this step.
    Log(crate::setting::Step),
    /// Asks for a host's address.
    Resolve(Box<resolve::Resolve>),
    /// Waits for a part of the body.
    WaitForBody(body::WaitForBody),
    /// Whether a rewrite that fails is an error.
    StrictMode(bool),
    /// Answers out of a cache, or puts an answer in.
    Cache(Box<cache::CacheAction>),
    /// Changes limits, retries or its place in queues.
    Limits(Box<limits::LimitChange>),
    /// Changes what packets carry.
    Packets(packets::PacketChange),
    /// Waits a while.
    Pause(Box<pause::Pause>),
    /// Brings the target into a form of which there is only one.
    Normalize(normalize::Normalizer),
    /// Tells the client ahead of the answer.
    Hint(Box<hint::Hint>),
    /// The connection begins with a PROXY header.
    ExpectProxy,
    /// The connection begins with a NetScaler Client IP header.
    ExpectNetScaler,
    /// The Prometheus exporter answers.
    Metrics,
    /// Changes a map or a list of patterns.
    List(Box<list::ListChange>),
}
