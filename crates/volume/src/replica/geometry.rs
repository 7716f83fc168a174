//! Defines blocks, extents and block ranges, and computes which of them belong together. A block is
//! only a number here; on the disk and the network it is 4 KiB.

use serde::{Deserialize, Serialize};

/// Length of a block, bytes: the unit of requests, the dirty bitmap and locks.
pub const BLOCK_BYTES: u64 = 4096;
/// Blocks per extent in production: 4 MiB, the unit of the activity log.
pub const EXTENT_BLOCKS: u32 = 1024;
pub const LOG_EXTENTS: usize = 1024;

/// Index of an extent, from the start of the volume.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Extent(pub u32);

/// Nonempty range of blocks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Blocks {
    pub first: u64,
    pub count: u32,
}

impl Blocks {
    /// Returns the number of the block after the last one.
    pub fn end(self) -> u64 {
        self.first + u64::from(self.count)
    }

    pub fn overlaps(self, other: Blocks) -> bool {
        self.first < other.end() && other.first < self.end()
    }

    pub fn iter(self) -> impl Iterator<Item = u64> {
        self.first..self.end()
    }
}

/// Size and layout of a volume, the same on both copies.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Geometry {
    pub blocks: u64,
    /// Blocks per extent, a multiple of 8.
    pub extent_blocks: u32,
    /// Capacity of the activity log, extents. A request must fit into half of it.
    pub log_extents: usize,
}

impl Geometry {
    pub fn extents(&self) -> u32 {
        self.blocks.div_ceil(u64::from(self.extent_blocks)) as u32
    }

    pub fn extents_of(&self, blocks: Blocks) -> impl Iterator<Item = Extent> + Clone + use<> {
        let size = u64::from(self.extent_blocks);
        let (first, last) = (blocks.first / size, (blocks.end() - 1) / size);
        (first as u32..=last as u32).map(Extent)
    }

    pub fn blocks_of(&self, extent: Extent) -> Blocks {
        let first = u64::from(extent.0) * u64::from(self.extent_blocks);
        let left = self.blocks - first;
        Blocks {
            first,
            count: left.min(u64::from(self.extent_blocks)) as u32,
        }
    }

    /// Returns whether the range is nonempty and within the volume.
    pub fn contains(&self, blocks: Blocks) -> bool {
        blocks.count > 0
            && blocks.first < self.blocks
            && u64::from(blocks.count) <= self.blocks - blocks.first
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_extent_may_be_short_and_ranges_beyond_the_end_are_known() {
        let geometry = Geometry {
            blocks: 20,
            extent_blocks: 8,
            log_extents: 3,
        };
        let blocks = |first, count| Blocks { first, count };
        assert_eq!(geometry.extents(), 3);
        assert_eq!(geometry.blocks_of(Extent(2)), blocks(16, 4));
        let touched: Vec<Extent> = geometry.extents_of(blocks(7, 2)).collect();
        assert_eq!(touched, [Extent(0), Extent(1)]);
        assert!(geometry.contains(blocks(16, 4)));
        for (first, count) in [(16, 5), (20, 1), (u64::MAX, 1), (3, 0)] {
            assert!(!geometry.contains(blocks(first, count)), "{first} {count}");
        }
        assert!(blocks(3, 2).overlaps(blocks(4, 1)));
        assert!(!blocks(3, 2).overlaps(blocks(5, 1)));
    }
}
