//! Simulates histories of one replica with checksums. The disk loses unflushed writes, tears writes
//! in flight and returns errors; power fails, and stored bits flip. A seed reproduces a history.
//!
//! The disk knows its rotten blocks. Each read of a rotten block must detect it, unless its
//! checksum was untrusted meanwhile. No read of an intact block may fail the check.
//!
//! `VOLUME_SEED=n cargo test -p evenkeel-volume sums::simulation` repeats the history `n`.

use super::keeper::{BlockEffect, Id, Keeper, KeeperAction, Limits, Store};
use super::record::{ChecksumLogRecord, RECORD_BYTES, SLOTS, decode_page};
use super::{PAGE_BLOCKS, Sum, UNKNOWN, pages_of, sum_of};
use lab::{Random, setting};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

const SEEDS: u64 = 500;
/// Number of histories within which each defect must be found.
const DEFECT_SEEDS: u64 = 1_000;
const STEPS: u64 = 400;
/// Number of rotten blocks per page that are read at the end.
const ROTTEN_MAX: usize = 4;
/// Number of blocks that clients use, from the start of each page and at the volume's end.
const USED: u64 = 5;
const LIMITS: Limits = Limits {
    cached: 5,
    hot: 3,
    batch: 2,
    idle_ms: 50,
};

/// Deliberate bugs in the keeper. The simulation has to find each of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum ChecksumDefect {
    /// Bug: a write begins before its page is in the log.
    WriteBeforeLog,
    /// Bug: checksums of hot pages are trusted after a crash.
    HotSumsBelieved,
    /// Bug: a page leaves the log before its data is flushed.
    DataNotFlushed,
    /// Bug: a page leaves the log before it is stored.
    PageNotStored,
    /// Bug: a failed write keeps the old checksums.
    FailedWriteKeepsSums,
    OverlapsRun,
    /// Bug: new checksums reuse the draw of dropped ones.
    DrawRepeated,
    /// Bug: data read is not verified.
    ReadNotChecked,
    /// Bug: blocks added by growth count as built.
    GrowthCountsAsBuilt,
    /// Bug: a repair begins during a write of its block.
    RepairOverlaps,
}

const DEFECTS: [ChecksumDefect; 10] = [
    ChecksumDefect::WriteBeforeLog,
    ChecksumDefect::HotSumsBelieved,
    ChecksumDefect::DataNotFlushed,
    ChecksumDefect::PageNotStored,
    ChecksumDefect::FailedWriteKeepsSums,
    ChecksumDefect::OverlapsRun,
    ChecksumDefect::DrawRepeated,
    ChecksumDefect::ReadNotChecked,
    ChecksumDefect::GrowthCountsAsBuilt,
    ChecksumDefect::RepairOverlaps,
];

/// Modifies a store according to a defect.
pub(super) fn spoil(mut store: Store, defect: Option<ChecksumDefect>) -> Store {
    match defect {
        Some(ChecksumDefect::DataNotFlushed) => store.flushes_data = false,
        Some(ChecksumDefect::PageNotStored) => store.pages.clear(),
        _ => {}
    }
    store
}

/// Content of a block on the simulated disk.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
struct Cell {
    content: u64,
    /// Content as it was written, if the block has rotted.
    was: u64,
    is_rotten: bool,
    /// True if the checksum was not trusted at some time since the block rotted.
    is_excused: bool,
}

#[derive(Debug)]
enum Work {
    Data {
        id: Id,
        kind: BlockEffect,
        blocks: Range<u64>,
        content: u64,
        /// Data that a read returned, once the disk has executed it.
        landed: Option<Vec<Cell>>,
        is_discard: bool,
    },
    Load(u32),
    Store(Store, u8),
    Build(Id, Range<u64>),
    /// Repair: blocks, the content to write, and whether it was written.
    Repair(Id, Range<u64>, Vec<u64>, bool),
}

#[derive(Default)]
struct Disk {
    cells: BTreeMap<u64, Cell>,
    cached: Vec<(u64, Cell)>,
    pages: BTreeMap<u32, Vec<u8>>,
    cached_pages: Vec<(u32, Vec<u8>)>,
    ring: Vec<u8>,
}

