//! Responses of rules; `crate::rules` builds and runs them.

use crate::compiled::{ErrorFile, Format, HttpErrorsSlot};
use std::sync::Arc;

/// What an answer is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Purpose {
    /// `deny`
    Deny,
    /// `tarpit`
    Tarpit,
    /// `return`
    Return,
}

/// An answer that a rule gives.
#[derive(Clone, Debug)]
pub struct Answer {
    pub(crate) purpose: Purpose,
    pub(crate) response: bool,
    pub(crate) status: u16,
    pub(crate) content: Content,
    pub(crate) content_type: Option<Box<[u8]>>,
    pub(crate) headers: Box<[(Box<[u8]>, Format)]>,
}

#[derive(Clone, Debug)]
pub(crate) enum Content {
    /// The proxy's page for the status.
    Page,
    /// None.
    Empty,
    /// A body.
    Bytes(Arc<[u8]>),
    /// A body that is filled in.
    Format(Format),
    /// The page of a group of error pages; else none.
    Group(HttpErrorsSlot),
    /// An empty error file: the connection closes without a response.
    Silence,
    /// A whole response out of a file.
    File(Arc<ErrorFile>),
}
