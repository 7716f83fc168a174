//! Decides which operations of a replica with checksums may begin, as a state machine without I/O
//! and clock. It tracks known checksums and the pages in the log. The driver executes the returned
//! actions in order and reports their results.

use super::record::{ChecksumLogRecord, HOT_MAX, Sums, decode_page, encode_page};
use super::{PAGE_BLOCKS, Sum, UNKNOWN, pages_of};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;

/// Length of one build read, blocks: an eighth of a page.
pub(super) const BUILD_BLOCKS: u64 = PAGE_BLOCKS / 8;

const LOOK_MS: u64 = 1_000;

/// Limits in pages of checksums: `cached` pages in memory, `hot` pages in the log, and `batch`
/// pages that leave the log in one store.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) cached: usize,
    pub(super) hot: usize,
    pub(super) batch: usize,
    /// Time after which an unused page leaves the log, milliseconds.
    pub(super) idle_ms: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            cached: 1024,
            hot: 768.min(HOT_MAX),
            batch: 64,
            idle_ms: 10_000,
        }
    }
}

/// Identifier of a request, chosen by the driver.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) struct Id(pub(super) u64);

/// Effect of a request on the blocks of data. A build reads them to compute missing checksums. A
/// repair rewrites the data to which the known checksums belong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum BlockEffect {
    Read,
    Change,
    Build,
    Repair,
}

impl BlockEffect {
    fn needs_log(self) -> bool {
        matches!(self, BlockEffect::Change | BlockEffect::Build)
    }
}

#[derive(PartialEq, Eq, Debug)]
pub(super) enum KeeperAction {
    Start(Id),
    /// Read a page of checksums, then call [`Keeper::loaded`].
    Load(u32),
    /// Store this update, then call [`Keeper::stored`].
    Store(Store),
    /// Read these blocks, then report their checksums with [`Keeper::built`].
    Build(Id, Range<u64>),
}

/// Update of the checksums on disk. Each step is durable before the next one begins.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Store {
    /// Flush the data, in the same step as writing the pages.
    pub(super) flushes_data: bool,
    pub(super) pages: Vec<(u32, Vec<u8>)>,
    pub(super) slot: ChecksumLogRecord,
}

/// State of a page of checksums with regard to the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Heat {
    Cold,
    Warming,
    Hot,
    Cooling,
}

struct ChecksumPage {
    /// None while the page is being read.
    sums: Option<Sums>,
    heat: Heat,
    users: u32,
    used_ms: u64,
    turn: u64,
}

impl std::fmt::Debug for ChecksumPage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let is_there = self.sums.is_some();
        write!(f, "{:?}, {} users, read: {is_there}", self.heat, self.users)
    }
}

#[derive(Debug)]
struct Request {
    id: Id,
    kind: BlockEffect,
    blocks: Range<u64>,
    is_running: bool,
}

impl Request {
    fn pages(&self) -> Range<u32> {
        let first = self.blocks.start / PAGE_BLOCKS;
        first as u32..pages_of(self.blocks.end)
    }

    fn conflicts(&self, other: &Request) -> bool {
        let overlaps = self.blocks.start < other.blocks.end && other.blocks.start < self.blocks.end;
        overlaps && (self.kind, other.kind) != (BlockEffect::Read, BlockEffect::Read)
    }
}

/// Result of checking whether a request may begin.
enum Readiness {
    Ready,
    Waits,
    /// Memory is short, so later requests wait too.
    NoRoom,
}

/// Keeper of a replica's checksums: the pages in memory, and the requests in progress.
#[derive(Debug)]
pub(super) struct Keeper {
    limits: Limits,
    slot: ChecksumLogRecord,
    pages: BTreeMap<u32, ChecksumPage>,
    requests: VecDeque<Request>,
    stores: bool,
    /// True if a store failed, so that the content of the log is unknown.
    is_unsure: bool,
    /// Pages whose checksums have to be built, in addition to those from `slot.built` on. They stay
    /// hot until they are built.
    pending: BTreeSet<u32>,
    building: Option<(u32, u64)>,
    pub(super) ends: bool,
    looks_at_ms: u64,
    turn: u64,
    #[cfg(test)]
    pub(super) defect: Option<super::simulation::ChecksumDefect>,
}

