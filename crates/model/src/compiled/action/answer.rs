//! Defines the compiled form of actions that respond in place of a server; `crate::rules` builds
//! and runs them.

use crate::compiled::{ErrorFile, Format, HttpErrorsSlot};
use std::sync::Arc;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Purpose {
    Deny,
    Tarpit,
    Return,
}

/// Response that a rule sends in place of a server.
#[derive(Clone, Debug)]
pub struct ResponseTemplate {
    pub(crate) purpose: Purpose,
    pub(crate) response: bool,
    pub(crate) status: u16,
    pub(crate) content: ResponseContent,
    pub(crate) content_type: Option<Box<[u8]>>,
    pub(crate) headers: Box<[(Box<[u8]>, Format)]>,
}

#[derive(Clone, Debug)]
pub(crate) enum ResponseContent {
    /// The proxy's error page for the status.
    Page,
    Empty,
    Bytes(Arc<[u8]>),
    Format(Format),
    /// Page of an `http-errors` section for the status; no body if the section has none.
    Group(HttpErrorsSlot),
    /// An empty error file: the connection closes without a response.
    Silence,
    File(Arc<ErrorFile>),
}
