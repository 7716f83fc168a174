//! Records to which server a stream belongs, and why (`proxy::persistence` finds the server).

use super::cookie_date::Date;
use super::{ProxyStream, Route};
use crate::config::{Proxy, ProxyOption, ServerIndex};

/// Result for the cookie of a request: the third letter of the termination state.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum RequestCookie {
    /// `N`: no cookie.
    #[default]
    None,
    /// `I`: the cookie matches no server.
    Invalid,
    /// `D`: the server of the cookie is down.
    Down,
    /// `V`: the cookie is valid.
    Valid,
    /// `E`: the cookie was idle for too long.
    Expired,
    /// `O`: the cookie is too old.
    Old,
    /// `U`: the server was chosen by other means than the cookie.
    Unused,
}

impl RequestCookie {
    fn letter(self) -> u8 {
        match self {
            RequestCookie::None => b'N',
            RequestCookie::Invalid => b'I',
            RequestCookie::Down => b'D',
            RequestCookie::Valid => b'V',
            RequestCookie::Expired => b'E',
            RequestCookie::Old => b'O',
            RequestCookie::Unused => b'U',
        }
    }
}

/// Result for the cookie of a response: the fourth letter of the termination state.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ResponseCookie {
    /// `N`: no cookie.
    #[default]
    None,
    /// `I`: the proxy inserted a cookie.
    Inserted,
    /// `U`: the proxy updated the date of the cookie.
    Updated,
    /// `P`: the server's cookie was passed on.
    Passed,
    /// `R`: the server's cookie was rewritten.
    Rewritten,
    /// `D`: the server's cookie was removed.
    Deleted,
}

impl ResponseCookie {
    fn letter(self) -> u8 {
        match self {
            ResponseCookie::None => b'N',
            ResponseCookie::Inserted => b'I',
            ResponseCookie::Updated => b'U',
            ResponseCookie::Passed => b'P',
            ResponseCookie::Rewritten => b'R',
            ResponseCookie::Deleted => b'D',
        }
    }
}

/// Persistence state of a stream. Its memory is reused with the stream.
#[derive(Clone, Debug, Default)]
pub struct Persistence {
    /// Server that persistence selected; the stream is direct while this is set.
    pub server: Option<ServerIndex>,
    /// `force-persist`: the server is used even if it is down.
    pub forced: bool,
    /// `ignore-persist`: the stream is balanced without persistence.
    pub ignored: bool,
    /// `http-request disable-l7-retry`: the request is sent only once.
    pub once: bool,
    pub request: RequestCookie,
    pub response: ResponseCookie,
    /// Last-seen date in the client's persistence cookie.
    pub last: Option<Date>,
    /// Creation date in the client's persistence cookie.
    pub first: Option<Date>,
}

impl Route {
    pub fn persistence_mut(&mut self) -> &mut Persistence {
        self.persistence.get_or_insert_default()
    }

    fn known(&self, test: impl Fn(&Persistence) -> bool) -> bool {
        self.persistence.as_deref().is_some_and(test)
    }

    /// Returns whether persistence selected a server.
    pub fn is_direct(&self) -> bool {
        self.known(|known| known.server.is_some())
    }

    pub fn is_ignored(&self) -> bool {
        self.known(|known| known.ignored)
    }

    /// Returns whether the request is sent only once regardless of `retry-on` (`http-request
    /// disable-l7-retry`).
    pub fn is_sent_once(&self) -> bool {
        self.known(|known| known.once)
    }

    /// Records that the stream was sent to another server than the persistent one.
    pub fn sent_elsewhere(&mut self) {
        if let Some(known) = self.persistence.as_deref_mut() {
            known.server = None;
            if known.request == RequestCookie::Valid {
                known.request = RequestCookie::Down;
            }
        }
    }
}

impl ProxyStream {
    pub fn is_forced(&self) -> bool {
        let persist = |backend: &Proxy| backend.has(ProxyOption::Persist);
        self.route.known(|known| known.forced) || self.backend().is_some_and(persist)
    }

    /// Returns the third and fourth letter of the termination state.
    pub fn cookie_letters(&self) -> [u8; 2] {
        let backend = self.backend().unwrap_or_else(|| self.frontend());
        let acts = |cookie: &crate::config::Cookie| cookie.mode.is_some() || cookie.indirect;
        if !self.http || !backend.cookie.as_deref().is_some_and(acts) {
            return *b"--";
        }
        let known = self.route.persistence.as_deref();
        known.map_or(*b"NN", |known| {
            [known.request.letter(), known.response.letter()]
        })
    }
}
