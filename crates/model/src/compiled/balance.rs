//! `balance`, and what of a stream is hashed for it.

use crate::compiled::{Converters, Expression};
use std::sync::Arc;

/// `balance`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Balance {
    /// Smooth weighted round robin; weights may change at run time.
    #[default]
    RoundRobin,
    /// Round robin over a table made at the start.
    StaticRoundRobin,
    /// Fewest connections for its weight.
    LeastConnections,
    /// The first that has a free slot.
    First,
    /// The client's address, hashed.
    Source,
    /// Best of so many drawn ones.
    Random(u32),
    /// Something of the stream, hashed.
    Hash(Hashed),
}

impl Balance {
    /// Whether the same key goes to the same server.
    pub fn is_by_key(&self) -> bool {
        matches!(self, Balance::Source | Balance::Hash(_))
    }

    /// Whether it looks for its key in the body of a POST.
    pub fn looks_at_body(&self) -> bool {
        let key = match self {
            Balance::Hash(hashed) => &hashed.key,
            _ => return false,
        };
        matches!(
            key,
            HashKey::UrlParameter {
                check_post: true,
                ..
            }
        )
    }
}

/// What is hashed.
#[derive(Clone, Debug)]
pub enum HashKey {
    /// `balance source`.
    Source,
    /// `balance uri`.
    Uri {
        /// `len`: bytes that count; None is all.
        bytes_max: Option<u32>,
        /// `depth`: directories that count; None is all.
        depth_max: Option<u32>,
        /// `whole`: the query counts.
        whole: bool,
        /// `path-only`: host and scheme do not count.
        path_only: bool,
    },
    /// `balance url_param`.
    UrlParameter {
        /// Its name.
        name: Box<[u8]>,
        /// `check_post`: look for it in the body of a POST.
        check_post: bool,
    },
    /// `balance hdr`.
    Header {
        /// In lower case.
        name: Box<[u8]>,
        /// `use_domain_only`.
        domain_only: bool,
    },
    /// `balance rdp-cookie`.
    RdpCookie(Box<[u8]>),
    /// `balance hash`.
    Expression(Arc<Expression>),
    /// `balance log-hash`: a log message, through these.
    Message(Arc<Converters>),
}

/// Two keys are the same where their lines are.
#[derive(Clone, Debug)]
pub struct Hashed {
    /// What.
    pub key: HashKey,
    /// The words behind `balance`: they tell one from another.
    pub text: Box<str>,
}

impl PartialEq for Hashed {
    fn eq(&self, other: &Hashed) -> bool {
        self.text == other.text
    }
}

impl Eq for Hashed {}

impl Balance {
    /// The name of its algorithm.
    pub fn name(&self) -> &'static str {
        match self {
            Balance::RoundRobin => "roundrobin",
            Balance::StaticRoundRobin => "static-rr",
            Balance::LeastConnections => "leastconn",
            Balance::First => "first",
            Balance::Source => "source",
            Balance::Random(_) => "random",
            Balance::Hash(hashed) => match hashed.key {
                HashKey::Source => "source",
                HashKey::Uri { .. } => "uri",
                HashKey::UrlParameter { .. } => "url_param",
                HashKey::Header { .. } => "hdr",
                HashKey::RdpCookie(_) => "rdp-cookie",
                HashKey::Expression(_) => "hash",
                HashKey::Message(_) => "log-hash",
            },
        }
    }
}
