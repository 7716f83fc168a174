//! Verifies each read of a disk against checksums, with the interface of [`Disk`]. Without
//! checksums the operations go directly to the disk.

use super::area::{Area, AreaError};
use super::jobs::{ChecksumJob, RemainingRange};
use super::keeper::{BlockEffect, Id, Keeper, KeeperAction, Limits};
use super::scrub::Scrub;
use super::shown::Tally;
use super::storing::Storing;
use super::{BLOCK_BYTES, PAGE_BLOCKS, Sum, UNKNOWN, place, sum_of};
use crate::disk::{
    Account, Buffer, Completion, Disk, DiskError, Failure, Operation, OperationOutput, Pool,
    Preference, Token,
};
use rustix::io::Errno;
use std::collections::HashMap;
use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use twox_hash::XxHash3_64;

/// Length of one step of a long operation, blocks: half of the keeper's maximum.
const PART_BLOCKS: u64 = 32 * PAGE_BLOCKS;
const BUILD_PAUSE: Duration = Duration::from_secs(1);

/// Disk that verifies reads against its checksums, if there are any, with the interface of
/// [`Disk`]. A read of damaged blocks fails.
#[derive(Debug)]
pub struct Checked {
    data: Disk,
    /// Completions of repairs that failed because the disk has no checksums.
    refused: Vec<Completion>,
    sums: Option<Box<Summing>>,
}

#[derive(Debug)]
pub(super) struct Summing {
    pub(super) keeper: Keeper,
    area: Area,
    storing: Storing,
    pub(super) jobs: HashMap<u64, ChecksumJob>,
    next: u64,
    account: Account,
    pool: Pool,
    pub(super) builder: Builder,
    pub(super) scrub: Option<Scrub>,
    pub(super) tally: Arc<Tally>,
    began: Instant,
    actions: Vec<KeeperAction>,
    completions: Vec<Completion>,
    refused: Vec<Completion>,
    /// Damaged blocks found by reads, until the caller takes them. None: not recorded.
    wrong: Option<Vec<(Token, Vec<u64>)>>,
    is_stale: bool,
}

#[derive(Debug)]
pub(super) struct Builder {
    is_busy: bool,
    /// Read of a checksum build that waits for buffer memory, with the checksums computed so far.
    starved: Option<(Id, Range<u64>, Vec<Sum>)>,
    next_at: Instant,
    pub(super) rate: u64,
}

impl Checked {
    pub fn new(data: Disk) -> Checked {
        Checked {
            data,
            refused: Vec::new(),
            sums: None,
        }
    }

    /// Creates the disk `data` with the checksums in `area`. Missing ones are built at `rate` bytes
    /// per second.
    ///
    /// # Errors
    /// The disk of the checksums cannot be used.
    pub fn with(
        data: Disk,
        area: Area,
        pool: &Pool,
        prefers: Preference,
        rate: u64,
        tally: Arc<Tally>,
    ) -> Result<Checked, DiskError> {
        let now = Instant::now();
        let keeper = Keeper::open(area.slot.clone(), area.blocks, Limits::default());
        let (built, total) = keeper.progress();
        tally.set_progress(built, total);
        let summing = Summing {
            keeper,
            storing: Storing::new(Disk::new(&area.target, pool, prefers)?, &area, pool),
            area,
            jobs: HashMap::new(),
            next: 0,
            account: pool.account(),
            pool: pool.clone(),
            builder: Builder {
                is_busy: false,
                starved: None,
                next_at: now,
                rate: rate.max(1),
            },
            scrub: None,
            tally,
            began: now,
            actions: Vec::new(),
            completions: Vec::new(),
            refused: Vec::new(),
            wrong: None,
            is_stale: false,
        };
        Ok(Checked {
            data,
            refused: Vec::new(),
            sums: Some(Box::new(summing)),
        })
    }

    pub fn uses_ring(&self) -> bool {
        self.data.uses_ring()
    }

