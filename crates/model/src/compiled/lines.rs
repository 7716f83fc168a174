//! Rules of HAProxy 1.x that treat a message as lines.

use super::names::Names;
use crate::compiled::{Condition, HttpRule};
use crate::sample::regular::Regular;
use crate::setting::{ProxyIndex, Reference};
use language::Span;

/// The rules of one proxy.
#[derive(Clone, Debug, Default)]
pub struct Lines {
    /// `block`: before all other rules of messages.
    pub block: Vec<HttpRule>,
    /// `req…`.
    pub request: LineRules,
    /// `rsp…`.
    pub response: LineRules,
}

/// The rules for one direction.
#[derive(Clone, Debug, Default)]
pub struct LineRules {
    /// Those with a pattern.
    pub(crate) filters: Vec<Filter>,
    /// `reqadd`, `rspadd`.
    pub(crate) additions: Vec<Addition>,
}

/// One rule with a pattern.
#[derive(Clone, Debug)]
pub struct Filter {
    /// Its pattern.
    pub(crate) span: Span,
    pub(crate) condition: Option<Condition>,
    pub(crate) regular: Regular,
    /// The pattern can match lines of this header only (lower case).
    pub(crate) only: Option<Box<[u8]>>,
    pub(crate) effect: Effect,
}

/// What becomes of a line, or of the whole message.
#[derive(Clone, Debug)]
pub(crate) enum Effect {
    /// Another line in its place.
    Replace(Box<[Piece]>),
    /// None in its place.
    Delete,
    /// No later filter refuses the message.
    Allow,
    /// The message is refused.
    Deny,
    /// The request is held and then refused.
    Tarpit,
    /// Later filters do not look at the line.
    Pass,
    /// The request goes to this backend.
    Switch(Reference),
}

/// A piece of a replacement.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Piece {
    Text(Box<[u8]>),
    Group(u8),
}

/// One header that is added.
#[derive(Clone, Debug)]
pub(crate) struct Addition {
    pub(crate) condition: Option<Condition>,
    pub(crate) name: Box<[u8]>,
    pub(crate) value: Box<[u8]>,
}

/// What the line rules of a stream need to remember.
#[derive(Debug, Default)]
pub struct LineState {
    /// Names of headers of the request as they were received.
    pub request: Names,
    /// Of the answer.
    pub response: Names,
    /// The backend that `reqsetbe` chose.
    pub switched: Option<ProxyIndex>,
    /// What `capture cookie` kept of the request and of the answer.
    pub cookies: [Option<Vec<u8>>; 2],
}
