//! Defines [`Disk`], the interface of a disk that machines use over the network, and its errors,
//! independent of the storage and of the protocol.

use std::io;
use thiserror::Error;

/// Zeroes of one write to a disk that has no command for zeroes: 64 KiB.
const ZEROES: &[u8] = &[0; 64 << 10];

/// Disk that several threads use at once. Only [`Disk::reach`] opens it; requests fail while it is
/// unreachable.
pub trait Disk: Send + Sync {
    /// Connects to the disk or opens it, if it is not reachable. No other function does that.
    ///
    /// # Errors
    ///
    /// The disk stays unreachable.
    fn reach(&self) -> Result<(), DiskError>;

    /// Returns the size of the disk, bytes.
    ///
    /// # Errors
    ///
    /// The disk is unreachable.
    fn size(&self) -> Result<u64, DiskError>;

    /// Fills `bytes` from an offset.
    ///
    /// # Errors
    ///
    /// The disk is unreachable, or the read fails.
    fn read(&self, offset: u64, bytes: &mut [u8]) -> Result<(), DiskError>;

    /// Writes all of `bytes` at an offset.
    ///
    /// # Errors
    ///
    /// The disk is unreachable or read-only, or the write fails.
    fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), DiskError>;

    /// Makes a range read as zeroes, and releases its space where the disk can.
    ///
    /// # Errors
    ///
    /// The disk is unreachable or read-only, or the write fails.
    fn zero(&self, offset: u64, length: u64) -> Result<(), DiskError> {
        write_zeroes(self, offset, length)
    }

    /// Returns whether the disk releases the space of zeroes.
    fn releases(&self) -> bool {
        true
    }

    /// Returns whether the disk is known to refuse writes.
    fn is_read_only(&self) -> bool {
        false
    }

    /// Returns whether another user may have changed the disk since it was first reached. The disk
    /// then never becomes reachable again, and each request fails.
    fn is_superseded(&self) -> bool {
        false
    }

    /// Brings all acknowledged writes to stable storage.
    ///
    /// # Errors
    ///
    /// The disk is unreachable, or fails: the data may not be on stable storage.
    fn flush(&self) -> Result<(), DiskError>;

    /// Returns an identifier of the content, which differs for different content as far as the
    /// disk can tell; never zero.
    ///
    /// # Errors
    ///
    /// The disk is unreachable.
    fn content(&self) -> Result<[u8; 16], DiskError> {
        let size = self.size()?;
        Ok((u128::from(size) << 64 | 1).to_le_bytes())
    }

    /// Closes a disk that has a connection: running requests fail, and no other request begins.
    /// Other disks do nothing.
    fn close(&self);
}

/// Failure of a disk request.
#[derive(Debug, Error)]
pub enum DiskError {
    #[error("out of reach: {}", language::reason(.0))]
    Away(io::Error),
    #[error("the disk failed: {}", language::reason(.0))]
    Failed(io::Error),
    #[error("the disk is read-only")]
    ReadOnly,
    #[error("behind the end of the disk")]
    End,
    #[error("no space left for changes of the disk")]
    Full,
    #[error("not a command of this disk")]
    Unsupported,
}

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
