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
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ParseError {
    /// Neither version begins like this.
    #[error("no PROXY header: byte {at_byte} fits neither version")]
    NotProxy {
        /// The first byte that differs from the prefix.
        at_byte: usize,
    },
    /// Version 1: no line end within [`MAX_TEXT_BYTES`].
    #[error("PROXY line has no end within {MAX_TEXT_BYTES} bytes")]
    LineTooLong,
    /// Version 1: a CR without its LF, or a LF without its CR.
    #[error("PROXY line has an incomplete line end at byte {at_byte}")]
    LineEnd {
        /// Offset of the byte.
        at_byte: usize,
    },
    /// Version 1: neither `TCP4` nor `TCP6` nor `UNKNOWN`.
    #[error("PROXY line: expected TCP4, TCP6 or UNKNOWN after PROXY")]
    TextFamily,
    /// Version 1: not exactly four fields, one space before each.
    #[error(
        "PROXY line: expected two addresses and two ports after single spaces, \
             found {found} fields"
    )]
    FieldCount {
        /// How many there are.
        found: usize,
    },
    /// Version 1: a field that is not written as it has to be.
    #[error("PROXY line: the {0} is malformed")]
    Malformed(Field),
    /// Version 2: another version.
    #[error("binary PROXY header: version {0}, not 2")]
    Version(u8),
    /// Version 2: neither LOCAL nor PROXY.
    #[error("binary PROXY header: unassigned command {0:#x}")]
    Command(u8),
    /// Version 2: an unassigned address family.
    #[error("binary PROXY header: unassigned address family {0:#x}")]
    Family(u8),
    /// Version 2: an unassigned transport.
    #[error("binary PROXY header: unassigned transport {0:#x}")]
    Transport(u8),
    /// Version 2: longer than [`MAX_BINARY_BYTES`].
    #[error("binary PROXY header of {declared_bytes} bytes; the maximum is {MAX_BINARY_BYTES}")]
    BlockTooLong {
        /// The length of the whole header by its own words.
        declared_bytes: usize,
    },
    /// Version 2: no room for the addresses of its family.
    #[error(
        "binary PROXY header: {declared_bytes} bytes after the fixed part, but the addresses need {needed_bytes}"
    )]
    BlockTooShort {
        /// The length of the block by its own words.
        declared_bytes: usize,
        /// Length of the addresses, bytes.
        needed_bytes: usize,
    },
    /// Version 2: an extension is wrong.
    #[error("binary PROXY header: {0}")]
    Tlv(#[from] TlvError),
}

/// Why an extension is refused, read or written.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TlvError {
    /// It ends beyond the block that holds it.
    #[error("the extension at byte {at_byte} ends beyond its block")]
    Truncated {
        /// Offset within the extensions.
        at_byte: usize,
    },
    /// All together are longer than [`MAX_TLV_BYTES`].
    #[error("{found_bytes} bytes of extensions; the maximum is {MAX_TLV_BYTES}")]
    TooManyBytes {
        /// How long they are.
        found_bytes: usize,
    },
    /// A value longer or shorter than its type allows.
    #[error("an extension of type {kind:#04x} cannot be {found_bytes} bytes long")]
    Length {
        /// Its type.
        kind: u8,
        /// Its length.
        found_bytes: usize,
    },
    /// A checksum after another one.
    #[error("two checksums")]
    ChecksumRepeated,
    /// The checksum is wrong: the header was damaged in transit.
    #[error("wrong checksum {found:#010x}, computed {computed:#010x}")]
    ChecksumMismatch {
        /// As written.
        found: u32,
        /// As computed.
        computed: u32,
    },
    /// A checksum is not pushed as an extension: the encoder computes it.
    #[error("the checksum cannot be given as an extension")]
    ChecksumIsComputed,
}

/// The path of a Unix socket is longer than [`UNIX_PATH_BYTES`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a Unix path of {found_bytes} bytes; a PROXY header carries {UNIX_PATH_BYTES}")]
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
