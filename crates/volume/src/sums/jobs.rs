//! Purposes of the operations on the data.

use super::{BLOCK_BYTES, Sum};
use crate::disk::{Buffer, Operation, Token};
use std::ops::Range;
use std::rc::Rc;

/// Purpose of an operation on the data.
#[derive(Debug)]
pub(super) enum Job {
    /// Client operation that does not involve checksums.
    Plain(Token),
    /// Client operation that has not begun.
    Waits(Token, Range<u64>, Operation),
    /// Running client operation. A write has the checksums of its blocks, a read has none.
    Runs(Token, Range<u64>, Vec<Sum>),
    /// Repair that has not begun.
    RepairWaits(Token, Range<u64>, Rc<Buffer>),
    /// Running repair.
    Repairs(Token, Range<u64>),
    /// One part of a long client operation.
    Part(Token, Part),
    /// Read for a checksum build. The checksums of the first blocks are known.
    Builds(Range<u64>, Vec<Sum>),
    /// Blocks that wait for a scrub.
    ScrubWaits(Range<u64>),
    /// Read for a scrub.
    Scrubs(Range<u64>),
    /// Flush of the data before pages leave the log.
    FlushToStore,
}

impl Job {
    /// Returns whether the caller waits for the operation.
    pub(super) fn is_callers(&self) -> bool {
        match self {
            Job::Plain(_) | Job::Waits(..) | Job::Runs(..) | Job::Part(..) => true,
            Job::RepairWaits(..) | Job::Repairs(..) => true,
            Job::Builds(..) | Job::ScrubWaits(_) | Job::Scrubs(_) | Job::FlushToStore => false,
        }
    }
}

/// Remainder of an operation on a range of any length.
#[derive(Clone, Debug)]
pub(super) enum Part {
    Zero {
        blocks: Range<u64>,
        allocate: bool,
        fast: bool,
    },
    Discard(Range<u64>),
}

impl Part {
    /// Wraps an operation on a range; None for other operations.
    pub(super) fn of(operation: &Operation, blocks: &Range<u64>) -> Option<Part> {
        match *operation {
            Operation::Zero { allocate, fast, .. } => Some(Part::Zero {
                blocks: blocks.clone(),
                allocate,
                fast,
            }),
            Operation::Discard { .. } => Some(Part::Discard(blocks.clone())),
            _ => None,
        }
    }

    fn blocks(&self) -> &Range<u64> {
        match self {
            Part::Zero { blocks, .. } | Part::Discard(blocks) => blocks,
        }
    }

    pub(super) fn is_discard(&self) -> bool {
        matches!(self, Part::Discard(_))
    }

    /// Blocks of the next part.
    pub(super) fn next(&self, most: u64) -> Range<u64> {
        let blocks = self.blocks();
        blocks.start..blocks.end.min(blocks.start + most)
    }

    /// Operation for the next part.
    pub(super) fn operation(&self, most: u64) -> Operation {
        let blocks = self.next(most);
        let offset = blocks.start * BLOCK_BYTES;
        let length = (blocks.end - blocks.start) * BLOCK_BYTES;
        match *self {
            Part::Zero { allocate, fast, .. } => Operation::Zero {
                offset,
                length,
                allocate,
                fast,
            },
            Part::Discard(_) => Operation::Discard { offset, length },
        }
    }

    /// Remainder after the next part.
    pub(super) fn rest(mut self, most: u64) -> Option<Part> {
        let first = self.next(most).end;
        let (Part::Zero { blocks, .. } | Part::Discard(blocks)) = &mut self;
        blocks.start = first;
        (!blocks.is_empty()).then_some(self)
    }
}
