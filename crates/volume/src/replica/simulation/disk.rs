//! A disk with a volatile cache: what was not flushed may vanish with the power, in any
//! part; what was under way may have happened in part.

use super::Content;
use crate::replica::{Body, Change, DiskResult, Durable, Geometry, Operation};
use lab::Random;

/// What is wrong with a disk.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// Operations that begin do not end before this time.
    pub stalled_until: u64,
    /// This block cannot be read or written.
    pub bad_block: Option<u64>,
    /// Nothing works.
    pub dead: bool,
    /// A flush is reported and does nothing.
    pub lies: bool,
}

/// An operation under way.
#[derive(Clone, Debug)]
enum Pending {
    Data(Operation<Content>),
    /// With the number of cached writes that it covers.
    Flush(usize),
    Store(Change),
}

/// The disk of a machine.
#[derive(Clone, Debug)]
pub struct Disk {
    geometry: Geometry,
    /// What reads return.
    pub image: Vec<u32>,
    durable: Vec<u32>,
    /// Writes that are not flushed, with a place in the order of all.
    cache: Vec<(u64, u32)>,
    flushed: usize,
    /// What the copy stores beside its data.
    pub kept: Durable,
    pending: Vec<(u64, Pending)>,
    pub faults: Faults,
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
        }
    }

    /// It works again, and lies if it did.
    pub fn heal(&mut self) {
        self.faults = Faults {
            lies: self.faults.lies,
            ..Faults::default()
        };
    }

    /// An operation begins; its key is the caller's.
    pub fn begin(&mut self, key: u64, operation: Operation<Content>) {
        let pending = match operation {
            Operation::Flush => Pending::Flush(self.flushed + self.cache.len()),
            operation => Pending::Data(operation),
        };
        self.pending.push((key, pending));
    }

    /// A store begins.
    pub fn store(&mut self, key: u64, change: Change) {
        self.pending.push((key, Pending::Store(change)));
    }

    /// The operation takes effect. None: it was lost in a crash.
    pub fn end(&mut self, key: u64, random: &mut Random) -> Option<DiskResult<Content>> {
        let place = self.pending.iter().position(|(k, _)| *k == key)?;
        let (_, pending) = self.pending.remove(place);
        if self.faults.dead || self.is_bad(&pending) {
            if random.percent(50) {
                self.partly(pending, random);
            }
            return Some(DiskResult::Failed);
        }
        Some(match pending {
            Pending::Data(Operation::Read(blocks)) => {
                let values = blocks.iter().map(|block| self.image[block as usize]);
                DiskResult::Data(Content(values.collect()))
            }
            Pending::Data(Operation::Write { blocks, body, fua }) => {
                for (place, block) in blocks.iter().enumerate() {
                    self.write(block, value(&body, place), fua);
                }
                DiskResult::Done
            }
            Pending::Data(Operation::Flush) => DiskResult::Done,
            Pending::Flush(covered) => {
                if !self.faults.lies {
                    let count = covered.saturating_sub(self.flushed).min(self.cache.len());
                    for (block, value) in self.cache.drain(..count) {
                        self.durable[block as usize] = value;
                    }
                    self.flushed = self.flushed.max(covered);
                }
                DiskResult::Done
            }
            Pending::Store(change) => {
                self.kept.apply(self.geometry, &change);
                DiskResult::Done
            }
        })
    }

    /// The process is killed: what it had under way may have happened.
    pub fn kill(&mut self, random: &mut Random) {
        for (_, pending) in std::mem::take(&mut self.pending) {
            if random.percent(60) {
                self.partly(pending, random);
            }
        }
    }

    /// The power is gone: of what was not flushed, any part may be there.
    pub fn cut_power(&mut self, random: &mut Random) {
        self.kill(random);
        let keep = random.pick(&[0, 0, 30, 70, 100]);
        for (block, value) in std::mem::take(&mut self.cache) {
            if random.percent(keep) {
                self.durable[block as usize] = value;
            }
        }
        self.flushed = 0;
        self.image.clone_from(&self.durable);
    }

    /// Makes blocks zeros, at once and for good.
    pub fn prepare(&mut self, from: u64, to: u64) {
        let range = from as usize..to as usize;
        self.cache
            .retain(|(block, _)| !range.contains(&(*block as usize)));
        self.image[range.clone()].fill(0);
        self.durable[range].fill(0);
    }

    /// Returns whether nothing is under way.
    pub fn is_idle(&self) -> bool {
        self.pending.is_empty()
    }

    fn is_bad(&self, pending: &Pending) -> bool {
        let Some(bad) = self.faults.bad_block else {
            return false;
        };
        match pending {
            Pending::Data(Operation::Read(blocks) | Operation::Write { blocks, .. }) => {
                blocks.iter().any(|block| block == bad)
            }
            _ => false,
        }
    }

    fn partly(&mut self, pending: Pending, random: &mut Random) {
        match pending {
            Pending::Data(Operation::Write { blocks, body, .. }) => {
                for (place, block) in blocks.iter().enumerate() {
                    if random.percent(60) {
                        self.write(block, value(&body, place), false);
                    }
                }
            }
            Pending::Store(change) => match random.below(3) {
                0 => self.kept.apply(self.geometry, &change),
                // The bits only: head and log follow them.
                1 => {
                    let (head, hot) = (self.kept.head, self.kept.hot.clone());
                    self.kept.apply(
                        self.geometry,
                        &Change {
                            head,
                            hot,
                            ..change
                        },
                    );
                }
                _ => {}
            },
            Pending::Data(_) | Pending::Flush(_) => {}
        }
    }

    fn write(&mut self, block: u64, value: u32, fua: bool) {
        self.image[block as usize] = value;
        if fua && !self.faults.lies {
            self.durable[block as usize] = value;
            // An older value of the cache does not come back.
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

fn value(body: &Body<Content>, place: usize) -> u32 {
    match body {
        Body::Data(content) => content.0[place],
        Body::Zero | Body::Trim => 0,
    }
}
