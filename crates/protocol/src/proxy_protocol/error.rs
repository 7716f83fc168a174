//! Defines the reasons why a PROXY header is refused.

use super::{MAX_BINARY_BYTES, MAX_TEXT_BYTES, MAX_TLV_BYTES, UNIX_PATH_BYTES};
use std::fmt;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ProxyV1Field {
    SourceAddress,
    DestinationAddress,
    SourcePort,
    DestinationPort,
}

/// Reason why the bytes are not a PROXY header. The connection must be closed, because it is
/// unknown where the data after the header begins.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ParseError {
    #[error("not a PROXY header: byte {at_byte} matches neither version")]
    NotProxy { at_byte: usize },
    #[error("PROXY line has no end within {MAX_TEXT_BYTES} bytes")]
    LineTooLong,
    /// Version 1: a CR without its LF, or a LF without its CR.
    #[error("PROXY line has an incomplete line end at byte {at_byte}")]
    LineEnd { at_byte: usize },
    #[error("PROXY line: expected TCP4, TCP6 or UNKNOWN after PROXY")]
    TextFamily,
    #[error(
        "PROXY line: expected two addresses and two ports after single spaces, \
             found {found} fields"
    )]
    FieldCount { found: usize },
    #[error("PROXY line: the {0} is malformed")]
    Malformed(ProxyV1Field),
    #[error("binary PROXY header: version {0}, not 2")]
    Version(u8),
    #[error("binary PROXY header: unassigned command {0:#x}")]
    Command(u8),
    #[error("binary PROXY header: unassigned address family {0:#x}")]
    Family(u8),
    #[error("binary PROXY header: unassigned transport {0:#x}")]
    Transport(u8),
    #[error("binary PROXY header of {declared_bytes} bytes; the maximum is {MAX_BINARY_BYTES}")]
    BlockTooLong {
        /// Length of the whole header according to its length field.
        declared_bytes: usize,
    },
    #[error(
        "binary PROXY header: {declared_bytes} bytes after the fixed part, but the addresses need {needed_bytes}"
    )]
    BlockTooShort {
        /// Length of the block according to its length field.
        declared_bytes: usize,
        needed_bytes: usize,
    },
    #[error("binary PROXY header: {0}")]
    Tlv(#[from] TlvError),
}

/// Reason why an extension is refused, when read or written.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TlvError {
    #[error("the extension at byte {at_byte} ends beyond its block")]
    Truncated { at_byte: usize },
    #[error("{found_bytes} bytes of extensions; the maximum is {MAX_TLV_BYTES}")]
    TooManyBytes { found_bytes: usize },
    #[error("an extension of type {kind:#04x} cannot be {found_bytes} bytes long")]
    Length { kind: u8, found_bytes: usize },
    #[error("two checksums")]
    ChecksumRepeated,
    #[error("wrong checksum {found:#010x}, computed {computed:#010x}")]
    ChecksumMismatch { found: u32, computed: u32 },
    /// A checksum cannot be added as an extension: the encoder computes it.
    #[error("the checksum cannot be given as an extension")]
    ChecksumIsComputed,
}

/// The path of a Unix socket is longer than [`UNIX_PATH_BYTES`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a Unix path of {found_bytes} bytes; a PROXY header carries {UNIX_PATH_BYTES}")]
pub struct UnixPathTooLong {
    pub found_bytes: usize,
}

impl fmt::Display for ProxyV1Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ProxyV1Field::SourceAddress => "source address",
            ProxyV1Field::DestinationAddress => "destination address",
            ProxyV1Field::SourcePort => "source port",
            ProxyV1Field::DestinationPort => "destination port",
        })
    }
}
