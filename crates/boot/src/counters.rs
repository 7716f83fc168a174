//! How much was fetched: counters that a server's thread writes and any thread reads.

use std::sync::atomic::{AtomicU64, Ordering};

/// The counters of a server since its start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    /// Fetches that have begun and have not ended.
    pub open: u64,
    /// Fetches of which the client has everything.
    pub done: u64,
    /// Fetches that ended before.
    pub failed: u64,
    /// Requests and connections that were refused, among them those for unknown names.
    pub refused: u64,
    /// Bytes of files that were sent.
    pub bytes: u64,
}

/// Counters that are counted.
#[derive(Debug, Default)]
pub struct Counting {
    open: AtomicU64,
    done: AtomicU64,
    failed: AtomicU64,
    refused: AtomicU64,
    bytes: AtomicU64,
}

/// How a fetch that was counted as open ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ended {
    /// The client has everything.
    Done,
    /// Something broke.
    Failed,
    /// The client only asked about the file.
    Asked,
}

impl Counting {
    /// A fetch begins.
    pub fn begin(&self) {
        self.open.fetch_add(1, Ordering::Relaxed);
    }

    /// A fetch that has begun ends.
    pub fn end(&self, ended: Ended) {
        self.open.fetch_sub(1, Ordering::Relaxed);
        match ended {
            Ended::Done => self.done.fetch_add(1, Ordering::Relaxed),
            Ended::Failed => self.failed.fetch_add(1, Ordering::Relaxed),
            Ended::Asked => 0,
        };
    }

    /// A request or a connection is refused.
    pub fn refuse(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// Bytes of a file are sent.
    pub fn send(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Returns the counters as they are now.
    pub fn read(&self) -> Counters {
        Counters {
            open: self.open.load(Ordering::Relaxed),
            done: self.done.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
        }
    }
}
