//! Describes how a disk is stored, as the configuration says: in a volume, or in a file or block
//! device. [`Storage::disk`] creates the disk.

use super::device::Disk;
use super::file::FileDisk;
use super::volume::NbdDisk;
use std::path::PathBuf;
use std::sync::Arc;

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Storage {
    Volume {
        socket: PathBuf,
        export: String,
    },
    File {
        path: PathBuf,
        is_read_only: bool,
        user: String,
    },
}

impl Storage {
    pub fn disk(&self) -> Arc<dyn Disk> {
        match self {
            Storage::Volume { socket, export } => {
                Arc::new(NbdDisk::new(socket.clone(), export.clone()))
            }
            Storage::File {
                path,
                is_read_only,
                user,
            } => Arc::new(FileDisk::new(path.clone(), *is_read_only, user.clone())),
        }
    }

    /// Returns whether the storage is a file or block device, which only an unconfined thread can
    /// open.
    pub fn is_file(&self) -> bool {
        matches!(self, Storage::File { .. })
    }
}