struct ChecksumSimulation {
    random: Random,
    disk: Disk,
    keeper: Option<Keeper>,
    work: Vec<Work>,
    asked: BTreeMap<Id, (BlockEffect, Range<u64>, bool)>,
    building: bool,
    blocks: u64,
    next: u64,
    now_ms: u64,
    draw: u64,
    defect: Option<ChecksumDefect>,
    /// Blocks that may have no checksum, because a read or change failed.
    lacks: BTreeSet<u64>,
    /// Number of rotten blocks that reads have found.
    found: u64,
}

impl Disk {
    fn cell(&self, block: u64) -> Cell {
        let cached = self.cached.iter().rev().find(|(one, _)| *one == block);
        let cell = cached.map(|(_, cell)| *cell);
        cell.or_else(|| self.cells.get(&block).copied())
            .unwrap_or_default()
    }

    fn flush(&mut self) {
        self.cells.extend(self.cached.drain(..));
    }

    fn page(&self, index: u32) -> Option<&Vec<u8>> {
        let cached = self
            .cached_pages
            .iter()
            .rev()
            .find(|(one, _)| *one == index);
        cached
            .map(|(_, page)| page)
            .or_else(|| self.pages.get(&index))
    }

    /// Changes all versions of a block, cached or stored.
    fn each(&mut self, block: u64, change: impl Fn(&mut Cell)) {
        let cached = self.cached.iter_mut().filter(|(one, _)| *one == block);
        cached.for_each(|(_, cell)| change(cell));
        self.cells.get_mut(&block).into_iter().for_each(change);
    }
}

impl ChecksumSimulation {
    fn new(seed: u64, defect: Option<ChecksumDefect>) -> ChecksumSimulation {
        let mut random = Random::new(seed);
        let blocks = PAGE_BLOCKS * random.between(3, 7) + random.below(PAGE_BLOCKS);
        let mut world = ChecksumSimulation {
            random,
            disk: Disk {
                ring: vec![0; SLOTS as usize * RECORD_BYTES],
                ..Disk::default()
            },
            keeper: None,
            work: Vec::new(),
            asked: BTreeMap::new(),
            building: false,
            blocks,
            next: 0,
            now_ms: 0,
            draw: 0,
            defect,
            lacks: BTreeSet::new(),
            found: 0,
        };
        world.open();
        world
    }

    /// Opens the checksums as the driver does at its start.
    fn open(&mut self) {
        let slot = ChecksumLogRecord::newest(&self.disk.ring).unwrap_or_else(|| {
            if self.defect != Some(ChecksumDefect::DrawRepeated) || self.draw == 0 {
                self.draw += 1;
            }
            let slot = ChecksumLogRecord {
                number: 1,
                draw: self.draw,
                offset: 0,
                blocks: self.blocks,
                built: 0,
                hot: Vec::new(),
            };
            self.write_slot(&slot);
            slot
        });
        // A rotten block of a hot page gets a checksum of its rotten content.
        let mut hot = slot.hot.clone();
        let mut slot = slot;
        if self.defect == Some(ChecksumDefect::HotSumsBelieved) {
            slot.hot.clear();
            hot.clear();
        }
        if self.defect == Some(ChecksumDefect::GrowthCountsAsBuilt)
            && slot.built >= pages_of(slot.blocks)
        {
            (slot.blocks, slot.built) = (self.blocks, pages_of(self.blocks));
        }
        for index in hot {
            self.excuse(u64::from(index) * PAGE_BLOCKS..u64::from(index + 1) * PAGE_BLOCKS);
        }
        let mut keeper = Keeper::open(slot, self.blocks, LIMITS);
        keeper.defect = self.defect;
        self.keeper = Some(keeper);
        self.building = false;
    }

    fn excuse(&mut self, blocks: Range<u64>) {
        self.lacks.extend(blocks.clone());
        for block in blocks {
            self.disk
                .each(block, |cell| cell.is_excused |= cell.is_rotten);
        }
    }

    fn write_slot(&mut self, slot: &ChecksumLogRecord) {
        let at = slot.place() as usize;
        self.disk.ring[at..at + RECORD_BYTES].copy_from_slice(&slot.encode());
    }

    fn blocks_of(&mut self) -> Range<u64> {
        let pages = u64::from(pages_of(self.blocks));
        let page = self.random.below(pages) * PAGE_BLOCKS;
        let first = match self.random.below(3) {
            // Begins in the page before, so that the range crosses the end of a page.
            0 if page > 0 => page - 1,
            1 => (self.blocks - USED).max(page),
            _ => page + self.random.below(USED),
        };
        let first = first.min(self.blocks - 1);
        first..(first + 1 + self.random.below(3)).min(self.blocks)
    }

