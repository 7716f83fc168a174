//! Orders the requests to one AoE target: those that wait, and those that run.
//!
//! Requests run concurrently, except that two which touch the same bytes keep their order if one
//! of them writes. A client repeats a request that got no reply. If the first copy could run
//! after a later write to the same sectors, it would restore old data.

use super::request::{Request, WINDOW};
use crate::mac::Mac;
use std::collections::VecDeque;
use std::ops::Range;

/// Limit of waiting requests. Requests beyond it are dropped, and their clients repeat them.
const WAITING_MAX: usize = 2 * WINDOW as usize;
const BLOCK_BYTES: u64 = 4096;

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AoeClientRequest {
    pub from: Mac,
    pub request: Request,
}

impl AoeClientRequest {
    /// Returns the blocks that the request reads or writes, and whether it writes. None: the
    /// request touches no blocks.
    fn blocks(&self) -> Option<(Range<u64>, bool)> {
        let (bytes, writes) = self.request.extent()?;
        let blocks = bytes.start / BLOCK_BYTES..bytes.end.div_ceil(BLOCK_BYTES);
        Some((blocks, writes))
    }

    fn is_apart_from(&self, other: &AoeClientRequest) -> bool {
        match (self.blocks(), other.blocks()) {
            (Some((own, writes)), Some((others, also_writes))) => {
                !(writes || also_writes) || own.end <= others.start || others.end <= own.start
            }
            _ => true,
        }
    }
}

#[derive(Debug, Default)]
pub struct Queue {
    waiting: VecDeque<AoeClientRequest>,
    running: Vec<AoeClientRequest>,
}

impl Queue {
    /// Adds a request. False: the same request is queued already, or the queue is full.
    pub fn add(&mut self, job: AoeClientRequest) -> bool {
        let mut known = self.waiting.iter().chain(&self.running);
        if self.waiting.len() >= WAITING_MAX || known.any(|other| *other == job) {
            return false;
        }
        self.waiting.push_back(job);
        true
    }

    /// Starts the first waiting request that conflicts with no running request and no earlier
    /// waiting one. None: there is no such request.
    pub fn begin(&mut self) -> Option<AoeClientRequest> {
        let is_free = |at: &usize| {
            let mut before = self.waiting.range(..*at).chain(&self.running);
            let job = &self.waiting[*at];
            before.all(|other| job.is_apart_from(other))
        };
        let at = (0..self.waiting.len()).find(is_free)?;
        let job = self.waiting.remove(at)?;
        self.running.push(job.clone());
        Some(job)
    }

    pub fn end(&mut self, job: &AoeClientRequest) {
        if let Some(at) = self.running.iter().position(|other| other == job) {
            self.running.swap_remove(at);
        }
    }
}
