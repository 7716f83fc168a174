//! Parses the header of the NetScaler Client IP protocol: the IP and TCP headers of the client's
//! first packet, which a proxy sends before the data of a connection.
//!
//! ```text
//! legacy:    magic (4)  length (4)                       IP header, TCP header
//! standard:  magic (4)  length of all (4)  type 0 (2)  length (2)  IP header, TCP header
//! ```
//!
//! The length is that of the two headers. All numbers are big-endian. [`parse`] receives
//! everything that has arrived, is strict, and keeps no state.

use crate::proxy_protocol::{Endpoints, Header, Proxied, ProxiedTransport, Tlvs};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};

/// Maximum length of an IP and a TCP header with options, in bytes.
const HEADERS_MAX: usize = 40 + 60 + 60;
const TCP: u8 = 6;
const TCP_HEADER_BYTES: usize = 20;

/// The bytes are not a header of this protocol with this magic number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NotNetScaler;

/// Parses the header at the start of `bytes`; returns it with its length, or None while it is
/// incomplete.
///
/// # Errors
/// Fails if the bytes do not begin with `magic`, if the length of the headers is too large, or if
/// the headers are not those of a TCP packet.
pub fn parse(bytes: &[u8], magic: u32) -> Result<Option<(Header, usize)>, NotNetScaler> {
    let known = bytes.len().min(4);
    if bytes[..known] != magic.to_be_bytes()[..known] {
        return Err(NotNetScaler);
    }
    let Some(first) = bytes.get(8) else {
        return Ok(None);
    };
    let (start, length) = if first & 0xd0 == 0x40 {
        let length = u32::from_be_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]);
        (8, length as usize)
    } else if *first == 0 {
        let Some([high, low]) = bytes.get(10..12) else {
            return Ok(None);
        };
        (12, usize::from(u16::from_be_bytes([*high, *low])))
    } else {
        return Err(NotNetScaler);
    };
    if length > HEADERS_MAX {
        return Err(NotNetScaler);
    }
    let end = start + length;
    let Some(headers) = bytes.get(start..end) else {
        return Ok(None);
    };
    let endpoints = endpoints(headers).ok_or(NotNetScaler)?;
    let header = Header::Proxied(Proxied {
        endpoints,
        tlvs: Tlvs::default(),
    });
    Ok(Some((header, end)))
}

fn endpoints(headers: &[u8]) -> Option<Endpoints> {
    let first = *headers.first()?;
    let (protocol, length) = match first >> 4 {
        4 => (*headers.get(9)?, usize::from(first & 0x0f) * 4),
        6 => (*headers.get(6)?, 40),
        _ => return None,
    };
    if protocol != TCP || length < 20 {
        return None;
    }
    let tcp = headers.get(length..length + TCP_HEADER_BYTES)?;
    let source_port = u16::from_be_bytes([tcp[0], tcp[1]]);
    let destination_port = u16::from_be_bytes([tcp[2], tcp[3]]);
    let transport = ProxiedTransport::Stream;
    if first >> 4 == 4 {
        let address = |at: usize| {
            let bytes: [u8; 4] = headers.get(at..at + 4)?.try_into().ok()?;
            Some(Ipv4Addr::from(bytes))
        };
        return Some(Endpoints::Inet4 {
            transport,
            source: SocketAddrV4::new(address(12)?, source_port),
            destination: SocketAddrV4::new(address(16)?, destination_port),
        });
    }
    let address = |at: usize| {
        let bytes: [u8; 16] = headers.get(at..at + 16)?.try_into().ok()?;
        Some(Ipv6Addr::from(bytes))
    };
    Some(Endpoints::Inet6 {
        transport,
        source: SocketAddrV6::new(address(8)?, source_port, 0, 0),
        destination: SocketAddrV6::new(address(24)?, destination_port, 0, 0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ipv4() -> Vec<u8> {
        let mut bytes = vec![0x45, 0, 0, 40, 0, 0, 0, 0, 64, TCP, 0, 0];
        bytes.extend([192, 0, 2, 1, 198, 51, 100, 2]);
        bytes.extend([0x30, 0x39, 0x00, 0x50]);
        bytes.extend([0; 16]);
        bytes
    }

    fn ipv6() -> Vec<u8> {
        let mut bytes = vec![0x60, 0, 0, 0, 0, 20, TCP, 64];
        bytes.extend([0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        bytes.extend([0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]);
        bytes.extend([0x30, 0x39, 0x00, 0x50]);
        bytes.extend([0; 16]);
        bytes
    }

    fn legacy(headers: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0, 0, 0, 5];
        bytes.extend((headers.len() as u32).to_be_bytes());
        bytes.extend_from_slice(headers);
        bytes
    }

    fn standard(headers: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0, 0, 0, 5];
        bytes.extend((headers.len() as u32 + 12).to_be_bytes());
        bytes.extend([0, 0]);
        bytes.extend((headers.len() as u16).to_be_bytes());
        bytes.extend_from_slice(headers);
        bytes
    }

    #[test]
    fn both_forms_give_the_addresses() {
        for headers in [ipv4(), ipv6()] {
            for whole in [legacy(&headers), standard(&headers)] {
                for cut in 0..whole.len() {
                    assert_eq!(parse(&whole[..cut], 5), Ok(None), "{cut}");
                }
                let mut more = whole.clone();
                more.extend_from_slice(b"GET /");
                let Ok(Some((Header::Proxied(proxied), length))) = parse(&more, 5) else {
                    panic!("{:?}", parse(&more, 5));
                };
                assert_eq!(length, whole.len());
                let source = proxied.endpoints.source().unwrap();
                let destination = proxied.endpoints.destination().unwrap();
                assert_eq!((source.port(), destination.port()), (12345, 80));
            }
        }
    }

    #[test]
    fn other_bytes_are_refused() {
        let mut udp = ipv4();
        udp[9] = 17;
        let mut long = legacy(&ipv4());
        long[4] = 1;
        let mut short = legacy(&ipv4()[..30]);
        short.extend([0; 10]);
        for bytes in [
            legacy(&udp),
            long,
            short,
            b"GET / HTTP/1.1".to_vec(),
            vec![0, 0, 0, 6],
            [&legacy(&ipv4())[..8], &[0x70, 0, 0, 0]].concat(),
        ] {
            assert_eq!(parse(&bytes, 5), Err(NotNetScaler), "{bytes:?}");
        }
    }
}
