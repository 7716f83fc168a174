//! What passes through a stream: how many bytes, and what happens to bodies on the way.

use crate::cache;
use crate::setting::Algorithm;

/// What is known of a stream's compression.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CompressionChoice {
    /// What its client takes, by its request.
    pub wanted: Option<Algorithm>,
    /// What its answer is compressed with.
    pub used: Option<Algorithm>,
    /// It would have been, but for a limit of the process.
    pub bypassed: bool,
}

/// What passes through a stream.
#[derive(Debug, Default)]
pub struct Transfer {
    /// Bytes from the client, head included.
    pub bytes_in: u64,
    /// Bytes to the client, head included.
    pub bytes_out: u64,
    /// Of `bytes_in`, those that were counted while they flowed (`option contstats`).
    pub counted_in: u64,
    /// Of `bytes_out`, likewise.
    pub counted_out: u64,
    /// What of it is compressed, and how.
    pub compression: CompressionChoice,
    /// What it has to do with a cache.
    pub cache: Option<Box<cache::Used>>,
}

impl Transfer {
    /// Bytes from the client that are still to be counted.
    pub fn uncounted_in(&self) -> u64 {
        self.bytes_in.saturating_sub(self.counted_in)
    }

    /// Bytes to the client that are still to be counted.
    pub fn uncounted_out(&self) -> u64 {
        self.bytes_out.saturating_sub(self.counted_out)
    }
}
