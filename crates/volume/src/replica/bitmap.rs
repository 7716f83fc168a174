//! Keeps the dirty bitmap: one bit per block that the other copy may lack. In memory it is exact,
//! except for blocks of hot extents after a loss of the other copy. On disk the bits of an extent
//! date from its last eviction from the activity log.

use super::geometry::{Blocks, Extent, Geometry};

/// Dirty bits of all blocks, in memory.
#[derive(Clone, Debug)]
pub struct DirtyBitmap {
    geometry: Geometry,
    words: Vec<u64>,
    count: u64,
    /// Extents whose dirty bits on disk may be set.
    stored: Vec<bool>,
    /// Extents that were marked as a whole, although many of their blocks may be equal on both
    /// copies.
    suspect: Vec<bool>,
}

impl DirtyBitmap {
    pub fn new(geometry: Geometry) -> DirtyBitmap {
        let words = geometry.blocks.div_ceil(64) as usize;
        let extents = geometry.extents() as usize;
        DirtyBitmap {
            geometry,
            words: vec![0; words],
            count: 0,
            stored: vec![false; extents],
            suspect: vec![false; extents],
        }
    }

    pub fn from_disk(geometry: Geometry, words: &[u64]) -> DirtyBitmap {
        let mut bitmap = DirtyBitmap::new(geometry);
        for block in 0..geometry.blocks {
            let word = words.get((block / 64) as usize).copied();
            if (word.unwrap_or_default() >> (block % 64)) & 1 == 1 {
                bitmap.set(Blocks {
                    first: block,
                    count: 1,
                });
            }
        }
        bitmap.stored.fill(true);
        bitmap
    }

    /// Resizes the bitmap. New blocks are clean, because they are zeroes on both copies.
    pub fn resize(&mut self, geometry: Geometry) {
        if geometry.blocks < self.geometry.blocks {
            let most = u64::from(u32::MAX);
            let mut first = geometry.blocks;
            while first < self.geometry.blocks {
                let count = (self.geometry.blocks - first).min(most) as u32;
                self.clear(Blocks { first, count });
                first += u64::from(count);
            }
        }
        self.geometry = geometry;
        self.words.resize(geometry.blocks.div_ceil(64) as usize, 0);
        let extents = geometry.extents() as usize;
        self.stored.resize(extents, true);
        self.suspect.resize(extents, false);
    }

    pub fn count(&self) -> u64 {
        self.count
    }

    /// Marks blocks that were written without the other copy.
    pub fn set(&mut self, blocks: Blocks) {
        for block in blocks.iter() {
            let word = &mut self.words[(block / 64) as usize];
            let bit = 1 << (block % 64);
            self.count += u64::from(*word & bit == 0);
            *word |= bit;
        }
    }

    /// Marks a whole extent, in which some blocks may differ.
    pub fn set_extent(&mut self, extent: Extent) {
        self.set(self.geometry.blocks_of(extent));
        self.suspect[extent.0 as usize] = true;
    }

    pub fn set_all(&mut self) {
        for extent in 0..self.geometry.extents() {
            self.set_extent(Extent(extent));
        }
        self.stored.fill(true);
    }

    /// Clears all bits, in memory and on disk.
    pub fn clear_all(&mut self) {
        self.words.fill(0);
        self.suspect.fill(false);
        self.stored.fill(false);
        self.count = 0;
    }

    /// Clears the bits of blocks that the other copy now has.
    pub fn clear(&mut self, blocks: Blocks) {
        if self.count == 0 {
            return;
        }
        for block in blocks.iter() {
            let word = &mut self.words[(block / 64) as usize];
            let bit = 1 << (block % 64);
            self.count -= u64::from(*word & bit != 0);
            *word &= !bit;
        }
    }

    pub fn any(&self, blocks: Blocks) -> bool {
        self.count > 0 && blocks.iter().any(|block| self.is_set(block))
    }