    /// Returns the descriptors that become readable when operations may have ended. The caller
    /// then calls [`Checked::completions`].
    pub fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let sums = self.sums.iter().flat_map(|sums| sums.storing.descriptors());
        self.data.descriptors().chain(sums)
    }

    /// Returns whether an operation waits for memory. The caller has to call
    /// [`Checked::completions`] again soon.
    pub fn is_held_up(&self) -> bool {
        let is_starved = |sums: &Summing| {
            sums.builder.starved.is_some() || sums.storing.is_held_up() || !sums.refused.is_empty()
        };
        !self.refused.is_empty()
            || self.data.is_held_up()
            || self.sums.as_deref().is_some_and(is_starved)
    }

    /// Returns the time at which the caller has to call [`Checked::completions`] if nothing happens
    /// before.
    pub fn deadline(&self) -> Option<Instant> {
        let at_once = self.data.has_ended().then(Instant::now);
        at_once.or_else(|| self.sums.as_deref().and_then(Summing::deadline))
    }

    /// Starts to store all checksums and to empty the log. Returns true when both are done, or when
    /// that has failed.
    pub fn stop(&mut self) -> bool {
        let Some(sums) = &mut self.sums else {
            return true;
        };
        sums.keeper.ends = true;
        sums.scrub = None;
        sums.keeper.is_cold() || sums.keeper.is_unsure()
    }

    /// Grows the checksums for a new size of the volume, bytes.
    ///
    /// # Errors
    /// The area of the checksums cannot be examined or extended.
    pub fn grow(&mut self, size: u64) -> Result<(), AreaError> {
        let Some(sums) = &mut self.sums else {
            return Ok(());
        };
        let blocks = size / BLOCK_BYTES;
        sums.area.extend(blocks)?;
        sums.keeper.grow(blocks);
        Ok(())
    }

    /// Sets the read rate for building and checking checksums, bytes per second.
    pub(crate) fn set_rate(&mut self, rate: u64) {
        if let Some(sums) = &mut self.sums {
            sums.builder.rate = rate.max(1);
        }
    }

    /// Adapts to a new size of the volume, bytes. If that fails, the volume has to be reopened
    /// ([`Checked::reopens`]).
    pub fn resize(&mut self, size: u64) {
        let Some(sums) = &mut self.sums else {
            return;
        };
        if size / BLOCK_BYTES < sums.keeper.progress().1 {
            // Reopens the volume: no log tracks changes of the blocks after the new end.
            sums.is_stale = true;
        } else if let Err(error) = self.grow(size) {
            self.report_error(&error);
            self.sums.iter_mut().for_each(|sums| sums.is_stale = true);
        }
    }

    /// Returns whether the volume has to be reopened, because the checksums no longer fit it.
    pub fn reopens(&self) -> bool {
        self.sums.as_ref().is_some_and(|sums| sums.is_stale)
    }

    /// Records why a damaged block was not repaired. Returns whether to log it.
    pub(crate) fn not_repaired(&self, why: String) -> bool {
        let sums = self.sums.as_ref();
        sums.is_some_and(|sums| sums.tally.not_repaired(why))
    }

    pub(crate) fn report_error(&self, error: &AreaError) {
        if let Some(sums) = &self.sums {
            sums.tally.set_trouble(Some(error.to_string()));
        }
    }

    pub fn scrub(&mut self) {
        if let Some(sums) = &mut self.sums {
            sums.scrub = Some(Scrub::new());
            sums.tally.scrub_begins(sums.keeper.progress().1);
        }
    }

    pub fn end_scrub(&mut self) {
        if let Some(sums) = &mut self.sums
            && sums.scrub.take().is_some()
        {
            sums.tally.scrub_ends(false);
        }
    }

    pub fn submit(&mut self, token: Token, operation: Operation) {
        match &mut self.sums {
            None => self.data.submit(token, operation),
            Some(sums) => sums.submit(token, operation, &mut self.data),
        }
    }

    /// Rewrites blocks if the data matches their checksums. Otherwise the repair fails like a read
    /// of damaged blocks.
    pub fn repair(&mut self, token: Token, blocks: Range<u64>, buffer: Rc<Buffer>) {
        match &mut self.sums {
            // Refuses the repair: without checksums it is not known which content is right.
            None => self.refused.push(Completion {
                token,
                result: Err(Failure::Damaged),
            }),
            Some(sums) => {
                let id = sums.id();
                sums.keeper
                    .request(Id(id), BlockEffect::Repair, blocks.clone());
                sums.jobs
                    .insert(id, ChecksumJob::RepairWaits(token, blocks, buffer));
            }
        }
    }

    /// Enables [`Checked::take_damaged`]: records the blocks that reads find damaged.
    pub fn keep_damaged(&mut self) {
        if let Some(sums) = &mut self.sums {
            sums.wrong.get_or_insert_default();
        }
    }

    pub fn take_damaged(&mut self, token: Token) -> Vec<u64> {
        let wrong = self.sums.as_mut().and_then(|sums| sums.wrong.as_mut());
        let found = wrong.and_then(|wrong| {
            let place = wrong.iter().position(|(of, _)| *of == token)?;
            Some(wrong.swap_remove(place).1)
        });
        found.unwrap_or_default()
    }

    /// Lets flushes succeed again after a failed one; see `Disk::reset_flush_failure`.
    pub fn reset_flush_failure(&mut self) {
        self.data.reset_flush_failure();
    }

    /// Returns the number of the caller's operations without a completion.
    pub fn operations(&self) -> usize {
        let Some(sums) = &self.sums else {
            return self.data.operations() + self.refused.len();
        };
        sums.jobs.values().filter(|job| job.is_callers()).count() + sums.refused.len()
    }

    pub fn start(&mut self) {
        if let Some(sums) = &mut self.sums {
            sums.settle(&mut self.data);
        }
        self.data.start();
    }

    pub fn completions(&mut self, out: &mut Vec<Completion>) {
        match &mut self.sums {
            None => {
                out.append(&mut self.refused);
                self.data.completions(out);
            }
            Some(sums) => {
                sums.advance(&mut self.data, out);
                self.data.start();
            }
        }
    }
}

