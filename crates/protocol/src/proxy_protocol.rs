//! Parses and writes the PROXY header, versions 1 (text) and 2 (binary), by which a proxy reports
//! to the next server whose connection it forwards.
//!
//! [`parse`] is strict and incremental. Given all bytes that have arrived so far, it finds a
//! whole header at the beginning, returns how many bytes are missing, or refuses at the first
//! byte that is wrong. It never guesses whether a header is there: a caller that expects one must
//! require one, because otherwise a client could write its own address.
//!
//! Nothing here keeps state between calls or decides which sender to trust.

mod binary;
mod crc32c;
mod error;
mod text;
mod tlv;

use std::net::{IpAddr, SocketAddr, SocketAddrV4, SocketAddrV6};

pub use binary::{MAX_BINARY_BYTES, MAX_TLV_BYTES};
pub use error::{ParseError, ProxyV1Field, TlvError, UnixPathTooLong};
pub use text::MAX_TEXT_BYTES;
pub use tlv::{
    MAX_AUTHORITY_BYTES, MAX_UNIQUE_ID_BYTES, Ssl, SslFields, Tlv, TlvIter, Tlvs, kind, ssl_kind,
};

pub const MAX_HEADER_BYTES: usize = MAX_BINARY_BYTES;

/// Length of a path in a Unix address on the wire.
pub const UNIX_PATH_BYTES: usize = 108;

/// Content of a PROXY header, of either version.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Header {
    /// Version 2 only: the sender opened the connection for itself, for example for a health check.
    /// The addresses of the connection that carries the header apply, and the addresses and
    /// extensions in the header are skipped.
    Local,
    Proxied(Proxied),
}

/// The connection that the sender forwards.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Proxied {
    pub endpoints: Endpoints,
    /// Further fields (TLV). Always empty in version 1.
    pub tlvs: Tlvs,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ProxiedTransport {
    /// A stream: TCP, or a Unix stream socket.
    Stream,
    /// Datagrams: UDP, or a Unix datagram socket.
    Datagram,
}

/// Both ends of a connection. They always have the same address family, because a header has no
/// other form.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Endpoints {
    /// The sender does not know the addresses or does not disclose them: those of the real
    /// connection apply.
    Unknown,
    Inet4 {
        /// TCP or UDP. Version 1 supports only TCP.
        transport: ProxiedTransport,
        source: SocketAddrV4,
        destination: SocketAddrV4,
    },
    Inet6 {
        transport: ProxiedTransport,
        source: SocketAddrV6,
        destination: SocketAddrV6,
    },
    /// Unix sockets, which only version 2 supports.
    Unix {
        transport: ProxiedTransport,
        /// Both paths, boxed because they are large and rare.
        paths: Box<UnixPaths>,
    },
}

/// Paths of both ends of a Unix connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UnixPaths {
    /// Source path; empty for an unnamed socket, which most clients have.
    pub source: UnixPath,
    pub destination: UnixPath,
}

/// Path of a Unix socket in wire format: padded with NUL, and beginning with NUL if the socket is
/// abstract.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct UnixPath([u8; UNIX_PATH_BYTES]);

impl UnixPath {
    /// Creates a path; an abstract one begins with NUL.
    ///
    /// # Errors
    /// The path exceeds 108 bytes.
    pub fn new(path: &[u8]) -> Result<Self, UnixPathTooLong> {
        let mut bytes = [0; UNIX_PATH_BYTES];
        match bytes.get_mut(..path.len()) {
            Some(room) => room.copy_from_slice(path),
            None => {
                return Err(UnixPathTooLong {
                    found_bytes: path.len(),
                });
            }
        }
        Ok(UnixPath(bytes))
    }

    pub(crate) fn from_wire(bytes: [u8; UNIX_PATH_BYTES]) -> Self {
        UnixPath(bytes)
    }

    pub(crate) fn wire(&self) -> &[u8; UNIX_PATH_BYTES] {
        &self.0
    }

