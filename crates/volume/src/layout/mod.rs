//! Encodes and decodes the on-disk metadata of a replica: a ring of slots, whose newest valid one
//! contains the head and the activity log, and the pages of the dirty bitmap. I/O happens
//! elsewhere.
//!
//! - A slot is a complete record with a checksum. A store overwrites the oldest slot, so a torn or
//!   lost write leaves the previous slot valid.
//! - A bitmap page has its own checksum. A damaged page counts as completely dirty.
//! - Setting or clearing all bits changes only the slot: it contains the number of that store, and
//!   pages of earlier stores are invalid.
//! - A page is written before the slot that evicts its extent from the log. Until the slot is
//!   written the extent is hot, so its bits do not matter.

pub(crate) mod bytes;
mod page;
mod slot;
mod store;
#[cfg(test)]
mod tests;

pub use slot::{CopyIdentity, Superblock, SyncState, VolumeId};
pub use store::{
    Loaded, Metadata, MetadataChange, Write, WritePhase, stored_overwrite, stored_size,
};

/// Length of a block, the unit of the dirty bitmap, bytes.
pub const BLOCK_BYTES: u64 = 4096;
/// Blocks per extent, the unit of the activity log.
pub const EXTENT_BLOCKS: u32 = 1024;
/// Capacity of the activity log, extents.
pub const LOG_EXTENTS_MAX: usize = 1024;
/// Maximum size of a volume, bytes. Its bitmap takes 512 MiB.
pub const VOLUME_BYTES_MAX: u64 = 16 << 40;

/// Number of blocks whose checksums fit into one page, besides its header.
pub const SUMS_BLOCKS: u64 = 504;

/// Number of the format that this release writes, and of the newest one that it reads.
pub const FORMAT: u32 = 1;
/// Magic number of a slot, at the start of every metadata slot of Evenkeel.
pub const MAGIC: [u8; 8] = *b"EVENKEEL";

const SLOTS: u64 = 8;
/// Length of a slot, bytes: fits a record with a full activity log.
pub(crate) const SLOT_BYTES: usize = 8192;
/// Unit of metadata writes, bytes. A record that is shorter than the slot leaves the other sectors
/// of the slot unchanged.
const SECTOR_BYTES: usize = 4096;
/// Offset of the bitmap, bytes.
const BITMAP_OFFSET: u64 = SLOTS * SLOT_BYTES as u64;
const PAGE_BYTES: usize = 4096;
/// Extents per bitmap page, besides its header and checksum.
const PAGE_EXTENTS: u32 = 31;
/// Number of words of dirty bits per extent; a word has the bits of 64 blocks.
const EXTENT_WORDS: usize = EXTENT_BLOCKS as usize / 64;

/// Reason why metadata cannot be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum LayoutError {
    #[error("the metadata is empty (0 bytes)")]
    Empty,
    #[error("the metadata is truncated: {has} bytes, at least {needs} expected")]
    Truncated { has: u64, needs: u64 },
    /// No slot begins with the magic number.
    #[error("no metadata of a volume")]
    NotOurs,
    #[error("the metadata is damaged: no slot of the ring has a valid checksum")]
    Damaged,
    #[error("the metadata has format {0}, this program supports up to {FORMAT}: upgrade it")]
    Newer(u32),
    #[error("the metadata is of another volume ({found}, expected {expected})")]
    OtherVolume { found: VolumeId, expected: VolumeId },
    /// The size is zero, not a multiple of the block length, or too large.
    #[error("invalid volume size: {0} bytes")]
    Size(u64),
}

/// Returns the length of a volume's metadata, bytes.
///
/// # Errors
/// The size is invalid.
pub fn metadata_bytes(size_bytes: u64) -> Result<u64, LayoutError> {
    if size_bytes == 0 || !size_bytes.is_multiple_of(BLOCK_BYTES) || size_bytes > VOLUME_BYTES_MAX {
        return Err(LayoutError::Size(size_bytes));
    }
    Ok(BITMAP_OFFSET + u64::from(pages(size_bytes)) * PAGE_BYTES as u64)
}

/// Returns the length of a volume's checksums, bytes ([`crate::sums`]).
pub fn sums_bytes(size_bytes: u64) -> u64 {
    size_bytes.div_ceil(BLOCK_BYTES * SUMS_BLOCKS) * PAGE_BYTES as u64
}

fn extents(size_bytes: u64) -> u32 {
    size_bytes.div_ceil(BLOCK_BYTES * u64::from(EXTENT_BLOCKS)) as u32
}

fn pages(size_bytes: u64) -> u32 {
    extents(size_bytes).div_ceil(PAGE_EXTENTS)
}
