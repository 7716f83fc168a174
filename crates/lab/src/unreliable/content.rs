//! Stores the contents of one file of a simulated disk: the sectors that would survive a power
//! failure, and those that were written since the last flush.

use namespace::Random;
use std::collections::{BTreeMap, HashMap};

/// Size of a sector in bytes, which a power failure keeps or loses as a whole.
pub(super) const SECTOR: usize = 512;

type Sector = Box<[u8; SECTOR]>;

/// Contents of a file. A power failure keeps all flushed sectors, and some of the others.
#[derive(Debug, Default)]
pub(super) struct FileContent {
    pub(super) length: u64,
    stable: HashMap<u64, Sector>,
    /// Sectors that were written and not flushed.
    fresh: BTreeMap<u64, Sector>,
}

impl FileContent {
    fn sector(&self, index: u64) -> Option<&Sector> {
        self.fresh.get(&index).or_else(|| self.stable.get(&index))
    }

    /// Returns up to `count` bytes from `offset` on, fewer at the end of the file.
    pub(super) fn read(&self, offset: u64, count: usize) -> Vec<u8> {
        let count = self.length.saturating_sub(offset).min(count as u64);
        let mut bytes = Vec::with_capacity(count as usize);
        let mut at = offset;
        while at < offset + count {
            let within = (at % SECTOR as u64) as usize;
            let take = (SECTOR - within).min((offset + count - at) as usize);
            match self.sector(at / SECTOR as u64) {
                Some(sector) => bytes.extend_from_slice(&sector[within..within + take]),
                None => bytes.resize(bytes.len() + take, 0),
            }
            at += take as u64;
        }
        bytes
    }

    pub(super) fn write(&mut self, offset: u64, bytes: &[u8]) {
        let (mut at, mut rest) = (offset, bytes);
        while !rest.is_empty() {
            let within = (at % SECTOR as u64) as usize;
            let take = (SECTOR - within).min(rest.len());
            let index = at / SECTOR as u64;
            let before = self.sector(index).cloned();
            let sector = self.fresh.entry(index);
            let sector = sector.or_insert_with(|| before.unwrap_or_else(|| Box::new([0; SECTOR])));
            sector[within..within + take].copy_from_slice(&rest[..take]);
            (at, rest) = (at + take as u64, &rest[take..]);
        }
        self.length = self.length.max(at);
    }

    pub(super) fn set_length(&mut self, length: u64) {
        let first = length.div_ceil(SECTOR as u64);
        self.stable.retain(|index, _| *index < first);
        self.fresh.retain(|index, _| *index < first);
        self.length = length;
    }

    /// Moves all written sectors to stable storage.
    pub(super) fn flush(&mut self) {
        self.stable.extend(std::mem::take(&mut self.fresh));
    }

    /// Moves the sectors of a range to stable storage.
    pub(super) fn flush_range(&mut self, offset: u64, length: u64) {
        let end = (offset + length).div_ceil(SECTOR as u64);
        for index in offset / SECTOR as u64..end {
            if let Some(sector) = self.fresh.remove(&index) {
                self.stable.insert(index, sector);
            }
        }
    }

    /// Simulates a power failure: each sector that was not flushed may be kept or lost, because a
    /// disk writes in any order.
    pub(super) fn lose_power(&mut self, random: &mut Random) {
        // Chooses the chance once, so that sometimes nearly everything is kept, and sometimes
        // nearly nothing.
        let chance = random.below(101);
        for (index, sector) in std::mem::take(&mut self.fresh) {
            if random.percent(chance) {
                self.stable.insert(index, sector);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loss_of_power_keeps_what_was_flushed() {
        for seed in 0..50 {
            let mut content = FileContent::default();
            content.write(0, &[1; 4096]);
            content.flush();
            content.write(512, &[2; 1024]);
            content.write(8192, &[3; 512]);
            content.flush_range(512, 512);
            assert_eq!(content.read(500, 24), [[1; 12], [2; 12]].concat());
            content.lose_power(&mut Random::new(seed));
            assert_eq!(content.read(0, 512), [1; 512]);
            assert_eq!(content.read(512, 512), [2; 512]);
            let next = content.read(1024, 512);
            assert!(next == [1; 512] || next == [2; 512]);
            assert_eq!(content.read(8704, 10), [0; 0]);
        }
    }
}
