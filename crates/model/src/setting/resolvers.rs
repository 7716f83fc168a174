//! The `resolvers` sections, and what a server line says of its name.

use crate::sample::network::Network;
use language::Span;
use std::net::{IpAddr, SocketAddr};

/// A nameserver.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NameServer {
    /// Its name in the file, or its address where `/etc/resolv.conf` has it.
    pub name: Box<str>,
    /// Where it is.
    pub address: SocketAddr,
    /// It is asked over TCP only.
    pub stream: bool,
}

/// How long a previous response takes precedence over a current one, in milliseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hold {
    /// Than that there is no such name.
    pub nx_ms: u32,
    /// How long a record counts that the newest answer has no more.
    pub obsolete_ms: u32,
    /// Than any other error.
    pub other_ms: u32,
    /// Than a refusal.
    pub refused_ms: u32,
    /// Than silence.
    pub timeout_ms: u32,
    /// How long rules (`do-resolve`) believe an answer before it is asked again.
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

/// A `resolvers` section.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Resolvers {
    /// Where its name stands.
    pub span: Span,
    /// Its name.
    pub name: Box<str>,
    /// Who is asked, all at once; the first good answer counts.
    pub servers: Vec<NameServer>,
    /// How long answers count.
    pub hold: Hold,
    /// How often a question is asked before it is given up.
    pub retries: u32,
    /// How long until a name is asked for again, milliseconds.
    pub resolve_ms: u32,
    /// How long an answer may take, milliseconds.
    pub retry_ms: u32,
    /// Bytes that an answer over UDP may have.
    pub payload_max: u16,
}

impl Resolvers {
    /// A section without a line.
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

/// A version of IP.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum AddressFamily {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl AddressFamily {
    /// Whether an address is of it.
    pub fn has(self, ip: IpAddr) -> bool {
        ip.is_ipv4() == (self == AddressFamily::V4)
    }
}

/// What tells where a server is when it starts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum InitAddress {
    /// A state file.
    Last,
    /// The system's resolver.
    Libc,
    /// Nothing: it starts without an address.
    None,
    /// This address.
    Ip(IpAddr),
}

/// Most networks of one `resolve-net`.
pub const NETWORKS_MAX: usize = 5;

/// What a server line says of how its name is followed while it serves.
#[derive(Clone, PartialEq, Debug)]
pub struct Resolving {
    /// `resolvers`, and where that stands.
    pub resolvers: Option<(Span, Box<str>)>,
    /// `resolve-prefer`
    pub prefer: AddressFamily,
    /// `resolve-net`
    pub networks: Vec<Network>,
    /// `resolve-opts allow-dup-ip`
    pub same_address: bool,
    /// `resolve-opts ignore-weight`
    pub ignore_weight: bool,
    /// `init-addr`; None is what HAProxy does without.
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

/// The port of a server that is known by its name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NamedPort {
    /// This one.
    Fixed(u16),
    /// That of the client's connection, and so many more.
    Offset(i32),
}

/// The name that a server line has in place of an address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HostName {
    /// As written, without the port; empty where the line has an address.
    pub text: Box<str>,
    /// `ipv4@`, `ipv6@`.
    pub family: Option<AddressFamily>,
    /// The port.
    pub port: NamedPort,
    /// It is a service (`_http._tcp.name`), which tells hosts and ports.
    pub service: bool,
    /// The `resolvers` section that it is followed by: its place in the tree.
    pub resolvers: Option<u32>,
}
