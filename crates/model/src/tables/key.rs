//! Converts keys of stick table entries to bytes according to the table's type.

use crate::sample::{Sample, SampleValue, Type};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KeyType {
    Ip,
    Ipv6,
    Integer,
    String,
    Binary,
}

/// Default length of a binary key, bytes.
pub const LENGTH_DEFAULT: u32 = 32;
/// Default length of a string key, bytes: HAProxy needs one more for the terminator.
pub const TEXT_DEFAULT: u32 = 31;
/// Maximum length of a key: the size of the smallest buffer.
pub const LENGTH_MAX: u32 = 16_384;

impl KeyType {
    /// Names of the types, in the order in which diagnostics list them.
    pub const NAMES: [(&'static str, KeyType); 5] = [
        ("ip", KeyType::Ip),
        ("ipv6", KeyType::Ipv6),
        ("integer", KeyType::Integer),
        ("string", KeyType::String),
        ("binary", KeyType::Binary),
    ];

    pub fn name(self) -> &'static str {
        Self::NAMES
            .iter()
            .find(|(_, kind)| *kind == self)
            .map_or("", |(name, _)| name)
    }

    /// Returns the type of the samples from which keys are made.
    pub fn sample(self) -> Type {
        match self {
            KeyType::Ip => Type::Ipv4,
            KeyType::Ipv6 => Type::Ipv6,
            KeyType::Integer => Type::Int,
            KeyType::String => Type::Str,
            KeyType::Binary => Type::Bin,
        }
    }

    /// Returns whether keys have different lengths.
    pub fn is_text(self) -> bool {
        self == KeyType::String
    }

    pub fn can_be_written(self) -> bool {
        self != KeyType::Binary
    }

    /// Returns the length of a key in bytes; for a string, the maximum.
    pub fn bytes(self, length: u32) -> u32 {
        match self {
            KeyType::Ip | KeyType::Integer => 4,
            KeyType::Ipv6 => 16,
            KeyType::String | KeyType::Binary => length,
        }
    }

    /// Converts a sample to a key and passes it to `look`. Returns None if the sample cannot be
    /// converted.
    pub fn with<T>(
        self,
        length: u32,
        value: SampleValue<'_>,
        look: impl FnOnce(&[u8]) -> T,
    ) -> Option<T> {
        let length = length as usize;
        Some(match (self, value.cast(self.sample())?) {
            (KeyType::Ip, SampleValue::Ipv4(ip)) => look(&ip.octets()),
            (KeyType::Ipv6, SampleValue::Ipv6(ip)) => look(&ip.octets()),
            (KeyType::Integer, SampleValue::Int(n)) => look(&(n as u32).to_ne_bytes()),
            (KeyType::String, SampleValue::Str(text)) => {
                let end = text.iter().position(|b| *b == 0).unwrap_or(text.len());
                look(&text[..end.min(length)])
            }
            (KeyType::Binary, SampleValue::Bin(bytes)) if bytes.len() >= length => {
                look(&bytes[..length])
            }
            (KeyType::Binary, SampleValue::Bin(bytes)) => {
                let mut padded = bytes.into_owned();
                padded.resize(length, 0);
                look(&padded)
            }
            _ => return None,
        })
    }

    pub fn write(self, key: &[u8], out: &mut Vec<u8>) {
        use std::io::Write;
        // Writing into memory does not fail.
        let _ = match self {
            KeyType::Ip => <[u8; 4]>::try_from(key)
                .map_or(Ok(()), |octets| write!(out, "{}", Ipv4Addr::from(octets))),
            KeyType::Ipv6 => <[u8; 16]>::try_from(key)
                .map_or(Ok(()), |octets| write!(out, "{}", Ipv6Addr::from(octets))),
            KeyType::Integer => <[u8; 4]>::try_from(key)
                .map_or(Ok(()), |bytes| write!(out, "{}", u32::from_ne_bytes(bytes))),
            KeyType::String => {
                for byte in key {
                    let _ = match byte {
                        b'\\' | b' ' => write!(out, "\\{}", char::from(*byte)),
                        b'\n' => out.write_all(b"\\n"),
                        b'\r' => out.write_all(b"\\r"),
                        b'\t' => out.write_all(b"\\t"),
                        0x1b => out.write_all(b"\\e"),
                        0x21..=0x7e => out.write_all(&[*byte]),
                        other => write!(out, "\\x{other:02X}"),
                    };
                }
                Ok(())
            }
            KeyType::Binary => {
                for byte in key {
                    let _ = write!(out, "{byte:02X}");
                }
                Ok(())
            }
        };
    }

    /// Parses a key that an operator entered; None if it is invalid.
    pub fn parse(self, text: &str) -> Sample<'_> {
        Some(match self {
            KeyType::Ip => match text.parse().ok()? {
                IpAddr::V4(ip) => SampleValue::Ipv4(ip),
                IpAddr::V6(ip) => SampleValue::Ipv4(ip.to_ipv4_mapped()?),
            },
            KeyType::Ipv6 => match text.parse().ok()? {
                IpAddr::V4(ip) => SampleValue::Ipv6(ip.to_ipv6_mapped()),
                IpAddr::V6(ip) => SampleValue::Ipv6(ip),
            },
            KeyType::Integer => SampleValue::Int(text.parse::<u32>().ok()?.into()),
            KeyType::String => SampleValue::text(text.as_bytes()),
            KeyType::Binary => return None,
        })
    }
}
