//! Implements the interval lock, with which overlapping requests run in order of arrival. Both
//! disks therefore apply them in the same order, and no read returns data that may still vanish.
//! Deliberately simple: a linear scan over the requests in progress.

use super::geometry::Blocks;

/// Block range whose lock is held or requested.
#[derive(Clone, Copy, Debug)]
struct Entry {
    blocks: Blocks,
    exclusive: bool,
    slot: u32,
    /// Number of earlier entries for which this one waits.
    blockers: u32,
}

impl Entry {
    fn conflicts(&self, later: &Entry) -> bool {
        (self.exclusive || later.exclusive) && self.blocks.overlaps(later.blocks)
    }
}

#[derive(Clone, Debug, Default)]
pub struct IntervalLock {
    entries: Vec<Entry>,
}

impl IntervalLock {
    /// Adds a range. Returns whether its lock is held at once. Otherwise [`IntervalLock::leave`]
    /// returns its slot when the last blocking entry leaves. Writes are exclusive; reads and resync
    /// copies are shared.
    pub fn enter(&mut self, slot: u32, blocks: Blocks, exclusive: bool) -> bool {
        let mut entry = Entry {
            blocks,
            exclusive,
            slot,
            blockers: 0,
        };
        let conflicts = self.entries.iter().filter(|held| held.conflicts(&entry));
        entry.blockers = conflicts.count() as u32;
        self.entries.push(entry);
        entry.blockers == 0
    }

    pub fn leave(&mut self, slot: u32, granted: &mut Vec<u32>) {
        let Some(place) = self.entries.iter().position(|entry| entry.slot == slot) else {
            return;
        };
        let left = self.entries.remove(place);
        for entry in &mut self.entries[place..] {
            if left.conflicts(entry) {
                entry.blockers -= 1;
                if entry.blockers == 0 {
                    granted.push(entry.slot);
                }
            }
        }
    }

    pub fn clear(&mut self) {
        self.entries.clear();
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlapping_writes_are_ordered_and_reads_are_shared() {
        let mut lock = IntervalLock::default();
        let blocks = |first, count| Blocks { first, count };
        let mut granted = Vec::new();
        assert!(lock.enter(1, blocks(0, 4), true));
        assert!(lock.enter(2, blocks(4, 4), true));
        assert!(!lock.enter(3, blocks(3, 2), false), "behind both");
        assert!(!lock.enter(4, blocks(3, 1), false));
        assert!(!lock.enter(5, blocks(3, 1), true), "behind the reads");
        lock.leave(1, &mut granted);
        assert_eq!(granted, [4]);
        lock.leave(2, &mut granted);
        assert_eq!(granted, [4, 3]);
        lock.leave(3, &mut granted);
        lock.leave(4, &mut granted);
        assert_eq!(granted, [4, 3, 5]);
        lock.leave(5, &mut granted);
        assert!(lock.is_empty());
    }
}
