//! Mounts a disk without free space: a small file system in memory, and a file that fills it.

use namespace::{LabError, ScratchDirectory};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

const DISK: &str = "disk";
const FILLER: &str = "filler";

/// Maximum size of a disk in bytes, because it is in memory.
const MAX_BYTES: u64 = 256 * 1024 * 1024;

const BLOCK: [u8; 4096] = [0; 4096];

/// A separate file system that is full until `FullDisk::free_space`. Requires root. When this is
/// dropped, the file system disappears.
#[derive(Debug)]
pub struct FullDisk {
    scratch: ScratchDirectory,
}

impl FullDisk {
    /// Creates a disk of this size without a free byte.
    pub fn new(bytes: u64) -> Result<Self, LabError> {
        let disk = FullDisk {
            scratch: ScratchDirectory::new()?,
        };
        let path = disk.path();
        fs::create_dir(&path).map_err(LabError::io("make", path.display()))?;
        let size = format!("size={},mode=755", bytes.min(MAX_BYTES));
        let size = std::ffi::CString::new(size).unwrap_or_default();
        let flags = MountFlags::NOSUID | MountFlags::NODEV;
        mount("evenkeel-lab", &path, "tmpfs", flags, size.as_c_str())
            .map_err(|errno| LabError::io("mount", path.display())(errno.into()))?;
        disk.fill()?;
        Ok(disk)
    }

    pub fn path(&self) -> PathBuf {
        self.scratch.path().join(DISK)
    }

    pub fn fill(&self) -> Result<(), LabError> {
        let path = self.path().join(FILLER);
        let failed = || LabError::io("fill", path.display());
        let opened = File::options().create(true).append(true).open(&path);
        let mut file = opened.map_err(failed())?;
        loop {
            match file.write_all(&BLOCK) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => return Ok(()),
                Err(error) => return Err(failed()(error)),
            }
        }
    }

    /// Removes the file that fills the disk.
    pub fn free_space(&self) -> Result<(), LabError> {
        let path = self.path().join(FILLER);
        // Empties the file first, because a process that another thread is just starting may still
        // have it open.
        let emptied = File::options().write(true).truncate(true).open(&path);
        emptied.map_err(LabError::io("empty", path.display()))?;
        remove(&path)
    }
}

fn remove(path: &Path) -> Result<(), LabError> {
    fs::remove_file(path).map_err(LabError::io("remove", path.display()))
}

impl Drop for FullDisk {
    fn drop(&mut self) {
        // Detaches the file system, which works even while a process has a file open there. Ignores
        // an error.
        let _ = unmount(self.path(), UnmountFlags::DETACH);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_can_be_written_to_a_full_disk_until_there_is_room() {
        crate::skip_unless_root!();
        let disk = FullDisk::new(1024 * 1024).unwrap();
        let path = disk.path();
        let full = fs::write(path.join("x"), "more").unwrap_err();
        assert_eq!(full.kind(), ErrorKind::StorageFull);
        disk.free_space().unwrap();
        fs::write(path.join("x"), "more").unwrap();
        disk.fill().unwrap();
        assert!(fs::write(path.join("y"), "more").is_err());
        drop(disk);
        assert!(!path.exists());
    }
}
