//! Stores a disk in a file or a block device: opens and locks the file, and executes the requests.

use super::device::{Disk, DiskError, write_zeroes};
use part::lock;
use rustix::fs::{FallocateFlags, FileType, FlockOperation, Mode, OFlags, Stat, fallocate, flock};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, Weak};

/// Disk that is stored in a file or a block device. A writable file has one user at a time,
/// whichever paths lead to it: while this disk has it, other disks, the volume role and other
/// processes that lock files are refused, and while one of them has it, this disk is unreachable.
#[derive(Debug)]
pub struct FileDisk {
    path: PathBuf,
    is_read_only: bool,
    /// Name of the disk in the configuration, such as `lan.system`: all servers of this disk share
    /// the file.
    user: String,
    opened: OnceLock<(Arc<File>, u64)>,
}

/// Identity of a file in the kernel's numbers, independent of its path.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct FileIdentity {
    is_device: bool,
    device: u64,
    inode: u64,
}

impl FileIdentity {
    fn of(stat: &Stat) -> io::Result<FileIdentity> {
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Ok(FileIdentity {
                is_device: false,
                device: stat.st_dev,
                inode: stat.st_ino,
            }),
            // Identifies a block device by its number: all device nodes of the device lead to the
            // same bytes.
            FileType::BlockDevice => Ok(FileIdentity {
                is_device: true,
                device: stat.st_rdev,
                inode: 0,
            }),
            _ => Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "neither a file nor a block device",
            )),
        }
    }
}

/// Files that disks of this process write, each with the disk's name. The kernel's lock belongs to
/// the descriptor, so all users of the same disk share the descriptor.
static WRITTEN: Mutex<BTreeMap<FileIdentity, (String, Weak<File>)>> = Mutex::new(BTreeMap::new());

impl FileDisk {
    /// Creates a disk for the file. [`Disk::reach`] opens the file for this user.
    pub fn new(path: PathBuf, is_read_only: bool, user: String) -> FileDisk {
        FileDisk {
            path,
            is_read_only,
            user,
            opened: OnceLock::new(),
        }
    }

    fn open(&self) -> io::Result<(Arc<File>, u64)> {
        let identity = FileIdentity::of(&rustix::fs::stat(&self.path)?)?;
        if self.is_read_only {
            let file = self.open_as(identity, OFlags::RDONLY)?;
            self.lock(&file, FlockOperation::NonBlockingLockShared)?;
            return sized(Arc::new(file));
        }
        let mut written = lock(&WRITTEN);
        written.retain(|_, (_, file)| file.strong_count() > 0);
        if let Some((user, file)) = written.get(&identity)
            && let Some(file) = file.upgrade()
        {
            return if *user == self.user {
                sized(file)
            } else {
                Err(self.busy(&format!("disk {user} has it open")))
            };
        }
        // With O_EXCL, the kernel refuses a block device that is mounted, or that another program
        // has opened exclusively.
        let alone = if identity.is_device {
            OFlags::EXCL
        } else {
            OFlags::empty()
        };
        let file = self.open_as(identity, OFlags::RDWR | alone)?;
        self.lock(&file, FlockOperation::NonBlockingLockExclusive)?;
        let file = Arc::new(file);
        written.insert(identity, (self.user.clone(), Arc::downgrade(&file)));
        sized(file)
    }

    fn open_as(&self, identity: FileIdentity, access: OFlags) -> io::Result<File> {
        // O_NONBLOCK avoids that the open waits, if the path leads to a FIFO.
        let flags = access | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let opened = rustix::fs::open(&self.path, flags, Mode::empty());
        let file = File::from(opened.map_err(|errno| match errno {
            Errno::BUSY => self.busy("something else has the device open"),
            errno => errno.into(),
        })?);
        if FileIdentity::of(&rustix::fs::fstat(&file)?)? == identity {
            Ok(file)
        } else {
            Err(self.busy("it was replaced just now"))
        }
    }

    fn lock(&self, file: &File, operation: FlockOperation) -> io::Result<()> {
        flock(file, operation).map_err(|errno| match errno {
            Errno::WOULDBLOCK => self.busy("something else has it open, and it has one writer"),
            errno => errno.into(),
        })
    }

