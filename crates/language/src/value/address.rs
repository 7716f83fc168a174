//! Parses addresses in every form that HAProxy accepts. A host name stays a name; the caller
//! resolves it.

use super::network::ipv4_as_written;
use super::prefix::{self, Family, PREFIXES, PrefixKind, SocketTransport};
use super::{ValueError, character_at, leading_number};
use crate::codes;
use crate::diagnostic::Code;
use crate::suggest;
use std::net::{IpAddr, Ipv6Addr};

/// Maximum length of a socket path in bytes: the system's limit minus the suffix that HAProxy
/// appends while it binds.
const PATH_MAX: usize = 97;

const ABSTRACT_MAX: usize = 107;

const HOST_NAME_MAX: usize = 253;

/// An address to listen on or to connect to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Address {
    pub transport: SocketTransport,
    /// The IP version for names and `*`.
    pub family: Family,
    pub host: AddressHost,
    pub port: Port,
}

/// The host of an address, or its substitute.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AddressHost {
    /// `*` or nothing: every address (to listen), or the client's (to connect).
    Any,
    Ip(IpAddr),
    Name(String),
    /// `/path`, `unix@path`
    Path(String),
    /// `abns@name`, `abnsz@name`
    Abstract {
        name: String,
        /// True if the name ends at its first zero byte (`abnsz@`), false if it is padded to its
        /// full length (`abns@`).
        zero_terminated: bool,
    },
    /// `fd@3`: an inherited socket.
    Descriptor(u32),
    Pair(u32),
    Stdout,
    Stderr,
    Ring(String),
}

/// The port of an address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Port {
    None,
    One(u16),
    /// From the first to the last, both included.
    Range(u16, u16),
    /// The port of the client's connection plus this offset.
    Offset(i32),
}

/// The rule whether a port is required.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PortRule {
    /// A port is required, other than 0.
    Mandatory,
    Optional,
}

/// The addresses that a keyword accepts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Accepts {
    pub port: PortRule,
    /// Ranges of ports are accepted: `:80-90`.
    pub range: bool,
    /// Offsets of ports are accepted: `:+8000`.
    pub offset: bool,
    /// Stream addresses are accepted: `tcp@`, `stream+`.
    pub stream: bool,
    /// Datagram addresses are accepted: `udp@`, `dgram+`.
    pub datagram: bool,
    /// Inherited descriptors are accepted: `fd@3`.
    pub descriptor: bool,
    /// Outputs for log lines are accepted: `stdout`, `stderr`, `ring@name`.
    pub output: bool,
    pub name: bool,
}

impl Accepts {
    pub const BIND: Accepts = Accepts {
        port: PortRule::Mandatory,
        range: true,
        offset: false,
        stream: true,
        datagram: false,
        descriptor: true,
        output: false,
        name: true,
    };
    pub const DATAGRAM_BIND: Accepts = Accepts {
        stream: false,
        datagram: true,
        ..Accepts::BIND
    };
    pub const SERVER: Accepts = Accepts {
        port: PortRule::Optional,
        range: false,
        offset: true,
        descriptor: false,
        ..Accepts::BIND
    };
    pub const LOG: Accepts = Accepts {
        port: PortRule::Optional,
        range: false,
        datagram: true,
        output: true,
        ..Accepts::BIND
    };
    pub const SOURCE: Accepts = Accepts {
        port: PortRule::Optional,
        range: false,
        descriptor: false,
        ..Accepts::BIND
    };
    pub const SERVER_SOURCE: Accepts = Accepts {
        range: true,
        ..Accepts::SOURCE
    };
}

