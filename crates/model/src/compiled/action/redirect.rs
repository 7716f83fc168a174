//! Defines the compiled form of HTTP redirects; `crate::rules` builds and runs them.

use crate::compiled::Format;
use http::http1::RedirectCode;

#[derive(Clone, Debug)]
pub struct Redirection {
    pub(crate) to: RedirectKind,
    pub(crate) format: Format,
    pub(crate) code: RedirectCode,
    pub(crate) response: bool,
    pub(crate) drop_query: bool,
    pub(crate) append_slash: bool,
    pub(crate) ignore_empty: bool,
    pub(crate) set_cookie: Option<Box<[u8]>>,
    pub(crate) clear_cookie: Option<Box<[u8]>>,
}

/// The part of the location that comes from the rule; the rest comes from the request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum RedirectKind {
    Location,
    /// A prefix, followed by the path of the request.
    Prefix,
    /// A scheme, followed by the host and the path of the request.
    Scheme,
}