    fn ask(&mut self) {
        let blocks = self.blocks_of();
        self.next += 1;
        let id = Id(self.next);
        let (kind, blocks) = match self.random.below(11) {
            0..=4 => (BlockEffect::Read, blocks),
            5..=9 => (BlockEffect::Change, blocks),
            _ => (BlockEffect::Repair, self.one_rotten().unwrap_or(blocks)),
        };
        let is_discard = self.random.once_in(12);
        if let Some(keeper) = &mut self.keeper {
            self.asked.insert(id, (kind, blocks.clone(), is_discard));
            keeper.request(id, kind, blocks);
        } else if kind == BlockEffect::Change {
            let content = self.random.next();
            self.write(blocks, content);
        }
    }

    /// Picks a rotten block, if there is one.
    fn one_rotten(&mut self) -> Option<Range<u64>> {
        let rotten = self.disk.cells.iter().filter(|(_, cell)| cell.is_rotten);
        let rotten: Vec<u64> = rotten.map(|(block, _)| *block).collect();
        let place = self.random.index(rotten.len().max(1));
        let block = rotten.get(place).filter(|block| **block < self.blocks)?;
        Some(*block..block + 1)
    }

    /// Repairs blocks with content of the other replica: the last content written here, or an older
    /// one. The data is written only if it matches the known checksums.
    fn repair(&mut self, id: Id, blocks: Range<u64>) {
        let is_old = self.random.percent(20);
        let cells: Vec<Cell> = blocks.clone().map(|block| self.disk.cell(block)).collect();
        let was = |cell: &Cell| match (is_old, cell.is_rotten) {
            (true, _) => !cell.content,
            (_, true) => cell.was,
            (_, false) => cell.content,
        };
        let contents: Vec<u64> = cells.iter().map(was).collect();
        let cell = |content: &u64| Cell {
            content: *content,
            ..Cell::default()
        };
        let all = blocks.clone().zip(contents.iter().map(cell));
        let sums: Vec<Sum> = all.map(|(block, cell)| Self::sum(block, cell)).collect();
        let Some(keeper) = &mut self.keeper else {
            return;
        };
        if keeper.matches(id, &sums) {
            self.work.push(Work::Repair(id, blocks, contents, false))
        } else {
            keeper.unchanged(id)
        }
    }

    fn write(&mut self, blocks: Range<u64>, content: u64) {
        for block in blocks {
            let cell = Cell {
                content,
                ..Cell::default()
            };
            self.disk.cached.push((block, cell));
        }
    }

    fn settle(&mut self) {
        let Some(keeper) = &mut self.keeper else {
            return;
        };
        if !self.building && self.random.percent(30) {
            self.next += 1;
            self.building = keeper.build(Id(self.next));
        }
        let mut actions = Vec::new();
        keeper.settle(self.now_ms, &mut actions);
        for action in actions {
            match action {
                KeeperAction::Start(id) => {
                    let (kind, blocks, is_discard) = self.asked.remove(&id).expect("asked for");
                    if kind == BlockEffect::Repair {
                        self.repair(id, blocks);
                        continue;
                    }
                    self.work.push(Work::Data {
                        id,
                        kind,
                        blocks,
                        content: self.random.next(),
                        landed: None,
                        is_discard: is_discard && kind == BlockEffect::Change,
                    });
                }
                KeeperAction::Load(index) => self.work.push(Work::Load(index)),
                KeeperAction::Store(store) => self.work.push(Work::Store(store, 0)),
                KeeperAction::Build(_, blocks) if blocks.is_empty() => self.building = false,
                KeeperAction::Build(id, blocks) => self.work.push(Work::Build(id, blocks)),
            }
        }
    }