/// The errors of an address. Every variant contains the whole text.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the variants are their messages")]
pub enum AddressError {
    /// An empty text, usually from an empty variable.
    #[error("'' resolves to an empty address (environment variable missing?)")]
    Empty,
    #[error("missing port specification in '{text}'")]
    MissingPort { text: String },
    #[error("invalid address: '{host}' in '{text}'")]
    InvalidHost { host: String, text: String },
    #[error("invalid address: '{host}' is not an {} address", name_of(*.family))]
    WrongFamily { host: String, family: Family },
    /// The port is not a number from 1 (or, if 0 is accepted, from 0) to 65535.
    #[error("invalid port '{port}'")]
    InvalidPort { port: String },
    #[error("invalid port range '{range}'")]
    InvalidRange { range: String },
    #[error("invalid character '{character}' in port number '{port}' in '{text}'")]
    PortCharacter {
        character: char,
        port: String,
        text: String,
    },
    /// Text after the port; HAProxy ignores it.
    #[error("unexpected character '{character}' after the port in '{port}' is ignored")]
    PortTrailing {
        character: char,
        port: String,
        accepted: Box<Address>,
    },
    /// `:80-90` where a single port is required.
    #[error("port range not permitted here in '{text}'")]
    RangeNotPermitted { text: String },
    /// `:+80` where no other port exists as a base.
    #[error("port offset not permitted here in '{text}'")]
    OffsetNotPermitted { text: String },
    #[error("dgram-type address not acceptable in '{text}'")]
    DatagramNotAcceptable { text: String },
    #[error("stream-type address not acceptable in '{text}'")]
    StreamNotAcceptable { text: String },
    #[error("'{text}' is a file descriptor, which is not supported here")]
    DescriptorNotAcceptable { text: String },
    #[error("file descriptor '{descriptor}' is not a valid integer in '{text}'")]
    InvalidDescriptor { descriptor: String, text: String },
    #[error("'{text}' is a ring, which is not supported here")]
    OutputNotAcceptable { text: String },
    #[error("'{text}' is not an IP address; host names are not supported here")]
    NameNotAcceptable { text: String },
    #[error("nothing follows '{text}'")]
    MissingName { text: String },
    #[error("socket path '{text}' too long (max {max})")]
    PathTooLong { text: String, max: usize },
}

fn name_of(family: Family) -> &'static str {
    match family {
        Family::V4 => "IPv4",
        Family::V6 | Family::Any => "IPv6",
    }
}

impl ValueError for AddressError {
    type Value = Address;

    fn code(&self) -> &'static Code {
        match self {
            AddressError::InvalidPort { .. }
            | AddressError::InvalidRange { .. }
            | AddressError::PortCharacter { .. }
            | AddressError::PortTrailing { .. }
            | AddressError::RangeNotPermitted { .. }
            | AddressError::OffsetNotPermitted { .. } => &codes::BAD_PORT,
            _ => &codes::BAD_ADDRESS,
        }
    }

    fn help(&self) -> Option<String> {
        match self {
            AddressError::MissingPort { text } => Some(missing_port_help(text)),
            AddressError::InvalidHost { host, .. } => invalid_host_help(host),
            AddressError::InvalidPort { .. } => {
                Some("a port is a number from 1 to 65535".to_owned())
            }
            AddressError::InvalidRange { range } => range
                .split_once('-')
                .map(|(first, last)| format!("write {last}-{first}")),
            AddressError::OffsetNotPermitted { .. } => {
                Some("only the port of a server can be relative to the client's port".to_owned())
            }
            AddressError::PathTooLong { .. } => {
                Some("put the socket into a directory with a shorter name".to_owned())
            }
            AddressError::Empty => Some("write \"${NAME-default}\" to set a default".to_owned()),
            _ => None,
        }
    }

    fn accepted(&self) -> Option<&Address> {
        match self {
            AddressError::PortTrailing { accepted, .. } => Some(accepted),
            _ => None,
        }
    }
}

fn missing_port_help(text: &str) -> String {
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        return format!("to listen on port {text} of all addresses write ':{text}'");
    }
    if text.parse::<Ipv6Addr>().is_ok() {
        return format!("write '[{text}]:PORT'");
    }
    format!("write '{}:PORT'", text.trim_end_matches(':'))
}

fn invalid_host_help(host: &str) -> Option<String> {
    if let Some((prefix, _)) = host.split_once('@') {
        let prefix = format!("{prefix}@");
        let known = PREFIXES.iter().map(|(name, ..)| *name);
        return suggest::nearest(&prefix, known).map(|name| format!("did you mean '{name}'?"));
    }
    if host.contains(':') {
        return Some(
            "write an IPv6 address in brackets: the text after the last colon is the port"
                .to_owned(),
        );
    }
    None
}

