//! Simulated disk with a volatile cache. Any part of the unflushed writes may vanish at a power
//! loss, and operations in flight may take effect in part.

use super::AttemptNumbers;
use super::sums::{Sums, is_rotten, rotten};
use crate::replica::defect::{InjectedDefect, ReplicaDefect};
use crate::replica::{
    Blocks, DiskResult, Durable, DurableChange, Geometry, Operation, WriteContent,
};
use lab::Random;

#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// Time before which no operation that begins now ends.
    pub stalled_until: u64,
    /// Block that cannot be read or written.
    pub bad_block: Option<u64>,
    pub dead: bool,
    /// Simulated fault: flushes report success without effect.
    pub lies: bool,
}

#[derive(Clone, Debug)]
enum PendingOperation {
    Data(Operation<AttemptNumbers>),
    /// Flush, with the number of cached writes that it covers.
    Flush(usize),
    Store(DurableChange),
}

#[derive(Clone, Debug)]
pub struct Disk {
    geometry: Geometry,
    pub image: Vec<u32>,
    durable: Vec<u32>,
    /// Unflushed writes, with their position in the total order.
    cache: Vec<(u64, u32)>,
    flushed: usize,
    /// Durable state of the copy besides its data.
    pub kept: Durable,
    pending: Vec<(u64, PendingOperation)>,
    pub faults: Faults,
    sums: Option<Sums>,
    broken: InjectedDefect,
    /// Repairs whose content matched the checksums when they began.
    fitted: Vec<u64>,
    pub repaired: u64,
    /// Block that a read reported as damaged although it is intact: a violation.
    pub false_alarm: Option<u64>,
}

impl Disk {
    pub fn new(geometry: Geometry, kept: Durable, image: Vec<u32>) -> Disk {
        Disk {
            geometry,
            durable: image.clone(),
            image,
            cache: Vec::new(),
            flushed: 0,
            kept,
            pending: Vec::new(),
            faults: Faults::default(),
            sums: None,
            broken: InjectedDefect::default(),
            fitted: Vec::new(),
            repaired: 0,
            false_alarm: None,
        }
    }

    pub fn keep_sums(&mut self, broken: InjectedDefect) {
        self.sums = Some(Sums::new(&self.image));
        self.broken = broken;
    }

    /// Corrupts a block, unless an operation on it is in flight.
    pub fn rot(&mut self, block: u64) -> bool {
        let place = block as usize;
        let content = self.image[place];
        let Some(sums) = &self.sums else {
            return false;
        };
        let is_used = sums.is_hot(block) || self.is_written(block) || self.is_cached(block);
        let is_whole = content == self.durable[place] && content == sums.get(block);
        let can = is_whole && content != u32::MAX && !is_used;
        if can {
            (self.image[place], self.durable[place]) = (rotten(content), rotten(content));
        }
        can
    }

    /// Returns the content that a block had before it rotted; None if it has not rotted.
    pub fn rotten(&self, block: u64) -> Option<u32> {
        let sums = self.sums.as_ref()?;
        is_rotten(self.image[block as usize]).then(|| sums.get(block))
    }

    fn is_cached(&self, block: u64) -> bool {
        self.cache.iter().any(|(cached, _)| *cached == block)
    }

    /// Returns whether a write of the block is in flight.
    fn is_written(&self, block: u64) -> bool {
        self.pending.iter().any(|(_, pending)| match pending {
            PendingOperation::Data(
                Operation::Write { blocks, .. } | Operation::Repair { blocks, .. },
            ) => blocks.iter().any(|one| one == block),
            _ => false,
        })
    }

    /// Marks the checksums of a starting write as not trusted after a crash.
    fn heat(&mut self, operation: &Operation<AttemptNumbers>) {
        let (Operation::Write { blocks, body, .. }, Some(sums)) = (operation, &mut self.sums)
        else {
            return;
        };
        for (place, block) in blocks.iter().enumerate() {
            if self.broken.is(ReplicaDefect::SumsBeforeData) {
                sums.set(block, value(body, place))
            } else {
                sums.begin(block)
            }
        }
    }