    /// Returns the path without its padding; empty for an unnamed socket.
    pub fn as_bytes(&self) -> &[u8] {
        let start = usize::from(self.0[0] == 0);
        let named = self.0[start..].iter().position(|b| *b == 0);
        match named.map_or(UNIX_PATH_BYTES, |n| n + start) {
            // A single NUL is not a name.
            1 if start == 1 => &[],
            end => &self.0[..end],
        }
    }
}

impl Endpoints {
    /// Returns the endpoints of an IP connection. If only one end is IPv6, the other is written as
    /// an IPv4-mapped address.
    pub fn between(
        transport: ProxiedTransport,
        source: SocketAddr,
        destination: SocketAddr,
    ) -> Self {
        match (source, destination) {
            (SocketAddr::V4(source), SocketAddr::V4(destination)) => Endpoints::Inet4 {
                transport,
                source,
                destination,
            },
            _ => Endpoints::Inet6 {
                transport,
                source: on_the_wire(source),
                destination: on_the_wire(destination),
            },
        }
    }

    /// Returns the source address of an IP connection.
    pub fn source(&self) -> Option<SocketAddr> {
        match self {
            Endpoints::Inet4 { source, .. } => Some(SocketAddr::V4(*source)),
            Endpoints::Inet6 { source, .. } => Some(SocketAddr::V6(*source)),
            Endpoints::Unknown | Endpoints::Unix { .. } => None,
        }
    }

    /// Returns the destination address of an IP connection.
    pub fn destination(&self) -> Option<SocketAddr> {
        match self {
            Endpoints::Inet4 { destination, .. } => Some(SocketAddr::V4(*destination)),
            Endpoints::Inet6 { destination, .. } => Some(SocketAddr::V6(*destination)),
            Endpoints::Unknown | Endpoints::Unix { .. } => None,
        }
    }
}

/// Converts an address to IPv6 (IPv4 is mapped) without flow label and scope, which a header of
/// neither version contains.
fn on_the_wire(address: SocketAddr) -> SocketAddrV6 {
    let ip = match address.ip() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    SocketAddrV6::new(ip, address.port(), 0, 0)
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Checksum {
    Crc32c,
    None,
}

impl Header {
    /// Returns the header of a TCP connection with only its addresses.
    pub fn tcp(source: SocketAddr, destination: SocketAddr) -> Self {
        Header::Proxied(Proxied {
            endpoints: Endpoints::between(ProxiedTransport::Stream, source, destination),
            tlvs: Tlvs::default(),
        })
    }

    /// Appends the header in version 1. Headers that version 1 cannot express (local, datagrams,
    /// Unix) are written as `UNKNOWN`; extensions are omitted.
    pub fn encode_text(&self, out: &mut Vec<u8>) {
        text::encode(self, out);
    }

    pub fn encode_binary(&self, checksum: Checksum, out: &mut Vec<u8>) {
        binary::encode(self, checksum, out);
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Progress {
    /// The bytes may be the start of a header. At least this many more bytes are needed: never
    /// zero, and never beyond the header, so that a reader of exactly these bytes consumes nothing
    /// of the protocol that follows.
    Incomplete { missing_bytes: usize },
    /// A complete header. The rest of the bytes belongs to the connection.
    Complete {
        header: Header,
        consumed_bytes: usize,
    },
}

/// Parses a header of either version at the beginning of `bytes`.
///
/// # Errors
/// The bytes are not a valid header.
pub fn parse(bytes: &[u8]) -> Result<Progress, ParseError> {
    match bytes.first() {
        // The first byte shows the version, so the second byte is not needed yet.
        None => Ok(Progress::Incomplete { missing_bytes: 1 }),
        Some(b'P') => text::parse(bytes),
        Some(b'\r') => binary::parse(bytes),
        Some(_) => Err(ParseError::NotProxy { at_byte: 0 }),
    }
}

/// Checks that `bytes` can begin with `prefix`; an error contains the offset of the first wrong
/// byte.
fn check_prefix(bytes: &[u8], prefix: &[u8]) -> Result<(), ParseError> {
    match bytes.iter().zip(prefix).position(|(b, p)| b != p) {
        Some(at_byte) => Err(ParseError::NotProxy { at_byte }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
