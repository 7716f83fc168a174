//! Defines the compiled `balance` setting: the algorithm, and the key that it hashes.

use crate::compiled::{Converters, Expression};
use std::sync::Arc;

/// Load-balancing algorithm of a backend (`balance`).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Balance {
    /// Smooth weighted round robin; weights may change at run time.
    #[default]
    RoundRobin,
    /// Weighted round robin over a precomputed table.
    StaticRoundRobin,
    /// Fewest connections, relative to the weight.
    LeastConnections,
    /// First server that has a free slot.
    First,
    Source,
    /// Best of this many randomly drawn servers.
    Random(u32),
    Hash(Hashed),
}

impl Balance {
    /// Returns whether requests with the same key go to the same server.
    pub fn is_by_key(&self) -> bool {
        matches!(self, Balance::Source | Balance::Hash(_))
    }

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

/// Key that the algorithm hashes.
#[derive(Clone, Debug)]
pub enum HashKey {
    Source,
    Uri {
        /// `len`: number of bytes to hash; None hashes all.
        bytes_max: Option<u32>,
        /// `depth`: number of directories to hash; None hashes all.
        depth_max: Option<u32>,
        /// `whole`: hashes the query, too.
        whole: bool,
        /// `path-only`: excludes the host and the scheme.
        path_only: bool,
    },
    UrlParameter {
        name: Box<[u8]>,
        /// `check_post`: also looks for the parameter in the body of a POST.
        check_post: bool,
    },
    Header {
        /// Name of the header, in lower case.
        name: Box<[u8]>,
        /// `use_domain_only`: hashes only the main part of the domain.
        domain_only: bool,
    },
    RdpCookie(Box<[u8]>),
    /// `balance hash`: the value of an expression.
    Expression(Arc<Expression>),
    /// `balance log-hash`: a log message, through these converters.
    Message(Arc<Converters>),
}

/// Key of a hash-based algorithm. Two keys are equal if their configuration lines are equal.
#[derive(Clone, Debug)]
pub struct Hashed {
    pub key: HashKey,
    /// Words after `balance`, which identify the key in comparisons.
    pub text: Box<str>,
}

impl PartialEq for Hashed {
    fn eq(&self, other: &Hashed) -> bool {
        self.text == other.text
    }
}

impl Eq for Hashed {}

impl Balance {
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
