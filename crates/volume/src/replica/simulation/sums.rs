//! Simulated checksums of a disk, as the replica observes them: which reads find damage, and which
//! repairs match. The on-disk format has its own simulation (`sums/simulation.rs`). Here each
//! block is a page of its own.

use lab::Random;

/// Bit that marks a rotten block. The number of an attempt never has this bit; unknown content has
/// all bits.
const ROT: u32 = 1 << 31;

#[derive(Clone, Debug)]
pub struct Sums {
    /// Content to which each checksum belongs: the last content written to the block.
    known: Vec<u32>,
    /// Checksums that are not trusted after a crash.
    hot: Vec<bool>,
}

/// Returns whether a block with this content has rotted.
pub fn is_rotten(content: u32) -> bool {
    content & ROT != 0 && content != u32::MAX
}

/// Returns the content of a block after it has rotted.
pub fn rotten(content: u32) -> u32 {
    content ^ ROT
}

impl Sums {
    pub fn new(image: &[u32]) -> Sums {
        Sums {
            known: image.to_vec(),
            hot: vec![false; image.len()],
        }
    }

    /// Marks a block's checksum as hot at the start of a write.
    pub fn begin(&mut self, block: u64) {
        self.hot[block as usize] = true;
    }

    pub fn set(&mut self, block: u64, content: u32) {
        self.known[block as usize] = content;
    }

    pub fn get(&self, block: u64) -> u32 {
        self.known[block as usize]
    }

    pub fn is_hot(&self, block: u64) -> bool {
        self.hot[block as usize]
    }

    /// Resets blocks to durable zeroes.
    pub fn clear(&mut self, blocks: std::ops::Range<usize>) {
        self.known[blocks.clone()].fill(0);
        self.hot[blocks].fill(false);
    }

    /// Makes the checksums of blocks that no operation uses durable.
    pub fn cool(&mut self, used: impl Fn(u64) -> bool, random: &mut Random) {
        for block in 0..self.hot.len() as u64 {
            if self.is_hot(block) && !used(block) && random.percent(50) {
                self.hot[block as usize] = false;
            }
        }
    }

    /// Simulates a crash: checksums that are not trusted are recomputed from the disk. Rot in a
    /// block that was being overwritten would then count as valid. Detection is not guaranteed
    /// there, so the model restores the block's old content.
    pub fn crash(&mut self, image: &mut [u32]) {
        for (block, content) in image.iter_mut().enumerate() {
            match is_rotten(*content) {
                _ if !self.hot[block] => {}
                true => *content = self.known[block],
                false => self.known[block] = *content,
            }
        }
    }
}
