//! The PROXY protocol, versions 1 (text) and 2 (binary): how a proxy tells the
//! next server whose connection it is that it passes on.
//!
//! [`parse`] is strict and incremental: it is given all that has arrived so
//! far, and either finds a whole header at the beginning, says how many bytes
//! are missing, or refuses at the first byte that cannot be right. It never
//! guesses whether a header is there: who expects one, demands one, because
//! otherwise a client could write its own address.
//!
//! Nothing here keeps state between calls or decides whom to trust.

mod binary;
mod crc32c;
mod error;
mod text;
mod tlv;

use std::net::{IpAddr, SocketAddr, SocketAddrV4, SocketAddrV6};

pub use binary::{MAX_BINARY_BYTES, MAX_TLV_BYTES};
pub use error::{Field, ParseError, TlvError, UnixPathTooLong};
pub use text::MAX_TEXT_BYTES;
pub use tlv::{
    MAX_AUTHORITY_BYTES, MAX_UNIQUE_ID_BYTES, Ssl, SslFields, Tlv, TlvIter, Tlvs, kind, ssl_kind,
};

/// The longest header of any version that [`parse`] takes.
pub const MAX_HEADER_BYTES: usize = MAX_BINARY_BYTES;

/// Length of a path in a Unix address on the wire.
pub const UNIX_PATH_BYTES: usize = 108;

/// The content of a header.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Header {
    /// The sender speaks for itself (a health check, say): the addresses of the
    /// real connection hold, and whatever else the header carried is void.
    Local,
    /// The sender passes on a connection of somebody else.
    Proxied(Proxied),
}

/// The connection which is passed on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Proxied {
    /// Between whom it is.
    pub endpoints: Endpoints,
    /// Further fields (TLV). Always empty in version 1.
    pub tlvs: Tlvs,
}

/// Transport protocol of the connection.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Transport {
    /// A stream: TCP, or a Unix stream socket.
    Stream,
    /// Datagrams: UDP, or a Unix datagram socket.
    Datagram,
}

/// Both ends of a connection. They are always of one family, because the wire
/// has no other form.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Endpoints {
    /// The sender does not know or does not tell: the addresses of the real
    /// connection hold.
    Unknown,
    /// IPv4.
    Inet4 {
        /// TCP or UDP. Version 1 knows TCP only.
        transport: Transport,
        /// Source address.
        source: SocketAddrV4,
        /// To what it connected.
        destination: SocketAddrV4,
    },
    /// IPv6.
    Inet6 {
        /// TCP or UDP. Version 1 knows TCP only.
        transport: Transport,
        /// Source address.
        source: SocketAddrV6,
        /// To what it connected.
        destination: SocketAddrV6,
    },
    /// Unix sockets. Only version 2 has them.
    Unix {
        /// Stream or datagram.
        transport: Transport,
        /// Both paths, apart because they are large and rare.
        paths: Box<UnixPaths>,
    },
}

/// The paths of both ends of a Unix connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UnixPaths {
    /// Source path; empty for an unnamed socket, which most clients have.
    pub source: UnixPath,
    /// To what it connected.
    pub destination: UnixPath,
}

/// The path of a Unix socket as the wire has it: padded with NUL, and beginning
/// with one when the socket is abstract.
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

    /// Without its padding. Empty for an unnamed socket.
    pub fn as_bytes(&self) -> &[u8] {
        let start = usize::from(self.0[0] == 0);
        let named = self.0[start..].iter().position(|b| *b == 0);
        match named.map_or(UNIX_PATH_BYTES, |n| n + start) {
            // A NUL alone names nothing.
            1 if start == 1 => &[],
            end => &self.0[..end],
        }
    }
}

impl Endpoints {
    /// Endpoints of an IP connection. If only one end is IPv6, the other is
    /// written as an address mapped into it.
    pub fn between(transport: Transport, source: SocketAddr, destination: SocketAddr) -> Self {
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

    /// To what it connected, if it came by IP.
    pub fn destination(&self) -> Option<SocketAddr> {
        match self {
            Endpoints::Inet4 { destination, .. } => Some(SocketAddr::V4(*destination)),
            Endpoints::Inet6 { destination, .. } => Some(SocketAddr::V6(*destination)),
            Endpoints::Unknown | Endpoints::Unix { .. } => None,
        }
    }
}

/// Neither version carries a flow label or a scope.
fn on_the_wire(address: SocketAddr) -> SocketAddrV6 {
    let ip = match address.ip() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    SocketAddrV6::new(ip, address.port(), 0, 0)
}

/// Whether the checksum of version 2 is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Checksum {
    /// With a CRC32C.
    Crc32c,
    /// Without.
    None,
}

impl Header {
    /// A TCP connection with nothing more to tell than its addresses.
    pub fn tcp(source: SocketAddr, destination: SocketAddr) -> Self {
        Header::Proxied(Proxied {
            endpoints: Endpoints::between(Transport::Stream, source, destination),
            tlvs: Tlvs::default(),
        })
    }

    /// Appends the header in version 1. What that version cannot say (local,
    /// datagrams, Unix) is written as `UNKNOWN`; TLVs have no place in it.
    pub fn encode_text(&self, out: &mut Vec<u8>) {
        text::encode(self, out);
    }

    /// Appends the header in version 2.
    pub fn encode_binary(&self, checksum: Checksum, out: &mut Vec<u8>) {
        binary::encode(self, checksum, out);
    }
}

/// How far [`parse`] came.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Progress {
    /// The bytes may be the start of a header. At least this many more bytes are needed:
    /// never zero, and never beyond the header, so a reader of exactly these bytes takes
    /// none of the next protocol.
    Incomplete {
        /// How many bytes are missing at least.
        missing_bytes: usize,
    },
    /// A header, and how many bytes it took. What follows is the connection's.
    Complete {
        /// The header.
        header: Header,
        /// Its length.
        consumed_bytes: usize,
    },
}

/// Parses a header of either version at the beginning of `bytes`.
///
/// # Errors
/// The bytes are not a valid header.
pub fn parse(bytes: &[u8]) -> Result<Progress, ParseError> {
    match bytes.first() {
        // Both versions' shortest prefix is longer than one byte; the first one
        // tells them apart.
        None => Ok(Progress::Incomplete { missing_bytes: 1 }),
        Some(b'P') => text::parse(bytes),
        Some(b'\r') => binary::parse(bytes),
        Some(_) => Err(ParseError::NotProxy { at_byte: 0 }),
    }
}

/// How many bytes of `bytes` could begin `prefix`: an error names the first
/// that could not.
fn check_prefix(bytes: &[u8], prefix: &[u8]) -> Result<(), ParseError> {
    match bytes.iter().zip(prefix).position(|(b, p)| b != p) {
        Some(at_byte) => Err(ParseError::NotProxy { at_byte }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