    fn read(&mut self, blocks: Blocks) -> DiskResult<AttemptNumbers> {
        let values = blocks.iter().map(|block| self.image[block as usize]);
        let values: Vec<u32> = values.collect();
        let Some(sums) = &self.sums else {
            return DiskResult::Data(AttemptNumbers(values));
        };
        let found = blocks.iter().zip(&values);
        let wrong = found.filter(|(block, value)| sums.get(*block) != **value);
        let wrong: Vec<(u64, u32)> = wrong.map(|(block, value)| (block, *value)).collect();
        if wrong.is_empty() {
            return DiskResult::Data(AttemptNumbers(values));
        }
        let right = wrong.iter().find(|(_, value)| !is_rotten(*value));
        self.false_alarm = self.false_alarm.or(right.map(|(block, _)| *block));
        DiskResult::Damaged(wrong.into_iter().map(|(block, _)| block).collect())
    }

    fn repair(
        &mut self,
        key: u64,
        blocks: Blocks,
        data: &AttemptNumbers,
    ) -> DiskResult<AttemptNumbers> {
        let fitted = self.fitted.iter().position(|fitted| *fitted == key);
        let fitted = fitted.map(|place| self.fitted.swap_remove(place));
        let passes = fitted.is_some() && self.broken.is(ReplicaDefect::RepairPassesWrites);
        if !passes && !self.fits(blocks, data) {
            return DiskResult::Damaged(Vec::new());
        }
        for (place, block) in blocks.iter().enumerate() {
            self.write(block, data.0[place], true);
            if let Some(sums) = &mut self.sums {
                sums.set(block, data.0[place]);
            }
            self.repaired += 1;
        }
        DiskResult::Done
    }

    /// Returns whether the data matches the checksums of the blocks.
    fn fits(&self, blocks: Blocks, data: &AttemptNumbers) -> bool {
        let Some(sums) = &self.sums else {
            return false;
        };
        let has = |(block, value): (u64, &u32)| sums.get(block) == *value;
        self.broken.is(ReplicaDefect::RepairsUnchecked) || blocks.iter().zip(&data.0).all(has)
    }

    pub fn heal(&mut self) {
        self.faults = Faults {
            lies: self.faults.lies,
            ..Faults::default()
        };
    }

    pub fn begin(&mut self, key: u64, operation: Operation<AttemptNumbers>) {
        self.heat(&operation);
        if let Operation::Repair { blocks, data } = &operation
            && self.fits(*blocks, data)
        {
            self.fitted.push(key);
        }
        let pending = match operation {
            Operation::Flush => PendingOperation::Flush(self.flushed + self.cache.len()),
            operation => PendingOperation::Data(operation),
        };
        self.pending.push((key, pending));
    }

    pub fn store(&mut self, key: u64, change: DurableChange) {
        self.pending.push((key, PendingOperation::Store(change)));
    }

    /// Completes an operation. Returns None if a crash has discarded it.
    pub fn end(&mut self, key: u64, random: &mut Random) -> Option<DiskResult<AttemptNumbers>> {
        let place = self.pending.iter().position(|(k, _)| *k == key)?;
        let (_, pending) = self.pending.remove(place);
        if self.faults.dead || self.is_bad(&pending) {
            if random.percent(50) {
                self.partly(pending.clone(), random);
            }
            self.failed(&pending);
            return Some(DiskResult::Failed);
        }
        Some(match pending {
            PendingOperation::Data(Operation::Read(blocks)) => self.read(blocks),
            PendingOperation::Data(Operation::Repair { blocks, data }) => {
                self.repair(key, blocks, &data)
            }
            PendingOperation::Data(Operation::Write { blocks, body, fua }) => {
                for (place, block) in blocks.iter().enumerate() {
                    self.write(block, value(&body, place), fua);
                    if let Some(sums) = &mut self.sums {
                        sums.set(block, value(&body, place));
                    }
                }
                DiskResult::Done
            }
            PendingOperation::Data(Operation::Flush) => DiskResult::Done,
            PendingOperation::Flush(covered) => {
                if !self.faults.lies {
                    let count = covered.saturating_sub(self.flushed).min(self.cache.len());
                    for (block, value) in self.cache.drain(..count) {
                        self.durable[block as usize] = value;
                    }
                    self.flushed = self.flushed.max(covered);
                    self.cool(random);
                }
                DiskResult::Done
            }
            PendingOperation::Store(change) => {
                self.kept.apply(self.geometry, &change);
                DiskResult::Done
            }
        })
    }

