//! Decodes HPACK header blocks into lists of fields, and keeps the dynamic table in sync.

use super::super::fields::FieldList;
use super::integer::Reader;
use super::table::Table;
use super::{HpackError, TABLE_BYTES_DEFAULT, huffman, statics};

/// Decodes the header blocks of one direction of a connection, in order.
#[derive(Clone, Debug)]
pub struct Decoder {
    table: Table<()>,
    /// Current maximum of the table size that the peer may use, in bytes.
    table_bytes_max: usize,
    /// The settings of this side reduced the table size, so the next header block must begin with
    /// an update of the size.
    update_due: bool,
}

/// Maximum number of table size updates at the start of a block: the smallest size and the last one
/// (RFC 7541, section 4.2).
const UPDATES_MAX: u32 = 2;

/// Multiple of the list's size limit that a header block may unpack to, in addition to
/// `UNPACKED_BLOCKS` times its own length. A list slightly above the limit is answered with 431; a
/// block that was built to cost time (a bomb) is not decoded to its end.
const UNPACKED_LIMITS: usize = 8;
const UNPACKED_BLOCKS: usize = 16;

impl Decoder {
    /// Creates a decoder whose table the peer may enlarge to this number of bytes. Until the peer
    /// knows the settings of this side, it assumes 4096; a smaller limit is set by
    /// [`Self::set_table_bytes_max`] once the peer has acknowledged it.
    pub fn new(table_bytes_max: usize) -> Self {
        Decoder {
            table: Table::new(TABLE_BYTES_DEFAULT),
            table_bytes_max: table_bytes_max.max(TABLE_BYTES_DEFAULT),
            update_due: false,
        }
    }

    /// Sets the maximum table size, after the peer has acknowledged it.
    pub fn set_table_bytes_max(&mut self, bytes: usize) {
        self.table_bytes_max = bytes;
        self.update_due = self.table.size_max() > bytes;
    }

    /// Decodes one whole header block, and appends the fields to `out`. If `out` overflows, the
    /// rest of the block is decoded all the same, so that the dynamic table stays in sync. After
    /// an error the decoder must not be used again.
    ///
    /// # Errors
    /// The block is invalid (RFC 7541).
    pub fn decode(&mut self, block: &[u8], out: &mut FieldList) -> Result<(), HpackError> {
        let mut reader = Reader::new(block);
        self.updates(&mut reader)?;
        let mut budget = out.limit_bytes() * UNPACKED_LIMITS + block.len() * UNPACKED_BLOCKS;
        loop {
            if out.is_overflowed() {
                // Skips indexed fields once the list has overflowed, because a bomb may consist of
                // them.
                reader.pass_indexed(statics::ENTRIES + self.table.len());
            }
            let Some(first) = reader.first() else { break };
            let unpacked = match first {
                0x80.. => self.indexed(reader.integer(7)?, out)?,
                0x40.. => self.literal(&mut reader, 6, true, out)?,
                0x20.. => return Err(HpackError::TableSizeMisplaced),
                // For a decoder, "without indexing" and "never indexed" are the same.
                _ => self.literal(&mut reader, 4, false, out)?,
            };
            budget = budget.checked_sub(unpacked).ok_or(HpackError::Bomb)?;
        }
        Ok(())
    }

    fn updates(&mut self, reader: &mut Reader<'_>) -> Result<(), HpackError> {
        for _ in 0..UPDATES_MAX {
            let Some(0x20..=0x3f) = reader.first() else {
                break;
            };
            let bytes = reader.integer(5)?;
            if bytes > self.table_bytes_max {
                return Err(HpackError::TableSize);
            }
            self.table.set_size_max(bytes);
            self.update_due = false;
        }
        if self.update_due {
            Err(HpackError::TableSizeMissing)
        } else {
            Ok(())
        }
    }

    #[cfg(test)]
    pub(super) fn table_size(&self) -> usize {
        self.table.size()
    }

    fn entry(&self, index: usize) -> Result<(&[u8], &[u8]), HpackError> {
        let entry = match index.checked_sub(statics::ENTRIES + 1) {
            None => statics::get(index),
            Some(number) => self.table.get(number),
        };
        entry.ok_or(HpackError::Index)
    }

    /// Handles a field from a table; returns its unpacked length.
    fn indexed(&mut self, index: usize, out: &mut FieldList) -> Result<usize, HpackError> {
        let (name, value) = self.entry(index)?;
        // Ignores a field that does not fit, without a copy.
        out.push(name, value);
        Ok(if out.is_overflowed() {
            0
        } else {
            name.len() + value.len()
        })
    }

    fn literal(
        &mut self,
        reader: &mut Reader<'_>,
        bits: u32,
        insert: bool,
        out: &mut FieldList,
    ) -> Result<usize, HpackError> {
        let index = reader.integer(bits)?;
        let arena = out.arena();
        let start = arena.len();
        if index == 0 {
            string(reader, arena)?;
        } else {
            arena.extend_from_slice(self.entry(index)?.0);
        }
        let name_end = arena.len();
        string(reader, arena)?;
        if insert {
            self.table
                .insert(&arena[start..name_end], &arena[name_end..], ());
        }
        let unpacked = arena.len() - start;
        out.commit(start, name_end - start);
        Ok(unpacked)
    }
}

fn string(reader: &mut Reader<'_>, arena: &mut Vec<u8>) -> Result<(), HpackError> {
    let is_huffman = reader.first().is_some_and(|byte| byte & 0x80 != 0);
    let len = reader.integer(7)?;
    let bytes = reader.bytes(len)?;
    if is_huffman {
        huffman::decode(bytes, arena)?
    } else {
        arena.extend_from_slice(bytes)
    }
    Ok(())
}