impl Keeper {
    /// Continues with the log of a previous process, for a replica with `blocks` blocks, which is
    /// not less than at that time.
    pub(super) fn open(slot: ChecksumLogRecord, blocks: u64, limits: Limits) -> Keeper {
        let pending: BTreeSet<u32> = slot.hot.iter().copied().collect();
        let page = |index: &u32| {
            let page = ChecksumPage {
                sums: Some(unknown()),
                heat: Heat::Hot,
                users: 0,
                used_ms: 0,
                turn: 0,
            };
            (*index, page)
        };
        let mut keeper = Keeper {
            limits,
            pages: pending.iter().map(page).collect(),
            slot,
            requests: VecDeque::new(),
            stores: false,
            is_unsure: false,
            pending,
            building: None,
            ends: false,
            looks_at_ms: 0,
            turn: 0,
            #[cfg(test)]
            defect: None,
        };
        keeper.grow(blocks);
        keeper
    }

    pub(super) fn grow(&mut self, blocks: u64) {
        if blocks > self.slot.blocks {
            // Counts only whole pages as built: the last page may have checksums for only some of
            // its blocks.
            let whole = (self.slot.blocks / PAGE_BLOCKS) as u32;
            self.slot.built = self.slot.built.min(whole);
            self.building = None;
            self.slot.blocks = blocks;
        }
    }

    /// Returns the number of blocks with built checksums, and the total number of blocks.
    pub(super) fn progress(&self) -> (u64, u64) {
        let built = u64::from(self.slot.built) * PAGE_BLOCKS;
        let pending = self.pending.range(..self.slot.built).count() as u64;
        let blocks = self.slot.blocks;
        (
            built.min(blocks).saturating_sub(pending * PAGE_BLOCKS),
            blocks,
        )
    }

    pub(super) fn is_built(&self) -> bool {
        self.pending.is_empty() && self.slot.built >= pages_of(self.slot.blocks)
    }

    pub(super) fn is_short(&self) -> bool {
        self.pending.len() + self.limits.batch > self.limits.hot
    }

    /// Returns whether all checksums are durable, and the log contains only pages to be built.
    pub(super) fn is_cold(&self) -> bool {
        let is_left = |index: &u32| !self.pending.contains(index);
        !self.stores && !self.slot.hot.iter().any(is_left)
    }

    pub(super) fn looks_at_ms(&self) -> Option<u64> {
        (!self.stores && !self.slot.hot.is_empty()).then_some(self.looks_at_ms)
    }

    /// Queues a request for blocks of at most [`Limits::batch`] pages.
    pub(super) fn request(&mut self, id: Id, kind: BlockEffect, blocks: Range<u64>) {
        self.requests.push_back(Request {
            id,
            kind,
            blocks,
            is_running: false,
        });
    }

    /// Starts to build the next missing checksums. Only one build runs at a time.
    pub(super) fn build(&mut self, id: Id) -> bool {
        let blocks = self.next_part();
        if blocks.is_empty() {
            self.building = None;
            return false;
        }
        // Places the build first, because queued requests may wait for it.
        self.requests.push_front(Request {
            id,
            kind: BlockEffect::Build,
            blocks,
            is_running: false,
        });
        true
    }

    fn next_part(&mut self) -> Range<u64> {
        // Builds pages in the log first, because other requests may need their slots in the log.
        let hot = self
            .pending
            .iter()
            .copied()
            .find(|index| self.is_hot(index));
        let next = hot.or(self.pending.first().copied());
        let next = (next.unwrap_or(self.slot.built), 0);
        let stays = |(page, _): &(u32, u64)| self.is_hot(page) || hot.is_none();
        let (page, part) = self.building.filter(stays).unwrap_or(next);
        self.building = Some((page, part));
        let first = u64::from(page) * PAGE_BLOCKS + part * BUILD_BLOCKS;
        first..(first + BUILD_BLOCKS).min(self.slot.blocks)
    }

    /// Redirects a waiting build to a page in the log: there may be no slot for a page outside of
    /// it.
    fn redirect(&mut self) {
        let waits = |one: &Request| one.kind == BlockEffect::Build && !one.is_running;
        let Some(place) = self.requests.iter().position(waits) else {
            return;
        };
        if self.requests[place]
            .pages()
            .all(|index| self.is_hot(&index))
        {
            return;
        }
        let blocks = self.next_part();
        if !blocks.is_empty() {
            self.requests[place].blocks = blocks;
        }
    }

    fn is_hot(&self, index: &u32) -> bool {
        self.pages
            .get(index)
            .is_some_and(|one| one.heat == Heat::Hot)
    }

    /// Processes a page of checksums that was read; None if the read failed.
    pub(super) fn loaded(&mut self, index: u32, bytes: Option<&[u8]>) {
        let sums = bytes.and_then(|bytes| decode_page(bytes, self.slot.draw, index));
        if sums.is_none() {
            if index < self.slot.built {
                // Counts a page that was stored before as damaged on the disk.
                self.miss(index)
            } else {
                self.restart(index)
            }
        }
        let Some(page) = self.pages.get_mut(&index) else {
            return;
        };
        page.sums = Some(sums.unwrap_or_else(unknown));
    }

