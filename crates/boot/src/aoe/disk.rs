//! What stores the sectors of a target.

use rustix::fs::{FileType, Mode, OFlags};
use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::OnceLock;
use thiserror::Error;

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

    /// What was written reaches stable storage.
    ///
    /// # Errors
    /// The disk's: it may not have reached it.
    fn flush(&self) -> Result<(), DiskError>;

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
    /// It does not have this command.
    #[error("not a command of this disk")]
    Unsupported,
}

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

    fn flush(&self) -> Result<(), DiskError> {
        let (file, _) = self.opened()?;
        match self.is_read_only {
            true => Ok(()),
            false => file.sync_data().map_err(DiskError::Failed),
        }
    }

    fn close(&self) {}
}