    /// Returns the next dirty range at or after `from`: at most `most` blocks, within one extent,
    /// possibly with clean blocks in between.
    pub fn next(&self, from: u64, most: u32) -> Option<Blocks> {
        let first = self.first_from(from)?;
        let size = u64::from(self.geometry.extent_blocks);
        let end = ((first / size + 1) * size)
            .min(first + u64::from(most))
            .min(self.geometry.blocks);
        let last = (first..end).rev().find(|block| self.is_set(*block));
        Some(Blocks {
            first,
            count: (last.unwrap_or(first) - first + 1) as u32,
        })
    }

    pub fn is_suspect(&self, extent: Extent) -> bool {
        self.suspect[extent.0 as usize]
    }

    /// Returns the bits of an evicted extent (one per block, 64 per word) if they may differ from
    /// those on disk.
    pub fn to_store(&mut self, extent: Extent) -> Option<Vec<u64>> {
        let blocks = self.geometry.blocks_of(extent);
        let is_dirty = self.any(blocks);
        let was = std::mem::replace(&mut self.stored[extent.0 as usize], is_dirty);
        if !is_dirty {
            self.suspect[extent.0 as usize] = false;
        }
        if !is_dirty && !was {
            return None;
        }
        let mut words = vec![0; blocks.count.div_ceil(64) as usize];
        for (place, block) in blocks.iter().enumerate() {
            words[place / 64] |= u64::from(self.is_set(block)) << (place % 64);
        }
        Some(words)
    }

    fn is_set(&self, block: u64) -> bool {
        (self.words[(block / 64) as usize] >> (block % 64)) & 1 == 1
    }

    fn first_from(&self, from: u64) -> Option<u64> {
        let mut place = (from / 64) as usize;
        let mut word = self.words.get(place)? & (u64::MAX << (from % 64));
        while word == 0 {
            place += 1;
            word = *self.words.get(place)?;
        }
        Some(place as u64 * 64 + u64::from(word.trailing_zeros()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocks(first: u64, count: u32) -> Blocks {
        Blocks { first, count }
    }

    fn bitmap() -> DirtyBitmap {
        DirtyBitmap::new(Geometry {
            blocks: 100,
            extent_blocks: 16,
            log_extents: 3,
        })
    }

    #[test]
    fn bits_are_counted_once_and_found_in_order_within_an_extent() {
        let mut bitmap = bitmap();
        bitmap.set(blocks(30, 4));
        bitmap.set(blocks(31, 1));
        assert_eq!(bitmap.count(), 4);
        assert_eq!(bitmap.next(0, 16), Some(blocks(30, 2)));
        assert_eq!(bitmap.next(32, 16), Some(blocks(32, 2)));
        assert_eq!(bitmap.next(34, 16), None);
        bitmap.clear(blocks(0, 32));
        assert_eq!(bitmap.next(0, 1), Some(blocks(32, 1)));
        bitmap.set_extent(Extent(6));
        assert_eq!(bitmap.next(34, 16), Some(blocks(96, 4)));
        assert!(bitmap.is_suspect(Extent(6)));
    }

    #[test]
    fn a_volume_of_another_size_keeps_the_bits_of_the_blocks_that_stay() {
        let mut bitmap = bitmap();
        bitmap.set(blocks(3, 1));
        bitmap.set_extent(Extent(6));
        let size = |blocks| Geometry {
            blocks,
            extent_blocks: 16,
            log_extents: 3,
        };
        bitmap.resize(size(200));
        assert_eq!(bitmap.count(), 5);
        assert_eq!(
            bitmap.next(4, 16),
            Some(blocks(96, 4)),
            "none behind the old end"
        );
        bitmap.set(blocks(199, 1));
        bitmap.resize(size(98));
        assert_eq!(bitmap.count(), 3);
        bitmap.resize(size(200));
        assert_eq!(bitmap.next(98, 16), None);
    }

    #[test]
    fn bits_are_stored_when_they_are_set_or_were() {
        let mut bitmap = bitmap();
        assert_eq!(bitmap.to_store(Extent(1)), None);
        bitmap.set(blocks(17, 1));
        assert_eq!(bitmap.to_store(Extent(1)), Some(vec![2]));
        bitmap.clear(blocks(17, 1));
        assert_eq!(bitmap.to_store(Extent(1)), Some(vec![0]));
        assert_eq!(bitmap.to_store(Extent(1)), None);
    }
}
