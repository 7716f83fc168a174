//! The checksums that a disk keeps of its blocks, as far as the replica sees them: which reads
//! find damage, and which repairs fit. What they are on disk has a simulation of its own
//! (`sums/simulation.rs`); here each block is a page of them.

use lab::Random;

/// A block that has rotted has this bit. No attempt has it, and what nobody knows has all.
const ROT: u32 = 1 << 31;

/// The checksums of a disk.
#[derive(Clone, Debug)]
pub struct Sums {
    /// What each is of: what was written last.
    known: Vec<u32>,
    /// Those that are not believed after a crash.
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

    /// A write of a block begins.
    pub fn begin(&mut self, block: u64) {
        self.hot[block as usize] = true;
    }

    /// A block has this content.
    pub fn set(&mut self, block: u64, content: u32) {
        self.known[block as usize] = content;
    }

    /// What a block is to be.
    pub fn get(&self, block: u64) -> u32 {
        self.known[block as usize]
    }

    pub fn is_hot(&self, block: u64) -> bool {
        self.hot[block as usize]
    }

    /// Blocks are zeros, for good.
    pub fn clear(&mut self, blocks: std::ops::Range<usize>) {
        self.known[blocks.clone()].fill(0);
        self.hot[blocks].fill(false);
    }

    /// All that is not `used` is on stable storage.
    pub fn cool(&mut self, used: impl Fn(u64) -> bool, random: &mut Random) {
        for block in 0..self.hot.len() as u64 {
            if self.is_hot(block) && !used(block) && random.percent(50) {
                self.hot[block as usize] = false;
            }
        }
    }

    /// The process is gone, or the power: sums that are hot become those of what is there. What
    /// had rotted and was being overwritten would count as right: that is not promised, so it
    /// becomes what it was.
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
