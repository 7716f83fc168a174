//! `http-errors`: groups of pages that proxies and rules may use.

use super::Answer;
use std::sync::{Arc, OnceLock};

/// What is sent in place of an answer (`errorfile`, `errorloc`).
#[derive(Clone, Debug)]
pub enum ErrorPage {
    /// The bytes of a file, a whole HTTP answer.
    Raw(Arc<[u8]>),
    /// 302 or 303 to a location.
    Redirect(u16, Box<[u8]>),
    /// A page that is made for each stream (`http-error`).
    Made(Arc<Answer>),
    /// The one of a group, where it has one (`errorfiles`).
    Group(HttpErrorsSlot),
    /// The one that would be there without this proxy's lines.
    Default,
}

/// The statuses that HAProxy itself answers with; 414 and 431 since 3.x.
pub const ERROR_STATUSES: &[u16] = &[
    200, 400, 401, 403, 404, 405, 407, 408, 410, 413, 414, 421, 422, 425, 429, 431, 500, 501, 502,
    503, 504,
];

/// A group of pages.
#[derive(Clone, Debug, Default)]
pub struct HttpErrors {
    /// Its name.
    pub name: Box<str>,
    /// Its pages by status.
    pub pages: Vec<(u16, ErrorPage)>,
}

impl HttpErrors {
    /// The page of a status.
    pub fn page(&self, status: u16) -> Option<&ErrorPage> {
        let found = self.pages.iter().find(|(other, _)| *other == status);
        found.map(|(_, page)| page)
    }
}

/// The group that a line names: filled in when the whole file is known.
pub type HttpErrorsSlot = Arc<OnceLock<Arc<HttpErrors>>>;
