//! Encodes and decodes the checksums on disk: pages, and slots of the log. Each record includes its
//! own checksum and position, which exposes torn records and those of another draw.

use super::{PAGE_BLOCKS, Sum, pages_of};
use crate::layout::VOLUME_BYTES_MAX;
use crate::layout::bytes::{Reader, seal, unseal};

/// Length of a page, and of a slot of the log, bytes.
pub(super) const RECORD_BYTES: usize = 4096;
/// Number of slots in the log. Each store overwrites the oldest.
pub(super) const SLOTS: u64 = 16;
pub(super) const HOT_MAX: usize = 960;

const PAGE_MAGIC: [u8; 8] = *b"EKsums01";
pub(super) const LOG_MAGIC: [u8; 8] = *b"EKslog01";
const CHECKSUM_BYTES: usize = 8;

pub(super) type Sums = Box<[Sum]>;

pub(super) fn encode_page(draw: u64, index: u32, sums: &[Sum]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(RECORD_BYTES);
    bytes.extend_from_slice(&PAGE_MAGIC);
    bytes.extend_from_slice(&draw.to_le_bytes());
    bytes.extend_from_slice(&u64::from(index).to_le_bytes());
    for sum in sums {
        bytes.extend_from_slice(&sum.to_le_bytes());
    }
    bytes.resize(RECORD_BYTES - CHECKSUM_BYTES, 0);
    seal(&mut bytes);
    bytes
}

/// Decodes the page with this index. Returns `None` if it is torn, damaged, missing, misplaced or
/// of another draw.
pub(super) fn decode_page(bytes: &[u8], draw: u64, index: u32) -> Option<Sums> {
    let mut reader = Reader(bytes.get(..RECORD_BYTES).and_then(unseal)?);
    if reader.array()? != PAGE_MAGIC || reader.u64()? != draw || reader.u64()? != u64::from(index) {
        return None;
    }
    (0..PAGE_BLOCKS).map(|_| reader.u64()).collect()
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct ChecksumLogRecord {
    /// Sequence number. The slot with the highest number is current.
    pub(super) number: u64,
    pub(super) draw: u64,
    pub(super) offset: u64,
    pub(super) blocks: u64,
    /// Number of pages at the start whose checksums are built.
    pub(super) built: u32,
    /// Pages whose checksums are not trusted after a crash.
    pub(super) hot: Vec<u32>,
}

impl ChecksumLogRecord {
    pub(super) fn encode(&self) -> Vec<u8> {
        assert!(self.hot.len() <= HOT_MAX, "the log is bounded");
        let mut bytes = Vec::with_capacity(RECORD_BYTES);
        bytes.extend_from_slice(&LOG_MAGIC);
        for number in [self.number, self.draw, self.offset, self.blocks] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        for number in [self.built, self.hot.len() as u32] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        for page in &self.hot {
            bytes.extend_from_slice(&page.to_le_bytes());
        }
        bytes.resize(RECORD_BYTES - CHECKSUM_BYTES, 0);
        seal(&mut bytes);
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<ChecksumLogRecord> {
        let mut reader = Reader(bytes.get(..RECORD_BYTES).and_then(unseal)?);
        if reader.array()? != LOG_MAGIC {
            return None;
        }
        let [number, draw] = [reader.u64()?, reader.u64()?];
        let [offset, blocks] = [reader.u64()?, reader.u64()?];
        let [built, count] = [reader.u32()?, reader.u32()?];
        if count as usize > HOT_MAX || blocks > VOLUME_BYTES_MAX / super::BLOCK_BYTES {
            return None;
        }
        let hot: Option<Vec<u32>> = (0..count).map(|_| reader.u32()).collect();
        let pages = pages_of(blocks);
        let hot = hot.filter(|hot| built <= pages && hot.iter().all(|page| *page < pages))?;
        Some(ChecksumLogRecord {
            number,
            draw,
            offset,
            blocks,
            built,
            hot,
        })
    }

    pub(super) fn newest(ring: &[u8]) -> Option<ChecksumLogRecord> {
        let slots = ring
            .chunks(RECORD_BYTES)
            .filter_map(ChecksumLogRecord::decode);
        slots.max_by_key(|slot| slot.number)
    }

    pub(super) fn place(&self) -> u64 {
        self.number % SLOTS * RECORD_BYTES as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_valid_only_at_its_offset_and_generation() {
        let sums: Vec<Sum> = (0..PAGE_BLOCKS).collect();
        let mut bytes = encode_page(7, 3, &sums);
        assert_eq!(bytes.len(), RECORD_BYTES);
        assert_eq!(decode_page(&bytes, 7, 3).as_deref(), Some(&sums[..]));
        assert_eq!(decode_page(&bytes, 8, 3), None);
        assert_eq!(decode_page(&bytes, 7, 4), None);
        assert_eq!(decode_page(&[0; RECORD_BYTES], 0, 0), None);
        bytes[2000] ^= 1;
        assert_eq!(decode_page(&bytes, 7, 3), None);
    }

    #[test]
    fn the_newest_whole_slot_counts() {
        let slot = |number, hot: Vec<u32>| ChecksumLogRecord {
            number,
            draw: 5,
            offset: 1 << 30,
            blocks: 4_000_000,
            built: 9,
            hot,
        };
        let mut ring = vec![0; SLOTS as usize * RECORD_BYTES];
        assert_eq!(ChecksumLogRecord::newest(&ring), None);
        let full = slot(18, (0..HOT_MAX as u32).collect());
        for one in [slot(17, vec![1]), full.clone()] {
            let at = one.place() as usize;
            ring[at..at + RECORD_BYTES].copy_from_slice(&one.encode());
        }
        assert_eq!(ChecksumLogRecord::newest(&ring), Some(full));
        ring[2 * RECORD_BYTES + 99] ^= 4;
        assert_eq!(ChecksumLogRecord::newest(&ring), Some(slot(17, vec![1])));
        let beyond = slot(1, vec![pages_of(4_000_000)]);
        assert_eq!(ChecksumLogRecord::decode(&beyond.encode()), None);
    }
}
