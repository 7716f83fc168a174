//! Defines the purposes of the disk operations that the disk with checksums has in progress.

use super::{BLOCK_BYTES, Sum};
use crate::disk::{Buffer, Operation, Token};
use std::ops::Range;
use std::rc::Rc;

/// Purpose of an operation on the data.
#[derive(Debug)]
pub(super) enum ChecksumJob {
    /// Client operation that does not involve checksums, such as a flush.
    Plain(Token),
    Waits(Token, Range<u64>, Operation),
    /// Client operation in progress. A write has the checksums of its blocks, a read has none yet.
    Runs(Token, Range<u64>, Vec<Sum>),
    RepairWaits(Token, Range<u64>, Rc<Buffer>),
    Repairs(Token, Range<u64>),
    Part(Token, RemainingRange),
    /// Read that builds missing checksums. The checksums of the first blocks are computed already.
    Builds(Range<u64>, Vec<Sum>),
    ScrubWaits(Range<u64>),
    Scrubs(Range<u64>),
    FlushToStore,
}

impl ChecksumJob {
    pub(super) fn is_callers(&self) -> bool {
        match self {
            ChecksumJob::Plain(_)
            | ChecksumJob::Waits(..)
            | ChecksumJob::Runs(..)
            | ChecksumJob::Part(..) => true,
            ChecksumJob::RepairWaits(..) | ChecksumJob::Repairs(..) => true,
            ChecksumJob::Builds(..)
            | ChecksumJob::ScrubWaits(_)
            | ChecksumJob::Scrubs(_)
            | ChecksumJob::FlushToStore => false,
        }
    }
}

/// Remaining range of an operation of any length.
#[derive(Clone, Debug)]
pub(super) enum RemainingRange {
    Zero {
        blocks: Range<u64>,
        allocate: bool,
        fast: bool,
    },
    Discard(Range<u64>),
}

impl RemainingRange {
    /// Wraps an operation on a range; None for other operations.
    pub(super) fn of(operation: &Operation, blocks: &Range<u64>) -> Option<RemainingRange> {
        match *operation {
            Operation::Zero { allocate, fast, .. } => Some(RemainingRange::Zero {
                blocks: blocks.clone(),
                allocate,
                fast,
            }),
            Operation::Discard { .. } => Some(RemainingRange::Discard(blocks.clone())),
            _ => None,
        }
    }

    fn blocks(&self) -> &Range<u64> {
        match self {
            RemainingRange::Zero { blocks, .. } | RemainingRange::Discard(blocks) => blocks,
        }
    }

    pub(super) fn is_discard(&self) -> bool {
        matches!(self, RemainingRange::Discard(_))
    }

    pub(super) fn next(&self, most: u64) -> Range<u64> {
        let blocks = self.blocks();
        blocks.start..blocks.end.min(blocks.start + most)
    }

    pub(super) fn operation(&self, most: u64) -> Operation {
        let blocks = self.next(most);
        let offset = blocks.start * BLOCK_BYTES;
        let length = (blocks.end - blocks.start) * BLOCK_BYTES;
        match *self {
            RemainingRange::Zero { allocate, fast, .. } => Operation::Zero {
                offset,
                length,
                allocate,
                fast,
            },
            RemainingRange::Discard(_) => Operation::Discard { offset, length },
        }
    }

    pub(super) fn rest(mut self, most: u64) -> Option<RemainingRange> {
        let first = self.next(most).end;
        let (RemainingRange::Zero { blocks, .. } | RemainingRange::Discard(blocks)) = &mut self;
        blocks.start = first;
        (!blocks.is_empty()).then_some(self)
    }
}
