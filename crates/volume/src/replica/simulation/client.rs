//! Simulated NBD clients. They send requests to the node that they presume to be the owner. If that
//! node is not the owner, dies or is too slow, they repeat the request as another attempt.

use super::AttemptNumbers;
use super::check::Attempt;
use crate::replica::{Blocks, Request, RequestId, WriteContent};
use lab::Random;

/// Operation that a client performs.
#[derive(Clone, Copy, Debug)]
pub enum Want {
    Read(Blocks),
    Write(Blocks, bool),
    Flush,
}

/// Operation of a client, with one attempt after another.
#[derive(Clone, Debug)]
pub struct ClientOperation {
    pub client: usize,
    pub want: Want,
    pub node: usize,
    pub done: bool,
    pub attempt: Attempt,
}

/// Attempt that was sent to a node.
#[derive(Clone, Copy, Debug)]
pub struct SentAttempt {
    pub op: usize,
    pub node: usize,
    /// Process to which the attempt was sent.
    pub life: u64,
    /// Number of the event at which the attempt was sent.
    pub called: u64,
    /// True if the attempt has not returned, and its outcome is not decided.
    pub open: bool,
}

impl ClientOperation {
    /// Returns the request of an attempt. A write contains the attempt's number.
    pub fn request(&self) -> (RequestId, Request<AttemptNumbers>) {
        let request = match self.want {
            Want::Read(blocks) => Request::Read(blocks),
            Want::Write(blocks, fua) => Request::Write {
                blocks,
                body: WriteContent::Data(AttemptNumbers(vec![self.attempt; blocks.count as usize])),
                fua,
            },
            Want::Flush => Request::Flush,
        };
        (RequestId(u64::from(self.attempt)), request)
    }

    /// Returns the blocks to read or write.
    pub fn blocks(&self) -> Option<Blocks> {
        match self.want {
            Want::Read(blocks) | Want::Write(blocks, _) => Some(blocks),
            Want::Flush => None,
        }
    }
}

/// Draws an operation within the first `span` blocks, mostly on a few frequently used ones.
pub fn draw(random: &mut Random, reads: u64, flushes: u64, crowd: u64, span: u64) -> Want {
    if random.percent(flushes) {
        return Want::Flush;
    }
    let first = if random.percent(70) {
        // Spreads the blocks over the extents.
        random.below(crowd) * 11 % span
    } else {
        random.below(span)
    };
    let count = random.pick(&[1, 1, 1, 2, 4]).min(span - first) as u32;
    let blocks = Blocks { first, count };
    if random.percent(reads) {
        Want::Read(blocks)
    } else {
        Want::Write(blocks, random.percent(15))
    }
}
