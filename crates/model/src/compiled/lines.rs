//! Defines the compiled form of the rules of HAProxy 1.x that treat a message as lines (`reqrep`,
//! `rspidel`).

use super::names::HeaderNameList;
use crate::compiled::{Condition, HttpRule};
use crate::sample::regular::Regular;
use crate::setting::{ProxyIndex, Reference};
use language::Span;

#[derive(Clone, Debug, Default)]
pub struct LineRuleSet {
    /// Rules of `block`, which run before all other HTTP rules.
    pub block: Vec<HttpRule>,
    pub request: LineRules,
    pub response: LineRules,
}

/// Line rules for one direction.
#[derive(Clone, Debug, Default)]
pub struct LineRules {
    pub(crate) filters: Vec<LineFilter>,
    /// Headers to add (`reqadd`, `rspadd`).
    pub(crate) additions: Vec<Addition>,
}

/// Line rule with a pattern.
#[derive(Clone, Debug)]
pub struct LineFilter {
    pub(crate) span: Span,
    pub(crate) condition: Option<Condition>,
    pub(crate) regular: Regular,
    /// Name, in lower case, of the header to which alone the pattern can apply; None if it may
    /// match other lines.
    pub(crate) only: Option<Box<[u8]>>,
    pub(crate) effect: Effect,
}

/// Action of a filter on the matching line, or with the whole message.
#[derive(Clone, Debug)]
pub(crate) enum Effect {
    Replace(Box<[ReplacementPart]>),
    Delete,
    /// Allows the message: no later filter can deny it.
    Allow,
    Deny,
    /// Holds the request for a while, then denies it.
    Tarpit,
    /// Keeps the line from later filters.
    Pass,
    Switch(Reference),
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum ReplacementPart {
    Text(Box<[u8]>),
    Group(u8),
}

#[derive(Clone, Debug)]
pub(crate) struct Addition {
    pub(crate) condition: Option<Condition>,
    pub(crate) name: Box<[u8]>,
    pub(crate) value: Box<[u8]>,
}

#[derive(Debug, Default)]
pub struct LineState {
    pub request: HeaderNameList,
    pub response: HeaderNameList,
    /// Backend that a `reqsetbe` rule selected; None before.
    pub switched: Option<ProxyIndex>,
    /// Cookies that `capture cookie` captured from the request and from the response.
    pub cookies: [Option<Vec<u8>>; 2],
}