    pub fn kill(&mut self, random: &mut Random) {
        for (_, pending) in std::mem::take(&mut self.pending) {
            if random.percent(60) {
                self.partly(pending, random);
            }
        }
        if let Some(sums) = &mut self.sums {
            sums.crash(&mut self.image);
        }
    }

    /// Simulates a power loss: any part of the unflushed writes may survive.
    pub fn cut_power(&mut self, random: &mut Random) {
        for (_, pending) in std::mem::take(&mut self.pending) {
            if random.percent(60) {
                self.partly(pending, random);
            }
        }
        let keep = random.pick(&[0, 0, 30, 70, 100]);
        for (block, value) in std::mem::take(&mut self.cache) {
            if random.percent(keep) {
                self.durable[block as usize] = value;
            }
        }
        self.flushed = 0;
        if let Some(sums) = &mut self.sums {
            sums.crash(&mut self.durable);
        }
        self.image.clone_from(&self.durable);
    }

    pub fn prepare(&mut self, from: u64, to: u64) {
        let range = from as usize..to as usize;
        self.cache
            .retain(|(block, _)| !range.contains(&(*block as usize)));
        if let Some(sums) = &mut self.sums {
            sums.clear(range.clone());
        }
        self.image[range.clone()].fill(0);
        self.durable[range].fill(0);
    }

    pub fn is_idle(&self) -> bool {
        self.pending.is_empty()
    }

    fn is_bad(&self, pending: &PendingOperation) -> bool {
        let Some(bad) = self.faults.bad_block else {
            return false;
        };
        match pending {
            PendingOperation::Data(
                Operation::Read(blocks)
                | Operation::Write { blocks, .. }
                | Operation::Repair { blocks, .. },
            ) => blocks.iter().any(|block| block == bad),
            _ => false,
        }
    }

    fn partly(&mut self, pending: PendingOperation, random: &mut Random) {
        match pending {
            PendingOperation::Data(Operation::Write { blocks, body, .. }) => {
                for (place, block) in blocks.iter().enumerate() {
                    if random.percent(60) {
                        self.write(block, value(&body, place), false);
                    }
                }
            }
            PendingOperation::Data(Operation::Repair { blocks, data })
                if self.fits(blocks, &data) =>
            {
                for (place, block) in blocks.iter().enumerate() {
                    self.write(block, data.0[place], false);
                }
            }
            PendingOperation::Store(change) => match random.below(3) {
                0 => self.kept.apply(self.geometry, &change),
                // The crash comes after the dirty bits were stored, and before head and log.
                1 => {
                    let (head, hot) = (self.kept.head, self.kept.hot.clone());
                    self.kept.apply(
                        self.geometry,
                        &DurableChange {
                            head,
                            hot,
                            ..change
                        },
                    );
                }
                _ => {}
            },
            PendingOperation::Data(_) | PendingOperation::Flush(_) => {}
        }
    }

    /// Recomputes the checksums of blocks with unknown content from the disk. Rot in these blocks
    /// then counts as valid, as after a crash.
    fn failed(&mut self, pending: &PendingOperation) {
        let (PendingOperation::Data(Operation::Write { blocks, .. }), Some(sums)) =
            (pending, &mut self.sums)
        else {
            return;
        };
        for block in blocks.iter() {
            let content = &mut self.image[block as usize];
            if is_rotten(*content) {
                *content = sums.get(block);
                self.durable[block as usize] = *content;
            } else {
                sums.set(block, *content)
            }
        }
    }

    /// Trusts checksums after a crash again as soon as their blocks are on stable storage.
    fn cool(&mut self, random: &mut Random) {
        let Some(mut sums) = self.sums.take() else {
            return;
        };
        sums.cool(
            |block| self.is_written(block) || self.is_cached(block),
            random,
        );
        self.sums = Some(sums);
    }

    fn write(&mut self, block: u64, value: u32, fua: bool) {
        self.image[block as usize] = value;
        if fua && !self.faults.lies {
            self.durable[block as usize] = value;
            // Prevents a value that was cached earlier from overwriting this one.
            let value = |entry: &mut (u64, u32)| {
                if entry.0 == block {
                    entry.1 = value;
                }
            };
            self.cache.iter_mut().for_each(value);
        } else {
            self.cache.push((block, value));
        }
    }
}

fn value(body: &WriteContent<AttemptNumbers>, place: usize) -> u32 {
    match body {
        WriteContent::Data(content) => content.0[place],
        WriteContent::Zero | WriteContent::Trim => 0,
    }
}
