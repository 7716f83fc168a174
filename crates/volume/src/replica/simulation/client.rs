//! Clients: they send requests to the node that they think is the owner, and send them
//! again, as another attempt, when it says that it is not, dies, or takes too long.

use super::Content;
use super::check::Attempt;
use crate::replica::{Blocks, Body, Request, RequestId};
use lab::Random;

/// What a client wants.
#[derive(Clone, Copy, Debug)]
pub enum Want {
    Read(Blocks),
    Write(Blocks, bool),
    Flush,
}

/// One operation of a client, sent as one attempt after the other.
#[derive(Clone, Debug)]
pub struct Op {
    pub client: usize,
    pub want: Want,
    pub node: usize,
    pub done: bool,
    /// The current attempt.
    pub attempt: Attempt,
}

/// An operation on its way to a node.
#[derive(Clone, Copy, Debug)]
pub struct Sent {
    pub op: usize,
    pub node: usize,
    /// Of the process that it was sent to.
    pub life: u64,
    /// In the checker's events.
    pub called: u64,
    /// Neither returned nor decided.
    pub open: bool,
}

impl Op {
    /// The request of an attempt, which writes its own number.
    pub fn request(&self) -> (RequestId, Request<Content>) {
        let request = match self.want {
            Want::Read(blocks) => Request::Read(blocks),
            Want::Write(blocks, fua) => Request::Write {
                blocks,
                body: Body::Data(Content(vec![self.attempt; blocks.count as usize])),
                fua,
            },
            Want::Flush => Request::Flush,
        };
        (RequestId(u64::from(self.attempt)), request)
    }

    /// The blocks that are read or written.
    pub fn blocks(&self) -> Option<Blocks> {
        match self.want {
            Want::Read(blocks) | Want::Write(blocks, _) => Some(blocks),
            Want::Flush => None,
        }
    }
}

/// Draws an operation in the first `span` blocks, most of them in a crowd.
pub fn draw(random: &mut Random, reads: u64, flushes: u64, crowd: u64, span: u64) -> Want {
    if random.percent(flushes) {
        return Want::Flush;
    }
    let first = match random.percent(70) {
        // Spread over the extents.
        true => random.below(crowd) * 11 % span,
        false => random.below(span),
    };
    let count = random.pick(&[1, 1, 1, 2, 4]).min(span - first) as u32;
    let blocks = Blocks { first, count };
    match random.percent(reads) {
        true => Want::Read(blocks),
        false => Want::Write(blocks, random.percent(15)),
    }
}
