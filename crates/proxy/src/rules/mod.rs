//! Rules: samples, fetches, converters, conditions, formats, actions.
//!
//! An [`Expression`] finds a [`Value`] in a stream, a [`Condition`] compares
//! values with patterns. Both are compiled when a file is loaded and evaluated
//! without a look-up by name; they read the stream and change nothing.

pub mod argument;
pub mod codes;
pub mod matching;
pub mod network;
pub mod regular;
pub mod usage;
pub mod value;
pub mod variables;

mod acl;
mod condition;
mod converter;
mod expression;
mod fetch;
mod list_file;
mod lookup;
mod map;
mod pattern;
#[cfg(test)]
mod tests;

pub use acl::{Acl, AclTable, PREDEFINED, Test};
pub use argument::Lookup;
pub use condition::{Condition, Outcome};
pub use converter::{ConverterBuild, ConverterRow};
pub use expression::Expression;
pub use fetch::{FetchBuild, FetchRow};
pub use map::Map;
pub use usage::{Needs, Usage};
pub use value::{Type, Value};
pub use variables::{Scope, VariableName, Variables};

pub(crate) use acl::check_name as check_acl_name;

use crate::stream::{Reply, Session, Stream};
use language::keyword::Documented;
use std::rc::Rc;

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
    let mut all = fetch::documented();
    all.extend(converter::table().documented());
    all
}
