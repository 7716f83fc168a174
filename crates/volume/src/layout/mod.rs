//! The metadata of a copy as bytes: a ring of slots, of which the newest valid one holds the
//! head and the activity log, and the pages of the dirty bitmap. Bytes in, bytes out: others
//! read and write them.
//!
//! - A slot is a whole record with a checksum, and a store writes the one that is the oldest.
//!   So a torn or lost slot leaves the one before it.
//! - A bitmap page has its own checksum. A damaged one counts as dirty in all its blocks.
//! - To set or clear all bits is a matter of the slot: it names the number of the store at
//!   which that was done, and pages of an earlier one do not count any more.
//! - A page changes before the slot with which an extent leaves the log. Until the slot is
//!   there the extent is hot, so what its bits say does not matter.

pub(crate) mod bytes;
mod page;
mod slot;
mod store;
#[cfg(test)]
mod tests;

pub use slot::{Head, State, VolumeId};
pub use store::{Change, Loaded, Metadata, Phase, Write, stored_size};

/// Bytes of a block, the unit of the dirty bitmap.
pub const BLOCK_BYTES: u64 = 4096;
/// Blocks of an extent, the unit of the activity log.
pub const EXTENT_BLOCKS: u32 = 1024;
/// Extents that the activity log holds.
pub const LOG_EXTENTS_MAX: usize = 1024;
/// The largest volume, bytes: its bitmap takes 512 MiB.
pub const VOLUME_BYTES_MAX: u64 = 16 << 40;

/// Blocks whose checksums are in one page: the rest of it is its head.
pub const SUMS_BLOCKS: u64 = 504;

/// The format that this program writes, and the newest that it reads.
pub const FORMAT: u32 = 1;
/// The first bytes of a slot, and of every disk that is ours.
pub const MAGIC: [u8; 8] = *b"EVENKEEL";

/// Slots of the ring.
const SLOTS: u64 = 8;
/// Room for a slot, bytes: the record with a full activity log.
pub(crate) const SLOT_BYTES: usize = 8192;
/// What is written at once, bytes. Shorter records leave the rest of the slot as it is.
const SECTOR_BYTES: usize = 4096;
/// Where the bitmap begins, bytes.
const BITMAP_OFFSET: u64 = SLOTS * SLOT_BYTES as u64;
/// Bytes of a bitmap page.
const PAGE_BYTES: usize = 4096;
/// Extents whose bits are in one page: the rest of it is its head and checksum.
const PAGE_EXTENTS: u32 = 31;
/// Words of 64 blocks that an extent has.
const EXTENT_WORDS: usize = EXTENT_BLOCKS as usize / 64;

/// Why metadata cannot be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum LayoutError {
    /// There is nothing.
    #[error("the metadata is empty (0 bytes)")]
    Empty,
    /// It is shorter than the ring of slots, or than the bitmap of the volume.
    #[error("the metadata is truncated: {has} bytes, at least {needs} expected")]
    Truncated {
        /// Bytes there are.
        has: u64,
        /// Bytes there should be.
        needs: u64,
    },
    /// No slot begins with our magic number.
    #[error("no metadata of a volume")]
    NotOurs,
    /// Slots are ours, but none is whole.
    #[error("the metadata is damaged: no slot of the ring has a valid checksum")]
    Damaged,
    /// It was written by a newer program.
    #[error("the metadata has format {0}, this program supports up to {FORMAT}: upgrade it")]
    Newer(u32),
    /// It is another volume's.
    #[error("the metadata is of another volume ({found}, expected {expected})")]
    OtherVolume {
        /// Whose it is.
        found: VolumeId,
        /// Whose it should be.
        expected: VolumeId,
    },
    /// A volume that is empty, has no whole number of blocks, or is too large.
    #[error("invalid volume size: {0} bytes")]
    Size(u64),
}

/// Returns how many bytes the metadata of a volume takes.
///
/// # Errors
/// No volume has this size.
pub fn metadata_bytes(size_bytes: u64) -> Result<u64, LayoutError> {
    if size_bytes == 0 || !size_bytes.is_multiple_of(BLOCK_BYTES) || size_bytes > VOLUME_BYTES_MAX {
        return Err(LayoutError::Size(size_bytes));
    }
    Ok(BITMAP_OFFSET + u64::from(pages(size_bytes)) * PAGE_BYTES as u64)
}

/// Returns how many bytes the checksums of a volume take ([`crate::sums`]).
pub fn sums_bytes(size_bytes: u64) -> u64 {
    size_bytes.div_ceil(BLOCK_BYTES * SUMS_BLOCKS) * PAGE_BYTES as u64
}

/// Extents of a volume.
fn extents(size_bytes: u64) -> u32 {
    size_bytes.div_ceil(BLOCK_BYTES * u64::from(EXTENT_BLOCKS)) as u32
}

/// Pages of its bitmap.
fn pages(size_bytes: u64) -> u32 {
    extents(size_bytes).div_ceil(PAGE_EXTENTS)
}
