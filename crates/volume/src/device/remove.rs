//! Removes a replica from its disk.

use super::{Backing, Device, DeviceError, OpenFile, RING_BYTES, names, patiently};
use rustix::fs::{AtFlags, FileType, OFlags, fsync, unlinkat};
use rustix::io::{Errno, pwrite};
use std::os::fd::OwnedFd;
use std::path::Path;

/// Volume files that cannot be opened as a replica: they are damaged, or one of the two is
/// missing. The value holds an exclusive lock.
#[derive(Debug)]
pub struct LeftoverFiles {
    directory: OwnedFd,
    files: Vec<OpenFile>,
}

impl LeftoverFiles {
    /// Opens the files. Returns `None` if there are none, or if the backing store is not a
    /// directory.
    ///
    /// # Errors
    /// The files are in use, are not regular files, or a system call fails.
    pub fn open(backing: &Backing, name: &str) -> Result<Option<LeftoverFiles>, DeviceError> {
        let Backing::File(directory) = backing else {
            return Ok(None);
        };
        let (directory, data, metadata) = names(directory, name)?;
        let mut files = Vec::new();
        for path in [data, metadata] {
            match OpenFile::open(&directory, &path, OFlags::empty()) {
                Err(DeviceError::Missing(_)) => {}
                Err(error) => return Err(error),
                Ok(place) => {
                    patiently(|| place.claim(FileType::RegularFile, "regular file"))?;
                    files.push(place);
                }
            }
        }
        Ok((!files.is_empty()).then_some(LeftoverFiles { directory, files }))
    }

    /// Returns the paths of the files and their sizes, bytes.
    ///
    /// # Errors
    /// A system call fails.
    pub fn files(&self) -> Result<Vec<(&Path, u64)>, DeviceError> {
        self.files
            .iter()
            .map(|place| Ok((&*place.path, place.size()?)))
            .collect()
    }

    /// Deletes the files.
    ///
    /// # Errors
    /// A system call fails.
    pub fn remove(self) -> Result<(), DeviceError> {
        for place in &self.files {
            let file = place.path.file_name().unwrap_or_default();
            unlinkat(&self.directory, file, AtFlags::empty()).map_err(place.io("remove"))?;
            fsync(&self.directory).map_err(place.io("flush the directory of"))?;
        }
        Ok(())
    }
}

/// Removes an open replica: its two files, its logical volume, or the metadata at the start of the
/// device. The data of a device is not erased.
///
/// # Errors
/// A system call or LVM fails.
pub fn remove(device: Device, backing: &Backing, name: &str) -> Result<(), DeviceError> {
    let failed = |action, path: &Path| {
        let path = path.to_path_buf();
        move |errno: Errno| DeviceError::Io {
            action,
            path,
            errno,
        }
    };
    match backing {
        Backing::File(directory) => {
            let (opened, data, metadata) = names(directory, name)?;
            // Deletes the metadata last: after an interruption, metadata without data is detected
            // and refused.
            for path in [data, metadata] {
                let file = path.file_name().unwrap_or_default();
                unlinkat(&opened, file, AtFlags::empty()).map_err(failed("remove", &path))?;
            }
            let place = OpenFile {
                file: opened.into(),
                path: directory.clone(),
            };
            fsync(&place.file).map_err(place.io("flush"))
        }
        Backing::Lvm(logical) => {
            // Closes the logical volume first: LVM refuses to remove an open one.
            drop(device);
            logical.remove()
        }
        Backing::Device(path) => {
            let file = &device.metadata.file;
            let zeroes = vec![0; RING_BYTES];
            pwrite(file, &zeroes, 0).map_err(failed("write zeroes to", path))?;
            fsync(file).map_err(failed("flush", path))
        }
    }
}