    /// Ends a read. Returns the damaged blocks. `sums` are the checksums of the data that was read;
    /// None if the read failed.
    pub(super) fn read(&mut self, id: Id, sums: Option<&[Sum]>) -> Vec<u64> {
        let Some(request) = self.end(id) else {
            return Vec::new();
        };
        let blocks = request.blocks.zip(sums.unwrap_or_default().iter().copied());
        let wrong = blocks.filter(|(block, sum)| {
            let known = self.sum(*block);
            known != UNKNOWN && known != *sum
        });
        wrong.map(|(block, _)| block).collect()
    }

    /// Ends a change of data. The blocks now have these checksums; None if their content is
    /// unknown.
    pub(super) fn changed(&mut self, id: Id, sums: Option<&[Sum]>) {
        let Some(request) = self.end(id) else {
            return;
        };
        if sums.is_none() {
            #[cfg(test)]
            if self.has(super::simulation::ChecksumDefect::FailedWriteKeepsSums) {
                return;
            }
            request.pages().for_each(|index| self.miss(index));
        }
        for (place, block) in request.blocks.enumerate() {
            let sum = sums.and_then(|sums| sums.get(place)).copied();
            self.set(block, sum.unwrap_or(UNKNOWN));
        }
    }

    pub(super) fn matches(&self, id: Id, sums: &[Sum]) -> bool {
        let is_it = |one: &&Request| one.id == id && one.is_running;
        let Some(request) = self.requests.iter().find(is_it) else {
            return false;
        };
        let blocks = request.blocks.clone();
        let has = |(block, sum): (u64, &Sum)| self.sum(block) == *sum;
        blocks.end - blocks.start == sums.len() as u64 && blocks.zip(sums).all(has)
    }

    /// Ends a request that changed no checksum: a change that was not executed, or a repair.
    pub(super) fn unchanged(&mut self, id: Id) {
        self.end(id);
    }

    /// Ends a build. `sums` is None if the blocks cannot be read.
    pub(super) fn built(&mut self, id: Id, sums: Option<&[Sum]>) {
        let Some(request) = self.end(id) else {
            return;
        };
        for (block, sum) in request.blocks.zip(sums.unwrap_or_default()) {
            if self.sum(block) == UNKNOWN {
                self.set(block, *sum);
            }
        }
        self.advance();
    }

    pub(super) fn stored(&mut self, is_stored: bool) {
        self.stores = false;
        self.is_unsure = !is_stored;
        for page in self.pages.values_mut() {
            page.heat = match (page.heat, is_stored) {
                (Heat::Warming, true) | (Heat::Cooling, false) => Heat::Hot,
                (Heat::Warming, false) | (Heat::Cooling, true) => Heat::Cold,
                (heat, _) => heat,
            };
        }
    }

    /// Returns whether a failed store left the content of the log unknown. No change begins until
    /// a store succeeds.
    pub(super) fn is_unsure(&self) -> bool {
        self.is_unsure
    }

    pub(super) fn give_up(&mut self) -> Vec<Id> {
        let mut given_up = Vec::new();
        self.requests.retain(|request| {
            let waits = !request.is_running && request.kind.needs_log();
            if waits {
                given_up.push(request.id);
            }
            !waits
        });
        given_up
    }

    /// Computes the next actions. `now_ms` never decreases.
    pub(super) fn settle(&mut self, now_ms: u64, out: &mut Vec<KeeperAction>) {
        self.turn += 1;
        let mut wanted = BTreeSet::new();
        self.redirect();
        // Limits the waiting requests: only as many may wait as the log has slots for their pages.
        let mut claimed = self
            .pending
            .iter()
            .filter(|index| self.is_hot(index))
            .count();
        let mut place = 0;
        while place < self.requests.len() {
            let request = &self.requests[place];
            if request.is_running || self.is_blocked(place) {
                place += 1;
                continue;
            }
            if request.kind.needs_log() {
                let has = |index: &u32| self.pending.contains(index) && self.is_hot(index);
                claimed += request.pages().filter(|index| !has(index)).count();
            }
            if claimed > self.limits.hot {
                break;
            }
            match self.readiness(place, now_ms, &mut wanted, out) {
                Readiness::Waits => place += 1,
                Readiness::NoRoom => break,
                Readiness::Ready => place += self.begin(place, out),
            }
        }
        if !self.stores {
            self.store(&wanted, now_ms, out);
        }
    }

