//! Holds the settings of `resolvers` sections, and those of a `server` line for name resolution.

use crate::sample::network::MaskedNetwork;
use language::Span;
use std::net::{IpAddr, SocketAddr};

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NameServer {
    /// Name in the file, or the address if the nameserver comes from `/etc/resolv.conf`.
    pub name: Box<str>,
    pub address: SocketAddr,
    pub stream: bool,
}

/// Time for which a previous response is kept in spite of a newer one, in milliseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hold {
    /// After a response that the name does not exist (NXDOMAIN): time for which the previous
    /// response is kept.
    pub nx_ms: u32,
    /// Time for which a record stays valid after the newest response no longer contains it.
    pub obsolete_ms: u32,
    pub other_ms: u32,
    pub refused_ms: u32,
    pub timeout_ms: u32,
    /// Time for which rules (`do-resolve`) use a response before the name is queried again.
    pub valid_ms: u32,
}

impl Default for Hold {
    fn default() -> Hold {
        Hold {
            nx_ms: 30_000,
            obsolete_ms: 0,
            other_ms: 30_000,
            refused_ms: 30_000,
            timeout_ms: 30_000,
            valid_ms: 10_000,
        }
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Resolvers {
    pub span: Span,
    pub name: Box<str>,
    /// Nameservers, all queried at once; the first valid response counts.
    pub servers: Vec<NameServer>,
    pub hold: Hold,
    /// Number of queries before the resolution fails.
    pub retries: u32,
    /// Interval between resolutions of a name, milliseconds.
    pub resolve_ms: u32,
    /// Timeout of a query, milliseconds.
    pub retry_ms: u32,
    /// Maximum size of a response over UDP, in bytes.
    pub payload_max: u16,
}

impl Resolvers {
    pub fn new(name: &str, span: Span) -> Resolvers {
        Resolvers {
            span,
            name: name.into(),
            servers: Vec::new(),
            hold: Hold::default(),
            retries: 3,
            resolve_ms: 1000,
            retry_ms: 1000,
            payload_max: protocol::dns::PAYLOAD_MIN,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum AddressFamily {
    V4,
    V6,
}

impl AddressFamily {
    pub fn has(self, ip: IpAddr) -> bool {
        ip.is_ipv4() == (self == AddressFamily::V4)
    }
}

/// Source of a server's address at startup.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum InitAddress {
    Last,
    Libc,
    /// The server starts without an address.
    None,
    Ip(IpAddr),
}

/// Maximum number of networks of a `resolve-net`.
pub const NETWORKS_MAX: usize = 5;

/// Settings of a server line for the resolution of its name at run time.
#[derive(Clone, PartialEq, Debug)]
pub struct Resolving {
    pub resolvers: Option<(Span, Box<str>)>,
    pub prefer: AddressFamily,
    /// Networks whose addresses are preferred (`resolve-net`).
    pub networks: Vec<MaskedNetwork>,
    /// Servers of a backend may have the same address (`resolve-opts allow-dup-ip`).
    pub same_address: bool,
    pub ignore_weight: bool,
    /// `init-addr`; None is HAProxy's default.
    pub init: Option<Vec<InitAddress>>,
}

impl Default for Resolving {
    fn default() -> Resolving {
        Resolving {
            resolvers: None,
            prefer: AddressFamily::V6,
            networks: Vec::new(),
            same_address: false,
            ignore_weight: false,
            init: None,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NamedPort {
    Fixed(u16),
    /// The port of the client's connection plus this offset.
    Offset(i32),
}

/// Host name of a server line in place of an address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HostName {
    /// Name as written, without the port; empty if the line has an address.
    pub text: Box<str>,
    /// Address family that `ipv4@` or `ipv6@` requires.
    pub family: Option<AddressFamily>,
    pub port: NamedPort,
    /// The name is a service (`_http._tcp.name`), whose SRV records contain hosts and ports.
    pub service: bool,
    /// Index of the `resolvers` section in the configuration.
    pub resolvers: Option<u32>,
}
