//! What a backend says of who belongs to which server, and of trying again.

use crate::compiled::{Condition, Format};
use language::Span;
use std::collections::HashMap;
use std::sync::OnceLock;

/// What `cookie` does with the cookie's value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CookieMode {
    /// `rewrite`: the server sets it, its value becomes the server's.
    Rewrite,
    /// `insert`: it is set here.
    Insert,
    /// `prefix`: the server's name is put in front of the value of its own cookie.
    Prefix,
}

/// `cookie` of a backend.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cookie {
    /// Its name, case and all.
    pub name: Box<[u8]>,
    /// None only looks at it.
    pub mode: Option<CookieMode>,
    /// `indirect`: none goes to a client that has the right one, none to a server.
    pub indirect: bool,
    /// `nocache`: an answer that gets one is kept out of shared caches.
    pub nocache: bool,
    /// `postonly`: only answers to POST get one.
    pub post_only: bool,
    /// `preserve`: one that the server sets stays.
    pub preserve: bool,
    /// `dynamic`: servers without a value of their own have one made of their address.
    pub dynamic: bool,
    /// What stands behind `path=/` of an inserted one, semicolons included.
    pub attributes: Box<[u8]>,
    /// `maxidle`, seconds.
    pub idle_max_s: Option<u32>,
    /// `maxlife`, seconds.
    pub life_max_s: Option<u32>,
}

impl Cookie {
    /// Whether inserted ones say when they were made.
    pub fn is_dated(&self) -> bool {
        self.mode == Some(CookieMode::Insert)
            && (self.idle_max_s.is_some() || self.life_max_s.is_some())
    }
}

/// What a persistence rule says of a stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PersistRuleKind {
    /// `force-persist`: it goes to its server, even where that is down.
    Force,
    /// `ignore-persist`: it belongs to nobody.
    Ignore,
}

/// `force-persist` or `ignore-persist`.
#[derive(Clone, Debug)]
pub struct PersistRule {
    /// Which of the two.
    pub kind: PersistRuleKind,
    /// When.
    pub condition: Condition,
}

/// Which server a `use-server` names.
#[derive(Clone, Debug)]
pub enum ServerName {
    /// One of the backend, and its place once all are known.
    Static(Box<str>, Option<crate::config::ServerIndex>),
    /// A name computed for each stream; without such a server the rule is ignored.
    Dynamic(Format),
}

/// One `use-server`.
#[derive(Clone, Debug)]
pub struct UseServerRule {
    /// Where the name stands.
    pub span: Span,
    /// Which server.
    pub server: ServerName,
    /// When.
    pub condition: Condition,
}

/// The method of `hash-type`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum HashMethod {
    /// A table with as many places as the weights: even, but all keys move when a server comes or goes.
    #[default]
    MapBased,
    /// A ring: few keys move.
    Consistent,
}

/// The function of `hash-type`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum HashFunction {
    /// `sdbm`.
    #[default]
    Sdbm,
    /// `djb2`.
    Djb2,
    /// `wt6`.
    Wt6,
    /// `crc32`.
    Crc32,
    /// `none`: the key's digits are the hash.
    None,
}

/// `hash-type`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct HashType {
    /// Table or ring.
    pub method: HashMethod,
    /// What makes a number of a key.
    pub function: HashFunction,
    /// `avalanche`: each bit of the key changes half of the number's.
    pub avalanche: bool,
}

/// `hash-preserve-affinity`: when a key stays at its server.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum HashAffinity {
    /// It waits for it.
    #[default]
    Always,
    /// While that has a free session.
    MaxConn,
    /// While that has a place in its queue.
    MaxQueue,
}

/// `hash-key` of a server: what its points on a ring come from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RingKey {
    /// Its id, as HAProxy takes it from 3.0 on.
    Id,
    /// Its address.
    Address,
    /// Its address and port.
    AddressAndPort,
}

/// `retry-on`: after which failures a request goes out again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RetryOn(pub u32);

impl RetryOn {
    /// No connection.
    pub const CONN_FAILURE: u32 = 1;
    /// The server closed before it answered.
    pub const EMPTY_RESPONSE: u32 = 1 << 1;
    /// It did not answer in time.
    pub const RESPONSE_TIMEOUT: u32 = 1 << 2;
    /// What it sent is no answer.
    pub const JUNK_RESPONSE: u32 = 1 << 3;
    /// It refused early data.
    pub const EARLY_REFUSED: u32 = 1 << 4;
    /// The first bit of a status; they stand in [`RetryOn::STATUSES`].
    const FIRST_STATUS: u32 = 5;
    /// Statuses that can be named.
    pub const STATUSES: [u16; 11] = [401, 403, 404, 408, 421, 425, 429, 500, 501, 502, 503];
    /// The last of them.
    pub const STATUS_504: u16 = 504;

    /// The bit of a status, if it can be named.
    pub fn status_bit(status: u16) -> Option<u32> {
        if status == Self::STATUS_504 {
            return Some(1 << (Self::FIRST_STATUS + Self::STATUSES.len() as u32));
        }
        let at = Self::STATUSES.iter().position(|known| *known == status)?;
        Some(1 << (Self::FIRST_STATUS + at as u32))
    }

    /// `all-retryable-errors`.
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

    /// Whether it holds one of these.
    pub fn has(self, bits: u32) -> bool {
        self.0 & bits != 0
    }

    /// Whether a request has to be kept until its answer is known.
    pub fn after_sending(self) -> bool {
        self.0 & !Self::CONN_FAILURE != 0
    }
}

impl Default for RetryOn {
    fn default() -> Self {
        RetryOn(Self::CONN_FAILURE)
    }
}

/// `appsession` of HAProxy 1.x.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AppSession {
    /// The application's cookie or parameter.
    pub name: Box<[u8]>,
    /// Bytes of its value that count.
    pub bytes_max: u32,
    /// How long an idle one is remembered.
    pub timeout_ms: u32,
    /// `request-learn`: also those that only clients show.
    pub learns_requests: bool,
    /// `prefix`: the cookie's name goes on with the value.
    pub prefix: bool,
    /// `mode query-string`: in the query; else behind a semicolon in the path.
    pub query_string: bool,
}

/// The places of servers by the values of their cookies.
#[derive(Clone, Debug, Default)]
pub struct CookiePlaces(OnceLock<HashMap<Box<[u8]>, Vec<u32>>>);

impl CookiePlaces {
    /// The servers of a value, in the order of the file.
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
