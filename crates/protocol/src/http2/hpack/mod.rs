//! Implements HPACK (RFC 7541), the compression of header fields, in both directions.
//!
//! A decoder accepts any bytes without a panic, with work that is bounded by the block's length
//! and its list's limits. An encoder indexes what repeats and never what is secret; its choices
//! are in `indexing`. Neither handles frames.

mod decode;
mod encode;
mod hash;
mod huffman;
mod indexing;
mod integer;
mod statics;
mod table;

pub use decode::Decoder;
pub use encode::{ENCODER_TABLE_BYTES_MAX, Encoder};
pub use indexing::Indexing;

/// Initial size of the table before any SETTINGS (RFC 9113, section 6.5.2).
pub const TABLE_BYTES_DEFAULT: usize = 4096;

/// Reason why a header block cannot be decoded. The connection then has to end, because the tables
/// of both ends no longer agree.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum HpackError {
    Truncated,
    /// An integer is too large or written with too many bytes.
    Integer,
    Index,
    HuffmanEos,
    HuffmanPadding,
    TableSize,
    /// An update of the table size follows a field, or is the third one in its block.
    TableSizeMisplaced,
    /// The settings of this side reduced the table size, and the block does not begin with the
    /// update that this requires.
    TableSizeMissing,
    /// The block unpacks to far more than any limit allows: a bomb.
    Bomb,
}

impl HpackError {
    /// Returns the description, without a final full stop.
    pub fn words(self) -> &'static str {
        match self {
            HpackError::Truncated => "the header block ends within a field",
            HpackError::Integer => "an integer of the header block is too large",
            HpackError::Index => "the header block uses an index that does not exist",
            HpackError::HuffmanEos => "a Huffman string contains the end-of-string symbol",
            HpackError::HuffmanPadding => "a Huffman string has invalid padding",
            HpackError::TableSize => "the header table would be larger than the settings allow",
            HpackError::TableSizeMisplaced => "a header table size update at an invalid position",
            HpackError::TableSizeMissing => "the required reduction of the header table is missing",
            HpackError::Bomb => "the decoded header block is far too large",
        }
    }
}

impl std::fmt::Display for HpackError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.words())
    }
}

impl std::error::Error for HpackError {}

#[cfg(test)]
mod tests;
