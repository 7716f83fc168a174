//! Defines the compiled form of rules: a condition, and the action that runs if it is true. Each
//! family of actions has a file.

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
    pub(crate) span: Span,
    /// Line number in the file; None for a `redirect` line.
    pub(crate) line: Option<u32>,
    /// First words of the line: the kind of rule, and the action.
    pub(crate) words: [&'static str; 2],
    pub(crate) condition: Option<Condition>,
    pub(crate) action: RuleAction,
}

#[derive(Clone, Debug)]
pub(crate) enum RuleAction {
    Flow(flow::Flow),
    Pass,
    Answer(Box<answer::ResponseTemplate>),
    Challenge(Box<auth::Challenge>),
    Redirect(Box<redirect::Redirection>),
    Header(Box<header::HeaderChange>),
    Target(Box<target::TargetChange>),
    Variable(Box<variable::VariableChange>),
    Capture(Box<capture::CaptureValue>),
    Address(Box<address::AddressChange>),
    Table(Box<table::TableAction>),
    LogLevel(Option<u8>),
    /// Logs the current state of the stream, as the named step.
    Log(crate::setting::StreamLogStep),
    Resolve(Box<resolve::Resolve>),
    WaitForBody(body::WaitForBody),
    /// Sets whether a failed rewrite of the message is an error (`strict-mode`).
    StrictMode(bool),
    Cache(Box<cache::CacheAction>),
    Limits(Box<limits::LimitChange>),
    Packets(packets::PacketChange),
    Pause(Box<pause::Pause>),
    Normalize(normalize::Normalizer),
    Hint(Box<hint::Hint>),
    ExpectProxy,
    ExpectNetScaler,
    Metrics,
    List(Box<list::ListChange>),
}