    fn is_blocked(&self, place: usize) -> bool {
        #[cfg(test)]
        if self.has(super::simulation::ChecksumDefect::OverlapsRun) {
            return false;
        }
        let request = &self.requests[place];
        #[cfg(test)]
        if self.has(super::simulation::ChecksumDefect::RepairOverlaps)
            && request.kind == BlockEffect::Repair
        {
            return false;
        }
        let mut others = self.requests.iter().enumerate();
        others.any(|(at, other)| {
            let is_first = at < place || at > place && other.is_running;
            is_first && request.conflicts(other)
        })
    }

    fn readiness(
        &mut self,
        place: usize,
        now_ms: u64,
        wanted: &mut BTreeSet<u32>,
        out: &mut Vec<KeeperAction>,
    ) -> Readiness {
        let (kind, pages) = (self.requests[place].kind, self.requests[place].pages());
        let blocks = self.requests[place].blocks.clone();
        let is_known = kind == BlockEffect::Build && self.is_known(blocks);
        let mut readiness = Readiness::Ready;
        for index in pages {
            if !self.pages.contains_key(&index) && !self.load(index, out) {
                return Readiness::NoRoom;
            }
            let Some(page) = self.pages.get_mut(&index) else {
                continue;
            };
            (page.used_ms, page.turn) = (now_ms, self.turn);
            let is_hot = page.heat == Heat::Hot && !self.is_unsure;
            if page.sums.is_none() {
                readiness = Readiness::Waits;
            } else if kind.needs_log() && !is_hot && !is_known {
                wanted.insert(index);
                readiness = Readiness::Waits;
            }
        }
        #[cfg(test)]
        if self.has(super::simulation::ChecksumDefect::WriteBeforeLog)
            && kind == BlockEffect::Change
        {
            let mut pages = self.requests[place].pages();
            if pages.all(|index| self.pages.get(&index).is_some_and(|one| one.sums.is_some())) {
                return Readiness::Ready;
            }
        }
        readiness
    }

    /// Starts a request if it may begin. Returns the number of queue positions to advance.
    fn begin(&mut self, place: usize, out: &mut Vec<KeeperAction>) -> usize {
        let request = &mut self.requests[place];
        let (id, blocks) = (request.id, request.blocks.clone());
        if request.kind == BlockEffect::Build {
            if self.is_known(blocks.clone()) {
                self.requests.remove(place);
                self.advance();
                out.push(KeeperAction::Build(id, blocks.start..blocks.start));
                return 0;
            }
            out.push(KeeperAction::Build(id, blocks));
        } else {
            out.push(KeeperAction::Start(id));
        }
        let request = &mut self.requests[place];
        request.is_running = true;
        for index in request.pages() {
            if let Some(page) = self.pages.get_mut(&index) {
                page.users += 1;
            }
        }
        1
    }

    fn load(&mut self, index: u32, out: &mut Vec<KeeperAction>) -> bool {
        if self.pages.len() >= self.limits.cached {
            let turn = self.turn;
            let may_go = |page: &ChecksumPage| {
                let is_idle = page.users == 0 && page.sums.is_some() && page.turn < turn;
                page.heat == Heat::Cold && is_idle
            };
            let pages = self.pages.iter().filter(|(_, page)| may_go(page));
            let Some(gone) = pages.min_by_key(|(_, page)| page.turn).map(|one| *one.0) else {
                return false;
            };
            self.pages.remove(&gone);
        }
        self.pages.insert(
            index,
            ChecksumPage {
                sums: None,
                heat: Heat::Cold,
                users: 0,
                used_ms: 0,
                turn: self.turn,
            },
        );
        out.push(KeeperAction::Load(index));
        true
    }

