//! What is known of the server that a stream belongs to (`proxy::persistence` finds it).

use super::cookie_date::Date;
use super::{Route, Stream};
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

impl Route {
    /// What is known of the server that the stream belongs to, to be changed.
    pub fn persistence_mut(&mut self) -> &mut Persistence {
        self.persistence.get_or_insert_default()
    }

    fn known(&self, test: impl Fn(&Persistence) -> bool) -> bool {
        self.persistence.as_deref().is_some_and(test)
    }

    /// Whether the stream belongs to a server.
    pub fn is_direct(&self) -> bool {
        self.known(|known| known.server.is_some())
    }

    /// Whether `ignore-persist` holds for the stream.
    pub fn is_ignored(&self) -> bool {
        self.known(|known| known.ignored)
    }

    /// Whether the request is sent once, whatever `retry-on` says
    /// (`http-request disable-l7-retry`).
    pub fn is_sent_once(&self) -> bool {
        self.known(|known| known.once)
    }

    /// The stream was sent to another server than its own.
    pub fn sent_elsewhere(&mut self) {
        if let Some(known) = self.persistence.as_deref_mut() {
            known.server = None;
            if known.request == RequestCookie::Valid {
                known.request = RequestCookie::Down;
            }
        }
    }
}

impl Stream {
    /// Whether it is to be given to the server that it belongs to also where that
    /// is down.
    pub fn is_forced(&self) -> bool {
        let persist = |backend: &Proxy| backend.has(ProxyOption::Persist);
        self.route.known(|known| known.forced) || self.backend().is_some_and(persist)
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
