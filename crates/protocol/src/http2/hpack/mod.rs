//! HPACK (RFC 7541): a plain beginning, literals only and no Huffman code.

use super::fields::FieldList;

/// A block that cannot be decoded: the connection ends with COMPRESSION_ERROR.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HpackError;

/// How a field may be kept in the dynamic table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Indexing {
    /// Put it there.
    Yes,
    /// Leave the table alone.
    No,
    /// Nobody on the way may put it there.
    Never,
}

impl Indexing {
    /// What is best for a field.
    pub fn of(name: &[u8], _value: &[u8]) -> Indexing {
        if name == b"authorization" {
            Indexing::Never
        } else {
            Indexing::No
        }
    }
}

/// Decodes header blocks of one direction of a connection.
#[derive(Debug)]
pub struct Decoder;

impl Decoder {
    /// A decoder whose table may have so many bytes.
    pub fn new(_table_bytes_max: usize) -> Decoder {
        Decoder
    }

    /// What we announced, once the peer has acknowledged it.
    pub fn set_table_bytes_max(&mut self, _bytes: usize) {}

    /// Decodes a whole block into `out`, which is not cleared before.
    pub fn decode(&mut self, block: &[u8], out: &mut FieldList) -> Result<(), HpackError> {
        let mut rest = block;
        while let Some((&first, after)) = rest.split_first() {
            rest = after;
            if !matches!(first, 0x00 | 0x10 | 0x40) {
                return Err(HpackError);
            }
            let name = string(&mut rest)?;
            let value = string(&mut rest)?;
            out.push(name, value);
        }
        Ok(())
    }
}

fn string<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], HpackError> {
    let (&first, mut after) = rest.split_first().ok_or(HpackError)?;
    if first & 0x80 != 0 {
        return Err(HpackError);
    }
    let mut length = usize::from(first);
    if length == 0x7f {
        let mut shift = 0;
        loop {
            let (&byte, tail) = after.split_first().ok_or(HpackError)?;
            after = tail;
            length += usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                break;
            }
            shift += 7;
            if shift > 21 {
                return Err(HpackError);
            }
        }
    }
    let (string, tail) = after.split_at_checked(length).ok_or(HpackError)?;
    *rest = tail;
    Ok(string)
}

/// Encodes header blocks of one direction of a connection.
#[derive(Debug)]
pub struct Encoder;

impl Encoder {
    /// An encoder with an empty table of 4,096 bytes.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Encoder {
        Encoder
    }

    /// The peer's SETTINGS_HEADER_TABLE_SIZE.
    pub fn set_table_bytes_max(&mut self, _bytes: usize) {}

    /// Begins a block: a change of the table's size that is due stands first.
    pub fn begin(&mut self, _out: &mut Vec<u8>) {}

    /// Adds a field to the block.
    pub fn field(&mut self, name: &[u8], value: &[u8], indexing: Indexing, out: &mut Vec<u8>) {
        out.push(if indexing == Indexing::Never {
            0x10
        } else {
            0x00
        });
        for text in [name, value] {
            if text.len() < 0x7f {
                out.push(text.len() as u8);
            } else {
                out.push(0x7f);
                let mut left = text.len() - 0x7f;
                while left >= 0x80 {
                    out.push(left as u8 & 0x7f | 0x80);
                    left >>= 7;
                }
                out.push(left as u8);
            }
            out.extend_from_slice(text);
        }
    }
}