    /// Advances one operation. `may_fail` permits an error.
    fn progress(&mut self, may_fail: bool) -> Result<(), String> {
        if self.work.is_empty() {
            return Ok(());
        }
        let place = self.random.index(self.work.len());
        let fails = may_fail && self.random.once_in(25);
        match self.work.swap_remove(place) {
            Work::Data {
                id,
                kind,
                blocks,
                content,
                landed: None,
                is_discard,
            } => {
                let cells = blocks.clone().map(|block| self.disk.cell(block)).collect();
                if kind == BlockEffect::Change {
                    self.write(blocks.clone(), content);
                }
                self.work.push(Work::Data {
                    id,
                    kind,
                    blocks,
                    content,
                    landed: Some(cells),
                    is_discard,
                });
                Ok(())
            }
            Work::Data {
                id,
                kind: BlockEffect::Change,
                blocks,
                content,
                is_discard,
                ..
            } => {
                self.changed(id, blocks, content, fails || is_discard);
                Ok(())
            }
            Work::Data {
                id, blocks, landed, ..
            } => self.read(id, &blocks, &landed.unwrap_or_default()),
            Work::Load(index) => {
                let bytes = self.disk.page(index).cloned().filter(|_| !fails);
                let keeper = self.keeper.as_mut().ok_or("a keeper")?;
                keeper.loaded(index, bytes.as_deref());
                if fails {
                    self.excuse(u64::from(index) * PAGE_BLOCKS..u64::from(index + 1) * PAGE_BLOCKS);
                }
                Ok(())
            }
            Work::Store(store, step) => {
                self.store(store, step, fails);
                Ok(())
            }
            Work::Build(id, blocks) => self.build(id, blocks, fails),
            Work::Repair(id, _, _, has_landed) if has_landed || fails => {
                let keeper = self.keeper.as_mut().ok_or("a keeper")?;
                keeper.unchanged(id);
                Ok(())
            }
            Work::Repair(id, blocks, contents, _) => {
                self.repairs(id, blocks, contents);
                Ok(())
            }
        }
    }

    fn repairs(&mut self, id: Id, blocks: Range<u64>, contents: Vec<u64>) {
        for (block, content) in blocks.clone().zip(&contents) {
            self.write(block..block + 1, *content);
        }
        self.work.push(Work::Repair(id, blocks, contents, true));
    }

    fn build(&mut self, id: Id, blocks: Range<u64>, fails: bool) -> Result<(), String> {
        if fails {
            self.lacks.extend(blocks.clone())
        } else {
            self.lacks.retain(|block| !blocks.contains(block))
        }
        let sums: Vec<Sum> = blocks
            .map(|one| Self::sum(one, self.disk.cell(one)))
            .collect();
        let keeper = self.keeper.as_mut().ok_or("a keeper")?;
        keeper.built(id, Some(&sums).filter(|_| !fails).map(|sums| &sums[..]));
        self.building = false;
        Ok(())
    }

    fn sum(block: u64, cell: Cell) -> Sum {
        sum_of(block, &cell.content.to_le_bytes())
    }

    fn changed(&mut self, id: Id, blocks: Range<u64>, content: u64, fails: bool) {
        let cell = Cell {
            content,
            ..Cell::default()
        };
        let sums: Vec<Sum> = blocks.clone().map(|block| Self::sum(block, cell)).collect();
        let Some(keeper) = &mut self.keeper else {
            return;
        };
        if fails {
            keeper.changed(id, None);
            self.excuse(blocks);
        } else {
            keeper.changed(id, Some(&sums))
        }
    }

    fn read(&mut self, id: Id, blocks: &Range<u64>, cells: &[Cell]) -> Result<(), String> {
        let sums = blocks.clone().zip(cells);
        let sums: Vec<Sum> = sums.map(|(block, cell)| Self::sum(block, *cell)).collect();
        let keeper = self.keeper.as_mut().ok_or("a keeper")?;
        let mut wrong = keeper.read(id, Some(&sums));
        if self.defect == Some(ChecksumDefect::ReadNotChecked) {
            wrong.clear();
        }
        for (block, cell) in blocks.clone().zip(cells) {
            let is_found = wrong.contains(&block);
            if is_found && !cell.is_rotten {
                return Err(format!(
                    "block {block} is right, and counts as rotten: {cell:?}"
                ));
            }
            if !is_found && cell.is_rotten && !cell.is_excused {
                return Err(format!("a read returns the rotten block {block}: {cell:?}"));
            }
            self.found += u64::from(is_found);
        }
        Ok(())
    }

