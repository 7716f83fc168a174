//! Where connections to servers come from, beyond one address (`source`).

use super::{Proxy, Server};
use std::net::SocketAddr;

/// Whose address a connection to a server shows (`usesrc`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Borrowed {
    /// `client`: the client's, port and all.
    Client,
    /// `clientip`: the client's, from any port.
    ClientIp,
    /// `hdr_ip(name,occurrence)`: the one in a header, its name in lower case.
    Header(Box<[u8]>, i32),
    /// This one, which need not be this host's.
    Address(SocketAddr),
}

/// The rest of a `source`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SourceWays {
    /// `usesrc`.
    pub borrowed: Option<Borrowed>,
    /// A range of ports: the first and the last.
    pub ports: Option<(u16, u16)>,
    /// `interface`.
    pub interface: Option<Box<str>>,
}

/// All that decides where a connection to a server comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Source<'c> {
    /// The address.
    pub address: Option<SocketAddr>,
    /// The rest.
    pub ways: &'c SourceWays,
}

impl Server {
    /// Where connections to it come from: as its own line says, else its backend.
    pub fn source<'c>(&'c self, backend: &'c Proxy) -> Source<'c> {
        let (own, ways) = (self.options.source, &self.options.source_ways);
        let says_nothing = own.is_none() && ways.borrowed.is_none() && ways.interface.is_none();
        if says_nothing {
            return Source {
                address: backend.source,
                ways: &backend.source_ways,
            };
        }
        Source { address: own, ways }
    }
}