    fn busy(&self, why: &str) -> io::Error {
        let words = format!("{}: {why}", self.path.display());
        io::Error::new(io::ErrorKind::ResourceBusy, words)
    }

    fn opened(&self) -> Result<&(Arc<File>, u64), DiskError> {
        let away = || DiskError::Away(io::ErrorKind::NotFound.into());
        self.opened.get().ok_or_else(away)
    }
}

fn sized(file: Arc<File>) -> io::Result<(Arc<File>, u64)> {
    let size = (&*file).seek(SeekFrom::End(0))?;
    Ok((file, size))
}

impl Disk for FileDisk {
    fn reach(&self) -> Result<(), DiskError> {
        if self.opened.get().is_none() {
            let opened = self.open().map_err(DiskError::Away)?;
            // Ignores that a value may be set already: only one thread calls this function.
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
        // Writes zeroes instead, if the file system or the device cannot punch a hole.
        let how = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        match fallocate(&**file, how, offset, length) {
            Ok(()) => Ok(()),
            Err(_) => write_zeroes(self, offset, length),
        }
    }

    fn content(&self) -> Result<[u8; 16], DiskError> {
        let (file, size) = self.opened()?;
        let about = file.metadata().map_err(DiskError::Failed)?;
        // Uses only the size of a block device, which has no modification time of its content.
        let time = if about.is_file() {
            about.mtime().wrapping_mul(1_000_000_000) + about.mtime_nsec()
        } else {
            0
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
        if self.is_read_only {
            Ok(())
        } else {
            file.sync_data().map_err(DiskError::Failed)
        }
    }

    fn close(&self) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use lab::ScratchDirectory;
    use std::os::unix::fs::symlink;

    fn reach(path: &std::path::Path, is_read_only: bool, user: &str) -> Result<FileDisk, String> {
        let disk = FileDisk::new(path.to_owned(), is_read_only, user.to_owned());
        match disk.reach() {
            Ok(()) => Ok(disk),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn file_has_one_writer_under_every_path() {
        let scratch = ScratchDirectory::new().unwrap();
        let path = scratch.write("disk", [0; 4096]).unwrap();
        let [soft, hard] = ["soft", "hard"].map(|name| scratch.path().join(name));
        symlink(&path, &soft).unwrap();
        std::fs::hard_link(&path, &hard).unwrap();
        let dotted = scratch.path().join("./disk");
        let first = reach(&path, false, "lan.system").unwrap();
        for other in [&path, &soft, &hard, &dotted] {
            let refused = reach(other, false, "lan.other").unwrap_err();
            assert!(refused.contains("disk lan.system has it open"), "{refused}");
            let refused = reach(other, true, "lan.other").unwrap_err();
            assert!(refused.contains("it has one writer"), "{refused}");
        }
        // AoE and iSCSI serve the same disk: the file stays locked until both have closed it.
        let second = reach(&soft, false, "lan.system").unwrap();
        second.write(0, &[7]).unwrap();
        drop(first);
        assert!(reach(&hard, false, "lan.other").is_err());
        drop(second);
        let reader = reach(&hard, true, "lan.other").unwrap();
        let another = reach(&path, true, "lan.system").unwrap();
        assert!(reach(&path, false, "lan.system").is_err(), "it is read");
        drop((reader, another));
        assert!(reach(&path, false, "lan.system").is_ok());
    }

    #[test]
    fn file_that_another_process_has_locked_is_refused() {
        let scratch = ScratchDirectory::new().unwrap();
        let path = scratch.write("mail.volume", [0; 4096]).unwrap();
        // The volume role takes the same lock.
        let held = File::open(&path).unwrap();
        flock(&held, FlockOperation::NonBlockingLockExclusive).unwrap();
        for is_read_only in [false, true] {
            let refused = reach(&path, is_read_only, "lan.system").unwrap_err();
            assert!(refused.contains("something else has it open"), "{refused}");
        }
        drop(held);
        assert!(reach(&path, false, "lan.system").is_ok());
    }
}
