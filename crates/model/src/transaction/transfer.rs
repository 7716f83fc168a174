//! Counts the transferred bytes of a stream, and records how its response is compressed and
//! cached.

use crate::cache;
use crate::setting::Algorithm;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CompressionChoice {
    /// Algorithm that the client accepts, according to the request.
    pub wanted: Option<Algorithm>,
    /// Algorithm with which the response is compressed.
    pub used: Option<Algorithm>,
    /// The response is not compressed because of a limit of the process.
    pub bypassed: bool,
}

/// Transferred data of a stream.
#[derive(Debug, Default)]
pub struct Transfer {
    /// Bytes from the client, head included.
    pub bytes_in: u64,
    /// Bytes to the client, head included.
    pub bytes_out: u64,
    /// Part of `bytes_in` that was counted during the transfer (`option contstats`).
    pub counted_in: u64,
    /// Part of `bytes_out` that was counted during the transfer.
    pub counted_out: u64,
    pub compression: CompressionChoice,
    /// State of the cache lookup or store; None without a cache.
    pub cache: Option<Box<cache::Used>>,
}

impl Transfer {
    pub fn uncounted_in(&self) -> u64 {
        self.bytes_in.saturating_sub(self.counted_in)
    }

    pub fn uncounted_out(&self) -> u64 {
        self.bytes_out.saturating_sub(self.counted_out)
    }
}
