//! What operations on the data are for.

use super::{BLOCK_BYTES, Sum};
use crate::disk::{Buffer, Operation, Token};
use std::ops::Range;
use std::rc::Rc;

/// What an operation on the data is for.
#[derive(Debug)]
pub(super) enum Job {
    /// A client's, which has nothing to do with sums.
    Plain(Token),
    /// A client's, which has not begun.
    Waits(Token, Range<u64>, Operation),
    /// A client's: a write with the sums of its blocks, a read with none.
    Runs(Token, Range<u64>, Vec<Sum>),
    /// A repair, which has not begun.
    RepairWaits(Token, Range<u64>, Rc<Buffer>),
    /// A repair.
    Repairs(Token, Range<u64>),
    /// A part of a client's operation.
    Part(Token, Part),
    /// These blocks are read for their sums; those of the first of them are known.
    Builds(Range<u64>, Vec<Sum>),
    /// These blocks are to be checked.
    ScrubWaits(Range<u64>),
    /// These blocks are read to be checked.
    Scrubs(Range<u64>),
    /// The data is flushed before sums leave the log.
    FlushToStore,
}

impl Job {
    /// Whether the caller waits for it.
    pub(super) fn is_callers(&self) -> bool {
        match self {
            Job::Plain(_) | Job::Waits(..) | Job::Runs(..) | Job::Part(..) => true,
            Job::RepairWaits(..) | Job::Repairs(..) => true,
            Job::Builds(..) | Job::ScrubWaits(_) | Job::Scrubs(_) | Job::FlushToStore => false,
        }
    }
}

/// What is left of an operation on a range that may be long.
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
    /// The whole of an operation, if it is one of those.
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

    /// The blocks of the next part.
    pub(super) fn next(&self, most: u64) -> Range<u64> {
        let blocks = self.blocks();
        blocks.start..blocks.end.min(blocks.start + most)
    }

    /// The operation of the next part.
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

    /// What follows the next part.
    pub(super) fn rest(mut self, most: u64) -> Option<Part> {
        let first = self.next(most).end;
        let (Part::Zero { blocks, .. } | Part::Discard(blocks)) = &mut self;
        blocks.start = first;
        (!blocks.is_empty()).then_some(self)
    }
}
