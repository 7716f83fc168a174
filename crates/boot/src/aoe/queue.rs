//! The requests of one target that wait, and those under way.
//!
//! Requests run beside each other, but never two that touch the same bytes if one of them writes: these
//! keep the order in which they came. A client repeats a request without a reply; if its first copy could
//! run after a later write to the same sectors, it would bring old data back.

use super::request::{Request, WINDOW};
use crate::mac::Mac;
use std::collections::VecDeque;
use std::ops::Range;

/// Requests that wait at most; the clients of further ones repeat them.
const WAITING_MAX: usize = 2 * WINDOW as usize;
/// Disks change no less than a block of this many bytes at once.
const BLOCK_BYTES: u64 = 4096;

/// A request with its client.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Job {
    /// The client's card.
    pub from: Mac,
    /// The request.
    pub request: Request,
}

impl Job {
    /// The blocks that it touches, and whether it changes them.
    fn blocks(&self) -> Option<(Range<u64>, bool)> {
        let (bytes, writes) = self.request.extent()?;
        let blocks = bytes.start / BLOCK_BYTES..bytes.end.div_ceil(BLOCK_BYTES);
        Some((blocks, writes))
    }

    fn is_apart_from(&self, other: &Job) -> bool {
        match (self.blocks(), other.blocks()) {
            (Some((own, writes)), Some((others, also_writes))) => {
                !(writes || also_writes) || own.end <= others.start || others.end <= own.start
            }
            _ => true,
        }
    }
}

/// The requests of a target.
#[derive(Debug, Default)]
pub struct Queue {
    waiting: VecDeque<Job>,
    running: Vec<Job>,
}

impl Queue {
    /// Takes a request in. False: it is here already, or there is no room.
    pub fn add(&mut self, job: Job) -> bool {
        let mut known = self.waiting.iter().chain(&self.running);
        if self.waiting.len() >= WAITING_MAX || known.any(|other| *other == job) {
            return false;
        }
        self.waiting.push_back(job);
        true
    }

    /// Begins the first request that nothing before it holds up.
    pub fn begin(&mut self) -> Option<Job> {
        let is_free = |at: &usize| {
            let before = self.waiting.range(..*at).chain(&self.running);
            let job = &self.waiting[*at];
            { before }.all(|other| job.is_apart_from(other))
        };
        let at = (0..self.waiting.len()).find(is_free)?;
        let job = self.waiting.remove(at)?;
        self.running.push(job.clone());
        Some(job)
    }

    /// A request that was begun has ended.
    pub fn end(&mut self, job: &Job) {
        if let Some(at) = self.running.iter().position(|other| other == job) {
            self.running.swap_remove(at);
        }
    }
}