    fn store(&mut self, store: Store, step: u8, fails: bool) {
        match step {
            0 if !fails => {
                if store.flushes_data {
                    self.disk.flush();
                }
                self.disk.cached_pages.extend(store.pages.iter().cloned());
                self.work.push(Work::Store(store, 1));
            }
            1 if !fails => {
                let cached = std::mem::take(&mut self.disk.cached_pages);
                self.disk.pages.extend(cached);
                self.work.push(Work::Store(store, 2));
            }
            _ => {
                if !fails || step == 2 && self.random.percent(50) {
                    self.write_slot(&store.slot);
                }
                if let Some(keeper) = &mut self.keeper {
                    keeper.stored(!fails);
                    for id in if fails { keeper.give_up() } else { Vec::new() } {
                        // A request that no client has sent is a build.
                        if self.asked.remove(&id).is_none() {
                            self.building = false;
                        }
                    }
                }
            }
        }
    }

    /// Simulates a power failure or a kill. Operations in flight take effect in part.
    fn crash(&mut self, is_power: bool) {
        for work in std::mem::take(&mut self.work) {
            match work {
                Work::Data {
                    kind: BlockEffect::Change,
                    blocks,
                    content,
                    landed: None,
                    ..
                } => {
                    for block in blocks {
                        if self.random.percent(50) {
                            self.write(block..block + 1, content);
                        }
                    }
                }
                Work::Repair(_, blocks, contents, false) => {
                    for (block, content) in blocks.zip(contents) {
                        if self.random.percent(50) {
                            self.write(block..block + 1, content);
                        }
                    }
                }
                Work::Store(store, 0) => self.disk.cached_pages.extend(store.pages),
                Work::Store(store, 2) => match self.random.below(3) {
                    0 => self.write_slot(&store.slot),
                    1 => {
                        let at = store.slot.place() as usize;
                        let whole = store.slot.encode();
                        self.disk.ring[at..at + 512].copy_from_slice(&whole[..512]);
                    }
                    _ => {}
                },
                _ => {}
            }
        }
        if is_power {
            for (block, cell) in std::mem::take(&mut self.disk.cached) {
                if self.random.percent(50) {
                    self.disk.cells.insert(block, cell);
                }
            }
            for (index, page) in std::mem::take(&mut self.disk.cached_pages) {
                match self.random.below(3) {
                    0 => drop(self.disk.pages.insert(index, page)),
                    1 => {
                        let mut torn = page.clone();
                        torn[2048..].fill(0);
                        self.disk.pages.insert(index, torn);
                    }
                    _ => {}
                }
            }
        }
        self.asked.clear();
        self.keeper = None;
    }

    /// Flips a bit in a block without operations in flight.
    fn rot(&mut self) {
        let block = self.blocks_of().start;
        let is_used = self.work.iter().any(|work| match work {
            Work::Data { blocks, .. } | Work::Build(_, blocks) | Work::Repair(_, blocks, ..) => {
                blocks.contains(&block)
            }
            _ => false,
        });
        if is_used || self.disk.cell(block).is_rotten {
            return;
        }
        self.disk.flush();
        let index = (block / PAGE_BLOCKS) as u32;
        let stored = self.disk.page(index);
        let stored = stored.and_then(|bytes| decode_page(bytes, self.draw, index));
        let stored = stored.map_or(UNKNOWN, |sums| sums[(block % PAGE_BLOCKS) as usize]);
        let has = |keeper: &Keeper| keeper.sum_known(block);
        let in_memory = self.keeper.as_ref().and_then(has);
        let known = in_memory.unwrap_or(self.keeper.is_some() && stored != UNKNOWN);
        let own = self.disk.cell(block).content;
        let mut others = self.disk.cells.values().map(|cell| cell.content);
        let other = others.find(|content| *content != own);
        // The content of another block at this position is wrong, too.
        let now = match other.filter(|_| self.random.percent(30)) {
            Some(other) => other,
            None => own ^ 1 << self.random.below(64),
        };
        let cell = Cell {
            content: now,
            was: own,
            is_rotten: true,
            is_excused: !known,
        };
        self.disk.cells.insert(block, cell);
    }

    /// Stops the driver cleanly and starts another one.
    fn restart(&mut self) -> Result<(), String> {
        self.quiesce(true)?;
        let slot = ChecksumLogRecord::newest(&self.disk.ring).ok_or("a slot")?;
        let keeper = self.keeper.take().ok_or("a keeper")?;
        if !keeper.is_cold() {
            return Err(format!("pages are left in the log: {slot:?}"));
        }
        self.open();
        Ok(())
    }