/// Parses one address. The caller splits lists (`bind :80,:81`).
///
/// # Errors
/// The text is not an address, or not of an accepted kind.
pub fn address(text: &str, accepts: &Accepts) -> Result<Address, AddressError> {
    let owned = || text.to_owned();
    if text.is_empty() {
        return Err(AddressError::Empty);
    }
    let of = |host: AddressHost| Address {
        transport: SocketTransport::Default,
        family: Family::Any,
        host,
        port: Port::None,
    };
    if accepts.output {
        match text {
            "stdout" => return Ok(of(AddressHost::Stdout)),
            "stderr" => return Ok(of(AddressHost::Stderr)),
            _ => {}
        }
    }
    if text.starts_with('/') {
        return path(text, text).map(|path| of(AddressHost::Path(path)));
    }
    let Some((transport, kind, rest)) = prefix::split(text) else {
        return inet(text, text, SocketTransport::Default, Family::Any, accepts);
    };
    match transport {
        SocketTransport::Datagram if !accepts.datagram => {
            return Err(AddressError::DatagramNotAcceptable { text: owned() });
        }
        SocketTransport::Stream | SocketTransport::Quic | SocketTransport::Multipath
            if !accepts.stream =>
        {
            return Err(AddressError::StreamNotAcceptable { text: owned() });
        }
        _ => {}
    }
    let host = match kind {
        PrefixKind::Ip(family) => return inet(rest, text, transport, family, accepts),
        PrefixKind::Path => AddressHost::Path(path(rest, text)?),
        PrefixKind::Abstract { zero_terminated } => AddressHost::Abstract {
            name: named(rest, text, ABSTRACT_MAX)?,
            zero_terminated,
        },
        PrefixKind::Descriptor if !accepts.descriptor => {
            return Err(AddressError::DescriptorNotAcceptable { text: owned() });
        }
        PrefixKind::Descriptor => AddressHost::Descriptor(descriptor(rest, text)?),
        PrefixKind::Pair => AddressHost::Pair(descriptor(rest, text)?),
        PrefixKind::Ring if !accepts.output => {
            return Err(AddressError::OutputNotAcceptable { text: owned() });
        }
        PrefixKind::Ring => AddressHost::Ring(named(rest, text, ABSTRACT_MAX)?),
    };
    Ok(Address {
        transport,
        ..of(host)
    })
}

fn named(name: &str, text: &str, max: usize) -> Result<String, AddressError> {
    if name.is_empty() {
        return Err(AddressError::MissingName {
            text: text.to_owned(),
        });
    }
    if name.len() > max {
        return Err(AddressError::PathTooLong {
            text: text.to_owned(),
            max,
        });
    }
    Ok(name.to_owned())
}

fn path(path: &str, text: &str) -> Result<String, AddressError> {
    named(path, text, PATH_MAX)
}

fn descriptor(number: &str, text: &str) -> Result<u32, AddressError> {
    let digits = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
    let value = number.parse::<u32>().ok().filter(|_| digits);
    value
        .filter(|n| i32::try_from(*n).is_ok())
        .ok_or_else(|| AddressError::InvalidDescriptor {
            descriptor: number.to_owned(),
            text: text.to_owned(),
        })
}

/// Parses a host and a port; `rest` is `text` without its prefix.
fn inet(
    rest: &str,
    text: &str,
    transport: SocketTransport,
    family: Family,
    accepts: &Accepts,
) -> Result<Address, AddressError> {
    // Splits at the last colon, which begins the port unless it is within brackets.
    let bracket = rest.rfind(']');
    let colon = rest
        .rfind(':')
        .filter(|colon| bracket.is_none_or(|b| *colon > b));
    let (host, port) = match colon {
        Some(colon) => (&rest[..colon], &rest[colon + 1..]),
        None => (rest, ""),
    };
    let port_text = port;
    let (port, trailing) = self::port(port, text, accepts)?;
    let address = Address {
        transport,
        family,
        host: self::host(host, text, family, accepts)?,
        port,
    };
    match trailing {
        None => Ok(address),
        Some(character) => Err(AddressError::PortTrailing {
            character,
            port: port_text.to_owned(),
            accepted: Box::new(address),
        }),
    }
}

