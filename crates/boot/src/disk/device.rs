//! What a disk can do.

use std::io;
use thiserror::Error;

/// Zeroes that are written at once where a disk cannot make them itself, bytes.
const ZEROES: &[u8] = &[0; 64 << 10];

/// A disk, which several threads use.
pub trait Disk: Send + Sync {
    /// Brings it within reach, if it is not. The other functions never do this themselves.
    ///
    /// # Errors
    /// It stays out of reach.
    fn reach(&self) -> Result<(), DiskError>;

    /// Its size, bytes.
    ///
    /// # Errors
    /// It is out of reach.
    fn size(&self) -> Result<u64, DiskError>;

    /// Reads all of `bytes` from an offset on.
    ///
    /// # Errors
    /// The disk's.
    fn read(&self, offset: u64, bytes: &mut [u8]) -> Result<(), DiskError>;

    /// Writes all of `bytes` from an offset on.
    ///
    /// # Errors
    /// The disk's.
    fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), DiskError>;

    /// Makes a range read as zeroes, without space for them where it can.
    ///
    /// # Errors
    /// The disk's.
    fn zero(&self, offset: u64, length: u64) -> Result<(), DiskError> {
        write_zeroes(self, offset, length)
    }

    /// Whether it releases the space of zeroes.
    fn releases(&self) -> bool {
        true
    }

    /// Whether writes are refused, as far as is known.
    fn is_read_only(&self) -> bool {
        false
    }

    /// What was written reaches stable storage.
    ///
    /// # Errors
    /// The disk's: it may not have reached it.
    fn flush(&self) -> Result<(), DiskError>;

    /// Returns what tells its content from another one, as far as it can: not zero.
    ///
    /// # Errors
    /// It is out of reach.
    fn content(&self) -> Result<[u8; 16], DiskError> {
        let size = self.size()?;
        Ok((u128::from(size) << 64 | 1).to_le_bytes())
    }

    /// Requests of other threads end soon, and no further one begins.
    fn close(&self);
}

/// Why a disk did not do something.
#[derive(Debug, Error)]
pub enum DiskError {
    /// It cannot be reached now.
    #[error("out of reach: {}", language::reason(.0))]
    Away(io::Error),
    /// It failed.
    #[error("the disk failed: {}", language::reason(.0))]
    Failed(io::Error),
    /// It is only for reading.
    #[error("the disk is read-only")]
    ReadOnly,
    /// It ends before.
    #[error("behind the end of the disk")]
    End,
    /// The space that it may take is used up.
    #[error("no space left for changes of the disk")]
    Full,
    /// It does not have this command.
    #[error("not a command of this disk")]
    Unsupported,
}

/// Writes zeroes to a range.
pub(super) fn write_zeroes(
    disk: &(impl Disk + ?Sized),
    offset: u64,
    length: u64,
) -> Result<(), DiskError> {
    let (mut offset, mut left) = (offset, length);
    while left > 0 {
        let count = left.min(ZEROES.len() as u64);
        disk.write(offset, &ZEROES[..usize::try_from(count).unwrap_or(0)])?;
        offset += count;
        left -= count;
    }
    Ok(())
}