    /// Runs until all requests have ended.
    fn quiesce(&mut self, ends: bool) -> Result<(), String> {
        for _ in 0..20_000 {
            self.now_ms += 100;
            let keeper = self.keeper.as_mut().ok_or("a keeper")?;
            keeper.ends = ends;
            self.settle();
            self.progress(false)?;
            let keeper = self.keeper.as_ref().ok_or("a keeper")?;
            let is_done = self.work.is_empty() && self.asked.is_empty();
            if is_done && (!ends || keeper.is_cold()) && (ends || keeper.is_built()) {
                return Ok(());
            }
        }
        Err(format!("it stands still: {:?}", self.keeper))
    }

    /// Runs without checksums for a while: removes the option, uses the volume, and adds the option
    /// again.
    fn without(&mut self) {
        self.crash(false);
        self.disk.ring.fill(0);
        for _ in 0..self.random.below(6) {
            self.ask();
        }
        let blocks = self.blocks;
        self.excuse(0..blocks);
        self.open();
    }

    fn step(&mut self) -> Result<(), String> {
        self.now_ms += self.random.below(20);
        match self.random.below(100) {
            0..=39 => self.ask(),
            40 => {
                let is_power = self.random.percent(70);
                self.crash(is_power);
                if self.random.once_in(3) {
                    self.blocks += self.random.below(2 * PAGE_BLOCKS);
                }
                self.open();
            }
            41 => self.restart()?,
            42 if self.random.once_in(3) => self.without(),
            43..=46 => self.rot(),
            47 => self.now_ms += 1_000,
            48 => self.disk.flush(),
            _ => self.progress(true)?,
        }
        self.settle();
        Ok(())
    }

    fn run(&mut self) -> Result<(), String> {
        for _ in 0..STEPS {
            self.step()?;
        }
        self.quiesce(false)?;
        // Each block has a checksum now, so each read is verified.
        let pages = u64::from(pages_of(self.blocks));
        for page in 0..pages {
            let first = page * PAGE_BLOCKS;
            let at = self
                .random
                .between(first, self.blocks.min(first + PAGE_BLOCKS));
            let rotten = self.disk.cells.range(first..first + PAGE_BLOCKS);
            let rotten = rotten.filter(|(_, cell)| cell.is_rotten);
            let rotten = rotten.map(|(block, _)| *block).take(ROTTEN_MAX);
            let rotten: Vec<u64> = rotten.filter(|block| *block < self.blocks).collect();
            for block in [first, at.min(self.blocks - 1)].into_iter().chain(rotten) {
                self.next += 1;
                let keeper = self.keeper.as_mut().ok_or("a keeper")?;
                let blocks = block..block + 1;
                keeper.request(Id(self.next), BlockEffect::Read, blocks.clone());
                self.asked
                    .insert(Id(self.next), (BlockEffect::Read, blocks, false));
            }
            self.quiesce(false)?;
            let keeper = self.keeper.as_ref().ok_or("a keeper")?;
            let has_none = |block: &u64| {
                keeper.sum_known(*block) == Some(false) && !self.lacks.contains(block)
            };
            let mut of_page = first..self.blocks.min(first + PAGE_BLOCKS);
            if let Some(block) = of_page.find(has_none) {
                return Err(format!("block {block} has no sum"));
            }
        }
        self.restart()
    }
}

fn run(seed: u64, defect: Option<ChecksumDefect>) -> Result<u64, String> {
    let mut world = ChecksumSimulation::new(seed, defect);
    world.run().map(|()| world.found)
}

#[test]
fn reads_refuse_damaged_data_and_only_that() {
    if let Some(seed) = setting("VOLUME_SEED") {
        run(seed, None).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
        return;
    }
    let mut found = 0;
    for seed in 0..setting("VOLUME_SEEDS").unwrap_or(SEEDS) {
        found += run(seed, None).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
    }
    assert!(found > 0, "reads find rotten blocks");
}

#[test]
fn each_defect_is_found() {
    for defect in DEFECTS {
        let found = (0..DEFECT_SEEDS).find(|seed| run(*seed, Some(defect)).is_err());
        assert!(found.is_some(), "{defect:?} is not found");
    }
}
