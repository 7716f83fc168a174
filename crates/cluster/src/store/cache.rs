//! Keeps the end of the log in memory: the entries that are not on disk yet, and some earlier ones,
//! for followers and for the state machine.

use crate::log::Entry;
use std::collections::VecDeque;
use std::ops::Range;

pub(super) const CACHE_BYTES_MAX: usize = 1 << 20;

/// Consecutive entries, the last of which is the last of the log.
#[derive(Default)]
pub(super) struct Cache {
    entries: VecDeque<Cached>,
    bytes: usize,
    flushed: u64,
}

struct Cached {
    entry: Entry,
    bytes: usize,
    /// Number of the write that stores the entry. The index does not identify it, because
    /// another entry may have had the same index.
    write: u64,
}

impl Cache {
    pub(super) fn first(&self) -> Option<u64> {
        self.entries.front().map(|cached| cached.entry.log_id.index)
    }

    pub(super) fn push(&mut self, entry: Entry, bytes: usize, write: u64) {
        debug_assert!(
            self.entries
                .back()
                .is_none_or(|last| last.entry.log_id.index + 1 == entry.log_id.index)
        );
        self.bytes += bytes;
        self.entries.push_back(Cached {
            entry,
            bytes,
            write,
        });
    }

    pub(super) fn truncate(&mut self, from: u64) {
        while let Some(cached) = self.entries.back()
            && cached.entry.log_id.index >= from
        {
            self.bytes -= cached.bytes;
            self.entries.pop_back();
        }
    }

    pub(super) fn purge(&mut self, below: u64) {
        while let Some(cached) = self.entries.front()
            && cached.entry.log_id.index < below
        {
            self.bytes -= cached.bytes;
            self.entries.pop_front();
        }
    }

    pub(super) fn flushed(&mut self, write: u64) {
        self.flushed = self.flushed.max(write);
        while self.bytes > CACHE_BYTES_MAX
            && let Some(cached) = self.entries.front()
            && cached.write <= self.flushed
        {
            self.bytes -= cached.bytes;
            self.entries.pop_front();
        }
    }

    /// Returns the number of the last write that is on disk.
    pub(super) fn last_flushed(&self) -> u64 {
        self.flushed
    }

    /// Returns entries of a range that begins no earlier than [`Cache::first`], up to
    /// this many bytes; at least one, if there is one.
    pub(super) fn range(&self, range: Range<u64>, bytes_max: usize) -> Vec<Entry> {
        let mut found = Vec::new();
        let Some(first) = self.first() else {
            return found;
        };
        let skip = usize::try_from(range.start.saturating_sub(first)).unwrap_or(usize::MAX);
        let mut bytes = 0;
        for cached in self.entries.iter().skip(skip) {
            if cached.entry.log_id.index >= range.end
                || (!found.is_empty() && bytes + cached.bytes > bytes_max)
            {
                break;
            }
            bytes += cached.bytes;
            found.push(cached.entry.clone());
        }
        found
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}
