//! Encodes lists of fields as HPACK header blocks, and decides the use of the dynamic table.
//!
//! The encoder finds entries of its table with a hash table whose buckets have four slots each. A
//! full bucket drops its oldest slot. A field may then be written in full once more than
//! necessary, but no operation takes longer.

use super::super::fields::FIELD_OVERHEAD_BYTES;
use super::indexing::Indexing;
use super::table::Table;
use super::{TABLE_BYTES_DEFAULT, hash, huffman, integer, statics};

/// Maximum size of an encoder's table in bytes, whatever the peer offers.
pub const ENCODER_TABLE_BYTES_MAX: usize = 4096;

/// An entry larger than the table size divided by this is not added, because it would evict most
/// of the others.
const ENTRY_SHARE: usize = 4;

const PLACES: usize = 64;
const SLOTS: usize = 4;

#[derive(Clone, Copy, Debug)]
struct Hashes {
    name: u32,
    field: u32,
}

/// Bucket of the hash table: numbers of table entries, counted as by [`Table::inserted`].
type Bucket = [u16; SLOTS];

/// Encodes the header blocks of one direction of a connection, in order.
#[derive(Clone, Debug)]
pub struct Encoder {
    table: Table<Hashes>,
    /// Empty until the first entry, so that an idle connection needs no memory.
    places: Vec<Bucket>,
    /// Table sizes that the next header block must announce: the smallest since the last block,
    /// and the newest.
    pending: Option<(usize, usize)>,
    entry_share: usize,
}

impl Default for Encoder {
    fn default() -> Self {
        Encoder::new()
    }
}

impl Encoder {
    /// Creates an encoder for a peer that has not sent SETTINGS yet.
    pub fn new() -> Self {
        Encoder {
            table: Table::new(TABLE_BYTES_DEFAULT.min(ENCODER_TABLE_BYTES_MAX)),
            places: Vec::new(),
            pending: None,
            entry_share: ENTRY_SHARE,
        }
    }

    /// Applies the peer's SETTINGS_HEADER_TABLE_SIZE. The next header block announces how much of
    /// it this side uses.
    pub fn set_table_bytes_max(&mut self, bytes: usize) {
        let bytes = bytes.min(ENCODER_TABLE_BYTES_MAX);
        let smallest = match self.pending {
            Some((smallest, _)) => smallest.min(bytes),
            None if bytes == self.table.size_max() => return,
            None => bytes,
        };
        self.table.set_size_max(bytes);
        self.pending = Some((smallest, bytes));
    }

    /// Begins a block at the end of `out`: announces changed table sizes.
    pub fn begin(&mut self, out: &mut Vec<u8>) {
        const UPDATE: u8 = 0x20;
        if let Some((smallest, newest)) = self.pending.take() {
            if smallest < newest {
                integer::write(smallest, 5, UPDATE, out);
            }
            integer::write(newest, 5, UPDATE, out);
        }
    }

    /// Appends a field to the block. The name must be in lower case.
    pub fn field(&mut self, name: &[u8], value: &[u8], indexing: Indexing, out: &mut Vec<u8>) {
        const INDEXED: u8 = 0x80;
        let name_hash = hash::of(name);
        let in_statics = statics::name_index(name, name_hash);
        if indexing != Indexing::Never
            && let Some(index) = in_statics.and_then(|first| statics::value_index(first, value))
        {
            return integer::write(index, 7, INDEXED, out);
        }
        let size = name.len() + value.len() + FIELD_OVERHEAD_BYTES;
        if indexing == Indexing::Yes && size <= self.table.size_max() / self.entry_share {
            let hashes = Hashes {
                name: name_hash,
                field: hash::onto(name_hash, value),
            };
            if let Some(number) = self.find_field(hashes.field, name, value) {
                return integer::write(index_of(number), 7, INDEXED, out);
            }
            let index = in_statics.or_else(|| self.find_name(name_hash, name));
            literal(index, 6, 0x40, name, value, out);
            return self.insert(name, value, hashes, in_statics.is_none());
        }
        let index = in_statics.or_else(|| self.find_name(name_hash, name));
        let flags = match indexing {
            Indexing::Never => 0x10,
            _ => 0,
        };
        literal(index, 4, flags, name, value, out);
    }

    /// Returns the table indices (0 is the newest) of the entries that may have this hash.
    fn candidates(&self, hash: u32) -> impl Iterator<Item = usize> {
        let place = match self.places.get(hash as usize % PLACES) {
            Some(place) => &place[..],
            None => &[],
        };
        let newest = self.table.inserted().wrapping_sub(1);
        place
            .iter()
            .map(move |entry| usize::from(newest.wrapping_sub(*entry)))
    }

    fn find_field(&self, hash: u32, name: &[u8], value: &[u8]) -> Option<usize> {
        self.candidates(hash).find(|number| {
            self.table.beside(*number).is_some_and(|h| h.field == hash)
                && self.table.get(*number) == Some((name, value))
        })
    }

    fn find_name(&self, hash: u32, name: &[u8]) -> Option<usize> {
        self.candidates(hash)
            .find(|number| {
                self.table.beside(*number).is_some_and(|h| h.name == hash)
                    && self.table.get(*number).is_some_and(|(n, _)| n == name)
            })
            .map(index_of)
    }

    fn insert(&mut self, name: &[u8], value: &[u8], hashes: Hashes, is_new_name: bool) {
        if self.places.is_empty() {
            self.places = vec![[0; SLOTS]; PLACES];
        }
        let entry = self.table.inserted();
        self.table.insert(name, value, hashes);
        self.remember(hashes.field, entry);
        if is_new_name {
            self.remember(hashes.name, entry);
        }
    }

    /// Adds an entry to its bucket, newest first.
    fn remember(&mut self, hash: u32, entry: u16) {
        if let Some(place) = self.places.get_mut(hash as usize % PLACES) {
            place.copy_within(..SLOTS - 1, 1);
            place[0] = entry;
        }
    }

    /// Changes the maximum size of an entry, for the examples of the RFC, which fill a table with
    /// a few large entries.
    #[cfg(test)]
    pub(super) fn share_table(&mut self, entry_share: usize) {
        self.entry_share = entry_share;
    }

    #[cfg(test)]
    pub(super) fn table_size(&self) -> usize {
        self.table.size()
    }
}

fn index_of(number: usize) -> usize {
    statics::ENTRIES + 1 + number
}

/// Appends a field with its value, and with its name if no table contains that. Strings that enter
/// the table are Huffman-coded, since they are sent once. For other strings, coding would cost
/// both ends more time than the network saves.
fn literal(
    index: Option<usize>,
    bits: u32,
    flags: u8,
    name: &[u8],
    value: &[u8],
    out: &mut Vec<u8>,
) {
    const INDEXED_LITERAL: u8 = 0x40;
    let pack = flags == INDEXED_LITERAL;
    integer::write(index.unwrap_or(0), bits, flags, out);
    if index.is_none() {
        string(name, pack, out);
    }
    string(value, pack, out);
}

/// Appends a string literal. With `pack`, it is Huffman-coded if that is shorter.
pub(super) fn string(bytes: &[u8], pack: bool, out: &mut Vec<u8>) {
    const HUFFMAN: u8 = 0x80;
    let packed_len = if pack {
        huffman::encoded_len(bytes)
    } else {
        usize::MAX
    };
    if packed_len < bytes.len() {
        integer::write(packed_len, 7, HUFFMAN, out);
        huffman::encode(bytes, out);
    } else {
        integer::write(bytes.len(), 7, 0, out);
        out.extend_from_slice(bytes);
    }
}
