//! Holds the settings of a backend for persistence (cookies, `use-server`, hashes) and for
//! retries.

use crate::compiled::{Condition, Format};
use language::Span;
use std::collections::HashMap;
use std::sync::OnceLock;

/// Treatment of the cookie's value by `cookie`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CookieMode {
    /// `rewrite`: the server sets the cookie, and the proxy replaces the value by the value that
    /// stands for the server.
    Rewrite,
    /// `insert`: the proxy sets the cookie.
    Insert,
    /// `prefix`: the proxy puts the server's name in front of the value of the server's own
    /// cookie.
    Prefix,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cookie {
    /// Name of the cookie, case-sensitive.
    pub name: Box<[u8]>,
    /// Mode; with None, the proxy reads the cookie and never sets it.
    pub mode: Option<CookieMode>,
    /// `indirect`: a client that already has the right cookie gets none, and a server never sees
    /// the cookie.
    pub indirect: bool,
    /// `nocache`: responses with an inserted cookie are kept out of shared caches.
    pub nocache: bool,
    /// `postonly`: only responses to POST get the cookie.
    pub post_only: bool,
    /// `preserve`: a cookie that the server sets is not replaced.
    pub preserve: bool,
    /// `dynamic`: servers without a value of their own get one that is derived from their address.
    pub dynamic: bool,
    /// Attributes that follow `path=/` in an inserted cookie, semicolons included.
    pub attributes: Box<[u8]>,
    pub idle_max_s: Option<u32>,
    pub life_max_s: Option<u32>,
}

impl Cookie {
    /// Returns whether inserted cookies contain the time of their creation.
    pub fn is_dated(&self) -> bool {
        self.mode == Some(CookieMode::Insert)
            && (self.idle_max_s.is_some() || self.life_max_s.is_some())
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PersistRuleKind {
    /// `force-persist`: the stream uses its persistent server even if that server is down.
    Force,
    /// `ignore-persist`: the stream is balanced without persistence.
    Ignore,
}

/// A `force-persist` or `ignore-persist` line.
#[derive(Clone, Debug)]
pub struct PersistRule {
    pub kind: PersistRuleKind,
    pub condition: Condition,
}

/// Server of a `use-server` rule.
#[derive(Clone, Debug)]
pub enum ServerName {
    /// A server of the backend; the index is set once all servers are known.
    Static(Box<str>, Option<crate::config::ServerIndex>),
    /// A name computed for each stream; if the backend has no such server, the rule is ignored.
    Dynamic(Format),
}

#[derive(Clone, Debug)]
pub struct UseServerRule {
    pub span: Span,
    pub server: ServerName,
    pub condition: Condition,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum HashMethod {
    /// A table with as many entries as the sum of the weights. The load is even, but all keys move
    /// when the set of servers changes.
    #[default]
    MapBased,
    /// A hash ring: few keys move when the set of servers changes.
    Consistent,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum HashFunction {
    #[default]
    Sdbm,
    Djb2,
    Wt6,
    Crc32,
    /// `none`: the leading digits of the key are the hash.
    None,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct HashType {
    pub method: HashMethod,
    pub function: HashFunction,
    /// `avalanche`: each bit of the key changes half of the bits of the hash.
    pub avalanche: bool,
}

/// `hash-preserve-affinity`: condition under which a key stays with its server.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum HashAffinity {
    /// The stream always waits for the server of its key.
    #[default]
    Always,
    /// The stream uses the server of its key while that server has a free session.
    MaxConn,
    /// The stream uses the server of its key while that server has room in its queue.
    MaxQueue,
}

/// `hash-key` of a server: the value from which its points on a hash ring are computed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RingKey {
    /// The id of the server, as in HAProxy from 3.0 on.
    Id,
    Address,
    AddressAndPort,
}

/// `retry-on`: the failures after which a request is sent again, as a bit set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RetryOn(pub u32);

impl RetryOn {
    pub const CONN_FAILURE: u32 = 1;
    /// The server closed the connection before it responded.
    pub const EMPTY_RESPONSE: u32 = 1 << 1;
    /// The server did not respond in time.
    pub const RESPONSE_TIMEOUT: u32 = 1 << 2;
    /// The server sent an invalid response.
    pub const JUNK_RESPONSE: u32 = 1 << 3;
    /// The server refused early data.
    pub const EARLY_REFUSED: u32 = 1 << 4;
    /// Bit of the first status in [`RetryOn::STATUSES`].
    const FIRST_STATUS: u32 = 5;
    /// Statuses that `retry-on` accepts, except for 504.
    pub const STATUSES: [u16; 11] = [401, 403, 404, 408, 421, 425, 429, 500, 501, 502, 503];
    /// The last status that `retry-on` accepts; its bit follows those of [`RetryOn::STATUSES`].
    pub const STATUS_504: u16 = 504;

    /// Returns the bit of a status, or None if `retry-on` does not accept the status.
    pub fn status_bit(status: u16) -> Option<u32> {
        if status == Self::STATUS_504 {
            return Some(1 << (Self::FIRST_STATUS + Self::STATUSES.len() as u32));
        }
        let at = Self::STATUSES.iter().position(|known| *known == status)?;
        Some(1 << (Self::FIRST_STATUS + at as u32))
    }

    /// Returns the bits of `all-retryable-errors`.
    pub fn all() -> u32 {
        let statuses = [500, 502, 503, 504];
        let statuses = statuses.into_iter().filter_map(Self::status_bit);
        statuses.fold(
            Self::CONN_FAILURE
                | Self::EMPTY_RESPONSE
                | Self::RESPONSE_TIMEOUT
                | Self::JUNK_RESPONSE
                | Self::EARLY_REFUSED,
            |all, bit| all | bit,
        )
    }

    pub fn has(self, bits: u32) -> bool {
        self.0 & bits != 0
    }

    /// Returns whether a listed failure can occur after the request was sent, so that the request
    /// must be kept until the response is known.
    pub fn after_sending(self) -> bool {
        self.0 & !Self::CONN_FAILURE != 0
    }
}

impl Default for RetryOn {
    fn default() -> Self {
        RetryOn(Self::CONN_FAILURE)
    }
}

/// Persistence by the session of an application (`appsession` of HAProxy 1.x).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AppSession {
    /// Name of the application's cookie or parameter.
    pub name: Box<[u8]>,
    /// Number of bytes of the value that identify a session.
    pub bytes_max: u32,
    /// Time for which an idle session is remembered, milliseconds.
    pub timeout_ms: u32,
    /// `request-learn`: sessions are also learned from requests of clients.
    pub learns_requests: bool,
    /// `prefix`: the value follows directly after the cookie's name, in the name itself.
    pub prefix: bool,
    /// `mode query-string`: the parameter is in the query; otherwise it follows a semicolon in the
    /// path.
    pub query_string: bool,
}

/// Indices of servers by the values of their cookies.
#[derive(Clone, Debug, Default)]
pub struct CookiePlaces(OnceLock<HashMap<Box<[u8]>, Vec<u32>>>);

impl CookiePlaces {
    /// Returns the indices of the servers with this cookie value, in the order of the file.
    pub fn of(&self, servers: &[super::Server], value: &[u8]) -> &[u32] {
        let places = self.0.get_or_init(|| {
            let mut places: HashMap<Box<[u8]>, Vec<u32>> = HashMap::new();
            for (at, server) in (0..).zip(servers) {
                if let Some(value) = &server.options.cookie {
                    places.entry(value.clone()).or_default().push(at);
                }
            }
            places
        });
        places.get(value).map_or(&[], Vec::as_slice)
    }
}
