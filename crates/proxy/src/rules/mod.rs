//! Rules: samples, fetches, converters, conditions, formats, actions.

use crate::stream::{Reply, Session, Stream};
use language::Diagnostic;
use language::keyword::Documented;
use std::rc::Rc;

/// The named ACLs of a section.
#[derive(Clone, Debug, Default)]
pub struct AclTable {}

impl AclTable {
    /// Ends the section: fixes the ACLs and tells which were never used.
    pub fn seal(self) -> Vec<Diagnostic> {
        Vec::new()
    }

    /// What a proxy takes over from its defaults.
    pub fn inherited(&self) -> Self {
        self.clone()
    }
}

/// A condition: `if …`, `unless …`.
#[derive(Clone, Debug)]
pub struct Condition {}

impl Condition {
    /// Whether it holds.
    pub fn test(&self, _: &Stream) -> bool {
        true
    }
}

/// A log-format string.
#[derive(Clone, Debug)]
pub struct Format {}

impl Format {
    /// Appends what it makes of a stream.
    pub fn append(&self, _: &Stream, _: &mut Vec<u8>) {}
}

/// One `http-request`, `http-response` or `http-after-response` rule.
#[derive(Clone, Debug)]
pub struct HttpRule {}

/// One `tcp-request` or `tcp-response` rule.
#[derive(Clone, Debug)]
pub struct TcpRule {}

/// Variables of a scope.
#[derive(Clone, Debug, Default)]
pub struct Variables {}

impl Variables {
    /// Forgets all.
    pub fn clear(&mut self) {}
}

/// What rules of connections decide.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Gate {
    /// It goes on.
    Open,
    /// It is closed.
    Reject,
    /// It is closed and the client is not told.
    SilentDrop,
}

/// What rules of messages decide.
#[derive(Debug)]
pub enum Verdict {
    /// It goes on.
    Continue,
    /// This is the answer.
    Answer(Box<Reply>),
    /// This is the answer, after the tarpit's time.
    Tarpit(Box<Reply>),
    /// The connection is closed.
    Reject,
    /// The connection is closed and the client is not told.
    SilentDrop,
    /// So many bytes of the body are needed first.
    NeedBody(usize),
}

/// The rules of `tcp-request connection`.
pub fn tcp_connection(_: &Rc<Session>) -> Gate {
    Gate::Open
}
/// The rules of `tcp-request session`.
pub fn tcp_session(_: &Rc<Session>) -> Gate {
    Gate::Open
}
/// The rules of `tcp-request content`; None needs more bytes.
pub fn tcp_content(_: &mut Stream, _: bool) -> Option<Gate> {
    Some(Gate::Open)
}
/// The rules of `http-request`.
pub fn http_request(_: &mut Stream, _: bool) -> Verdict {
    Verdict::Continue
}
/// The rules of `http-response`.
pub fn http_response(_: &mut Stream) -> Verdict {
    Verdict::Continue
}
/// The rules of `http-after-response`.
pub fn http_after_response(_: &mut Stream) {}
/// `monitor-uri`.
pub fn monitor(_: &mut Stream) -> Option<Reply> {
    None
}

/// Every fetch, converter and action.
pub fn documented() -> Vec<Documented> {
    Vec::new()
}
