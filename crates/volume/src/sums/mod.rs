//! Checksums of the data of a copy, on its own disk (`verify yes`): they find what the disk
//! returns wrong without an error.
//!
//! - [`keeper`] knows the sums and decides what may begin, as a value; its simulation tries it.
//! - [`record`] is what is stored, as bytes: pages of sums, and the log.
//! - [`area`] is where a copy has them, and opens them. [`Checked`] does operations with them,
//!   and [`scrub`] reads all of a copy.
//!
//! Data and its sum cannot be written at once, so:
//! - A page of sums is in the log on stable storage (hot) before a block of it is written, and
//!   leaves the log when the data is flushed and the page is on stable storage.
//! - After a crash the sums of hot pages are not believed. They are computed from the data.
//! - Sums belong to a draw of a number. Those of another draw count for nothing, so sums that
//!   were given up are never believed later.
//!
//! A sum covers one block of 4 KiB, so a write needs no read of what is around it. It includes
//! the number of the block: data that was written to another place is found, too.

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

/// Bytes of a block, which has one sum.
pub const BLOCK_BYTES: u64 = crate::layout::BLOCK_BYTES;
/// Sums in a page.
pub const PAGE_BLOCKS: u64 = crate::layout::SUMS_BLOCKS;

/// The checksum of a block; 0 where it is not known.
type Sum = u64;
/// No sum is known.
const UNKNOWN: Sum = 0;

/// Returns the checksum of the block with this number.
fn sum_of(block: u64, bytes: &[u8]) -> Sum {
    place(block, XxHash3_64::oneshot(bytes))
}

/// Binds a checksum of data to its place.
fn place(block: u64, data: u64) -> Sum {
    let sum = data ^ (block + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    sum.max(1)
}

/// Returns how many pages the sums of so many blocks take.
fn pages_of(blocks: u64) -> u32 {
    blocks.div_ceil(PAGE_BLOCKS) as u32
}
