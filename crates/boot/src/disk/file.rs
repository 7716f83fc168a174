//! A disk whose bytes are those of a file or a block device.

use super::device::{Disk, DiskError, write_zeroes};
use rustix::fs::{FallocateFlags, FileType, Mode, OFlags, fallocate};
use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::PathBuf;
use std::sync::OnceLock;

/// A disk whose bytes are those of a file or a block device.
#[derive(Debug)]
pub struct FileDisk {
    path: PathBuf,
    is_read_only: bool,
    opened: OnceLock<(File, u64)>,
}

impl FileDisk {
    /// Names the file, which is opened by [`Disk::reach`].
    pub fn new(path: PathBuf, is_read_only: bool) -> FileDisk {
        FileDisk {
            path,
            is_read_only,
            opened: OnceLock::new(),
        }
    }

    fn open(&self) -> io::Result<(File, u64)> {
        let access = match self.is_read_only {
            true => OFlags::RDONLY,
            false => OFlags::RDWR,
        };
        // A FIFO is not waited for.
        let flags = access | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let mut file = File::from(rustix::fs::open(&self.path, flags, Mode::empty())?);
        let kind = FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode);
        if !matches!(kind, FileType::RegularFile | FileType::BlockDevice) {
            return Err(io::Error::from(io::ErrorKind::InvalidInput));
        }
        let size = file.seek(SeekFrom::End(0))?;
        Ok((file, size))
    }

    fn opened(&self) -> Result<&(File, u64), DiskError> {
        let away = || DiskError::Away(io::ErrorKind::NotFound.into());
        self.opened.get().ok_or_else(away)
    }
}

impl Disk for FileDisk {
    fn reach(&self) -> Result<(), DiskError> {
        if self.opened.get().is_none() {
            let opened = self.open().map_err(DiskError::Away)?;
            // Only one thread brings a disk within reach.
            let _ = self.opened.set(opened);
        }
        Ok(())
    }

    fn size(&self) -> Result<u64, DiskError> {
        self.opened().map(|(_, size)| *size)
    }

    fn read(&self, offset: u64, bytes: &mut [u8]) -> Result<(), DiskError> {
        let (file, _) = self.opened()?;
        file.read_exact_at(bytes, offset).map_err(DiskError::Failed)
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        let (file, _) = self.opened()?;
        if self.is_read_only {
            return Err(DiskError::ReadOnly);
        }
        file.write_all_at(bytes, offset).map_err(DiskError::Failed)
    }

    fn zero(&self, offset: u64, length: u64) -> Result<(), DiskError> {
        let (file, _) = self.opened()?;
        if self.is_read_only {
            return Err(DiskError::ReadOnly);
        }
        // A block device without this writes the zeroes itself, or refuses.
        let how = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        match fallocate(file, how, offset, length) {
            Ok(()) => Ok(()),
            Err(_) => write_zeroes(self, offset, length),
        }
    }

    fn content(&self) -> Result<[u8; 16], DiskError> {
        let (file, size) = self.opened()?;
        let about = file.metadata().map_err(DiskError::Failed)?;
        // A block device has no time of its content.
        let time = match about.is_file() {
            true => about.mtime().wrapping_mul(1_000_000_000) + about.mtime_nsec(),
            false => 0,
        };
        let mut content = [0; 16];
        content[..8].copy_from_slice(&size.to_le_bytes());
        content[8..].copy_from_slice(&(time as u64 | 1).to_le_bytes());
        Ok(content)
    }

    fn is_read_only(&self) -> bool {
        self.is_read_only
    }

    fn flush(&self) -> Result<(), DiskError> {
        let (file, _) = self.opened()?;
        match self.is_read_only {
            true => Ok(()),
            false => file.sync_data().map_err(DiskError::Failed),
        }
    }

    fn close(&self) {}
}
