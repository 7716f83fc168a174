//! Parses and writes version 2 of the PROXY header: a fixed part of sixteen bytes, the addresses,
//! the extensions.

use super::crc32c::crc32c;
use super::tlv::{CHECKSUM_BYTES, TLV_HEAD_BYTES, kind};
use super::{
    Checksum, Endpoints, Header, ParseError, Progress, Proxied, ProxiedTransport, TlvError, Tlvs,
    UNIX_PATH_BYTES, UnixPath, UnixPaths, check_prefix,
};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
const FIXED_BYTES: usize = 16;
const INET4_BYTES: usize = 12;
const INET6_BYTES: usize = 36;
const UNIX_BYTES: usize = 2 * UNIX_PATH_BYTES;

/// Maximum length of an accepted header in bytes. The format allows 64 KiB, but the header is
/// buffered before anything is known about the client. HAProxy has the same limit, the size of its
/// buffer.
pub const MAX_BINARY_BYTES: usize = 16 * 1024;

/// Maximum length of the extensions in bytes: what the largest addresses and a checksum leave of
/// the header, so that every parsed header can be written again.
pub const MAX_TLV_BYTES: usize =
    MAX_BINARY_BYTES - FIXED_BYTES - UNIX_BYTES - TLV_HEAD_BYTES - CHECKSUM_BYTES;

const VERSION: u8 = 2;
const COMMAND_LOCAL: u8 = 0;
const COMMAND_PROXY: u8 = 1;
const UNSPECIFIED: u8 = 0;
const FAMILY_INET4: u8 = 1;
const FAMILY_INET6: u8 = 2;
const FAMILY_UNIX: u8 = 3;
const TRANSPORT_STREAM: u8 = 1;
const TRANSPORT_DATAGRAM: u8 = 2;

pub(super) fn parse(bytes: &[u8]) -> Result<Progress, ParseError> {
    check_prefix(bytes, SIGNATURE)?;
    // An invalid byte is refused as soon as it has arrived.
    if let Some(byte) = bytes.get(12) {
        if byte >> 4 != VERSION {
            return Err(ParseError::Version(byte >> 4));
        }
        if !matches!(byte & 0xf, COMMAND_LOCAL | COMMAND_PROXY) {
            return Err(ParseError::Command(byte & 0xf));
        }
    }
    let Some(fixed) = bytes.first_chunk::<FIXED_BYTES>() else {
        return Ok(Progress::Incomplete {
            missing_bytes: FIXED_BYTES - bytes.len(),
        });
    };
    let total = FIXED_BYTES + usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    if total > MAX_BINARY_BYTES {
        return Err(ParseError::BlockTooLong {
            declared_bytes: total,
        });
    }
    let shape = match fixed[12] & 0xf {
        // The specification gives the rest of a local header no meaning.
        COMMAND_LOCAL => None,
        _ => Some(Shape::of(fixed[13], total - FIXED_BYTES)?),
    };
    let Some(block) = bytes.get(FIXED_BYTES..total) else {
        return Ok(Progress::Incomplete {
            missing_bytes: total - bytes.len(),
        });
    };
    let header = match shape {
        None => Header::Local,
        Some(shape) => Header::Proxied(shape.read(fixed, block)?),
    };
    Ok(Progress::Complete {
        header,
        consumed_bytes: total,
    })
}

/// Length and layout that the family byte announces.
enum Shape {
    Unspecified,
    Inet4(ProxiedTransport),
    Inet6(ProxiedTransport),
    Unix(ProxiedTransport),
}

