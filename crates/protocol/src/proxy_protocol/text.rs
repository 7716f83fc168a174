//! Parses and writes version 1 of the PROXY header: one line of text.
//!
//! Parsing is as strict as the specification: exactly one space between fields, no leading zeroes,
//! CRLF. (HAProxy accepts leading zeroes; a sender that writes them could mean octal, so they are
//! refused here.)

use super::{
    Endpoints, Header, ParseError, Progress, Proxied, ProxiedTransport, ProxyV1Field, Tlvs,
    check_prefix,
};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};

/// Maximum length of the line with its CRLF, from the specification.
pub const MAX_TEXT_BYTES: usize = 107;

const PREFIX: &[u8] = b"PROXY ";
const LINE_END: &[u8] = b"\r\n";
const UNKNOWN: &[u8] = b"PROXY UNKNOWN\r\n";

pub(super) fn parse(bytes: &[u8]) -> Result<Progress, ParseError> {
    check_prefix(bytes, PREFIX)?;
    let window = bytes.get(..MAX_TEXT_BYTES).unwrap_or(bytes);
    let Some(end) = window.iter().position(|b| matches!(b, b'\r' | b'\n')) else {
        if window.len() + LINE_END.len() > MAX_TEXT_BYTES {
            return Err(ParseError::LineTooLong);
        }
        // No line is shorter than that of an unknown connection.
        let shortest = UNKNOWN.len().saturating_sub(window.len());
        return Ok(Progress::Incomplete {
            missing_bytes: shortest.max(LINE_END.len()),
        });
    };
    match window.get(end..end + LINE_END.len()) {
        Some(LINE_END) => {}
        // The last byte so far is a CR, so the LF may follow.
        None if window[end] == b'\r' && window.len() < MAX_TEXT_BYTES => {
            return Ok(Progress::Incomplete { missing_bytes: 1 });
        }
        None if window[end] == b'\r' => return Err(ParseError::LineTooLong),
        _ => return Err(ParseError::LineEnd { at_byte: end }),
    }
    let endpoints = parse_line(window.get(PREFIX.len()..end).unwrap_or_default())?;
    Ok(Progress::Complete {
        header: Header::Proxied(Proxied {
            endpoints,
            tlvs: Tlvs::default(),
        }),
        consumed_bytes: end + LINE_END.len(),
    })
}

fn parse_line(line: &[u8]) -> Result<Endpoints, ParseError> {
    let mut words = line.split(|b| *b == b' ');
    let family = words.next().unwrap_or_default();
    if family == b"UNKNOWN" {
        // After `UNKNOWN`, the rest of the line must be ignored.
        return Ok(Endpoints::Unknown);
    }
    if family != b"TCP4" && family != b"TCP6" {
        return Err(ParseError::TextFamily);
    }
    let (Some(source), Some(destination), Some(source_port), Some(destination_port), None) = (
        words.next(),
        words.next(),
        words.next(),
        words.next(),
        words.next(),
    ) else {
        return Err(ParseError::FieldCount {
            found: line.split(|b| *b == b' ').count() - 1,
        });
    };
    let transport = ProxiedTransport::Stream;
    let from = |field| move || ParseError::Malformed(field);
    let source_port = port(source_port).ok_or_else(from(ProxyV1Field::SourcePort))?;
    let destination_port =
        port(destination_port).ok_or_else(from(ProxyV1Field::DestinationPort))?;
    if family == b"TCP4" {
        let source: Ipv4Addr = address(source).ok_or_else(from(ProxyV1Field::SourceAddress))?;
        let destination: Ipv4Addr =
            address(destination).ok_or_else(from(ProxyV1Field::DestinationAddress))?;
        return Ok(Endpoints::Inet4 {
            transport,
            source: SocketAddrV4::new(source, source_port),
            destination: SocketAddrV4::new(destination, destination_port),
        });
    }
    let source: Ipv6Addr = address(source).ok_or_else(from(ProxyV1Field::SourceAddress))?;
    let destination: Ipv6Addr =
        address(destination).ok_or_else(from(ProxyV1Field::DestinationAddress))?;
    Ok(Endpoints::Inet6 {
        transport,
        source: SocketAddrV6::new(source, source_port, 0, 0),
        destination: SocketAddrV6::new(destination, destination_port, 0, 0),
    })
}

/// Parses an address. The standard library's parsers are as strict as the specification (no
/// leading zeroes, no shortened IPv4, no scope), except that they accept a dotted IPv4 part at the
/// end of an IPv6 address, which every `inet_ntop` writes for a mapped address.
fn address<A: std::str::FromStr>(word: &[u8]) -> Option<A> {
    std::str::from_utf8(word).ok()?.parse().ok()
}

/// Parses a port; the parser of `u16` would accept `+80` and `080`.
fn port(word: &[u8]) -> Option<u16> {
    let digits = word.iter().all(u8::is_ascii_digit);
    let leading_zero = word.len() > 1 && word[0] == b'0';
    if !digits || leading_zero {
        return None;
    }
    std::str::from_utf8(word).ok()?.parse().ok()
}

pub(super) fn encode(header: &Header, out: &mut Vec<u8>) {
    let endpoints = match header {
        Header::Local => &Endpoints::Unknown,
        Header::Proxied(proxied) => &proxied.endpoints,
    };
    let line = match endpoints {
        Endpoints::Inet4 {
            transport: ProxiedTransport::Stream,
            source,
            destination,
        } => format!(
            "PROXY TCP4 {} {} {} {}\r\n",
            source.ip(),
            destination.ip(),
            source.port(),
            destination.port()
        ),
        Endpoints::Inet6 {
            transport: ProxiedTransport::Stream,
            source,
            destination,
        } => format!(
            "PROXY TCP6 {} {} {} {}\r\n",
            Hexadecimal(*source.ip()),
            Hexadecimal(*destination.ip()),
            source.port(),
            destination.port()
        ),
        _ => {
            out.extend_from_slice(UNKNOWN);
            return;
        }
    };
    out.extend_from_slice(line.as_bytes());
}

/// Displays an IPv6 address in hexadecimal groups only. A dotted IPv4 part is not in the
/// specification, so a strict receiver may refuse it.
struct Hexadecimal(Ipv6Addr);

impl std::fmt::Display for Hexadecimal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.0.to_ipv4_mapped(), self.0.segments()) {
            (Some(_), [.., high, low]) => write!(f, "::ffff:{high:x}:{low:x}"),
            (None, _) => self.0.fmt(f),
        }
    }
}
