//! Reads and checks all data of a replica (scrub), for `evenkeel volume verify` of a volume with
//! one replica.

use super::BLOCK_BYTES;
use super::checked::Summing;
use super::jobs::ChecksumJob;
use super::keeper::{BUILD_BLOCKS, BlockEffect, Id};
use crate::disk::{Failure, OperationOutput};
use std::ops::Range;
use std::time::{Duration, Instant};

const PAUSE: Duration = Duration::from_millis(20);

#[derive(Debug)]
pub(super) struct Scrub {
    at: u64,
    is_busy: bool,
    next_at: Instant,
}

impl Scrub {
    pub(super) fn new() -> Scrub {
        Scrub {
            at: 0,
            is_busy: false,
            next_at: Instant::now(),
        }
    }

    pub(super) fn next_at(&self) -> Option<Instant> {
        (!self.is_busy).then_some(self.next_at)
    }

    pub(super) fn starve(&mut self) {
        self.is_busy = false;
        self.next_at = Instant::now() + PAUSE;
    }
}

impl Summing {
    pub(super) fn scrub_on(&mut self, now: Instant) {
        let blocks = self.keeper.progress().1;
        let Some(scrub) = &mut self.scrub else {
            return;
        };
        if scrub.is_busy || now < scrub.next_at {
            return;
        }
        if scrub.at >= blocks {
            self.scrub = None;
            return self.tally.scrub_ends(true);
        }
        scrub.is_busy = true;
        let part = scrub.at..(scrub.at + BUILD_BLOCKS).min(blocks);
        let id = self.id();
        self.keeper.request(Id(id), BlockEffect::Read, part.clone());
        self.jobs.insert(id, ChecksumJob::ScrubWaits(part));
    }

    pub(super) fn scrubbed(
        &mut self,
        id: Id,
        blocks: &Range<u64>,
        result: Result<OperationOutput, Failure>,
    ) {
        let count = blocks.end - blocks.start;
        let (wrong, is_read) = match result {
            Ok(OperationOutput::Data(buffer)) => {
                let sums = super::checked::sums_of(blocks.start, buffer.bytes());
                (self.keeper.read(id, Some(&sums)), true)
            }
            _ => (self.keeper.read(id, None), false),
        };
        if !wrong.is_empty() {
            self.tally.damaged(&wrong);
        }
        let Some(scrub) = &mut self.scrub else {
            return;
        };
        scrub.is_busy = false;
        scrub.at = blocks.end;
        let takes = Duration::from_nanos(count * BLOCK_BYTES * 1_000_000_000 / self.builder.rate);
        scrub.next_at = Instant::now() + takes;
        self.tally.scrubbed(blocks.clone(), &wrong, is_read);
    }
}