impl Summing {
    fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn deadline(&self) -> Option<Instant> {
        let looks = self.keeper.looks_at_ms().map(Duration::from_millis);
        let looks = looks.and_then(|ms| self.began.checked_add(ms));
        let builds = !self.builder.is_busy && !self.keeper.is_built() && !self.keeper.ends;
        let builds = builds.then_some(self.builder.next_at);
        let scrubs = self.scrub.as_ref().and_then(Scrub::next_at);
        [looks, builds, scrubs].into_iter().flatten().min()
    }

    pub(super) fn id(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn submit(&mut self, token: Token, operation: Operation, data: &mut Disk) {
        let id = self.id();
        let (offset, length) = match &operation {
            Operation::Flush | Operation::Extents { .. } => {
                self.jobs.insert(id, ChecksumJob::Plain(token));
                return data.submit(Token(id), operation);
            }
            Operation::Read { offset, buffer } => (*offset, buffer.len() as u64),
            Operation::Write { offset, buffer, .. } => (*offset, buffer.len() as u64),
            Operation::Zero { offset, length, .. } | Operation::Discard { offset, length } => {
                (*offset, *length)
            }
        };
        let is_whole = [offset, length]
            .iter()
            .all(|one| one.is_multiple_of(BLOCK_BYTES));
        if !is_whole || length == 0 {
            let result = Err(Failure::Io(Errno::INVAL));
            return self.refused.push(Completion { token, result });
        }
        let blocks = offset / BLOCK_BYTES..(offset + length) / BLOCK_BYTES;
        let (kind, job) = match RemainingRange::of(&operation, &blocks) {
            Some(part) => return self.part(token, part),
            None if matches!(operation, Operation::Read { .. }) => (BlockEffect::Read, operation),
            None => (BlockEffect::Change, operation),
        };
        self.keeper.request(Id(id), kind, blocks.clone());
        self.jobs.insert(id, ChecksumJob::Waits(token, blocks, job));
    }

    fn part(&mut self, token: Token, part: RemainingRange) {
        let id = self.id();
        let blocks = part.next(PART_BLOCKS);
        self.keeper.request(Id(id), BlockEffect::Change, blocks);
        self.jobs.insert(id, ChecksumJob::Part(token, part));
    }

    fn advance(&mut self, data: &mut Disk, out: &mut Vec<Completion>) {
        out.append(&mut self.refused);
        let mut completions = std::mem::take(&mut self.completions);
        data.completions(&mut completions);
        for completion in completions.drain(..) {
            self.ended(completion, data, out);
        }
        self.completions = completions;
        for (index, bytes) in self.storing.loads() {
            self.keeper.loaded(index, bytes.as_deref());
        }
        if let Some(result) = self.storing.progress() {
            self.stored(result, out);
        }
        self.settle(data);
        let (built, total) = self.keeper.progress();
        self.tally.set_progress(built, total);
    }

    fn stored(&mut self, result: Result<(), Failure>, out: &mut Vec<Completion>) {
        self.keeper.stored(result.is_ok());
        self.tally
            .set_trouble(result.err().map(|failure| failure.to_string()));
        let Err(failure) = result else {
            return;
        };
        for Id(id) in self.keeper.give_up() {
            match self.jobs.remove(&id) {
                Some(ChecksumJob::Waits(token, ..) | ChecksumJob::Part(token, _)) => {
                    out.push(Completion {
                        token,
                        result: Err(failure),
                    })
                }
                // Tries a build again later, which has no job in `jobs` until it reads.
                _ => self.build_later(),
            }
        }
    }

    fn build_later(&mut self) {
        self.builder.is_busy = false;
        self.builder.next_at = Instant::now() + BUILD_PAUSE;
    }

    fn settle(&mut self, data: &mut Disk) {
        if let Some((id, blocks, sums)) = self.builder.starved.take() {
            self.read_to_build(id, blocks, sums, data);
        }
        loop {
            let now = Instant::now();
            let is_time = now >= self.builder.next_at || self.keeper.is_short();
            let may_build = is_time && !self.keeper.ends;
            if !self.builder.is_busy && may_build && !self.keeper.is_built() {
                let id = self.id();
                self.builder.is_busy = self.keeper.build(Id(id));
            }
            self.scrub_on(now);
            let now_ms = self.now_ms();
            let mut actions = std::mem::take(&mut self.actions);
            self.keeper.settle(now_ms, &mut actions);
            let mut again = false;
            for action in actions.drain(..) {
                match action {
                    KeeperAction::Start(Id(id)) => self.begin(id, data),
                    KeeperAction::Load(index) => self.storing.load(index),
                    KeeperAction::Store(store) => {
                        if store.flushes_data {
                            let id = self.id();
                            self.jobs.insert(id, ChecksumJob::FlushToStore);
                            data.submit(Token(id), Operation::Flush);
                        }
                        self.storing.store(store);
                    }
                    // Ends a build whose checksums exist already.
                    KeeperAction::Build(_, blocks) if blocks.is_empty() => {
                        self.builder.is_busy = false;
                        again = true;
                    }
                    KeeperAction::Build(id, blocks) => {
                        self.pace(&blocks);
                        self.read_to_build(id, blocks, Vec::new(), data);
                    }
                }
            }
            self.actions = actions;
            if !again {
                return;
            }
        }
    }

    fn pace(&mut self, blocks: &Range<u64>) {
        let bytes = (blocks.end - blocks.start) * BLOCK_BYTES;
        let takes = Duration::from_nanos(bytes * 1_000_000_000 / self.builder.rate);
        self.builder.next_at = Instant::now() + takes;
    }

    fn read_to_build(&mut self, id: Id, blocks: Range<u64>, sums: Vec<Sum>, data: &mut Disk) {
        let at = blocks.start + sums.len() as u64;
        let wanted = (blocks.end - at) * BLOCK_BYTES;
        let Some(buffer) = self.pool.take(&self.account, wanted as usize) else {
            self.builder.starved = Some((id, blocks, sums));
            return;
        };
        self.jobs.insert(id.0, ChecksumJob::Builds(blocks, sums));
        let offset = at * BLOCK_BYTES;
        data.submit(Token(id.0), Operation::Read { offset, buffer });
    }

    fn begin(&mut self, id: u64, data: &mut Disk) {
        match self.jobs.remove(&id) {
            Some(ChecksumJob::Waits(token, blocks, operation)) => {
                let sums = match &operation {
                    Operation::Write { buffer, .. } => sums_of(blocks.start, buffer.bytes()),
                    _ => Vec::new(),
                };
                self.jobs.insert(id, ChecksumJob::Runs(token, blocks, sums));
                data.submit(Token(id), operation);
            }
            Some(ChecksumJob::RepairWaits(token, blocks, buffer)) => {
                let sums = sums_of(blocks.start, buffer.bytes());
                if !self.keeper.matches(Id(id), &sums) {
                    self.keeper.unchanged(Id(id));
                    let result = Err(Failure::Damaged);
                    return self.refused.push(Completion { token, result });
                }
                let offset = blocks.start * BLOCK_BYTES;
                self.jobs.insert(id, ChecksumJob::Repairs(token, blocks));
                let write = Operation::Write {
                    offset,
                    buffer,
                    fua: true,
                };
                data.submit(Token(id), write);
            }
            Some(ChecksumJob::Part(token, part)) => {
                data.submit(Token(id), part.operation(PART_BLOCKS));
                self.jobs.insert(id, ChecksumJob::Part(token, part));
            }
            Some(ChecksumJob::ScrubWaits(blocks)) => {
                let wanted = (blocks.end - blocks.start) * BLOCK_BYTES;
                match self.pool.take(&self.account, wanted as usize) {
                    Some(buffer) if buffer.len() as u64 == wanted => {
                        let offset = blocks.start * BLOCK_BYTES;
                        self.jobs.insert(id, ChecksumJob::Scrubs(blocks));
                        data.submit(Token(id), Operation::Read { offset, buffer });
                    }
                    // Retries later: the clients use all buffers.
                    _ => {
                        self.keeper.read(Id(id), None);
                        self.scrub.iter_mut().for_each(Scrub::starve);
                    }
                }
            }
            other => debug_assert!(other.is_none(), "it waits"),
        }
    }

    fn ended(&mut self, completion: Completion, data: &mut Disk, out: &mut Vec<Completion>) {
        let (id, result) = (completion.token.0, completion.result);
        let Some(job) = self.jobs.remove(&id) else {
            return;
        };
        let (token, result) = match job {
            ChecksumJob::Plain(token) => (token, result),
            ChecksumJob::FlushToStore => return self.storing.flushed(result.map(drop)),
            ChecksumJob::Builds(blocks, sums) => {
                return self.build_read(Id(id), blocks, sums, result, data);
            }
            ChecksumJob::Scrubs(blocks) => return self.scrubbed(Id(id), &blocks, result),
            ChecksumJob::Runs(token, blocks, sums) => {
                let result = self.operated(Id(id), token, blocks, &sums, result);
                (token, result)
            }
            ChecksumJob::Repairs(token, blocks) => {
                self.keeper.unchanged(Id(id));
                if result.is_ok() {
                    self.tally.repaired(blocks);
                }
                (token, result)
            }
            ChecksumJob::Part(token, part) => match self.part_ended(Id(id), part, result) {
                Ok(Some(rest)) => return self.part(token, rest),
                Ok(None) => (token, Ok(OperationOutput::Done)),
                Err(failure) => (token, Err(failure)),
            },
            ChecksumJob::Waits(..) | ChecksumJob::RepairWaits(..) | ChecksumJob::ScrubWaits(_) => {
                return;
            }
        };
        out.push(Completion { token, result });
    }

    fn operated(
        &mut self,
        id: Id,
        token: Token,
        blocks: Range<u64>,
        sums: &[Sum],
        result: Result<OperationOutput, Failure>,
    ) -> Result<OperationOutput, Failure> {
        match result {
            Ok(OperationOutput::Data(buffer)) => {
                let sums = sums_of(blocks.start, buffer.bytes());
                let wrong = self.keeper.read(id, Some(&sums));
                if wrong.is_empty() {
                    return Ok(OperationOutput::Data(buffer));
                }
                self.tally.damaged(&wrong);
                if let Some(kept) = &mut self.wrong {
                    kept.push((token, wrong));
                }
                Err(Failure::Damaged)
            }
            // Records the checksums of the data that was written.
            Ok(output) if !sums.is_empty() => {
                self.keeper.changed(id, Some(sums));
                self.tally.overwritten(blocks);
                Ok(output)
            }
            other if sums.is_empty() => {
                self.keeper.read(id, None);
                other
            }
            other => {
                self.keeper.changed(id, None);
                other
            }
        }
    }

    /// Processes the end of one step of a long operation. Returns the remaining range.
    fn part_ended(
        &mut self,
        id: Id,
        part: RemainingRange,
        result: Result<OperationOutput, Failure>,
    ) -> Result<Option<RemainingRange>, Failure> {
        let blocks = part.next(PART_BLOCKS);
        match result {
            Ok(_) => {
                let sums: Vec<Sum> = if part.is_discard() {
                    // Stores no checksums for discarded blocks, because their content is undefined.
                    vec![UNKNOWN; (blocks.end - blocks.start) as usize]
                } else {
                    zero_sums(blocks.clone())
                };
                self.keeper.changed(id, Some(&sums));
                self.tally.overwritten(blocks);
                Ok(part.rest(PART_BLOCKS))
            }
            Err(Failure::NotFast) => {
                self.keeper.unchanged(id);
                Err(Failure::NotFast)
            }
            Err(failure) => {
                self.keeper.changed(id, None);
                Err(failure)
            }
        }
    }

    fn build_read(
        &mut self,
        id: Id,
        blocks: Range<u64>,
        mut sums: Vec<Sum>,
        result: Result<OperationOutput, Failure>,
        data: &mut Disk,
    ) {
        let at = blocks.start + sums.len() as u64;
        match result {
            Ok(OperationOutput::Data(buffer)) => {
                sums.extend(sums_of(at, buffer.bytes()));
                drop(buffer);
                if blocks.start + (sums.len() as u64) < blocks.end {
                    return self.read_to_build(id, blocks, sums, data);
                }
                self.keeper.built(id, Some(&sums));
            }
            // Leaves unreadable blocks without a checksum.
            _ => self.keeper.built(id, None),
        }
        self.builder.is_busy = false;
    }
}

pub(super) fn sums_of(first: u64, bytes: &[u8]) -> Vec<Sum> {
    let blocks = bytes.chunks(BLOCK_BYTES as usize);
    (first..)
        .zip(blocks)
        .map(|(block, bytes)| sum_of(block, bytes))
        .collect()
}

fn zero_sums(blocks: Range<u64>) -> Vec<Sum> {
    let zeroes = XxHash3_64::oneshot(&[0; BLOCK_BYTES as usize]);
    blocks.map(|block| place(block, zeroes)).collect()
}