/// Parses the port, and returns the first character after it that does not belong to it.
fn port(port: &str, text: &str, accepts: &Accepts) -> Result<(Port, Option<char>), AddressError> {
    let owned = || text.to_owned();
    let Some(&first) = port.as_bytes().first() else {
        return match accepts.port {
            PortRule::Mandatory => Err(AddressError::MissingPort { text: owned() }),
            PortRule::Optional => Ok((Port::None, None)),
        };
    };
    match first {
        b'+' | b'-' if !accepts.offset => Err(AddressError::OffsetNotPermitted { text: owned() }),
        b'+' | b'-' => {
            let (magnitude, trailing) = number(&port[1..]);
            let offset = i32::try_from(magnitude).map_err(|_| invalid_port(port))?;
            let offset = if first == b'-' { -offset } else { offset };
            Ok((Port::Offset(offset), trailing))
        }
        b'0'..=b'9' => match port.split_once('-') {
            Some((_, _)) if !accepts.range => {
                Err(AddressError::RangeNotPermitted { text: owned() })
            }
            Some((first, last)) => {
                let (low, odd) = one_port(first, accepts)?;
                let (high, trailing) = one_port(last, accepts)?;
                if let Some(character) = odd {
                    return Err(AddressError::PortCharacter {
                        character,
                        port: port.to_owned(),
                        text: text.to_owned(),
                    });
                }
                if low > high {
                    return Err(AddressError::InvalidRange {
                        range: port.to_owned(),
                    });
                }
                Ok((Port::Range(low, high), trailing))
            }
            None => {
                let (value, trailing) = one_port(port, accepts)?;
                Ok((Port::One(value), trailing))
            }
        },
        _ => Err(AddressError::PortCharacter {
            character: character_at(port, 0),
            port: port.to_owned(),
            text: text.to_owned(),
        }),
    }
}

fn invalid_port(port: &str) -> AddressError {
    AddressError::InvalidPort {
        port: port.to_owned(),
    }
}

fn one_port(text: &str, accepts: &Accepts) -> Result<(u16, Option<char>), AddressError> {
    let (value, trailing) = number(text);
    let least = u64::from(accepts.port == PortRule::Mandatory);
    let begins = text.as_bytes().first().is_some_and(u8::is_ascii_digit);
    match u16::try_from(value) {
        Ok(port) if begins && value >= least => Ok((port, trailing)),
        _ => Err(invalid_port(text)),
    }
}

/// Returns the leading number (0 without digits), and the first character after it.
fn number(text: &str) -> (u64, Option<char>) {
    let (value, digits) = leading_number(text);
    (
        value,
        (digits < text.len()).then(|| character_at(text, digits)),
    )
}

fn host(
    host: &str,
    text: &str,
    family: Family,
    accepts: &Accepts,
) -> Result<AddressHost, AddressError> {
    if host.is_empty() || host == "*" {
        return Ok(AddressHost::Any);
    }
    let inner = host
        .strip_prefix('[')
        .and_then(|inner| inner.strip_suffix(']'));
    let bare = inner.unwrap_or(host);
    let ip = match bare.parse::<Ipv6Addr>() {
        Ok(v6) => Some(IpAddr::V6(v6)),
        Err(_) => ipv4_as_written(bare).map(IpAddr::V4),
    };
    match (ip, family) {
        (Some(IpAddr::V4(_)), Family::V6) | (Some(IpAddr::V6(_)), Family::V4) => {
            Err(AddressError::WrongFamily {
                host: host.to_owned(),
                family,
            })
        }
        (Some(ip), _) => Ok(AddressHost::Ip(ip)),
        (None, _) if inner.is_some() || !is_host_name(host) => Err(AddressError::InvalidHost {
            host: host.to_owned(),
            text: text.to_owned(),
        }),
        (None, _) if !accepts.name => Err(AddressError::NameNotAcceptable {
            text: text.to_owned(),
        }),
        (None, _) => Ok(AddressHost::Name(host.to_owned())),
    }
}

/// Returns whether this can be a host name: not a mistyped address, and valid for a resolver.
fn is_host_name(name: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
    name.len() <= HOST_NAME_MAX
        && name.bytes().all(allowed)
        && !name.starts_with(['-', '.'])
        && !name.bytes().all(|b| b.is_ascii_digit() || b == b'.')
}

#[cfg(test)]
mod tests;
