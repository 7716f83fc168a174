//! Counts the fetches of a file server, and the requests or connections of a disk server. The
//! threads of the server write the counters, and any thread reads them.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counters of a server since its start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    pub open: u64,
    /// Number of fetches that the client has received completely; at a disk server, of completed
    /// requests or connections.
    pub done: u64,
    pub failed: u64,
    /// Requests and connections that were refused, among them those for unknown names.
    pub refused: u64,
    pub bytes: u64,
}

#[derive(Debug, Default)]
pub struct Counting {
    open: AtomicU64,
    done: AtomicU64,
    failed: AtomicU64,
    refused: AtomicU64,
    bytes: AtomicU64,
}

/// Result of a fetch that was counted as open.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FetchOutcome {
    Done,
    Failed,
    /// Neither completed nor failed: the client requested only the file's properties, such as by
    /// HEAD, or its request gets no reply.
    Asked,
}

impl Counting {
    pub fn begin(&self) {
        self.open.fetch_add(1, Ordering::Relaxed);
    }

    pub fn end(&self, ended: FetchOutcome) {
        self.open.fetch_sub(1, Ordering::Relaxed);
        match ended {
            FetchOutcome::Done => self.done.fetch_add(1, Ordering::Relaxed),
            FetchOutcome::Failed => self.failed.fetch_add(1, Ordering::Relaxed),
            FetchOutcome::Asked => 0,
        };
    }

    pub fn refuse(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    pub fn send(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

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