impl Shape {
    fn of(byte: u8, block_bytes: usize) -> Result<Shape, ParseError> {
        let transport = match byte & 0xf {
            UNSPECIFIED => None,
            TRANSPORT_STREAM => Some(ProxiedTransport::Stream),
            TRANSPORT_DATAGRAM => Some(ProxiedTransport::Datagram),
            other => return Err(ParseError::Transport(other)),
        };
        let (shape, needed_bytes) = match (byte >> 4, transport) {
            (FAMILY_INET4, Some(t)) => (Shape::Inet4(t), INET4_BYTES),
            (FAMILY_INET6, Some(t)) => (Shape::Inet6(t), INET6_BYTES),
            (FAMILY_UNIX, Some(t)) => (Shape::Unix(t), UNIX_BYTES),
            (UNSPECIFIED..=FAMILY_UNIX, _) => (Shape::Unspecified, 0),
            (other, _) => return Err(ParseError::Family(other)),
        };
        if block_bytes < needed_bytes {
            return Err(ParseError::BlockTooShort {
                declared_bytes: block_bytes,
                needed_bytes,
            });
        }
        Ok(shape)
    }

    fn read(self, fixed: &[u8; FIXED_BYTES], block: &[u8]) -> Result<Proxied, ParseError> {
        let short = |needed_bytes| ParseError::BlockTooShort {
            declared_bytes: block.len(),
            needed_bytes,
        };
        let (endpoints, rest) = match self {
            // A header of an unspecified address family may contain addresses in a form that only
            // the sender knows. If all of it is a valid list of extensions, it is used as one
            // (HAProxy sends such headers); otherwise it is skipped.
            Shape::Unspecified => {
                let checked = verify_checksum(fixed, &[], block);
                let tlvs = match checked.and_then(|()| Tlvs::from_wire(block)) {
                    Ok(tlvs) => tlvs,
                    Err(error @ TlvError::ChecksumMismatch { .. }) => return Err(error.into()),
                    Err(_) => Tlvs::default(),
                };
                let endpoints = Endpoints::Unknown;
                return Ok(Proxied { endpoints, tlvs });
            }
            Shape::Inet4(transport) => {
                let (wire, rest) = block
                    .split_first_chunk::<INET4_BYTES>()
                    .ok_or_else(|| short(INET4_BYTES))?;
                (inet4(transport, wire), rest)
            }
            Shape::Inet6(transport) => {
                let (wire, rest) = block
                    .split_first_chunk::<INET6_BYTES>()
                    .ok_or_else(|| short(INET6_BYTES))?;
                (inet6(transport, wire), rest)
            }
            Shape::Unix(transport) => {
                let (wire, rest) = block
                    .split_first_chunk::<UNIX_BYTES>()
                    .ok_or_else(|| short(UNIX_BYTES))?;
                (unix(transport, wire), rest)
            }
        };
        let addresses = &block[..block.len() - rest.len()];
        verify_checksum(fixed, addresses, rest)?;
        let tlvs = Tlvs::from_wire(rest)?;
        Ok(Proxied { endpoints, tlvs })
    }
}

fn inet4(transport: ProxiedTransport, wire: &[u8; INET4_BYTES]) -> Endpoints {
    let [a, b, c, d, e, f, g, h, i, j, k, l] = *wire;
    Endpoints::Inet4 {
        transport,
        source: SocketAddrV4::new(Ipv4Addr::new(a, b, c, d), u16::from_be_bytes([i, j])),
        destination: SocketAddrV4::new(Ipv4Addr::new(e, f, g, h), u16::from_be_bytes([k, l])),
    }
}

fn inet6(transport: ProxiedTransport, wire: &[u8; INET6_BYTES]) -> Endpoints {
    let ip = |at: usize| {
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&wire[at..at + 16]);
        Ipv6Addr::from(bytes)
    };
    let port = |at: usize| u16::from_be_bytes([wire[at], wire[at + 1]]);
    Endpoints::Inet6 {
        transport,
        source: SocketAddrV6::new(ip(0), port(32), 0, 0),
        destination: SocketAddrV6::new(ip(16), port(34), 0, 0),
    }
}