    fn store(&mut self, wanted: &BTreeSet<u32>, now_ms: u64, out: &mut Vec<KeeperAction>) {
        if wanted.is_empty() && now_ms < self.looks_at_ms && !self.ends {
            return;
        }
        self.looks_at_ms = now_ms + LOOK_MS;
        let is_hot = |page: &&ChecksumPage| page.heat == Heat::Hot;
        let hot = self.pages.values().filter(is_hot).count();
        let missing: Vec<u32> = wanted
            .iter()
            .copied()
            .filter(|index| {
                self.pages
                    .get(index)
                    .is_some_and(|one| one.heat == Heat::Cold)
            })
            .collect();
        let surplus = (hot + missing.len()).saturating_sub(self.limits.hot);
        let mut leaving = if self.is_unsure {
            Vec::new()
        } else {
            self.leaving(now_ms, surplus)
        };
        leaving.truncate(self.limits.batch.max(surplus));
        let room = (self.limits.hot + leaving.len()).saturating_sub(hot);
        let warming = &missing[..missing.len().min(room)];
        if leaving.is_empty() && warming.is_empty() && !self.is_unsure {
            return;
        }
        let mut pages = Vec::new();
        for index in &leaving {
            if let Some(page) = self.pages.get_mut(index) {
                page.heat = Heat::Cooling;
                let sums = page.sums.as_deref().unwrap_or_default();
                pages.push((*index, encode_page(self.slot.draw, *index, sums)));
            }
        }
        for index in warming {
            if let Some(page) = self.pages.get_mut(index) {
                page.heat = Heat::Warming;
            }
        }
        self.stores = true;
        let in_log = |page: &ChecksumPage| matches!(page.heat, Heat::Hot | Heat::Warming);
        let hot = self.pages.iter().filter(|(_, page)| in_log(page));
        self.slot.number += 1;
        self.slot.hot = hot.map(|(index, _)| *index).collect();
        let store = Store {
            flushes_data: !pages.is_empty(),
            pages,
            slot: self.slot.clone(),
        };
        #[cfg(test)]
        let store = super::simulation::spoil(store, self.defect);
        out.push(KeeperAction::Store(store));
    }

    /// Returns the pages that may leave the log, the least recently used first: idle ones, or, if
    /// the log needs `surplus` slots, all that are not in use.
    fn leaving(&self, now_ms: u64, surplus: usize) -> Vec<u32> {
        let may_leave = |(index, page): &(&u32, &ChecksumPage)| {
            let is_idle = page.used_ms + self.limits.idle_ms <= now_ms || self.ends;
            let is_free = page.users == 0 && !self.pending.contains(index);
            let is_unused = page.turn < self.turn;
            page.heat == Heat::Hot && is_free && is_unused && (is_idle || surplus > 0)
        };
        let mut pages: Vec<(u64, u32)> = self
            .pages
            .iter()
            .filter(may_leave)
            .map(|(index, page)| (page.turn, *index))
            .collect();
        pages.sort_unstable();
        pages.into_iter().map(|(_, index)| index).collect()
    }

    fn miss(&mut self, index: u32) {
        self.pending.insert(index);
        self.restart(index);
    }

    fn restart(&mut self, index: u32) {
        self.building.take_if(|(page, _)| *page == index);
    }

    fn advance(&mut self) {
        let Some((page, part)) = &mut self.building else {
            return;
        };
        *part += 1;
        let next = u64::from(*page) * PAGE_BLOCKS + *part * BUILD_BLOCKS;
        if *part * BUILD_BLOCKS < PAGE_BLOCKS && next < self.slot.blocks {
            return;
        }
        self.pending.remove(page);
        if self.slot.built == *page {
            self.slot.built += 1;
        }
        self.building = None;
    }

    fn end(&mut self, id: Id) -> Option<Request> {
        let is_it = |one: &Request| one.id == id && one.is_running;
        let place = self.requests.iter().position(is_it)?;
        let request = self.requests.remove(place)?;
        for index in request.pages() {
            if let Some(page) = self.pages.get_mut(&index) {
                page.users -= 1;
            }
        }
        Some(request)
    }

    fn is_known(&self, mut blocks: Range<u64>) -> bool {
        blocks.all(|block| self.sum(block) != UNKNOWN)
    }

    fn sum(&self, block: u64) -> Sum {
        let page = self.pages.get(&((block / PAGE_BLOCKS) as u32));
        let sums = page.and_then(|page| page.sums.as_deref());
        sums.map_or(UNKNOWN, |sums| sums[(block % PAGE_BLOCKS) as usize])
    }

    fn set(&mut self, block: u64, sum: Sum) {
        let page = self.pages.get_mut(&((block / PAGE_BLOCKS) as u32));
        if let Some(sums) = page.and_then(|page| page.sums.as_deref_mut()) {
            sums[(block % PAGE_BLOCKS) as usize] = sum;
        }
    }

    /// Returns whether the block's checksum is known; None if its page is not in memory.
    #[cfg(test)]
    pub(super) fn sum_known(&self, block: u64) -> Option<bool> {
        let page = self.pages.get(&((block / PAGE_BLOCKS) as u32))?;
        let sums = page.sums.as_deref()?;
        Some(sums[(block % PAGE_BLOCKS) as usize] != UNKNOWN)
    }

    #[cfg(test)]
    fn has(&self, defect: super::simulation::ChecksumDefect) -> bool {
        self.defect == Some(defect)
    }
}

fn unknown() -> Sums {
    vec![UNKNOWN; PAGE_BLOCKS as usize].into()
}
