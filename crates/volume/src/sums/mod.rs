//! Keeps checksums of a replica's data, on its own disk (`verify yes`). They detect data that a
//! disk returns wrong without an error.
//!
//! - [`keeper`] is the state machine that tracks checksums and schedules operations. Its
//!   simulation tests it.
//! - [`record`] is the on-disk format: pages of checksums, and the log.
//! - [`area`] locates and opens the checksums of a replica. [`Checked`] runs operations with
//!   checksums, and [`scrub`] checks all data of a replica.
//!
//! Data and its checksum cannot be written atomically, so:
//! - A page is in the durable log (hot) before any of its blocks is written. It leaves the log
//!   when the data is flushed and the page itself is durable.
//! - After a crash the checksums of hot pages are not trusted. They are recomputed from the data.
//! - Checksums carry a random number, the draw. Those with another draw are invalid, so dropped
//!   checksums are never trusted later.
//!
//! A checksum covers one block of 4 KiB, so a write needs no read of adjacent data. It includes
//! the block number, which detects misdirected writes.

pub mod area;
mod checked;
mod jobs;
mod keeper;
mod record;
mod scrub;
mod shown;
#[cfg(test)]
mod simulation;
mod storing;

pub use checked::Checked;
pub use shown::{Sums, Tally};

use twox_hash::XxHash3_64;

/// Length of a block, bytes. Each block has one checksum.
pub const BLOCK_BYTES: u64 = crate::layout::BLOCK_BYTES;
pub const PAGE_BLOCKS: u64 = crate::layout::SUMS_BLOCKS;

/// Checksum of a block; 0 if unknown.
type Sum = u64;
const UNKNOWN: Sum = 0;

fn sum_of(block: u64, bytes: &[u8]) -> Sum {
    place(block, XxHash3_64::oneshot(bytes))
}

/// Combines a checksum of data with its block number.
fn place(block: u64, data: u64) -> Sum {
    let sum = data ^ (block + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    sum.max(1)
}

fn pages_of(blocks: u64) -> u32 {
    blocks.div_ceil(PAGE_BLOCKS) as u32
}
