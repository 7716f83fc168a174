//! Why a header is refused.

use super::{MAX_BINARY_BYTES, MAX_TEXT_BYTES, MAX_TLV_BYTES, UNIX_PATH_BYTES};
use std::fmt;

/// A field of a line of version 1.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Field {
    /// The source address.
    SourceAddress,
    /// To what it connected.
    DestinationAddress,
    /// From which port.
    SourcePort,
    /// To which port.
    DestinationPort,
}

/// Why the bytes are no header. The connection must be closed: what follows
/// cannot be told apart from it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ParseError {
    /// Neither version begins like this.
    NotProxy {
        /// The first byte that differs from the prefix.
        at_byte: usize,
    },
    /// Version 1: no line end within [`MAX_TEXT_BYTES`].
    LineTooLong,
    /// Version 1: a CR without its LF, or a LF without its CR.
    LineEnd {
        /// Offset of the byte.
        at_byte: usize,
    },
    /// Version 1: neither `TCP4` nor `TCP6` nor `UNKNOWN`.
    TextFamily,
    /// Version 1: not exactly four fields, one space before each.
    FieldCount {
        /// How many there are.
        found: usize,
    },
    /// Version 1: a field that is not written as it has to be.
    Malformed(Field),
    /// Version 2: another version.
    Version(u8),
    /// Version 2: neither LOCAL nor PROXY.
    Command(u8),
    /// Version 2: an unassigned address family.
    Family(u8),
    /// Version 2: an unassigned transport.
    Transport(u8),
    /// Version 2: longer than [`MAX_BINARY_BYTES`].
    BlockTooLong {
        /// The length of the whole header by its own words.
        declared_bytes: usize,
    },
    /// Version 2: no room for the addresses of its family.
    BlockTooShort {
        /// The length of the block by its own words.
        declared_bytes: usize,
        /// Length of the addresses, bytes.
        needed_bytes: usize,
    },
    /// Version 2: an extension is wrong.
    Tlv(TlvError),
}

/// Why an extension is refused, read or written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TlvError {
    /// It ends beyond the block that holds it.
    Truncated {
        /// Offset within the extensions.
        at_byte: usize,
    },
    /// All together are longer than [`MAX_TLV_BYTES`].
    TooManyBytes {
        /// How long they are.
        found_bytes: usize,
    },
    /// A value longer or shorter than its type allows.
    Length {
        /// Its type.
        kind: u8,
        /// Its length.
        found_bytes: usize,
    },
    /// A checksum after another one.
    ChecksumRepeated,
    /// The checksum is wrong: the header was damaged in transit.
    ChecksumMismatch {
        /// As written.
        found: u32,
        /// As computed.
        computed: u32,
    },
    /// A checksum is not pushed as an extension: the encoder computes it.
    ChecksumIsComputed,
}

/// The path of a Unix socket is longer than [`UNIX_PATH_BYTES`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UnixPathTooLong {
    /// Its length.
    pub found_bytes: usize,
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Field::SourceAddress => "source address",
            Field::DestinationAddress => "destination address",
            Field::SourcePort => "source port",
            Field::DestinationPort => "destination port",
        })
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ParseError::NotProxy { at_byte } => {
                write!(f, "no PROXY header: byte {at_byte} fits neither version")
            }
            ParseError::LineTooLong => {
                write!(f, "PROXY line has no end within {MAX_TEXT_BYTES} bytes")
            }
            ParseError::LineEnd { at_byte } => {
                write!(f, "PROXY line has an incomplete line end at byte {at_byte}")
            }
            ParseError::TextFamily => {
                f.write_str("PROXY line: expected TCP4, TCP6 or UNKNOWN after PROXY")
            }
            ParseError::FieldCount { found } => write!(
                f,
                "PROXY line: expected two addresses and two ports after single spaces, \
                 found {found} fields"
            ),
            ParseError::Malformed(field) => write!(f, "PROXY line: the {field} is malformed"),
            ParseError::Version(v) => write!(f, "binary PROXY header: version {v}, not 2"),
            ParseError::Command(c) => {
                write!(f, "binary PROXY header: unassigned command {c:#x}")
            }
            ParseError::Family(v) => {
                write!(f, "binary PROXY header: unassigned address family {v:#x}")
            }
            ParseError::Transport(v) => {
                write!(f, "binary PROXY header: unassigned transport {v:#x}")
            }
            ParseError::BlockTooLong { declared_bytes } => write!(
                f,
                "binary PROXY header of {declared_bytes} bytes; the maximum is {MAX_BINARY_BYTES}"
            ),
            ParseError::BlockTooShort {
                declared_bytes,
                needed_bytes,
            } => write!(
                f,
                "binary PROXY header: {declared_bytes} bytes after the fixed part, but the addresses need {needed_bytes}"
            ),
            ParseError::Tlv(error) => write!(f, "binary PROXY header: {error}"),
        }
    }
}

impl fmt::Display for TlvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TlvError::Truncated { at_byte } => {
                write!(f, "the extension at byte {at_byte} ends beyond its block")
            }
            TlvError::TooManyBytes { found_bytes } => write!(
                f,
                "{found_bytes} bytes of extensions; the maximum is {MAX_TLV_BYTES}"
            ),
            TlvError::Length { kind, found_bytes } => write!(
                f,
                "an extension of type {kind:#04x} cannot be {found_bytes} bytes long"
            ),
            TlvError::ChecksumRepeated => f.write_str("two checksums"),
            TlvError::ChecksumMismatch { found, computed } => {
                write!(f, "wrong checksum {found:#010x}, computed {computed:#010x}")
            }
            TlvError::ChecksumIsComputed => {
                f.write_str("the checksum cannot be given as an extension")
            }
        }
    }
}

impl fmt::Display for UnixPathTooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "a Unix path of {} bytes; a PROXY header carries {UNIX_PATH_BYTES}",
            self.found_bytes
        )
    }
}

impl From<TlvError> for ParseError {
    fn from(error: TlvError) -> Self {
        ParseError::Tlv(error)
    }
}

impl std::error::Error for ParseError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            ParseError::Tlv(error) => Some(error),
            _ => None,
        }
    }
}
impl std::error::Error for TlvError {}
impl std::error::Error for UnixPathTooLong {}
