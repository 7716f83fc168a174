//! Holds the settings of the source address of connections to servers (`source`): client's
//! address, port range, interface.

use super::{Proxy, Server};
use std::net::SocketAddr;

/// Source address of a connection to a server that is not this machine's own (`usesrc`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Borrowed {
    /// `client`: the client's address and port.
    Client,
    /// `clientip`: the client's address with any port.
    ClientIp,
    /// `hdr_ip(name,occurrence)`: the address in a header; the name is in lower case.
    Header(Box<[u8]>, i32),
    /// A fixed address, which need not be one of this host.
    Address(SocketAddr),
}

/// Options of `source` besides the address.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SourceWays {
    /// Source address that is not this machine's own (`usesrc`), such as the client's.
    pub borrowed: Option<Borrowed>,
    /// First and last port of the range.
    pub ports: Option<(u16, u16)>,
    pub interface: Option<Box<str>>,
}

/// All settings for the source of a connection to a server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ConnectionSource<'c> {
    /// Source address; None leaves it to the system.
    pub address: Option<SocketAddr>,
    pub settings: &'c SourceWays,
}

impl Server {
    /// Returns the source settings of the server's line, or those of its backend.
    pub fn source<'c>(&'c self, backend: &'c Proxy) -> ConnectionSource<'c> {
        let (own, ways) = (self.options.source, &self.options.source_ways);
        let says_nothing = own.is_none() && ways.borrowed.is_none() && ways.interface.is_none();
        if says_nothing {
            return ConnectionSource {
                address: backend.source,
                settings: &backend.source_ways,
            };
        }
        ConnectionSource {
            address: own,
            settings: ways,
        }
    }
}