fn unix(transport: ProxiedTransport, wire: &[u8; UNIX_BYTES]) -> Endpoints {
    let path = |at: usize| {
        let mut bytes = [0; UNIX_PATH_BYTES];
        bytes.copy_from_slice(&wire[at..at + UNIX_PATH_BYTES]);
        UnixPath::from_wire(bytes)
    };
    Endpoints::Unix {
        transport,
        paths: Box::new(UnixPaths {
            source: path(0),
            destination: path(UNIX_PATH_BYTES),
        }),
    }
}

/// Verifies the checksum, which covers the whole header with its own four bytes as zeroes.
fn verify_checksum(
    fixed: &[u8; FIXED_BYTES],
    addresses: &[u8],
    tlvs: &[u8],
) -> Result<(), TlvError> {
    let Some((at, found)) = super::tlv::find_checksum(tlvs)? else {
        return Ok(());
    };
    let (before, after) = (&tlvs[..at], &tlvs[at + CHECKSUM_BYTES..]);
    let computed = crc32c(&[fixed, addresses, before, &[0; CHECKSUM_BYTES], after]);
    if computed == found {
        Ok(())
    } else {
        Err(TlvError::ChecksumMismatch { found, computed })
    }
}

pub(super) fn encode(header: &Header, checksum: Checksum, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(SIGNATURE);
    let Header::Proxied(proxied) = header else {
        out.extend_from_slice(&[VERSION << 4 | COMMAND_LOCAL, UNSPECIFIED, 0, 0]);
        return;
    };
    out.push(VERSION << 4 | COMMAND_PROXY);
    out.push(family_byte(&proxied.endpoints));
    out.extend_from_slice(&[0, 0]);
    match &proxied.endpoints {
        Endpoints::Unknown => {}
        Endpoints::Inet4 {
            source,
            destination,
            ..
        } => {
            out.extend_from_slice(&source.ip().octets());
            out.extend_from_slice(&destination.ip().octets());
            out.extend_from_slice(&source.port().to_be_bytes());
            out.extend_from_slice(&destination.port().to_be_bytes());
        }
        Endpoints::Inet6 {
            source,
            destination,
            ..
        } => {
            out.extend_from_slice(&source.ip().octets());
            out.extend_from_slice(&destination.ip().octets());
            out.extend_from_slice(&source.port().to_be_bytes());
            out.extend_from_slice(&destination.port().to_be_bytes());
        }
        Endpoints::Unix { paths, .. } => {
            out.extend_from_slice(paths.source.wire());
            out.extend_from_slice(paths.destination.wire());
        }
    }
    // Puts the checksum before all other extensions, as HAProxy does.
    let sum_at = out.len() + TLV_HEAD_BYTES;
    if checksum == Checksum::Crc32c {
        out.extend_from_slice(&[kind::CRC32C, 0, CHECKSUM_BYTES as u8]);
        out.extend_from_slice(&[0; CHECKSUM_BYTES]);
    }
    out.extend_from_slice(proxied.tlvs.wire());
    // The length fits: MAX_TLV_BYTES limits the extensions, and is below 64 KiB.
    let block_bytes = (out.len() - start - FIXED_BYTES) as u16;
    out[start + 14..start + 16].copy_from_slice(&block_bytes.to_be_bytes());
    if checksum == Checksum::Crc32c {
        let sum = crc32c(&[&out[start..]]);
        out[sum_at..sum_at + CHECKSUM_BYTES].copy_from_slice(&sum.to_be_bytes());
    }
}

fn family_byte(endpoints: &Endpoints) -> u8 {
    let (family, transport) = match endpoints {
        Endpoints::Unknown => return UNSPECIFIED,
        Endpoints::Inet4 { transport, .. } => (FAMILY_INET4, transport),
        Endpoints::Inet6 { transport, .. } => (FAMILY_INET6, transport),
        Endpoints::Unix { transport, .. } => (FAMILY_UNIX, transport),
    };
    let transport = match transport {
        ProxiedTransport::Stream => TRANSPORT_STREAM,
        ProxiedTransport::Datagram => TRANSPORT_DATAGRAM,
    };
    family << 4 | transport
}
