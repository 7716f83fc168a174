//! What is known of the server that a stream belongs to (`proxy::persistence` finds it).

use super::Stream;
use super::cookie_date::Date;
use crate::config::{Proxy, ProxyOption, ServerIndex};

/// What happened with the cookie of a request: the third letter of the
/// termination state.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum RequestCookie {
    /// `N`: there was none.
    #[default]
    None,
    /// `I`: it stands for no server.
    Invalid,
    /// `D`: its server is down.
    Down,
    /// `V`: it is good.
    Valid,
    /// `E`: it was idle for too long.
    Expired,
    /// `O`: it is too old.
    Old,
    /// `U`: something else decided.
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

/// What happened with the cookie of an answer: the fourth letter.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ResponseCookie {
    /// `N`: there is none.
    #[default]
    None,
    /// `I`: one was inserted.
    Inserted,
    /// `U`: its date was brought up to now.
    Updated,
    /// `P`: the server's goes through.
    Passed,
    /// `R`: the server's was rewritten.
    Rewritten,
    /// `D`: the server's was taken out.
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

/// What is known of a stream's persistence. Streams keep the memory of it.
#[derive(Clone, Debug, Default)]
pub struct Persistence {
    /// The server that it belongs to; it is direct as long as there is one.
    pub server: Option<ServerIndex>,
    /// `force-persist`: that server is taken also where it is down.
    pub forced: bool,
    /// `ignore-persist`: it belongs to nobody.
    pub ignored: bool,
    /// `http-request disable-l7-retry`: its request is sent once.
    pub once: bool,
    /// The cookie of the request.
    pub request: RequestCookie,
    /// The cookie of the response.
    pub response: ResponseCookie,
    /// When the client's cookie was last looked at.
    pub last: Option<Date>,
    /// When it was made.
    pub first: Option<Date>,
}

impl Stream {
    /// What is known of the server that the stream belongs to, to be changed.
    pub fn persistence_mut(&mut self) -> &mut Persistence {
        self.route.persistence.get_or_insert_default()
    }

    /// Whether it is to be given to the server that it belongs to also where that
    /// is down.
    pub fn is_forced(&self) -> bool {
        let known = self.route.persistence.as_deref();
        let persist = |backend: &Proxy| backend.has(ProxyOption::Persist);
        known.is_some_and(|known| known.forced) || self.backend().is_some_and(persist)
    }

    /// Its request is not to be sent again once it was sent, whatever `retry-on`
    /// says (`http-request disable-l7-retry`).
    pub fn send_once(&mut self) {
        self.persistence_mut().once = true;
    }

    /// The third and fourth letter of the termination state.
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
