//! Encodes and decodes a page of the dirty bitmap: the dirty bits of some extents, with a checksum.

use super::bytes::{CHECKSUM_BYTES, Reader, seal, unseal};
use super::slot::VolumeId;
use super::{EXTENT_WORDS, PAGE_BYTES, PAGE_EXTENTS};

const MAGIC: [u8; 4] = *b"EKdb";
pub(super) const PAGE_WORDS: usize = PAGE_EXTENTS as usize * EXTENT_WORDS;

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct BitmapPage {
    /// Position of the page, from 0. A page at another position is invalid.
    pub(super) index: u32,
    pub(super) number: u64,
    pub(super) volume: Option<VolumeId>,
    pub(super) words: Vec<u64>,
}

impl BitmapPage {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(PAGE_BYTES);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&self.index.to_le_bytes());
        bytes.extend_from_slice(&self.number.to_le_bytes());
        let volume = self.volume.map_or([0; 16], |volume| volume.0);
        bytes.extend_from_slice(&volume);
        for place in 0..PAGE_WORDS {
            let word = self.words.get(place).copied().unwrap_or_default();
            bytes.extend_from_slice(&word.to_le_bytes());
        }
        bytes.resize(PAGE_BYTES - CHECKSUM_BYTES, 0);
        seal(&mut bytes);
        bytes
    }

    /// Decodes the page with this index. `None` if it is torn, damaged, misplaced or of another
    /// volume.
    pub(super) fn decode(bytes: &[u8], index: u32, volume: Option<VolumeId>) -> Option<BitmapPage> {
        let content = bytes.get(..PAGE_BYTES).and_then(unseal)?;
        let mut reader = Reader(content);
        if reader.array()? != MAGIC || reader.u32()? != index {
            return None;
        }
        let number = reader.u64()?;
        if reader.array()? != volume.map_or([0; 16], |volume| volume.0) {
            return None;
        }
        let words: Option<Vec<u64>> = (0..PAGE_WORDS).map(|_| reader.u64()).collect();
        Some(BitmapPage {
            index,
            number,
            volume,
            words: words?,
        })
    }
}
